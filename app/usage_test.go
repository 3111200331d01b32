package app

import (
	"encoding/csv"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestUsage counts what tenants use, by day, tells it as JSON, as CSV and on pages, and keeps it when what it was counted from is gone.
func TestUsage(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("other")
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }))
	t.Cleanup(failing.Close)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"shop","type":"webhook","topics":["bad"],"config":{"url":"`+failing.URL+`"}}`)
	a.want(200, "POST", "/publish", `{"tenant_id":"acme","topic":"bad","data":{"order":17}}`, "Prefer", "wait=30")
	a.want(200, "POST", "/publish/batch", `[{"tenant_id":"acme","data":{"x":1}},{"tenant_id":"acme","data":{}}]`, "Prefer", "wait=30")
	a.want(200, "POST", "/publish", `{"tenant_id":"other","data":{"order":1}}`, "Prefer", "wait=30")
	const bytes = len(`{"order":17}`) + len(`{"x":1}`) + len(`{}`)
	got := a.eventually("/usage?tenant_id=acme", func(o answer) bool { return o.num("total", "deliveries_failed") == 1 })
	// Each event goes to the inbox, which takes it, and one to the shop, which fails three times.
	if got.num("total", "events") != 3 || got.num("total", "bytes") != bytes || got.num("total", "deliveries_attempted") != 4 ||
		got.num("total", "deliveries_delivered") != 3 || got.num("total", "attempts") != 3+3 {
		t.Errorf("three events: %s", got.raw)
	}

	// Earlier days, as they were counted then.
	today := time.Now().UTC().Truncate(24 * time.Hour)
	at := func(days int) string { return today.AddDate(0, 0, -days).Format(time.DateOnly) }
	for _, r := range []struct {
		tenant, start string
		events        int
	}{{"acme", at(3) + " 00:00", 5}, {"acme", at(3) + " 23:30", 7}, {"acme", at(2) + " 00:00", 11}, {"other", at(2) + " 12:00", 13}} {
		a.exec(`insert into traffic (tenant_key, grain, start, received, delivered, failed, retrying, first, first_failed, attempts, bytes)
			select t.key, 1800, $2::timestamp at time zone 'UTC', $3::int, 2*$3::int, 0, 0, 2*$3::int, 0, 2*$3::int, 100*$3::int
			from tenants t where id = $1`, r.tenant, r.start, r.events)
	}
	a.exec("delete from settings where key = 'usage_counted_to'") // the worker may have found before that there is nothing to add up
	span := "from=" + at(3) + "&to=" + at(1)
	check := func(when string) {
		t.Helper()
		got := a.want(200, "GET", "/usage?"+span, nil)
		if len(got.list()) != 3 || got.str("models", "0", "day") != at(2) || got.str("models", "0", "tenant_id") != "acme" ||
			got.num("models", "0", "events") != 11 || got.str("models", "1", "tenant_id") != "other" || got.num("models", "2", "events") != 12 ||
			got.num("models", "2", "bytes") != 1200 || got.num("total", "events") != 36 || got.num("total", "deliveries_delivered") != 72 {
			t.Errorf("%s: %s", when, got.raw)
		}
	}
	check("before the days are added up")
	if _, err := a.Store.Upkeep(t.Context(), time.Now().Add(3*time.Hour)); err != nil {
		t.Fatal(err)
	}
	check("added up")
	a.exec("delete from traffic where start < $1", today.AddDate(0, 0, -1))
	check("when the half hours are gone")
	if _, err := a.Store.Upkeep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	check("added up once more")

	sum := a.want(200, "GET", "/usage?sum=true&"+span, nil)
	if len(sum.list()) != 2 || sum.str("models", "0", "tenant_id") != "acme" || sum.num("models", "0", "events") != 23 ||
		sum.str("models", "0", "day") != "" {
		t.Errorf("by tenant: %s", sum.raw)
	}
	o := a.want(200, "GET", "/usage?format=csv&tenant_id=acme&"+span, nil)
	rows, err := csv.NewReader(strings.NewReader(o.raw)).ReadAll()
	if err != nil || len(rows) != 3 || strings.Join(rows[1], " ") != at(2)+" acme 11 1100 22 22 22 0" ||
		!strings.HasPrefix(o.header.Get("Content-Type"), "text/csv") ||
		!strings.Contains(o.header.Get("Content-Disposition"), "usage-"+at(3)+"-"+at(1)+".csv") {
		t.Errorf("%v %q %v", err, rows, o.header)
	}

	// A tenant sees its own only.
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	if got := token.want(200, "GET", "/usage?"+span, nil); got.num("total", "events") != 23 {
		t.Errorf("the tenant sees %s", got.raw)
	}
	token.want(404, "GET", "/usage?tenant_id=other", nil)
	for query, field := range map[string]string{"from=yesterday": "from", "to=2026-13-01": "to", "from=2026-02-01&to=2026-01-01": "to",
		"from=2024-01-01&to=2026-01-01": "from", "format=xml": "format"} {
		if o := a.do("GET", "/usage?"+query, nil); o.status != 422 || o.str("fields", field) == "" {
			t.Errorf("%s: %d %s", query, o.status, o.raw)
		}
	}

	v := a.visitor()
	p := v.get("/server/usage?" + span)
	p.says("All tenants")
	if rows := p.text("tbody"); !strings.Contains(rows, "acme 23") && !strings.Contains(rows, "acme23") {
		t.Errorf("the page has %q", rows)
	}
	p = v.get("/t/acme/usage?" + span)
	if strings.Contains(p.text("tbody"), "other") || p.Find("tbody tr").Length() != 3 || p.value("from") != at(3) {
		t.Errorf("the tenant's page has %q", p.text("tbody"))
	}
	v.get("/t/acme/usage?from=2024-01-01&to=2024-02-01").says("Nothing was used on these days")
	if p := v.send("GET", "/t/acme/usage?from=soon", nil); p.status != 422 {
		t.Errorf("a date that is none: %d", p.status)
	}
	if p := v.send("GET", "/server/usage/export?"+span, nil); p.status != 200 || !strings.Contains(p.Text(), at(2)+",other,13,1300") {
		t.Errorf("the file: %d %.200s", p.status, p.Text())
	}
	// What a deleted tenant has used stays.
	a.want(200, "DELETE", "/tenants/other", nil)
	check("of a deleted tenant")
}
