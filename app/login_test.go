package app

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/internal/clientip"
	"github.com/waybill-dev/waybill/models"
)

// behindProxy trusts the tests' own address, so that they may come from anywhere.
func behindProxy(c *config.Config) {
	c.Proxies = clientip.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Header: clientip.XForwardedFor}
}

// login tries a password from an address.
func (v *visitor) login(from, email, password string) page {
	v.Helper()
	return v.send("POST", "/login", url.Values{"email": {email}, "password": {password}}, "X-Forwarded-For", from)
}

// lockOut uses the free tries at an account from an address.
func (v *visitor) lockOut(from, email string) {
	v.Helper()
	for range models.FreeTries {
		if p := v.login(from, email, "wrong"); p.status != 422 {
			v.Fatalf("a free try: %d", p.status)
		}
	}
	if p := v.login(from, email, "wrong"); p.status != 429 {
		v.Fatalf("too many tries: %d", p.status)
	}
}

// waited makes all waits be over.
func (a *testApp) waited() {
	a.Helper()
	if _, err := a.db.Exec(a.Context(), "update login_tries set blocked_until = now() - interval '1 millisecond'"); err != nil {
		a.Fatal(err)
	}
}

// TestLoginWaits tries passwords: waits are said, double, are shared by processes, and are not made longer by tries that were
// refused.
func TestLoginWaits(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, behindProxy)
	a := newProcessOf(t, cfg)
	a.visitor()
	other := *cfg
	b := newProcessOf(t, &other)
	v, w := a.stranger(), b.stranger()
	const from = "198.51.100.7"
	v.lockOut(from, testEmail)
	retryAfter := func(p page) int {
		n, _ := strconv.Atoi(p.header.Get("Retry-After"))
		return n
	}
	for range 30 {
		if p := w.login(from, strings.ToUpper(testEmail), testPassword); p.status != 429 || retryAfter(p) < 1 || retryAfter(p) > 31 {
			t.Fatalf("in another process: %d, Retry-After %q", p.status, p.header.Get("Retry-After"))
		}
	}
	p := w.login("198.51.100.99", testEmail, testPassword)
	p.refused(429, "", "Too many tries. Try again after ")
	p.refused(429, "", fmt.Sprintf("UTC, in %d seconds.", retryAfter(p)))
	for _, most := range []int{61, 121, 241} {
		a.waited()
		if p := v.login(from, testEmail, "wrong"); p.status != 422 {
			t.Fatalf("after the wait: %d", p.status)
		}
		if n := retryAfter(v.login(from, testEmail, "wrong")); n > most || n <= most/2 {
			t.Errorf("the next wait is %d seconds, want about %d", n, most-1)
		}
	}
	a.waited()
	if p := v.login(from, testEmail, testPassword); p.status != 200 || strings.HasPrefix(p.path, "/login") {
		t.Errorf("the right password after the wait: %d %s", p.status, p.path)
	}
	c := a.stranger()
	c.lockOut(from, testEmail) // who has logged in has all free tries again
}

// TestLoginIsNotForgotten tries junk names, and many addresses of one network and of many.
func TestLoginIsNotForgotten(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, behindProxy)
	a.visitor()
	v := a.stranger()
	v.lockOut("198.51.100.7", testEmail)
	checked := 0
	for i := range 60 {
		if p := v.login(fmt.Sprintf("198.51.100.%d", i), fmt.Sprintf("junk%d@example.com", i), "wrong"); p.status == 422 {
			checked++
		}
	}
	if checked != 20 { // 30 of a network are free, and ten are gone
		t.Errorf("%d junk names were looked at", checked)
	}
	if p := v.login("198.51.100.7", testEmail, testPassword); p.status != 429 {
		t.Errorf("the first is forgotten: %d", p.status)
	}
	var rows int
	if err := a.db.QueryRow(t.Context(), "select count(*) from login_tries").Scan(&rows); err != nil || rows > 50 {
		t.Errorf("%d rows of tries, %v: those of refused ones should not be kept", rows, err)
	}
	// One account from everywhere: after a hundred tries there is one every few seconds.
	if _, err := a.db.Exec(t.Context(), "truncate login_tries"); err != nil {
		t.Fatal(err)
	}
	checked = 0
	for i := range 110 {
		if p := v.login(fmt.Sprintf("2001:db8:%x::1", i), testEmail, "wrong"); p.status == 422 {
			checked++
		}
	}
	if checked < 100 || checked > 103 {
		t.Errorf("%d tries from as many networks were looked at", checked)
	}
}

