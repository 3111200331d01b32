package gcppubsub

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: typ, Start: func(t *testing.T) adaptertest.Side {
		f := newFake(t)
		return adaptertest.Side{
			Env: adaptertest.Env(), Good: *f.at("orders"), Refusing: f.at("refuse"), Hanging: f.at("hang"), Repeating: f.at("repeat"),
			Unreachable: at("https://"+adaptertest.ClosedPort(t), "orders"), Late: f.at("late"), Release: func() { close(f.release) },
			Secrets: []string{privateKey()}, Open: f.Open, Received: f.received,
			AnswerTo: func(r adapters.Receipt) string {
				var said struct{ MessageID string }
				json.Unmarshal(r.Body, &said)
				f.mu.Lock()
				defer f.mu.Unlock()
				return f.ids[said.MessageID]
			},
		}
	}})
}

// No receipt or error shows the token, though the other side repeats it.
func TestTokenIsMasked(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	r, err := open(t, f.at("repeat")).Send(t.Context(), adaptertest.Event("evt_1"))
	if err == nil {
		t.Fatal("a failing answer counts as published")
	}
	sent := strings.TrimPrefix(f.Requests()[0].Header.Get("Authorization"), "Bearer ")
	shown := fmt.Sprintf("%+v %s %+v", r, r.Body, adapters.AsError(err))
	if len(sent) < 100 || strings.Contains(shown, sent) || strings.Contains(shown, strings.Split(sent, ".")[2]) {
		t.Errorf("the token is shown: %s", shown)
	}
}

// sideBySide sends n events at once and returns the error of each.
func sideBySide(t *testing.T, snd adapters.Sender, n int, of func(i int) *adapters.Message) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, errs[i] = snd.Send(ctx, of(i))
		})
	}
	all.Wait()
	return errs
}

