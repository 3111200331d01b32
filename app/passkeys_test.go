package app

import (
	"mime"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// device is an authenticator with passkeys for a server at an address.
type device struct {
	testing.TB
	rp   virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	keys []virtualwebauthn.Credential
}

func newDevice(t testing.TB) *device {
	return &device{TB: t, rp: virtualwebauthn.RelyingParty{Name: "Waybill", ID: "localhost", Origin: "http://localhost"},
		auth: virtualwebauthn.NewAuthenticator()}
}

// challenge asks for a challenge, as the page's script does.
func (v *visitor) challenge(path string) (options string, status int) {
	v.Helper()
	p := v.send("POST", path+"/begin", url.Values{})
	return p.Text(), p.status
}

// ec2Whole is how many bytes a P-256 key has as COSE writes it, with coordinates of 32 bytes (RFC 9053, section 7.1.1).
const ec2Whole = 77

// makes answers a challenge of a registration with a new passkey.
func (d *device) makes(options string) (answer string) {
	d.Helper()
	o, err := virtualwebauthn.ParseAttestationOptions(options)
	if err != nil {
		d.Fatalf("%v: %s", err, options)
	}
	k := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	for len(k.Key.AttestationData()) != ec2Whole { // it leaves out zeros at the start of a coordinate, as no authenticator does
		k = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	}
	d.keys, d.auth.Options.UserHandle = append(d.keys, k), []byte(o.UserID)
	d.auth.AddCredential(k)
	return virtualwebauthn.CreateAttestationResponse(d.rp, d.auth, k, *o)
}

// signs answers a challenge with the first passkey.
func (d *device) signs(options string) (answer string) {
	d.Helper()
	o, err := virtualwebauthn.ParseAssertionOptions(options)
	if err != nil {
		d.Fatalf("%v: %s", err, options)
	}
	return virtualwebauthn.CreateAssertionResponse(d.rp, d.auth, d.keys[0], *o)
}

const addPasskey = "/account/passkeys/new"

// adds adds a passkey of a visitor's.
func (v *visitor) adds(d *device, name string) page {
	v.Helper()
	options, _ := v.challenge(addPasskey)
	return v.post(addPasskey, "name", name, "credential", d.makes(options))
}

// byPasskey logs in, confirms a login or ends a second step by a passkey.
func (v *visitor) byPasskey(d *device, path, back string) page {
	v.Helper()
	options, _ := v.challenge(path)
	return v.post(path, "return", back, "credential", d.signs(options))
}

// TestPasskeys adds one, logs in with it alone, confirms a login with it, renames and removes it.
func TestPasskeys(t *testing.T) {
	t.Parallel()
	box := newMailbox(t)
	a := newTestApp(t, box.on)
	v := a.visitor()
	if a.stranger().get("/login").Find("#passkey").Length() > 0 {
		t.Error("the login page offers passkeys before there are any")
	}
	p := v.get(addPasskey)
	if p.Find(`form#passkey[action="/account/passkeys/new"]`).Length() != 1 || p.Find(`script[src^="/static/passkey."]`).Length() != 1 ||
		!strings.Contains(p.header.Get("Content-Security-Policy"), "script-src 'self';") {
		t.Errorf("the page has no form for a passkey: %v", p.header)
	}
	options, _ := v.challenge(addPasskey)
	for _, want := range []string{`"residentKey":"required"`, `"userVerification":"required"`, `"id":"localhost"`, `"attestation":"none"`} {
		if !strings.Contains(options, want) {
			t.Errorf("%s is not asked for: %s", want, options)
		}
	}
	d := newDevice(t)
	v.post(addPasskey, "name", " ", "credential", d.makes(options)).refused(422, "name", "is required")
	d = newDevice(t)
	v.adds(d, "Laptop").says("The passkey “Laptop” is added.")
	v.get("/account").says("never used")
	options, _ = v.challenge(addPasskey)
	if !strings.Contains(options, `"excludeCredentials":[{`) {
		t.Errorf("the device may make another: %s", options)
	}

	// It logs in by itself, also past a second factor.
	u := a.user(testEmail)
	a.factor(u)
	w := a.stranger()
	if w.get("/login").Find("#passkey").Length() != 1 {
		t.Error("the login page offers no passkey")
	}
	if p := w.byPasskey(d, "/login/passkey", "/account"); p.path != "/account" || p.status != 200 {
		t.Fatalf("led to %s: %d %s", p.path, p.status, p.text("main"))
	}
	e := a.entries("action=session.login&outcome=ok")
	if len(e) == 0 || e[0].Detail["passkey_name"] != "Laptop" {
		t.Errorf("the audit log does not say how: %+v", e)
	}
	if strings.Contains(w.get("/account").text("main"), "never used") {
		t.Error("it is not seen that it was used")
	}
	// Or it takes the place of a code.
	x := a.stranger()
	p = x.password()
	if !strings.HasPrefix(p.path, "/login/code") || p.Find("#passkey").Length() != 1 || p.Find(`[name="code"]`).Length() != 1 {
		t.Fatalf("the second step: %s %s", p.path, p.text("main"))
	}
	if p := x.byPasskey(d, "/login/code/passkey", "/account"); p.path != "/account" {
		t.Errorf("in place of a code: %s %s", p.path, p.text("main"))
	}
	// And it is a recent login.
	a.stale()
	if p := w.get(addPasskey); !strings.HasPrefix(p.path, "/confirm") || p.Find("#passkey").Length() != 1 {
		t.Fatalf("a login long ago adds passkeys: %s", p.path)
	}
	if p := w.byPasskey(d, "/confirm/passkey", addPasskey); p.path != addPasskey {
		t.Errorf("confirmed: %s %s", p.path, p.text("main"))
	}

	id := a.want(200, "GET", "/users/"+u.ID()+"/passkeys", nil).str("models", "0", "id")
	w.post("/account/passkeys/"+id+"/rename", "name", "Old laptop").says("The passkey is renamed.")
	w.post("/account/passkeys/"+id+"/rename", "name", "").says("The name of a passkey is required.")
	if e := a.entry("user.passkey_rename", u.ID()); e.changed("name") != "Laptop -> Old laptop" {
		t.Errorf("%+v", e)
	}
	other := a.loggedIn(a.addUser("Ada", models.RoleAdmin))
	other.post("/account/passkeys/" + id + "/remove").says("There is no passkey")
	if p := other.post("/users/" + u.ID() + "/passkeys/" + id + "/remove"); p.status != http.StatusForbidden {
		t.Errorf("an admin removes an owner's passkey: %d", p.status)
	}
	a.stale()
	if p := w.post("/account/passkeys/" + id + "/remove"); !strings.HasPrefix(p.path, "/confirm") {
		t.Errorf("a login long ago removes passkeys: %s", p.path)
	}
	w.byPasskey(d, "/confirm/passkey", "/account")
	w.post("/account/passkeys/" + id + "/remove").says("The passkey is removed.")
	a.stranger().byPasskey(d, "/login/passkey", "/account").refused(422, "", "This passkey is not known here")
	for _, action := range []string{"user.passkey_add", "user.passkey_remove"} {
		if e := a.entry(action, u.ID()); e.Detail["passkey"] != id {
			t.Errorf("%+v", e)
		}
	}
	// Whose account it is hears of it. A job sends these mails.
	a.until("the mails", func() bool {
		var all string
		for _, m := range box.to(testEmail) {
			subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			if err != nil {
				t.Fatal(err)
			}
			all += subject + "\n"
		}
		return strings.Contains(all, "The passkey “Laptop” was added to your account.") &&
			strings.Contains(all, "The passkey “Old laptop” was removed from your account.")
	})
}

// TestPasskeyRefusals: what is not exactly what was asked for counts for nothing.
func TestPasskeyRefusals(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	v := a.visitor()
	d := newDevice(t)
	v.adds(d, "Key")
	bo := a.loggedIn(a.addUser("Bo", models.RoleViewer))
	other := newDevice(t)
	bo.adds(other, "Bo's")

	const unverified = "could not be verified"
	try := func(what, says string, answer func(options string) string) {
		t.Helper()
		w := a.stranger()
		options, _ := w.challenge("/login/passkey")
		p := w.post("/login/passkey", "credential", answer(options))
		if p.status != 422 || !strings.Contains(p.text("main"), says) || w.session() != "" {
			t.Errorf("%s: %d %s", what, p.status, p.text("main"))
		}
	}
	with := func(change func(*device)) func(string) string {
		return func(options string) string {
			bad := *d
			change(&bad)
			return bad.signs(options)
		}
	}
	try("another origin", unverified, with(func(d *device) { d.rp.Origin = "http://evil.example" }))
	try("another port", unverified, with(func(d *device) { d.rp.Origin = "http://localhost:8080" }))
	try("another host", unverified, with(func(d *device) { d.rp.ID = "evil.example" }))
	try("without its lock", unverified, with(func(d *device) { d.auth.Options.UserNotVerified = true }))
	try("nobody there", unverified, with(func(d *device) { d.auth.Options.UserNotPresent = true }))
	try("another user's handle", unverified, with(func(d *device) { d.auth.Options.UserHandle = other.auth.Options.UserHandle }))
	try("without a handle", unverified, with(func(d *device) { d.auth.Options.UserHandle = nil }))
	try("another key", unverified, with(func(d *device) {
		k := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
		k.ID = d.keys[0].ID
		d.keys = []virtualwebauthn.Credential{k}
	}))
	try("a made-up passkey", "is not known here", with(func(d *device) {
		d.keys = []virtualwebauthn.Credential{virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)}
	}))
	try("no answer", unverified, func(string) string { return "{}" })
	try("no answer", unverified, func(string) string { return "" })

	// A challenge is for one browser, once, and not for long.
	w, x := a.stranger(), a.stranger()
	options, _ := w.challenge("/login/passkey")
	x.post("/login/passkey", "credential", d.signs(options)).refused(422, "", "in another browser")
	token := ""
	for _, c := range w.client.Jar.Cookies(w.address("/")) {
		if c.Name == "waybill_passkey" {
			token = c.Value
		}
	}
	if p := w.post("/login/passkey", "credential", d.signs(options)); w.session() == "" {
		t.Fatalf("the browser that asked: %d %s", p.status, p.text("main"))
	}
	x.setCookie("waybill_passkey", token)
	x.post("/login/passkey", "credential", d.signs(options)).refused(422, "", "was used already")
	y := a.stranger()
	options, _ = y.challenge("/login/passkey")
	a.exec("update passkey_challenges set expires_at = now() - interval '1 second'")
	y.post("/login/passkey", "credential", d.signs(options)).refused(422, "", "too long ago")

	// One whose answer was wrong is used up, too.
	y = a.stranger()
	options, _ = y.challenge("/login/passkey")
	for _, c := range y.client.Jar.Cookies(y.address("/")) {
		if c.Name == "waybill_passkey" {
			token = c.Value
		}
	}
	y.post("/login/passkey", "credential", "{}").refused(422, "", "")
	y.setCookie("waybill_passkey", token)
	y.post("/login/passkey", "credential", d.signs(options)).refused(422, "", "was used already")
	// Another user's passkey confirms nothing, and one for a login is none for a confirmation.
	options, _ = v.challenge("/confirm/passkey")
	v.post("/confirm/passkey", "credential", other.signs(options)).refused(422, "", "is another user's")
	options, _ = v.challenge("/login/passkey")
	v.post("/confirm/passkey", "credential", d.signs(options)).refused(422, "", "was used already")
	// A passkey is one user's.
	options, _ = bo.challenge(addPasskey)
	bo.post(addPasskey, "name", "Stolen", "credential", newDevice(t).makes(options))
	options, _ = v.challenge(addPasskey)
	stolen := newDevice(t)
	answer := stolen.makes(options)
	bo.post(addPasskey, "name", "Stolen", "credential", answer).refused(422, "", "was used already")
	options, _ = v.challenge(addPasskey)
	evil := newDevice(t)
	evil.rp.Origin = "http://evil.example"
	v.post(addPasskey, "name", "Evil", "credential", evil.makes(options)).refused(422, "", unverified)

	// A counter that goes back is that of a copy.
	d.keys[0].Counter = 5
	if p := a.stranger().byPasskey(d, "/login/passkey", "/account"); p.path != "/account" {
		t.Fatalf("the counter went up: %s", p.text("main"))
	}
	d.keys[0].Counter = 4
	a.stranger().byPasskey(d, "/login/passkey", "/account").refused(422, "", "may have been copied")
	d.keys[0].Counter = 9
	a.stranger().byPasskey(d, "/login/passkey", "/account").refused(422, "", "may have been copied")
	v.get("/account").says("There may be a copy of it")
	if l := a.entries("action=session.login&outcome=failed"); len(l) == 0 {
		t.Error("no failure is in the audit log")
	}
}

