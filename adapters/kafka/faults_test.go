package kafka

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
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

func TestUnknownTopic(t *testing.T) {
	t.Parallel()
	f := newFake(t, []string{"events"})
	snd := open(t, f.settings("absent"))
	begun := time.Now()
	_, err := send(t, snd, message("evt_1"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassNotFound, "There is no topic absent")
	if took := time.Since(begun); took > long*3/4 {
		t.Errorf("it took %v to find out", took)
	}
	if err := f.CreateTopic("absent", 1, nil); err != nil {
		t.Fatal(err)
	}
	mustSend(t, snd, message("evt_2"))
	// Deleted while the sender has it open.
	if err := f.DeleteTopic("absent"); err != nil {
		t.Fatal(err)
	}
	_, err = send(t, snd, message("evt_3"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassNotFound, "topic absent")
	if err := f.CreateTopic("absent", 1, nil); err != nil {
		t.Fatal(err)
	}
	mustSend(t, snd, message("evt_4"))
}

// Of a batch that is too large only the record that is too large by itself fails.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	if err := f.CreateTopic("events", 1, map[string]string{"max.message.bytes": "100000"}); err != nil {
		t.Fatal(err)
	}
	snd := open(t, f.settings("events"))
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			m := message(fmt.Sprintf("evt_%d", i))
			m.Data = bytes.Repeat([]byte("1"), 40000)
			if i == 7 {
				m.Data = bytes.Repeat([]byte("1"), 100001)
			}
			r, err := send(t, snd, m, long)
			if i == 7 {
				wantError(t, err, adapters.KindPermanent, adapters.ClassTooLarge, "larger than the topic events accepts")
				if !strings.Contains(string(r.Body), `"error":"MESSAGE_TOO_LARGE"`) {
					t.Errorf("the receipt says %s", r.Body)
				}
			} else if err != nil {
				t.Errorf("%s: %+v", m.EventID, err)
			}
		})
	}
	all.Wait()
	// What is larger than a batch may be goes alone, if the topic takes it.
	if err := f.CreateTopic("large", 1, map[string]string{"max.message.bytes": "5000000"}); err != nil {
		t.Fatal(err)
	}
	snd = open(t, f.settings("large"))
	m := message("evt_large")
	m.Data = bytes.Repeat([]byte("1"), 2<<20)
	mustSend(t, snd, m)
	m.Data = bytes.Repeat([]byte("1"), 6<<20)
	_, err := send(t, snd, m, long)
	wantError(t, err, adapters.KindPermanent, adapters.ClassTooLarge, "larger than the topic large accepts")
	m.Data = bytes.Repeat([]byte("1"), 20<<20)
	_, err = send(t, snd, m, long)
	wantError(t, err, adapters.KindPermanent, adapters.ClassTooLarge, "larger than the topic large accepts")
}

// The cluster tells where its brokers are, and the guard holds there as well.
func TestAdvertisedAddresses(t *testing.T) {
	t.Parallel()
	advertise := func(host string, port int32) *fakeMetadata { return &fakeMetadata{host, port} }
	for _, c := range []struct {
		at    *fakeMetadata
		class adapters.Class
		text  string
	}{
		{advertise("10.1.2.3", 9092), adapters.ClassBlocked,
			"The cluster's broker 10.1.2.3:9092: Blocked by this server's network rules (private address)."},
		{advertise("169.254.169.254", 80), adapters.ClassBlocked, "link-local address"},
		{closedAt(t), adapters.ClassConnect, "The cluster's broker 127.0.0.1:"},
		{advertise("kafka-1.invalid", 9092), adapters.ClassDNS, "The cluster's broker kafka-1.invalid:9092"},
	} {
		f := newFake(t, []string{"events"})
		f.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
			f.KeepControl()
			return c.at.answer(req.(*kmsg.MetadataRequest)), nil, true
		})
		begun := time.Now()
		_, err := send(t, open(t, f.settings("events")), message("evt_1"), long)
		wantError(t, err, adapters.KindTransient, c.class, c.text)
		if err != nil && !strings.Contains(err.Advice, "advertised.listeners") {
			t.Errorf("advice: %s", err.Advice)
		}
		if took := time.Since(begun); took > long*3/4 {
			t.Errorf("it took %v to find out", took)
		}
		stages := open(t, f.settings("events")).(adapters.Checker).Check(context.Background())
		if last := stages[len(stages)-1]; last.OK || !strings.Contains(last.Message, c.text) {
			t.Errorf("the check says %+v", stages)
		}
	}
	// The first address is held against the rules, too.
	f := newFake(t, []string{"events"})
	snd, err := Type{}.Open(adapters.Env{}, *f.settings("events"))
	if err != nil {
		t.Fatal(err)
	}
	defer snd.Close()
	_, fault := send(t, snd, message("evt_1"), long)
	wantError(t, fault, adapters.KindTransient, adapters.ClassBlocked, "Blocked by this server's network rules (loopback address).")
	if f.connections() != 0 {
		t.Error("a forbidden address was dialled")
	}
}

// fakeMetadata is what a cluster says whose only broker advertises this address.
type fakeMetadata struct {
	host string
	port int32
}

func closedAt(t *testing.T) *fakeMetadata {
	host, text, _ := net.SplitHostPort(closedPort(t))
	port, _ := strconv.Atoi(text)
	return &fakeMetadata{host, int32(port)}
}

