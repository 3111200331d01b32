package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/bench"
	"github.com/waybill-dev/waybill/app/config"
)

// scrapeOf reads the metrics at an address.
func scrapeOf(t *testing.T, address, key string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// value is that of a series, spelled as in the text; -1 when there is none.
func value(text, series string) float64 {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, series+" "); ok {
			f, _ := strconv.ParseFloat(strings.TrimSpace(v), 64)
			return f
		}
	}
	return -1
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	port, err := bench.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	a := newTestApp(t, func(c *config.Config) { c.MetricsAddr = fmt.Sprintf("127.0.0.1:%d", port) })
	a.tenant("secret-tenant")
	dest := func(id string, more map[string]any) {
		d := map[string]any{"id": id, "type": "echo", "topics": []string{"secret.topic"}}
		for k, v := range more {
			d[k] = v
		}
		a.want(201, "POST", "/tenants/secret-tenant/destinations", d)
	}
	dest("secret-broken", map[string]any{"config": map[string]any{"answer": "500"}})
	dest("secret-picky", map[string]any{"filter": map[string]any{"n": 2}})
	dest("secret-off", nil)
	a.want(200, "PUT", "/tenants/secret-tenant/destinations/secret-off/disable", nil)
	event := map[string]any{"id": "secret-event", "tenant_id": "secret-tenant", "topic": "secret.topic", "data": map[string]any{"n": 1}}
	a.want(200, "POST", "/publish", event, "Prefer", "wait=10")
	a.want(202, "POST", "/publish", event)
	a.want(404, "POST", "/publish", map[string]any{"tenant_id": "nobody", "data": map[string]any{}})
	a.want(422, "POST", "/publish", map[string]any{"tenant_id": "secret-tenant"})
	a.eventually("/attempts?destination_id=secret-broken", func(o answer) bool { return len(o.body["models"].([]any)) == 3 })

	open := fmt.Sprintf("http://127.0.0.1:%d/metrics", port)
	want := map[string]float64{
		`waybill_events_accepted_total`:                                             1,
		`waybill_events_duplicate_total`:                                            1,
		`waybill_events_refused_total{reason="not_found"}`:                          1,
		`waybill_events_refused_total{reason="invalid"}`:                            1,
		`waybill_deliveries_routed_total{status="pending"}`:                         2,
		`waybill_deliveries_routed_total{status="held"}`:                            1,
		`waybill_deliveries_filtered_total`:                                         1,
		`waybill_deliveries_finished_total{status="delivered",type="echo"}`:         1,
		`waybill_deliveries_finished_total{status="failed",type="echo"}`:            1,
		`waybill_attempts_total{error_class="",outcome="success",type="echo"}`:      1,
		`waybill_attempts_total{error_class="server",outcome="failed",type="echo"}`: 3,
		`waybill_attempt_retries_total{trigger="automatic",type="echo"}`:            2,
		`waybill_first_attempts_total{outcome="success",type="echo"}`:               1,
		`waybill_first_attempts_total{outcome="failed",type="echo"}`:                1,
		`waybill_destinations_failing`:                                              1,
		`waybill_deliveries_waiting{status="retrying"}`:                             0,
		`waybill_deliveries_waiting{status="held"}`:                                 1,
		`waybill_attempt_duration_seconds_count{outcome="failed",type="echo"}`:      3,
		`waybill_delivery_latency_seconds_count{type="echo"}`:                       1,
		`waybill_queue_wait_seconds_count{queue="deliver"}`:                         2,
		`waybill_queue_wait_seconds_count{queue="retry"}`:                           2,
		`waybill_attempts_in_flight`:                                                0,
		`waybill_attempts_in_flight_limit`:                                          1000,
		`waybill_partitions_ahead`:                                                  7,
		`waybill_table_partitions{table="events"}`:                                  9,
		`waybill_retention_seconds`:                                                 30 * 86400,
		`waybill_processes{role="serve"}`:                                           1,
		`waybill_destinations{state="disabled",type="echo"}`:                        1,
		`waybill_queue_jobs{queue="deliver",state="due"}`:                           0,
		`waybill_read_success{source="store"}`:                                      1,
		`waybill_queue_oldest_due_seconds{queue="deliver"}`:                         0,
		`waybill_read_success{source="queue_age"}`:                                  1,
		`waybill_read_success{source="queue"}`:                                      1,
		`waybill_db_pool_max_connections{pool="hot"}`:                               8,
		`waybill_alerts{status="open"}`:                                             2, // one is disabled, and one has given up
		`waybill_notifications_last_hour{status="failed"}`:                          0,
		`waybill_build_info{version="dev"}`:                                         1,
		`waybill_commit_duration_seconds_count{of="events",result="ok"}`:            3,
		`waybill_http_request_duration_seconds_count{code="2xx",part="publish"}`:    1,
		`waybill_http_request_duration_seconds_count{code="4xx",part="publish"}`:    2,
		`waybill_http_request_duration_seconds_count{code="2xx",part="waiting"}`:    1,
	}
	var text string
	for deadline := time.Now().Add(time.Minute); ; { // counted after the commit that others can see
		_, text = scrapeOf(t, open, "")
		if value(text, `waybill_attempts_total{error_class="server",outcome="failed",type="echo"}`) == 3 &&
			value(text, `waybill_alerts{status="open"}`) == 2 && value(text, "waybill_destinations_failing") == 1 ||
			time.Now().After(deadline) {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	for series, v := range want {
		if got := value(text, series); got != v {
			t.Errorf("%s is %v, want %v", series, got, v)
		}
	}
	for _, series := range []string{`waybill_table_size_bytes{table="river.river_job"}`, `waybill_table_size_bytes{table="attempts"}`,
		"go_goroutines", "process_resident_memory_bytes"} {
		if value(text, series) <= 0 {
			t.Errorf("no %s", series)
		}
	}
	if strings.Contains(text, "secret") {
		t.Errorf("what callers choose is in a label:\n%s", regexp.MustCompile(`.*secret.*`).FindAllString(text, 5))
	}

	checkDeploy(t, text)

	// The same at the port that everybody reaches, for those with a key.
	for key, status := range map[string]int{"": 401, "wrong": 401, testKey: 200,
		a.want(200, "GET", "/tenants/secret-tenant/token", nil).str("token"): 403} {
		got, body := scrapeOf(t, a.base+"/metrics", key)
		if got != status || (status == 200) != (value(body, "waybill_events_accepted_total") == 1) {
			t.Errorf("with key %.8q: status %d, want %d", key, got, status)
		}
	}
	if status, body := scrapeOf(t, fmt.Sprintf("http://127.0.0.1:%d/healthz", port), ""); status != 200 ||
		!strings.Contains(body, "healthy") {
		t.Errorf("healthz: %d %s", status, body)
	}
}

// TestMetricsOfWorker looks at a process that has no other port, and at one whose database is away.
func TestMetricsOfWorker(t *testing.T) {
	t.Parallel()
	port, err := bench.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	a := newTestApp(t, nil)
	cfg := *a.Cfg
	cfg.Role, cfg.MetricsAddr = "work", fmt.Sprintf("127.0.0.1:%d", port)
	worker, err := New(t.Context(), &cfg, a.App.Log)
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	ctx, stop := context.WithCancel(t.Context())
	started, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- worker.Run(ctx, func() { close(started) }) }()
	select {
	case <-started:
	case err := <-done:
		t.Fatal(err)
	}
	open := fmt.Sprintf("http://127.0.0.1:%d/metrics", port)
	if _, text := scrapeOf(t, open, ""); value(text, `waybill_processes{role="work"}`) != 1 ||
		value(text, "waybill_attempts_in_flight_limit") != 1000 {
		t.Errorf("the worker does not tell of itself")
	}
	second := *worker.Cfg
	again, err := New(t.Context(), &second, a.App.Log)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Run(ctx, func() {}); err == nil || !strings.Contains(err.Error(), "METRICS_ADDR") {
		t.Errorf("a second process at the same address: %v", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	rec := httptest.NewRecorder()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	again.Store.Close()
	again.metrics.Handler().ServeHTTP(rec, req)
	if text := rec.Body.String(); rec.Code != 200 || value(text, `waybill_read_success{source="queue"}`) != 0 ||
		value(text, `waybill_queue_jobs{queue="deliver",state="due"}`) != -1 || value(text, "go_goroutines") <= 0 {
		t.Errorf("without a database: %d\n%s", rec.Code, text)
	}
}
