package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// patient is a database with a few deliveries, and nobody at work on it.
type patient struct {
	*testing.T
	url  string
	conn *pgx.Conn
	key  string // SECRET_KEY

	older string // SECRET_KEY_PREVIOUS
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	p := &patient{T: t, url: modelstest.DB(t), key: "a secret for tests that is long enough"}
	as := *p // the process goes on to look at its environment, while the test gives the doctor others
	cfg, err := config.ReadConfig("web", as.env)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Port = 0
	web := newProcessOf(t, cfg)
	web.tenant("acme")
	web.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "hook", "type": "webhook", "topics": []string{"x"},
		"config": map[string]any{"url": "https://example.com"}})
	web.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "off", "type": "echo", "topics": "*"})
	web.want(200, "PUT", "/tenants/acme/destinations/off/disable", nil)
	for i := range 3 {
		web.want(202, "POST", "/publish", map[string]any{"tenant_id": "acme", "topic": "y", "data": map[string]any{"n": i}})
	}
	if p.conn, err = pgx.Connect(context.Background(), p.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.conn.Close(context.Background()) })
	return p
}

func (p *patient) env(name string) string {
	return map[string]string{"DATABASE_URL": p.url, "SECRET_KEY": p.key, "SECRET_KEY_PREVIOUS": p.older, "API_KEY": testKey,
		"HOST":     "127.0.0.1",
		"BASE_URL": "http://localhost"}[name]
}

func (p *patient) exec(sql string) {
	p.Helper()
	if _, err := p.conn.Exec(context.Background(), sql); err != nil {
		p.Fatalf("%s: %v", sql, err)
	}
}

// see examines the patient. The server of the tests is set up for speed and not for keeping data, which the doctor finds
// as well, as it finds what all tests together have that server do ("tuning"); that is left out.
func (p *patient) see(repair bool) []models.Finding {
	p.Helper()
	cfg, err := config.ReadConfig("doctor", p.env)
	if err != nil {
		p.Fatal(err)
	}
	found, err := examine(context.Background(), cfg, repair)
	if err != nil {
		p.Fatal(err)
	}
	return slices.DeleteFunc(found, func(f models.Finding) bool {
		return f.Check == "tuning" || strings.Contains(f.Message, "fsync is off") || strings.Contains(f.Message, "full_page_writes is off")
	})
}

// ill are the findings that are not well, as "level check: message".
func ill(found []models.Finding) (out []string) {
	for _, f := range found {
		if f.Level != models.LevelOK {
			out = append(out, f.Level+" "+f.Check+": "+f.Message)
			if f.Advice == "" {
				out = append(out, "no advice about "+f.Check)
			}
		}
	}
	return out
}

