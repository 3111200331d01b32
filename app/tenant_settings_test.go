package app

import (
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/app/config"
)

// TestTenantSettings sets a tenant's own limits and defaults, shows them beside what is in force, and takes them away.
func TestTenantSettings(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	const path = "/tenants/acme/settings"
	got := a.want(200, "GET", path, nil)
	if got.str("settings") != "map[]" || got.str("effective", "manual_retry_limit") != "10" ||
		got.str("effective", "enable_backlog") != "deliver" || got.str("effective", "name") != "acme" {
		t.Errorf("at first: %s", got.raw)
	}
	got = a.want(200, "PATCH", path,
		`{"name":"Acme Ltd","manual_retry_limit":3,"header_prefix":"x-acme-","retry_on":["5xx","timeout"],"enable_backlog":"keep","signature":"outpost"}`)
	if got.str("settings", "manual_retry_limit") != "3" || got.str("effective", "enable_backlog") != "keep" ||
		got.str("effective", "retry_on") != "[5xx timeout]" || got.str("effective", "bulk_retry_limit") != "100000" {
		t.Errorf("set: %s", got.raw)
	}
	got = a.want(200, "PATCH", path, `{"manual_retry_limit":0,"enable_backlog":null}`)
	if got.str("settings", "manual_retry_limit") != "0" || got.str("effective", "manual_retry_limit") != "0" ||
		got.str("settings", "enable_backlog") != "" || got.str("settings", "name") != "Acme Ltd" {
		t.Errorf("a merge patch: %s", got.raw)
	}
	var seen []string
	for _, c := range a.entries("action=tenant.settings")[0].Changes {
		seen = append(seen, c.Field)
	}
	if s := strings.Join(seen, " "); s != "manual_retry_limit enable_backlog" {
		t.Errorf("the audit log tells of changes of %s", s)
	}
	for body, field := range map[string]string{`{"manual_retry_limit":-1}`: "manual_retry_limit",
		`{"bulk_retry_limit":0}`: "bulk_retry_limit", `{"signature":"md5"}`: "signature",
		`{"header_prefix":"x acme"}`: "header_prefix", `{"retry_on":["nope"]}`: "retry_on[0]",
		`{"retention_days":0}`: "retention_days", `{"retention_days":31}`: "retention_days",
		`{"redact_fields":["a..b"]}`: "redact_fields[0]", `{"redact_headers":["x y"]}`: "redact_headers[0]", `{"redact_query":[""]}`: "redact_query[0]",
		`{"enable_backlog":"ask"}`: "enable_backlog"} {
		if o := a.do("PATCH", path, body); o.status != 422 || o.str("fields", field) == "" {
			t.Errorf("%s: %d %s", body, o.status, o.raw)
		}
	}
	// A tenant reads its settings, and does not lift its own limits.
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	if o := token.want(200, "GET", path, nil); o.str("effective", "name") != "Acme Ltd" {
		t.Errorf("the tenant reads %s", o.raw)
	}
	token.want(403, "PATCH", path, `{"manual_retry_limit":100}`)
	a.want(404, "GET", "/tenants/nobody/settings", nil)

	v := a.visitor()
	p := v.get("/t/acme/settings/tenant")
	if p.value("name") != "Acme Ltd" || p.value("manual_retry_limit") != "0" || p.value("bulk_retry_limit") != "" ||
		p.value("retry_on") != "5xx, timeout" || p.value("signature") != "outpost" {
		t.Errorf("the form has %q, %q, %q, %q", p.value("name"), p.value("manual_retry_limit"), p.value("bulk_retry_limit"),
			p.value("retry_on"))
	}
	p.says("When empty: 100,000.")
	v.post("/t/acme/settings/tenant", "name", "Acme", "bulk_retry_limit", "many").refused(422, "bulk_retry_limit", "must be a whole number")
	v.post("/t/acme/settings/tenant", "name", "Acme", "retention_days", "7", "erase_delivered", "true",
		"redact_fields", "customer.email, items[*].name", "redact_headers", "X-User").says("The settings were saved.")
	if got := a.want(200, "GET", path, nil); got.str("effective", "retention_days") != "7" || got.str("effective", "erase_delivered") != "true" ||
		got.str("effective", "redact_fields") != "[customer.email items[*].name]" || got.str("effective", "redact_headers") != "[X-User]" {
		t.Errorf("what is kept: %s", got.raw)
	}
	v.post("/t/acme/settings/tenant", "name", "Acme", "bulk_retry_limit", "500").says("The settings were saved.")
	if got := a.want(200, "GET", path, nil); got.str("settings") != "map[bulk_retry_limit:500 name:Acme]" {
		t.Errorf("after the form: %s", got.raw)
	}
}

