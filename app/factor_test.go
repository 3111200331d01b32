package app

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/app/pages"
	"github.com/waybill-dev/waybill/models"
)

// code is what an app shows now. No code counts as used.
func (a *testApp) code(secret string) string {
	a.Helper()
	a.exec("update users set totp_step = 0")
	code, err := totp.GenerateCode(secret, time.Now())
	if err != nil {
		a.Fatal(err)
	}
	return code
}

// factor turns a user's second factor on, and returns its secret.
func (a *testApp) factor(u *models.User) string {
	a.Helper()
	setup, err := a.Store.SetUpFactor(a.Context(), u)
	if err == nil {
		_, err = a.Store.EnableFactor(a.Context(), u, a.code(setup.Secret))
	}
	if err != nil {
		a.Fatal(err)
	}
	u.SecondFactor = true
	return setup.Secret
}

func (v *visitor) password() page {
	return v.post("/login", "email", testEmail, "password", testPassword, "return", "/account")
}

// TestSecondFactor turns it on, logs in with it, and gets by without the app.
func TestSecondFactor(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	v := a.visitor()
	const factor = "/account/second-factor"
	p := v.get(factor)
	secret := p.text("#factor-secret")
	if path := p.Find("#factor-qr path").AttrOr("d", ""); len(path) < 1000 || !strings.HasPrefix(path, "M4 4h7v1h-7z") || len(secret) != 32 {
		t.Fatalf("secret %q, QR code %.60q", secret, path)
	}
	if again := v.get(factor).text("#factor-secret"); again != secret {
		t.Error("the secret has changed while the app took it over")
	}
	if n := a.count("select count(*) from users where position($1 in encode(totp_secret, 'escape')) > 0", secret); n != 0 {
		t.Error("the secret is in the database in clear")
	}
	v.post(factor, "code", "000000x").refused(422, "code", "is not right")
	if p := a.stranger().password(); p.path != "/account" {
		t.Errorf("a factor that is not on yet is asked for: %s", p.path)
	}
	code := a.code(secret)
	p = v.post(factor, "code", code[:3]+" "+code[3:])
	recovery := strings.Fields(p.Find("#recovery-codes").Text())
	if len(recovery) != 10 || p.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("recovery codes %v", recovery)
	}
	v.get(factor).says("10 recovery codes left.")

	// The code that turned it on is used up.
	w := a.stranger()
	if p := w.password(); p.path != "/login/code?return=%2Faccount" || w.session() != "" {
		t.Fatalf("the password alone led to %s", p.path)
	}
	w.post("/login/code", "code", code, "return", "/account").refused(422, "code", "was used already")
	if p := w.get("/account"); !strings.HasPrefix(p.path, "/login") {
		t.Error("logged in without a code")
	}
	code = a.code(secret)
	if p := w.post("/login/code", "code", code, "return", "/account"); p.path != "/account" || p.status != 200 {
		t.Fatalf("the right code: %d %s", p.status, p.path)
	}
	x := a.stranger()
	x.password()
	x.post("/login/code", "code", code).refused(422, "code", "was used already")
	if p := x.post("/login/code", "code", " "+strings.ToUpper(recovery[3])); p.path != "/t/demo" {
		t.Errorf("a recovery code: %d %s", p.status, p.path)
	}
	y := a.stranger()
	y.password()
	y.post("/login/code", "code", recovery[3]).refused(422, "code", "was used already")
	if n := a.count("select count(*) from audit where action = 'session.login' and outcome <> 'ok' and object = $1", testEmail); n != 3 {
		t.Errorf("%d failures are in the audit log", n)
	}
	v.get(factor).says("9 recovery codes left.")
	fresh := strings.Fields(v.post(factor + "/codes").Find("#recovery-codes").Text())
	y.post("/login/code", "code", recovery[4]).refused(422, "code", "is not right")
	// A step that waited too long is over.
	a.exec("update login_steps set expires_at = now() - interval '1 second'")
	if p := y.post("/login/code", "code", fresh[0]); p.path != "/login" || y.session() != "" {
		t.Errorf("a step that is over led to %s", p.path)
	}

	v.post(factor + "/remove").says("The second factor is off.")
	if p := a.stranger().password(); p.path != "/account" {
		t.Errorf("without a factor: %s", p.path)
	}
	for _, action := range []string{"user.factor_enable", "user.recovery_codes", "user.factor_remove"} {
		if n := a.count("select count(*) from audit where action = $1", action); n != 1 {
			t.Errorf("%d entries of %s", n, action)
		}
	}
}

// TestSecondFactorIsThrottled: whoever has the password cannot try codes for ever, and does not take tries back with the password.
func TestSecondFactorIsThrottled(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.visitor()
	u, err := a.Store.UserByEmail(t.Context(), testEmail)
	if err != nil {
		t.Fatal(err)
	}
	secret := a.factor(u)
	for range models.FreeTries {
		v := a.stranger()
		v.password()
		v.post("/login/code", "code", "123").refused(422, "code", "is not right")
		for _, c := range v.client.Jar.Cookies(v.address("/")) {
			if c.Name == pages.BrowserCookie {
				t.Fatal("a browser is known that has not logged in")
			}
		}
	}
	v := a.stranger()
	v.password()
	v.post("/login/code", "code", a.code(secret)).refused(429, "", "Too many tries")

	// Who has lost everything is helped by an administrator, or at the command line.
	admin := a.loggedIn(a.addUser("Ada", models.RoleAdmin))
	if p := admin.post("/users/" + u.ID() + "/second-factor/remove"); p.status != http.StatusForbidden {
		t.Errorf("an admin removes an owner's factor: %d", p.status)
	}
	a.want(200, "DELETE", "/users/"+u.ID()+"/second-factor", nil)
	if p := a.stranger().password(); p.path != "/account" {
		t.Errorf("led to %s", p.path)
	}
}

// TestRequiredSecondFactor: a server may ask everybody with a role for it.
func TestRequiredSecondFactor(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.RequireFactor = true })
	a.tenant("acme")
	v := a.visitor()
	for _, path := range []string{"/tenants", "/t/acme", "/account", "/server", "/t/acme/events/live", "/help"} {
		if p := v.get(path); p.path != "/account/second-factor" {
			t.Errorf("%s led to %s", path, p.path)
		}
	}
	if p := v.post("/t/acme/destinations/inbox/disable", "reason_kind", "Maintenance"); p.path != "/account/second-factor" {
		t.Errorf("a form led to %s", p.path)
	}
	d, err := a.Store.Destination(t.Context(), models.AllTenants(), "acme", "inbox")
	if err != nil || d.DisabledAt != nil {
		t.Error("it was carried out")
	}
	p := v.get("/account/second-factor")
	p.says("This server asks everybody")
	v.post("/account/second-factor", "code", a.code(p.text("#factor-secret")))
	v.get("/t/acme").says("Overview")
	v.post("/account/second-factor/remove").refused(409, "", "This server asks everybody")
	u := a.addUser("Max", models.RoleNone)
	a.member(u, "acme", models.RoleViewer)
	a.loggedIn(u).get("/t/acme").says("Overview")
	a.portal("acme").get("/t/acme").says("Overview")
}
