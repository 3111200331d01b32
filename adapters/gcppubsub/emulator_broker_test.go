//go:build brokers

package gcppubsub

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// emulator speaks to Google's emulator over REST as an administrator and a consumer do.
type emulator struct {
	t    testing.TB
	base string
}

func newEmulator(t testing.TB) *emulator {
	base := os.Getenv("WAYBILL_TEST_PUBSUB")
	if base == "" {
		t.Fatal("WAYBILL_TEST_PUBSUB has no address of an emulator; run scripts/test-brokers.sh pubsub")
	}
	return &emulator{t, base}
}

func (e *emulator) do(method, path string, body, answer any) {
	e.t.Helper()
	b, _ := json.Marshal(body)
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.base+"/v1/projects/my-project/"+path, bytes.NewReader(b))
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == 200 && answer != nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil || resp.StatusCode != 200 {
		e.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, text, err)
	}
}

// topic makes a topic with a subscription of the same name.
func (e *emulator) topic(name string) {
	e.t.Helper()
	e.do("PUT", "topics/"+name, map[string]any{}, nil)
	e.do("PUT", "subscriptions/"+name, map[string]any{"topic": "projects/my-project/topics/" + name, "enableMessageOrdering": true}, nil)
}

type pulled struct {
	ID          string            `json:"messageId"`
	Data        string            `json:"data"`
	Attributes  map[string]string `json:"attributes"`
	OrderingKey string            `json:"orderingKey"`
}

// pull consumes n messages and returns them by their ids.
func (e *emulator) pull(name string, n int) map[string]pulled {
	e.t.Helper()
	out := map[string]pulled{}
	adaptertest.Eventually(e.t, fmt.Sprintf("%d messages", n), func() bool {
		var answer struct {
			Messages []struct {
				AckID   string `json:"ackId"`
				Message pulled `json:"message"`
			} `json:"receivedMessages"`
		}
		e.do("POST", "subscriptions/"+name+":pull", map[string]any{"maxMessages": 1000, "returnImmediately": true}, &answer)
		var acks []string
		for _, m := range answer.Messages {
			acks = append(acks, m.AckID)
			out[m.Message.ID] = m.Message
		}
		if len(acks) > 0 {
			e.do("POST", "subscriptions/"+name+":acknowledge", map[string]any{"ackIds": acks}, nil)
		}
		return len(out) >= n
	})
	return out
}

// What is acknowledged can be consumed, with the id that the receipt names, whole.
func TestBrokerPublish(t *testing.T) {
	t.Parallel()
	e := newEmulator(t)
	name := fmt.Sprint("publish-", time.Now().UnixNano())
	e.topic(name)
	snd := open(t, at(e.base, name))
	const n = 500
	for i, err := range sideBySide(t, snd, n, func(i int) *adapters.Message {
		m := adaptertest.Event(fmt.Sprint("evt_", i))
		m.Data = []byte(fmt.Sprintf(`{ "n": %d.0, "text": "\u00fc ü" }`, i))
		m.Metadata = map[string]string{"region": "eu", "Zoë": "😀"}
		m.Computed = map[string]string{orderingField: []string{"", "a", "b"}[i%3]}
		return m
	}) {
		if err != nil {
			t.Fatalf("message %d: %+v", i, err)
		}
	}
	r, err := snd.Send(t.Context(), adaptertest.Event("evt_last"))
	if err != nil {
		t.Fatal(err)
	}
	var said struct{ MessageID string }
	json.Unmarshal(r.Body, &said)
	got := e.pull(name, n+1)
	if got[said.MessageID].Attributes["event-id"] != "evt_last" {
		t.Errorf("the receipt %s names %+v", r.Body, got[said.MessageID])
	}
	seen := map[string]int{}
	for _, m := range got {
		id := m.Attributes["event-id"]
		seen[id]++
		var i int
		if id == "evt_last" {
			continue
		}
		fmt.Sscanf(id, "evt_%d", &i)
		data, _ := base64.StdEncoding.DecodeString(m.Data)
		want := map[string]string{"event-id": id, "topic": "order.created", "timestamp": "2023-11-14T22:13:20Z", "region": "eu", "Zoë": "😀"}
		if string(data) != fmt.Sprintf(`{ "n": %d.0, "text": "\u00fc ü" }`, i) || !maps.Equal(m.Attributes, want) ||
			m.OrderingKey != []string{"", "a", "b"}[i%3] {
			t.Errorf("%+v %s", m, data)
		}
	}
	if len(seen) != n+1 || len(got) != n+1 {
		t.Errorf("%d messages of %d events", len(got), len(seen))
	}
}

// A topic that does not exist, is deleted, and comes back.
func TestBrokerTopicDeleted(t *testing.T) {
	t.Parallel()
	e := newEmulator(t)
	name := fmt.Sprint("deleted-", time.Now().UnixNano())
	snd := open(t, at(e.base, name))
	for range 2 {
		_, err := snd.Send(t.Context(), adaptertest.Event("evt_1"))
		if err == nil || adapters.AsError(err).Class != adapters.ClassNotFound || !strings.Contains(err.Error(), name) {
			t.Errorf("the topic is not there: %+v", err)
		}
		e.do("PUT", "topics/"+name, map[string]any{}, nil)
		if _, err := snd.Send(t.Context(), adaptertest.Event("evt_2")); err != nil {
			t.Errorf("the topic is there: %+v", err)
		}
		e.do("DELETE", "topics/"+name, nil, nil)
	}
}

func TestBrokerCheck(t *testing.T) {
	t.Parallel()
	e := newEmulator(t)
	name := fmt.Sprint("check-", time.Now().UnixNano())
	e.topic(name)
	stages := open(t, at(e.base, name)).(adapters.Checker).Check(t.Context())
	if last := stages[len(stages)-1]; last.Name != "publish" || !last.OK {
		t.Errorf("%+v", stages)
	}
}

// The emulator takes at most 10 MB a message, as Pub/Sub does, and what is below that goes through.
func TestBrokerLargeMessage(t *testing.T) {
	t.Parallel()
	e := newEmulator(t)
	name := fmt.Sprint("large-", time.Now().UnixNano())
	e.topic(name)
	m := adaptertest.Event("evt_large")
	m.Data = []byte(`{"a":"` + strings.Repeat("x", 5<<20) + `"}`)
	if _, err := open(t, at(e.base, name)).Send(t.Context(), m); err != nil {
		t.Fatalf("%+v", err)
	}
	for _, got := range e.pull(name, 1) {
		if data, _ := base64.StdEncoding.DecodeString(got.Data); !bytes.Equal(data, m.Data) {
			t.Errorf("%d bytes arrived", len(data))
		}
	}
}
