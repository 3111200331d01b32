package app

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"github.com/waybill-dev/waybill/app/api"
)

// TestTenantsPage: who needs somebody comes first, in words, with numbers; other orders are a link away.
func TestTenantsPage(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.troubledTenants()
	v := a.visitor()
	rows := func(p page) string {
		var lines []string
		p.Find("tbody tr").Each(func(_ int, tr *goquery.Selection) {
			var cells []string
			tr.Find("td").Each(func(_ int, td *goquery.Selection) {
				cells = append(cells, strings.Join(strings.Fields(td.Text()), " "))
			})
			cells[len(cells)-1] = strings.TrimLeft(cells[len(cells)-1], "0123456789 ") // the age
			lines = append(lines, strings.Join(cells, "|"))
		})
		return strings.Join(lines, "\n")
	}
	want := strings.Join([]string{
		"1 failing, 1 disabled|failing|3|||1 event|50.0%|s",
		"1 disabled|off|2|1 held||1 event|100%|s",
		"Held|kept|2|2 held||2 events|100%|s",
		"Retrying|again|2|1 retrying||1 event|50.0%|s",
		"Healthy|busy|1|||3 events|100%|s",
		"Healthy|calm|1|||1 event|100%|s",
		"Quiet|quiet|1|||0 events|–|None",
	}, "\n")
	var p page
	got := ""
	a.until("the page lists tenants by trouble", func() bool {
		p = v.get("/tenants")
		got = rows(p)
		return got == want
	})
	if p.Find("tbody tr:first-child td > svg.spark.bad").Length() != 1 || p.Find("tbody tr:first-child td.d svg.spark.bad").Length() != 1 ||
		p.Find("tbody tr:last-child svg.spark").Length() != 0 {
		t.Error("sparklines: one for what has events, red for what fails, and in the line of a phone")
	}
	ids := func(p page) string {
		var list []string
		p.Find("tbody tr .row-link").Each(func(_ int, s *goquery.Selection) { list = append(list, s.Text()) })
		return strings.Join(list, " ")
	}
	// The API that the page names lists the same.
	out := a.want(200, "GET", p.Find(`link[rel=alternate]`).AttrOr("href", "")[len(api.APIPrefix):], nil)
	var listed []string
	for _, m := range out.list() {
		listed = append(listed, m.(map[string]any)["id"].(string))
	}
	if strings.Join(listed, " ") != ids(p) || !strings.Contains(out.raw, `"numbers"`) {
		t.Errorf("the API lists %v, the page %s", listed, ids(p))
	}
	for column, want := range map[string]string{"Tenant": "again busy calm failing kept off quiet",
		"Events, 24 hours": "busy kept failing off again calm quiet", "Last event": "busy again kept off failing calm quiet"} {
		link := p.Find("thead a").FilterFunction(func(_ int, s *goquery.Selection) bool { return strings.TrimSpace(s.Text()) == column })
		sorted := v.get(link.AttrOr("href", "none"))
		if ids(sorted) != want || sorted.Find("th[aria-sort]").Length() != 1 {
			t.Errorf("by %s: %s", column, ids(sorted))
		}
	}
	var paged []string
	for at := "/tenants?limit=3"; at != ""; {
		p := v.get(at)
		p.says("of 7 tenants shown")
		paged = append(paged, ids(p))
		at = p.Find(`a[rel="next"]`).AttrOr("href", "")
	}
	if got := strings.Join(paged, " "); got != "failing off kept again busy calm quiet" {
		t.Errorf("page by page: %s", got)
	}
	if p := v.send("GET", "/tenants?order_by=size", nil); p.status != 422 {
		t.Errorf("an order that there is not: %d", p.status)
	}
}

