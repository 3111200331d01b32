package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// newHalfApp starts a process with a cell "eu1", and one "away" where nobody answers. A tenant "there" with an inbox is in eu1.
func newHalfApp(t *testing.T) (a *testApp, url string) {
	t.Helper()
	url = modelstest.Empty(t)
	a = newTestApp(t, nil)
	a.silentCell("away")
	a.addCell("eu1", url)
	a.want(201, "PUT", "/tenants/there", `{"cell":"eu1"}`)
	a.want(201, "POST", "/tenants/there/destinations", `{"id":"inbox","type":"echo","topics":"*"}`)
	a.want(200, "POST", "/publish", `{"tenant_id":"there","topic":"order.created","data":{}}`, "Prefer", "wait=60")
	return a, url
}

// operatorEnv is the environment of a command beside the process.
func (a *testApp) operatorEnv(name string) string {
	return map[string]string{"DATABASE_URL": a.Cfg.DatabaseURL, "SECRET_KEY": "a secret for tests that is long enough", "API_KEY": testKey,
		"HOST": "127.0.0.1", "BASE_URL": "http://localhost"}[name]
}

// TestServerHealthOfCells: the server's health says how each cell is, and what was found in it.
func TestServerHealthOfCells(t *testing.T) {
	t.Parallel()
	a, _ := newHalfApp(t)
	var s struct {
		Checkup struct {
			Level    string
			Findings []models.Finding
		}
		Cells []struct {
			Name, Problem string
			Reachable     bool
			Tenants       int
			Since         string
			Schema        *int64   `json:"schema_version"`
			Workers       *int     `json:"workers"`
			Due           *int     `json:"jobs_due"`
			OldestDue     *float64 `json:"oldest_due_seconds"`
		}
	}
	if err := json.Unmarshal([]byte(a.want(200, "GET", "/server", nil).raw), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Cells) != 3 || s.Cells[0].Name != "main" || s.Cells[1].Name != "away" || s.Cells[2].Name != "eu1" {
		t.Fatalf("cells: %+v", s.Cells)
	}
	if c := s.Cells[1]; c.Reachable || c.Problem == "" || c.Since == "" || c.Schema != nil {
		t.Errorf("away: %+v", c)
	}
	if c, home := s.Cells[2], s.Cells[0]; !c.Reachable || c.Tenants != 1 || c.Since == "" || c.Schema == nil || home.Schema == nil ||
		*c.Schema != *home.Schema || *c.Workers != 1 || c.Due == nil || c.OldestDue == nil {
		t.Errorf("eu1: %+v", c)
	}
	found := map[string]string{}
	for _, f := range s.Checkup.Findings {
		found[f.Cell+" "+f.Check] = f.Level
	}
	if found["away cell"] != "fail" || found["eu1 workers"] != "ok" || found["eu1 secrets"] == "fail" || found[" workers"] != "ok" {
		t.Errorf("findings: %v", found)
	}
	v := a.visitor()
	p := v.get("/server")
	p.says("The cell away does not answer: its tenants get 503.")
	if text := p.text("#cells"); !strings.Contains(text, "eu1") || !strings.Contains(text, "Away") || p.Find("#cells form").Length() > 0 {
		t.Errorf("the cells on the page: %s", text)
	}
	p = v.get("/tenants")
	if text := p.text("main"); !strings.Contains(text, "do not answer: away") {
		t.Errorf("the page of tenants does not say what it lacks: %s", text)
	}
}

