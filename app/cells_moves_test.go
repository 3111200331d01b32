package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/models"
)

// TestMovesByAPI moves a tenant with requests of the API: it is told how that gets on, and the tenant goes on where it went.
func TestMovesByAPI(t *testing.T) {
	t.Parallel()
	a := newCelledApp(t, "eu1")
	event := a.publishes("in-main").str("id")
	out := a.want(202, "POST", "/moves", `{"tenant_id":"in-main","cell":"eu1"}`)
	id := out.str("id")
	if out.header.Get("Location") != "/api/v1/moves/"+id || out.str("from") != "main" || out.str("to") != "eu1" ||
		out.str("status") != "running" || out.str("tenant_id") != "in-main" || !strings.HasPrefix(id, "mov_") {
		t.Errorf("%v %s", out.header, out.raw)
	}
	if no := a.do("POST", "/moves", `{"tenant_id":"in-main","cell":"eu1"}`); no.status != 409 {
		t.Errorf("a second move: %d %s", no.status, no.raw)
	}
	done := a.eventually("/moves/"+id, func(o answer) bool { return o.str("status") == "done" })
	if done.str("phase") != "done" || done.str("finished_at") == "" || done.str("switched_at") == "" || done.str("progress", "events") != "1" {
		t.Errorf("the move: %s", done.raw)
	}
	if cell := a.want(200, "GET", "/tenants/in-main", nil).str("cell"); cell != "eu1" {
		t.Errorf("the tenant is in %s", cell)
	}
	if got := a.want(200, "GET", "/events/"+event, nil).str("tenant_id"); got != "in-main" {
		t.Errorf("its event is of %q", got)
	}
	a.publishes("in-main")
	a.audited("move.start", id, `"to": "eu1"`)
	for query, want := range map[string]int{"": 1, "?tenant_id=in-main&status=done": 1, "?status=running": 0, "?tenant_id=in-eu1": 0} {
		if list := a.want(200, "GET", "/moves"+query, nil).list(); len(list) != want {
			t.Errorf("/moves%s has %d, want %d", query, len(list), want)
		}
	}
	back := a.want(202, "POST", "/moves", `{"tenant_id":"in-main","cell":"main"}`).str("id")
	a.eventually("/moves/"+back, func(o answer) bool { return o.str("status") == "done" })
	first := a.want(200, "GET", "/moves?limit=1", nil)
	if first.str("models", "0", "id") != back {
		t.Errorf("the newest move: %s", first.raw)
	}
	if next := a.want(200, "GET", "/moves?limit=1&next="+first.str("pagination", "next"), nil); next.str("models", "0", "id") != id {
		t.Errorf("the one before it: %s", next.raw)
	}
	a.publishes("in-main")
}

// TestMovesRefused asks for moves that cannot be, and cancels one that waits for a database.
func TestMovesRefused(t *testing.T) {
	t.Parallel()
	a := newCelledApp(t, "eu1")
	a.silentCell("away")
	for body, want := range map[string]struct {
		status int
		words  string
	}{
		`{}`:                                     {422, "tenant_id is required"},
		`{"tenant_id":"in-main"}`:                {422, "cell is required"},
		`{"tenant_id":"in-main","cell":"nope"}`:  {422, "cell"},
		`{"tenant_id":"nobody","cell":"eu1"}`:    {404, "nobody"},
		`{"tenant_id":"in-main","cell":"main"}`:  {409, "already"},
		`{"tenant_id":["in-main"],"cell":"eu1"}`: {422, "must be a string"},
	} {
		if no := a.do("POST", "/moves", body); no.status != want.status || !strings.Contains(no.raw, want.words) {
			t.Errorf("%s: %d %s, want %d and %q", body, no.status, no.raw, want.status, want.words)
		}
	}
	a.want(404, "GET", "/moves/mov_nothing", nil)
	a.want(404, "POST", "/moves/mov_nothing/cancel", nil)
	a.want(422, "GET", "/moves?status=gone", nil)
	for _, body := range []string{`{"name":"k","scopes":["admin"],"tenant_id":"in-main"}`, `{"name":"k","scopes":["read","write"]}`} {
		other := a.as(a.want(201, "POST", "/api-keys", body).str("key"))
		other.want(403, "POST", "/moves", `{"tenant_id":"in-main","cell":"eu1"}`)
		other.want(403, "GET", "/moves", nil)
	}
	id := a.want(202, "POST", "/moves", `{"tenant_id":"in-main","cell":"away"}`).str("id")
	stuck := a.eventually("/moves/"+id, func(o answer) bool { return o.str("error") != "" })
	if stuck.str("cancellable") != "true" || !strings.Contains(stuck.str("error"), "away") {
		t.Errorf("a move to where nobody answers: %s", stuck.raw)
	}
	a.publishes("in-main")
	out := a.want(202, "POST", "/moves/"+id+"/cancel", nil)
	if out.str("phase") != models.MoveUndo || out.str("cancellable") != "false" {
		t.Errorf("cancelled: %s", out.raw)
	}
	a.want(409, "POST", "/moves/"+id+"/cancel", nil)
	a.audited("move.cancel", id, `"to": "away"`)
}

// TestMovePages moves a tenant by the dashboard.
func TestMovePages(t *testing.T) {
	t.Parallel()
	a := newCelledApp(t, "eu1")
	v := a.visitor()
	if text := v.get("/server/cells").text("main"); !strings.Contains(text, "eu1") || !strings.Contains(text, "Answers") ||
		!strings.Contains(text, "waybill cells add") || !strings.Contains(text, ":***@") {
		t.Errorf("the page of cells: %s", text)
	}
	v.post("/server/cells/eu1/drain")
	v.get("/server/cells").says("Go elsewhere since")
	if got := a.want(200, "GET", "/cells", nil); got.str("models", "1", "draining_at") == "" ||
		got.str("models", "1", "schema_version") == "" ||
		got.str("models", "1", "workers") != "1" || got.str("models", "1", "since") == "" {
		t.Errorf("GET /cells: %s", got.raw)
	}
	v.post("/server/cells/eu1/undrain")
	if v.get("/t/in-eu1/settings").Find(`a[href="/server/moves/new?tenant_id=in-eu1"]`).Length() != 1 {
		t.Error("the tenant's settings do not lead to the form that moves it")
	}
	p := v.get("/server/moves/new?tenant_id=in-eu1")
	p.says("which is in the cell eu1")
	var to []string
	for _, o := range p.Find(`select[name="cell"] option`).EachIter() {
		to = append(to, o.AttrOr("value", ""))
	}
	if fmt.Sprint(to) != "[main]" {
		t.Errorf("it may go to %v", to)
	}
	v.post("/server/moves/new", "tenant_id", "in-eu1", "cell", "main")
	id := a.want(200, "GET", "/moves", nil).str("models", "0", "id")
	a.eventually("/moves/"+id, func(o answer) bool { return o.str("status") == "done" })
	p = v.get("/server/moves/" + id)
	p.says("The tenant is there, and nothing is left behind.")
	if p.Find("form[action$=cancel]").Length() > 0 {
		t.Error("a move that is over can be cancelled")
	}
	v.get("/server/moves").says("in-eu1")
	if p := v.send("POST", "/server/moves/new", map[string][]string{"tenant_id": {"nobody"}, "cell": {"eu1"}}); p.status != 404 ||
		!strings.Contains(p.text("main"), "nobody") {
		t.Errorf("a tenant that there is not: %d %s", p.status, p.text("main"))
	}
}