// TestDestinationLimit: a tenant gets no more destinations than the server's limit, unless it has one of its own. One that is
// deleted makes room.
func TestDestinationLimit(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.DestinationLimit = 2 })
	a.want(201, "PUT", "/tenants/acme", nil)
	const body = `{"type":"webhook","topics":"*","config":{"url":"https://example.com/"}}`
	first := a.want(201, "POST", "/tenants/acme/destinations", body)
	a.want(201, "POST", "/tenants/acme/destinations", body)
	refused := a.want(422, "POST", "/tenants/acme/destinations", body)
	if refused.str("fields", "destination_limit") != "is reached: 2" || !strings.Contains(refused.str("message"), "DESTINATION_LIMIT") {
		t.Errorf("refused with %s", refused.raw)
	}
	a.want(200, "DELETE", "/tenants/acme/destinations/"+first.str("id"), nil)
	a.want(201, "POST", "/tenants/acme/destinations", body)
	a.want(422, "POST", "/tenants/acme/destinations", body)
	got := a.want(200, "PATCH", "/tenants/acme/settings", `{"destination_limit":3}`)
	if got.str("effective", "destination_limit") != "3" {
		t.Errorf("the settings are %s", got.raw)
	}
	a.want(201, "POST", "/tenants/acme/destinations", body)
	a.want(422, "POST", "/tenants/acme/destinations", body)
	a.want(200, "PATCH", "/tenants/acme/settings", `{"destination_limit":0}`)
	a.want(201, "POST", "/tenants/acme/destinations", body)
	if o := a.do("PATCH", "/tenants/acme/settings", `{"destination_limit":-1}`); o.status != 422 || o.str("fields", "destination_limit") == "" {
		t.Errorf("a negative limit: %d %s", o.status, o.raw)
	}
	a.want(201, "PUT", "/tenants/other", nil)
	a.want(201, "POST", "/tenants/other/destinations", body)

	v := a.visitor()
	v.get("/t/acme/settings/tenant").says("When empty: 2.")
	v.post("/t/acme/settings/tenant", "destination_limit", "1").says("The settings were saved.")
}

