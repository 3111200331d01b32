package app

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"github.com/waybill-dev/waybill/app/config"
)

// serverAnswer is a part of what GET /server answers.
type serverAnswer struct {
	Checkup struct {
		Level     string
		Findings  []struct{ Check, Level, Message, Advice string }
		Unchecked []struct{ Check, Why string }
	}
	Processes []struct {
		Role      string
		Alive     bool
		StartedAt time.Time `json:"started_at"`
	}
	Queues []struct {
		Queue, State string
		Jobs         int
		Oldest       *time.Time `json:"oldest_at"`
	}
	OldestDue map[string]float64 `json:"oldest_due_seconds"`
	Database  struct {
		Version         string
		Size            int64 `json:"size_bytes"`
		Tables          []struct{ Table string }
		Connections     int
		MostConnections int    `json:"max_connections"`
		PartitionsAhead int    `json:"partitions_ahead"`
		OldestPartition string `json:"oldest_partition"`
	}
	Deliveries struct {
		Held    int
		Failing int `json:"destinations_failing"`
	}
}

func (a *testApp) server() (s serverAnswer) {
	a.Helper()
	if err := json.Unmarshal([]byte(a.want(200, "GET", "/server", nil).raw), &s); err != nil {
		a.Fatal(err)
	}
	return s
}

func TestServerHealth(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"off","type":"echo","topics":"*"}`)
	a.want(200, "PUT", "/tenants/acme/destinations/off/disable", nil)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"order.created","data":{"order":1}}`)
	s := a.server()
	if len(s.Processes) != 1 || s.Processes[0].Role != "serve" || !s.Processes[0].Alive || time.Since(s.Processes[0].StartedAt) > time.Hour {
		t.Errorf("processes: %+v", s.Processes)
	}
	d := s.Database
	if d.Version == "" || d.Size < 1<<20 || len(d.Tables) == 0 || d.Connections < 1 || d.MostConnections < d.Connections || d.PartitionsAhead != 7 ||
		d.OldestPartition == "" {
		t.Errorf("database: %+v", d)
	}
	if s.Deliveries.Held != 1 || s.Deliveries.Failing != 0 {
		t.Errorf("deliveries: %+v", s.Deliveries)
	}
	if len(s.Queues) < 9 || len(s.OldestDue) != 3 {
		t.Errorf("queues: %+v, %v", s.Queues, s.OldestDue)
	}
	if len(s.Checkup.Unchecked) > 0 {
		t.Errorf("not looked at: %+v", s.Checkup.Unchecked)
	}
	// The PostgreSQL of the tests is set up for speed.
	if s.Checkup.Level != "fail" || s.Checkup.Findings[0].Level != "fail" || !strings.Contains(s.Checkup.Findings[0].Message, "off") ||
		s.Checkup.Findings[0].Advice == "" {
		t.Errorf("findings: %+v", s.Checkup)
	}
	for _, check := range []string{"schema", "workers", "deliveries", "jobs", "secrets"} {
		if !slices.ContainsFunc(s.Checkup.Findings, func(f struct{ Check, Level, Message, Advice string }) bool {
			return f.Check == check && f.Level == "ok"
		}) {
			t.Errorf("the check of %s is not among %+v", check, s.Checkup.Findings)
		}
	}

	p := a.visitor().get("/server")
	if got := p.text("#findings-title"); !strings.Contains(got, "finding") {
		t.Errorf("the page says %q", got)
	}
	p.says("Set fsync = on in postgresql.conf and reload.")
	p.says("Alive")
	if p.Find(`nav[aria-label="Main"] a[aria-current="page"][href="/server"]`).Length() != 1 {
		t.Error("the navigation does not lead here")
	}
	if got := p.text("#jobs tbody"); !strings.Contains(got, "First attempts deliverdue") {
		t.Errorf("jobs: %s", got)
	}
}