// TestDoctorLooksAtCells: the doctor finds what is wrong in a cell, and repairs it; one that is away keeps it from no other.
func TestDoctorLooksAtCells(t *testing.T) {
	t.Parallel()
	a, url := newHalfApp(t)
	cell := modelstest.Connect(t, url)
	if _, err := cell.Exec(t.Context(), "update deliveries set status = 'pending', turn = turn + 1"); err != nil {
		t.Fatal(err)
	}
	see := func(args ...string) map[string]models.Finding {
		t.Helper()
		var out bytes.Buffer
		if err := doctor(t.Context(), append(args, "-json"), a.operatorEnv, &out); !errors.Is(err, errUnwell) {
			t.Fatalf("%v: %s", err, out.String())
		}
		var answer struct{ Checks []models.Finding }
		if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		found := map[string]models.Finding{}
		for _, f := range answer.Checks {
			if f.Level != models.LevelOK || found[f.Cell+" "+f.Check].Level == "" {
				found[f.Cell+" "+f.Check] = f
			}
		}
		return found
	}
	found := see()
	if f := found["away connection"]; f.Level != "fail" || !strings.Contains(f.Advice, "the cell away") {
		t.Errorf("the cell that is away: %+v", f)
	}
	if f := found["eu1 deliveries"]; f.Level != "fail" {
		t.Errorf("a delivery without a job in the cell: %+v", f)
	}
	if found[" deliveries"].Level != "ok" || found["eu1 schema"].Level != "ok" || found["eu1 secrets"].Level != "ok" {
		t.Errorf("the rest: %+v", found)
	}
	see("-repair")
	a.eventually("/deliveries?tenant_id=there", func(o answer) bool { return o.str("models", "0", "status") == "delivered" })
	if f := see()["eu1 deliveries"]; f.Level != "ok" {
		t.Errorf("after the repair: %+v", f)
	}
	var out bytes.Buffer
	if err := doctor(t.Context(), nil, a.operatorEnv, &out); !errors.Is(err, errUnwell) ||
		!strings.Contains(out.String(), "In the cell away: ") {
		t.Errorf("%v: %s", err, out.String())
	}
	if err := doctor(t.Context(), []string{"-json"}, func(name string) string {
		if name == "SECRET_KEY" {
			return ""
		}
		return a.operatorEnv(name)
	}, &out); !errors.Is(err, errUnwell) || !strings.Contains(out.String(), "there are 2 cells, whose addresses are sealed") {
		t.Errorf("without SECRET_KEY: %v %s", err, out.String())
	}
}

// TestRestoreCheckLooksAtCells: it tells what would be sent out of each database, and of one that is away that it cannot tell.
func TestRestoreCheckLooksAtCells(t *testing.T) {
	t.Parallel()
	a, url := newHalfApp(t)
	cell := modelstest.Connect(t, url)
	if _, err := cell.Exec(t.Context(), "update deliveries set status = 'retrying', next_attempt_at = now() + interval '1 day'"); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := restoreCheck(t.Context(), []string{"-json"}, a.operatorEnv, &out)
	if err == nil || !strings.Contains(err.Error(), "not looked at, and nothing of it is held: away") {
		t.Errorf("%v", err)
	}
	var r struct {
		Deliveries   int
		Newest       string `json:"newest_event_at"`
		Destinations []struct {
			Cell        string
			Destination string `json:"destination_id"`
		}
		Cells []struct {
			Name, Problem string
			Deliveries    int
		}
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if r.Deliveries != 1 || len(r.Destinations) != 1 || r.Destinations[0].Cell != "eu1" || r.Destinations[0].Destination != "inbox" ||
		r.Newest == "" || len(r.Cells) != 3 || r.Cells[1].Problem == "" || r.Cells[2].Deliveries != 1 {
		t.Errorf("%s", out.String())
	}
	out.Reset()
	if err := restoreCheck(t.Context(), nil, a.operatorEnv, &out); err == nil || !strings.Contains(out.String(), "In the cell eu1:") ||
		!strings.Contains(out.String(), "It could not be looked at") {
		t.Errorf("%v: %s", err, out.String())
	}
	err = restoreCheck(t.Context(), []string{"-hold"}, a.operatorEnv, &out)
	if err == nil || !strings.Contains(err.Error(), "workers are alive") {
		t.Errorf("-hold while workers are alive: %v", err)
	}
}
