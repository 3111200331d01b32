package app

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/waybill-dev/waybill/app/config"
)

// testProvider is an identity provider as OpenID Connect says: discovery, authorization with PKCE, tokens, keys and UserInfo.
type testProvider struct {
	testing.TB
	server *httptest.Server
	key    *rsa.PrivateKey

	mu    sync.Mutex
	codes map[string]url.Values // what was asked for, by code
	asked url.Values            // last

	who   map[string]any      // claims of who is logged in there
	info  map[string]any      // claims that only UserInfo tells
	spoil func(jwt.MapClaims) // changes an ID token before it is signed
	sign  *rsa.PrivateKey     // instead of key
}

const (
	testClient       = "waybill"
	testClientSecret = "secret & more: of + the client"
)

func newTestProvider(t testing.TB) *testProvider {
	t.Helper()
	return newTestProviderAt(t, "127.0.0.1:0")
}

func newTestProviderAt(t testing.TB, address string) *testProvider {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &testProvider{TB: t, key: key, codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		base := p.server.URL
		reply(w, 200, map[string]any{"issuer": base, "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token",
			"jwks_uri": base + "/keys", "userinfo_endpoint": base + "/userinfo", "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		e := big.NewInt(int64(key.E)).Bytes()
		reply(w, 200, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256",
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(e)}}})
	})
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer access" {
			reply(w, 401, nil)
			return
		}
		all := maps.Clone(p.who)
		maps.Copy(all, p.info)
		reply(w, 200, all)
	})
	p.server = httptest.NewUnstartedServer(mux)
	p.server.Listener.Close()
	p.server.Listener = ln
	p.server.Start()
	t.Cleanup(p.server.Close)
	return p
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// authorize lets whoever is there in (RFC 6749, section 4.1).
func (p *testProvider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != testClient || q.Get("response_type") != "code" || q.Get("redirect_uri") != "http://localhost/login/oidc/callback" ||
		!strings.Contains(" "+q.Get("scope")+" ", " openid ") || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 ||
		len(q.Get("state")) < 20 || len(q.Get("nonce")) < 20 {
		http.Error(w, "bad request: "+r.URL.RawQuery, 400)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	code := rand.Text()
	p.codes[code], p.asked = q, q
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
}

// token exchanges a code, once, for who has its verifier (RFC 7636, section 4.6).
func (p *testProvider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	secret, _ = url.QueryUnescape(secret)
	asked := p.codes[r.FormValue("code")]
	delete(p.codes, r.FormValue("code"))
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	switch {
	case id != testClient || secret != testClientSecret:
		reply(w, 401, map[string]any{"error": "invalid_client"})
	case asked == nil || asked.Get("redirect_uri") != r.FormValue("redirect_uri") ||
		asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]):
		reply(w, 400, map[string]any{"error": "invalid_grant"})
	default:
		reply(w, 200, map[string]any{"access_token": "access", "token_type": "Bearer", "expires_in": 60, "id_token": p.idToken(asked)})
	}
}

func (p *testProvider) idToken(asked url.Values) string {
	claims := jwt.MapClaims{"iss": p.server.URL, "aud": testClient, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
		"nonce": asked.Get("nonce")}
	maps.Copy(claims, p.who)
	if p.spoil != nil {
		p.spoil(claims)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = "one"
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

// is says who is logged in at the provider.
func (p *testProvider) is(subject, email string, groups ...string) {
	p.who = map[string]any{"sub": subject, "email": email, "email_verified": true, "name": "Name of " + subject, "groups": groups}
}

// on makes a server use the provider.
func (p *testProvider) on(roles config.GroupRoles, change ...func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) {
		c.OIDC = config.OIDC{Issuer: p.server.URL, ClientID: testClient, ClientSecret: testClientSecret, Name: "Example ID",
			Scopes: []string{"openid", "email", "profile"}, GroupsClaim: "groups", Roles: roles}
		for _, f := range change {
			f(c)
		}
	}
}

// leads opens a page without following where it leads, and returns that.
func (v *visitor) leads(address string) string {
	v.Helper()
	client := &http.Client{Jar: v.client.Jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(address)
	if err != nil {
		v.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 3 {
		v.Fatalf("%s: %d", address, resp.StatusCode)
	}
	return resp.Header.Get("Location")
}

// begin begins a login by the provider, and returns the address to which that leads back.
func (v *visitor) begin(start string) string {
	v.Helper()
	return strings.TrimPrefix(v.leads(v.leads(v.base+start)), v.Cfg.BaseURL)
}

// byProvider logs in by the provider.
func (v *visitor) byProvider() page {
	v.Helper()
	return v.send("GET", v.begin("/login/oidc?return=%2Faccount"), nil)
}
