package app

import (
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/models"
)

func TestSetup(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	v := a.stranger()
	if p := v.get("/"); p.path != "/setup" {
		t.Fatalf("a fresh server leads to %s", p.path)
	}
	v.post("/setup", "code", "wrong", "name", "Ann", "email", testEmail, "password", testPassword).refused(422, "code",
		"is not the one in the server's log")
	code, err := a.Store.SetupCode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := v.post("/setup", "code", code, "name", "<b>Ann</b>", "email", "nobody", "password", "short")
	p.refused(422, "email", "must be an e-mail address")
	p.refused(422, "password", "must be at least 10 characters long")
	if p.value("name") != "<b>Ann</b>" || p.value("code") != code {
		t.Error("what was typed is gone")
	}
	p = v.post("/setup", "code", code, "name", "Ann", "email", testEmail, "password", testPassword)
	key := p.text("#new-key")
	if p.status != 200 || !strings.HasPrefix(key, models.KeyPrefix) || p.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, %q, %v", p.status, key, p.header)
	}
	a.as(key).want(404, "GET", "/tenants/nobody", nil) // the key is valid
	if p := v.send("GET", "/setup", nil); p.status != 404 {
		t.Errorf("the set-up is open after it is over: %d", p.status)
	}
	v.get("/tenants").says("demo")
}

func TestLogin(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.visitor()
	v := a.stranger()
	p := v.get("/t/acme/events?status=failed")
	if p.path != "/login?return=%2Ft%2Facme%2Fevents%3Fstatus%3Dfailed" {
		t.Errorf("led to %s", p.path)
	}
	back := p.value("return")
	for _, c := range [][2]string{{testEmail, "wrong password"}, {"nobody@example.com", testPassword}, {"", ""}} {
		p = v.post("/login", "email", c[0], "password", c[1], "return", back)
		p.refused(422, "", "Email or password is not right.")
		if p.value("email") != c[0] || p.value("password") != "" || p.value("return") != back {
			t.Error("e-mail address and return should stay, the password should not")
		}
	}
	p = v.post("/login", "email", " ANN@example.com", "password", testPassword, "return", back)
	if p.status != 200 || p.path != "/t/acme/events?status=failed" {
		t.Errorf("after the login: %d %s", p.status, p.path)
	}
	if p := v.get("/login"); p.path != "/tenants" {
		t.Errorf("who has logged in sees %s on /login", p.path)
	}
	if p = v.post("/logout"); p.path != "/login" {
		t.Errorf("after the logout: %s", p.path)
	}
	p.says("You have logged out.")
	if p := v.get("/t/acme"); !strings.HasPrefix(p.path, "/login") {
		t.Errorf("logged out, but sees %s", p.path)
	}
}

func TestLoginIsLimited(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.visitor()
	v := a.stranger()
	for range models.FreeTries {
		v.post("/login", "email", testEmail, "password", "wrong password").refused(422, "", "Email or password is not right.")
	}
	p := v.post("/login", "email", testEmail, "password", testPassword)
	p.refused(429, "", "Too many tries. Try again after ")
}

func TestPortalLink(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	link := strings.TrimPrefix(a.want(200, "GET", "/tenants/acme/portal?theme=dark", nil).str("redirect_url"), a.Cfg.BaseURL)
	// What scans mails opens the links in them, and asks in other ways; none of that uses the link up.
	for _, method := range []string{"HEAD", "GET", "GET"} {
		p := a.stranger().send(method, link, nil)
		if p.status != 200 && method == "GET" || p.header.Get("Set-Cookie") != "" || p.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%s of a portal link: %d %v", method, p.status, p.header)
		}
		if method == "GET" && (p.Find("html").AttrOr("data-theme", "") != "dark" || p.Find("main form").Length() != 1 ||
			p.Find("main form").AttrOr("action", "") != link || p.text("main form button") != "Open dashboard") {
			t.Errorf("the page behind a portal link: %s", p.text("body"))
		}
	}
	v := a.stranger()
	p := v.open(link)
	if p.path != "/t/acme" || p.Find("html").AttrOr("data-theme", "") != "dark" {
		t.Errorf("led to %s, theme %q", p.path, p.Find("html").AttrOr("data-theme", ""))
	}
	for _, gone := range []string{`a[href="/tenants"]`, `a[href="/t/acme/api-keys"]`} {
		if p.Find(gone).Length() > 0 {
			t.Errorf("a portal visitor is shown %s", gone)
		}
	}
	for _, method := range []string{"GET", "POST"} {
		if p := a.stranger().send(method, link, nil); p.status != 404 {
			t.Errorf("the link works twice: %s %d", method, p.status)
		}
	}
	if p := v.get("/"); p.path != "/t/acme" {
		t.Errorf("the start of a portal visitor is %s", p.path)
	}
	for path, status := range map[string]int{"/tenants": 403, "/api-keys": 403, "/t/acme/api-keys": 403, "/t/globex": 404,
		"/tenants/new": 403, "/t/acme/topics": 200} {
		if p := v.send("GET", path, nil); p.status != status {
			t.Errorf("%s: status %d, want %d", path, p.status, status)
		}
	}
	if p := v.post("/t/acme/topics", "name", "x"); p.status != 403 {
		t.Errorf("a portal visitor changed the catalogue: %d", p.status)
	}
	if p := v.post("/t/acme/destinations/inbox/test", "data", "{}"); p.status != 200 || !strings.HasPrefix(p.path, "/t/acme/attempts/") {
		t.Errorf("test: %d %s", p.status, p.path)
	}
}
