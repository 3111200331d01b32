package app

import (
	"crypto/rand"
	"crypto/rsa"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

var testRoles = config.GroupRoles{"platform": models.RoleAdmin, "devs": models.RoleDeveloper}

// user is a user by their address; nil for none.
func (a *testApp) user(email string) *models.User {
	a.Helper()
	u, err := a.Store.UserByEmail(a.Context(), email)
	if err != nil && !models.IsKind(err, models.KindNotFound) {
		a.Fatal(err)
	}
	return u
}

// TestProviderLogin: who is in a group that gives a role becomes a user, who is one already is connected, and both are known again.
func TestProviderLogin(t *testing.T) {
	t.Parallel()
	idp := newTestProvider(t)
	a := newTestApp(t, idp.on(testRoles))
	idp.is("s-1", "max@example.com", "devs", "platform", "others")
	if to := a.stranger().leads(a.base + "/login/oidc"); to != "/setup" {
		t.Errorf("before the set-up it leads to %s", to)
	}
	a.visitor()
	v := a.stranger()
	p := v.get("/login?return=%2Fusers")
	p.says("Log in with Example ID")
	start := p.Find(".provider-way a").AttrOr("href", "")
	if p = v.send("GET", v.begin(start), nil); p.path != "/users" || p.status != 200 {
		t.Fatalf("led to %s (%d): %s", p.path, p.status, p.text("main"))
	}
	u := a.user("max@example.com")
	if u == nil || u.Role != models.RoleAdmin || u.Name != "Name of s-1" || u.HasPassword || u.LastLoginAt == nil {
		t.Fatalf("%+v", u)
	}
	if e := a.entry("user.create", u.ID()); e.Actor != "Name of s-1" || len(e.Changes) == 0 {
		t.Errorf("%+v", e)
	}
	p = v.get("/account")
	p.says("Your account there had the address max@example.com.")
	if p.Find(`[name="present"]`).Length() > 0 {
		t.Error("a password is asked for that there is not")
	}
	if p := a.stranger().login("", "max@example.com", ""); p.status != 422 {
		t.Errorf("no password logs in: %d", p.status)
	}
	// Another address there does not make another user here.
	idp.is("s-1", "moved@example.com", "platform")
	if p := a.stranger().byProvider(); p.path != "/account" || a.user("moved@example.com") != nil {
		t.Errorf("led to %s", p.path)
	}
	if n := a.count("select count(*) from identities"); n != 1 {
		t.Errorf("%d identities", n)
	}

	// A user of the same verified address, whatever its case, is connected once, and keeps the password.
	bo := a.addUser("Bo", models.RoleViewer)
	idp.is("s-2", strings.ToUpper(bo.Email), "devs")
	w := a.stranger()
	w.byProvider().says("For the whole server: Developer")
	if e := a.entry("user.identity", bo.ID()); e.Detail["subject"] != "s-2" || e.Actor != "Bo" {
		t.Errorf("%+v", e)
	}
	if p := a.stranger().login("", bo.Email, testPassword); p.status != 200 || strings.HasPrefix(p.path, "/login") {
		t.Errorf("the password: %d %s", p.status, p.path)
	}
	idp.is("s-3", bo.Email, "devs")
	a.stranger().byProvider().says("is connected with another account at Example ID")

	// What leads back leads to this server only.
	idp.is("s-2", bo.Email, "devs")
	for _, to := range []string{"https://evil.example/", "//evil.example", "/\\evil.example"} {
		x := a.stranger()
		if p := x.send("GET", x.begin("/login/oidc?return="+url.QueryEscape(to)), nil); p.path != "/tenants" && p.path != "/t/demo" {
			t.Errorf("%s led to %s", to, p.path)
		}
	}
	// A second factor of this server is asked for as well.
	a.factor(bo)
	y := a.stranger()
	if p := y.byProvider(); p.path != "/login/code?return=%2Faccount" || y.session() != "" {
		t.Errorf("led to %s", p.path)
	}
}

// TestProviderRefusals: what is not exactly what was asked for logs nobody in, and leaves no user.
func TestProviderRefusals(t *testing.T) {
	t.Parallel()
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	change := func(q string, set func(url.Values)) string {
		path, query, _ := strings.Cut(q, "?")
		v, _ := url.ParseQuery(query)
		set(v)
		return path + "?" + v.Encode()
	}
	claim := func(name string, value any) func(*testProvider) {
		return func(p *testProvider) {
			p.spoil = func(c jwt.MapClaims) {
				if c[name] = value; value == nil {
					delete(c, name)
				}
			}
		}
	}
	const unverifiable = "could not be verified"
	for _, c := range []struct {
		name  string
		spoil func(*testProvider)
		back  func(string) string
		says  string
	}{
		{"nonce", claim("nonce", "another"), nil, "about another login"},
		{"no nonce", claim("nonce", nil), nil, "about another login"},
		{"audience", claim("aud", "somebody else"), nil, unverifiable},
		{"authorized party", claim("azp", "somebody else"), nil, unverifiable},
		{"issuer", claim("iss", "https://evil.example"), nil, unverifiable},
		{"expired", claim("exp", time.Now().Add(-time.Minute).Unix()), nil, unverifiable},
		{"foreign key", func(p *testProvider) { p.sign = foreign }, nil, unverifiable},
		{"unverified address", claim("email_verified", false), nil, "has not verified your e-mail address max@example.com"},
		{"unknown whether verified", func(p *testProvider) { delete(p.who, "email_verified") }, nil, "has not verified your e-mail address"},
		{"no address", func(p *testProvider) { delete(p.who, "email") }, nil, "does not tell your e-mail address"},
		{"no group", claim("groups", []string{"others"}), nil, "has no role on this server"},
		{"groups elsewhere", func(p *testProvider) {
			delete(p.who, "groups")
			p.who["_claim_names"], p.who["_claim_sources"] = map[string]string{"groups": "a"}, map[string]any{"a": map[string]any{"endpoint": "https://x/"}}
		}, nil, "too many"},
		{"UserInfo of another", func(p *testProvider) {
			delete(p.who, "email")
			p.info = map[string]any{"sub": "s-9", "email": "max@example.com"}
		}, nil, unverifiable},
		{"state", nil, func(q string) string { return change(q, func(v url.Values) { v.Set("state", "another") }) }, "in another browser or tab"},
		{"no state", nil, func(q string) string { return change(q, func(v url.Values) { v.Del("state") }) }, "in another browser or tab"},
		{"made-up code", nil, func(q string) string { return change(q, func(v url.Values) { v.Set("code", "x") }) }, "may be used or too old"},
		{"another issuer's answer", nil, func(q string) string {
			return change(q, func(v url.Values) { v.Set("iss", "https://evil.example") })
		}, "is not from the login provider"},
		{"refused there", nil, func(q string) string {
			return change(q, func(v url.Values) {
				v.Del("code")
				v.Set("error", "access_denied")
				v.Set("error_description", "<b>no</b>")
			})
		}, "did not let you in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			idp := newTestProvider(t)
			a := newTestApp(t, idp.on(testRoles))
			a.visitor()
			idp.is("s-1", "max@example.com", "devs")
			if c.spoil != nil {
				c.spoil(idp)
			}
			v := a.stranger()
			back := v.begin("/login/oidc?return=%2Faccount")
			if c.back != nil {
				back = c.back(back)
			}
			p := v.send("GET", back, nil)
			p.says(c.says)
			if p.path != "/login?return=%2Faccount" || v.session() != "" || a.user("max@example.com") != nil {
				t.Errorf("led to %s", p.path)
			}
			if l := a.entries("action=session.login&outcome=failed"); len(l) != 1 || !strings.Contains(l[0].Error, c.says) {
				t.Errorf("the audit log has %+v", l)
			}
			if n := a.count("select count(*) from identities"); n != 0 {
				t.Errorf("%d identities", n)
			}
		})
	}
}

