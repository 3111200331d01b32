package adaptertest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// Harness is how the suite gets at one destination type.
type Harness struct {
	// Type is the type under test, registered.
	Type adapters.Type

	// Start brings up the other side, a fake or a real one, for one test. It is called once per test, in parallel, and
	// cleans up with the test.
	Start func(t *testing.T) Side
}

// Side is the other side of one test, and the settings that lead there. Settings that a type cannot have are nil, and
// what needs them is not tested: an in-process type is never unreachable.
//
// All settings must hold a value for every sensitive field, so that the suite can look for it in what people get to see.
type Side struct {
	Env  adapters.Env
	Good adapters.Settings // messages are accepted

	Refusing    *adapters.Settings // reached, and every message is refused
	Hanging     *adapters.Settings // reached, and nothing is ever answered
	Repeating   *adapters.Settings // whatever was sent is repeated in the answer, whether it accepts or refuses
	Unreachable *adapters.Settings // nobody is there

	// Late leads to where the first message is answered only when release is called, and the others at once.
	Late    *adapters.Settings
	Release func()

	// Secrets must not be seen by anybody, besides the values of sensitive fields.
	Secrets []string

	// Received is what has been accepted or refused so far, in order; nil when that cannot be known.
	Received func() []Delivery

	// PayloadOnly says that a message has a payload and an id and nothing beside it, so that its topic cannot be read.
	PayloadOnly bool

	// MaxData is how many bytes of a payload the other side takes; 0 for as many as the suite sends.
	MaxData int

	// Open is how many connections are open, as the other side sees it; nil when that cannot be known.
	Open func() int

	// AnswerTo is the id of the event that an answer belongs to; nil when an answer does not tell.
	AnswerTo func(adapters.Receipt) string
}

// Delivery is a message as a consumer on the other side reads it.
type Delivery struct {
	EventID string // every value that might be taken for it, joined by commas, should there be more than one
	Topic   string // as EventID
	Data    []byte
	// Attributes are the headers, properties or attributes beside the payload, by lower-case name; nil when there are
	// none to see.
	Attributes map[string]string
}

// settings are the ways to reach the other side that exist, by name.
func (s Side) settings() map[string]adapters.Settings {
	out := map[string]adapters.Settings{"good": s.Good}
	for name, set := range map[string]*adapters.Settings{"refusing": s.Refusing, "hanging": s.Hanging,
		"repeating": s.Repeating, "unreachable": s.Unreachable} {
		if set != nil {
			out[name] = *set
		}
	}
	return out
}

const (
	// soon is a deadline that passes during a test, slack how much later a call may return on a busy machine.
	soon  = 300 * time.Millisecond
	slack = 5 * time.Second
)

// Run proves that a type keeps the contract.
func Run(t *testing.T, h Harness) {
	for name, test := range map[string]func(*testing.T, Harness){
		"spec":                testSpec,
		"settings":            testSettings,
		"payload unchanged":   testPayload,
		"metadata":            testMetadata,
		"formats":             testFormats,
		"concurrent sends":    testConcurrency,
		"refused":             testRefused,
		"unreachable":         testUnreachable,
		"deadline":            testDeadline,
		"canceled":            testCanceled,
		"canceled before":     testCanceledBefore,
		"answer too late":     testLate,
		"check sends nothing": testCheck,
		"close":               testClose,
		"secrets":             testSecrets,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, h)
		})
	}
}

func open(t *testing.T, h Harness, side Side, set adapters.Settings) adapters.Sender {
	t.Helper()
	snd, err := h.Type.Open(side.Env, set)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { snd.Close() })
	return snd
}

