package awssqs

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

const queueURL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"

// sent is a call as SQS reads it.
type sent struct {
	QueueUrl string
	Entries  []sentEntry
}

type sentEntry struct {
	Id, MessageBody                        string
	MessageGroupId, MessageDeduplicationId string
	MessageAttributes                      map[string]struct{ DataType, StringValue string }
}

func (e sentEntry) attributes() map[string]string {
	out := map[string]string{}
	for name, a := range e.MessageAttributes {
		out[name] = a.StringValue
	}
	return out
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// queue plays SQS: it refuses what SQS refuses, and takes the rest.
func queue(t testing.TB) func(*awstest.Request) awstest.Answer {
	return func(r *awstest.Request) awstest.Answer {
		if r.Operation == "GetQueueAttributes" {
			return awstest.Answer{Body: map[string]any{"Attributes": map[string]string{"QueueArn": "arn:aws:sqs:eu-west-1:123456789012:orders"}}}
		}
		var in sent
		r.JSON(t, &in)
		if r.Operation != "SendMessageBatch" || !strings.HasPrefix(in.QueueUrl, queueURL) {
			t.Errorf("%s to %s", r.Operation, in.QueueUrl)
		}
		if len(in.Entries) == 0 || len(in.Entries) > 10 {
			t.Errorf("a call has %d entries", len(in.Entries))
		}
		total, ids := 0, map[string]bool{}
		var taken []map[string]string
		for _, e := range in.Entries {
			total += len(e.MessageBody)
			if ids[e.Id] || len(e.MessageAttributes) > 10 {
				t.Errorf("entry %s is there twice, or has %d attributes", e.Id, len(e.MessageAttributes))
			}
			ids[e.Id] = true
			for name, a := range e.MessageAttributes {
				total += len(name) + len(a.DataType) + len(a.StringValue)
				if !nameOK.MatchString(name) || a.StringValue == "" || !allowed(a.StringValue) || a.DataType != "String" {
					t.Errorf("the attribute %q has the value %q of type %s", name, a.StringValue, a.DataType)
				}
			}
			taken = append(taken, map[string]string{"Id": e.Id, "MessageId": "mid-" + eventID(e),
				"MD5OfMessageBody": md5Hex(e.MessageBody)})
		}
		if total > 1<<20 {
			t.Errorf("a call has %d bytes", total)
		}
		return awstest.Answer{Body: map[string]any{"Successful": taken, "Failed": []any{}}}
	}
}

// eventID finds the event's id in an entry, as consumers would: in an attribute, or in the envelope.
func eventID(e sentEntry) string {
	return awstest.First(e.attributes(), "event-id", "ce-id")
}

func deliveries(t testing.TB) func(awstest.Request) []adaptertest.Delivery {
	return func(r awstest.Request) (out []adaptertest.Delivery) {
		if r.Operation != "SendMessageBatch" {
			return nil
		}
		var in sent
		r.JSON(t, &in)
		for _, e := range in.Entries {
			a := e.attributes()
			out = append(out, adaptertest.Delivery{EventID: eventID(e), Topic: awstest.First(a, "topic", "ce-type"),
				Data: []byte(e.MessageBody), Attributes: a})
		}
		return out
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"", ".fifo"} {
		t.Run("orders"+suffix, func(t *testing.T) {
			t.Parallel()
			adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(t *testing.T) adaptertest.Side {
				srv := awstest.Start(t, "sqs", queue(t))
				side := srv.Side(t, map[string]string{"queue_url": queueURL + suffix}, deliveries(t))
				side.AnswerTo = func(r adapters.Receipt) string {
					var got accepted
					if err := json.Unmarshal(r.Body, &got); err != nil {
						t.Errorf("%v in %s", err, r.Body)
					}
					return strings.TrimPrefix(got.MessageID, "mid-")
				}
				return side
			}})
		})
	}
}