// TestPasskeyIsEnough: where everybody has to have a second factor, a passkey is one, and a password alone does not get past it.
func TestPasskeyIsEnough(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.RequireFactor = true })
	v := a.visitor()
	p := v.get("/tenants")
	if p.path != "/account/second-factor" {
		t.Fatalf("led to %s", p.path)
	}
	p.says("A passkey is enough, too")
	d := newDevice(t)
	v.adds(d, "Key")
	if p := v.get("/tenants"); p.path != "/tenants" {
		t.Errorf("with a passkey: %s", p.path)
	}
	w := a.stranger()
	p = w.password()
	if !strings.HasPrefix(p.path, "/login/code") || p.Find(`[name="code"]`).Length() > 0 || w.session() != "" {
		t.Fatalf("the password alone led to %s: %s", p.path, p.text("main"))
	}
	if p := w.byPasskey(d, "/login/code/passkey", "/account"); p.path != "/account" {
		t.Errorf("with the passkey: %s %s", p.path, p.text("main"))
	}
	// Whoever has lost it is helped by an owner or at the command line.
	u := a.user(testEmail)
	a.want(200, "DELETE", "/users/"+u.ID()+"/passkeys", nil)
	if p := v.get("/tenants"); p.path != "/account/second-factor" {
		t.Errorf("without the passkey: %s", p.path)
	}
	v.adds(d, "Key")
	if err := a.Store.ResetPassword(t.Context(), u, testPassword, true); err != nil {
		t.Fatal(err)
	}
	if n := a.count("select count(*) from passkeys"); n != 0 {
		t.Errorf("%d passkeys are left after a reset", n)
	}
}

