package app

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/internal/traces"
	"github.com/waybill-dev/waybill/internal/traces/tracestest"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// newReceiver takes webhooks and tells their headers; the first one fails.
func newReceiver(t *testing.T) (url string, headers chan http.Header) {
	headers = make(chan http.Header, 10)
	first := true
	var mu sync.Mutex
	r := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if first {
			w.WriteHeader(http.StatusInternalServerError)
		}
		first = false
		headers <- r.Header.Clone()
	}))
	t.Cleanup(r.Close)
	return r.URL, headers
}

// processes starts web, lets it publish, and then starts a worker that has to read everything from the database. more are
// settings.
func processes(t *testing.T, url, traceparent, tracestate string, log *slog.Logger, more map[string]string) {
	t.Helper()
	env := map[string]string{"DATABASE_URL": modelstest.DB(t), "API_KEY": testKey, "SECRET_KEY": "a secret for tests that is long enough",
		"RETRY_SCHEDULE": "1ms,1ms",
		"HOST":           "127.0.0.1", "BASE_URL": "http://localhost"}
	maps.Copy(env, more)
	read := func(role string) *config.Config {
		cfg, err := config.ReadConfig(role, func(name string) string { return env[name] })
		if err != nil {
			t.Fatal(err)
		}
		cfg.Port, cfg.EgressAllow = 0, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		return cfg
	}
	web := newProcessOf(t, read("web"))
	web.want(201, "PUT", "/tenants/acme", nil)
	web.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "hook", "type": "webhook", "topics": "*",
		"config": map[string]any{"url": url}})
	web.want(202, "POST", "/publish", map[string]any{"id": "traced", "tenant_id": "acme", "topic": "order.created",
		"data": map[string]any{"secret": "payload"}}, "traceparent", traceparent, "tracestate", tracestate)
	work := read("work")
	a, err := New(t.Context(), work, log)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(t.Context(), func() {}) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
		a.Close()
	})
}

const callers = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// TestTraces follows an event from its publisher through the server to its receiver, by each protocol of the collector.
func TestTraces(t *testing.T) {
	t.Parallel()
	for _, protocol := range traces.Protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			settings := map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20of%20the%20collector"}
			compressed := protocol != traces.ProtocolJSON
			if !compressed {
				settings["OTEL_EXPORTER_OTLP_COMPRESSION"] = "none"
			}
			to := tracestest.Start(t, protocol, "Bearer of the collector", compressed)
			settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = to.URL
			if protocol == traces.ProtocolJSON { // for traces alone, which has precedence
				settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
				settings["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = to.URL + "/v1/traces"
				settings["OTEL_EXPORTER_OTLP_PROTOCOL"], settings["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = traces.ProtocolGRPC, protocol
			} else if protocol != traces.ProtocolHTTP {
				settings["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol
			}
			testTraces(t, to, settings)
		})
	}
}

func testTraces(t *testing.T, to *tracestest.Collector, settings map[string]string) {
	url, headers := newReceiver(t)
	var log lockedBuffer
	processes(t, url, callers, "rojo=00f067aa0ba902b7", slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		settings)
	one, two := <-headers, <-headers
	first, second := one.Get("traceparent"), two.Get("traceparent")
	if a, b := one.Get("tracestate"), two.Get("tracestate"); a != "rojo=00f067aa0ba902b7" || b != a {
		t.Errorf("the receiver was told the states %q and %q", a, b)
	}
	got, raw := to.Await(t, 3)
	byName := map[string][]tracestest.Span{}
	for _, s := range got {
		byName[s.Name] = append(byName[s.Name], s)
		if s.TraceID != callers[3:35] || s.State != "rojo=00f067aa0ba902b7" || s.Service != "waybill" {
			t.Errorf("span %s is of trace %s with state %q and of %q", s.Name, s.TraceID, s.State, s.Service)
		}
	}
	if len(byName["publish"]) != 1 || len(byName["deliver webhook"]) != 2 {
		t.Fatalf("spans: %v", byName)
	}
	publish, attempts := byName["publish"][0], byName["deliver webhook"]
	if publish.Parent != callers[36:52] || publish.Attributes["messaging.message.id"] != "traced" {
		t.Errorf("publish: %v", publish)
	}
	for i, header := range []string{first, second} {
		s := attempts[i]
		if s.Parent != publish.ID || header != "00-"+s.TraceID+"-"+s.ID+"-01" {
			t.Errorf("attempt %d belongs to %s (publish is %s), and the receiver was told %s", i+1, s.Parent, publish.ID, header)
		}
		if s.Failed != (i == 0) || s.Attributes["waybill.destination"] != "hook" || s.End < s.Start {
			t.Errorf("attempt %d: %v", i+1, s)
		}
	}
	if strings.Contains(raw, "payload") {
		t.Error("a span tells of the payload")
	}

	// The line of each attempt in the log leads to its trace.
	var lines []map[string]any
	for deadline := time.Now().Add(time.Minute); len(lines) < 2 && time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		lines = nil
		for line := range strings.Lines(log.String()) {
			var m map[string]any
			if json.Unmarshal([]byte(line), &m) == nil && m["msg"] == "attempt" {
				lines = append(lines, m)
			}
		}
	}
	if len(lines) != 2 {
		t.Fatalf("%d lines about attempts in:\n%s", len(lines), log.String())
	}
	for key, want := range map[string]any{"tenant": "acme", "destination": "hook", "type": "webhook", "event": "traced",
		"topic": "order.created", "number": 1.0, "trigger": "automatic",
		"status": "retrying", "ok": false, "code": 500.0, "error_class": "server", "trace_id": callers[3:35], "level": "INFO",
		"bytes": 20.0} {
		if lines[0][key] != want {
			t.Errorf("%s is %v, want %v", key, lines[0][key], want)
		}
	}
	for _, key := range []string{"took_ms", "waited_ms", "since_event_ms", "next", "error", "attempt", "job"} {
		if lines[0][key] == nil {
			t.Errorf("nothing about %s in %v", key, lines[0])
		}
	}
	if lines[1]["status"] != "delivered" || lines[1]["level"] != "DEBUG" || strings.Contains(log.String(), "payload") {
		t.Errorf("the second line: %v", lines[1])
	}
}

// TestTraceparentPassesThrough has no collector: the publisher's context reaches the receiver as it is, and a broken one
// does not.
func TestTraceparentPassesThrough(t *testing.T) {
	t.Parallel()
	const state = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
	for _, c := range []struct{ parent, state, wantParent, wantState string }{
		{callers, state, callers, state}, {callers, "broken state", callers, ""}, {"00-broken", state, "", ""},
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			url, headers := newReceiver(t)
			processes(t, url, c.parent, c.state, slog.New(slog.DiscardHandler), nil)
			for range 2 {
				h := <-headers
				if parent, state := h.Get("traceparent"), h.Get("tracestate"); parent != c.wantParent || state != c.wantState {
					t.Errorf("of %q and %q arrive %q and %q", c.parent, c.state, parent, state)
				}
			}
		})
	}
}
