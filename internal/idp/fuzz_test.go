package idp

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"
)

// FuzzClaims has a provider sign whatever comes to mind as an ID token. Nobody logs in by one that is another's, for somebody
// else or over, or that names nobody.
func FuzzClaims(f *testing.F) {
	for _, s := range []string{`{}`, `null`, `[]`,
		`{"iss":"https://idp.example","aud":"waybill","sub":"1","exp":1798000000,"email":"a@b.example","email_verified":"true","groups":["a",1,null],"auth_time":1e300}`,
		`{"iss":"https://idp.example","aud":["x","waybill"],"azp":"x","sub":"1","exp":1798000000}`,
		`{"iss":"https://idp.example","aud":"waybill","sub":"","exp":1798000000}`,
		`{"iss":"https://idp.example","aud":"waybill","sub":"a\u0000b","exp":1798000000,"name":"\ud800","realm":{"roles":"one"}}`,
		`{"iss":"https://idp.example","aud":"waybill","exp":1e18}`, `{"iss":"https://other.example","aud":"waybill","sub":"1","exp":1798000000}`,
		`{"iss":"https://idp.example","aud":"waybill","sub":"1","exp":1798000000,"_claim_names":{"groups":"src1"}}`,
		`{"iss":"https://idp.example","aud":"waybill","sub":"1","exp":1798000000,"_claim_names":{"realm.roles":"src1"}}`} {
		f.Add([]byte(s))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	const issuer = "https://idp.example"
	verifier := oidc.NewVerifier(issuer, &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{key.Public()}},
		&oidc.Config{ClientID: "waybill", SupportedSigningAlgs: []string{oidc.ES256}, Now: func() time.Time { return now }})
	p := New(Options{Issuer: issuer, ClientID: "waybill", GroupsClaim: "realm.roles", NeedGroups: true})
	f.Fuzz(func(t *testing.T, payload []byte) {
		signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
		sig, err := jwt.SigningMethodES256.Sign(signed, key)
		if err != nil {
			t.Fatal(err)
		}
		token, err := verifier.Verify(t.Context(), signed+"."+base64.RawURLEncoding.EncodeToString(sig))
		if err != nil {
			return
		}
		got, err := p.claims(context.Background(), &oidc.Provider{}, token, &oauth2.Token{})
		var refused *Error
		if err != nil {
			if !errors.As(err, &refused) || refused.Message == "" {
				t.Errorf("%q: %v", payload, err)
			}
			return
		}
		var said map[string]any
		if err := json.Unmarshal(payload, &said); err != nil {
			t.Fatalf("%q was verified: %v", payload, err)
		}
		if azp, _ := said["azp"].(string); got.Subject == "" || token.Issuer != issuer || !slices.Contains(token.Audience, "waybill") ||
			azp != "" && azp != "waybill" ||
			!token.Expiry.After(now) {
			t.Errorf("%q lets in %+v", payload, got)
		}
		if at := got.AuthTime; !at.IsZero() && (at.Year() < 1970 || at.Year() > 9999) {
			t.Errorf("%q is of %v", payload, at)
		}
	})
}
