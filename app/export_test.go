package app

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/migrations"
)

// largeEvents writes events of acme with payloads of about so many bytes, each delivered with one attempt.
func (a *testApp) largeEvents(events, bytes int) {
	a.Helper()
	a.exec(`insert into events (id, tenant_key, topic, retry, data)
		select ($1::text || lpad(to_hex(g), 12, '0'))::uuid, t.key, '=topic', true, '{"n":' || g || ',"text":"' || repeat('x', $2) || '"}' from tenants t, generate_series(1, $3) g where t.id = 'acme'`,
		migrations.LowestID(time.Now().Add(-time.Hour))[:24], bytes, events)
	a.exec(`insert into deliveries (event_id, destination_key, tenant_key, status, attempts, last_attempt_at, reason) select e.id, d.key, e.tenant_key, 'delivered', 1, now(), '@reason'
		from events e, destinations d where d.id = 'inbox' and d.tenant_key = e.tenant_key`)
	a.exec(`insert into attempts (event_id, destination_key, tenant_key, started_at, number, duration_us, ok, trigger, response_body) select event_id, destination_key, tenant_key, now() - row_number() over () * interval '1 ms', 1, 1500, true, 'automatic', '-1+1'
		from deliveries`)
}

// TestExports exports lists of several pages, whole and in part, in both formats.
func TestExports(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	const n = 1234
	a.largeEvents(n, 100)
	a.want(202, "POST", "/publish", `{"tenant_id":"globex","data":{}}`)
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	portal := a.portal("acme")
	for _, list := range []string{"events", "deliveries", "attempts"} {
		lines := strings.Split(strings.TrimSpace(token.want(200, "GET", "/"+list+"/export", nil).raw), "\n")
		ids := map[string]bool{}
		for _, l := range lines {
			var row struct{ ID, TenantID string }
			if err := json.Unmarshal([]byte(l), &row); err != nil || strings.Contains(l, "globex") {
				t.Fatalf("%v: %s", err, l)
			}
			ids[row.ID] = true
		}
		if len(lines) != n || len(ids) != n {
			t.Errorf("%s: %d lines, %d ids", list, len(lines), len(ids))
		}
		listed := token.want(200, "GET", "/"+list+"?limit=1", nil).body["models"].([]any)[0]
		var first any
		if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || fmt.Sprint(first) != fmt.Sprint(listed) {
			t.Errorf("%s: a line is %v, in the list it is %v", list, first, listed)
		}
		out := a.want(200, "GET", "/"+list+"/export?format=csv&dir=asc&tenant_id=acme&limit=777", nil)
		if ct, cd := out.header.Get("Content-Type"), out.header.Get("Content-Disposition"); !strings.HasPrefix(ct, "text/csv") ||
			!strings.HasPrefix(cd, `attachment; filename="`+list+`-2`) ||
			out.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s", ct, cd)
		}
		rows, err := csv.NewReader(strings.NewReader(out.raw)).ReadAll()
		if err != nil || len(rows) != 778 {
			t.Fatalf("%s: %d rows, %v", list, len(rows), err)
		}
		cells := map[string]string{}
		for i, name := range rows[0] {
			cells[name] = rows[1][i]
		}
		harmless := map[string]string{"events": "'=topic", "deliveries": "'@reason", "attempts": "'-1+1"}[list]
		if !slices.Contains(rows[1], harmless) || cells["tenant_id"] != "acme" || list == "events" && (!strings.HasPrefix(cells["data"],
			`{"n":1,"text":"xx`) || cells["delivered"] != "1" || cells["failed"] != "0") {
			t.Errorf("%s: %q", list, rows[1])
		}
		if out := a.want(200, "GET", "/"+list+"/export?tenant_id=acme&destination_id=nothing&format=csv", nil); strings.Count(out.raw, "\r\n") != 1 {
			t.Errorf("%s: nothing is %q", list, out.raw)
		}
		for query, field := range map[string]string{"format=xls": "format", "since=x": "since", "limit=0": "limit", "status=x": "status",
			"next=x": "next"} {
			if out := a.do("GET", "/"+list+"/export?tenant_id=acme&"+query, nil); out.status < 400 || out.status > 422 || out.str("fields", field) == "" {
				t.Errorf("%s: %d %s", query, out.status, out.raw)
			}
		}
		// From a page, by the session, with the page's own parameters.
		p := portal.send("GET", "/t/acme/"+list+"/export?format=csv&range=24h&limit=50&next=x&tenant_id=globex", nil)
		if rows, err := csv.NewReader(strings.NewReader(p.Text())).ReadAll(); p.status != 200 || err != nil || len(rows) != n+1 {
			t.Errorf("%s: the page's export: %d, %d rows, %v", list, p.status, len(rows), err)
		}
	}
	if out := a.want(422, "GET", "/attempts/export", nil); !strings.Contains(out.str("fields", "tenant_id"), "one tenant") {
		t.Errorf("%s", out.raw)
	}
	if p := portal.send("GET", "/events/export", nil); p.status != 403 {
		t.Errorf("a portal visitor exports all tenants' events: %d", p.status)
	}
	if p := a.visitor().send("GET", "/events/export", nil); p.status != 200 || !strings.Contains(p.Text(), "globex") {
		t.Errorf("an operator exports all tenants' events: %d", p.status)
	}
	if out := a.want(200, "GET", "/events/export?q=n:<=3&order_by=", nil); strings.Count(out.raw, "\n") != 3 {
		t.Errorf("a search: %d lines", strings.Count(out.raw, "\n"))
	}
}

// TestExportBreaksOff: an export that cannot go on says so, and nobody takes it for complete.
func TestExportBreaksOff(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.largeEvents(4000, 20_000) // more than sockets hold
	begin := func(format string) *http.Response {
		t.Helper()
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		req, err := http.NewRequestWithContext(ctx, "GET", a.base+api.APIPrefix+"/events/export?format="+format, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+a.key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	lines, cells := begin("ndjson"), begin("csv")
	// Two more, and there is no room for another one of this caller.
	other := []*http.Response{begin("csv"), begin("csv")}
	if out := a.want(429, "GET", "/events/export", nil); out.header.Get("Retry-After") == "" {
		t.Errorf("%v", out.header)
	}
	for _, o := range other {
		o.Body.Close()
	}
	a.Follower.Stop() // as the process does when it stops
	scan := bufio.NewScanner(lines.Body)
	scan.Buffer(nil, 1<<20)
	var last string
	n := 0
	for scan.Scan() {
		last = scan.Text()
		n++
	}
	if !errors.Is(scan.Err(), io.ErrUnexpectedEOF) || n >= 4000 || !strings.Contains(last, `{"error":{`) || !strings.Contains(last,
		"The server is stopping") || !strings.Contains(last, "request_id") {
		t.Errorf("%d lines, %v, the last: %.300s", n, scan.Err(), last)
	}
	rows := csv.NewReader(cells.Body)
	var err error
	for n = 0; err == nil; n++ {
		_, err = rows.Read()
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) || n >= 4000 {
		t.Errorf("CSV: %d rows, %v", n, err)
	}
}
