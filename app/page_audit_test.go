package app

import (
	"encoding/csv"
	"net/url"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
)

func TestAuditPages(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"name":"In","topics":["order.paid"],"metadata":{"owner":"ann"}}`)
	a.want(200, "PUT", "/tenants/acme/destinations/inbox/disable", `{"reason":"maintenance until Monday"}`)
	v := a.visitor()
	p := v.get("/t/acme/audit")
	if nav := p.Find(`nav[aria-label="Main"] a[aria-current="page"]`); strings.TrimSpace(nav.Text()) != "Audit log" {
		t.Errorf("the navigation is at %q", nav.Text())
	}
	p.says("Destination disabled maintenance until Monday")
	p.says("Destination changed name, topics, metadata.owner")
	p.says("API_KEY API key")
	p.says("127.0.0.1")
	p.says("4 entries shown. Entries are kept for good.")
	if strings.Contains(p.text("html"), "globex") {
		t.Error("another tenant is seen")
	}
	href, _ := p.Find("main td a").FilterFunction(func(_ int,
		s *goquery.Selection) bool {
		return strings.TrimSpace(s.Text()) == "Destination changed"
	}).Attr("href")
	entry := v.get(href)
	entry.says("nameNot setIn")
	entry.says("topics*order.paid")
	entry.says("metadata.ownerNot setann")
	if href := entry.Find(`main dd a[href="/t/acme/destinations/inbox"]`); href.Length() != 1 {
		t.Error("the object is no link")
	}
	about := v.get(entry.Find(`main a:contains("All entries about this object")`).AttrOr("href", ""))
	about.says("3 entries shown")
	about.says("Object: inbox")

	if p = v.get("/t/acme/audit?action=destination.disable&outcome=ok&q=monday&range=24h"); p.Find("main tbody tr").Length() != 1 ||
		p.value("action") != "destination.disable" || p.value("range") != "24h" {
		t.Errorf("filtered: %s", p.text("main"))
	}
	p.says("Action: Destination disabled")
	exported := v.send("GET", p.Find(`main a:contains("Export CSV")`).AttrOr("href", ""), nil)
	if rows, err := csv.NewReader(strings.NewReader(exported.Text())).ReadAll(); err != nil || len(rows) != 2 ||
		rows[1][5] != "destination.disable" {
		t.Errorf("the export of what is shown: %v %v", rows, err)
	}
	if got := v.send("GET", "/t/acme/audit/export?format=xls", nil); got.status != 422 {
		t.Errorf("an unknown format: %d", got.status)
	}
	v.get("/t/acme/audit?q=nothing+like+it").says("No entry matches")
	if p = v.send("GET", "/t/acme/audit?since=yesterday", nil); p.status != 422 {
		t.Errorf("a time that is none: %d", p.status)
	}
	p.says("The list cannot be shown with these filters.From must be a time like")
	older := v.get("/t/acme/audit?limit=2").Find(`main a[rel="next"]`).AttrOr("href", "")
	p = v.get(older)
	p.says("Tenant created")
	if p.Find(`main a[rel="prev"]`).Length() != 1 {
		t.Error("there is no way to newer ones")
	}
	cursor, _ := url.Parse(older)
	v.get("/t/acme/audit?action=tenant.*&next=" + cursor.Query().Get("next")).says("This is its first page.")

	p = v.get("/t/acme/destinations/inbox/activity")
	p.says("Destination disabled by API_KEY")
	p.says("maintenance until Monday")
	p.says("topics*order.paid")
	p.says("Destination created by API_KEY")

	p = v.get("/audit")
	p.says("globex")
	p.says("Tenant created")
	mine := a.portal("acme")
	if p = mine.get("/t/acme/audit"); strings.Contains(p.text("html"), "globex") {
		t.Error("a portal visitor sees another tenant")
	}
	p.says("Portal opened")
	p.says("portal of acme Portal session")
	mine.get("/t/acme/destinations/inbox/activity").says("Destination changed by API_KEY")
	for _, path := range []string{"/audit", "/audit/export?format=csv", "/audit/" + a.entries("tenant_id=acme")[0].ID} {
		if p := mine.send("GET", path, nil); p.status != 403 {
			t.Errorf("a portal visitor: GET %s: %d", path, p.status)
		}
	}
}
