package app

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-dev/waybill/models"
)

// hook is a receiver of notices that keeps their bodies.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	status int
}

func newHook(t testing.TB) *hook {
	h := &hook{status: 200}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.bodies = append(h.bodies, string(b))
		status := h.status
		h.mu.Unlock()
		w.WriteHeader(status)
		_, _ = w.Write([]byte("noted"))
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) got() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.bodies...)
}

// fail makes a destination of acme fail n deliveries in a row.
func (a *testApp) fail(n int) {
	a.Helper()
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"dead","name":"Dead end","type":"echo","topics":["bad"],"config":{"answer":"500"}}`)
	for range n {
		a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"bad","data":{}}`)
	}
}

func TestAlertsAPI(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	h := newHook(t)
	rules := a.want(200, "GET", "/tenants/acme/alert-rules", nil)
	if rules.str("models", "0", "name") != "Failures in a row" || rules.str("models", "1", "when", "disabled") != "true" ||
		rules.str("models", "0", "every") != "1h" {
		t.Errorf("default rules: %s", rules.raw)
	}
	if out := a.want(200, "GET", "/alert-rules", nil); out.str("models", "1", "name") != "Destination disabled" {
		t.Errorf("the operators' default rules: %s", out.raw)
	}
	bad := a.want(422, "POST", "/tenants/acme/alert-rules",
		`{"when":{"failure_rate":200,"window":"1s"},"channel_ids":["nope"],"every":"1s"}`)
	for _, f := range []string{"when.failure_rate", "when.window", "every"} {
		if bad.str("fields", f) == "" {
			t.Errorf("%s is not refused: %s", f, bad.raw)
		}
	}
	for _, nothing := range []string{`{}`, `{"when":{}}`, `{"when":{"disabled":false}}`, `{"when":{"disable_steps":[]}}`,
		`{"when":{"consecutive_failures":0}}`} {
		for _, path := range []string{"/tenants/acme/alert-rules", "/alert-rules", "/tenants/acme/alert-rules/preview"} {
			if out := a.want(422, "POST", path, nothing); !strings.Contains(out.str("fields", "when"), "must name exactly one of") {
				t.Errorf("%s %s: %s", path, nothing, out.raw)
			}
		}
	}
	for field, body := range map[string]string{
		"when.window":     `{"when":{"failure_rate":20,"window":"15x"}}`,
		"topics":          `{"when":{"disabled":true},"topics":[]}`,
		"destination_ids": `{"when":{"disabled":true},"destination_ids":[]}`,
	} {
		if out := a.want(422, "POST", "/tenants/acme/alert-rules", body); out.str("fields", field) == "" {
			t.Errorf("%s: %s", body, out.raw)
		}
	}
	ch := a.want(201, "POST", "/tenants/acme/channels", `{"name":"On call","type":"webhook","config":{"url":"`+h.URL+`"}}`)
	secret := ch.str("config", "secret")
	if !strings.HasPrefix(secret, "whsec_") || ch.str("target") == "" {
		t.Errorf("%s", ch.raw)
	}
	token := a.want(200, "GET", "/tenants/acme/token", nil).str("token")
	if out := a.as(token).want(200, "GET", "/tenants/acme/channels", nil); strings.Contains(out.raw, secret) ||
		!strings.Contains(out.raw, "••••••") {
		t.Errorf("the secret is shown: %s", out.raw)
	}
	if out := a.as(token).do("GET", "/channels", nil); out.status != 403 {
		t.Errorf("a tenant sees the operators' channels: %d", out.status)
	}
	test := a.want(200, "POST", "/tenants/acme/channels/"+ch.str("id")+"/test", nil)
	if test.str("ok") != "true" || test.str("code") != "200" || len(h.got()) != 1 ||
		!strings.Contains(h.got()[0], "This is a test from Waybill") {
		t.Errorf("%s %v", test.raw, h.got())
	}
	h.mu.Lock()
	h.status = 404
	h.mu.Unlock()
	if test = a.want(200, "POST", "/tenants/acme/channels/"+ch.str("id")+"/test", nil); test.str("ok") != "false" ||
		test.str("code") != "404" || test.str("error") == "" {
		t.Errorf("a refused test: %s", test.raw)
	}
	h.mu.Lock()
	h.status = 200
	h.mu.Unlock()

	if out := a.want(422, "POST", "/tenants/acme/alert-rules",
		`{"when":{"disabled":true},"destination_ids":["nowhere","inbox"]}`); out.str("fields", "destination_ids[0]") == "" {
		t.Errorf("%s", out.raw)
	}
}