// TestServerHealthFindsWhatIsWrong has a job that has been due for long, and nobody who works.
func TestServerHealthFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	cfg, err := config.ReadConfig("web", p.env) // nobody works
	if err != nil {
		t.Fatal(err)
	}
	cfg.Port = 0
	a := newProcessOf(t, cfg)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"order.created","data":{}}`)
	p.exec("update river.river_job set scheduled_at = now() - interval '10 minutes', created_at = now() - interval '10 minutes' where queue = 'deliver'")
	s := a.server()
	if len(s.Processes) != 0 || s.OldestDue["deliver"] < 500 {
		t.Errorf("%+v, oldest %v", s.Processes, s.OldestDue)
	}
	for _, q := range s.Queues {
		if q.Queue == "deliver" && q.State == "due" && (q.Jobs == 0 || q.Oldest == nil || time.Since(*q.Oldest) < 9*time.Minute) {
			t.Errorf("due: %+v", q)
		}
	}
	if got := s.Checkup.Findings; !slices.ContainsFunc(got, func(f struct{ Check, Level, Message, Advice string }) bool {
		return f.Level == "fail" && strings.HasPrefix(f.Message, "No worker is alive")
	}) {
		t.Errorf("findings: %+v", got)
	}
	a.visitor().get("/server").says("No worker process is registered.")
}

// TestServerHealthIsBounded keeps the doctor from a table that a check needs.
func TestServerHealthIsBounded(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	tx, err := a.db.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := tx.Exec(context.Background(), "lock table ordered_deliveries in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s := a.server()
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("took %v", took)
	}
	var not []string
	for _, u := range s.Checkup.Unchecked {
		not = append(not, u.Check)
		if u.Why == "" {
			t.Errorf("%s: no reason", u.Check)
		}
	}
	if !slices.Equal(not, []string{"deliveries", "events", "order", "jobs", "bulk retries"}) {
		t.Errorf("not looked at: %v", not)
	}
	if len(s.Checkup.Findings) < 8 || len(s.Processes) != 1 {
		t.Errorf("what was quick is missing: %+v", s)
	}
	a.visitor().get("/server").says("Not looked at: deliveries without a job, events of jobs, ordered deliveries, jobs, bulk retries.")
	var left int
	if err := a.db.QueryRow(context.Background(), "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query ilike '%ordered_deliveries%' and now() - query_start > interval '10 seconds'").Scan(&left); err != nil || left > 0 {
		t.Errorf("%d statements go on although nobody waits (%v)", left, err)
	}
}

func TestServerIsForOperators(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	key := func(scopes, tenant string) string {
		return a.want(201, "POST", "/api-keys", `{"name":"k","scopes":[`+scopes+`]`+tenant+`}`).str("key")
	}
	for name, c := range map[string]struct {
		key              string
		health, settings int
	}{
		"an operator who reads": {key(`"read"`, ""), 200, 403},
		"an admin of a tenant":  {key(`"admin"`, `,"tenant_id":"acme"`), 403, 403},
		"a tenant's token":      {a.want(200, "GET", "/tenants/acme/token", nil).str("token"), 403, 403},
	} {
		b := a.as(c.key)
		if got := b.do("GET", "/server", nil).status; got != c.health {
			t.Errorf("%s: /server answers %d, want %d", name, got, c.health)
		}
		if got := b.do("GET", "/server/settings", nil).status; got != c.settings {
			t.Errorf("%s: /server/settings answers %d, want %d", name, got, c.settings)
		}
	}
	v := a.portal("acme")
	for _, path := range []string{"/server", "/server/settings"} {
		if p := v.send("GET", path, nil); p.status != 403 {
			t.Errorf("%s for a portal visitor: %d", path, p.status)
		}
	}
	if v.get("/t/acme/settings").Find(`a[href="/server/settings"]`).Length() != 0 {
		t.Error("a portal visitor is led to the server's settings")
	}
}

func TestSettingsOfTheWholeServer(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	type setting struct {
		Name, Value, Source, From, Help string
		Set, Secret                     bool
	}
	var list struct{ Models []setting }
	out := a.want(200, "GET", "/server/settings", nil)
	if err := json.Unmarshal([]byte(out.raw), &list); err != nil {
		t.Fatal(err)
	}
	byName := map[string]setting{}
	for _, s := range list.Models {
		byName[s.Name] = s
	}
	for _, line := range strings.Split(config.EnvExample(), "\n") {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "#"), "="); ok && !strings.Contains(name, " ") && byName[name].Help == "" {
			t.Errorf("%s is missing", name)
		}
	}
	if s := byName["SECRET_KEY"]; s.Value != "" || !s.Set || !s.Secret || s.Source != "environment" {
		t.Errorf("SECRET_KEY: %+v", s)
	}
	if s := byName["RETENTION_DAYS"]; s.Value != "30" || s.Source != "default" {
		t.Errorf("RETENTION_DAYS: %+v", s)
	}
	for _, secret := range []string{testKey, "a secret for tests that is long enough"} {
		if strings.Contains(out.raw, secret) {
			t.Errorf("the answer holds %s", secret)
		}
	}
	if err := json.Unmarshal([]byte(a.want(200, "GET", "/server/settings?q=retry_sched", nil).raw), &list); err != nil ||
		len(list.Models) != 1 || list.Models[0].Value != "1ms,1ms" {
		t.Errorf("found %+v", list.Models)
	}

	v := a.visitor()
	p := v.get("/server/settings")
	rows := map[string]string{}
	p.Find("tbody tr").Each(func(_ int, s *goquery.Selection) {
		rows[s.Find("th code").Text()] = strings.Join(strings.Fields(s.Find("td").First().Text()+" "+s.Find("td").Last().Text()), " ")
	})
	for name, want := range map[string]string{"RETRY_SCHEDULE": "1ms,1ms Environment", "SECRET_KEY": "set Environment", "MAIL_FROM": "not set Default",
		"DELIVERY_TIMEOUT": "15s 15 s Default", "BULK_RETRY_LIMIT": "100000 100,000 Default", "RETENTION_DAYS": "30 30 days Default",
		"MAX_PAYLOAD": "262144 256.0 KiB Default", "MANUAL_RETRY_LIMIT": "10 Default"} {
		if rows[name] != want {
			t.Errorf("%s: %q, want %q", name, rows[name], want)
		}
	}
	if len(rows) != len(byName) {
		t.Errorf("%d settings on the page, %d in the API", len(rows), len(byName))
	}
	if p = v.get("/server/settings?q=smtp"); p.Find("tbody tr").Length() == 0 || p.Find("tbody tr").Length() > 4 {
		t.Errorf("found %d", p.Find("tbody tr").Length())
	}
	v.get("/server/settings?q=nothing-like-it").says("No setting matches")
	if v.get("/t/acme/settings").Find(`a[href="/server/settings"]`).Length() != 1 {
		t.Error("a tenant's settings do not lead to the server's")
	}
}

func TestCheckConfigTellsSources(t *testing.T) {
	t.Setenv("PORT", "4321")
	t.Setenv("API_KEY", "a-secret-api-key-of-the-test")
	t.Setenv("DATABASE_URL", "")
	var out bytes.Buffer
	if err := checkConfig(context.Background(), nil, &out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{"PORT", "4321", "Derived: PORT", "The configuration is fine for `waybill serve`."} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q: %s", want, text)
		}
	}
	if strings.Contains(text, "a-secret-api-key") {
		t.Error("it tells the key")
	}
}