// TestLoginTogether makes all tries at the same time.
func TestLoginTogether(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, behindProxy)
	a.visitor()
	var checked atomic.Int32
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if p := a.stranger().login("198.51.100.7", testEmail, "wrong"); p.status == 422 {
				checked.Add(1)
			}
		})
	}
	wg.Wait()
	if n := checked.Load(); n != models.FreeTries {
		t.Errorf("%d passwords were looked at, want %d", n, models.FreeTries)
	}
}

// TestKnownBrowserIsSpared keeps the owner of an account out, as far as that goes.
func TestKnownBrowserIsSpared(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, behindProxy)
	a.visitor()
	own, stranger := a.stranger(), a.stranger()
	const here = "198.51.100.7"
	if p := own.login(here, testEmail, testPassword); p.status != 200 {
		t.Fatalf("status %d", p.status)
	}
	own.post("/logout")
	stranger.lockOut(here, testEmail)
	if p := stranger.login(here, testEmail, testPassword); p.status != 429 {
		t.Errorf("a stranger at the same place: %d", p.status)
	}
	if p := own.login(here, " Ann@example.com ", testPassword); p.status != 200 || strings.HasPrefix(p.path, "/login") {
		t.Errorf("a browser that has logged in before: %d %s", p.status, p.path)
	}
	own.post("/logout")
	// The cookie is good for its account only, and for as many tries as anybody has.
	cookie := ""
	for _, c := range own.client.Jar.Cookies(own.address("/")) {
		if c.Name == "waybill_browser" {
			cookie = c.Value
		}
	}
	forged := a.stranger()
	forged.setCookie("waybill_browser", cookie[:len(cookie)-4]+"AAAA")
	if p := forged.login(here, testEmail, testPassword); p.status != 429 {
		t.Errorf("a forged cookie: %d", p.status)
	}
	stolen := a.stranger()
	stolen.setCookie("waybill_browser", cookie)
	stranger.lockOut(here, "bob@example.com")
	if p := stolen.login(here, "bob@example.com", "wrong"); p.status != 429 {
		t.Errorf("the cookie of another account: %d", p.status)
	}
	stolen.lockOut("203.0.113.1", testEmail)
	if p := stolen.login("203.0.113.2", testEmail, testPassword); p.status != 429 {
		t.Errorf("a cookie after too many tries: %d", p.status)
	}
}

// TestClientAddress forges the address of a caller behind a proxy that appends to the header.
func TestClientAddress(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, behindProxy)
	a.visitor()
	v := a.stranger()
	checked := 0
	for i := range 40 {
		if p := v.login(fmt.Sprintf("10.9.%d.1, <script>, 203.0.113.7", i), fmt.Sprintf("u%d@example.com", i), "x"); p.status == 422 {
			checked++
		}
	}
	if checked != 30 {
		t.Errorf("%d tries of one address were looked at, want 30", checked)
	}
	for _, e := range a.entries("action=session.login&outcome=failed&limit=100") {
		if e.IP != "203.0.113.7" {
			t.Fatalf("the audit log has the address %q", e.IP)
		}
	}
	direct := newTestApp(t, nil)
	direct.want(201, "PUT", "/tenants/acme", nil, "X-Forwarded-For", "203.0.113.7", "Forwarded", "for=203.0.113.7")
	if e := direct.entry("tenant.create", "acme"); !strings.HasPrefix(e.IP, "127.") {
		t.Errorf("a header of nobody's proxy is believed: %s", e.IP)
	}
	standard := newTestApp(t, func(c *config.Config) {
		behindProxy(c)
		c.Proxies.Header = clientip.Forwarded
	})
	standard.want(201, "PUT", "/tenants/acme", nil, "X-Forwarded-For", "192.0.2.66", "Forwarded",
		`for=192.0.2.66, for="[2001:db8::7]:4711";proto=https`)
	if e := standard.entry("tenant.create", "acme"); e.IP != "2001:db8::7" {
		t.Errorf("Forwarded: %s", e.IP)
	}
}

