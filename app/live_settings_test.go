package app

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// apiOf is the API of a process of its own.
func (p *process) apiOf(url string) *testApp {
	return &testApp{TB: p.t, App: &App{}, db: modelstest.Connect(p.t, url), base: p.base, key: testKey}
}

// settled asks until a setting has a value, and returns how long that took.
func (a *testApp) settled(name, want string) time.Duration {
	a.Helper()
	began := time.Now()
	a.follows(func() bool { return a.want(200, "GET", "/settings", nil).str("effective", name) == want })
	return time.Since(began)
}

// TestLiveSettings changes defaults while two processes run: both have them within a second, and what they do follows.
func TestLiveSettings(t *testing.T) {
	t.Parallel()
	url := modelstest.DB(t)
	env := []string{"DATABASE_URL=" + url, "RETRY_MAX_ATTEMPTS=5", "RETENTION_DAYS=20", "SETTINGS_LOCKED=max_payload,RETENTION_DAYS"}
	a := startProcess(t, "web", env...).apiOf(url)
	b := startProcess(t, "serve", append(env, "DATA_DIR="+t.TempDir())...).apiOf(url)
	a.tenant("acme")

	got := a.want(200, "GET", "/settings", nil)
	if got.str("version") != "1" || got.str("settings") != "map[]" || got.str("effective", "retry_max_attempts") != "5" ||
		got.str("effective", "destination_limit") != "1000" || !strings.HasPrefix(got.header.Get("ETag"), `"1`) {
		t.Errorf("at first: %q %.200s", got.header.Get("ETag"), got.raw)
	}
	// The other process, which also works, asks again and again meanwhile; a second is what is promised.
	b.settled("destination_limit", "1000")
	followed := make(chan time.Time, 1)
	go func() {
		for began := time.Now(); time.Since(began) < patience; {
			if b.do("GET", "/tenants/acme/settings", nil).str("effective", "destination_limit") == "2" {
				break
			}
		}
		followed <- time.Now()
	}()
	got = a.want(200, "PATCH", "/settings", `{"destination_limit":2,"retry_max_attempts":3,"disable_min_duration":"1h"}`, "If-Match", got.header.Get("ETag"))
	answered := time.Now()
	if got.str("settings", "retry_max_attempts") != "3" || got.str("effective", "retry_max_attempts") != "3" ||
		got.header.Get("ETag") != `"2"` || detail(got, "retry_max_attempts", "source") != "stored" ||
		detail(got, "retry_max_attempts", "start") != "5" || detail(got, "retry_max_attempts", "default") != "12" ||
		detail(got, "retry_max_attempts", "changed_by") != "API_KEY" || detail(got, "delivery_timeout", "source") != "default" ||
		detail(got, "retention_days", "source") != "environment" || detail(got, "retention_days", "locked") != "true" {
		t.Errorf("changed: %.400s", got.raw)
	}
	if took := (<-followed).Sub(answered); took > time.Second {
		t.Errorf("the other process followed after %v", took)
	}
	b.want(201, "POST", "/tenants/acme/destinations", `{"id":"second","type":"echo","topics":"*"}`)
	if o := b.do("POST", "/tenants/acme/destinations", `{"type":"echo","topics":"*"}`); o.status != 422 {
		t.Errorf("a third destination: %d %s", o.status, o.raw)
	}

	// The audit log tells what was before and after, and who did it.
	e := a.entry("server.settings", "settings")
	if e.changed("retry_max_attempts") != "5 -> 3" || e.changed("disable_min_duration") != "10m -> 1h" || e.Actor != "API_KEY" {
		t.Errorf("the audit log has %+v", e)
	}

	// What somebody else has changed is not overwritten, what is not allowed is said at its field, and what is locked stays.
	a.want(412, "PATCH", "/settings", `{"destination_limit":9}`, "If-Match", `"1"`)
	for body, field := range map[string]string{`{"retry_max_attempts":0}`: "retry_max_attempts", `{"retry_multiplier":0.5}`: "retry_multiplier",
		`{"delivery_timeout":"1h"}`: "delivery_timeout", `{"retry_schedule":["1m","200h"]}`: "retry_schedule[1]",
		`{"retry_on":["5xx","nope"]}`: "retry_on[1]", `{"enable_backlog":"ask"}`: "enable_backlog", `{"alert_disable_steps":[50,200]}`: "alert_disable_steps[1]",
		`{"tenant_bytes_per_second":5}`: "tenant_bytes_per_second", `{"tenant_limit_burst":"1500ms"}`: "tenant_limit_burst",
		`{"webhook_header_prefix":"x acme"}`: "webhook_header_prefix", `{"webhook_config":{"signature_value":"sha256={{.Signatures}}"}}`: "webhook_config",
		`{"retention_days":5}`: "retention_days", `{"max_payload":null}`: "max_payload", `{"destination_limit":"many"}`: "destination_limit"} {
		if o := a.do("PATCH", "/settings", body); o.status != 422 || o.str("fields", field) == "" {
			t.Errorf("%s: %d %.200s", body, o.status, o.raw)
		}
	}
	if o := a.want(200, "GET", "/settings", nil); o.str("version") != "2" {
		t.Errorf("refused changes were kept: %.200s", o.raw)
	}
	if n := len(a.entries("action=server.settings&outcome=ok")); n != 1 {
		t.Errorf("%d entries in the audit log", n)
	}

	// A tenant's own come before the server's.
	o := a.want(200, "PATCH", "/tenants/acme/settings", `{"retry_max_attempts":7,"destination_limit":4,"disable_after_failures":0}`)
	if o.str("effective", "retry_max_attempts") != "7" || o.str("effective", "disable_after_failures") != "0" ||
		o.str("effective", "disable_min_duration") != "1h" {
		t.Errorf("the tenant's: %s", o.raw)
	}
	for field, value := range map[string]string{"retry_max_attempts": "101", "delivery_timeout": `"5m"`, "probe_after": `"7h"`} {
		if o := a.do("PATCH", "/tenants/acme/settings", `{"`+field+`":`+value+`}`); o.status != 422 || o.str("fields", field) == "" {
			t.Errorf("%s: %d %s", field, o.status, o.raw)
		}
	}
	// Taken back, the environment is in force again.
	got = a.want(200, "PATCH", "/settings", `{"retry_max_attempts":null,"destination_limit":null}`)
	if got.str("effective", "retry_max_attempts") != "5" || got.str("settings", "retry_max_attempts") != "" ||
		got.str("effective", "disable_min_duration") != "1h" {
		t.Errorf("taken back: %s", got.raw)
	}
	b.settled("retry_max_attempts", "5")
	a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token")).want(403, "PATCH", "/settings", `{"destination_limit":0}`)
}