// TestPortalLinks makes links of several kinds, lists and revokes them, and opens them.
func TestPortalLinks(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	const path = "/tenants/acme/portal-links"
	open := func(link answer) int {
		t.Helper()
		return a.stranger().send("POST", strings.TrimPrefix(link.str("url"), a.Cfg.BaseURL), nil).status
	}
	once := a.want(201, "POST", path, nil)
	many := a.want(201, "POST", path, `{"theme":"dark","expires_in":"48h","single_use":false}`)
	if !strings.HasPrefix(once.str("url"), a.Cfg.BaseURL+"/p/") || once.str("single_use") != "true" || once.str("expires_at") == "" ||
		many.str("theme") != "dark" {
		t.Errorf("%s %s", once.raw, many.raw)
	}
	live := a.want(200, "GET", path, nil)
	token := once.str("url")[strings.LastIndexByte(once.str("url"), '/')+1:]
	if len(live.list()) != 2 || strings.Contains(live.raw, token) || live.str("models", "0", "id") != many.str("id") ||
		live.str("models", "0", "created_by") != "API_KEY" {
		t.Errorf("the list is %s", live.raw)
	}
	if open(once) != 200 || open(once) != 404 || open(many) != 200 || open(many) != 200 {
		t.Error("a link opens the dashboard once, or as often as it is to")
	}
	if live := a.want(200, "GET", path, nil); len(live.list()) != 1 {
		t.Errorf("one is used up: %s", live.raw)
	}
	a.want(200, "DELETE", path+"/"+many.str("id"), nil)
	if open(many) != 404 {
		t.Error("a revoked link opens the dashboard")
	}
	a.want(404, "DELETE", path+"/"+many.str("id"), nil)
	a.want(404, "DELETE", path+"/plk_x", nil)
	a.entry("portal_link.create", many.str("id"))
	a.entry("portal_link.revoke", many.str("id"))
	for body, field := range map[string]string{`{"theme":"pink"}`: "theme", `{"expires_in":"10s"}`: "expires_in",
		`{"expires_in":"1000h"}`: "expires_in"} {
		if o := a.do("POST", path, body); o.status != 422 || o.str("fields", field) == "" {
			t.Errorf("%s: %d %s", body, o.status, o.raw)
		}
	}
	a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token")).want(403, "POST", path, nil)
}

// TestTenantsOfAToken lists the one tenant that a token is of.
func TestTenantsOfAToken(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("other")
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	got := token.want(200, "GET", "/tenants", nil)
	if len(got.list()) != 1 || got.str("models", "0", "id") != "acme" || got.str("count") != "1" {
		t.Errorf("the list is %s", got.raw)
	}
	if got := token.want(200, "GET", "/tenants?id=other", nil); len(got.list()) != 0 {
		t.Errorf("another tenant: %s", got.raw)
	}
	if got := a.want(200, "GET", "/destination-types/hookdeck", nil); got.str("setup_link",
		"href") != "https://dashboard.hookdeck.com/connect" || got.str("setup_link", "cta") == "" {
		t.Errorf("where a type is set up: %s", got.raw)
	}
}

// TestNameOfATenant gives a tenant a name, by which people find it.
func TestNameOfATenant(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("t-17")
	a.tenant("other")
	if name := a.want(200, "GET", "/tenants/t-17", nil).str("name"); name != "t-17" {
		t.Errorf("without a name it is called %q", name)
	}
	a.want(200, "PATCH", "/tenants/t-17/settings", `{"name":"Acme & Sons"}`)
	if name := a.want(200, "GET", "/tenants/t-17", nil).str("name"); name != "Acme & Sons" {
		t.Errorf("it is called %q", name)
	}
	v := a.visitor()
	p := v.get("/tenants?q=sons")
	p.says("Acme & Sons")
	p.says("t-17")
	if strings.Contains(p.text("tbody"), "other") {
		t.Error("the search for a name finds another tenant")
	}
	if p := v.get("/t/t-17"); !strings.Contains(p.text("header, nav, .rail, body"), "Acme & Sons") {
		t.Error("a page of the tenant does not have its name")
	}
}

// TestTenantSettingsTellTheServersDefaults: what an empty field stands for is what this server is set to, not what any server is.
func TestTenantSettingsTellTheServersDefaults(t *testing.T) {
	t.Parallel()
	a := newProcessOf(t, testConfigOf(t, map[string]string{"ENABLE_BACKLOG": "keep", "WEBHOOK_SIGNATURE": "outpost",
		"WEBHOOK_HEADER_PREFIX": "x-acme-", "BULK_RETRY_LIMIT": "25000"}, nil))
	a.tenant("acme")
	p := a.visitor().get("/t/acme/settings/tenant")
	for _, text := range []string{"The server's default: Outpost", "The server's default: keep it held", "When empty: x-acme-.", "When empty: 25,000."} {
		p.says(text)
	}
}

