package app

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/waybill-dev/waybill/models"
)

// logoutToken is one as the provider makes it (OpenID Connect Back-Channel Logout 1.0, section 2.4), changed by change.
func (p *testProvider) logoutToken(change func(jwt.MapClaims, map[string]any)) string {
	claims := jwt.MapClaims{"iss": p.server.URL, "aud": testClient, "iat": time.Now().Unix(), "exp": time.Now().Add(2 * time.Minute).Unix(),
		"jti": rand.Text(), "sub": "s-1", "events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"], token.Header["typ"] = "one", "logout+jwt"
	if change != nil {
		change(claims, token.Header)
	}
	key := p.key
	if p.sign != nil {
		key = p.sign
	}
	signed, err := token.SignedString(key)
	if err != nil {
		p.Error(err)
	}
	return signed
}

// tellsLogout has the provider tell of a logout, and returns the status and what is wrong.
func (a *testApp) tellsLogout(token string) (status int, problem string) {
	a.Helper()
	resp, err := http.PostForm(a.base+"/login/oidc/logout", url.Values{"logout_token": {token}})
	if err != nil {
		a.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Cache-Control") != "no-store" {
		a.Errorf("Cache-Control: %s", resp.Header.Get("Cache-Control"))
	}
	raw, _ := io.ReadAll(resp.Body)
	var body struct {
		Error   string `json:"error"`
		Details string `json:"error_description"`
	}
	if resp.StatusCode == 400 && (json.Unmarshal(raw, &body) != nil || body.Error != "invalid_request" || body.Details == "") {
		a.Errorf("the answer is %s", raw)
	}
	return resp.StatusCode, body.Details
}

func (v *visitor) isIn() bool {
	v.Helper()
	return v.get("/account").path == "/account"
}

// TestProviderLogout: a logout at the provider ends what it names: one session there, or all of a user's.
func TestProviderLogout(t *testing.T) {
	t.Parallel()
	idp := newTestProvider(t)
	a := newTestApp(t, idp.on(testRoles))
	a.visitor()
	login := func(sid string) *visitor {
		idp.is("s-1", "max@example.com", "devs")
		idp.who["sid"] = sid
		v := a.stranger()
		v.byProvider()
		return v
	}
	one, two := login("sid-1"), login("sid-2")
	max := a.user("max@example.com")
	own := a.loggedIn(max)
	other := a.loggedIn(a.addUser("Bo", models.RoleViewer))
	all := []*visitor{one, two, own, other}
	are := func(what string, want ...bool) {
		t.Helper()
		for i, v := range all {
			if v.isIn() != want[i] {
				t.Errorf("%s: session %d: logged in is %v", what, i, !want[i])
			}
		}
	}
	are("before", true, true, true, true)
	token := idp.logoutToken(func(c jwt.MapClaims, _ map[string]any) { c["sid"] = "sid-1" })
	if status, problem := a.tellsLogout(token); status != 200 {
		t.Fatalf("%d %s", status, problem)
	}
	are("of a session", false, true, true, true)
	if e := a.entry("session.provider_logout", max.ID()); e.Actor != "Example ID" || e.Detail["sessions"] != float64(1) {
		t.Errorf("%+v", e)
	}
	if status, problem := a.tellsLogout(token); status != 400 || !strings.Contains(problem, "used already") {
		t.Errorf("again: %d %s", status, problem)
	}
	// Where sid and sub do not belong together, nobody is logged out; that is no error.
	token = idp.logoutToken(func(c jwt.MapClaims, _ map[string]any) { c["sid"], c["sub"] = "sid-2", "s-9" })
	if status, problem := a.tellsLogout(token); status != 200 {
		t.Errorf("%d %s", status, problem)
	}
	are("of somebody else", false, true, true, true)
	// A login that waits for its second step ends with the session there.
	a.factor(max)
	half := login("sid-3")
	token = idp.logoutToken(func(c jwt.MapClaims, _ map[string]any) {
		c["sid"] = "sid-3"
		delete(c, "sub")
	})
	a.tellsLogout(token)
	if p := half.post("/login/code", "code", "123456"); p.path != "/login" {
		t.Errorf("the second step goes on: %s", p.path)
	}
	// Without a sid, all of the user's end.
	if status, _ := a.tellsLogout(idp.logoutToken(nil)); status != 200 {
		t.Error(status)
	}
	are("of a user", false, false, false, true)
}

