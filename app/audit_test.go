package app

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// entries are the entries that the audit log answers, newest first.
func (a *testApp) entries(query string) []auditEntry {
	a.Helper()
	var out struct{ Models []auditEntry }
	if err := json.Unmarshal([]byte(a.want(200, "GET", "/audit?"+query, nil).raw), &out); err != nil {
		a.Fatal(err)
	}
	return out.Models
}

// entry is the only entry of an action on an object.
func (a *testApp) entry(action, object string) auditEntry {
	a.Helper()
	list := a.entries("action=" + action + "&object=" + object)
	if len(list) != 1 {
		a.Fatalf("%d entries of %s on %s: %+v", len(list), action, object, list)
	}
	return list[0]
}

// auditEntry is an entry of the audit log as the API shows it.
type auditEntry struct{ api.AuditJSON }

// changed is what an entry says about a field, as "from -> to"; empty for nothing.
func (j auditEntry) changed(field string) string {
	for _, c := range j.Changes {
		if c.Field == field {
			return models.ChangeText(c.From) + " -> " + models.ChangeText(c.To)
		}
	}
	return ""
}

func (j auditEntry) fields() []string {
	var out []string
	for _, c := range j.Changes {
		out = append(out, c.Field)
	}
	return out
}

func TestAuditTellsWhatChanged(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", map[string]any{"metadata": map[string]string{"plan": "free"}})
	const path = "/tenants/acme/destinations/hook"
	made := a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"hook","type":"webhook","topics":"*","config":{"url":"https://example.com/a","custom_headers":{"X-Token":"planted-header"}}}`)
	updated := a.want(200, "PATCH", path, `{"topics":["order.paid"],"filter":{"total":{"$gte":10}},"timeout":"2s","ordered":true,
		"config":{"url":"https://example.com/b","custom_headers":{"X-Token":"another-header","X-New":"new-header"}},"metadata":{"owner":"ann"}}`)
	e := a.entry("destination.update", "hook")
	for field, want := range map[string]string{"topics": "* -> order.paid", "filter": ` -> {"total":{"$gte":10}}`, "timeout": " -> 2s",
		"ordered":    "false -> true",
		"config.url": "https://example.com/a -> https://example.com/b", "config.custom_headers.X-Token": "•••••• -> ••••••",
		"config.custom_headers.X-New": " -> ••••••", "metadata.owner": " -> ann"} {
		if got := e.changed(field); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	if len(e.Changes) != 8 {
		t.Errorf("%v", e.fields())
	}
	if e.Actor != "API_KEY" || e.ActorKind != "api_key" || e.TenantID == nil || *e.TenantID != "acme" || e.Outcome != "ok" ||
		e.IP != "127.0.0.1" ||
		e.RequestID != updated.header.Get("X-Request-Id") || time.Since(e.Time) > time.Minute {
		t.Errorf("%+v", e)
	}
	if one := a.want(200, "GET", "/audit/"+e.ID, nil); one.str("action") != "destination.update" || one.str("changes", "0", "field") == "" {
		t.Errorf("%s", one.raw)
	}

	if e = a.entry("destination.create", "hook"); e.changed("type") != " -> webhook" || e.changed("credentials.secret") != " -> ••••••" ||
		e.changed("ordered") != "" {
		t.Errorf("create: %+v", e.Changes)
	}
	a.want(200, "POST", path+"/secrets/rotate", nil)
	if e = a.entry("destination.rotate_secret", "hook"); e.changed("credentials.secret") != "•••••• -> ••••••" ||
		e.Detail["overlap"] != "24h" {
		t.Errorf("rotate: %+v", e)
	}
	a.want(200, "POST", path+"/secrets/reveal", nil)
	if e = a.entry("destination.reveal_secret", "hook"); e.Changes != nil {
		t.Errorf("reveal: %+v", e)
	}
	a.want(200, "PUT", path+"/disable", `{"reason":"maintenance"}`)
	if e = a.entry("destination.disable", "hook"); e.Detail["reason"] != "maintenance" ||
		e.changed("disabled_reason") != " -> maintenance" {
		t.Errorf("disable: %+v", e)
	}
	a.want(202, "POST", path+"/backlog", `{"action":"drop"}`)
	if e = a.entry("destination.backlog", "hook"); e.Detail["action"] != "drop" || e.Detail["count"] != 0.0 {
		t.Errorf("backlog: %+v", e)
	}
	a.want(200, "DELETE", path, nil)
	if e = a.entry("destination.delete", "hook"); e.Detail["type"] != "webhook" || e.Detail["name"] == "" {
		t.Errorf("delete: %+v", e)
	}

	a.want(200, "PUT", "/tenants/acme", map[string]any{"metadata": map[string]string{"plan": "paid"}})
	a.want(200, "PUT", "/tenants/acme", map[string]any{"metadata": map[string]string{"plan": "paid"}}) // the same again
	if e = a.entry("tenant.update", "acme"); e.changed("metadata.plan") != "free -> paid" {
		t.Errorf("tenant: %+v", e)
	}

	rule := a.want(201, "POST", "/tenants/acme/alert-rules", `{"name":"Three","when":{"consecutive_failures":3}}`).str("id")
	a.want(200, "PATCH", "/tenants/acme/alert-rules/"+rule, `{"when":{"consecutive_failures":5},"channel_ids":[],"disabled":true}`)
	e = a.entry("alert_rule.update", rule)
	if e.changed("when") != "3 deliveries in a row failed -> 5 deliveries in a row failed" || e.changed("channel_ids") != "all -> none" ||
		e.changed("disabled") != "false -> true" || len(e.Changes) != 3 {
		t.Errorf("rule: %+v", e.Changes)
	}

	channel := a.want(201, "POST", "/channels",
		`{"name":"Chat","type":"slack","config":{"url":"https://hooks.slack.com/services/T0/B0/planted"}}`).str("id")
	a.want(200, "PATCH", "/channels/"+channel, `{"name":"Talk","config":{"url":"https://hooks.slack.com/services/T0/B0/another"}}`)
	if e = a.entry("channel.update", channel); e.changed("name") != "Chat -> Talk" || e.changed("config.url") != "•••••• -> ••••••" ||
		len(e.Changes) != 2 || e.TenantID != nil {
		t.Errorf("channel: %+v", e)
	}

	a.want(200, "PUT", "/topics/order.paid", `{"description":"Paid","example":{"total":1}}`)
	a.want(200, "PUT", "/topics/order.paid", `{"description":"It was paid","example":{"total":1}}`)
	if e = a.entry("topic.update", "order.paid"); e.changed("description") != "Paid -> It was paid" || len(e.Changes) != 1 {
		t.Errorf("topic: %+v", e)
	}
	key := a.want(201, "POST", "/api-keys", `{"name":"ci","scopes":["read"],"tenant_id":"acme"}`)
	a.want(200, "DELETE", "/api-keys/"+key.str("id"), nil)
	if e = a.entry("api_key.revoke", key.str("id")); e.Detail["name"] != "ci" || e.TenantID == nil || *e.TenantID != "acme" {
		t.Errorf("key: %+v", e)
	}
	for _, secret := range []string{made.str("credentials", "secret"), "planted", "another-header", "new-header", "/another",
		key.str("key")} {
		if log := a.want(200, "GET", "/audit?limit=1000", nil).raw; strings.Contains(log, secret) {
			t.Errorf("the audit log shows %q", secret)
		}
	}
}

func TestAuditOfLoginsAndRetries(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.ManualRetryLimit = 1 })
	a.tenant("acme")
	a.visitor()
	v := a.stranger()
	v.post("/login", "email", "ann@example.com", "password", "wrong")
	v.post("/login", "email", "hunter2-typed-into-the-wrong-field", "password", "")
	failed := a.entries("action=session.login&outcome=failed")
	if len(failed) != 2 || failed[1].Actor != "ann@example.com" || failed[1].ActorKind != "visitor" ||
		failed[1].Error != "Email or password is not right." || failed[1].IP == "" {
		t.Errorf("%+v", failed)
	}
	if strings.Contains(fmt.Sprint(failed[0]), "hunter2") {
		t.Errorf("what may be a password was kept: %+v", failed[0])
	}
	for range 2 * models.FreeTries {
		v.post("/login", "email", "ann@example.com", "password", "wrong")
	}
	// The tries of this name, the one of another, and once that there are no more of them.
	if failed = a.entries("action=session.login&outcome=failed&limit=1000"); len(failed) != models.FreeTries+2 ||
		!strings.HasPrefix(failed[0].Error, "Too many tries.") {
		t.Errorf("%d entries: %+v", len(failed), failed[0])
	}
	a.portal("acme")
	if e := a.entry("session.portal", "acme"); e.ActorKind != "portal" || *e.TenantID != "acme" {
		t.Errorf("%+v", e)
	}

	a.want(200, "POST", "/publish", `{"tenant_id":"acme","id":"e1","data":{}}`, "Prefer", "wait=10")
	retry := `{"event_id":"e1","destination_id":"inbox"}`
	a.want(200, "POST", "/retry", retry, "Prefer", "wait=10")
	a.want(429, "POST", "/retry", retry)
	list := a.entries("action=delivery.retry")
	if len(list) != 2 || list[1].Outcome != "ok" || list[1].Detail["event"] != "e1" || list[0].Outcome != "failed" || list[0].Error == "" ||
		list[0].Object != list[1].Object {
		t.Errorf("%+v", list)
	}
}

func TestAuditIsFilteredAndPaged(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	for i := range 5 {
		a.want(200, "PATCH", "/tenants/acme/destinations/inbox", map[string]string{"name": fmt.Sprintf("Näme \"%d\"", i)})
	}
	var seen []string
	path := "/audit?tenant_id=acme&limit=3"
	for next := ""; ; {
		out := a.want(200, "GET", path+next, nil)
		for i := range len(out.body["models"].([]any)) {
			seen = append(seen, out.str("models", fmt.Sprint(i), "action"))
		}
		if out.str("pagination", "next") == "" {
			break
		}
		if len(seen) == 3 {
			a.want(200, "PUT", "/tenants/acme/destinations/inbox/disable", nil) // must not move the pages
		}
		next = "&next=" + out.str("pagination", "next")
	}
	if want := []string{"destination.update", "destination.update", "destination.update", "destination.update", "destination.update",
		"destination.create", "tenant.create"}; !slices.Equal(seen, want) {
		t.Errorf("%v", seen)
	}
	if list := a.entries("tenant_id=acme&dir=asc&limit=1"); list[0].Action != "tenant.create" {
		t.Errorf("oldest first: %+v", list)
	}
	update := a.entries("action=destination.update")
	at := update[2].Time.Format(time.RFC3339Nano)
	for query, want := range map[string]int{
		"action=destination.*": 7, "action=tenant.create,destination.create": 2, "action=destination.updat": 0, "actor=API_KEY": 8,
		"actor=api_key": 0, "actor_type=api_key": 8, "actor_type=user": 0,
		"object=inbox": 7, "object=acme": 1, "outcome=ok": 8, "outcome=failed": 0, "ip=127.0.0.1": 8, "ip=10.0.0.1": 0,
		"request_id=" + update[0].RequestID: 1,
		"q=n%C3%A4me+%223%22":               2, "q=DESTINATION.up": 5, "q=nothing+like+this": 0, "q=%25": 0, "since=2100-01-01": 0, "until=2020-01-01": 0,
		"tenant_id=acme&q=acme": 8,
	} {
		if got := len(a.entries(query)); got != want {
			t.Errorf("%s: %d entries, want %d", query, got, want)
		}
	}
	if n, m := len(a.entries("since="+at)), len(a.entries("until="+at)); n+m != 8 || n < 4 {
		t.Errorf("since the third update %d, until then %d", n, m)
	}
	for query, field := range map[string]string{"outcome=maybe": "outcome", "actor_type=robot": "actor_type", "since=yesterday": "since",
		"limit=0x": "limit", "colour=red": "colour"} {
		if out := a.do("GET", "/audit?"+query, nil); out.status != 400 && out.status != 422 || out.str("fields", field) == "" {
			t.Errorf("%s: %d %s", query, out.status, out.raw)
		}
	}
	a.want(404, "GET", "/audit/aud_0123456789abcdef0123456789abcdef", nil)
	a.want(404, "GET", "/audit/nonsense", nil)
	a.want(404, "GET", "/audit?tenant_id=nobody", nil)
}

func TestAuditOfOtherTenants(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	a.want(201, "POST", "/channels", `{"type":"email","config":{"to":"ops@example.com"}}`)
	theirs := a.entry("tenant.create", "globex")
	server := a.entries("action=channel.create")[0]
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	reader := a.as(a.want(201, "POST", "/api-keys", `{"name":"reader","scopes":["read"]}`).str("key"))
	if list := token.entries(""); len(list) != 2 {
		t.Errorf("a tenant sees %d entries: %+v", len(list), list)
	}
	for _, id := range []string{theirs.ID, server.ID} {
		token.want(404, "GET", "/audit/"+id, nil)
		token.want(200, "GET", "/audit/"+token.entries("")[0].ID, nil)
	}
	for _, query := range []string{"tenant_id=globex", "tenant_id=globex&format=csv"} {
		token.want(404, "GET", "/audit/export?"+query, nil)
	}
	token.want(404, "GET", "/audit?tenant_id=globex", nil)
	if out := token.want(200, "GET", "/audit/export", nil); strings.Contains(out.raw, "globex") || strings.Count(out.raw, "\n") != 2 {
		t.Errorf("the export of a tenant: %s", out.raw)
	}
	// Who logged in where is for administrators; what was done to a tenant is for whoever may read it.
	for _, path := range []string{"/audit", "/audit/export", "/audit/" + theirs.ID} {
		if out := reader.want(403, "GET", path, nil); !strings.Contains(out.raw, "tenant_id") {
			t.Errorf("%s: %s", path, out.raw)
		}
	}
	reader.want(200, "GET", "/audit/"+theirs.ID+"?tenant_id=globex", nil)
	reader.want(404, "GET", "/audit/"+theirs.ID+"?tenant_id=acme", nil)
	if list := reader.entries("tenant_id=globex"); len(list) != 2 {
		t.Errorf("%+v", list)
	}
	// A tenant that is made anew is another one.
	a.want(200, "DELETE", "/tenants/globex", nil)
	a.tenant("globex")
	if list := a.entries("tenant_id=globex"); len(list) != 2 {
		t.Errorf("a new tenant has a past: %+v", list)
	}
	if list := a.entries("object=globex"); len(list) != 3 {
		t.Errorf("operators see what became of the old one: %+v", list)
	}
}

// TestAuditSearchIsBounded looks for an entry behind a hundred thousand others: page by page, and in an export in one go.
func TestAuditSearchIsBounded(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	_, err := a.db.Exec(t.Context(), `insert into audit (id, actor, action, object)
		select ('01000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'ann', 'topic.update', case when i = 1 then 'needle' else 'hay' end from generate_series(1, 100050) i`)
	if err != nil {
		t.Fatal(err)
	}
	first := a.want(200, "GET", "/audit?q=needle", nil)
	if len(first.body["models"].([]any)) != 0 || first.str("pagination", "next") == "" {
		t.Fatalf("%.300s", first.raw)
	}
	second := a.want(200, "GET", "/audit?q=needle&next="+first.str("pagination", "next"), nil)
	if second.str("models", "0", "object") != "needle" || second.str("pagination", "next") != "" {
		t.Errorf("%.300s", second.raw)
	}
	if back := a.want(200, "GET", "/audit?q=needle&prev="+second.str("pagination", "prev"), nil); len(back.body["models"].([]any)) != 0 ||
		back.str("pagination", "prev") == "" {
		t.Errorf("%.300s", back.raw)
	}
	if out := a.want(200, "GET", "/audit/export?q=needle", nil); strings.Count(out.raw, "\n") != 1 {
		t.Errorf("%.300s", out.raw)
	}
	v := a.visitor()
	p := v.get("/audit?q=needle")
	p.says("None of the entries that were searched. There are older ones.")
	v.get(p.Find(`main a:contains("Search older entries")`).AttrOr("href", "")).says("needle")
}

