//go:build brokers && prometheus

package app

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// series is a line of Prometheus's answer, at one time (Value) or over some (Values).
type series struct {
	Metric map[string]string
	Value  []any
	Values [][]any
}

// promGet asks Prometheus and decodes what it answers into data.
func promGet(t *testing.T, path string, query url.Values, data any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, os.Getenv("WAYBILL_TEST_PROMETHEUS")+path+"?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Warnings      []string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if answer.Status != "success" || len(answer.Warnings) > 0 {
		t.Errorf("%s %v: %s %v", path, query, answer.Error, answer.Warnings)
		return
	}
	if err := json.Unmarshal(answer.Data, data); err != nil {
		t.Fatal(err)
	}
}

func promQuery(t *testing.T, path string, query url.Values) []series {
	t.Helper()
	var data struct{ Result []series }
	promGet(t, path, query, &data)
	return data.Result
}

// TestBrokerPrometheus scrapes a server, asks all that Grafana's dashboard asks, and lets a rule of deploy/ fire through to
// whoever Alertmanager tells.
func TestBrokerPrometheus(t *testing.T) {
	targets, receiver := os.Getenv("WAYBILL_TEST_PROMETHEUS_TARGETS"), os.Getenv("WAYBILL_TEST_ALERT_RECEIVER")
	if targets == "" || receiver == "" {
		t.Fatal("WAYBILL_TEST_PROMETHEUS is not set; run: make test-brokers BROKERS=prometheus")
	}
	told := make(chan map[string]any, 100)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", receiver)
	if err != nil {
		t.Fatal(err)
	}
	to := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		told <- body
	}))
	to.Listener.Close()
	to.Listener = l
	to.Start()
	t.Cleanup(to.Close)

	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	gone, err := freePort() // where nobody listens
	if err != nil {
		t.Fatal(err)
	}
	a := newTestApp(t, func(c *Config) { c.MetricsAddr = fmt.Sprintf("127.0.0.1:%d", port) })
	a.want(201, "PUT", "/tenants/acme", nil)
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "inbox", "type": "echo", "topics": "*", "config": map[string]any{}})
	scrape := func(addresses ...string) {
		b, err := json.Marshal([]any{map[string]any{"targets": addresses}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(targets+".new", b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(targets+".new", targets); err != nil {
			t.Fatal(err)
		}
	}
	healthy := fmt.Sprintf("127.0.0.1:%d", port)
	scrape(healthy)

	// What happens shows up. A rate needs a change between two scrapes, so something happens in each round.
	for deadline := time.Now().Add(time.Minute); ; <-time.After(100 * time.Millisecond) {
		a.want(202, "POST", "/publish", map[string]any{"tenant_id": "acme", "topic": "order.created", "data": map[string]any{"order": 17}})
		if len(promQuery(t, "/api/v1/query", url.Values{"query": {`sum(rate(waybill_deliveries_finished_total{status="delivered"}[1m])) > 0`}})) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("Prometheus sees no deliveries")
		}
	}
	if r := promQuery(t, "/api/v1/query", url.Values{"query": {`up{job="waybill"}`}}); len(r) != 1 || r[0].Metric["instance"] != healthy || r[0].Value[1] != "1" {
		t.Errorf("scraped: %v", r)
	}

	// Every query of the dashboard, as Grafana would send it.
	b, err := os.ReadFile("../deploy/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard any
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	queries := expressions(dashboard, nil)
	if len(queries) < 40 {
		t.Errorf("only %d queries are found", len(queries))
	}
	now := time.Now()
	empty := 0
	for _, q := range queries {
		q = strings.NewReplacer("$job", ".*", "$__rate_interval", "1m").Replace(q)
		r := promQuery(t, "/api/v1/query_range", url.Values{"query": {q}, "start": {fmt.Sprint(now.Add(-time.Minute).Unix())}, "end": {fmt.Sprint(now.Unix() + 1)}, "step": {"1"}})
		if len(r) == 0 {
			empty++
			t.Logf("nothing yet for %s", q)
		}
	}
	if empty > 10 { // those that need failures
		t.Errorf("%d of %d queries have no data", empty, len(queries))
	}

	// Every rule of deploy/ is loaded, and evaluates.
	written, err := os.ReadFile("../deploy/prometheus-rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var loaded struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	promGet(t, "/api/v1/rules", nil, &loaded)
	n := 0
	for _, g := range loaded.Groups {
		for _, r := range g.Rules {
			if n++; r.Health != "ok" {
				t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if want := strings.Count(string(written), "- alert: "); n != want || n == 0 {
		t.Errorf("%d rules are loaded of %d", n, want)
	}

	// A process that is gone: the rule fires, Alertmanager tells, and tells again when it is over.
	scrape(healthy, fmt.Sprintf("127.0.0.1:%d", gone))
	for _, status := range []string{"firing", "resolved"} {
		for deadline := time.After(time.Minute); ; {
			var body map[string]any
			select {
			case body = <-told:
			case <-deadline:
				t.Fatalf("nobody was told that WaybillDown is %s", status)
			}
			labels, _ := body["commonLabels"].(map[string]any)
			annotations, _ := body["commonAnnotations"].(map[string]any)
			if labels["alertname"] != "WaybillDown" || body["status"] != status {
				continue
			}
			if labels["severity"] != "critical" || labels["instance"] != fmt.Sprintf("127.0.0.1:%d", gone) || !strings.Contains(fmt.Sprint(annotations["runbook"]), "See whether the process runs") {
				t.Errorf("told %v", body)
			}
			break
		}
		scrape(healthy)
	}
}

// expressions collects the values of "expr".
func expressions(v any, out []string) []string {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			out = expressions(e, out)
		}
	case map[string]any:
		for k, e := range v {
			if s, ok := e.(string); ok && k == "expr" {
				out = append(out, s)
			}
			out = expressions(e, out)
		}
	}
	return out
}