// wellAgain has the doctor examine what a crash has left behind. Being slow is no illness of a database.
func wellAgain(t *testing.T, env map[string]string) {
	t.Helper()
	cfg, err := config.ReadConfig("doctor", func(name string) string {
		if name == "SECRET_KEY" {
			return "a secret for tests that is long enough"
		}
		return env[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	found, err := examine(context.Background(), cfg, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Level == models.LevelFail && f.Check != "settings" { // the tests' server is not set up to keep data
			t.Errorf("%s: %s %v", f.Check, f.Message, f.Examples)
		}
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	var db string
	if err := p.conn.QueryRow(context.Background(), "select current_database()").Scan(&db); err != nil {
		t.Fatal(err)
	}
	p.exec("alter database " + db + " set synchronous_commit = on")
	p.exec("insert into processes (id, role, host, pid) values ('alive', 'work', 'h', 1); update processes set seen_at = now() + interval '1 hour'")
	if got := ill(p.see(false)); len(got) != 0 {
		t.Fatalf("a healthy database: %q", got)
	}
	inbox := "(select key from destinations where id = 'inbox')"
	event := "(select event_id from deliveries where destination_key = " + inbox + " order by 1 limit 1)"
	yesterday := migrations.LowestID(time.Now().Add(-time.Hour))
	packed := func(id, turn string) string { // the arguments of a job for one delivery
		return "jsonb_build_object('d', " + inbox + ", 'i', encode(decode(replace(" + id + "::text, '-', '') || lpad(to_hex(" + turn +
			"), 8, '0'), 'hex'), 'base64'))"
	}
	job := func(args, more string) string {
		return "insert into river.river_job (args, kind, max_attempts, queue, state, scheduled_at, attempted_by, attempted_at) values (" +
			args + ", 'deliver', 100, 'deliver', " + more + ")"
	}
	today := migrations.PartitionName("events", time.Now())
	for _, c := range []struct {
		name   string
		plant  string
		want   []string // what is found, by its beginning
		undo   string   // empty where repair does it
		repair bool
	}{
		{"a delivery without its job", "create table k as select * from river.river_job; delete from river.river_job",
			[]string{"fail deliveries: 3 deliveries are unfinished, and no job carries them (map[pending:3])"}, "drop table k",
			true},
		{"a delivery at another turn than its job", "update deliveries set turn = turn + 1, status = 'delivering' where event_id = " +
			event + " and destination_key = " + inbox,
			[]string{"fail deliveries: 1 deliveries are unfinished"}, "select 1", true},
		{"a job of a dead process",
			"update river.river_job set state = 'running', attempted_by = array['gone'], attempted_at = now() where id = (select min(id) from river.river_job)",
			[]string{"fail dead workers: 1 jobs belong to processes that are gone"}, "select 1", true},
		{"a job of a process that is silent",
			"insert into processes (id, role, host, pid, seen_at) values ('silent', 'work', 'h', 2, now() - interval '1 minute'); update river.river_job set state = 'running', attempted_by = array['silent'], attempted_at = now() where id = (select min(id) from river.river_job)",
			[]string{"fail dead workers: 1 jobs belong"}, "delete from processes where id = 'silent'", true},
		{"a job without its delivery", job(packed("'"+yesterday+"'", "0"), "'available', now(), '{}', null"),
			[]string{"fail events: 1 deliveries wait for events that cannot be found", "fail jobs: 1 jobs carry deliveries that do not exist"},
			"delete from river.river_job where id = (select max(id) from river.river_job)", false},
		{"an event is missing", "create table k as select * from events where id = " + event + "; delete from events where id = " + event,
			[]string{"fail events: "}, "insert into events select * from k; drop table k", false},
		{"a job of a day that was dropped", job(packed("'"+migrations.LowestID(time.Now().AddDate(0, 0, -40))+"'", "0"),
			"'available', now(), '{}', null"),
			nil, "delete from river.river_job where id = (select max(id) from river.river_job)", false},
		{"two jobs for one turn",
			"insert into river.river_job (args, kind, max_attempts, queue, state) select args, kind, max_attempts, queue, state from river.river_job order by id desc limit 1",
			[]string{"fail jobs: "}, "delete from river.river_job where id = (select max(id) from river.river_job)", false},
		{"a job for a turn to come", job(packed(event, "99"), "'available', now(), '{}', null"),
			[]string{"fail jobs: 1 jobs are for a turn"}, "delete from river.river_job where id = (select max(id) from river.river_job)",
			false},
		{"jobs that nobody takes",
			"update river.river_job set scheduled_at = now() - interval '2 minutes'; update processes set seen_at = now() - interval '1 minute' where id = 'alive'",
			[]string{"fail workers: No worker is alive, and "},
			"update river.river_job set scheduled_at = now(); update processes set seen_at = now() + interval '1 hour'", false},
		{"held for an active destination", "update destinations set disabled_at = null where id = 'off'",
			[]string{"warn held: Deliveries are held although their destination is active"},
			"update destinations set disabled_at = now() where id = 'off'", false},
		{"about to be released",
			"update destinations set disabled_at = null where id = 'off'; insert into river.river_job (args, kind, max_attempts, queue) select jsonb_build_object('Destination', key), 'release', 100, 'upkeep' from destinations where id = 'off'",
			nil, "update destinations set disabled_at = now() where id = 'off'; delete from river.river_job where kind = 'release'", false},
		{"held for a deleted destination", "update destinations set deleted_at = now() where id = 'off'",
			[]string{"fail held: Deliveries are held for deleted destinations"}, "select 1", true},
		{"deliveries that wait for their order",
			"create table k as select * from river.river_job; delete from river.river_job; insert into ordered_deliveries (destination_key, ordering_key, event_id) select destination_key, 'k', event_id from deliveries where destination_key = " + inbox + " order by event_id",
			[]string{"fail deliveries: 1 deliveries are unfinished"},
			"delete from ordered_deliveries; delete from river.river_job; update deliveries set turn = turn - 1 where event_id = " +
				event + " and destination_key = " + inbox + "; insert into river.river_job select * from k; drop table k", true},
		{"a day is missing", "drop table " + migrations.PartitionName("attempts", time.Now().AddDate(0, 0, 1)),
			[]string{"fail partitions: attempts has partitions for 0 days after today"}, "migrate", false},
		{"rows without a day",
			"insert into events (id, tenant_key, topic, retry, data) values ('ffffffff-ffff-7fff-8fff-ffffffffffff', 1, '', true, '{}')",
			[]string{"warn partitions: events_default holds rows"}, "delete from events_default", false},
		{"a day past its retention", "create table events_20200101 partition of events for values from ('" +
			migrations.LowestID(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)) + "') to ('" + migrations.LowestID(time.Date(2020, 1, 2, 0, 0,
			0, 0, time.UTC)) + "')",
			[]string{"warn retention: events still has the day 2020-01-01"}, "drop table events_20200101", false},
		{"an index that is not valid", "update pg_index set indisvalid = false where indexrelid = '" + today + "_pkey'::regclass",
			[]string{"fail indexes: 1 indexes are not valid"}, "update pg_index set indisvalid = true where indexrelid = '" + today +
				"_pkey'::regclass", false},
		{"the queue's settings are lost", "alter table river.river_job reset (autovacuum_vacuum_scale_factor)",
			[]string{"fail vacuum: The job queue's table has lost its settings"}, "migrate", false},
		{"commits are not on disk", "alter database " + db + " set synchronous_commit = off",
			[]string{"fail settings: Events that were accepted can be lost"}, "alter database " + db + " set synchronous_commit = on",
			false},
		{"another schema", "insert into goose_db_version (version_id, is_applied) values (999, true)",
			[]string{"fail schema: The database schema is newer than this build (it is at version 999, this build knows "},
			"delete from goose_db_version where version_id = 999", false},
		{"a line behind a delivery at its end",
			"insert into ordered_deliveries (destination_key, ordering_key, event_id) select destination_key, 'k', event_id from deliveries where destination_key = " + inbox + " order by event_id; update deliveries set status = 'delivered' where destination_key = " + inbox + " and event_id = " + event + "; delete from river.river_job where kind = 'deliver'",
			[]string{"fail order: 1 deliveries are finished"}, "select 1", true},
	} {
		p.exec(c.plant)
		found := p.see(false)
		got := ill(found)
		if len(got) != len(c.want) || slices.ContainsFunc(c.want, func(w string) bool {
			return !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) })
		}) {
			t.Errorf("%s: found %q, want %q", c.name, got, c.want)
		}
		if c.repair {
			p.see(true)
		}
		if c.undo == "migrate" {
			if err := migrations.Apply(context.Background(), p.url); err != nil {
				t.Fatal(err)
			}
		} else {
			p.exec(c.undo)
		}
		if got := ill(p.see(false)); len(got) != 0 {
			t.Fatalf("after %q, repaired: %q", c.name, got)
		}
	}

	// What is repaired goes out: of the last line the second one.
	var jobs, held int
	if err := p.conn.QueryRow(context.Background(), `select (select count(*) from river.river_job where kind = 'deliver'),
		(select count(*) from deliveries where status = 'held')`).Scan(&jobs, &held); err != nil || jobs != 1 || held != 0 {
		t.Errorf("%d jobs queued again, %d held, %v", jobs, held, err)
	}

	p.key = "another secret that is as long as it has to be"
	if got := ill(p.see(false)); len(got) != 1 || !strings.HasPrefix(got[0],
		"fail secrets: SECRET_KEY does not open the credentials of 1 of 1") {
		t.Errorf("another SECRET_KEY: %q", got)
	}
	p.key = ""
	if got := ill(p.see(false)); len(got) != 1 || !strings.HasPrefix(got[0], "warn secrets: Not checked") {
		t.Errorf("no SECRET_KEY: %q", got)
	}
}