// TestProviderAnswerIsForOneBrowser: an answer that another browser gets, or that comes again, logs nobody in.
func TestProviderAnswerIsForOneBrowser(t *testing.T) {
	t.Parallel()
	idp := newTestProvider(t)
	a := newTestApp(t, idp.on(testRoles))
	a.visitor()
	idp.is("s-1", "max@example.com", "devs")
	v, w := a.stranger(), a.stranger()
	back := v.begin("/login/oidc")
	w.send("GET", back, nil).says("in another browser or tab")
	w.begin("/login/oidc") // a login of its own does not make the other's good
	w.send("GET", back, nil).says("in another browser or tab")
	if p := v.send("GET", back, nil); strings.HasPrefix(p.path, "/login") {
		t.Fatalf("led to %s: %s", p.path, p.text("main"))
	}
	x := a.stranger()
	cookie := ""
	x.begin("/login/oidc")
	for _, c := range x.client.Jar.Cookies(x.address("/")) {
		if c.Name == "waybill_provider" {
			cookie = c.Value
		}
	}
	if raw := x.leads(a.base + "/login/oidc"); cookie == "" || strings.Contains(cookie, idp.asked.Get("state")) || !strings.Contains(raw, "S256") {
		t.Errorf("cookie %q", cookie)
	}
	v.send("GET", back, nil)
	y := a.stranger()
	y.setCookie("waybill_provider", cookie[:len(cookie)-4]+"AAAA")
	y.send("GET", "/login/oidc/callback?code=x&state="+idp.asked.Get("state"), nil).says("in another browser or tab")
	// Failures that anybody can make do not fill the audit log.
	for range 30 {
		a.stranger().send("GET", "/login/oidc/callback?code=x&state=x", nil)
	}
	if n := a.count("select count(*) from audit where action = 'session.login' and outcome <> 'ok'"); n > models.FreeTries+1 {
		t.Errorf("%d entries of failures", n)
	}
	if p := a.stranger().byProvider(); p.path != "/account" {
		t.Errorf("others are kept out by them: %s", p.path)
	}
}