func TestAlertLife(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	h := newHook(t)
	ch := a.want(201, "POST", "/tenants/acme/channels", `{"type":"webhook","config":{"url":"`+h.URL+`"}}`).str("id")
	a.fail(0)
	rule := a.want(201, "POST", "/tenants/acme/alert-rules",
		`{"name":"Three","when":{"consecutive_failures":3},"destination_ids":["dead"],"channel_ids":["`+ch+`"],"every":"10m"}`)
	for range 4 {
		a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"bad","data":{}}`)
	}
	list := a.eventually("/tenants/acme/alerts?status=open", func(o answer) bool {
		return o.str("models", "0", "id") != "" && o.str("models", "0", "detail", "failures") == "4" || o.str("models", "0", "id") != ""
	})
	alert := list.str("models", "0", "id")
	if list.str("models", "0", "rule_id") != rule.str("id") || list.str("models", "0", "destination_id") != "dead" ||
		list.str("models", "0", "severity") != "error" ||
		list.str("models", "0", "detail", "counts") != "deliveries" {
		t.Errorf("%s", list.raw)
	}
	log := a.eventually("/tenants/acme/notifications?status=sent", func(o answer) bool { return o.str("models", "0", "status") == "sent" })
	if log.str("models", "0", "alert_id") != alert || log.str("models", "0", "answer") == "" {
		t.Errorf("%s", log.raw)
	}
	var told struct {
		Type string
		Data struct {
			AlertID  string `json:"alert_id"`
			AlertURL string `json:"alert_url"`
			Error    struct{ Response string }
		}
	}
	if err := json.Unmarshal([]byte(h.got()[0]), &told); err != nil || told.Type != "alert.opened" || told.Data.AlertID != alert ||
		told.Data.AlertURL != "http://localhost/t/acme/alerts/"+alert || told.Data.Error.Response == "" {
		t.Errorf("%v %s", err, h.got()[0])
	}
	d := a.want(200, "GET", "/tenants/acme/destinations/dead", nil)
	if n := d.str("status", "failures_in_a_row"); n == "" || n == "0" {
		t.Errorf("%s", d.raw)
	}
	health := a.eventually("/tenants/acme/destinations/dead/health", func(o answer) bool {
		return o.str("rates", "1h",
			"attempts") == "12"
	})
	if health.str("rates", "1h", "deliveries") != "4" || health.str("rates", "1h", "failure_rate") != "100" ||
		health.str("failures_in_a_row") != "4" || health.str("given_up") != "4" {
		t.Errorf("%s", health.raw)
	}
	preview := a.want(200, "POST", "/tenants/acme/alert-rules/preview", `{"when":{"consecutive_failures":3}}`)
	if preview.str("count") != "1" || preview.str("times", "0", "destination_id") != "dead" {
		t.Errorf("%s", preview.raw)
	}
	if out := a.want(200, "POST", "/alert-rules/preview", `{"when":{"consecutive_failures":5}}`); out.str("count") != "0" {
		t.Errorf("%s", out.raw)
	}
	a.want(422, "POST", "/tenants/acme/alerts/"+alert+"/acknowledge", map[string]string{"message": strings.Repeat("x", 501)})
	ack := a.want(200, "POST", "/tenants/acme/alerts/"+alert+"/acknowledge", `{"message":"on it"}`)
	if ack.str("status") != "acknowledged" || ack.str("acknowledged_by") != "API_KEY" || ack.str("acknowledgement") != "on it" {
		t.Errorf("%s", ack.raw)
	}
	if again := a.want(200, "POST", "/tenants/acme/alerts/"+alert+"/acknowledge", nil); again.str("acknowledgement") != "on it" {
		t.Errorf("%s", again.raw)
	}
	if e := a.entries("action=alert.acknowledge&outcome=ok"); len(e) != 2 || e[1].Detail["message"] != "on it" || e[1].Object != alert {
		t.Errorf("the audit log: %+v", e)
	}
	a.want(422, "POST", "/tenants/acme/alerts/"+alert+"/mute", `{}`)
	if out := a.want(200, "POST", "/tenants/acme/alerts/"+alert+"/mute", `{"for":"2h"}`); out.str("muted_until") == "" ||
		out.str("muted_by") != "API_KEY" {
		t.Errorf("%s", out.raw)
	}
	a.want(200, "POST", "/tenants/acme/alerts/"+alert+"/mute", `{"for":"0s"}`)
	a.want(200, "PATCH", "/tenants/acme/destinations/dead", `{"config":{"answer":"200"}}`)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"bad","data":{}}`)
	over := a.eventually("/tenants/acme/alerts/"+alert, func(o answer) bool { return o.str("status") == "resolved" })
	if !strings.HasPrefix(over.str("resolution"), "Events are delivered again since") {
		t.Errorf("%s", over.raw)
	}
	log = a.eventually("/tenants/acme/notifications?kind=resolved", func(o answer) bool { return o.str("models", "0", "status") == "sent" })
	again := a.want(202, "POST", "/tenants/acme/notifications/"+log.str("models", "0", "id")+"/resend", nil)
	if again.str("id") == log.str("models", "0", "id") || !strings.Contains(again.str("reason"), "Sent again by API_KEY") {
		t.Errorf("%s", again.raw)
	}
	a.eventually("/tenants/acme/notifications/"+again.str("id"), func(o answer) bool { return o.str("status") == "sent" })
	a.want(200, "DELETE", "/tenants/acme/channels/"+ch, nil)
	a.want(409, "POST", "/tenants/acme/notifications/"+again.str("id")+"/resend", nil)
	a.want(200, "DELETE", "/tenants/acme/alert-rules/"+rule.str("id"), nil)
	a.want(404, "GET", "/tenants/acme/alert-rules/"+rule.str("id"), nil)
}

