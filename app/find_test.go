package app

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
)

// foundBy is what a text leads to, as "group: id id".
func foundBy(t *testing.T, out answer) (groups map[string]string, all api.FindJSON) {
	t.Helper()
	if err := json.Unmarshal([]byte(out.raw), &all); err != nil || !all.Complete {
		t.Fatalf("%v: %s", err, out.raw)
	}
	groups = map[string]string{}
	for _, g := range all.Groups {
		var ids []string
		for _, f := range g.Items {
			ids = append(ids, f.ID)
		}
		groups[g.Group] = strings.Join(ids, " ")
		if g.More {
			groups[g.Group] += " …"
		}
	}
	return groups, all
}

// TestFind finds things by parts of their names, within what the caller sees.
func TestFind(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.Topics = nil })
	for _, id := range []string{"acme", "globex"} {
		a.tenant(id)
	}
	a.want(200, "PUT", "/tenants/globex", `{"metadata":{"owner":"Ann_Example 100%"}}`)
	a.want(200, "PATCH", "/tenants/globex/settings", `{"name":"Globex Corporation"}`)
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"legacy","name":"Legacy CRM","type":"webhook","topics":["order.*"],"config":{"url":"https://crm.example.com/hooks/t0psecret?key=hidden"}}`)
	a.want(201, "POST", "/tenants/globex/destinations",
		`{"id":"other","name":"Other CRM","type":"webhook","topics":["invoice.paid"],"config":{"url":"https://other.example.org/"}}`)
	for i := range 7 {
		a.want(201, "POST", "/tenants/globex/destinations", fmt.Sprintf(`{"id":"many-%d","type":"echo","topics":"*"}`, i))
	}
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	for _, c := range []struct {
		who   *testApp
		query string
		want  map[string]string
	}{
		{a, "q=CRM", map[string]string{"destinations": "legacy other"}},
		{a, "q=crm.example", map[string]string{"destinations": "legacy"}},
		{a, "q=other+crm", map[string]string{"destinations": "other"}},
		{a, "q=t0psecret", map[string]string{}},
		{a, "q=hidden", map[string]string{}},
		{a, "q=webhook", map[string]string{"destinations": "legacy other"}},
		{a, "q=many", map[string]string{"destinations": "many-0 many-1 many-2 many-3 many-4 …"}},
		{a, "q=%25", map[string]string{"tenants": "globex"}},
		{a, "q=n_example", map[string]string{"tenants": "globex"}},
		{a, "q=corporation", map[string]string{"tenants": "globex"}},
		{a, "q=acme", map[string]string{"tenants": "acme"}},
		{a, "q=order", map[string]string{"topics": "order.*"}},
		{a, "q=invoice&tenant_id=acme", map[string]string{}},
		{a, "q=crm&tenant_id=acme", map[string]string{"destinations": "legacy"}},
		{token, "q=crm", map[string]string{"destinations": "legacy"}},
		{token, "q=globex", map[string]string{}},
		{token, "q=other", map[string]string{}},
		{token, "q=invoice", map[string]string{}},
		{token, "q=_operators", map[string]string{}},
		{a, "q=legacy", map[string]string{"ids": "legacy", "destinations": "legacy"}},
	} {
		got, _ := foundBy(t, c.who.want(200, "GET", "/find?"+c.query, nil))
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.query, got, c.want)
		}
	}
	for query, status := range map[string]int{"": 422, "?q=": 422, "?q=" + strings.Repeat("x", 201): 422, "?q=x&tenant_id=nobody": 404} {
		a.want(status, "GET", "/find"+query, nil)
	}
	token.want(404, "GET", "/find?q=crm&tenant_id=globex", nil)

	v, portal := a.visitor(), a.portal("acme")
	if p := v.send("GET", "/find/names?q=crm", nil); p.status != 200 || !strings.Contains(p.Text(), `"other"`) ||
		p.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", p.status, p.Text())
	}
	if p := portal.send("GET", "/t/acme/find/names?q=crm", nil); p.status != 200 || strings.Contains(p.Text(), `"other"`) ||
		!strings.Contains(p.Text(), `"legacy"`) {
		t.Errorf("%d %s", p.status, p.Text())
	}
	if p := portal.send("GET", "/find/names?q=crm", nil); p.status != 403 {
		t.Errorf("a portal visitor finds everything: %d", p.status)
	}
}

// TestFindByID finds whatever has an id, and leads to it; not for those who may not see it.
func TestFindByID(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	ids := everyID(a)
	token := a.as(a.want(200, "GET", "/tenants/globex/token", nil).str("token"))
	for name, kind := range map[string]string{"{event}": "event", "{destination}": "destination", "{delivery}": "delivery",
		"{attempt}": "attempt", "{retry}": "retry", "{rule}": "alert_rule",
		"{channel}": "channel", "{notification}": "notification", "{entry}": "audit_entry"} {
		id := ids[name]
		_, all := foundBy(t, a.want(200, "GET", "/find?q="+id, nil))
		if len(all.Groups) == 0 || all.Groups[0].Group != "ids" || len(all.Groups[0].Items) != 1 || all.Groups[0].Items[0].Kind != kind ||
			all.Groups[0].Items[0].ID != id || all.Groups[0].Items[0].Title == "" {
			t.Errorf("%s %s: %+v", name, id, all)
			continue
		}
		to := all.Groups[0].Items[0].Links.Self
		if out := a.want(200, "GET", strings.TrimPrefix(to, api.APIPrefix), nil); out.str("id") != id {
			t.Errorf("%s leads to %s", to, out.raw)
		}
		if _, all := foundBy(t, token.want(200, "GET", "/find?q="+id, nil)); len(all.Groups) > 0 {
			t.Errorf("another tenant finds %s: %+v", name, all)
		}
	}
}

// TestFindAmongMany: with many destinations everything is looked through.
func TestFindAmongMany(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.exec(`insert into destinations (tenant_key, id, type, name, topics, config) select t.key, 'd-' || g, 'webhook', 'Shop ' || g, '["*"]', jsonb_build_object('url', 'https://shop-' || g || '.example.com/hook')
		from tenants t, generate_series(1, 10000) g where t.id = 'acme'`)
	if got, _ := foundBy(t, a.want(200, "GET", "/find?q=shop-9876", nil)); got["destinations"] != "d-9876" {
		t.Errorf("%v", got)
	}
	if got, _ := foundBy(t, a.want(200, "GET", "/find?q=shop", nil)); !strings.HasSuffix(got["destinations"], "…") {
		t.Errorf("%v", got)
	}
}
