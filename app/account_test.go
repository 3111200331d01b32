package app

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-dev/waybill/app/pages"
	"github.com/waybill-dev/waybill/models"
)

// session is the cookie of the visitor's session.
func (v *visitor) session() string {
	for _, c := range v.client.Jar.Cookies(v.address("/")) {
		if c.Name == pages.SessionCookie {
			return c.Value
		}
	}
	return ""
}

// TestAccount changes what one's own account has.
func TestAccount(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	other := a.stranger()
	firefox := "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	other.send("POST", "/login", url.Values{"email": {testEmail}, "password": {testPassword}}, "User-Agent", firefox)
	p := v.get("/account")
	p.says("Firefox on Linux")
	p.says("127.0.0.1")
	p.says("(this one)")

	a.addUser("Bo", models.RoleViewer)
	taken := a.want(200, "GET", "/users", nil).list()[1].(map[string]any)["email"].(string)
	v.post("/account", "name", "", "email", strings.ToUpper(taken)).refused(422, "name", "is required")
	v.post("/account", "name", "Ann Lee", "email", strings.ToUpper(taken)).refused(422, "email", "cannot be used")
	v.post("/account", "name", "Ann Lee", "email", "lee@example.com").says("Your account is saved.")
	if p := v.get("/account"); p.text(".rail .who") != "Ann Lee: your account" || p.value("email") != "lee@example.com" {
		t.Errorf("%s %s", p.text(".rail .who"), p.value("email"))
	}
	if e := a.entries("action=user.update")[0]; e.Actor != "Ann" || len(e.Changes) != 2 {
		t.Errorf("%+v", e)
	}

	v.post("/account/password", "present", "wrong password", "password", "another long sentence").refused(422, "present", "is not right")
	v.post("/account/password", "present", testPassword, "password", "short").refused(422, "password", "must be at least 10")
	before := v.session()
	v.post("/account/password", "present", testPassword, "password", "another long sentence").says("Your password is changed.")
	if p := other.get("/t/acme"); !strings.HasPrefix(p.path, "/login") {
		t.Error("another session has outlived the password")
	}
	old := a.stranger()
	old.setCookie(pages.SessionCookie, before)
	if p := old.get("/t/acme"); !strings.HasPrefix(p.path, "/login") || v.session() == before {
		t.Error("the session has its token of before")
	}
	v.get("/t/acme")
	if p := other.post("/login", "email", "lee@example.com", "password", testPassword); p.status != 422 {
		t.Errorf("the password of before: %d", p.status)
	}
	if p := other.post("/login", "email", "lee@example.com", "password", "another long sentence"); p.status != 200 || p.path != "/tenants" {
		t.Errorf("the new password: %d %s", p.status, p.path)
	}

	// One session is ended, then all others. Nobody ends somebody else's.
	end := v.get("/account").Find(`form[action^="/account/sessions/ses_"]`).First().AttrOr("action", "")
	bo := a.loggedIn(a.addUser("Bo", models.RoleViewer))
	bo.post(end)
	other.get("/t/acme").says("Overview")
	v.post(end)
	if p := other.get("/t/acme"); !strings.HasPrefix(p.path, "/login") {
		t.Error("the session goes on")
	}
	other.post("/login", "email", "lee@example.com", "password", "another long sentence")
	v.post("/account/sessions/end").says("All your other sessions have ended.")
	if p := other.get("/t/acme"); !strings.HasPrefix(p.path, "/login") {
		t.Error("the session goes on")
	}
	v.get("/account")
	bo.get("/account")
	if p := a.portal("acme").send("GET", "/account", nil); p.status != http.StatusForbidden {
		t.Errorf("a portal session's account: %d", p.status)
	}
}

