package app

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/waybill-dev/waybill/app/pages"
	"github.com/waybill-dev/waybill/models"
)

var testUsers atomic.Int64

// addUser makes a user with a role for the whole server; with none, one who sees no more than tenants.
func (a *testApp) addUser(name string, role models.Role) *models.User {
	a.Helper()
	set := role
	if role == models.RoleNone {
		set = models.RoleViewer
	}
	in := models.UserInput{Name: name, Email: fmt.Sprintf("user%d@example.com", testUsers.Add(1)), Password: testPassword}
	u, err := a.Store.AddUser(a.Context(), in, set)
	if err == nil && set != role {
		u, err = a.Store.SetRole(a.Context(), a.Bootstrap, u.ID(), role)
	}
	if err != nil {
		a.Fatal(err)
	}
	return u
}

// session starts a session of a user, and returns its id.
func (a *testApp) session(u *models.User) string {
	a.Helper()
	token, err := a.Store.StartSession(a.Context(), u)
	if err != nil {
		a.Fatal(err)
	}
	actor, err := a.Store.Session(a.Context(), token)
	if err != nil {
		a.Fatal(err)
	}
	return actor.Session.ID()
}

// loggedIn is a visitor who is a user.
func (a *testApp) loggedIn(u *models.User) *visitor {
	a.Helper()
	token, err := a.Store.StartSession(a.Context(), u)
	if err != nil {
		a.Fatal(err)
	}
	v := a.stranger()
	v.setCookie(pages.SessionCookie, token)
	return v
}

// member gives a user a role in a tenant.
func (a *testApp) member(u *models.User, tenant string, role models.Role) {
	a.Helper()
	a.want(200, "PUT", "/tenants/"+tenant+"/members/"+u.ID(), map[string]any{"role": role})
}

// stale makes all passwords have been given too long ago.
func (a *testApp) stale() {
	a.Helper()
	a.exec("update sessions set confirmed_at = now() - interval '16 minutes'")
}

// anyIDs are ids that nothing has, for addresses that are refused before anything is looked up.
var anyIDs = map[string]string{"destination": "inbox", "event": "evt_0", "delivery": "dlv_0", "attempt": "att_0", "retry": "rty_0",
	"key": "k", "rule": "r", "channel": "c", "notification": "n", "alert": "a", "view": "v", "user": "usr_0", "session": "ses_0",
	"invitation": "inv_0", "passkey": "psk_0", "identity": "idn_0", "entry": "aud_0", "topic": "t", "link": "l", "type": "echo"}

func withTenant(tenant string) map[string]string {
	ids := map[string]string{"tenant": tenant}
	for k, v := range anyIDs {
		ids[k] = v
	}
	return ids
}

// TestViewersChangeNothing calls every address that writes as a viewer: of the server, of a tenant, and with a key that reads.
func TestViewersChangeNothing(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.addUser("Olga", models.RoleOwner)
	server, member := a.addUser("Vera", models.RoleViewer), a.addUser("Max", models.RoleNone)
	a.member(member, "acme", models.RoleViewer)
	own := []string{"POST /logout", "POST /account", "POST /account/password", "POST /account/sessions/end",
		"POST /account/sessions/:session/end", "POST /account/second-factor", "POST /account/second-factor/codes",
		"POST /account/second-factor/remove", "POST /confirm", "POST /confirm/passkey", "POST /confirm/passkey/begin",
		"POST /account/passkeys/new", "POST /account/passkeys/new/begin", "POST /account/passkeys/:passkey/rename",
		"POST /account/passkeys/:passkey/remove", "POST /account/identities/:identity/disconnect"}
	walked := 0
	for _, u := range []*models.User{server, member} {
		v := a.loggedIn(u)
		for _, r := range a.pages.PageRoutes() {
			name := r.Method + " " + r.Path
			if r.Method == http.MethodGet || slices.Contains(own, name) {
				continue
			}
			walked++
			p := v.send(r.Method, fill(r.Path, withTenant("acme")), url.Values{"x": {"y"}})
			if p.status != http.StatusForbidden {
				t.Errorf("%s: %s: %d %s", u.Name, name, p.status, p.text("main"))
			}
			if text := p.text("main"); !strings.Contains(text, "needs the role") && !strings.Contains(text, "operators") {
				t.Errorf("%s: %s is refused with %q", u.Name, name, text)
			}
		}
	}
	reads := a.as(a.want(201, "POST", "/api-keys", `{"name":"r","scopes":["read"]}`).str("key"))
	for _, r := range a.APIRoutes() {
		if r.Method == http.MethodGet || r.Perm == models.MayRead {
			continue
		}
		walked++
		if out := reads.do(r.Method, fill(r.Path, withTenant("acme")), "{}"); out.status != http.StatusForbidden {
			t.Errorf("%s %s: %d %s", r.Method, r.Path, out.status, out.raw)
		}
	}
	if walked < 150 {
		t.Errorf("%d addresses were walked", walked)
	}
}

