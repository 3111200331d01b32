package kafka

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

const (
	user     = "waybill"
	password = "cr0w-b4tt3ry-staple"
)

// fake is a cluster inside this process, with what producers sent to it.
type fake struct {
	*kfake.Cluster
	mu      sync.Mutex
	open    int
	records []record
}

// record is one as it arrived, whether it was accepted or not.
type record struct {
	topic     string
	partition int32
	key       []byte
	value     []byte
	headers   []kmsg.Header
}

func (r record) header(name string) string {
	var values []string
	for _, h := range r.headers {
		if h.Key == name {
			values = append(values, string(h.Value))
		}
	}
	return strings.Join(values, ",")
}

// countedConn tells the fake when it is closed.
type countedConn struct {
	net.Conn
	once sync.Once
	f    *fake
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.f.count(-1) })
	return c.Conn.Close()
}

type countedListener struct {
	net.Listener
	f *fake
}

func (l countedListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.f.count(1)
	return &countedConn{Conn: nc, f: l.f}, nil
}

func (f *fake) count(n int) {
	f.mu.Lock()
	f.open += n
	f.mu.Unlock()
}

func (f *fake) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

func (f *fake) received() []record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.records)
}

// newFake starts a cluster of one broker. Topics are made by name.
func newFake(tb testing.TB, topics []string, opts ...kfake.Opt) *fake {
	tb.Helper()
	f := &fake{}
	opts = append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(3, topics...),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			ln, err := net.Listen(network, "127.0.0.1:0")
			return countedListener{ln, f}, err
		})}, opts...)
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	f.Cluster = c
	f.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.keep(req.(*kmsg.ProduceRequest))
		return nil, nil, false
	})
	return f
}

// name is the topic's, which newer requests leave out.
func (f *fake) name(t kmsg.ProduceRequestTopic) string {
	if t.Topic == "" {
		if info := f.TopicIDInfo(t.TopicID); info != nil {
			return info.Topic
		}
	}
	return t.Topic
}

func (f *fake) keep(req *kmsg.ProduceRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			var batch kmsg.RecordBatch
			if err := batch.ReadFrom(p.Records); err != nil {
				panic(err)
			}
			records, err := kfake.BatchRecords(batch)
			if err != nil {
				panic(err)
			}
			for _, r := range records {
				f.records = append(f.records, record{f.name(t), p.Partition, r.Key, r.Value, r.Headers})
			}
		}
	}
}

// onProduce decides about what is produced to a topic: nil goes on as usual.
func (f *fake) onProduce(topic string, decide func() *kerr.Error) {
	f.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req := kreq.(*kmsg.ProduceRequest)
		if len(req.Topics) == 0 || f.name(req.Topics[0]) != topic {
			return nil, nil, false
		}
		f.KeepControl()
		refuse := decide()
		if refuse == nil {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic, st.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition, sp.ErrorCode = p.Partition, refuse.Code
				sp.ErrorMessage = kmsg.StringPtr("no, and your password is " + password)
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
}

func settings(brokers, topic string) *adapters.Settings {
	return &adapters.Settings{ID: "des_1", TenantID: "ten_1", Version: 1, Timeout: 20 * time.Second,
		Config: map[string]string{"brokers": brokers, "topic": topic}, Credentials: map[string]string{}}
}

func (f *fake) settings(topic string) *adapters.Settings { return settings(f.ListenAddrs()[0], topic) }

func delivery(r record) adaptertest.Delivery {
	d := adaptertest.Delivery{EventID: r.header("event-id"), Topic: r.header("topic"), Data: r.value, Attributes: map[string]string{}}
	if id := r.header("ce_id"); id != "" {
		d.EventID, d.Topic = id, r.header("ce_type")
	}
	for _, h := range r.headers {
		d.Attributes[strings.ToLower(h.Key)] = string(h.Value)
	}
	return d
}

// closedPort is an address on which nothing listens.
func closedPort(t *testing.T) string {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
