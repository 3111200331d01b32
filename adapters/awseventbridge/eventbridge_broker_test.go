//go:build brokers

package awseventbridge

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

// arrivedEvent is an event as a target of a rule gets it.
type arrivedEvent struct {
	Source     string          `json:"source"`
	DetailType string          `json:"detail-type"`
	Time       string          `json:"time"`
	Detail     json.RawMessage `json:"detail"`
	Resources  []string        `json:"resources"`
}

// realBus is a bus with a rule that delivers everything of our source into a queue.
type realBus struct {
	t     *testing.T
	name  string
	queue *sqs.Client
	url   string

	mu  sync.Mutex
	got []arrivedEvent
}

func create(t *testing.T) *realBus {
	_, cfg := awstest.Moto(t)
	ctx := context.Background()
	b := &realBus{t: t, name: awstest.Name("orders"), queue: sqs.NewFromConfig(cfg)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	q, err := b.queue.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(b.name)})
	must(err)
	b.url = *q.QueueUrl
	attributes, err := b.queue.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &b.url,
		AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	must(err)
	api := eventbridge.NewFromConfig(cfg)
	_, err = api.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: &b.name})
	must(err)
	_, err = api.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("all"), EventBusName: &b.name,
		EventPattern: aws.String(`{"source":["com.example.shop"]}`)})
	must(err)
	_, err = api.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("all"), EventBusName: &b.name,
		Targets: []types.Target{{Id: aws.String("queue"), Arn: aws.String(attributes.Attributes["QueueArn"])}}})
	must(err)
	return b
}

func (b *realBus) received() []arrivedEvent {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		out, err := b.queue.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{QueueUrl: &b.url, MaxNumberOfMessages: 10})
		if err != nil {
			b.t.Error(err)
			return b.got
		}
		if len(out.Messages) == 0 {
			return b.got
		}
		for _, m := range out.Messages {
			var e arrivedEvent
			if err := json.Unmarshal([]byte(*m.Body), &e); err != nil {
				b.t.Error(err)
			}
			b.got = append(b.got, e)
			if _, err := b.queue.DeleteMessage(context.Background(), &sqs.DeleteMessageInput{QueueUrl: &b.url,
				ReceiptHandle: m.ReceiptHandle}); err != nil {
				b.t.Error(err)
			}
		}
	}
}

func open(t *testing.T, bus string) adapters.Sender {
	return awstest.Open(t, Type{}, awstest.MotoSettings(t, map[string]string{"event_bus": bus, "source": "com.example.shop"}))
}

// TestBrokerArrives puts events on a bus and looks for them in the queue to which its rule leads.
func TestBrokerArrives(t *testing.T) {
	t.Parallel()
	b := create(t)
	snd := open(t, b.name)
	var all sync.WaitGroup
	for _, id := range []string{"evt-1", "evt-2", "evt-3"} {
		all.Go(func() {
			r, err := snd.Send(context.Background(), &adapters.Message{EventID: id, Topic: "order.created", Time: time.Unix(1700000000, 0),
				Metadata: map[string]string{"tenant": "acme"}, Data: []byte(`{"id":"` + id + `"}`), Attempt: 1,
				Computed: map[string]string{detailTemplate: "order made"}})
			if err != nil || r.Code != 200 || !strings.Contains(string(r.Body), "event_id") {
				t.Errorf("%s: %v, %+v", id, err, r)
			}
		})
	}
	all.Wait()
	adaptertest.Eventually(t, "three events", func() bool { return len(b.received()) >= 3 })
	for _, e := range b.received() {
		all := strings.Join(e.Resources, " ")
		var detail struct{ ID string }
		if err := json.Unmarshal(e.Detail, &detail); err != nil {
			t.Error(err)
		}
		if e.Source != "com.example.shop" || e.DetailType != "order made" || !strings.HasPrefix(e.Time, "2023-11-14T22:13:20") ||
			!strings.Contains(all, "event-id="+detail.ID) || !strings.Contains(all, "topic=order.created") ||
			!strings.Contains(all, "tenant=acme") {
			t.Errorf("arrived: %+v", e)
		}
	}
	for _, s := range snd.(adapters.Checker).Check(context.Background()) {
		if !s.OK {
			t.Errorf("the check says %+v", s)
		}
	}
}

func TestBrokerConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(t *testing.T) adaptertest.Side {
		b := create(t)
		config := map[string]string{"event_bus": b.name, "source": "com.example.shop"}
		nobody := awstest.MotoSettings(t, config)
		nobody.Config["endpoint"] = "http://" + adaptertest.ClosedPort(t)
		// What arrives has been parsed and printed by the rule, so payloads are compared in the test with the fake.
		return adaptertest.Side{Env: adaptertest.Env(), Good: awstest.MotoSettings(t, config), Unreachable: &nobody}
	}})
}

// TestBrokerRefused looks at entries that are refused in answers with the status 200.
func TestBrokerRefused(t *testing.T) {
	t.Parallel()
	b := create(t)
	snd := open(t, b.name)
	_, err := snd.Send(context.Background(), &adapters.Message{EventID: "evt-1", Time: time.Now(), Data: []byte(`{"a":`), Attempt: 1})
	if e := adapters.AsError(err); err == nil || e.Kind != adapters.KindPermanent || e.Class != adapters.ClassRejected {
		t.Errorf("the detail is no JSON, and Send says %+v", err)
	}
	stages := open(t, b.name+"-missing").(adapters.Checker).Check(context.Background())
	if last := stages[len(stages)-1]; last.OK || last.Name != "publish" || !strings.Contains(last.Message, b.name+"-missing") {
		t.Errorf("the bus does not exist, and the check says %+v", stages)
	}
}
