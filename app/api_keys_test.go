package app

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
)

// TestAPIKeysChange changes what a key may do, from where and until when. What others know of it is forgotten within seconds.
func TestAPIKeysChange(t *testing.T) {
	t.Parallel()
	// Each request says from where it comes, as behind a proxy.
	a := newTestApp(t, func(c *config.Config) { c.Proxies.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	a.tenant("acme")
	made := a.want(201, "POST", "/api-keys", `{"name":"Shop","scopes":["read"],"addresses":["192.0.2.7","2001:db8::/32","192.0.2.7"],
		"expires_at":"2099-01-01T00:00:00Z","requests_per_second":50}`)
	id, key := made.str("id"), a.as(made.str("key"))
	path := "/api-keys/" + id
	if got := a.want(200, "GET", path, nil); got.str("addresses") != "[192.0.2.7 2001:db8::/32]" || got.str("expires_at") != "2099-01-01T00:00:00Z" ||
		got.num("requests_per_second") != 50 || got.str("key") != "" || got.str("created_by") != "API_KEY" || got.str("last_used_at") != "" {
		t.Errorf("%s", got.raw)
	}
	from := func(addr string) answer { return key.do("GET", "/topics", nil, "X-Forwarded-For", addr) }
	for addr, want := range map[string]int{"192.0.2.7": 200, "2001:db8::5": 200, "192.0.2.8": 403, "2001:db9::5": 403,
		"192.0.2.7, 203.0.113.9": 403} {
		if o := from(addr); o.status != want {
			t.Errorf("from %s: %d %s", addr, o.status, o.raw)
		}
	}
	if o := from("203.0.113.9"); !strings.Contains(o.str("message"), "203.0.113.9") || !strings.Contains(o.str("message"), "API key Shop") {
		t.Errorf("the refusal says %s", o.raw)
	}
	a.eventually(path, func(o answer) bool { return o.str("last_used_at") != "" })

	got := a.want(200, "PATCH", path, `{"name":"Shop 2","scopes":["read","publish"],"addresses":null,"expires_at":null,"requests_per_second":null}`)
	if got.str("name") != "Shop 2" || got.str("addresses") != "[]" || got.str("expires_at") != "" || got.str("scopes") != "[read publish]" ||
		got.str("requests_per_second") != "" {
		t.Errorf("%s", got.raw)
	}
	key.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`, "X-Forwarded-For", "203.0.113.9")
	var fields []string
	for _, c := range a.entry("api_key.update", id).Changes {
		fields = append(fields, c.Field)
	}
	if s := strings.Join(fields, " "); s != "name scopes expires_at addresses requests_per_second" {
		t.Errorf("the audit log tells of %q", s)
	}
	a.want(200, "PATCH", path, `{"name":"Shop 2"}`) // changes nothing
	if n := len(a.entries("action=api_key.update")); n != 1 {
		t.Errorf("%d entries for one change", n)
	}

	for body, field := range map[string]string{`{"name":""}`: "name", `{"name":null}`: "name", `{"scopes":[]}`: "scopes",
		`{"scopes":["fly"]}`: "scopes", `{"addresses":["192.0.2.1","shop.example.com"]}`: "addresses[1]",
		`{"addresses":["192.0.2.1/24"]}`: "addresses[0]", `{"addresses":["fe80::1%eth0"]}`: "addresses[0]",
		`{"addresses":["::ffff:192.0.2.0/120"]}`: "addresses[0]", `{"expires_at":"2001-01-01T00:00:00Z"}`: "expires_at",
		`{"events_per_second":-5}`: "events_per_second", `{"limit_burst":"90ms"}`: "limit_burst"} {
		if o := a.do("PATCH", path, body); o.status != 422 || o.str("fields", field) == "" {
			t.Errorf("%s: %d %s", body, o.status, o.raw)
		}
	}
	a.want(422, "POST", "/api-keys", `{"name":"k","scopes":["read"],"expires_in":"1h","expires_at":"2099-01-01T00:00:00Z"}`)

	// A tenant's keys see and change those of the tenant only, and give away nothing that they do not have.
	admin := a.as(a.want(201, "POST", "/api-keys", `{"name":"boss","scopes":["admin"],"tenant_id":"acme"}`).str("key"))
	admin.want(404, "GET", path, nil)
	admin.want(404, "PATCH", path, `{"name":"mine"}`)
	mine := admin.want(201, "POST", "/api-keys", `{"name":"mine","scopes":["read"]}`)
	admin.want(200, "PATCH", "/api-keys/"+mine.str("id"), `{"scopes":["read","retry"]}`)

	a.want(200, "DELETE", path, nil)
	a.want(409, "PATCH", path, `{"name":"again"}`)
	a.want(404, "PATCH", "/api-keys/none", `{"name":"again"}`)
}

// TestExpiredAPIKey: a key that has expired says so, works again with a later date, and is warned of before.
func TestExpiredAPIKey(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	made := a.want(201, "POST", "/api-keys", `{"name":"Nightly","scopes":["read"],"expires_in":"100h"}`)
	id, key := made.str("id"), a.as(made.str("key"))
	a.want(201, "POST", "/api-keys", `{"name":"Long","scopes":["read"],"expires_in":"1000h"}`)
	key.want(200, "GET", "/topics", nil)
	warned := func() string {
		t.Helper()
		found, err := a.Store.Diagnose(t.Context(), time.Now(), true)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if f.Check == "api_keys" {
				return f.Level + ": " + f.Message + strings.Join(f.Examples, "; ")
			}
		}
		return ""
	}
	if w := warned(); !strings.HasPrefix(w, "warn: ") || !strings.Contains(w, "key Nightly ("+made.str("hint")+"), made by API_KEY: ") ||
		strings.Contains(w, "Long") {
		t.Errorf("the doctor says %q", w)
	}
	v := a.visitor()
	p := v.get("/api-keys")
	p.says("In 4 days")
	if n := strings.Count(p.text("tbody"), "In "); n != 1 {
		t.Errorf("%d keys expire soon", n)
	}
	a.exec("update api_keys set expires_at = now() - interval '1 hour' where id = $1", id)
	a.follows(func() bool { return key.do("GET", "/topics", nil).status != 200 })
	for range 2 { // also when it was asked for before
		if o := key.want(401, "GET", "/topics", nil); !strings.Contains(o.str("message"), "This API key expired on ") ||
			!strings.Contains(o.str("message"), "PATCH /api-keys/"+id) {
			t.Errorf("%s", o.raw)
		}
	}
	if w := warned(); !strings.HasPrefix(w, "ok: ") {
		t.Errorf("the doctor says %q", w)
	}
	v.get("/api-keys").says("Expired")
	at := time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
	a.want(200, "PATCH", "/api-keys/"+id, `{"expires_at":"`+at+`"}`)
	key.want(200, "GET", "/topics", nil)
	a.as("wb_unknown").want(401, "GET", "/topics", nil)
}

// TestAPIKeyPage changes a key on its page, and binds a new one.
func TestAPIKeyPage(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	v.post("/t/acme/api-keys/new", "name", "shop", "scopes", "read", "expires_in", "0", "addresses", "192.0.2.1\nnowhere").
		refused(422, "addresses", "Line 2 must be an address or a CIDR")
	v.post("/t/acme/api-keys/new", "name", "shop", "scopes", "read", "expires_in", "0", "events_per_second", "many").
		refused(422, "events_per_second", "must be a whole number")
	v.post("/t/acme/api-keys/new", "name", "shop", "scopes", "read", "expires_in", "720h", "addresses", "192.0.2.1, 10.0.0.0/8",
		"events_per_second", "20", "limit_burst", "1m").says("Copy this key now")
	id := a.want(200, "GET", "/api-keys", nil).str("models", "0", "id")
	p := v.get("/t/acme/api-keys")
	p.says("From 192.0.2.1, 10.0.0.0/8")
	p.says("At most 20 events a second")
	path := "/t/acme/api-keys/" + id
	p = v.get(path)
	if p.value("name") != "shop" || p.text("#f-addresses") != "192.0.2.1 10.0.0.0/8" || p.value("events_per_second") != "20" ||
		p.value("limit_burst") != "1m" || p.value("expires_at") == "" {
		t.Errorf("the form has %q, %q, %q, %q, %q", p.value("name"), p.text("#f-addresses"), p.value("events_per_second"),
			p.value("limit_burst"), p.value("expires_at"))
	}
	v.post(path, "name", "shop", "scopes", "read", "expires_at", "soon").refused(422, "expires_at", "must be a date like")
	v.post(path, "name", "shop", "scopes", "read", "expires_at", "2001-01-31").refused(422, "expires_at", "must be in the future")
	v.post(path, "name", "shop", "scopes", "read", "addresses", "10.0.0.1/8").refused(422, "addresses", "write 10.0.0.0/8 for the network")
	v.post(path, "name", "checkout", "scopes", "publish", "scopes", "read", "expires_at", "2099-01-31", "bytes_per_second", "5000").
		says("The key was changed.")
	got := a.want(200, "GET", "/api-keys/"+id, nil)
	if got.str("name") != "checkout" || got.str("scopes") != "[publish read]" || got.str("expires_at") != "2099-01-31T00:00:00Z" ||
		got.str("addresses") != "[]" || got.str("events_per_second") != "" || got.num("bytes_per_second") != 5000 ||
		got.str("limit_burst") != "" {
		t.Errorf("%s", got.raw)
	}
	if p := v.send("GET", "/t/acme/api-keys/00000000-0000-0000-0000-000000000000", nil); p.status != 404 {
		t.Errorf("a key that there is not: %d", p.status)
	}
	v.post("/t/acme/settings/tenant", "events_per_second", "40", "limit_burst", "soon").refused(422, "limit_burst", "")
	v.post("/t/acme/settings/tenant", "events_per_second", "40", "limit_burst", "30s").says("The settings were saved.")
	if got := a.want(200, "GET", "/tenants/acme/settings", nil); got.str("settings") != "map[events_per_second:40 limit_burst:30s]" {
		t.Errorf("%s", got.raw)
	}
	if p := v.get("/t/acme/settings/tenant"); p.value("limit_burst") != "30s" || p.value("events_per_second") != "40" {
		t.Errorf("the form has %q and %q", p.value("events_per_second"), p.value("limit_burst"))
	}
}