// TestProviderLogoutRefusals: what is not exactly a logout token of this provider for this server ends nothing.
func TestProviderLogoutRefusals(t *testing.T) {
	t.Parallel()
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	idp := newTestProvider(t)
	a := newTestApp(t, idp.on(testRoles))
	a.visitor()
	idp.is("s-1", "max@example.com", "devs")
	v := a.stranger()
	v.byProvider()
	const event = "http://schemas.openid.net/event/backchannel-logout"
	for name, change := range map[string]func(c jwt.MapClaims, head map[string]any){
		"another issuer":    func(c jwt.MapClaims, _ map[string]any) { c["iss"] = "https://evil.example" },
		"another audience":  func(c jwt.MapClaims, _ map[string]any) { c["aud"] = "somebody else" },
		"expired":           func(c jwt.MapClaims, _ map[string]any) { c["exp"] = time.Now().Add(-time.Minute).Unix() },
		"no expiry":         func(c jwt.MapClaims, _ map[string]any) { delete(c, "exp") },
		"no iat":            func(c jwt.MapClaims, _ map[string]any) { delete(c, "iat") },
		"an old one":        func(c jwt.MapClaims, _ map[string]any) { c["iat"] = time.Now().Add(-6 * time.Minute).Unix() },
		"one of the future": func(c jwt.MapClaims, _ map[string]any) { c["iat"] = time.Now().Add(3 * time.Minute).Unix() },
		"no jti":            func(c jwt.MapClaims, _ map[string]any) { delete(c, "jti") },
		"a nonce":           func(c jwt.MapClaims, _ map[string]any) { c["nonce"] = "n" },
		"no events":         func(c jwt.MapClaims, _ map[string]any) { delete(c, "events") },
		"another event": func(c jwt.MapClaims, _ map[string]any) {
			c["events"] = map[string]any{"https://x.example": map[string]any{}}
		},
		"an event of null":   func(c jwt.MapClaims, _ map[string]any) { c["events"] = map[string]any{event: nil} },
		"an event of a text": func(c jwt.MapClaims, _ map[string]any) { c["events"] = map[string]any{event: "yes"} },
		"nobody":             func(c jwt.MapClaims, _ map[string]any) { delete(c, "sub") },
		"another type":       func(_ jwt.MapClaims, head map[string]any) { head["typ"] = "at+jwt" },
		"another key":        func(jwt.MapClaims, map[string]any) { idp.sign = foreign },
	} {
		idp.sign = nil
		if status, problem := a.tellsLogout(idp.logoutToken(change)); status != 400 {
			t.Errorf("%s: %d %s", name, status, problem)
		}
	}
	idp.sign = nil
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"iss": idp.server.URL, "aud": testClient, "sub": "s-1", "jti": "j",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "events": map[string]any{event: map[string]any{}}}).
		SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"", "x", "a.b.c", unsigned} {
		if status, problem := a.tellsLogout(token); status != 400 {
			t.Errorf("%.20s: %d %s", token, status, problem)
		}
	}
	if !v.isIn() {
		t.Error("somebody is logged out")
	}
	if status, problem := a.tellsLogout(idp.logoutToken(nil)); status != 200 || v.isIn() {
		t.Errorf("a right one: %d %s", status, problem)
	}
}

// TestDisconnect: who disconnects the provider logs in by it no more, until they connect it again; the last way to log in stays.
func TestDisconnect(t *testing.T) {
	t.Parallel()
	idp := newTestProvider(t)
	a := newTestApp(t, idp.on(testRoles))
	a.visitor()
	bo := a.addUser("Bo", models.RoleDeveloper)
	idp.is("s-1", bo.Email, "devs")
	byProvider := a.stranger()
	byProvider.byProvider()
	v := a.loggedIn(bo)
	address := v.get("/account").Find(`form[action^="/account/identities/"]`).AttrOr("action", "")
	a.stale()
	if p := v.post(address); !strings.HasPrefix(p.path, "/confirm") {
		t.Errorf("a login long ago disconnects: %s", p.path)
	}
	v = a.loggedIn(bo)
	v.post(address).says("is not connected any more")
	if byProvider.isIn() {
		t.Error("the session of the provider goes on")
	}
	if e := a.entry("user.disconnect", bo.ID()); e.Detail["subject"] != "s-1" || e.Actor != "Bo" {
		t.Errorf("%+v", e)
	}
	w := a.stranger()
	w.byProvider().says("has disconnected Example ID")
	if w.session() != "" {
		t.Error("a login connects it again")
	}
	v.send("GET", v.begin("/confirm/oidc?return=%2Faccount"), nil).says("Connected.")
	w.byProvider()
	if !w.isIn() {
		t.Error("connected again, it does not log in")
	}

	// Who has nothing else keeps it, whoever asks.
	idp.is("s-2", "max@example.com", "devs")
	x := a.stranger()
	p := x.byProvider()
	x.post(p.Find(`form[action^="/account/identities/"]`).AttrOr("action", "")).says("Nothing would be left to log in with")
	max := a.user("max@example.com")
	id := a.want(200, "GET", "/users/"+max.ID()+"/identities", nil).str("models", "0", "id")
	if o := a.want(409, "DELETE", "/users/"+max.ID()+"/identities/"+id, nil); !strings.Contains(o.raw, "Add a passkey first") {
		t.Errorf("%s", o.raw)
	}
	d := newDevice(t)
	x.adds(d, "Key")
	a.want(200, "DELETE", "/users/"+max.ID()+"/identities/"+id, nil)
	y := a.stranger()
	if y.byPasskey(d, "/login/passkey", "/account"); !y.isIn() {
		t.Error("the passkey does not log in")
	}
	key := a.want(200, "GET", "/users/"+max.ID()+"/passkeys", nil).str("models", "0", "id")
	y.post("/account/passkeys/" + key + "/remove").says("Nothing would be left to log in with")
	// An administrator may part a user from an account for another one: a login connects that.
	idp.is("s-3", "max@example.com", "devs")
	z := a.stranger()
	if z.byProvider(); !z.isIn() {
		t.Error("the new account does not log in")
	}
}
