package app

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// batch are so many events of a tenant.
func batch(tenant string, n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(`{"tenant_id":"`+tenant+`","topic":"a","data":{}},`, n), ",") + "]"
}

var (
	policyField = regexp.MustCompile(`^"[a-z-]+";q=\d+;qu="(requests|events|content-bytes)";w=\d+(, "[a-z-]+";q=\d+;qu="(requests|events|content-bytes)";w=\d+)*$`)
	limitField  = regexp.MustCompile(`^"[a-z-]+";r=\d+(;t=\d+)?(, "[a-z-]+";r=\d+(;t=\d+)?)*$`)
)

// limitedBy fails the test unless an answer is a refusal as RFC 6585 and draft-ietf-httpapi-ratelimit-headers ask for.
func (o answer) limitedBy(t *testing.T, says ...string) {
	t.Helper()
	if o.status != http.StatusTooManyRequests || o.str("code") != "limited" {
		t.Fatalf("%d %s", o.status, o.raw)
	}
	for _, s := range says {
		if !strings.Contains(o.str("message"), s) {
			t.Errorf("%q does not say %q", o.str("message"), s)
		}
	}
	after, err := strconv.Atoi(o.header.Get("Retry-After"))
	if err != nil || after < 1 || !policyField.MatchString(o.header.Get("RateLimit-Policy")) || !limitField.MatchString(o.header.Get("RateLimit")) {
		t.Errorf("Retry-After %q, RateLimit-Policy %q, RateLimit %q", o.header.Get("Retry-After"), o.header.Get("RateLimit-Policy"),
			o.header.Get("RateLimit"))
	}
	for _, m := range regexp.MustCompile(`;t=(\d+)`).FindAllStringSubmatch(o.header.Get("RateLimit"), -1) {
		if at, _ := strconv.Atoi(m[1]); after < at {
			t.Errorf("Retry-After %d is earlier than %s", after, m[0])
		}
	}
}