// detail is a part of what is told of a setting.
func detail(o answer, name, part string) string {
	for i := range models.SettingFields() {
		if o.str("details", strconv.Itoa(i), "name") == name {
			return o.str("details", strconv.Itoa(i), part)
		}
	}
	return ""
}

// TestLiveRetries: a worker that knows a destination already makes as many attempts as the settings say now, be they the server's
// or its tenant's.
func TestLiveRetries(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.Retry.Schedule = nil; c.Retry.Initial, c.Retry.MaxAttempts = 1, 2 })
	a.tenant("acme")
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"gone","type":"webhook","topics":"*","config":{"url":"http://127.0.0.1:1/"}}`)
	attempts := func() string {
		id := a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`).str("id")
		o := a.eventually("/deliveries?destination_id=gone&event_id="+id, func(o answer) bool { return o.str("models", "0", "status") == "failed" })
		return o.str("models", "0", "attempts")
	}
	if n := attempts(); n != "2" {
		t.Errorf("%s attempts by the environment", n)
	}
	a.want(200, "PATCH", "/settings", `{"retry_max_attempts":3}`)
	if n := attempts(); n != "3" {
		t.Errorf("%s attempts by the server's settings", n)
	}
	a.want(200, "PATCH", "/tenants/acme/settings", `{"retry_schedule":["1ms","1ms","1ms"]}`)
	if n := attempts(); n != "4" {
		t.Errorf("%s attempts by the tenant's settings", n)
	}
	a.want(200, "PATCH", "/tenants/acme/settings", `{"retry_schedule":null}`)
	if n := attempts(); n != "3" {
		t.Errorf("%s attempts once the tenant's are taken back", n)
	}
}

