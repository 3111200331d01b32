//go:build brokers

package kafka

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// testNode is the cluster that scripts/test-brokers.sh starts.
type testNode struct {
	plain, sasl, tls, mtls string
	ca, cert, key          string
	pid                    string
	admin                  *kgo.Client
}

func node(tb testing.TB) testNode {
	tb.Helper()
	need := func(name string) string {
		v := os.Getenv("WAYBILL_TEST_KAFKA" + name)
		if v == "" {
			tb.Fatalf("WAYBILL_TEST_KAFKA%s is not set; run: make test-brokers BROKERS=kafka", name)
		}
		return v
	}
	text := func(name string) string {
		b, err := os.ReadFile(need(name))
		if err != nil {
			tb.Fatal(err)
		}
		return string(b)
	}
	n := testNode{plain: need(""), sasl: need("_SASL"), tls: need("_TLS"), mtls: need("_MTLS"), ca: text("_CA"), cert: text("_CERT"),
		key: text("_KEY"), pid: need("_PID")}
	client, err := kgo.NewClient(kgo.SeedBrokers(n.plain))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	n.admin = client
	return n
}

func (n testNode) settings(topic string) adapters.Settings { return *settings(n.plain, topic) }

var names atomic.Int64

// name is one that no other test has.
func name(tb testing.TB) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == '#' {
			return '-'
		}
		return r
	}, tb.Name()) + "-" + time.Now().Format("150405.000") + "-" + strconv.FormatInt(names.Add(1), 10)
}

func deadline(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	tb.Cleanup(cancel)
	return ctx
}

// create makes a topic.
func (n testNode) create(tb testing.TB, topic string, config map[string]string) string {
	tb.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, 3, 1
	for k, v := range config {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, kmsg.StringPtr(v)
		t.Configs = append(t.Configs, c)
	}
	req.Topics, req.TimeoutMillis = append(req.Topics, t), 20000
	resp, err := req.RequestWith(deadline(tb), n.admin)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		tb.Fatal(err)
	}
	// The part of the node that answers clients learns of it a little later.
	adaptertest.Eventually(tb, "the new topic to be known", func() bool {
		req := kmsg.NewPtrMetadataRequest()
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(deadline(tb), n.admin)
		return err == nil && resp.Topics[0].ErrorCode == 0 && len(resp.Topics[0].Partitions) == 3 &&
			resp.Topics[0].Partitions[0].Leader >= 0
	})
	return topic
}

func (n testNode) remove(tb testing.TB, topic string) {
	tb.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	req.Topics, req.TopicNames, req.TimeoutMillis = append(req.Topics, t), []string{topic}, 20000
	resp, err := req.RequestWith(deadline(tb), n.admin)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// allow lets a user do something to a topic.
func (n testNode) allow(tb testing.TB, user, topic string, ops ...kmsg.ACLOperation) {
	tb.Helper()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, op := range ops {
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType = kmsg.ACLResourceTypeTopic, topic, kmsg.ACLResourcePatternTypeLiteral
		c.Principal, c.Host, c.Operation, c.PermissionType = "User:"+user, "*", op, kmsg.ACLPermissionTypeAllow
		req.Creations = append(req.Creations, c)
	}
	resp, err := req.RequestWith(deadline(tb), n.admin)
	if err == nil {
		err = kerr.ErrorForCode(resp.Results[0].ErrorCode)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// reader follows a topic from its beginning.
type reader struct {
	client *kgo.Client
	got    []*kgo.Record
}

func (n testNode) reader(tb testing.TB, topic string) *reader {
	tb.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.plain), kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	return &reader{client: client}
}

// read returns what there is by now.
func (r *reader) read(wait time.Duration) []*kgo.Record {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	for ctx.Err() == nil {
		r.got = append(r.got, r.client.PollFetches(ctx).Records()...)
	}
	return r.got
}