// TestForeignAlerts asks for what another tenant owns.
func TestForeignAlerts(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	ch := a.want(201, "POST", "/tenants/globex/channels", `{"type":"email","config":{"to":"ops@example.com"}}`).str("id")
	rule := a.want(200, "GET", "/tenants/globex/alert-rules", nil).str("models", "0", "id")
	own := a.want(200, "GET", "/alert-rules", nil).str("models", "0", "id")
	for _, path := range []string{"channels/" + ch, "alert-rules/" + rule, "alert-rules/" + own} {
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			if out := a.do(method, "/tenants/acme/"+path, `{}`); out.status != 404 {
				t.Errorf("%s %s: %d %s", method, path, out.status, out.raw)
			}
		}
	}
	if out := a.do("POST", "/tenants/acme/alert-rules", `{"when":{"disabled":true},"channel_ids":["`+ch+`"]}`); out.status != 422 ||
		out.str("fields", "channel_ids[0]") == "" {
		t.Errorf("a foreign channel in a rule: %s", out.raw)
	}
	if out := a.do("POST", "/tenants/acme/channels/"+ch+"/test", nil); out.status != 404 {
		t.Errorf("a foreign channel was tested: %d", out.status)
	}
	v := a.portal("acme")
	for _, path := range []string{"/t/acme/alerts/channels/" + ch, "/t/acme/alerts/rules/" + rule, "/t/acme/alerts/rules/" + own,
		"/t/globex/alerts"} {
		if p := v.send("GET", path, nil); p.status != 404 {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	if p := v.send("GET", "/alerts", nil); p.status != 403 {
		t.Errorf("the operators' alerts: %d", p.status)
	}
}

func TestAlertPages(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	h := newHook(t)
	v := a.visitor()
	v.get("/t/acme/alerts").says("No open alert")
	v.get("/t/acme/alerts/notifications").says("No alert channel")
	v.get("/t/acme/alerts/channels/new").says("E-mail")

	// A channel: refused, then created; its secret is shown once.
	p := v.post("/t/acme/alerts/channels/new?type=webhook", "name", "Hook", "config.url", "")
	p.refused(422, "config.url", "is required")
	p = v.post("/t/acme/alerts/channels/new?type=webhook", "name", "Hook", "config.url", h.URL)
	p.says("The channel was created. Its receiver verifies signatures with this secret")
	if secret := p.text("#signing-secret"); !strings.HasPrefix(secret, "whsec_") {
		t.Errorf("secret %q", secret)
	}
	list := v.get("/t/acme/alerts/channels")
	edit := list.Find(`td a[href*="/alerts/channels/"]`).AttrOr("href", "")
	p = v.post(edit+"/test", "x", "y")
	p.says("Sent")
	p.says("200")
	p = v.post(edit, "name", "Pager", "config.url", h.URL)
	p.says("The changes are saved.")
	p.says("Pager")

	// A rule: refused, previewed, created.
	a.fail(4)
	a.eventually("/tenants/acme/destinations/dead", func(o answer) bool { return o.str("status", "failures_in_a_row") == "4" })
	fields := []string{"name", "Three", "when", "consecutive_failures", "when.consecutive_failures", "0", "scope_mode", "all",
		"channels_mode", "all", "every", "1h", "resolve", "true"}
	p = v.post("/t/acme/alerts/rules/new", fields...)
	p.refused(422, "", "must name exactly one of")
	fields[5] = "many"
	p = v.post("/t/acme/alerts/rules/new", fields...)
	p.refused(422, "when.consecutive_failures", "Failures in a row must be a whole number")
	if summary := p.text(`.banner [role="alert"]`); strings.Contains(summary, "When must") {
		t.Errorf("the summary names another control: %s", summary)
	}
	fields[5] = "3"
	nobody := slices.Clone(fields)
	nobody[9] = "some"
	v.post("/t/acme/alerts/rules/new", nobody...).refused(422, "", "must name at least one channel")
	p = v.post("/t/acme/alerts/rules/new", append(fields, "then", "preview")...)
	if p.status != 200 || p.value("name") != "Three" {
		t.Errorf("preview: %d", p.status)
	}
	p.says("In the last 7 days this would have fired once:")
	p.says("Dead end")
	p = v.post("/t/acme/alerts/rules/new", fields...)
	p.says("The rule is in force.")
	p.says("When 3 deliveries in a row failed")
	rule := p.Find(`td a:contains("Three")`).AttrOr("href", "")
	v.post("/t/acme/alerts/rules/new", "name", "Own certificate", "when", "certificate_expires", "when.certificate_expires", "10d",
		"scope_mode", "all", "channels_mode", "all", "every", "").says("When the certificate expires within 10 days")
	own := v.get("/t/acme/alerts/rules").Find(`td a:contains("Own certificate")`).AttrOr("href", "")
	if p = v.get(own); p.value("when.certificate_expires") != "10d" || p.value("every") != "24h" {
		t.Errorf("%q, every %q", p.value("when.certificate_expires"), p.value("every"))
	}
	if p = v.get(rule); p.value("when.consecutive_failures") != "3" || p.value("every") != "1h" {
		t.Error("the form does not show the rule")
	}

	// The alert: acknowledged, muted.
	a.eventually("/tenants/acme/notifications?status=sent&kind=opened", func(o answer) bool { return o.str("models", "0", "id") != "" })
	p = v.get("/t/acme/alerts")
	if got := p.text(`nav a[href="/t/acme/alerts"]`); !strings.HasPrefix(got, "Alerts 1 open") {
		t.Errorf("navigation: %q", got)
	}
	p.says("4 deliveries in a row have failed")
	alert := p.Find(`td a[href*="/alerts/alt_"]`).AttrOr("href", "")
	v.get("/t/acme").says("Dead end")
	v.get("/t/acme/destinations/dead").says("4 deliveries in a row have failed since")
	v.post(alert+"/acknowledge", "message", strings.Repeat("x", 501)).refused(422, "message", "at most 500")
	p = v.post(alert+"/acknowledge", "message", "calling the receiver")
	p.says("Acknowledged: you take care of it")
	p.says("They saidcalling the receiver")
	p.says("Acknowledged byAnn")
	if got := p.text(`nav[aria-label="Main"]`); strings.Contains(got, "open") {
		t.Errorf("it still counts: %q", got)
	}
	v.post(alert+"/mute", "for", "nonsense").refused(422, "for", "must be one of these")
	v.post(alert+"/mute", "for", "4h").says("Notices about this alert are held back for 4h.")
	v.post(alert+"/resolve", "message", strings.Repeat("x", 501)).refused(422, "message", "at most 500")
	p = v.post(alert+"/resolve", "message", "the receiver is being rebuilt")
	p.says("Resolved. No other alert begins in its place")
	p.says("Resolved by Ann: the receiver is being rebuilt.")

	// The log, and sending again.
	p = v.get("/t/acme/alerts/notifications?status=sent&kind=opened")
	p.says("4 deliveries in a row have failed")
	one := p.Find(`td a[href*="/notifications/ntf_"]`).AttrOr("href", "")
	p = v.post(one+"/resend", "x", "y")
	p.says("It is being sent once more.")
	if p = v.send("GET", "/t/acme/alerts/notifications?status=nonsense", nil); p.status != 422 {
		t.Errorf("an unknown outcome: %d", p.status)
	}
	p.says("is none of sent, failed")
}

func TestDisableAfterInTheForm(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	out := a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"disable_after":7}`)
	if out.str("disable_after") != "7" {
		t.Errorf("%s", out.raw)
	}
	v := a.visitor()
	p := v.get("/t/acme/destinations/inbox/settings")
	if p.value("disable_after") != "7" {
		t.Errorf("the form shows %q", p.value("disable_after"))
	}
	version := p.value("version")
	v.post("/t/acme/destinations/inbox/settings", "name", "x", "topics_mode", "all", "version", version, "disable_after",
		"many").refused(422, "disable_after", "must be a whole number")
	v.post("/t/acme/destinations/inbox/settings", "name", "x", "topics_mode", "all", "version", version, "disable_after",
		"0").says("Never by itself")
	out = a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"disable_after":null}`)
	if out.str("disable_after") != "" && out.str("disable_after") != "<nil>" {
		t.Errorf("%s", out.raw)
	}
	d, err := a.Store.Destination(t.Context(), models.AllTenants(), "acme", "inbox")
	if err != nil || d.DisableAfter != nil || d.DisableLimit(100) != 100 {
		t.Errorf("%+v %v", d.DisableAfter, err)
	}
}
