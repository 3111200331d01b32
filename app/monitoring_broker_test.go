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

	"github.com/waybill-dev/waybill/app/bench"
	"github.com/waybill-dev/waybill/app/config"
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
		t.Fatalf("%s %v: %s %v", path, query, answer.Error, answer.Warnings)
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
	port, err := bench.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	gone, err := bench.FreePort() // where nobody listens
	if err != nil {
		t.Fatal(err)
	}
	healthy, down := fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", gone)
	told := toldOf(t, receiver, down)
	a := newTestApp(t, func(c *config.Config) { c.MetricsAddr = healthy })
	a.want(201, "PUT", "/tenants/acme", nil)
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "inbox", "type": "echo", "topics": "*",
		"config": map[string]any{}})
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "broken", "type": "webhook", "topics": "*",
		"config": map[string]any{"url": "http://" + down},
		"retry":  map[string]any{"schedule": []string{"100ms"}}})
	write := func(addresses ...string) {
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
	write(healthy)

	// What happens shows up. A rate needs a change between two scrapes, so something happens in each round.
	began := time.Now()
	shown := func(what string, ask func() bool) {
		t.Helper()
		for ; !ask(); <-time.After(100 * time.Millisecond) {
			if time.Since(began) > patience {
				t.Fatalf("Prometheus does not show %s", what)
			}
			a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{"order":17}}`)
			a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"again","data":{"order":18}}`)
			a.want(422, "POST", "/publish", `{"tenant_id":"acme","data":17}`)
		}
	}
	for _, q := range []string{
		`sum(rate(waybill_deliveries_finished_total{status="delivered"}[1m])) > 0`,
		`up{job="waybill",instance="` + healthy + `"} == 1 and on() count(up{job="waybill"}) == 1`,
	} {
		shown(q, func() bool { return len(promQuery(t, "/api/v1/query", url.Values{"query": {q}})) == 1 })
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
	for _, q := range queries {
		q = strings.NewReplacer("$job", ".*", "$__rate_interval", "1m").Replace(q)
		shown(q, func() bool {
			during := url.Values{"query": {q}, "start": {fmt.Sprint(began.Unix())}, "end": {fmt.Sprint(time.Now().Unix() + 1)},
				"step": {"1"}}
			found := promQuery(t, "/api/v1/query_range", during)
			return len(found) > 0 || strings.Contains(q, `result="error"`) // that needs a database that fails
		})
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
	write(healthy, down)
	told("firing")
	write(healthy)
	told("resolved")
}

// toldOf listens for what Alertmanager tells of a process that is gone. What it returns waits until it is said to be so.
func toldOf(t *testing.T, receiver, instance string) func(status string) {
	t.Helper()
	type message struct {
		Status                          string
		CommonLabels, CommonAnnotations map[string]string
	}
	told := make(chan message, 100)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", receiver)
	if err != nil {
		t.Fatal(err)
	}
	to := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		// On a busy machine a scrape of the healthy one may come too late, too.
		if m.CommonLabels["alertname"] == "WaybillDown" && m.CommonLabels["instance"] == instance {
			told <- m
		}
	}))
	to.Listener.Close()
	to.Listener = l
	to.Start()
	t.Cleanup(to.Close)
	return func(status string) {
		t.Helper()
		for deadline := time.After(patience); ; {
			select {
			case m := <-told:
				if m.CommonLabels["severity"] != "critical" || !strings.Contains(m.CommonAnnotations["runbook"],
					"See whether the process runs") {
					t.Errorf("told %+v", m)
				}
				if m.Status == status { // what took long is told again
					return
				}
			case <-deadline:
				t.Fatalf("nobody was told that WaybillDown is %s", status)
			}
		}
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
