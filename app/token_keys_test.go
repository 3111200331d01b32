package app

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/waybill-dev/waybill/app/config"
)

// TestTokensOutliveTheirKey: a tenant's token is good as long as the key that signed it is known, also one of a version that
// did not name its key.
func TestTokensOutliveTheirKey(t *testing.T) {
	t.Parallel()
	first, second, third := strings.Repeat("first ", 8), strings.Repeat("second ", 8), strings.Repeat("third ", 8)
	a := newTestApp(t, func(c *config.Config) { c.SecretKey = first })
	a.tenant("acme")
	old := a.want(200, "GET", "/tenants/acme/token", nil).str("token")
	a.as(old).want(200, "GET", "/tenants/acme", nil)

	// Two keys are known to each process, so that the next one can be made known to all before it signs.
	ahead := newProcessOf(t, testConfig(t, func(c *config.Config) {
		c.DatabaseURL, c.SecretKey, c.OlderKeys = a.Cfg.DatabaseURL, first, []string{second}
	}))
	b := newProcessOf(t, testConfig(t, func(c *config.Config) {
		c.DatabaseURL, c.SecretKey, c.OlderKeys = a.Cfg.DatabaseURL, second, []string{first}
	}))
	fresh := b.want(200, "GET", "/tenants/acme/token", nil).str("token")
	kid := func(token string) any { return tokenHeader(t, token)["kid"] }
	if kid(old) == nil || kid(fresh) == nil || kid(old) == kid(fresh) ||
		kid(fresh) != kid(b.want(200, "GET", "/tenants/acme/token", nil).str("token")) {
		t.Errorf("the keys are called %v and %v", kid(old), kid(fresh))
	}
	unnamed := signedToken(t, a.Store.Keys.Derive("tenant token"), nil)
	for name, token := range map[string]string{"of before": old, "fresh": fresh, "without a kid": unnamed} {
		if o := b.as(token).do("GET", "/tenants/acme", nil); o.status != 200 {
			t.Errorf("a token %s: %d %s", name, o.status, o.raw)
		}
	}
	if o := b.as(signedToken(t, a.Store.Keys.Derive("tenant token"), kid(fresh))).do("GET", "/tenants/acme", nil); o.status != 401 {
		t.Errorf("a token that names another key than it was signed with: %d", o.status)
	}
	if o := b.as(signedToken(t, b.Store.Keys.Derive("tenant token"), "nobody")).do("GET", "/tenants/acme", nil); o.status != 401 {
		t.Errorf("a token of an unknown key: %d", o.status)
	}
	ahead.as(fresh).want(200, "GET", "/tenants/acme", nil)
	d := newProcessOf(t, testConfig(t, func(c *config.Config) {
		c.DatabaseURL, c.SecretKey, c.OlderKeys = a.Cfg.DatabaseURL, third, []string{second}
	}))
	d.as(fresh).want(200, "GET", "/tenants/acme", nil)
	d.as(old).want(401, "GET", "/tenants/acme", nil)
}

// TestTokenAudience: a token for another server is refused, and one that does not say for whom it is only where that is required.
func TestTokenAudience(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	strict := newProcessOf(t, testConfig(t, func(c *config.Config) {
		c.DatabaseURL, c.TokenAudience = a.Cfg.DatabaseURL, config.AudienceRequired
	}))
	made := a.want(200, "GET", "/tenants/acme/token", nil).str("token")
	claims := jwt.RegisteredClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(made, &claims); err != nil || len(claims.Audience) != 1 || claims.Audience[0] != a.Cfg.BaseURL {
		t.Errorf("%v: the audience is %q", err, claims.Audience)
	}
	key := a.Store.Keys.Derive("tenant token")
	for _, c := range []struct {
		about         string
		token         string
		status, where int // optional, required
	}{
		{"as it is made", made, 200, 200},
		{"without an audience", signedToken(t, key, nil), 200, 401},
		{"for another server", signedToken(t, key, nil, "https://other.example.com"), 401, 401},
		{"for a path below", signedToken(t, key, nil, a.Cfg.BaseURL+"/other"), 401, 401},
		{"for several", signedToken(t, key, nil, "https://other.example.com", a.Cfg.BaseURL), 200, 200},
	} {
		if o := a.as(c.token).do("GET", "/tenants/acme", nil); o.status != c.status {
			t.Errorf("%s: %d %s", c.about, o.status, o.raw)
		}
		if o := strict.as(c.token).do("GET", "/tenants/acme", nil); o.status != c.where ||
			o.status == 401 && !strings.Contains(o.str("message"), a.Cfg.BaseURL) {
			t.Errorf("%s, where it is required: %d %s", c.about, o.status, o.raw)
		}
	}
}

// signedToken is a token of acme that names this key, for these servers.
func signedToken(t *testing.T, key []byte, kid any, audience ...string) string {
	t.Helper()
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{Issuer: "waybill", Subject: "acme", Audience: audience,
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Hour))})
	if kid != nil {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tokenHeader(t *testing.T, token string) (h map[string]any) {
	t.Helper()
	head, _, _ := strings.Cut(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(head)
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}
