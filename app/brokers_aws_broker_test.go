//go:build brokers && moto

package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	kintypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// moto returns the address that a variable of scripts/test-brokers.sh holds.
func moto(t *testing.T, variable string) string {
	t.Helper()
	url := os.Getenv(variable)
	if url == "" {
		t.Fatalf("%s is not set; run: make test-brokers BROKERS=moto", variable)
	}
	return url
}

// amazon is for the test's own calls to a server that plays AWS.
func amazon(url, key, secret string) aws.Config {
	return aws.Config{Region: "eu-west-1", BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider(key, secret, "")}
}

var amazonKeys = map[string]string{"key": "AKIAWAYBILLTESTKEY01", "secret": "a-secret-of-the-test"}

// throttledJSON is how the services answer that speak JSON.
func throttledJSON(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(`{"__type":"ThrottlingException","message":"Rate exceeded"}`))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// largePayloads lets the processes take what AWS does not.
var largePayloads = []string{"MAX_PAYLOAD=3000000"}

const tooLargeForAWS = 1_200_000

// queue is one of SQS, by its URL at the server itself.
type queue struct {
	*sqs.Client
	url string
}

func queueAt(cfg aws.Config, name string) queue {
	return queue{sqs.NewFromConfig(cfg), *cfg.BaseEndpoint + "/123456789012/" + name}
}

func (q queue) create(t *testing.T) {
	t.Helper()
	_, err := q.CreateQueue(context.Background(), &sqs.CreateQueueInput{QueueName: aws.String(path.Base(q.url))})
	must(t, err)
}

// receive takes up to ten messages out of the queue, and returns an id of each.
func (q queue) receive(id func(body string, attributes map[string]string) string) (ids []string, err error) {
	ctx := context.Background()
	out, err := q.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &q.url, MaxNumberOfMessages: 10,
		MessageAttributeNames: []string{"All"}})
	if err != nil {
		return nil, err
	}
	var done []sqstypes.DeleteMessageBatchRequestEntry
	for i, m := range out.Messages {
		attributes := map[string]string{}
		for k, v := range m.MessageAttributes {
			attributes[k] = aws.ToString(v.StringValue)
		}
		ids = append(ids, id(*m.Body, attributes))
		done = append(done, sqstypes.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
	}
	if len(done) > 0 {
		_, err = q.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &q.url, Entries: done})
	}
	return ids, err
}

func eventID(_ string, attributes map[string]string) string { return attributes["event-id"] }

// unique is a name that no other run of the test has.
func unique(prefix string) string { return fmt.Sprintf("%s-%d", prefix, time.Now().UnixNano()) }

func TestBrokerSQSFaults(t *testing.T) {
	t.Parallel()
	url := moto(t, "WAYBILL_TEST_MOTO")
	g, name := newGate(t, url), unique("orders")
	q := queueAt(amazon(url, "a", "b"), name)
	c := &cloud{gate: g, env: largePayloads, tooLarge: tooLargeForAWS, missing: "not_found", throttled: throttledJSON}
	c.destination = map[string]any{"type": "aws_sqs", "credentials": amazonKeys,
		"config": map[string]string{"queue_url": g.url() + "/123456789012/" + name, "region": "eu-west-1"}}
	c.create = func() { q.create(t) }
	c.remove = func() {
		_, err := q.DeleteQueue(context.Background(), &sqs.DeleteQueueInput{QueueUrl: &q.url})
		must(t, err)
	}
	c.receive = func() ([]string, error) { return q.receive(eventID) }
	c.suffers()
}

func TestBrokerKinesisFaults(t *testing.T) {
	t.Parallel()
	url := moto(t, "WAYBILL_TEST_MOTO")
	api, g, name, ctx := kinesis.NewFromConfig(amazon(url, "a", "b")), newGate(t, url), unique("orders"), context.Background()
	c := &cloud{gate: g, env: largePayloads, tooLarge: tooLargeForAWS, missing: "not_found", throttled: throttledJSON}
	// a record has no id of its own
	c.destination = map[string]any{"type": "aws_kinesis", "credentials": amazonKeys, "format": "cloudevents-structured",
		"config": map[string]string{"stream_name": name, "region": "eu-west-1", "endpoint": g.url()}}
	c.create = func() {
		_, err := api.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(1)})
		must(t, err)
	}
	c.remove = func() {
		_, err := api.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: &name})
		must(t, err)
	}
	var next *string // the iterator of the only shard; nil when the stream was made anew
	c.receive = func() (ids []string, err error) {
		defer func() {
			if err != nil {
				next = nil
			}
		}()
		if next == nil {
			it, err := api.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: &name,
				ShardId:           aws.String("shardId-000000000000"),
				ShardIteratorType: kintypes.ShardIteratorTypeTrimHorizon})
			if err != nil {
				return nil, err
			}
			next = it.ShardIterator
		}
		page, err := api.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
		if err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			var event struct{ ID string }
			if err := json.Unmarshal(r.Data, &event); err != nil {
				return ids, err
			}
			ids = append(ids, event.ID)
		}
		next = page.NextShardIterator
		return ids, nil
	}
	c.suffers()
}