// TestProviderGroups: the role follows the groups at each login, what was given here stays, and there is always an owner.
func TestProviderGroups(t *testing.T) {
	t.Parallel()
	idp := newTestProvider(t)
	a := newTestApp(t, idp.on(testRoles))
	a.visitor()
	v := a.stranger()
	role := func(groups []string, want models.Role) {
		t.Helper()
		idp.is("s-1", "max@example.com", groups...)
		v.byProvider()
		if u := a.user("max@example.com"); u.Role != want {
			t.Errorf("with %v the role is %q, want %q", groups, u.Role, want)
		}
	}
	role([]string{"devs"}, models.RoleDeveloper)
	role([]string{"platform"}, models.RoleAdmin)
	u := a.user("max@example.com")
	if e := a.entries("action=user.role")[0]; e.Detail["groups_at"] != "Example ID" || e.Object != u.ID() || len(e.Changes) != 1 {
		t.Errorf("%+v", e)
	}
	role([]string{"platform"}, models.RoleAdmin)
	role([]string{"devs"}, models.RoleDeveloper)
	if n := len(a.entries("action=user.role")); n != 2 {
		t.Errorf("%d changes of the role", n)
	}
	before := v.session()
	role(nil, models.RoleNone)
	if p := v.get("/account"); p.text("main") == "" || v.session() != before {
		t.Error("a refused login has changed the session")
	}
	a.stranger().byProvider().says("has no role on this server")
	a.tenant("acme")
	a.member(u, "acme", models.RoleViewer)
	if p := a.stranger().byProvider(); p.path != "/account" {
		t.Errorf("a member of a tenant: %s %s", p.path, p.text("main"))
	}
	if _, err := a.Store.SetRole(t.Context(), a.Bootstrap, u.ID(), models.RoleViewer); err != nil {
		t.Fatal(err)
	}
	role(nil, models.RoleViewer) // is given here, not by a group

	idp.is("s-9", testEmail, "devs")
	v.byProvider().says("For the whole server: Owner")
	other := a.addUser("Olga", models.RoleOwner)
	v.byProvider().says("For the whole server: Developer")
	if u := a.user(other.Email); u.Role != models.RoleOwner {
		t.Error("nobody owns the server")
	}
}

