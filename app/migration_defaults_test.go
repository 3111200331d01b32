package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// signed is a receiver that keeps the headers of what it got.
type signed struct {
	*httptest.Server
	mu   sync.Mutex
	got  []http.Header
	body string
	code int
}

func newSigned(t *testing.T) *signed {
	r := &signed{code: 200}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		r.got, r.body = append(r.got, req.Header), string(b)
		code := r.code
		r.mu.Unlock()
		w.WriteHeader(code)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *signed) last() (http.Header, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got[len(r.got)-1], r.body
}

// TestMigrationDefaults are the server's and a tenant's settings for those who move over with receivers that exist: signatures,
// names of headers, which errors are retried, and what enabling does.
func TestMigrationDefaults(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) {
		c.Webhook = models.WebhookDefaults{Signature: "custom", Config: map[string]string{"header_prefix": "x-acme-",
			"signature_header": "X-Sig", "signature_algorithm": "hmac-sha512",
			"signature_encoding": "base64", "second_signature": "outpost"}}
		c.Retry.RetryOn, c.EnableBacklog = []string{"usual", "400"}, "keep"
	})
	a.tenant("acme")
	a.tenant("globex")
	r := newSigned(t)
	create := func(tenant, id, more string) answer {
		t.Helper()
		return a.want(201, "POST", "/tenants/"+tenant+"/destinations",
			`{"id":"`+id+`","type":"webhook","topics":["`+id+`"],"config":{"url":"`+r.URL+`"}`+more+`}`)
	}
	deliver := func(tenant, id, status string) answer {
		t.Helper()
		event := a.want(202, "POST", "/publish",
			`{"tenant_id":"`+tenant+`","topic":"`+id+`","metadata":{"source":"test"},"data":{"a":1}}`).str("id")
		return a.eventually("/deliveries?tenant_id="+tenant+"&destination_id="+id+"&status="+status+"&event_id="+event,
			func(o answer) bool { return len(o.list()) > 0 })
	}

	// The server's: made to measure, and Outpost's beside it, under one prefix.
	d := create("acme", "plain", "")
	secret := d.str("credentials", "secret")
	deliver("acme", "plain", "delivered")
	h, body := r.last()
	if h.Get("X-Sig") != "v0="+sum512(secret, body) || h.Get("X-Acme-Signature") != "v0="+sum256(secret, body) ||
		h.Get("X-Acme-Source") != "test" || h.Get("X-Acme-Topic") != "plain" ||
		h.Get("Webhook-Signature") != "" {
		t.Errorf("%s\n%v", d.raw, h)
	}
	// What its creator says comes first.
	if d = create("acme", "own", `,"signature":"standard"`); d.str("signature") != "standard" || d.str("config", "header_prefix") != "" {
		t.Errorf("%s", d.raw)
	}

	// A 400 is final, unless the settings say otherwise; what a destination says comes first.
	r.mu.Lock()
	r.code = 400
	r.mu.Unlock()
	attempts := func(tenant, id string) string {
		t.Helper()
		return deliver(tenant, id, "failed").str("models", "0", "attempts")
	}
	create("acme", "strict", `,"retry":{"retry_on":["5xx"]}`)
	if plain, strict := attempts("acme", "plain"), attempts("acme", "strict"); plain != "3" || strict != "1" {
		t.Errorf("%s and %s attempts", plain, strict)
	}

	// A tenant's settings come before the server's, for destinations that exist as well where they do not change what is sent.
	create("globex", "before", "")
	outpost, prefix, drop := "outpost", "x-globex-", "drop"
	set := models.TenantSettings{Signature: &outpost, HeaderPrefix: &prefix,
		SharedSettings: models.SharedSettings{RetryOn: &[]string{"5xx"}, EnableBacklog: &drop}}
	if _, err := a.Store.UpdateTenantSettings(t.Context(), models.AllTenants(), "globex", set); err != nil {
		t.Fatal(err)
	}
	if n := attempts("globex", "before"); n != "1" {
		t.Errorf("%s attempts", n)
	}
	r.mu.Lock()
	r.code = 200
	r.mu.Unlock()
	secret = create("globex", "after", "").str("credentials", "secret")
	deliver("globex", "after", "delivered")
	if h, body = r.last(); h.Get("X-Globex-Signature") != "v0="+sum256(secret, body) || h.Get("X-Sig") != "" {
		t.Errorf("%v", h)
	}
	deliver("globex", "before", "delivered")
	if h, _ = r.last(); h.Get("X-Sig") == "" || h.Get("X-Acme-Signature") == "" {
		t.Errorf("the tenant's settings changed what a destination sends: %v", h)
	}

	// Enabling, when the caller does not say what becomes of the events held.
	v := a.visitor()
	for tenant, status := range map[string]string{"acme": "held", "globex": "cancelled"} {
		a.want(200, "PUT", "/tenants/"+tenant+"/destinations/inbox/disable", nil)
		a.want(202, "POST", "/publish", `{"id":"held","tenant_id":"`+tenant+`","topic":"x","data":{}}`)
		a.eventually("/deliveries?tenant_id="+tenant+"&destination_id=inbox&status=held", func(o answer) bool { return len(o.list()) == 1 })
		if p := v.get("/t/" + tenant + "/destinations/inbox/enable"); p.Find(`input[name=action][checked]`).AttrOr("value",
			"") != map[string]string{"acme": "keep", "globex": "drop"}[tenant] {
			t.Errorf("%s: the page offers %q", tenant, p.Find(`input[name=action][checked]`).AttrOr("value", ""))
		}
		a.want(200, "PUT", "/tenants/"+tenant+"/destinations/inbox/enable", nil)
		a.eventually("/deliveries?tenant_id="+tenant+"&destination_id=inbox&event_id=held&status="+status,
			func(o answer) bool { return len(o.list()) == 1 })
		if e := a.entries("tenant_id=" + tenant +
			"&action=destination.enable&object=inbox")[0]; e.Detail["backlog"] != map[string]string{"acme": "keep",
			"globex": "drop"}[tenant] {
			t.Errorf("%+v", e)
		}
	}

	// The form shows the defaults, and what it sends is what is meant.
	p := v.get("/t/globex/destinations/new?type=webhook")
	if p.value("signature") != "outpost" || p.value("config.header_prefix") != "x-globex-" {
		t.Errorf("%q %q", p.value("signature"), p.value("config.header_prefix"))
	}
	v.post("/t/globex/destinations/new?type=webhook", "name", "By form", "config.url", r.URL, "topics_mode", "all", "signature", "standard",
		"config.header_prefix", "", "config.signature_algorithm", "")
	list := a.want(200, "GET", "/tenants/globex/destinations", nil)
	if !strings.Contains(list.raw, `"name":"By form"`) || !strings.Contains(list.raw, `"signature":"standard"`) {
		t.Errorf("%s", list.raw)
	}

	// What is wrong is said at its field.
	bad, blank := "nonsense", " x"
	for field, x := range map[string]models.TenantSettings{"signature": {Signature: &bad}, "header_prefix": {HeaderPrefix: &blank},
		"retry_on[0]":    {SharedSettings: models.SharedSettings{RetryOn: &[]string{"6xx"}}},
		"enable_backlog": {SharedSettings: models.SharedSettings{EnableBacklog: &bad}}} {
		_, err := a.Store.UpdateTenantSettings(t.Context(), models.AllTenants(), "globex", x)
		if e := models.AsError(err); e == nil || e.Fields[field] == "" {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestMigrationVariables reads these settings from the environment, and says what is wrong with one.
func TestMigrationVariables(t *testing.T) {
	t.Parallel()
	read := func(vars map[string]string) (*config.Config, error) {
		return config.ReadConfig("serve", func(name string) string { return vars[name] })
	}
	c, err := read(map[string]string{"WEBHOOK_SIGNATURE": "custom", "WEBHOOK_HEADER_PREFIX": "x-acme-",
		"WEBHOOK_CONFIG": `{"signature_value":"sha256={{.Signatures}}"}`, "RETRY_ON": "usual, 4xx", "ENABLE_BACKLOG": "drop"})
	if err != nil || c.Webhook.Signature != "custom" || c.Webhook.Config["header_prefix"] != "x-acme-" ||
		c.Webhook.Config["signature_value"] != "sha256={{.Signatures}}" ||
		strings.Join(c.Retry.RetryOn, " ") != "usual 4xx" || c.EnableBacklog != "drop" {
		t.Errorf("%+v %v", c, err)
	}
	for name, vars := range map[string]map[string]string{
		"WEBHOOK_SIGNATURE":     {"WEBHOOK_SIGNATURE": "md5"},
		"WEBHOOK_HEADER_PREFIX": {"WEBHOOK_HEADER_PREFIX": "x acme"},
		"WEBHOOK_CONFIG":        {"WEBHOOK_CONFIG": `{"signature_value":"sha256={{.Signatures}}"}`}, // without the signature custom
		"RETRY_ON":              {"RETRY_ON": "6xx"},
		"ENABLE_BACKLOG":        {"ENABLE_BACKLOG": "burn"},
	} {
		if _, err := read(vars); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func sum512(key, body string) string {
	mac := hmac.New(sha512.New, []byte(key))
	mac.Write([]byte(body))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func sum256(key, body string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}
