//go:build brokers && pubsub

package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"
)

// TestBrokerPubSubFaults uses Google's own emulator. It asks for no credentials, so these are not part of it.
func TestBrokerPubSubFaults(t *testing.T) {
	t.Parallel()
	service := os.Getenv("WAYBILL_TEST_PUBSUB")
	if service == "" {
		t.Fatal("WAYBILL_TEST_PUBSUB is not set; run: make test-brokers BROKERS=pubsub")
	}
	do := func(method, path string, body, answer any) error {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		req, err := http.NewRequest(method, service+"/v1/projects/my-project/"+path, bytes.NewReader(b))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s %s: %s", method, path, text)
		}
		if err == nil && answer != nil {
			err = json.Unmarshal(text, answer)
		}
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	name := fmt.Sprint("faults-", time.Now().UnixNano())
	g := newGate(t, service)
	c := &cloud{gate: g, missing: "not_found"}
	c.destination = map[string]any{"type": "gcp_pubsub", "config": map[string]string{"project_id": "my-project", "topic": name,
		"endpoint": g.url()}}
	c.throttled = func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"error":{"code":429,"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED"}}`))
	}
	c.create = func() {
		must(do("PUT", "topics/"+name, map[string]any{}, nil))
		must(do("PUT", "subscriptions/"+name, map[string]any{"topic": "projects/my-project/topics/" + name}, nil))
	}
	c.remove = func() {
		must(do("DELETE", "subscriptions/"+name, nil, nil))
		must(do("DELETE", "topics/"+name, nil, nil))
	}
	c.receive = func() (ids []string, err error) {
		var page struct {
			Messages []struct {
				AckID   string `json:"ackId"`
				Message struct{ Attributes map[string]string }
			} `json:"receivedMessages"`
		}
		if err := do("POST", "subscriptions/"+name+":pull", map[string]any{"maxMessages": 1000, "returnImmediately": true},
			&page); err != nil || len(page.Messages) == 0 {
			return nil, err
		}
		var acks []string
		for _, m := range page.Messages {
			ids, acks = append(ids, m.Message.Attributes["event-id"]), append(acks, m.AckID)
		}
		return ids, do("POST", "subscriptions/"+name+":acknowledge", map[string]any{"ackIds": acks}, nil)
	}
	c.suffers()
}
