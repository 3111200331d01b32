//go:build brokers

package awssqs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

// realQueue is a queue, and a consumer of it.
type realQueue struct {
	t   *testing.T
	api *sqs.Client
	url string

	mu  sync.Mutex
	got []types.Message
}

func create(t *testing.T, suffix string) *realQueue {
	_, cfg := awstest.Moto(t)
	q := &realQueue{t: t, api: sqs.NewFromConfig(cfg)}
	q.make(awstest.Name("orders") + suffix)
	return q
}

func (q *realQueue) make(name string) {
	attributes := map[string]string{}
	if strings.HasSuffix(name, ".fifo") {
		attributes["FifoQueue"] = "true"
	}
	out, err := q.api.CreateQueue(context.Background(), &sqs.CreateQueueInput{QueueName: aws.String(name), Attributes: attributes})
	if err != nil {
		q.t.Fatal(err)
	}
	q.url = *out.QueueUrl
}

// received takes what is in the queue and returns everything that has ever been taken.
func (q *realQueue) received() []types.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		out, err := q.api.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{QueueUrl: &q.url, MaxNumberOfMessages: 10,
			MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"}})
		if err != nil {
			q.t.Error(err)
			return q.got
		}
		if len(out.Messages) == 0 {
			return q.got
		}
		for _, m := range out.Messages {
			q.got = append(q.got, m)
			if _, err := q.api.DeleteMessage(context.Background(), &sqs.DeleteMessageInput{QueueUrl: &q.url,
				ReceiptHandle: m.ReceiptHandle}); err != nil {
				q.t.Error(err)
			}
		}
	}
}

func (q *realQueue) settings() adapters.Settings {
	return awstest.MotoSettings(q.t, map[string]string{"queue_url": q.url, "endpoint": ""})
}

func TestBrokerConformance(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"", ".fifo"} {
		t.Run("orders"+suffix, func(t *testing.T) {
			t.Parallel()
			adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(t *testing.T) adaptertest.Side {
				q := create(t, suffix)
				refusing, nobody := q.settings(), q.settings()
				refusing.Config = map[string]string{"region": awstest.Region,
					"queue_url": strings.TrimSuffix(q.url, suffix) + "-missing" + suffix}
				nobody.Config = map[string]string{"region": awstest.Region,
					"queue_url": "http://" + adaptertest.ClosedPort(t) + "/1/orders" + suffix}
				return adaptertest.Side{Env: adaptertest.Env(), Good: q.settings(), Refusing: &refusing, Unreachable: &nobody,
					Received: func() (out []adaptertest.Delivery) {
						for _, m := range q.received() {
							a := map[string]string{}
							for name, v := range m.MessageAttributes {
								a[name] = aws.ToString(v.StringValue)
							}
							out = append(out, adaptertest.Delivery{EventID: awstest.First(a, "event-id", "ce-id"),
								Topic: awstest.First(a, "topic", "ce-type"),
								Data:  []byte(*m.Body), Attributes: a})
						}
						return out
					}}
			}})
		})
	}
}

func TestBrokerFIFO(t *testing.T) {
	t.Parallel()
	q := create(t, ".fifo")
	snd := awstest.Open(t, Type{}, q.settings())
	for i := range 25 {
		m := &adapters.Message{EventID: fmt.Sprintf("evt-%02d", i), Topic: "order.created", Time: time.Now(), Data: []byte(`{}`)}
		if i == 0 {
			m.Computed = map[string]string{groupTemplate: "customer 7 ü"}
		}
		for attempt := range 2 { // the second one is a duplicate, which SQS answers like the first
			m.Attempt = attempt + 1
			r, err := snd.Send(context.Background(), m)
			if err != nil {
				t.Fatal(err)
			}
			var got accepted
			if err := json.Unmarshal(r.Body, &got); err != nil || got.MessageID == "" || got.SequenceNumber == "" {
				t.Errorf("the receipt is %s", r.Body)
			}
		}
	}
	got := q.received()
	if len(got) != 25 {
		t.Fatalf("%d messages arrived, 25 were sent, each twice", len(got))
	}
	for _, m := range got {
		id, group := aws.ToString(m.MessageAttributes["event-id"].StringValue), m.Attributes["MessageGroupId"]
		want := "order.created"
		if id == "evt-00" {
			want = "customer%207%20%C3%BC"
		}
		if m.Attributes["MessageDeduplicationId"] != id || group != want {
			t.Errorf("%s has the deduplication id %s and the group %s", id, m.Attributes["MessageDeduplicationId"], group)
		}
	}
}

// TestBrokerRecreated deletes the queue under the sender and makes it again.
func TestBrokerRecreated(t *testing.T) {
	t.Parallel()
	q := create(t, "")
	snd := awstest.Open(t, Type{}, q.settings())
	send := func(id string) error {
		_, err := snd.Send(context.Background(), &adapters.Message{EventID: id, Time: time.Now(), Data: []byte(`{}`), Attempt: 1})
		return err
	}
	if err := send("evt-before"); err != nil {
		t.Fatal(err)
	}
	if _, err := q.api.DeleteQueue(context.Background(), &sqs.DeleteQueueInput{QueueUrl: &q.url}); err != nil {
		t.Fatal(err)
	}
	err := send("evt-missing")
	if e := adapters.AsError(err); err == nil || e.Kind != adapters.KindTransient || e.Class != adapters.ClassNotFound ||
		!strings.Contains(e.Message, "orders-") {
		t.Errorf("the queue is gone, and Send says %+v", err)
	}
	q.make(q.url[strings.LastIndexByte(q.url, '/')+1:])
	if err := send("evt-after"); err != nil {
		t.Errorf("the queue is back, and Send says %v", err)
	}
}

// TestBrokerRole assumes a role before it sends.
func TestBrokerRole(t *testing.T) {
	t.Parallel()
	q := create(t, "")
	set := q.settings()
	set.Config["endpoint"], _ = awstest.Moto(t)
	set.Config["role_arn"], set.Config["external_id"] = "arn:aws:iam::123456789012:role/waybill", "tenant-7"
	snd := awstest.Open(t, Type{}, set)
	if _, err := snd.Send(context.Background(), &adapters.Message{EventID: "evt-1", Time: time.Now(), Data: []byte(`{}`),
		Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	if got := q.received(); len(got) != 1 {
		t.Errorf("%d messages arrived", len(got))
	}
	for _, s := range snd.(adapters.Checker).Check(context.Background()) {
		if !s.OK || s.Name == "auth" && !strings.Contains(s.Message, "role") {
			t.Errorf("the check says %+v", s)
		}
	}
}