// TestEventsOfAllTenants: operators see the same list over all tenants, and narrow it to some.
func TestEventsOfAllTenants(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	v := a.visitor()
	v.get("/events").says("No events yet")
	a.want(200, "PATCH", "/tenants/globex/settings", `{"name":"Globex Logistics"}`)
	a.want(201, "POST", "/tenants/globex/destinations", `{"id":"broken","name":"Legacy CRM","type":"echo","topics":["bad"],"config":{"answer":"500"}}`)
	for _, e := range []string{`{"id":"a-1","tenant_id":"acme","topic":"good","data":{}}`, `{"id":"g-1","tenant_id":"globex","topic":"bad","data":{"x":"findme"}}`,
		`{"id":"a-2","tenant_id":"acme","topic":"good","data":{}}`} {
		a.want(202, "POST", "/publish", e)
	}
	a.eventually("/events/g-1/deliveries?tenant_id=globex", func(o answer) bool { return strings.Contains(o.raw, `"failed"`) })
	for query, want := range map[string]string{
		"":                                   "a-2 g-1 a-1",
		"?tenant_id=acme":                    "a-2 a-1",
		"?tenant_id=globex":                  "g-1",
		"?tenant_id=globex,acme&dir=asc":     "a-1 g-1 a-2",
		"?tenant_id=&status=failed":          "g-1",
		"?tenant_id=acme&status=failed":      "",
		"?q=findme":                          "g-1",
		"?destination_id=broken&range=24h":   "g-1",
		"?order_by=topic&dir=asc":            "g-1 a-1 a-2",
		"?tenant_id=globex&tenant_id=nobody": "g-1",
	} {
		p := v.get("/events" + query)
		if got := strings.Join(eventIDs(p), " "); got != want {
			t.Errorf("%s lists %q, want %q", query, got, want)
		}
		out := a.want(200, "GET", p.Find(`link[rel=alternate]`).AttrOr("href", "")[len(api.APIPrefix):], nil)
		var ids []string
		for _, m := range out.list() {
			ids = append(ids, m.(map[string]any)["id"].(string))
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s: the API that the page names lists %q, want %q", query, got, want)
		}
	}
	p := v.get("/events?tenant_id=globex&status=failed")
	p.says("Legacy CRM: 500")
	p.says("Tenant: Globex Logistics")
	if p.Find(`[aria-label="Filters in force"] a[href="/events?status=failed"]`).Length() != 1 || p.value("tenant_id") != "globex" {
		t.Error("the tenant is not shown as a condition, or no chip removes it")
	}
	row := p.Find("#row-g-1")
	if link := row.Find("a.rowlink"); link.AttrOr("href", "") != "/t/globex/events/g-1" || !strings.Contains(row.Text(), "globex") {
		t.Errorf("the row: %s", row.Text())
	}
	if p.Find("input[type=checkbox][name=event_id]").Length() != 0 || p.Find("svg .bar").Length() == 0 {
		t.Error("rows of several tenants can be selected, or there is no histogram")
	}
	if p.Find(`nav[aria-label="Main"] a[aria-current="page"]`).AttrOr("href", "") != "/events" {
		t.Error("the navigation does not say where this is")
	}

	// The inspector is of the event's tenant, and leads back here.
	panel := v.get(row.Find("a.rowlink").AttrOr("data-panel", ""))
	if panel.Find("[data-close]").AttrOr("href", "") != "/events?status=failed&tenant_id=globex" || panel.Find(`a[href="/t/globex/events/g-1"]`).Length() == 0 {
		t.Error("the inspector leads elsewhere")
	}
	beside := v.get("/events?tenant_id=globex&event=g-1")
	if beside.Find(`#inspect a[href="/t/globex/events/g-1"]`).Length() == 0 || beside.Find(`#inspect form[action="/t/globex/events/g-1/retry"]`).Length() != 1 {
		t.Error("the event beside the list is not that of its tenant")
	}

	// Counts, what is new and exports keep to the tenant.
	var counts map[string]struct{ Count int }
	a.readPart(v, p.Find("[data-counts]").AttrOr("data-counts", ""), &counts)
	if fmt.Sprint(counts["all"].Count, counts["failed"].Count, counts["held"].Count) != "1 1 0" {
		t.Errorf("counts: %v", counts)
	}
	if csv := v.send("GET", "/events/export?format=ndjson&tenant_id=globex", nil).Text(); strings.Count(csv, "\n") != 1 || !strings.Contains(csv, "g-1") {
		t.Errorf("export: %s", csv)
	}
	var fresh struct{ Cursor string }
	a.readPart(v, "/events/new?after=now&tenant_id=globex", &fresh)
	a.want(200, "POST", "/publish", `{"id":"a-3","tenant_id":"acme","topic":"good","data":{}}`, "Prefer", "wait=10")
	a.want(200, "POST", "/publish", `{"id":"g-2","tenant_id":"globex","topic":"good","data":{}}`, "Prefer", "wait=10")
	a.until("the new event of the tenant is told", func() bool {
		var n struct{ Count int }
		a.readPart(v, "/events/new?tenant_id=globex&after="+url.QueryEscape(fresh.Cursor), &n)
		if n.Count > 1 {
			t.Fatalf("%d new events, of another tenant too", n.Count)
		}
		return n.Count == 1
	})

	// A view of all tenants is saved and deleted here.
	saved := v.post("/events/views", "name", "Failed at Globex", "query", "status=failed&tenant_id=globex")
	if saved.path != "/events?status=failed&tenant_id=globex" {
		t.Errorf("a saved view leads to %s", saved.path)
	}
	gone := v.post(saved.Find(`form[action^="/events/views/"]`).AttrOr("action", "none"))
	if gone.path != "/events" || strings.Contains(gone.text("main"), "Failed at Globex") {
		t.Errorf("the view is still there, on %s", gone.path)
	}

	if p := v.send("GET", "/events?tenant_id=nobody", nil); p.status != 404 {
		t.Errorf("a tenant that there is not: %d", p.status)
	}
	portal := a.portal("acme")
	for _, path := range []string{"/events", "/events/counts", "/events/export?format=csv"} {
		if p := portal.send("GET", path, nil); p.status != 403 {
			t.Errorf("a portal visitor reads %s: %d", path, p.status)
		}
	}
	if p := portal.get("/t/acme"); p.Find(`a[href="/events"]`).Length() != 0 {
		t.Error("a portal visitor is led to the events of all tenants")
	}
}

// readPart reads what a page's script asks for.
func (a *testApp) readPart(v *visitor, path string, to any) {
	a.Helper()
	p := v.send("GET", path, nil)
	if err := json.Unmarshal([]byte(p.Text()), to); p.status != 200 || err != nil {
		a.Fatalf("%s: %d %v %s", path, p.status, err, p.Text())
	}
}

// TestPaletteLeadsToAllTenants: from a tenant's pages too, for operators alone.
func TestPaletteLeadsToAllTenants(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	for _, path := range []string{"/find?q=events", "/t/acme/find?q=events"} {
		if v.get(path).Find(`main a[href="/events"]`).Length() == 0 {
			t.Errorf("%s does not lead to the events of all tenants", path)
		}
	}
	if a.portal("acme").get("/t/acme/find?q=events").Find(`a[href="/events"]`).Length() != 0 {
		t.Error("a portal visitor finds them")
	}
}