func message(id string) *adapters.Message {
	return &adapters.Message{EventID: id, Topic: "order.created", Time: time.Unix(1700000000, 0), Attempt: 1,
		Data: []byte(`{"id":"` + id + `"}`)}
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// mustSend sends a message that has to be accepted.
func mustSend(t *testing.T, snd adapters.Sender, m *adapters.Message) adapters.Receipt {
	t.Helper()
	r, err := snd.Send(within(t, 30*time.Second), m)
	checkOutcome(t, r, err)
	if err != nil {
		t.Fatalf("Send: %v (%s)", err, adapters.AsError(err).Raw)
	}
	if r.Method == "" {
		t.Errorf("the receipt of an accepted message says nothing: %+v", r)
	}
	return r
}

// arrived waits until a message is there and returns all that are under its id.
func arrived(t *testing.T, side Side, id string) (found []Delivery) {
	t.Helper()
	Eventually(t, "the message "+id, func() bool {
		found = nil
		for _, d := range side.Received() {
			if strings.Contains(d.EventID, id) {
				found = append(found, d)
			}
		}
		return len(found) > 0
	})
	return found
}

// payloads are JSON texts that survive only when nobody parses and prints them again.
func payloads() map[string][]byte {
	return map[string][]byte{
		"empty object": []byte(`{}`),
		"key order":    []byte(`{"b":1,"a":2,"b":3}`),
		"spaces":       []byte(" {\n\t\"a\" : [ 1 ,2 ]\r\n} \n"),
		"numbers":      []byte(`{"a":12345678901234567890.10,"b":1e400,"c":-0.0,"d":1E+2}`),
		"escapes":      []byte(`{"a":"\u00fc\/\u0000\ud83d\ude00<>&\u2028"}`),
		"utf-8":        []byte("{\"ü\":\"😀 \u2028\"}"),
		"large":        []byte(`{"a":"` + strings.Repeat("0123456789abcdef", 12<<10) + `"}`),
	}
}

func testPayload(t *testing.T, h Harness) {
	side := h.Start(t)
	snd := open(t, h, side, side.Good)
	n := 0
	for name, data := range payloads() {
		n++
		if side.MaxData > 0 && len(data) > side.MaxData {
			data = fmt.Appendf(nil, `{"a":"%s"}`, bytes.Repeat([]byte("x"), side.MaxData-8))
		}
		m := message(fmt.Sprintf("evt-payload-%d", n))
		m.Data = bytes.Clone(data)
		mustSend(t, snd, m)
		if !bytes.Equal(m.Data, data) {
			t.Errorf("%s: Send changed the message", name)
		}
		if side.Received == nil {
			continue
		}
		if got := arrived(t, side, m.EventID); len(got) != 1 || !bytes.Equal(got[0].Data, data) {
			t.Errorf("%s: %d messages arrived, the first is %.200q", name, len(got), got[0].Data)
		}
	}
}

// testMetadata sends metadata that wants to be something else, and metadata that is no text for a header.
func testMetadata(t *testing.T, h Harness) {
	side := h.Start(t)
	snd := open(t, h, side, side.Good)
	hostile := map[string]string{}
	for _, k := range []string{"id", "event_id", "event-id", "Event-Id", "topic", "TOPIC", "timestamp", "signature", "attempt",
		"webhook-id", "webhook-signature", "waybill-topic", "x-outpost-event-id", "Host", "host", "Content-Length", "Content-Type",
		"Transfer-Encoding", "Connection", "message_id", "MessageId", "key", "ce-id", "type", "source", "datacontenttype"} {
		hostile[k] = "forged"
	}
	hostile["a\r\nwebhook-id: forged\r\n\r\nb"] = "x\r\nwebhook-id: forged\r\n\r\n{}"
	hostile[""], hostile["empty"], hostile["spaces"], hostile["ünï"] = "x", "", "  a  ", "Zoë 😀 50%"
	hostile["bytes"], hostile["long"] = "\xff\x00\x7f", strings.Repeat("x", 900)
	for i := range 4 {
		m := message(fmt.Sprintf("evt-meta-%d", i))
		if i&1 != 0 {
			m.Metadata = hostile
		}
		if i&2 != 0 {
			m.DeliveryMetadata = hostile
		}
		mustSend(t, snd, m)
		if side.Received == nil {
			continue
		}
		got := arrived(t, side, m.EventID)
		if len(got) != 1 || got[0].EventID != m.EventID || got[0].Topic != m.Topic && !side.PayloadOnly ||
			!bytes.Equal(got[0].Data, m.Data) {
			t.Errorf("metadata changed the message: %+v", got)
		}
	}
	if side.Received != nil && len(side.Received()) != 4 {
		t.Errorf("4 messages were sent, %d arrived", len(side.Received()))
	}
}

func testConcurrency(t *testing.T, h Harness) {
	side := h.Start(t)
	snd := open(t, h, side, side.Good)
	const senders, each = 8, 20
	var all sync.WaitGroup
	var want []string
	for g := range senders {
		for i := range each {
			want = append(want, fmt.Sprintf("evt-c-%d-%02d", g, i))
		}
		all.Go(func() {
			for i := range each {
				m := message(fmt.Sprintf("evt-c-%d-%02d", g, i))
				m.Metadata = map[string]string{"g": fmt.Sprint(g)}
				r, err := snd.Send(within(t, 30*time.Second), m)
				if checkOutcome(t, r, err); err != nil {
					t.Errorf("%s: %v", m.EventID, err)
				} else if side.AnswerTo != nil && side.AnswerTo(r) != m.EventID {
					t.Errorf("%s got the answer to %s", m.EventID, side.AnswerTo(r))
				}
			}
		})
	}
	all.Wait()
	if side.Received == nil {
		return
	}
	Eventually(t, "all messages", func() bool { return len(side.Received()) >= len(want) })
	var got []string
	for _, d := range side.Received() {
		got = append(got, d.EventID)
		if string(d.Data) != string(message(d.EventID).Data) {
			t.Errorf("%s has the payload %q", d.EventID, d.Data)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d messages were sent, %d arrived, or others than were sent", len(want), len(got))
	}
}

func testRefused(t *testing.T, h Harness) {
	side := h.Start(t)
	if side.Refusing == nil {
		t.Log("this type's other side cannot refuse")
		return
	}
	snd := open(t, h, side, *side.Refusing)
	r, err := snd.Send(within(t, 30*time.Second), message("evt-refused"))
	checkOutcome(t, r, err)
	if err == nil {
		t.Fatal("a refused message counts as delivered")
	}
	if r.Method == "" || r.Code == 0 && len(r.Body) == 0 {
		t.Errorf("the other side answered, and the receipt does not say what: %+v", r)
	}
	if side.Received != nil && len(side.Received()) > 1 {
		t.Errorf("one call sent %d times", len(side.Received()))
	}
}

func testUnreachable(t *testing.T, h Harness) {
	side := h.Start(t)
	if side.Unreachable == nil {
		return
	}
	snd := open(t, h, side, *side.Unreachable)
	r, err := snd.Send(within(t, 30*time.Second), message("evt-nobody"))
	checkOutcome(t, r, err)
	if e := adapters.AsError(err); err == nil || e.Kind != adapters.KindTransient {
		t.Errorf("nobody is there, and Send says %+v", err)
	}
	if r.Code != 0 || r.Body != nil {
		t.Errorf("nobody is there, and the receipt says %+v", r)
	}
}