// TestBrokerEventBridgeFaults sees arrival in a queue to which a rule of the bus leads.
func TestBrokerEventBridgeFaults(t *testing.T) {
	t.Parallel()
	url := moto(t, "WAYBILL_TEST_MOTO")
	cfg, g, name, ctx := amazon(url, "a", "b"), newGate(t, url), unique("orders"), context.Background()
	api, q := eventbridge.NewFromConfig(cfg), queueAt(cfg, name)
	q.create(t)
	c := &cloud{gate: g, env: largePayloads, tooLarge: tooLargeForAWS, missing: "not_found", throttled: throttledJSON}
	c.destination = map[string]any{"type": "aws_eventbridge", "credentials": amazonKeys,
		"config": map[string]string{"event_bus": name, "source": "com.example.shop", "region": "eu-west-1", "endpoint": g.url()}}
	c.create = func() {
		_, err := api.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: &name})
		must(t, err)
		_, err = api.PutRule(ctx, &eventbridge.PutRuleInput{Name: &name, EventBusName: &name,
			EventPattern: aws.String(`{"source":["com.example.shop"]}`)})
		must(t, err)
		_, err = api.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &name, EventBusName: &name,
			Targets: []ebtypes.Target{{Id: aws.String("queue"), Arn: aws.String("arn:aws:sqs:eu-west-1:123456789012:" + name)}}})
		must(t, err)
	}
	c.remove = func() {
		_, err := api.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: &name, EventBusName: &name, Ids: []string{"queue"}})
		must(t, err)
		_, err = api.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: &name, EventBusName: &name})
		must(t, err)
		_, err = api.DeleteEventBus(ctx, &eventbridge.DeleteEventBusInput{Name: &name})
		must(t, err)
	}
	c.receive = func() ([]string, error) {
		return q.receive(func(body string, _ map[string]string) string {
			var event struct{ Resources []string }
			if err := json.Unmarshal([]byte(body), &event); err != nil {
				return err.Error()
			}
			for _, r := range event.Resources {
				if id, ok := strings.CutPrefix(r, "event-id="); ok {
					return id
				}
			}
			return body
		})
	}
	c.suffers()
}

// bucket is one of S3.
type bucket struct {
	*s3.Client
	name string
}

func bucketAt(cfg aws.Config, name string) bucket {
	return bucket{s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), name}
}

func (b bucket) create(t *testing.T) {
	t.Helper()
	_, err := b.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &b.name,
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
	must(t, err)
}

// receive takes objects out of the bucket, and returns the id of the event in each.
func (b bucket) receive() (ids []string, err error) {
	ctx := context.Background()
	page, err := b.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &b.name})
	if err != nil || len(page.Contents) == 0 {
		return nil, err
	}
	var gone s3types.Delete
	for _, o := range page.Contents {
		gone.Objects = append(gone.Objects, s3types.ObjectIdentifier{Key: o.Key})
		ids = append(ids, strings.TrimSuffix(path.Base(*o.Key), ".json"))
	}
	_, err = b.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &b.name, Delete: &gone})
	return ids, err
}

func TestBrokerS3Faults(t *testing.T) {
	t.Parallel()
	url := moto(t, "WAYBILL_TEST_MOTO")
	g, name := newGate(t, url), unique("orders")
	b := bucketAt(amazon(url, "a", "b"), name)
	c := &cloud{gate: g, missing: "not_found", receive: b.receive}
	c.throttled = func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`))
	}
	c.destination = map[string]any{"type": "aws_s3", "credentials": amazonKeys,
		"config": map[string]string{"bucket": name, "region": "eu-west-1", "endpoint": g.url()}}
	c.create = func() { b.create(t) }
	c.remove = func() {
		_, err := b.DeleteBucket(context.Background(), &s3.DeleteBucketInput{Bucket: &name})
		must(t, err)
	}
	c.suffers()
}