// What waits goes out together, and a message that Pub/Sub refuses does not take others with it.
func TestBatches(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	const poison = 37
	busy := make(chan struct{})
	held := 0
	f.on("mixed", func(ms []*pb.PubsubMessage) adaptertest.Answer {
		for _, m := range ms {
			if m.Attributes["event-id"] == fmt.Sprint("evt_", poison) {
				return problem(400, "INVALID_ARGUMENT", "The schema does not fit.")
			}
		}
		answer := f.publish("projects/my-project/topics/orders", &pb.PublishRequest{Messages: ms})
		f.mu.Lock()
		defer f.mu.Unlock()
		if held++; held <= calls {
			answer.Wait = busy // the first requests keep the others waiting
		}
		return answer
	})
	snd := open(t, f.at("mixed"))
	go func() {
		adaptertest.Eventually(t, "the others to wait", func() bool {
			q := &snd.(*sender).queues
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.byKey[""] != nil && q.byKey[""].users == 100
		})
		close(busy)
	}()
	for i, err := range sideBySide(t, snd, 100, func(i int) *adapters.Message { return adaptertest.Event(fmt.Sprint("evt_", i)) }) {
		if i != poison && err != nil {
			t.Errorf("message %d: %+v", i, err)
		}
		if i == poison && (err == nil || adapters.AsError(err).Kind != adapters.KindPermanent ||
			!strings.Contains(adapters.AsError(err).Raw, "schema")) {
			t.Errorf("the message that is refused: %+v", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.batches) > 40 {
		t.Errorf("100 messages took %d requests: %v", len(f.batches), f.batches)
	}
	times := map[string]int{}
	for _, id := range f.ids {
		times[id]++
	}
	if len(times) != 99 || len(f.ids) != 99 {
		t.Errorf("%d messages were published, of %d events", len(f.ids), len(times))
	}
}

// A request has one ordering key, or Pub/Sub refuses it.
func TestOrderingKeys(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	snd := open(t, f.at("orders"))
	for i, err := range sideBySide(t, snd, 120, func(i int) *adapters.Message {
		m := adaptertest.Event(fmt.Sprint("evt_", i))
		m.Computed = map[string]string{"ordering_key_template": []string{"", "a", "b"}[i%3]}
		return m
	}) {
		if err != nil {
			t.Errorf("message %d: %+v", i, err)
		}
	}
	counts := map[string]int{}
	f.mu.Lock()
	for _, m := range f.messages {
		counts[m.OrderingKey]++
	}
	f.mu.Unlock()
	if counts[""] != 40 || counts["a"] != 40 || counts["b"] != 40 {
		t.Errorf("messages by key: %v", counts)
	}
	long := adaptertest.Event("evt_long")
	long.Computed = map[string]string{"ordering_key_template": strings.Repeat("x", 1025)}
	if r, err := snd.Send(t.Context(), long); err == nil || adapters.AsError(err).Kind != adapters.KindPermanent || r.Method != "" {
		t.Errorf("a key of 1025 bytes: %+v, %v", r, err)
	}
	if q := &snd.(*sender).queues; len(q.byKey) > 1 {
		t.Errorf("%d queues are left", len(q.byKey))
	}
}

// Ours go, and metadata as far as Pub/Sub takes it.
func TestAttributes(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	m := adaptertest.Event("evt_1")
	m.Metadata = map[string]string{"region": "eu", "Event-ID": "forged", "googclient": "x", strings.Repeat("n", 257): "x",
		"fits": strings.Repeat("v", 1024), "long": strings.Repeat("v", 1025), "bytes": "a\xff", "\xfe": "x"}
	for i := range 150 {
		m.DeliveryMetadata = map[string]string{}
		m.DeliveryMetadata[fmt.Sprintf("z%03d", i)] = "x"
		m.Metadata[fmt.Sprintf("y%03d", i)] = "x"
	}
	if _, err := open(t, f.at("orders")).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := f.received()[0]
	if len(got.Attributes) != 100 || got.EventID != "evt_1" || got.Topic != "order.created" || got.Attributes["region"] != "eu" ||
		got.Attributes["timestamp"] != "2023-11-14T22:13:20Z" || len(got.Attributes["fits"]) != 1024 ||
		got.Attributes["bytes"] != "a\uFFFD" {
		t.Errorf("%d attributes: %v", len(got.Attributes), got.Attributes)
	}
	for _, name := range []string{"googclient", "long", strings.Repeat("n", 257), ""} {
		if _, ok := got.Attributes[name]; ok {
			t.Errorf("the attribute %.20q was sent", name)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	for _, c := range []struct {
		answer adaptertest.Answer
		kind   adapters.Kind
		class  adapters.Class
		says   string
	}{
		{problem(400, "INVALID_ARGUMENT", "You have passed an invalid argument.\nsecond line"), adapters.KindPermanent,
			adapters.ClassRejected, "invalid argument. second line"},
		{problem(400, "FAILED_PRECONDITION", "Billing is off."), adapters.KindTransient, adapters.ClassRejected, "billing"},
		{problem(401, "UNAUTHENTICATED", "No."), adapters.KindTransient, adapters.ClassAuth, "key has not been deleted"},
		{problem(403, "PERMISSION_DENIED", "No."), adapters.KindTransient, adapters.ClassAuth, "Pub/Sub Publisher"},
		{problem(404, "NOT_FOUND", "No."), adapters.KindTransient, adapters.ClassNotFound, "projects/my-project/topics/scripted"},
		{problem(410, "GONE", "No."), adapters.KindTransient, adapters.ClassNotFound, "endpoint"},
		{problem(413, "INVALID_ARGUMENT", "No."), adapters.KindPermanent, adapters.ClassTooLarge, "Send less data"},
		{problem(429, "RESOURCE_EXHAUSTED", "No."), adapters.KindThrottled, adapters.ClassThrottled, "quota"},
		{problem(500, "INTERNAL", "No."), adapters.KindTransient, adapters.ClassServer, "status page"},
		{problem(503, "UNAVAILABLE", "No."), adapters.KindThrottled, adapters.ClassServer, "503"},
		{problem(504, "DEADLINE_EXCEEDED", "No."), adapters.KindTransient, adapters.ClassTimeout, "all the same"},
		{adaptertest.Answer{Status: 302, Header: []string{"Location: https://elsewhere.test/"}}, adapters.KindTransient,
			adapters.ClassRedirect, "endpoint"},
		{adaptertest.Answer{Body: `{"messageIds":["1","2"]}`}, adapters.KindTransient, adapters.ClassProtocol, "id for each message"},
		{adaptertest.Answer{Body: `<html>`}, adapters.KindTransient, adapters.ClassProtocol, "id for each message"},
		{adaptertest.Answer{Close: true}, adapters.KindTransient, adapters.ClassConnect, "closed the connection"},
	} {
		f.on("scripted", func([]*pb.PubsubMessage) adaptertest.Answer { return c.answer })
		r, err := open(t, f.at("scripted")).Send(t.Context(), adaptertest.Event("evt_1"))
		if err == nil {
			t.Errorf("%d counts as published", c.answer.Status)
			continue
		}
		e := adapters.AsError(err)
		if e.Kind != c.kind || e.Class != c.class || !strings.Contains(e.Message+e.Advice+e.Raw, c.says) ||
			strings.Contains(e.Message+e.Advice, "URL") {
			t.Errorf("%d: %+v", c.answer.Status, e)
		}
		if c.answer.Status != 0 && (r.Code != c.answer.Status || r.Method != "Publish") {
			t.Errorf("%d: the receipt is %+v", c.answer.Status, r)
		}
	}
	large := adaptertest.Event("evt_large")
	large.Data = make([]byte, maxData+1)
	n := len(f.Requests())
	if r, err := open(t, f.at("orders")).Send(t.Context(), large); adapters.AsError(err).Class != adapters.ClassTooLarge ||
		r.Method != "" || len(f.Requests()) != n {
		t.Errorf("a message over the limit: %+v, %v", r, err)
	}
}

// A topic that is deleted and created anew, and connections that are cut, need no new sender.
func TestRecovery(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.create("fleeting")
	snd := open(t, f.at("fleeting"))
	send := func() error {
		_, err := snd.Send(t.Context(), adaptertest.Event("evt_1"))
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	f.remove("fleeting")
	if e := adapters.AsError(send()); e.Class != adapters.ClassNotFound {
		t.Errorf("the topic is gone: %+v", e)
	}
	f.create("fleeting")
	f.CloseIdle()
	if err := send(); err != nil {
		t.Errorf("the topic is back: %+v", err)
	}
}

func TestCheckTellsRights(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	last := func(s *adapters.Settings) adapters.Stage {
		stages := open(t, s).(adapters.Checker).Check(t.Context())
		return stages[len(stages)-1]
	}
	if s := last(f.at("orders")); s.Name != "publish" || !s.OK {
		t.Errorf("%+v", s)
	}
	f.mu.Lock()
	f.may = nil
	f.mu.Unlock()
	if s := last(f.at("orders")); s.Name != "publish" || s.OK || !strings.Contains(s.Advice, "Pub/Sub Publisher") {
		t.Errorf("without the right: %+v", s)
	}
	other := f.at("orders")
	other.Credentials["service_account_json"] = strings.Replace(keyFile(), email, "somebody@else.test", 1)
	if s := last(other); s.Name != "auth" || s.OK {
		t.Errorf("with another account: %+v", s)
	}
}
