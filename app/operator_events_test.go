package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// operatorEvent is an operator event as consumers of Outpost read it.
type operatorEvent struct {
	ID       string          `json:"id"`
	Topic    string          `json:"topic"`
	Time     string          `json:"time"`
	TenantID string          `json:"tenant_id"`
	Data     json.RawMessage `json:"data"`
}

// consumer receives operator events and checks their signatures as Outpost's documentation says.
type consumer struct {
	*httptest.Server
	t      testing.TB
	mu     sync.Mutex
	events []operatorEvent
}

const consumerSecret = "a secret of the consumer"

func newConsumer(t testing.TB) *consumer {
	c := &consumer{t: t}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, []byte(consumerSecret))
		mac.Write(body)
		if got := r.Header.Get("X-Outpost-Signature"); got != "v0="+hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("signature %q", got)
		}
		var e operatorEvent
		if err := json.Unmarshal(body, &e); err != nil || e.ID == "" || e.Topic == "" || e.Time == "" {
			t.Errorf("%v: %s", err, body)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.events = append(c.events, e)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *consumer) of(topic string) (out []operatorEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.Topic == topic {
			out = append(out, e)
		}
	}
	return out
}

// TestOperatorEvents has each of the operator events sent to a consumer that was written for Outpost.
func TestOperatorEvents(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.DisableAfter, c.DisableLeast, c.Topics = 4, 0, []string{"bad", "good"} })
	c := newConsumer(t)
	const operators = "/tenants/" + models.OperatorTenant
	out := a.want(422, "POST", operators+"/destinations", `{"type":"webhook","topics":["good"],"config":{"url":"`+c.URL+`"}}`)
	if !strings.Contains(out.str("fields", "topics[0]"), "attempt.failed") {
		t.Errorf("%s", out.raw)
	}
	a.want(201, "POST", operators+"/destinations", map[string]any{"id": "ops", "type": "webhook", "topics": "*",
		"config": map[string]any{"url": c.URL}, "signature": "outpost",
		"credentials": map[string]any{"secret": consumerSecret}})
	a.want(201, "PUT", "/tenants/acme", nil)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"inbox","type":"echo","topics":["good"]}`)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"dead","type":"echo","topics":["bad"],"config":{"answer":"500"}}`)
	a.eventually("/healthz", func(answer) bool { // until the workers know that attempts are wanted
		a.want(200, "POST", "/publish", `{"tenant_id":"acme","topic":"good","data":{"order":17}}`, "Prefer", "wait=20")
		return len(c.of("attempt.success")) > 0
	})
	for i := range 4 {
		a.want(202, "POST", "/publish",
			fmt.Sprintf(`{"tenant_id":"acme","id":"bad-%d","topic":"bad","metadata":{"source":"shop"},"data":{"order":%d}}`, i, i))
	}
	a.eventually(operators+"/destinations/ops/attempts", func(answer) bool {
		return len(c.of("attempt.failed")) == 12 && len(c.of("alert.attempt.exhausted_retries")) == 4 &&
			len(c.of("alert.destination.consecutive_failure")) == 4 &&
			len(c.of("alert.destination.disabled")) == 1 && len(c.of("tenant.subscription.updated")) == 2
	})
	var sub struct {
		TenantID   string   `json:"tenant_id"`
		Topics     []string `json:"topics"`
		Previous   []string `json:"previous_topics"`
		Count, Was int
	}
	told := c.of("tenant.subscription.updated") // in whatever order they came
	last := told[slices.IndexFunc(told, func(e operatorEvent) bool { return strings.Contains(string(e.Data), `"destinations_count":2`) })]
	if err := json.Unmarshal(last.Data, &sub); err != nil || last.TenantID != "acme" || sub.TenantID != "acme" ||
		!slices.Equal(sub.Topics, []string{"bad", "good"}) ||
		!slices.Equal(sub.Previous, []string{"good"}) || !strings.Contains(string(last.Data),
		`"destinations_count":2,"previous_destinations_count":1`) {
		t.Errorf("%v: %s", err, last.Data)
	}
	var data struct {
		TenantID string `json:"tenant_id"`
		Event    struct {
			ID            string            `json:"id"`
			DestinationID string            `json:"destination_id"`
			Matched       []string          `json:"matched_destination_ids"`
			Topic         string            `json:"topic"`
			Retry         bool              `json:"eligible_for_retry"`
			Metadata      map[string]string `json:"metadata"`
			Data          map[string]any    `json:"data"`
		} `json:"event"`
		Attempt struct {
			ID, Status, Code string
			Number           int            `json:"attempt_number"`
			Type             string         `json:"destination_type"`
			Response         map[string]any `json:"response_data"`
		} `json:"attempt"`
		Destination struct {
			ID, Type string
			Topics   []string
			Config   map[string]string
			Disabled *string `json:"disabled_at"`
		} `json:"destination"`
		Failures struct{ Current, Max, Threshold int } `json:"consecutive_failures"`
		Reason   string
	}
	steps := map[int]bool{}
	for _, topic := range []string{"attempt.failed", "alert.attempt.exhausted_retries", "alert.destination.consecutive_failure",
		"alert.destination.disabled"} {
		for _, e := range c.of(topic) {
			data.Failures.Threshold = 0
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Fatal(err)
			}
			if data.TenantID != "acme" || data.Event.Topic != "bad" || data.Event.DestinationID != "dead" ||
				!slices.Equal(data.Event.Matched, []string{"dead"}) || !data.Event.Retry ||
				data.Event.Metadata["source"] != "shop" || data.Event.Data["order"] == nil || data.Attempt.Status != "failed" ||
				data.Attempt.Code != "500" || data.Attempt.Type != "echo" ||
				data.Attempt.Response["status"] != 500.0 || data.Destination.ID != "dead" || data.Destination.Type != "echo" {
				t.Errorf("%s: %s", topic, e.Data)
			}
			if topic == "alert.attempt.exhausted_retries" && data.Attempt.Number != 3 {
				t.Errorf("attempt %d used up the retries", data.Attempt.Number)
			}
			if topic == "alert.destination.consecutive_failure" {
				if data.Failures.Max != 4 || data.Failures.Current < 2 {
					t.Errorf("%s", e.Data)
				}
				steps[data.Failures.Threshold] = true
			}
			if topic == "alert.destination.disabled" && (data.Reason != "consecutive_failure" || data.Destination.Disabled == nil) {
				t.Errorf("%s", e.Data)
			}
		}
	}
	if len(steps) != 4 || !steps[50] || !steps[100] {
		t.Errorf("steps %v", steps)
	}
	// They are events like others: listed, retried, and never told of themselves.
	listed := a.want(200, "GET", "/deliveries?tenant_id="+models.OperatorTenant+"&topic=alert.destination.disabled", nil)
	a.want(200, "POST", "/retry", `{"event_id":"`+listed.str("models", "0",
		"event_id")+`","destination_id":"ops","tenant_id":"`+models.OperatorTenant+`"}`, "Prefer", "wait=20")
	if n := len(c.of("alert.destination.disabled")); n != 2 {
		t.Errorf("%d after a retry", n)
	}
	for _, e := range c.of("attempt.success") {
		if e.TenantID != "acme" {
			t.Errorf("an operator event told of itself: %s", e.Data)
		}
	}
	a.want(422, "POST", "/publish", `{"tenant_id":"`+models.OperatorTenant+`","topic":"attempt.failed","data":{}}`)
	a.want(409, "DELETE", operators, nil)
	a.want(422, "PUT", operators, nil)
	if out := a.want(200, "GET", "/tenants", nil); strings.Contains(out.raw, models.OperatorTenant) {
		t.Errorf("listed among tenants: %s", out.raw)
	}
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	token.want(404, "GET", operators+"/destinations", nil)
}