func (m *fakeMetadata) answer(req *kmsg.MetadataRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	b := kmsg.NewMetadataResponseBroker()
	b.NodeID, b.Host, b.Port = 1, m.host, m.port
	resp.Brokers = append(resp.Brokers, b)
	for _, asked := range req.Topics {
		top := kmsg.NewMetadataResponseTopic()
		top.Topic, top.TopicID = asked.Topic, [16]byte{1}
		if top.Topic == nil {
			top.Topic = kmsg.StringPtr("events")
		}
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Leader, p.Replicas, p.ISR = 1, []int32{1}, []int32{1}
		top.Partitions = append(top.Partitions, p)
		resp.Topics = append(resp.Topics, top)
	}
	return resp
}

// Older clusters want a permission of its own for an idempotent producer.
func TestClusterThatAllowsNoIdempotence(t *testing.T) {
	t.Parallel()
	f := newFake(t, []string{"events"})
	asked := 0
	f.ControlKey(int16(kmsg.InitProducerID), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		asked++
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp, nil, true
	})
	snd := open(t, f.settings("events"))
	for i := range 3 {
		mustSend(t, snd, message(fmt.Sprintf("evt_%d", i)))
	}
	if len(f.received()) != 3 || asked == 0 {
		t.Errorf("%d records arrived, asked %d times", len(f.received()), asked)
	}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	for code, want := range map[*kerr.Error]struct {
		kind  adapters.Kind
		class adapters.Class
	}{
		kerr.PolicyViolation:          {adapters.KindPermanent, adapters.ClassRejected},
		kerr.InvalidRecord:            {adapters.KindTransient, adapters.ClassRejected},
		kerr.TopicAuthorizationFailed: {adapters.KindTransient, adapters.ClassAuth},
		kerr.ThrottlingQuotaExceeded:  {adapters.KindThrottled, adapters.ClassThrottled},
	} {
		f := newFake(t, []string{"events"})
		var mu sync.Mutex
		refuse := code
		f.onProduce("events", func() *kerr.Error {
			mu.Lock()
			defer mu.Unlock()
			return refuse
		})
		set := f.settings("events")
		set.Timeout = 2 * time.Second
		snd := open(t, set)
		r, err := send(t, snd, message("evt_1"), long)
		if code != kerr.ThrottlingQuotaExceeded || err == nil || err.Class != adapters.ClassTimeout { // the client retries that one
			wantError(t, err, want.kind, want.class, "")
			if !strings.Contains(string(r.Body), code.Message) {
				t.Errorf("the receipt says %s", r.Body)
			}
		}
		mu.Lock()
		refuse = nil
		mu.Unlock()
		mustSend(t, snd, message("evt_2"))
	}
}

// A broker whose quota is used up tells for how long it takes no more.
func TestThrottled(t *testing.T) {
	t.Parallel()
	f := newFake(t, []string{"events"})
	f.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req := kreq.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		resp.ThrottleMillis = 2000
		st := kmsg.NewProduceResponseTopic()
		st.Topic, st.TopicID = req.Topics[0].Topic, req.Topics[0].TopicID
		sp := kmsg.NewProduceResponseTopicPartition()
		sp.Partition, sp.ErrorCode = req.Topics[0].Partitions[0].Partition, kerr.NotEnoughReplicas.Code // which the client tries again
		st.Partitions, resp.Topics = append(st.Partitions, sp), append(resp.Topics, st)
		return resp, nil, true
	})
	snd := open(t, f.settings("events"))
	_, err := send(t, snd, message("evt_1"), 500*time.Millisecond)
	wantError(t, err, adapters.KindThrottled, adapters.ClassThrottled, "quota")
	if err != nil && (err.After < 500*time.Millisecond || err.After > 2*time.Second) {
		t.Errorf("the wait is %v", err.After)
	}
	adaptertest.Eventually(t, "the cluster to take messages again", func() bool {
		_, err := send(t, snd, message("evt_2"), long)
		return err == nil
	})
}

// A message whose fate is not known is a timeout, and is not sent when its time is over.
func TestNothingIsSentAfterTheDeadline(t *testing.T) {
	t.Parallel()
	f := newFake(t, []string{"events"})
	var mu sync.Mutex
	failing := true
	f.onProduce("events", func() *kerr.Error {
		mu.Lock()
		defer mu.Unlock()
		if failing {
			return kerr.NotEnoughReplicas // which the client tries again
		}
		return nil
	})
	snd := open(t, f.settings("events"))
	_, err := send(t, snd, message("evt_late"), 700*time.Millisecond)
	if err == nil || err.Kind != adapters.KindTransient || err.Class != adapters.ClassTimeout {
		t.Errorf("%+v", err)
	}
	mu.Lock()
	failing = false
	before := len(f.received())
	mu.Unlock()
	for i := range 5 {
		mustSend(t, snd, message(fmt.Sprintf("evt_%d", i)))
	}
	for _, r := range f.received()[before:] {
		if r.header("event-id") == "evt_late" {
			t.Error("the message was sent when its attempt was over")
		}
	}
}

func TestWhatIsNoKafka(t *testing.T) {
	t.Parallel()
	web := adaptertest.NewGreeter(t, "HTTP/1.1 400 Bad Request\r\n\r\n")
	_, err := send(t, open(t, settings(web.Addr().String(), "events")), message("evt_1"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassProtocol, "not with Kafka's protocol")
}

func TestLeaderMoves(t *testing.T) {
	t.Parallel()
	f := newFake(t, []string{"events"}, kfake.NumBrokers(3))
	snd := open(t, f.settings("events"))
	for i := range 30 {
		mustSend(t, snd, message(fmt.Sprintf("evt_%d", i)))
		if i%10 == 5 {
			f.ShufflePartitionLeaders()
		}
	}
}