// TestLiveLimits: the payload's size, the tenants' share and the rules that new tenants get follow the settings.
func TestLiveLimits(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	large := `{"tenant_id":"acme","data":{"x":"` + strings.Repeat("x", 4096) + `"}}`
	a.want(202, "POST", "/publish", large)
	a.want(200, "PATCH", "/settings",
		`{"max_payload":1024,"tenant_events_per_second":1,"tenant_limit_burst":"5m","alert_disable_steps":[20],"alert_certificate_days":0,"alert_every":"5m"}`)
	if o := a.do("POST", "/publish", large); o.status != 413 && o.status != 422 {
		t.Errorf("a large payload: %d %s", o.status, o.raw)
	}
	if o := a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`); o.header.Get("RateLimit") == "" {
		t.Error("no limit of events")
	}
	a.want(201, "PUT", "/tenants/late", nil)
	rules := a.want(200, "GET", "/tenants/late/alert-rules", nil)
	if s := rules.raw; !strings.Contains(s, `"disable_steps":[20]`) || strings.Contains(s, "certificate_expires") || !strings.Contains(s, `"every":"5m"`) {
		t.Errorf("a new tenant's rules: %s", s)
	}
	if s := a.want(200, "GET", "/tenants/acme/alert-rules", nil).raw; !strings.Contains(s, `"disable_steps":[50,70,90,100]`) {
		t.Errorf("an older tenant's rules: %s", s)
	}
	if s := a.want(200, "GET", "/server/settings?q=MAX_PAYLOAD", nil).raw; !strings.Contains(s, `"value":"1024"`) || !strings.Contains(s, `"source":"stored"`) {
		t.Errorf("the list of variables: %s", s)
	}
}

// TestLiveSettingsPage sets, refuses and takes back on the page.
func TestLiveSettingsPage(t *testing.T) {
	t.Parallel()
	a := newProcessOf(t, testConfigOf(t, map[string]string{"SETTINGS_LOCKED": "retention_days", "DELIVERY_TIMEOUT": "20s"}, nil))
	v := a.visitor()
	p := v.get("/server/defaults")
	setting := func(p page, name string) string { return p.text("[data-setting=" + name + "]") }
	if s := setting(p, "delivery_timeout"); !strings.Contains(s, "20 s · Environment") || !strings.Contains(s, "Default: 15 s") || strings.Contains(s, "Reset") {
		t.Errorf("from the environment: %s", s)
	}
	if s := setting(p, "retention_days"); !strings.Contains(s, "30 days · Default") || !strings.Contains(s, "Locked by the environment") ||
		p.Find("[name=retention_days]").Length() != 0 {
		t.Errorf("locked: %s", s)
	}
	save := func(version string, pairs ...string) page {
		return v.post("/server/defaults", append([]string{"version", version}, pairs...)...)
	}
	p = save("1", "delivery_timeout", "5s", "manual_retry_limit", "0", "retry_schedule", "none")
	if s := setting(p, "delivery_timeout"); p.status != 200 || !strings.Contains(s, "5 s · Set by page or API") || !strings.Contains(s, "Environment: 20 s") ||
		!strings.Contains(s, "Changed by "+testEmail) && !strings.Contains(s, "Changed by Ann") || !strings.Contains(s, "Reset") || p.value("delivery_timeout") != "5s" {
		t.Errorf("saved: %d %s", p.status, s)
	}
	if s := setting(p, "manual_retry_limit"); !strings.Contains(s, "No limit · Set by page or API") {
		t.Errorf("no limit: %s", s)
	}
	if s := setting(p, "retry_schedule"); !strings.Contains(s, "None · Set by page or API") || p.value("retry_schedule") != "none" {
		t.Errorf("an empty list: %s", s)
	}
	p = save("2", "delivery_timeout", "5m", "manual_retry_limit", "4")
	if s := p.text("[role=alert]"); p.status != 422 || !strings.Contains(s, "between 100ms and 2m") || p.value("manual_retry_limit") != "4" {
		t.Errorf("refused: %d %s", p.status, s)
	}
	if p = save("1", "delivery_timeout", "7s"); p.status != 412 || p.value("version") != "2" || p.value("delivery_timeout") != "7s" {
		t.Errorf("changed by somebody else: %d %s", p.status, p.text("main"))
	}
	p = save("2", "delivery_timeout", "5s", "manual_retry_limit", "0", "reset", "delivery_timeout")
	if s := setting(p, "delivery_timeout"); !strings.Contains(s, "20 s · Environment") || p.value("delivery_timeout") != "" ||
		p.value("manual_retry_limit") != "0" {
		t.Errorf("reset: %s", s)
	}
	// A tenant's page tells of them, and has its own.
	a.tenant("acme")
	if s := v.get("/t/acme/settings").text("main"); !strings.Contains(s, "Stored: MANUAL_RETRY_LIMIT=0") {
		t.Errorf("the tenant's page: %s", s)
	}
	v.post("/t/acme/settings/tenant", "retry_max_attempts", "4", "retry_schedule", "none", "delivery_timeout", "")
	p = v.get("/t/acme/settings/tenant")
	if p.value("retry_max_attempts") != "4" || p.value("retry_schedule") != "none" || !strings.Contains(p.text("main"), "When empty: 20 s") {
		t.Errorf("the tenant's own: %s", p.text("main"))
	}
}
