package app

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/waybill-dev/waybill/app/bench"
)

// kafkaCluster is a cluster of one broker inside this process, which keeps its records when it is restarted.
type kafkaCluster struct {
	t    *testing.T
	dir  string
	port int
	connections
	*kfake.Cluster
}

const kafkaAdmin, kafkaAdminPassword = "admin", "admin-secret"

func newKafkaCluster(t *testing.T) *kafkaCluster {
	port, err := bench.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	f := &kafkaCluster{t: t, dir: t.TempDir(), port: port, connections: connections{open: map[net.Conn]bool{}}}
	f.start()
	t.Cleanup(func() { f.Close() })
	f.topic()
	return f
}

func (f *kafkaCluster) start() {
	f.t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(f.port), kfake.DataDir(f.dir), kfake.EnableSASL(),
		kfake.Superuser("SCRAM-SHA-256", kafkaAdmin, kafkaAdminPassword),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			ln, err := net.Listen(network, address)
			return cuttableListener{ln, &f.connections}, err
		}))
	if err != nil {
		f.t.Fatal(err)
	}
	f.Cluster = c
}

// topic makes the topic "events", which takes records of 50,000 bytes.
func (f *kafkaCluster) topic() {
	f.t.Helper()
	if err := f.CreateTopic("events", 3, map[string]string{"max.message.bytes": "50000"}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *kafkaCluster) address() string { return "127.0.0.1:" + strconv.Itoa(f.port) }

func (f *kafkaCluster) client(opts ...kgo.Opt) *kgo.Client {
	f.t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(f.address()),
		kgo.SASL(scram.Auth{User: kafkaAdmin, Pass: kafkaAdminPassword}.AsSha256Mechanism()))...)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// password sets that of the user "waybill".
func (f *kafkaCluster) password(text string) {
	f.t.Helper()
	salt := []byte("salt of the test")
	salted, err := pbkdf2.Key(sha256.New, text, salt, 4096, sha256.Size)
	if err != nil {
		f.t.Fatal(err)
	}
	req := kmsg.NewAlterUserSCRAMCredentialsRequest()
	up := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	up.Name, up.Mechanism, up.Iterations, up.Salt, up.SaltedPassword = "waybill", 1, 4096, salt, salted
	req.Upsertions = append(req.Upsertions, up)
	c := f.client()
	defer c.Close()
	resp, err := req.RequestWith(context.Background(), c)
	if err == nil {
		err = kerr.ErrorForCode(resp.Results[0].ErrorCode)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// consume tells the ledger of what the topic holds, from its beginning on.
func (f *kafkaCluster) consume(l *ledger) (stop func()) {
	c := f.client(kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))
	var running sync.WaitGroup
	running.Go(func() {
		for {
			fetches := c.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachRecord(func(r *kgo.Record) {
				for _, h := range r.Headers {
					if h.Key == "event-id" {
						l.arrived(string(h.Value))
					}
				}
			})
		}
	})
	return func() {
		c.Close()
		running.Wait()
	}
}

// throttle lets the cluster take nothing, and ask producers to wait for four seconds, until it is undone.
func (f *kafkaCluster) throttle() (undo func()) {
	var mu sync.Mutex
	over := false
	f.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return nil, nil, false
		}
		f.KeepControl()
		req := kreq.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		resp.ThrottleMillis = 4000
		for _, t := range req.Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic, st.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition, sp.ErrorCode = p.Partition, kerr.NotEnoughReplicas.Code
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
}

func (f *kafkaCluster) stream(t *testing.T) (*stream, func()) {
	f.password("first-password")
	s := newStream(t, map[string]any{"type": "kafka", "config": map[string]string{"brokers": f.address(), "topic": "events",
		"sasl_mechanism": "scram-sha-256"},
		"credentials": map[string]string{"username": "waybill", "password": "first-password"}})
	stop := sync.OnceFunc(f.consume(s.ledger))
	t.Cleanup(stop)
	return s, stop
}

// TestKafkaFaults lets a cluster do under load all that clusters do. Every accepted event arrives, each delivery says why it
// waits, and the worker is not started again.
func TestKafkaFaults(t *testing.T) {
	t.Parallel()
	f := newKafkaCluster(t)
	s, stop := f.stream(t)
	s.run()
	s.more(100)

	f.cut()
	s.more(100)

	f.Close()
	s.failing("connect")
	f.start()
	s.more(100)

	undo := f.throttle()
	s.failing("throttled")
	undo()
	s.more(100)
	s.settled()
	stop()

	// What is in a topic goes with it, so it is deleted when all has been seen.
	if err := f.DeleteTopic("events"); err != nil {
		t.Fatal(err)
	}
	s.one("without-a-topic", `{"n":1}`)
	s.failing("not_found")
	f.topic()
	t.Cleanup(f.consume(s.ledger))
	s.settle(s.a.base)

	// One that is too large fails for good, and none of those beside it.
	s.run()
	s.more(20)
	s.a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"too-large","data":{"pad":"`+strings.Repeat("x", 60_000)+`"}}`)
	if d := s.delivery("too-large"); d.Status != "failed" || d.LastError.Class != "too_large" || d.Attempts != 1 || d.Reason == "" ||
		d.LastError.Advice == "" {
		t.Errorf("the large one: %+v", d)
	}
	s.more(20)
	s.halt()
	s.await(func() bool { return s.open(s.a.base) == 1 })
	if accepted, received, _ := s.count(); received != accepted || s.received("too-large") > 0 {
		t.Errorf("%d of %d accepted events arrived, the large one %d times", received, accepted, s.received("too-large"))
	}
}

// TestKafkaCredentialsChangedWhileBusy changes the password of a user whose events are under way.
func TestKafkaCredentialsChangedWhileBusy(t *testing.T) {
	t.Parallel()
	f := newKafkaCluster(t)
	s, _ := f.stream(t)
	s.run()
	s.rotated(func() {
		f.password("second-password")
		f.cut()
	}, map[string]any{"credentials": map[string]string{"password": "second-password"}})
	s.settled()
}