// TestOperatorEnvironment sets a destination of the operators up by the environment, changes it and takes it away.
func TestOperatorEnvironment(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, nil)
	read := func(env map[string]string) error {
		c, err := config.ReadConfig("serve", func(name string) string { return env[name] })
		if err == nil {
			cfg.Operator = c.Operator
		}
		return err
	}
	const path = "/tenants/" + models.OperatorTenant + "/destinations"
	if err := read(map[string]string{"OPERATOR_EVENTS_TOPICS": "*"}); err == nil ||
		!strings.Contains(err.Error(), "OPERATOR_EVENTS_HTTP_URL") {
		t.Errorf("topics without a sink: %v", err)
	}
	if err := read(map[string]string{"OPERATOR_EVENTS_TOPICS": "alert.destination.disabled",
		"OPERATOR_EVENTS_HTTP_URL": "http://127.0.0.1/ops", "OPERATOR_EVENTS_HTTP_SIGNING_SECRET": consumerSecret}); err != nil {
		t.Fatal(err)
	}
	a := newProcessOf(t, cfg)
	out := a.want(200, "GET", path+"/environment", nil)
	if out.str("type") != "webhook" || out.str("config", "url") != "http://127.0.0.1/ops" || out.str("signature") != "outpost" ||
		out.str("topics", "0") != "alert.destination.disabled" {
		t.Errorf("%s", out.raw)
	}
	version := out.str("version")
	a = newProcessOf(t, cfg)
	if out = a.want(200, "GET", path+"/environment", nil); out.str("version") != version {
		t.Errorf("a start without a change makes version %s of %s", out.str("version"), version)
	}
	for typ, env := range map[string]map[string]string{
		"rabbitmq": {"OPERATOR_EVENTS_RABBITMQ_SERVER_URL": "amqp://guest:secret@127.0.0.1:5672",
			"OPERATOR_EVENTS_RABBITMQ_EXCHANGE": "ops"},
		"aws_sqs": {"OPERATOR_EVENTS_AWS_SQS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/ops",
			"OPERATOR_EVENTS_AWS_SQS_REGION": "eu-west-1", "OPERATOR_EVENTS_AWS_SQS_ACCESS_KEY_ID": "AKIDEXAMPLE",
			"OPERATOR_EVENTS_AWS_SQS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIEXAMPLEKEY"},
		"(no topic)": {},
	} {
		if typ != "(no topic)" {
			env["OPERATOR_EVENTS_TOPICS"] = "*"
		}
		if err := read(env); err != nil {
			t.Fatal(err)
		}
		a.Cfg.Operator = cfg.Operator
		if err := a.followEnvironment(a.Context(), a.Cfg); err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		if out := a.do("GET", path+"/environment", nil); typ == "(no topic)" && out.status != 404 || typ != "(no topic)" &&
			out.str("type") != typ {
			t.Errorf("%s: %s", typ, out.raw)
		}
	}
}