func TestDoctorPrints(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	var out bytes.Buffer
	if err := doctor(t.Context(), []string{"-json"}, p.env, &out); !errors.Is(err, errUnwell) { // the tests' server has fsync off
		t.Errorf("%v\n%s", err, out.String())
	}
	var answer struct {
		OK     bool
		Checks []models.Finding
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil || answer.OK || len(answer.Checks) < 10 {
		t.Errorf("%v: %s", err, out.String())
	}
	out.Reset()
	if err := doctor(t.Context(), nil, p.env, &out); !errors.Is(err, errUnwell) || !strings.Contains(out.String(), "fail  settings") ||
		!strings.Contains(out.String(), "Something is wrong") {
		t.Errorf("%v\n%s", err, out.String())
	}
	out.Reset()
	printFindings(&out, []models.Finding{{Check: "clock", Level: models.LevelOK, Message: "All is well."}}, false)
	if want := "ok    clock         All is well.\n\nThe database is well.\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
	if err := doctor(t.Context(), nil, func(name string) string { return map[string]string{"DATA_DIR": t.TempDir()}[name] },
		&out); err == nil || !strings.Contains(err.Error(), "set DATABASE_URL") {
		t.Errorf("without a server: %v", err)
	}
	err := doctor(t.Context(), nil, func(name string) string {
		return map[string]string{"DATABASE_URL": "postgres://u:geheim@127.0.0.1:1/x"}[name]
	}, &out)
	if err == nil || strings.Contains(err.Error()+out.String(), "geheim") {
		t.Errorf("a server that is not there: %v\n%s", err, out.String())
	}
}
