//go:build brokers && otelcol

package traces

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func fromEnv(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv("WAYBILL_TEST_OTELCOL_" + name)
	if v == "" {
		t.Fatalf("WAYBILL_TEST_OTELCOL_%s is not set; run: make test-brokers BROKERS=otelcol", name)
	}
	return v
}

// TestBrokerCollector sends spans to OpenTelemetry's own collector, by each protocol: what it writes has them with their
// parents, attributes and status.
func TestBrokerCollector(t *testing.T) {
	pem, err := os.ReadFile(fromEnv(t, "CA"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	for i, to := range []Collector{
		{Protocol: ProtocolHTTP, Endpoint: "http://" + fromEnv(t, "HTTP")},
		{Protocol: ProtocolJSON, TracesEndpoint: "http://" + fromEnv(t, "HTTP") + "/v1/traces", Uncompressed: true},
		{Protocol: ProtocolGRPC, Endpoint: "https://" + fromEnv(t, "GRPC"), TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	} {
		t.Run(to.Protocol, func(t *testing.T) {
			to.Timeout = time.Minute
			tracer, err := Start(t.Context(), Options{Collector: to, Version: "test", Role: "work",
				OnError: func(err error) { t.Error(err) }})
			if err != nil {
				t.Fatal(err)
			}
			// A trace of its own: 00-0af7…01-…
			callers := "00-0af7651916cd43dd8448eb211c80310" + string('0'+rune(i)) + "-b7ad6b7169203331-01"
			publish := tracer.Publish(callers, "rojo=00f067aa0ba902b7", "acme", 1)
			publish.Event("evt_1")
			attempt := tracer.Attempt(publish.Parent, publish.State, Attempt{Tenant: "acme", Destination: "hook", Type: "webhook",
				Event: "evt_1", Topic: "order.created", Number: 1, Started: time.Now()})
			attempt.Failed("timeout", "it took too long")
			attempt.End(0, "retrying")
			publish.End(202, "")
			if err := tracer.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			spans := awaitSpans(t, ID(callers), 2)
			for _, want := range []struct{ name, id, parent, text string }{
				{"publish", publish.Parent[36:52], callers[36:52], "http.response.status_code: Int(202)"},
				{"deliver webhook", attempt.Parent[36:52], publish.Parent[36:52], "waybill.destination: Str(hook)"},
			} {
				s := spans[want.name]
				if field(s, "ID") != want.id || field(s, "Parent ID") != want.parent || !strings.Contains(s, want.text) ||
					field(s, "Trace State") != "" && field(s, "Trace State") != "rojo=00f067aa0ba902b7" {
					t.Errorf("%s should be %+v:\n%s", want.name, want, s)
				}
				if failed := field(s, "Status code") == "Error"; failed != (want.name != "publish") {
					t.Errorf("%s has the status %q", want.name, field(s, "Status code"))
				}
			}
		})
	}
}

// field is one that the collector writes of a span, as in "    Parent ID      : b7ad6b7169203331".
func field(span, name string) string {
	m := regexp.MustCompile(`(?m)^ *` + name + ` *: *(.*)$`).FindStringSubmatch(span)
	if m == nil {
		return ""
	}
	return m[1]
}

// awaitSpans returns the spans of a trace by their names when there are n.
func awaitSpans(t *testing.T, trace string, n int) map[string]string {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; <-time.After(20 * time.Millisecond) {
		log, err := os.ReadFile(fromEnv(t, "LOG"))
		if err != nil {
			t.Fatal(err)
		}
		spans := map[string]string{}
		for _, part := range bytes.Split(log, []byte("\nSpan #"))[1:] {
			if s := string(part); field(s, "Trace ID") == trace {
				spans[field(s, "Name")] = s
			}
		}
		if len(spans) >= n {
			return spans
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d spans of %s, want %d, in:\n%s", len(spans), trace, n, log)
		}
	}
}