// TestLimitsOfATenant: what a tenant sends is held to its limits, by whomever it is sent, and what others send is not. All processes
// follow a change. Buckets are large beside what they get in a second, so that a busy machine changes nothing.
func TestLimitsOfATenant(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("other")
	if o := a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`); o.header.Get("RateLimit") != "" {
		t.Errorf("without a limit: RateLimit %q", o.header.Get("RateLimit"))
	}
	got := a.want(200, "PATCH", "/tenants/acme/settings", `{"events_per_second":1,"limit_burst":"200s"}`)
	if got.num("effective", "events_per_second") != 1 || got.str("effective", "limit_burst") != "3m20s" ||
		got.num("effective", "bytes_per_second") != 0 {
		t.Errorf("in force: %s", got.raw)
	}
	o := a.want(202, "POST", "/publish/batch", batch("acme", 200))
	if o.header.Get("RateLimit-Policy") != `"tenant-events";q=200;qu="events";w=200` ||
		!strings.HasPrefix(o.header.Get("RateLimit"), `"tenant-events";r=`) {
		t.Errorf("RateLimit-Policy %q, RateLimit %q", o.header.Get("RateLimit-Policy"), o.header.Get("RateLimit"))
	}
	a.do("POST", "/publish/batch", batch("acme", 150)).limitedBy(t, "Tenant acme", "1 events a second", "events_per_second", "200", "150",
		"PATCH /tenants/acme/settings")
	mine := a.want(201, "POST", "/api-keys", `{"name":"acme","scopes":["publish","read"],"tenant_id":"acme"}`).str("key")
	a.as(mine).do("POST", "/publish/batch", batch("acme", 150)).limitedBy(t, "Tenant acme")
	if n := a.count("select count(*) from events"); n != 201 {
		t.Errorf("%d events were accepted", n)
	}
	a.want(202, "POST", "/publish/batch", batch("other", 150))

	// A batch of several tenants: each event has its own answer.
	o = a.want(202, "POST", "/publish/batch", "["+strings.Trim(batch("acme", 150), "[]")+","+strings.Trim(batch("other", 2), "[]")+"]")
	if o.num("results", "0", "status") != 429 || o.num("results", "149", "status") != 429 || o.num("results", "150", "status") != 202 ||
		o.num("results", "151", "status") != 202 || !strings.Contains(o.str("results", "0", "message"), "Tenant acme") {
		t.Errorf("of two tenants: %.300s", o.raw)
	}

	// Another process has its share, follows the change, and the next one.
	b := newProcessOf(t, testConfig(t, func(c *config.Config) { c.DatabaseURL = a.Cfg.DatabaseURL }))
	a.follows(func() bool { return a.Store.IntakeShare() == 2 })
	if o := a.do("POST", "/publish/batch", batch("acme", 1)); o.header.Get("RateLimit-Policy") != `"tenant-events";q=100;qu="events";w=200` {
		t.Errorf("of two processes: RateLimit-Policy %q", o.header.Get("RateLimit-Policy"))
	}
	b.follows(func() bool { return b.Store.TenantIntake("acme").Events == 1 })
	b.want(202, "POST", "/publish/batch", batch("acme", 200))
	b.do("POST", "/publish/batch", batch("acme", 150)).limitedBy(t)
	a.want(200, "PATCH", "/tenants/acme/settings", `{"events_per_second":null,"limit_burst":null}`)
	a.want(202, "POST", "/publish/batch", batch("acme", 150))
	b.follows(func() bool { return !b.Store.LimitsTenants() })
	b.want(202, "POST", "/publish/batch", batch("acme", 150))

	// Bytes are those of the events as they were sent.
	a.want(200, "PATCH", "/tenants/acme/settings", `{"bytes_per_second":1024,"limit_burst":"100s"}`)
	large := fmt.Sprintf(`{"tenant_id":"acme","data":{"x":%q}}`, strings.Repeat("x", 100_000))
	o = a.want(202, "POST", "/publish", large)
	if o.header.Get("RateLimit-Policy") != `"tenant-bytes";q=51200;qu="content-bytes";w=100` { // of two processes
		t.Errorf("RateLimit-Policy %q", o.header.Get("RateLimit-Policy"))
	}
	a.do("POST", "/publish", large, "Idempotency-Key", "k1").limitedBy(t, "1024 bytes a second")
	a.want(200, "PATCH", "/tenants/acme/settings", `{"bytes_per_second":null}`)
	a.want(202, "POST", "/publish", large, "Idempotency-Key", "k1") // a refusal is not remembered

	// Requests: those of the tenant's own keys and tokens.
	a.want(200, "PATCH", "/tenants/acme/settings", `{"requests_per_second":1,"limit_burst":"50s"}`)
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	var refused answer
	for range 200 {
		if refused = token.do("GET", "/events", nil); refused.status != 200 {
			break
		}
	}
	refused.limitedBy(t, "Tenant acme may send 1 requests a second (requests_per_second)")
	a.want(200, "GET", "/events?tenant_id=acme", nil) // an operator's key is not the tenant's

	// The limits end with the tenant.
	a.want(200, "DELETE", "/tenants/acme", nil)
	a.follows(func() bool { return !a.Store.LimitsTenants() })

	for body, field := range map[string]string{`{"events_per_second":-1}`: "events_per_second", `{"bytes_per_second":5}`: "bytes_per_second",
		`{"requests_per_second":1.5}`: "requests_per_second", `{"limit_burst":"1ms"}`: "limit_burst", `{"limit_burst":"2h"}`: "limit_burst"} {
		if o := a.do("PATCH", "/tenants/other/settings", body); o.status != 422 || o.str("fields", field) == "" {
			t.Errorf("%s: %d %s", body, o.status, o.raw)
		}
	}
}

// follows waits until a process has noticed something.
func (a *testApp) follows(noticed func() bool) {
	a.Helper()
	for deadline := time.Now().Add(patience); !noticed(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.Fatal("it does not follow")
		}
	}
}

// TestDefaultLimits: the server's limits hold for each tenant by itself, a tenant's own are in their place, and a key's beside them.
func TestDefaultLimits(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.Intake = models.Intake{Events: 1, Burst: 100 * time.Second} })
	for _, id := range []string{"acme", "other", "large"} {
		a.tenant(id)
	}
	a.want(200, "PATCH", "/tenants/large/settings", `{"events_per_second":0}`)
	for _, id := range []string{"acme", "other"} {
		a.want(202, "POST", "/publish/batch", batch(id, 100))
		a.do("POST", "/publish/batch", batch(id, 90)).limitedBy(t, "Tenant "+id)
	}
	for range 3 {
		a.want(202, "POST", "/publish/batch", batch("large", 100))
	}
	made := a.want(201, "POST", "/api-keys", `{"name":"k","scopes":["publish","read"],"events_per_second":1,"limit_burst":"50s"}`)
	key := a.as(made.str("key"))
	o := key.want(202, "POST", "/publish/batch", batch("large", 50))
	if o.header.Get("RateLimit-Policy") != `"key-events";q=50;qu="events";w=50` {
		t.Errorf("RateLimit-Policy %q", o.header.Get("RateLimit-Policy"))
	}
	key.do("POST", "/publish/batch", batch("large", 40)).limitedBy(t, "This API key", "PATCH /api-keys/"+made.str("id"))
	a.want(202, "POST", "/publish/batch", batch("large", 40))
	// A change is followed.
	a.want(200, "PATCH", "/api-keys/"+made.str("id"), `{"events_per_second":null,"requests_per_second":1,"limit_burst":"1h"}`)
	a.follows(func() bool { return key.do("GET", "/topics", nil).header.Get("RateLimit") != "" })
	if o := key.want(200, "GET", "/topics", nil); !strings.HasPrefix(o.header.Get("RateLimit-Policy"), `"key-requests";q=3600;`) {
		t.Errorf("RateLimit-Policy %q", o.header.Get("RateLimit-Policy"))
	}
}

// TestLimitsOfSeveralProcesses: two processes let through together what a tenant's limit says, each its share, which grows when one of them dies.
func TestLimitsOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("small")
	a.tenant("probe")
	env := []string{"DATABASE_URL=" + a.Cfg.DatabaseURL, "TENANT_EVENTS_PER_SECOND=1", "TENANT_LIMIT_BURST=300s"}
	a.want(200, "PATCH", "/tenants/small/settings", `{"limit_burst":"1s"}`)
	web := []*process{startProcess(t, "web", env...), startProcess(t, "web", env...)}
	publish := func(p *process, tenant string, n int) answer {
		b := *a
		b.base = p.base
		return b.do("POST", "/publish/batch", batch(tenant, n))
	}
	policy := func(p *process, want string) func() bool {
		return func() bool { return publish(p, "probe", 1).header.Get("RateLimit-Policy") == want }
	}
	const third, half = `"tenant-events";q=100;qu="events";w=300`, `"tenant-events";q=150;qu="events";w=300`
	for _, p := range web { // and the process of the test, which has no limit and counts all the same
		a.follows(policy(p, third))
	}
	got := 0
	for _, p := range web {
		for publish(p, "acme", 10).status == 202 {
			got += 10
		}
	}
	if got < 200 || got > 240 { // 200, and what has come meanwhile
		t.Errorf("%d events in two of three processes, want about 200", got)
	}
	publish(web[0], "acme", 20).limitedBy(t, "1 events a second", "at once up to 300", "3 processes")
	for _, p := range web { // a third of one at once is one
		if o := publish(p, "small", 1); o.status != 202 || !strings.HasPrefix(o.header.Get("RateLimit-Policy"), `"tenant-events";q=1;`) ||
			!strings.Contains(o.header.Get("RateLimit-Policy"), ";w=3") {
			t.Errorf("of a small limit: %d %s %q", o.status, o.raw, o.header.Get("RateLimit-Policy"))
		}
	}
	web[1].kill() // which nobody is told
	a.follows(policy(web[0], half))
}