// TestRecentLogin: what is sensitive asks for the password again, leads back, and gives the session another token.
func TestRecentLogin(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"hook","type":"webhook","topics":"*","config":{"url":"https://example.com/"}}`)
	v := a.visitor()
	u := a.addUser("Bo", models.RoleViewer)
	a.stale()
	v.get("/t/acme/events") // what is not sensitive goes on
	const secrets = "/t/acme/destinations/hook/secrets"
	for path, back := range map[string]string{secrets + "/reveal": secrets, secrets + "/rotate": secrets, "/api-keys/new": "/api-keys/new",
		"/t/acme/api-keys/new": "/t/acme/api-keys/new", "/users/" + u.ID() + "/role": "/users/" + u.ID(),
		"/users/" + u.ID() + "/delete": "/users/" + u.ID() + "/delete", "/invitations/new": "/invitations/new",
		"/t/acme/invitations/new": "/t/acme/invitations/new", "/t/acme/members/" + u.ID() + "/role": "/t/acme/members", "/account": "/account"} {
		p := v.post(path, "role", "admin", "name", "k", "scopes", "read", "email", "x@example.com")
		if p.path != "/confirm?return="+url.QueryEscape(back) || p.status != 200 || p.value("return") != back {
			t.Errorf("%s led to %s", path, p.path)
		}
	}
	for _, path := range []string{"/api-keys/new", "/t/acme/api-keys/new", "/invitations/new", "/users/" + u.ID() + "/delete"} {
		if p := v.get(path); !strings.HasPrefix(p.path, "/confirm") {
			t.Errorf("the form %s does not ask", path)
		}
	}
	if n := a.count("select count(*) from api_keys") + a.count("select count(*) from users where role = 'admin'"); n != 0 {
		t.Error("something was done")
	}
	v.post("/confirm", "password", "wrong password", "return", secrets).refused(422, "password", "is not right")
	before := v.session()
	p := v.post("/confirm", "password", testPassword, "return", secrets)
	if p.path != secrets || v.session() == before || v.session() == "" {
		t.Errorf("led to %s", p.path)
	}
	old := a.stranger()
	old.setCookie(pages.SessionCookie, before)
	if p := old.get("/t/acme"); !strings.HasPrefix(p.path, "/login") {
		t.Error("the token of before still opens the session")
	}
	v.post(secrets + "/reveal").says("whsec_")
	if p := v.post("/confirm", "password", testPassword, "return", "https://evil.example/"); p.path != "/t/acme" && p.path != "/tenants" {
		t.Errorf("led to %s", p.path)
	}
	for range models.FreeTries {
		v.post("/confirm", "password", "wrong password", "return", "/")
	}
	v.post("/confirm", "password", testPassword, "return", "/").refused(429, "", "Too many tries")
	if n := a.count("select count(*) from audit where action = 'session.confirm' and outcome <> 'ok'"); n != models.FreeTries+2 {
		t.Errorf("%d failures are in the audit log", n)
	}
	// A portal session has no password, and keys are not asked.
	a.portal("acme").post(secrets + "/reveal").says("whsec_")
	a.want(200, "POST", "/tenants/acme/destinations/hook/secrets/reveal", nil)
}

// TestOwners: only owners make, change and remove owners, and one stays, also when two remove each other.
func TestOwners(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	first, err := a.Store.UserByEmail(t.Context(), testEmail)
	if err != nil || first.Role != models.RoleOwner {
		t.Fatal(first, err)
	}
	admin := a.addUser("Ada", models.RoleAdmin)
	ada := a.loggedIn(admin)
	for _, path := range []string{"/users/" + admin.ID() + "/role", "/users/" + first.ID() + "/delete"} {
		if p := ada.post(path, "role", "owner"); p.status != http.StatusForbidden {
			t.Errorf("an admin: %s: %d", path, p.status)
		}
	}
	if p := ada.post("/users/"+first.ID()+"/role", "role", "viewer"); p.status != http.StatusForbidden {
		t.Errorf("an admin makes an owner a viewer: %d", p.status)
	}
	key := a.as(a.want(201, "POST", "/api-keys", `{"name":"k","scopes":["admin"]}`).str("key"))
	key.want(403, "PATCH", "/users/"+admin.ID(), `{"role":"owner"}`)
	key.want(403, "DELETE", "/users/"+first.ID(), nil)
	a.want(422, "PATCH", "/users/"+admin.ID(), `{"role":"king"}`)
	a.want(409, "PATCH", "/users/"+first.ID(), `{"role":"admin"}`)
	a.want(409, "DELETE", "/users/"+first.ID(), nil)
	v.post("/users/"+first.ID()+"/role", "role", "none").refused(409, "", "This is the last owner.")
	v.post("/users/"+first.ID()+"/delete").refused(409, "", "This is the last owner.")

	// A role holds at once, and is followed by a question for the password.
	v.post("/users/"+admin.ID()+"/role", "role", "viewer").says("The role is changed.")
	if p := ada.send("GET", "/users", nil); p.status != http.StatusForbidden {
		t.Errorf("an admin of before: %d", p.status)
	}
	v.post("/users/"+admin.ID()+"/role", "role", "owner").says("The role is changed.")
	if p := ada.get("/invitations/new"); !strings.HasPrefix(p.path, "/confirm") {
		t.Error("a session with a higher role has its token of before")
	}
	var wg sync.WaitGroup
	for _, x := range []*models.User{first, admin} {
		wg.Go(func() { a.do("DELETE", "/users/"+x.ID(), nil) })
	}
	wg.Wait()
	if n := a.count("select count(*) from users where role = 'owner'"); n != 1 {
		t.Errorf("%d owners are left", n)
	}

	left, err := a.Store.Users(t.Context())
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	gone := a.addUser("Cy", models.RoleDeveloper)
	cy := a.loggedIn(gone)
	a.want(200, "DELETE", "/users/"+gone.ID(), nil)
	if p := cy.get("/tenants"); !strings.HasPrefix(p.path, "/login") {
		t.Error("who was removed is still logged in")
	}
	if e := a.entry("user.delete", gone.ID()); e.Detail["name"] != "Cy" {
		t.Errorf("%+v", e)
	}
}

// TestUsersCommand makes the first user from the command line, and resets a password.
func TestUsersCommand(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	env := func(name string) string { return map[string]string{"DATABASE_URL": a.Cfg.DatabaseURL}[name] }
	run := func(stdin string, args ...string) (string, error) {
		var out bytes.Buffer
		err := users(context.Background(), args, env, strings.NewReader(stdin), &out)
		return out.String(), err
	}
	ok := func(stdin string, args ...string) string {
		t.Helper()
		out, err := run(stdin, args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	made := ok("", "add", "-name", "Ann", testEmail)
	_, password, told := strings.Cut(strings.TrimSpace(made), "Password, shown this once: ")
	if !told {
		t.Fatal(made)
	}
	v := a.stranger()
	if p := v.post("/login", "email", testEmail, "password", password); p.status != 200 || strings.HasPrefix(p.path, "/login") {
		t.Fatalf("the password that was made up: %d %s", p.status, p.path)
	}
	ok("a password of mine\n", "reset-password", "-password-stdin", testEmail)
	if p := v.get("/tenants"); !strings.HasPrefix(p.path, "/login") {
		t.Error("the session goes on")
	}
	if p := v.post("/login", "email", testEmail, "password", "a password of mine"); p.status != 200 || strings.HasPrefix(p.path, "/login") {
		t.Errorf("the password that was reset: %d", p.status)
	}
	u, err := a.Store.UserByEmail(t.Context(), testEmail)
	if err != nil {
		t.Fatal(err)
	}
	a.factor(u)
	ok("a password of mine\n", "reset-password", "-password-stdin", testEmail)
	if p := a.stranger().post("/login", "email", testEmail, "password", "a password of mine"); !strings.HasPrefix(p.path, "/login/code") {
		t.Errorf("a password alone does for a second factor: %s", p.path)
	}
	ok("a password of mine\n", "reset-password", "-second-factor", "-password-stdin", testEmail)
	if p := a.stranger().post("/login", "email", testEmail, "password", "a password of mine"); strings.HasPrefix(p.path, "/login") {
		t.Errorf("the second factor that was taken away is asked for: %s", p.path)
	}
	ok("a password of hers\n", "add", "-name", "Bo", "-role", "viewer", "-password-stdin", "bo@example.com")
	ok("", "set-role", "admin", "bo@example.com")
	if out := ok("", "list"); !strings.Contains(out, "bo@example.com") || !strings.Contains(out, "admin") || !strings.Contains(out, "owner") {
		t.Error(out)
	}
	for want, args := range map[string][]string{"This is the last owner": {"set-role", "viewer", testEmail},
		"email must be an e-mail address":      {"add", "-name", "Cy", "nobody"},
		"name is required":                     {"add", "cy@example.com"},
		"email cannot be used":                 {"add", "-name", "Cy", strings.ToUpper(testEmail)},
		`There is no user "cy@example.com"`:    {"reset-password", "cy@example.com"},
		"role must be owner":                   {"set-role", "king", testEmail},
		"takes 2 values":                       {"set-role", testEmail},
		`there is no command "remove"`:         {"remove", testEmail},
		"password must be at least 10 charact": {"reset-password", "-password-stdin", testEmail},
	} {
		if out, err := run("short\n", args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
	if e := a.entries("action=user.password")[0]; e.Actor != "command line" {
		t.Errorf("%+v", e)
	}
}