// TestSetupCodeIsLimited guesses the code of the set-up.
func TestSetupCodeIsLimited(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, behindProxy)
	v := a.stranger()
	for range models.FreeTries {
		v.post("/setup", "code", "guess").refused(422, "code", "is not the one in the server's log")
	}
	v.post("/setup", "code", "guess").refused(429, "", "Too many tries.")
}

// TestKeysAreNotGuessed tries keys from one network. Those that were valid before, and other networks, do not suffer.
func TestKeysAreNotGuessed(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, behindProxy)
	a.tenant("acme")
	token := a.want(200, "GET", "/tenants/acme/token", nil).str("token")
	keys := [2]string{}
	for i := range keys {
		keys[i] = a.want(201, "POST", "/api-keys", map[string]any{"name": "Shop", "scopes": []string{"read"}}).str("key")
	}
	const here = "198.51.100.7"
	a.as(keys[0]).want(200, "GET", "/tenants/acme", nil, "X-Forwarded-For", here)
	statuses := map[int]int{}
	for i := range 150 {
		guess := fmt.Sprintf("wb_guess_%d", i)
		if i%2 > 0 {
			guess = fmt.Sprintf("eyJhbGciOiJub25lIn0.e%d.x", i)
		}
		out := a.as(guess).do("GET", "/tenants/acme", nil, "X-Forwarded-For", fmt.Sprintf("198.51.100.%d", i))
		statuses[out.status]++
		if out.status == http.StatusTooManyRequests && (out.header.Get("Retry-After") == "" ||
			!strings.Contains(out.str("message"), "Check your key")) {
			t.Fatalf("%v %s", out.header, out.raw)
		}
	}
	if statuses[401] < 100 || statuses[429] == 0 || statuses[401]+statuses[429] != 150 {
		t.Errorf("answers by status: %v", statuses)
	}
	revoked := a.want(201, "POST", "/api-keys", map[string]any{"name": "Other", "scopes": []string{"read"}}).str("id")
	a.want(200, "DELETE", "/api-keys/"+revoked, nil) // makes every key be looked up again
	a.want(200, "GET", "/tenants/acme", nil, "X-Forwarded-For", here)
	a.as(token).want(200, "GET", "/tenants/acme", nil, "X-Forwarded-For", here)
	a.as(keys[0]).want(200, "GET", "/tenants/acme", nil, "X-Forwarded-For", here)
	a.as(keys[1]).want(200, "GET", "/tenants/acme", nil, "X-Forwarded-For", "198.51.101.7")
}

// TestTriesAreForgotten runs the upkeep.
func TestTriesAreForgotten(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	_, err := a.db.Exec(t.Context(),
		`insert into login_tries (key, tries, last_at) select 'old' || n, 5, now() - interval '2 days' from generate_series(1, 10) n
		union all select 'junk' || n, 1, now() from generate_series(1, 100005) n union all select 'kept', 7, now() - interval '1 hour'`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Store.Upkeep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	var all, old, kept int
	if err := a.db.QueryRow(t.Context(),
		"select count(*), count(*) filter (where key like 'old%'), count(*) filter (where key = 'kept') from login_tries").Scan(&all, &old,
		&kept); err != nil {
		t.Fatal(err)
	}
	if all != 100_000 || old != 0 || kept != 1 {
		t.Errorf("%d rows, %d of them old, %d kept", all, old, kept)
	}
}
