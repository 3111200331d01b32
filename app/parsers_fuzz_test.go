package app

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// FuzzTokens signs whatever comes to mind as a tenant's token, with the key of this server. It is refused with 401, unless it is of a
// tenant that there is, in time, and for this server. So is any other text in the place of a key.
func FuzzTokens(f *testing.F) {
	a := newTestApp(f, nil)
	a.tenant("acme")
	for _, s := range []string{`{}`, `null`, `{"iss":"waybill","sub":"acme","exp":9999999999,"aud":["http://localhost"]}`,
		`{"iss":"waybill","sub":"a\u0000b","exp":9999999999}`,
		`{"iss":"waybill","sub":"acme","exp":1e300}`, `{"iss":"waybill","sub":"acme","exp":"soon","aud":{}}`,
		`{"iss":"waybill","sub":1,"exp":9999999999}`,
		`{"iss":"waybill","sub":"acme","exp":9999999999,"nbf":99999999999}`, `{"iss":"waybill","sub":"acme","exp":-1}`,
		`{"iss":"waybill","sub":"` + strings.Repeat("x", 5000) + `","exp":9999999999}`} {
		f.Add([]byte(s), `{"alg":"HS256","typ":"JWT"}`, "Bearer a.b.c")
	}
	f.Add([]byte(`{"iss":"waybill","sub":"acme","exp":9999999999}`), `{"alg":"none"}`, "Bearer ")
	f.Add([]byte(`{"iss":"waybill","sub":"acme","exp":9999999999}`), `{"alg":"HS256","kid":"x"}`, "Basic x")
	f.Add([]byte(`{"iss":"waybill","sub":"acme","exp":9999999999}`), `{"alg":"HS256","kid":{}}`, "bearer wb_")
	f.Add([]byte{}, `{"alg":"HS256","crit":["x"],"x":1}`, "\x7f")
	key := a.Store.Keys.Derive("tenant token")
	f.Fuzz(func(t *testing.T, claims []byte, header, authorization string) {
		in := *a
		in.TB, in.old = t, true
		signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(claims)
		sig, err := jwt.SigningMethodHS256.Sign(signed, key)
		if err != nil {
			t.Fatal(err)
		}
		out := in.as(signed+"."+base64.RawURLEncoding.EncodeToString(sig)).do("GET", "/events?limit=1", nil)
		var said jwt.RegisteredClaims
		known := json.Unmarshal(claims, &said) == nil && said.Subject == "acme" && said.Issuer == "waybill" && said.ExpiresAt != nil
		// 429: a network that sends many that are not valid waits.
		if out.status != 401 && out.status != 429 && !(known && out.status < 500) {
			t.Errorf("%s.%s: %d %s", header, claims, out.status, out.raw)
		}
		if strings.ContainsFunc(authorization, func(r rune) bool { return r < ' ' || r > '~' }) || strings.Contains(authorization, testKey) {
			return // no header
		}
		in.key = ""
		if out := in.do("GET", "/tenants", nil, "Authorization", authorization); out.status != 401 && out.status != 429 {
			t.Errorf("%q: %d %s", authorization, out.status, out.raw)
		}
	})
}

// FuzzCursors: a cursor of this very list, with any position in it, leads to a page or is refused by words, in each list.
func FuzzCursors(f *testing.F) {
	a := newTestApp(f, nil)
	a.tenant("acme")
	a.tenant("other")
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"second","type":"echo","topics":"*"}`)
	for range 3 {
		a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"a","data":{"n":1}}`)
	}
	a.eventually("/deliveries?tenant_id=acme&status=delivered", func(o answer) bool { return len(o.list()) == 6 })
	type list struct{ path, hash string }
	var lists []list
	for _, path := range []string{"/events?", "/deliveries?", "/attempts?", "/tenants?", "/audit?", "/events?q=n&",
		"/deliveries?tenant_id=acme&dir=asc&",
		"/tenants/acme/destinations/inbox/attempts?", "/events?order_by=time&", "/deliveries?order_by=attempts&",
		"/tenants?order_by=received&"} {
		out := a.do("GET", path+"limit=1", nil)
		next := out.str("pagination", "next")
		if out.status != 200 || next == "" {
			f.Fatalf("%s has no next page: %d %.300s", path, out.status, out.raw)
		}
		var c struct{ H, P json.RawMessage }
		raw, err := base64.RawURLEncoding.DecodeString(next)
		if err != nil || json.Unmarshal(raw, &c) != nil {
			f.Fatalf("%s: %s", path, raw)
		}
		lists = append(lists, list{path, string(c.H)})
		f.Add(uint8(len(lists)-1), string(c.P))
	}
	for i := range lists {
		for _, p := range []string{`null`, `"x"`, `0`, `-1`, `{}`, `[]`, `"\u0000"`, `["a","b","c","d"]`, `"9999999-01-01T00:00:00Z"`,
			`{"t":"0000-01-01T00:00:00Z"}`, `9223372036854775808`,
			`"00000000-0000-0000-0000-000000000000"`, `["2026-01-01T00:00:00Z","ffffffff-ffff-ffff-ffff-ffffffffffff",1]`, `""`} {
			f.Add(uint8(i), p)
		}
	}
	f.Fuzz(func(t *testing.T, at uint8, position string) {
		in := *a
		in.TB, in.old = t, true
		l := lists[int(at)%len(lists)]
		for _, way := range []string{"next", "prev"} {
			cursor := base64.RawURLEncoding.EncodeToString([]byte(`{"h":` + l.hash + `,"p":` + position + `}`))
			in.refusedWell("GET", l.path+"limit=1&"+way+"="+url.QueryEscape(cursor), "")
		}
	})
}
