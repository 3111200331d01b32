package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// onlyHome are the tables that only home uses. In the cells of tests they are not there, so that a wrong use fails.
var onlyHome = []string{"users", "sessions", "memberships", "invitations", "identities", "passkeys", "passkey_challenges", "letters",
	"login_tries", "login_steps", "logout_tokens", "recovery_codes", "api_keys", "portal_links", "saved_views", "topics", "topic_mismatches",
	"server_settings", "api_processes", "cells", "tenant_moves"}

// celled is a process with further databases.
type celled struct {
	*testApp
	cells map[string]*pgxpool.Pool
}

// newCelledApp starts a process, adds cells to it while it runs, and makes a tenant "in-<cell>" in each, home included.
func newCelledApp(t *testing.T, names ...string) *celled {
	t.Helper()
	urls := map[string]string{} // made first, so that they are dropped last
	for _, name := range names {
		urls[name] = modelstest.Empty(t)
	}
	a := &celled{newTestApp(t, nil), map[string]*pgxpool.Pool{}}
	for _, name := range names {
		url := urls[name]
		if _, err := a.Store.AddCell(t.Context(), name, url); err != nil {
			t.Fatal(err)
		}
		a.cells[name] = modelstest.Connect(t, url)
		for _, table := range onlyHome {
			if _, err := a.cells[name].Exec(t.Context(), "alter table "+table+" rename to not_"+table); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range names {
		a.eventually("/cells", func(o answer) bool { return a.reachable(o, name) })
	}
	for _, name := range append([]string{models.HomeCell}, names...) {
		a.want(201, "PUT", "/tenants/in-"+name, map[string]any{"cell": name})
		a.want(201, "POST", "/tenants/in-"+name+"/destinations", map[string]any{"id": "inbox", "type": "echo", "topics": "*"})
	}
	return a
}

// addCell adds a cell to a process that runs, and waits until it is served.
func (a *testApp) addCell(name, url string) {
	a.Helper()
	if _, err := a.Store.AddCell(a.Context(), name, url); err != nil {
		a.Fatal(err)
	}
	a.eventually("/cells", func(o answer) bool { return a.reachable(o, name) })
}

// silentCell writes down a cell where nobody answers. Processes know it once another one is added.
func (a *testApp) silentCell(name string) {
	a.Helper()
	a.exec("insert into cells (number, name, address) values (99, $1, $2)", name,
		a.Store.Keys.Seal([]byte("postgres://127.0.0.1:1/none"), "cell 99"))
}

func (a *testApp) reachable(o answer, name string) bool {
	return slices.ContainsFunc(o.list(), func(v any) bool {
		c := v.(map[string]any)
		return c["name"] == name && c["reachable"] == true
	})
}

func (a *celled) publishes(tenant string, header ...string) answer {
	a.Helper()
	return a.want(200, "POST", "/publish", fmt.Sprintf(`{"tenant_id": %q, "topic": "order.created", "data": {"order": 1}}`, tenant),
		append(header, "Prefer", "wait=60")...)
}

// TestCells uses an API and its pages over three databases.
func TestCells(t *testing.T) {
	t.Parallel()
	a := newCelledApp(t, "eu1", "eu2")
	tenants := []string{"in-main", "in-eu1", "in-eu2"}
	events := map[string]string{}
	for _, tenant := range tenants {
		out := a.publishes(tenant)
		events[tenant] = out.str("id")
		if out.str("deliveries", "0", "status") != models.StatusDelivered {
			t.Fatalf("%s: %s", tenant, out.raw)
		}
	}
	for name, db := range a.cells {
		var n int
		if err := db.QueryRow(t.Context(), "select count(*) from attempts").Scan(&n); err != nil || n != 1 {
			t.Errorf("%s has %d attempts, %v, want its tenant's one", name, n, err)
		}
	}
	t.Run("an object is found where it is", func(t *testing.T) {
		for tenant, id := range events {
			if got := a.want(200, "GET", "/events/"+id, nil).str("tenant_id"); got != tenant {
				t.Errorf("the event of %s is of %s", tenant, got)
			}
			delivery := a.want(200, "GET", "/events/"+id+"/deliveries", nil).str("models", "0", "id")
			a.want(200, "GET", "/deliveries/"+delivery, nil)
			a.want(202, "POST", "/retry", map[string]any{"event_id": id, "destination_id": "inbox"})
		}
		a.want(404, "GET", "/events/evt_00000000000000000000000000000000", nil)
	})
	t.Run("a batch is split and its results are in order", func(t *testing.T) {
		var batch []map[string]any
		for i := range 30 {
			batch = append(batch, map[string]any{"tenant_id": append(tenants, "nobody")[i%4], "id": fmt.Sprintf("b%d", i), "data": map[string]any{"i": i}})
		}
		out := a.want(200, "POST", "/publish/batch", batch, "Prefer", "wait=60")
		for i := range 30 {
			status, want := out.str("results", fmt.Sprint(i), "status"), "202"
			if i%4 == 3 {
				want = "404"
			} else if out.str("results", fmt.Sprint(i), "id") != fmt.Sprintf("b%d", i) {
				t.Errorf("result %d is %s", i, out.str("results", fmt.Sprint(i), "id"))
			}
			if status != want {
				t.Errorf("result %d: %s, want %s", i, status, want)
			}
		}
		a.want(422, "POST", "/publish/batch", batch, "Idempotency-Key", "k1")
		one := []map[string]any{{"tenant_id": "in-eu1", "data": map[string]any{}}, {"tenant_id": "in-eu1", "data": map[string]any{}}}
		first := a.want(202, "POST", "/publish/batch", one, "Idempotency-Key", "k2")
		if again := a.want(202, "POST", "/publish/batch", one, "Idempotency-Key", "k2"); again.raw != first.raw ||
			again.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("the same batch again: %s", again.raw)
		}
		single := `{"tenant_id": "in-eu2", "data": {}}`
		key := a.want(202, "POST", "/publish", single, "Idempotency-Key", "k3").str("id")
		if again := a.want(202, "POST", "/publish", single, "Idempotency-Key", "k3").str("id"); again != key {
			t.Errorf("the same event again is %s, and was %s", again, key)
		}
	})
	t.Run("lists over all tenants are whole and in order", func(t *testing.T) {
		for _, list := range []string{"/tenants", "/events", "/deliveries", "/attempts", "/audit"} {
			whole := map[string]bool{}
			query, field := "?limit=3", "id"
			for range 100 {
				out := a.want(200, "GET", list+query, nil)
				for _, m := range out.list() {
					id := m.(map[string]any)[field].(string)
					if whole[id] {
						t.Errorf("%s has %s twice", list, id)
					}
					whole[id] = true
				}
				next := out.str("pagination", "next")
				if next == "" {
					break
				}
				query = "?limit=3&next=" + next
			}
			want := 0
			for _, cell := range []string{"main", "eu1", "eu2"} {
				want += len(a.want(200, "GET", list+"?limit=100&cell="+cell, nil).list())
			}
			if len(whole) != want || want < 3 {
				t.Errorf("%s has %d rows over all databases, and %d in each of them", list, len(whole), want)
			}
		}
		var times []time.Time
		for _, m := range a.want(200, "GET", "/events?limit=100", nil).list() {
			at, err := time.Parse(time.RFC3339Nano, m.(map[string]any)["received_at"].(string))
			if err != nil {
				t.Fatal(err)
			}
			times = append(times, at)
		}
		if !slices.IsSortedFunc(times, func(a, b time.Time) int { return b.Compare(a) }) {
			t.Errorf("events are not the newest first: %v", times)
		}
		a.want(422, "GET", "/events?order_by=topic", nil)
	})
	t.Run("what is not put together says so", func(t *testing.T) {
		for _, path := range []string{"/events/new?since=now", "/events/export", "/deliveries/export", "/stats/overview", "/stats/failures", "/stats/events",
			"/usage", "/incidents", "/metrics/events", "/find?q=order", "/changes?since=start", "/retries", "/erasures"} {
			out := a.want(422, "GET", path, nil)
			if !strings.Contains(out.raw, "cell=eu1") || !strings.Contains(out.raw, "tenant_id") {
				t.Errorf("%s: %s", path, out.raw)
			}
		}
		a.want(200, "GET", "/retries?cell=eu1", nil)
		a.want(200, "GET", "/retries?tenant_id=in-eu1", nil)
		a.want(422, "GET", "/retries?cell=eu2&tenant_id=in-eu1", nil)
		a.want(422, "GET", "/retries?cell=nope", nil)
		a.want(422, "POST", "/deliveries/cancel", map[string]any{"event_ids": []string{events["in-eu1"]}})
		a.want(200, "POST", "/deliveries/cancel", map[string]any{"event_ids": []string{events["in-eu1"]}, "tenant_id": "in-eu1"})
	})
	t.Run("a tenant's own key sees its cell", func(t *testing.T) {
		key := a.want(201, "POST", "/api-keys", map[string]any{"name": "k", "scopes": []string{"publish", "read", "write", "retry"}, "tenant_id": "in-eu1"}).str("key")
		own := a.as(key)
		if n := len(own.want(200, "GET", "/events?limit=1000", nil).list()); n == 0 {
			t.Error("it sees no events")
		}
		own.want(404, "GET", "/events/"+events["in-eu2"], nil)
		own.want(202, "POST", "/publish", `{"data": {}}`)
		own.want(404, "POST", "/publish", `{"tenant_id": "in-eu2", "data": {}}`)
		own.want(404, "GET", "/tenants/in-eu2/destinations", nil)
	})
	t.Run("everything of a tenant is answered by its cell", func(t *testing.T) {
		for _, r := range a.APIRoutes() {
			if r.Method != http.MethodGet || strings.Count(r.Path, ":") != strings.Count(r.Path, ":tenant")+strings.Count(r.Path, ":destination") ||
				!strings.Contains(r.Path, ":tenant") {
				continue
			}
			path := strings.NewReplacer(":tenant", "in-eu1", ":destination", "inbox").Replace(r.Path)
			if out := a.do("GET", path, nil); out.status >= 500 || out.status == 404 {
				t.Errorf("%s: %d %s", path, out.status, out.raw)
			}
		}
	})
	t.Run("topics and settings hold everywhere", func(t *testing.T) {
		a.want(200, "PUT", "/topics/order.created", map[string]any{"schema": map[string]any{"required": []string{"order"}}, "enforce": "reject"})
		a.want(422, "POST", "/publish", `{"tenant_id": "in-eu1", "topic": "order.created", "data": {}}`)
		a.want(422, "POST", "/publish", `{"tenant_id": "in-eu1", "topic": "nope", "data": {}}`)
		a.want(200, "DELETE", "/topics/order.created", nil)
		a.want(200, "PATCH", "/tenants/in-eu1/settings", `{"events_per_second": 1, "limit_burst": "1s"}`)
		a.eventually("/tenants/in-eu1/settings", func(answer) bool {
			return a.do("POST", "/publish", `{"tenant_id": "in-eu1", "data": {}}`).status == http.StatusTooManyRequests
		})
		a.want(200, "PATCH", "/tenants/in-eu1/settings", `{"events_per_second": null}`)
	})
	t.Run("tenants are placed where there are few, and deleted whole", func(t *testing.T) {
		a.want(409, "PUT", "/tenants/in-eu1", map[string]any{"cell": "eu2"})
		a.want(422, "PUT", "/tenants/new", map[string]any{"cell": "nope"})
		a.want(200, "PATCH", "/cells/main", `{"draining": true}`)
		a.want(200, "PATCH", "/cells/eu2", `{"draining": true}`)
		a.eventually("/cells", func(o answer) bool { return strings.Count(o.raw, `"draining_at":null`) == 1 })
		for i := range 3 {
			if cell := a.want(201, "PUT", fmt.Sprintf("/tenants/new-%d", i), nil).str("cell"); cell != "eu1" {
				t.Errorf("a new tenant is in %s while the others are drained", cell)
			}
		}
		a.want(200, "PUT", "/tenants/new-0", map[string]any{"metadata": map[string]any{"plan": "pro"}})
		a.want(200, "DELETE", "/tenants/new-0", nil)
		a.want(404, "GET", "/tenants/new-0", nil)
		var left int
		if err := a.db.QueryRow(t.Context(), "select count(*) from tenants where id = 'new-0' and deleted_at is null").Scan(&left); err != nil || left != 0 {
			t.Errorf("home has the deleted tenant %d times, %v", left, err)
		}
		a.want(200, "PATCH", "/cells/eu1", `{"draining": true}`)
		a.want(200, "PATCH", "/cells/eu2", `{"draining": false}`)
		a.eventually("/cells", func(o answer) bool {
			return o.str("models", "1", "draining_at") != "" && o.str("models", "2", "draining_at") == ""
		})
		if cell := a.want(201, "PUT", "/tenants/new-0", nil).str("cell"); cell != "eu2" {
			t.Errorf("the tenant of that name is in %s again", cell)
		}
		a.want(202, "POST", "/publish", `{"tenant_id": "new-0", "data": {}}`)
	})
	t.Run("pages", func(t *testing.T) {
		v := a.visitor()
		asks := []string{"/live", "/find/names", "/events/new", "/attempts/compare"} // for something in the query
		for _, r := range a.pages.PageRoutes() {
			if r.Method != http.MethodGet || strings.Count(r.Path, ":") != strings.Count(r.Path, ":tenant")+strings.Count(r.Path, ":destination") ||
				!strings.Contains(r.Path, ":tenant") || slices.ContainsFunc(asks, func(end string) bool { return strings.HasSuffix(r.Path, end) }) {
				continue
			}
			path := strings.NewReplacer(":tenant", "in-eu1", ":destination", "inbox").Replace(r.Path)
			if p := v.send("GET", path, nil); p.status != 200 {
				t.Errorf("%s: %d %.300s", path, p.status, p.text("main"))
			}
		}
		for _, path := range []string{"/tenants", "/events"} {
			if p := v.get(path); p.status != 200 || !strings.Contains(p.text("main"), "in-eu1") || !strings.Contains(p.text("main"), "in-eu2") {
				t.Errorf("%s: %d, without tenants of cells: %s", path, p.status, p.text("main"))
			}
		}
		if p := v.get("/t/in-eu2/events/" + events["in-eu2"]); p.status != 200 || !strings.Contains(p.text("main"), "Inbox") {
			t.Errorf("an event's page: %d %s", p.status, p.text("main"))
		}
		if p := v.send("GET", "/server/usage", nil); p.status != 422 {
			t.Errorf("usage of all tenants: %d", p.status)
		}
	})
}

// TestCellAway takes the database of a cell away while the process runs.
func TestCellAway(t *testing.T) {
	t.Parallel()
	a := newCelledApp(t, "eu1", "eu2")
	a.publishes("in-eu1")
	a.publishes("in-eu2")
	name := a.cells["eu1"].Config().ConnConfig.Database
	allow := func(yes bool) {
		t.Helper()
		a.exec(fmt.Sprintf("alter database %q with allow_connections %t", name, yes))
		if !yes {
			a.exec("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
		}
	}
	allow(false)
	out := a.do("POST", "/publish", `{"tenant_id": "in-eu1", "data": {}}`)
	if out.status != 503 || !strings.Contains(out.raw, "eu1") || out.header.Get("Retry-After") == "" {
		t.Errorf("an event for the cell that is away: %d %s %v", out.status, out.raw, out.header)
	}
	if out := a.do("GET", "/tenants/in-eu1/destinations", nil); out.status != 503 || !strings.Contains(out.raw, "eu1") {
		t.Errorf("a list of the tenant: %d %s", out.status, out.raw)
	}
	a.publishes("in-eu2")
	a.publishes("in-main")
	batch := a.want(202, "POST", "/publish/batch", `[{"tenant_id": "in-eu1", "data": {}}, {"tenant_id": "in-eu2", "data": {}}]`)
	if batch.str("results", "0", "status") != "503" || batch.str("results", "1", "status") != "202" {
		t.Errorf("a batch: %s", batch.raw)
	}
	all := a.want(200, "GET", "/events", nil)
	if all.header.Get("Waybill-Missing-Cells") != "eu1" || !strings.Contains(all.raw, "in-eu2") || strings.Contains(all.raw, `"in-eu1"`) {
		t.Errorf("all events: %v %s", all.header, all.raw)
	}
	if p := a.visitor().get("/events"); p.status != 200 || !strings.Contains(p.text("main"), "do not answer: eu1") {
		t.Errorf("the page of all events: %d %s", p.status, p.text("main"))
	}
	a.want(503, "GET", "/events/evt_00000000000000000000000000000000", nil)
	var cells struct {
		Models []struct{ Name, Problem string }
	}
	if err := json.Unmarshal([]byte(a.want(200, "GET", "/cells", nil).raw), &cells); err != nil || cells.Models[1].Problem == "" ||
		cells.Models[2].Problem != "" {
		t.Errorf("the list of cells: %+v, %v", cells, err)
	}
	// A process that starts now serves the others.
	other := newProcessOf(t, configOn(t, a.Cfg))
	other.want(202, "POST", "/publish", `{"tenant_id": "in-eu2", "data": {}}`)
	if out := other.do("POST", "/publish", `{"tenant_id": "in-eu1", "data": {}}`); out.status != 503 || !strings.Contains(out.raw, "eu1") {
		t.Errorf("at the process that started meanwhile: %d %s", out.status, out.raw)
	}
	allow(true)
	a.eventually("/cells", func(o answer) bool { return a.reachable(o, "eu1") })
	a.publishes("in-eu1")
	other.eventually("/cells", func(o answer) bool { return a.reachable(o, "eu1") })
	other.want(202, "POST", "/publish", `{"tenant_id": "in-eu1", "data": {}}`)
}

// configOn is the configuration of another process beside one that runs.
func configOn(t *testing.T, cfg *config.Config) *config.Config {
	t.Helper()
	return testConfigOf(t, map[string]string{"DATABASE_URL": cfg.DatabaseURL}, nil)
}