// TestProviderOfEverybody: a role for who is in no group, groups of UserInfo, and addresses that are trusted unsaid.
func TestProviderOfEverybody(t *testing.T) {
	t.Parallel()
	idp := newTestProvider(t)
	a := newTestApp(t, idp.on(config.GroupRoles{"devs": models.RoleDeveloper, "*": models.RoleViewer},
		func(c *config.Config) { c.OIDC.TrustEmail, c.OIDC.GroupsClaim = true, "realm.roles" }))
	a.visitor()
	idp.who = map[string]any{"sub": "s-1", "email": "max@example.com"}
	a.stranger().byProvider().says("For the whole server: Viewer")
	idp.info = map[string]any{"realm": map[string]any{"roles": []string{"devs"}}}
	a.stranger().byProvider().says("For the whole server: Developer")
	idp.who, idp.info = map[string]any{"sub": "s-2", "email": "eve@example.com", "email_verified": "false"}, nil
	a.stranger().byProvider().says("has not verified")
}

// TestProviderInvitations: without roles by groups those who are invited come in, with the roles that they are invited to.
func TestProviderInvitations(t *testing.T) {
	t.Parallel()
	idp := newTestProvider(t)
	a := newTestApp(t, idp.on(nil, func(c *config.Config) { c.OIDC.Only = true }))
	a.visitor()
	a.tenant("acme")
	idp.is("s-1", "max@example.com", "platform")
	a.stranger().byProvider().says("has no role on this server")
	out := a.want(201, "POST", "/invitations", map[string]any{"email": "Max@example.com", "role": "developer", "tenant_id": "acme"})
	link := strings.TrimPrefix(out.str("url"), a.Cfg.BaseURL)
	p := a.stranger().get(link)
	p.says("logging in there accepts the invitation")
	if p.Find(`[name="password"]`).Length() > 0 {
		t.Error("a password is asked for")
	}
	a.stranger().post(link, "name", "Max", "password", testPassword).refused(409, "", "This server takes no passwords.")
	v := a.stranger()
	v.byProvider().says("acme: Developer")
	v.get("/t/acme").says("Overview")
	if e := a.entries("action=invitation.accept"); len(e) != 1 || e[0].Actor != "Name of s-1" {
		t.Errorf("%+v", e)
	}
	if p := v.send("GET", "/users", nil); p.status != 403 {
		t.Errorf("they see the server's pages: %d", p.status)
	}
}

// TestProviderOnly: no password is taken anywhere, right or wrong; the provider is.
func TestProviderOnly(t *testing.T) {
	t.Parallel()
	idp := newTestProvider(t)
	a := newTestApp(t, idp.on(nil, func(c *config.Config) { c.OIDC.Only = true }))
	v := a.visitor()
	p := a.stranger().get("/login")
	if p.Find(`[name="password"]`).Length() > 0 {
		t.Error("the page asks for a password")
	}
	w := a.stranger()
	w.login("", testEmail, testPassword).refused(409, "", "This server takes no passwords. Log in with Example ID.")
	if w.session() != "" {
		t.Error("a password logs in")
	}
	if p := v.get("/account"); p.Find(`[name="present"]`).Length() > 0 {
		t.Error("a password can be changed")
	}
	v.post("/account/password", "present", testPassword, "password", "another long sentence").refused(409, "", "This server takes no passwords.")
	a.stale()
	v.post("/confirm", "password", testPassword, "return", "/account").refused(409, "", "This server takes no passwords.")
	idp.is("s-1", testEmail)
	w.byProvider().says("For the whole server: Owner")
}