// TestMembersSeeTheirTenants walks all pages as a member of one tenant.
func TestMembersSeeTheirTenants(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	a.addUser("Olga", models.RoleOwner)
	u := a.addUser("Max", models.RoleNone)
	a.member(u, "acme", models.RoleAdmin)
	v := a.loggedIn(u)
	for _, r := range a.pages.PageRoutes() {
		var form url.Values
		if r.Method == http.MethodPost {
			form = url.Values{"x": {"y"}}
		}
		switch {
		case strings.HasPrefix(r.Path, "/t/:tenant"):
			if p := v.send(r.Method, fill(r.Path, withTenant("globex")), form); p.status != http.StatusNotFound {
				t.Errorf("%s %s of another tenant: %d", r.Method, r.Path, p.status)
			}
		case r.Perm != "":
			if p := v.send(r.Method, fill(r.Path, anyIDs), form); p.status != http.StatusForbidden {
				t.Errorf("%s %s of the whole server: %d", r.Method, r.Path, p.status)
			}
		}
	}
	for _, path := range []string{"/t/acme", "/t/acme/api-keys", "/t/acme/members", "/t/acme/destinations/new",
		"/account", "/help", "/docs/api"} {
		p := v.get(path)
		for _, link := range []string{`a[href="/tenants"]`, `a[href="/users"]`, `a[href="/server"]`, `a[href="/api-keys"]`, `a[href^="/t/globex"]`} {
			if p.Find(link).Length() > 0 {
				t.Errorf("%s shows %s", path, link)
			}
		}
	}
	if p := v.get("/"); p.path != "/t/acme" {
		t.Errorf("the start of a member of one tenant is %s", p.path)
	}
	// The catalogue is shared by all tenants.
	if p := v.get("/t/acme/topics"); p.Find(`form[action="/t/acme/topics"]`).Length() > 0 {
		t.Error("a tenant's admin is shown the form for topics")
	}
	if p := v.post("/t/acme/topics", "name", "x"); p.status != http.StatusForbidden {
		t.Errorf("a tenant's admin changed the catalogue: %d", p.status)
	}
	// Limits that a tenant could lift itself would be none.
	if v.get("/t/acme/settings").Find(`a[href="/t/acme/settings/tenant"]`).Length() > 0 {
		t.Error("a tenant's admin is led to the tenant's limits")
	}
	if get, post := v.send("GET", "/t/acme/settings/tenant", nil), v.post("/t/acme/settings/tenant", "destination_limit", "5000"); get.status !=
		http.StatusForbidden || post.status != http.StatusForbidden {
		t.Errorf("a tenant's admin saw the form of its limits, or changed them: %d, %d", get.status, post.status)
	}

	// Of two tenants, one is chosen.
	a.member(u, "globex", models.RoleViewer)
	p := v.get("/")
	p.says("globex")
	if p.path != "/" || p.Find(`main a[href="/t/acme"]`).Length() != 1 || p.Find(`main a[href="/t/globex"]`).Length() != 1 {
		t.Errorf("%s: %s", p.path, p.text("main"))
	}
	if p := v.get("/t/globex/destinations"); p.Find(`.rail a.switch[href="/"]`).Length() != 1 || p.Find(`a[href="/t/globex/destinations/new"]`).Length() > 0 ||
		p.Find(`a[href="/t/globex/members"]`).Length() > 0 {
		t.Errorf("a viewer of globex sees %s", p.text("body"))
	}
	if p := v.post("/t/globex/destinations/inbox/disable", "reason_kind", "Maintenance"); p.status != http.StatusForbidden {
		t.Errorf("a viewer disabled a destination: %d", p.status)
	}
	if p := v.post("/t/acme/destinations/inbox/disable", "reason_kind", "Maintenance"); p.status != http.StatusOK {
		t.Errorf("an admin did not: %d", p.status)
	}

	// A role that is taken away is gone at once.
	a.want(200, "DELETE", "/tenants/acme/members/"+u.ID(), nil)
	if p := v.send("GET", "/t/acme", nil); p.status != http.StatusNotFound {
		t.Errorf("no member any more: %d", p.status)
	}
	a.want(200, "DELETE", "/tenants/globex/members/"+u.ID(), nil)
	v.get("/").says("You have no role anywhere")
}

// TestDevelopers looks at what lies between viewers and admins, and at a role that is higher in one tenant.
func TestDevelopers(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	a.addUser("Olga", models.RoleOwner)
	d := a.loggedIn(a.addUser("Dev", models.RoleDeveloper))
	if p := d.post("/t/acme/destinations/inbox/test", "data", "{}"); p.status != 200 || !strings.HasPrefix(p.path, "/t/acme/attempts/") {
		t.Errorf("a developer's test event: %d %s", p.status, p.path)
	}
	for _, path := range []string{"/api-keys", "/users", "/audit", "/server/settings", "/t/acme/api-keys", "/t/acme/members",
		"/t/acme/settings/tenant"} {
		if p := d.send("GET", path, nil); p.status != http.StatusForbidden {
			t.Errorf("a developer opens %s: %d", path, p.status)
		}
	}
	for _, link := range []string{"/api-keys", "/users", "/audit"} {
		if d.get("/tenants").Find(`nav a[href="`+link+`"]`).Length() > 0 {
			t.Errorf("a developer is shown %s", link)
		}
	}
	u := a.addUser("Vera", models.RoleViewer)
	a.member(u, "acme", models.RoleDeveloper)
	v := a.loggedIn(u)
	for path, want := range map[string]int{"/t/acme/destinations/new": 200, "/t/globex/destinations/new": 403, "/t/globex": 200, "/tenants": 200,
		"/tenants/new": 403} {
		if p := v.send("GET", path, nil); p.status != want {
			t.Errorf("a viewer who is a developer of acme: %s: %d, want %d", path, p.status, want)
		}
	}
	if p := v.post("/t/acme/topics", "name", "x"); p.status != http.StatusForbidden {
		t.Errorf("a developer of one tenant changed the catalogue of all: %d", p.status)
	}
}