func TestAuditExport(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.stranger().post("/login", "email", "=cmd|'/c calc'!a0@example.com", "password", "x") // is an address by RFC 5322
	const n = 2*models.MaxLimit + 50                                                       // several pages of it
	_, err := a.db.Exec(t.Context(), `insert into audit (id, actor, action, object, detail)
		select ('01000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, '-1+1', 'topic.update', 'x', '{"changes": [{"field": "a", "from": "<b>\n\"q\"", "to": null}]}' from generate_series(1, $1::int) i`, n)
	if err != nil {
		t.Fatal(err)
	}
	out := a.want(200, "GET", "/audit/export?format=csv&action=topic.update&dir=asc", nil)
	if ct, cd := out.header.Get("Content-Type"), out.header.Get("Content-Disposition"); !strings.HasPrefix(ct, "text/csv") ||
		!strings.HasPrefix(cd, `attachment; filename="audit-`) {
		t.Errorf("%s %s", ct, cd)
	}
	rows, err := csv.NewReader(strings.NewReader(out.raw)).ReadAll()
	if err != nil || len(rows) != n+1 || !slices.Equal(rows[0], api.AuditColumns) {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if r := rows[1]; r[1] != "aud_01000000000070008000000000000001" || r[3] != "'-1+1" ||
		r[11] != `[{"field":"a","from":"<b>\n\"q\"","to":null}]` || r[12] != "{}" {
		t.Errorf("%q", r)
	}
	lines := strings.Split(strings.TrimSpace(a.want(200, "GET", "/audit/export?format=jsonl", nil).raw), "\n")
	ids := map[string]bool{}
	for _, l := range lines {
		var j auditEntry
		if err := json.Unmarshal([]byte(l), &j); err != nil {
			t.Fatalf("%v: %s", err, l)
		}
		ids[j.ID] = true
	}
	if len(lines) != n+3 || len(ids) != n+3 {
		t.Errorf("%d lines, %d ids", len(lines), len(ids))
	}
	login := a.want(200, "GET", "/audit/export?format=csv&action=session.login", nil)
	if rows, err := csv.NewReader(strings.NewReader(login.raw)).ReadAll(); err != nil || len(rows) != 2 ||
		strings.HasPrefix(rows[1][3], "=") {
		t.Errorf("%v %v", rows, err)
	}
	for query, field := range map[string]string{"format=xls": "format", "outcome=x": "outcome", "since=x": "since", "limit=1": "limit"} {
		if out := a.do("GET", "/audit/export?"+query, nil); out.status < 400 || out.status > 422 || out.str("fields", field) == "" {
			t.Errorf("%s: %d %s", query, out.status, out.raw)
		}
	}
}