// TestTopicRetention sets for how long topics are kept, for the server and for a tenant, by the API and on pages.
func TestTopicRetention(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	if out := a.want(200, "GET", "/server/topic-retention", nil); out.num("retention_days") != 30 || len(out.body["topics"].([]any)) != 0 {
		t.Errorf("%s", out.raw)
	}
	a.want(200, "PUT", "/server/topic-retention", `{"topics":[{"topic":"login.*","days":7}]}`)
	a.audited("retention.update", "", "")
	for body, field := range map[string]string{
		`{}`: "topics", `{"topics":[{"topic":"a b","days":7}]}`: "topics[0].topic", `{"topics":[{"topic":"a","days":31}]}`: "topics[0].days",
		`{"topics":[{"topic":"a","days":0}]}`: "topics[0].days", `{"topics":[{"topic":"a","days":1},{"topic":"a","days":2}]}`: "topics[1].topic",
		`{"topics":[{"days":1}]}`: "topics[0].topic",
	} {
		if out := a.do("PUT", "/server/topic-retention", body); out.status != 422 || out.str("fields", field) == "" {
			t.Errorf("%s: %d %s", body, out.status, out.raw)
		}
	}
	own := a.as(a.want(201, "POST", "/api-keys", `{"name":"k","scopes":["read","admin"],"tenant_id":"acme"}`).str("key"))
	if out := own.do("PUT", "/server/topic-retention", `{"topics":[]}`); out.status != 403 {
		t.Errorf("a tenant's key changes the server's rules: %d %s", out.status, out.raw)
	}
	out := a.want(200, "PATCH", "/tenants/acme/settings", `{"topic_retention":[{"topic":"order.*","days":2}]}`)
	if out.str("settings", "topic_retention", "0", "topic") != "order.*" || out.str("effective", "topic_retention", "0", "topic") != "login.*" ||
		out.str("effective", "topic_retention", "1", "topic") != "order.*" {
		t.Errorf("%s", out.raw)
	}
	a.audited("tenant.settings", "acme", "")
	if out := a.do("PATCH", "/tenants/acme/settings", `{"topic_retention":[{"topic":"order.*","days":99}]}`); out.status != 422 ||
		!strings.Contains(out.str("fields", "topic_retention[0].days"), "between 1 and 30") {
		t.Errorf("%d %s", out.status, out.raw)
	}

	v := a.visitor()
	v.get("/t/acme/topics").says("Retention by topic")
	if text := v.get("/server/topic-retention").text("[name=topics]"); text != "login.*: 7" {
		t.Errorf("the form has %q", text)
	}
	v.post("/server/topic-retention", "topics", "login.*: 7\nurn:order:paid: 3\n")
	if out := a.want(200, "GET", "/server/topic-retention", nil); out.str("topics", "1", "topic") != "urn:order:paid" || out.str("topics", "1", "days") != "3" {
		t.Errorf("%s", out.raw)
	}
	for text, says := range map[string]string{"login": "must be a topic and its days", "login: soon": "whole number of days",
		"a: 99": "a: days must be a whole number between 1 and 30"} {
		if p := v.post("/server/topic-retention", "topics", text); p.status != 422 || !strings.Contains(p.text("main"), says) {
			t.Errorf("%q: %d %s", text, p.status, p.text("main"))
		}
	}
	if text := v.get("/t/acme/settings/tenant").text("[name=topic_retention]"); text != "order.*: 2" {
		t.Errorf("the tenant's form has %q", text)
	}
	v.post("/t/acme/settings/tenant", "topic_retention", "order.*: 5")
	if out := a.want(200, "GET", "/tenants/acme/settings", nil); out.str("settings", "topic_retention", "0", "days") != "5" {
		t.Errorf("%s", out.raw)
	}
	if p := v.post("/t/acme/settings/tenant", "topic_retention", "order.*: 99"); p.status != 422 || !strings.Contains(p.text("main"), "order.*: days must be") {
		t.Errorf("%d %s", p.status, p.text("main"))
	}
	v.post("/t/acme/settings/tenant", "topic_retention", "")
	if out := a.want(200, "GET", "/tenants/acme/settings", nil); strings.Contains(out.raw, "order.*") {
		t.Errorf("%s", out.raw)
	}
}