// TestProviderConfirms: who has no password shows again at the provider who they are, as themselves and just now.
func TestProviderConfirms(t *testing.T) {
	t.Parallel()
	idp := newTestProvider(t)
	a := newTestApp(t, idp.on(testRoles))
	first := a.visitor()
	idp.is("s-1", "max@example.com", "platform")
	v := a.stranger()
	v.byProvider()
	a.stale()
	p := v.get("/api-keys/new")
	if p.path != "/confirm?return=%2Fapi-keys%2Fnew" || p.Find(`[name="password"]`).Length() > 0 {
		t.Fatalf("led to %s", p.path)
	}
	start := p.Find(".provider-way a").AttrOr("href", "")
	before := v.session()
	idp.who["auth_time"] = time.Now().Add(-time.Hour).Unix()
	v.send("GET", v.begin(start), nil).says("did not ask you again who you are")
	if idp.asked.Get("prompt") != "login" || idp.asked.Get("max_age") != "0" {
		t.Errorf("asked for %v", idp.asked)
	}
	if p := v.get("/api-keys/new"); p.path != "/confirm?return=%2Fapi-keys%2Fnew" {
		t.Errorf("an old login is taken: %s", p.path)
	}
	idp.is("s-2", "eve@example.com", "platform")
	v.send("GET", v.begin(start), nil).says("which is not yours here")
	if a.user("eve@example.com") != nil {
		t.Error("somebody else has become a user")
	}
	if n := len(a.entries("action=session.confirm&outcome=failed")); n != 2 {
		t.Errorf("%d failures are in the audit log", n)
	}
	idp.is("s-1", "max@example.com", "platform")
	idp.who["auth_time"] = time.Now().Unix()
	if p := v.send("GET", v.begin(start), nil); p.path != "/api-keys/new" || v.session() == before {
		t.Errorf("led to %s", p.path)
	}
	// An answer to one session is none to another, nor a login.
	back := v.begin(start)
	w := a.stranger()
	for _, c := range v.client.Jar.Cookies(v.address("/")) {
		if c.Name == "waybill_provider" {
			w.setCookie(c.Name, c.Value)
		}
	}
	if p := w.send("GET", back, nil); !strings.HasPrefix(p.path, "/login") || w.session() != "" {
		t.Errorf("led to %s", p.path)
	}
	// Who has written their address themselves is connected from their session only.
	first.post("/account/password", "present", testPassword, "password", "another long sentence")
	first.post("/account", "name", "Ann", "email", "boss@example.com")
	idp.is("s-7", "boss@example.com", "platform")
	a.stranger().byProvider().says("has written it themselves")
	start = first.get("/account").Find(`a[href^="/confirm/oidc"]`).AttrOr("href", "")
	first.send("GET", first.begin(start), nil).says("Connected.")
	a.stranger().byProvider().says("For the whole server: Owner")
}

// TestProviderConfirmsBeforeTheFactor: where a second factor is required, who has none yet gets to where it is set up.
func TestProviderConfirmsBeforeTheFactor(t *testing.T) {
	t.Parallel()
	idp := newTestProvider(t)
	a := newTestApp(t, idp.on(testRoles, func(c *config.Config) { c.RequireFactor = true }))
	a.visitor()
	idp.is("s-1", "max@example.com", "platform")
	v := a.stranger()
	if p := v.byProvider(); p.path != "/account/second-factor" {
		t.Errorf("led to %s", p.path)
	}
	a.stale()
	start := v.get("/account/second-factor").Find(".provider-way a").AttrOr("href", "")
	if p := v.send("GET", v.begin(start), nil); p.path != "/account/second-factor" {
		t.Errorf("led to %s", p.path)
	}
}

// TestProviderAway: a provider that does not answer keeps nothing from starting, is said, and is found once it is there.
func TestProviderAway(t *testing.T) {
	t.Parallel()
	idp := newTestProvider(t)
	address := idp.server.Listener.Addr().String()
	idp.server.Close()
	a := newTestApp(t, idp.on(testRoles))
	a.visitor()
	a.stranger().get("/login").says("Example ID does not answer at the moment.")
	v := a.stranger()
	v.get("/login/oidc?return=%2Faccount").says("The login provider does not answer.")
	v.login("", testEmail, testPassword)
	v.get("/account")
	again := newTestProviderAt(t, address)
	again.is("s-1", "max@example.com", "devs")
	deadline := time.Now().Add(20 * time.Second)
	for strings.Contains(a.stranger().get("/login").text("main"), "does not answer") {
		if time.Now().After(deadline) {
			t.Fatal("the provider is not found")
		}
	}
	w := a.stranger()
	w.byProvider().says("For the whole server: Developer")
	back := w.begin("/login/oidc")
	again.server.CloseClientConnections()
	again.server.Close()
	w.send("GET", back, nil)
	a.stranger().get("/login")
	x := a.stranger()
	if p := x.send("GET", back, nil); x.session() != "" {
		t.Errorf("logged in without the provider: %s", p.path)
	}
}
