package notify

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	_ "github.com/waybill-dev/waybill/adapters/webhook"
)

var update = flag.Bool("update", false, "write the files in testdata anew")

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// failing is a notice with everything in it.
func failing() *Notice {
	return &Notice{
		ID: "ntf_01hzy3", Kind: Opened, Severity: Critical, AlertID: "alr_01hzy2", RuleName: "Deliveries fail",
		Condition: "50 deliveries in a row have failed", Summary: "50 deliveries in a row to Orders have failed since 11:20.", At: noon,
		TenantID: "acme", DestinationID: "des_1", DestinationName: "Orders", DestinationType: "webhook",
		Target: "POST https://hooks.acme.example/orders", Failures: 50, Attempts: 137,
		FirstFailure: noon.Add(-40 * time.Minute), LastFailure: noon.Add(-5 * time.Second), OpenedAt: noon.Add(-time.Second),
		ErrorClass: "server", Error: "The receiver answered 502.", Advice: "Check the receiver's logs near this time, with the event id.",
		ResponseExcerpt: "<html>\n<h1>502 Bad Gateway</h1>\n</html>",
		Failed: []FailedEvent{
			{EventID: "order-17", Topic: "order.paid", AttemptID: "atm_2", At: noon.Add(-5 * time.Second), Code: 502, ErrorClass: "server",
				Error:   "The receiver answered 502.",
				TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", URL: "https://waybill.example.com/t/acme/attempts/atm_2"},
			{EventID: "evt_16", Topic: "order.created", AttemptID: "atm_1", At: noon.Add(-9 * time.Second), ErrorClass: "timeout",
				Error: "No answer within 15s.",
				URL:   "https://waybill.example.com/t/acme/attempts/atm_1"}},
		DestinationURL: "https://waybill.example.com/t/acme/destinations/des_1",
		DeliveriesURL:  "https://waybill.example.com/t/acme/destinations/des_1/deliveries?status=failed&status=retrying&status=held",
		AlertURL:       "https://waybill.example.com/alerts/alr_01hzy2",
	}
}

func resolved() *Notice {
	n := failing()
	n.ID, n.Kind, n.Summary = "ntf_01hzy9", Resolved, "Deliveries to Orders succeed again."
	n.At, n.ResolvedAt = noon.Add(2*time.Hour+5*time.Minute), noon.Add(2*time.Hour+5*time.Minute)
	n.Error, n.ErrorClass, n.Advice, n.ResponseExcerpt, n.Failed = "", "", "", "", nil
	return n
}

// digest says the least that a notice can, and stands for others.
func digest() *Notice {
	return &Notice{ID: "ntf_3", Kind: Repeated, Severity: Warning, AlertID: "alr_3", Summary: "3 destinations are failing.", At: noon,
		Others: 2}
}

// hostile holds what must stay text everywhere.
func hostile() *Notice {
	n := failing()
	evil := "<script>alert(1)</script>\r\nBcc: evil@example.com\r\n\r\n<b>*x*</b> <!channel> <https://evil.example|click> & \u202Egnp.exe\x00\x1b[31m ```"
	n.ID, n.AlertID = "n\r\nX-Evil: 1<script>", "a <script>\r\n"
	n.RuleName, n.Condition, n.Summary, n.DestinationName, n.DestinationID = evil, evil, evil, evil, evil
	n.TenantID, n.Target, n.Error, n.Advice, n.ResponseExcerpt, n.ErrorClass, n.DestinationType = evil, evil, evil, evil, evil, evil, evil
	n.Failed = []FailedEvent{{EventID: evil, Topic: evil, AttemptID: evil, Error: evil, TraceID: evil, URL: "javascript:alert(1)"}}
	n.AlertURL, n.DestinationURL = "javascript:alert(1)", "https://waybill.example.com/x>\r\nBcc: evil@example.com"
	n.DeliveriesURL = `https://waybill.example.com/d?a=1&b="><script>|x`
	return n
}

func long() *Notice {
	n := failing()
	much := strings.Repeat("Ä<&> word ", 2000)
	n.RuleName, n.Condition, n.Summary, n.DestinationName, n.Target = much, much, much, much, much
	n.Error, n.Advice, n.ResponseExcerpt, n.TenantID, n.DestinationID = much, much, much, much, much
	n.AlertID, n.ErrorClass, n.DestinationType = much, much, much
	n.Failed = slices.Repeat([]FailedEvent{{EventID: much, Topic: much, AttemptID: much, At: noon, Error: much, TraceID: much,
		URL: "https://waybill.example.com/" + strings.Repeat("x", 1900)}}, 5)
	return n
}

// local is a notice of a server that has no public address, as "make run" starts one. Its summary tells the error.
func local() *Notice {
	n := failing()
	n.Summary = "50 deliveries in a row have failed since 11:20 UTC. Last error: The receiver answered 502."
	for _, u := range []*string{&n.AlertURL, &n.DeliveriesURL, &n.DestinationURL, &n.Failed[0].URL, &n.Failed[1].URL} {
		*u = strings.Replace(*u, "https://waybill.example.com", "http://localhost:3000", 1)
	}
	return n
}

func notices() map[string]*Notice {
	return map[string]*Notice{"opened": failing(), "local": local(), "resolved": resolved(), "digest": digest(), "hostile": hostile(),
		"long": long(), "empty": {}}
}

// RenderMailForTests draws mails; see render_test.go.
var RenderMailForTests func(ctx context.Context, m Mail) (text, html string, err error)

// testEnv lets channels reach this machine.
func testEnv() Env {
	return Env{UserAgent: "Waybill/test", BaseURL: "https://waybill.example.com", Now: func() time.Time { return noon },
		RenderMail:  RenderMailForTests,
		Unsubscribe: func(address string) string { return "https://waybill.example.com/unsubscribe/" + address },
		Egress:      []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
}

// trust makes env trust a TLS server of httptest.
func trust(env Env, srv *httptest.Server) Env {
	env.RootCAs = x509.NewCertPool()
	env.RootCAs.AddCert(srv.Certificate())
	return env
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func open(t testing.TB, env Env, kind string, config, secrets map[string]string) Channel {
	t.Helper()
	c, err := Open(env, kind, config, secrets)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustSend(t testing.TB, c Channel, n *Notice) Result {
	t.Helper()
	r, err := c.Send(within(t, 20*time.Second), n)
	if err != nil {
		t.Fatalf("%v (%s; %+v)", err, adapters.AsError(err).Raw, r)
	}
	return r
}

// refusedAs sends and expects an error of this kind and class whose message holds the parts and reads as a sentence.
func refusedAs(t testing.TB, c Channel, n *Notice, kind adapters.Kind, class adapters.Class, parts ...string) (Result, *adapters.Error) {
	t.Helper()
	r, err := c.Send(within(t, 20*time.Second), n)
	return r, wantError(t, err, kind, class, parts...)
}

func wantError(t testing.TB, err error, kind adapters.Kind, class adapters.Class, parts ...string) *adapters.Error {
	t.Helper()
	var e *adapters.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *adapters.Error", err)
	}
	if e.Kind != kind || e.Class != class {
		t.Errorf("%q has kind %d and class %s, want %d and %s (%s)", e.Message, e.Kind, e.Class, kind, class, e.Raw)
	}
	for _, p := range parts {
		if !strings.Contains(e.Message+" "+e.Advice, p) {
			t.Errorf("%q, %q does not mention %q", e.Message, e.Advice, p)
		}
	}
	if !strings.HasSuffix(e.Message, ".") || !strings.HasSuffix(e.Advice, ".") {
		t.Errorf("%q, %q are no sentences", e.Message, e.Advice)
	}
	return e
}

// hides checks that nothing of what Send returned shows one of the secrets.
func hides(t testing.TB, r Result, err error, secrets ...string) {
	t.Helper()
	all := fmt.Sprintf("%+v %#v", r, r)
	if err != nil {
		e := adapters.AsError(err)
		all += fmt.Sprintf(" %v %+v %#v", err, *e, *e)
	}
	for _, s := range secrets {
		if strings.Contains(all, s) {
			t.Errorf("the secret %s is shown: %s", s, all)
		}
	}
}

// golden compares with a file in testdata, or writes it.
func golden(t testing.TB, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with: go test ./adapters/notify -update", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what was expected; look at the difference after: go test ./adapters/notify -update\n%s", path, got)
	}
}

func indented(t testing.TB, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	b.WriteByte('\n')
	return b.Bytes()
}