// TestNoPasskeys: an address that browsers take no passkeys for is named as the reason, and so is a server without passwords.
func TestNoPasskeys(t *testing.T) {
	t.Parallel()
	for base, says := range map[string]string{"http://192.0.2.7:3000": "BASE_URL is an IP address (192.0.2.7)",
		"http://[::1]:3000": "BASE_URL is an IP address (::1)", "http://waybill.example.com": "BASE_URL is not https",
		"https://waybill.example.com/hooks": "", "http://localhost:3000": "", "http://a.localhost": ""} {
		if got := models.PasskeysOff(base); says == "" && got != "" || !strings.Contains(got, says) {
			t.Errorf("%s: %q", base, got)
		}
	}
	a := newTestApp(t, func(c *config.Config) { c.BaseURL = "http://192.0.2.7:3000" })
	v := a.visitor()
	v.get("/account").says("BASE_URL is an IP address (192.0.2.7), and passkeys need a name")
	v.get(addPasskey).says("BASE_URL is an IP address")
	if options, status := v.challenge(addPasskey); status != http.StatusConflict || !strings.Contains(options, "IP address") {
		t.Errorf("%d %s", status, options)
	}

	idp := newTestProvider(t)
	b := newTestApp(t, idp.on(testRoles, func(c *config.Config) { c.OIDC.Only = true }))
	w := b.visitor()
	w.get("/account").says("This server takes logins by Example ID only.")
	for _, path := range []string{"/login/passkey", "/confirm/passkey", addPasskey} {
		if answer, status := w.challenge(path); status != http.StatusConflict || !strings.Contains(answer, "Example ID only") {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
}

// on makes a server hand its mails to the mailbox.
func (m *mailbox) on(c *config.Config) {
	smtp, err := notify.ParseSMTP("smtp://" + m.addr)
	if err == nil {
		c.SMTP, err = smtp.From("alerts@example.com")
	}
	if err != nil {
		panic(err)
	}
}
