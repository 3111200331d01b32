package models

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/modelstest"
	"github.com/waybill-dev/waybill/models/queue"
)

// removal is a server with two cells, and what moves tenants between them.
type removal struct {
	*testing.T
	home  *Store
	cells map[string]*Store
	mover *Mover
	dies  func(step string) error
}

func newRemoval(t *testing.T) *removal {
	t.Helper()
	home := openStore(t, Options{URL: modelstest.DB(t)})
	if err := home.KnowPartitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &removal{T: t, home: home, cells: map[string]*Store{HomeCell: home, "eu1": withCell(t, home, "eu1"), "eu2": withCell(t, home, "eu2")}}
	r.newMover()
	return r
}

// newMover has somebody else go on, who knows only what is in the databases.
func (r *removal) newMover() {
	r.mover = &Mover{Home: r.home, Log: slog.New(slog.NewTextHandler(r.Output(), nil)), Open: func(cell string) (*Store, error) {
		return r.cells[cell], nil
	}, between: func(step string) error {
		if r.dies != nil {
			return r.dies(step)
		}
		return nil
	}}
}

func (r *removal) exec(s *Store, sql string, args ...any) {
	r.Helper()
	if _, err := s.pool.Exec(r.Context(), sql, args...); err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
}

func (r *removal) number(s *Store, sql string, args ...any) (n int64) {
	r.Helper()
	if err := s.pool.QueryRow(r.Context(), sql, args...).Scan(&n); err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
	return n
}

// start begins a move. Its job is not for anybody here.
func (r *removal) start(cell string) *Move {
	r.Helper()
	m, err := r.home.StartMove(r.Context(), "acme", cell, "Ann")
	if err != nil {
		r.Fatal(err)
	}
	return m
}

// advance does one step, and returns the move as it is then.
func (r *removal) advance(m *Move) (*Move, MoveStep, error) {
	r.Helper()
	step, err := r.mover.Advance(r.Context(), m.Key)
	now, readErr := moveRow(r.Context(), r.home.pool, m.Key)
	if readErr != nil {
		r.Fatal(readErr)
	}
	return now, step, err
}

// until goes on with a move until it has come to a phase.
func (r *removal) until(m *Move, phase string) *Move {
	r.Helper()
	for deadline := time.Now().Add(time.Minute); m.Phase != phase; {
		var err error
		var step MoveStep
		if m, step, err = r.advance(m); err != nil {
			r.Fatalf("in phase %s: %v", m.Phase, err)
		}
		if time.Now().After(deadline) || step.Over && m.Phase != phase {
			r.Fatalf("the move is in phase %s: %+v", m.Phase, m)
		}
		if step.Wait > moveRest { // for late counts, of which there are none
			r.exec(r.home, "update tenant_moves set switched_at = switched_at - interval '1 minute'")
		}
	}
	return m
}

// everything fills a tenant with rows of every kind, and returns its key.
func (r *removal) everything(s *Store, id string) int64 {
	r.Helper()
	ctx := r.Context()
	if _, _, err := r.home.PutTenant(ctx, id, map[string]string{"plan": "gold"}); err != nil {
		r.Fatal(err)
	}
	key := r.number(s, "select key from tenants where id = $1", id)
	for name, patch := range map[string]DestinationPatch{"all": {}, "ordered": {"ordered": true},
		"picky": {"filter": json.RawMessage(`{"data": {"n": {"$gt": 1000}}}`), "topics": []string{"*", "waybill.tenant.updated"}}} {
		patch["id"], patch["type"] = name, "echo"
		if patch["topics"] == nil {
			patch["topics"] = []string{"*"}
		}
		if _, err := s.CreateDestination(ctx, AllTenants(), id, DestinationInput{Patch: patch}); err != nil {
			r.Fatal(err)
		}
	}
	a := NewAccepter(s, nil, slog.New(slog.DiscardHandler))
	defer a.Close()
	for i := range 60 {
		in := &PublishInput{TenantID: id, Data: json.RawMessage(fmt.Sprintf(`{"n": %d}`, i)), OrderingKey: fmt.Sprint("k", i%3),
			Metadata: map[string]string{"a": "b"}}
		if i%2 == 0 {
			in.ID = fmt.Sprintf("%s-%d", id, i)
		}
		if _, err := a.Publish(ctx, in); err != nil {
			r.Fatal(err)
		}
	}
	for _, sql := range []string{
		// Half of them were sent, some more than once.
		`insert into attempts (event_id, destination_key, tenant_key, started_at, number, duration_us, ok, trigger, code, response_body)
			select event_id, destination_key, tenant_key, now(), n, 5, n = 2, 'automatic', 200, 'body' from deliveries, generate_series(1, 2) n
			where tenant_key = $1 and get_byte(uuid_send(event_id), 15) % 2 = 0`,
		`update deliveries d set status = 'delivered', attempts = 2, last_code = 200 where tenant_key = $1 and exists (select 1 from attempts a
			where a.event_id = d.event_id and a.destination_key = d.destination_key)`,
		`update deliveries set status = 'retrying', turn = 3, next_attempt_at = now() + interval '1 hour', error = 'x' where tenant_key = $1
			and status = 'pending' and get_byte(uuid_send(event_id), 14) % 3 = 0`,
		`insert into destination_transforms (destination_key, transform) select key, '{}' from destinations where tenant_key = $1`,
		`insert into destination_health (destination_key, tenant_key, failures) select key, tenant_key, 3 from destinations where tenant_key = $1`,
		`insert into health_minutes (destination_key, minute, tenant_key, deliveries, failed_deliveries, attempts, failed_attempts, given_up, peak,
			at_end, filter_failures, lag_ms) select key, now() - n * interval '3 hours', tenant_key, n, 0, n, 0, 0, 0, 0, 0, 7 from destinations,
			generate_series(1, 9) n where tenant_key = $1`,
		`insert into channels (owner_key, id, name, type) values ($1, 'ch_' || $1::bigint, 'Ops', 'email')`,
		`insert into channel_unsubscribes (channel_key, address) select key, 'a@example.com' from channels where owner_key = $1`,
		`insert into alerts (id, owner_key, rule_key, tenant_key, destination_key, status, severity, summary, detail, opened_at, updated_at)
			select gen_random_uuid(), $1, a.key, $1, d.key, 'open', 'warning', 's', '{}', now(), now() from alert_rules a, destinations d
			where a.owner_key = $1 and d.tenant_key = $1`,
		`insert into notifications (id, owner_key, channel_key, kind, status, notice, created_at) select gen_random_uuid(), $1, c.key, 'test',
			'queued', '{}', now() from channels c, generate_series(1, 5) where c.owner_key = $1`,
		`insert into river.river_job (args, kind, max_attempts, queue) select jsonb_build_object('id', id), 'notice', 10, 'notify' from notifications
			where owner_key = $1`,
		`insert into bulk_retries (id, tenant_key, actor, status, filter, rate, total, created_at) values (gen_random_uuid(), $1, 'Ann', 'paused', '{}',
			10, 5, now())`,
		`insert into erasures (id, tenant_key, actor, scope, created_at, finished_at) values (gen_random_uuid(), $1, 'Ann', 'tenant', now(), now())`,
		`insert into kept_marks (tenant_key) values ($1)`,
		`insert into kept_later (tenant_key, event_id) select $1, id from events where tenant_key = $1 limit 4`,
		`insert into kept_topic_marks (tenant_key, days, patterns) values ($1, 3, '{*}')`,
		`insert into retry_minutes (tenant_key, minute, retries) values ($1, now(), 4)`,
		`insert into destination_retry_minutes (destination_key, minute, retries) select key, now(), 4 from destinations where tenant_key = $1`,
		`insert into usage_days (tenant_key, day, received, bytes, first, attempts, delivered, failed) values ($1, current_date - 1, 1, 2, 3, 4, 5, 6)`,
		`insert into filter_counts (filter_key, hour, rule, events) select f.key, date_trunc('hour', now()) - n * interval '1 hour', 1, 5
			from destination_filters f join destinations d on d.key = f.destination_key, generate_series(1, 30) n where d.tenant_key = $1`,
		`insert into outcome_readers (tenant_key, source, version, since) values ($1, 'feed', 0, 1) on conflict do nothing`,
	} {
		r.exec(s, sql, key)
	}
	if err := s.PlaceChanges(ctx); err != nil {
		r.Fatal(err)
	}
	return key
}

// rows reads all that a database has of a tenant, by table, as JSON. What is the database's own is left out.
func (r *removal) rows(s *Store, key int64) map[string][]string {
	r.Helper()
	out := map[string][]string{}
	for i := range movedTables {
		t := &movedTables[i]
		own := "'{cell,held_until,feed_base,feed_since}'::text[]"
		order := "1"
		switch t.name {
		case "ordered_deliveries":
			own, order = "'{seq}'::text[]", "x.destination_key, x.ordering_key, x.seq"
		case "changes":
			own, order = "'{seq,position,was}'::text[]", "x.position, x.seq"
		case "outcome_readers":
			own = "'{version,since,asked_at}'::text[]"
		}
		rows, err := s.pool.Query(r.Context(), "select (to_jsonb(x) - "+own+")::text from "+t.name+" x where "+t.where(key)+" order by "+order)
		if err != nil {
			r.Fatal(err)
		}
		if out[t.name], err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			r.Fatal(err)
		}
	}
	m := &Move{TenantKey: key}
	rows, err := s.pool.Query(r.Context(), "select kind || queue || priority || args::text from "+queue.Schema+".river_job where "+m.jobsOf()+" order by 1")
	if err != nil {
		r.Fatal(err)
	}
	if out["river_job"], err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		r.Fatal(err)
	}
	return out
}

// same compares what there was of a tenant with what there is.
func (r *removal) same(before, after map[string][]string, but ...string) {
	r.Helper()
	for _, table := range slices.Sorted(maps.Keys(before)) {
		if slices.Contains(but, table) {
			continue
		}
		if len(before[table]) != len(after[table]) {
			r.Errorf("%s had %d rows, and has %d", table, len(before[table]), len(after[table]))
			continue
		}
		for i, row := range before[table] {
			if row != after[table][i] {
				r.Errorf("%s, row %d: was\n%s\nis\n%s", table, i, row, after[table][i])
				break
			}
		}
	}
}

// fold has the database count what was recorded.
func (r *removal) fold(s *Store) {
	r.Helper()
	if _, err := NewWatcher(s, slog.New(slog.DiscardHandler)).Pass(r.Context(), time.Now()); err != nil {
		r.Fatal(err)
	}
}

// nothing makes sure that a database has nothing of a tenant but the row that says where it is, and nothing that was made for moves.
func (r *removal) nothing(s *Store, key int64) {
	r.Helper()
	for table, rows := range r.rows(s, key) {
		if len(rows) > 0 && table != "tenants" {
			r.Errorf("%d rows of %s are left: %s", len(rows), table, rows[0])
		}
	}
	r.notMoving(s)
}

func (r *removal) notMoving(s *Store) {
	r.Helper()
	if n := r.number(s, `select (select count(*) from pg_trigger where tgname like 'waybill_move%') + (select count(*) from pg_class c
		join pg_namespace s on s.oid = c.relnamespace where s.nspname = 'waybill_move' and c.relkind = 'r' and c.relname <> 'moving')
		+ (select count(*) from pg_proc p join pg_namespace s on s.oid = p.pronamespace where s.nspname = 'waybill_move')`); n != 0 {
		r.Errorf("%d things that were made for the move are left", n)
	}
}

// TestMoveKnowsAllTables holds the tables that go along with a tenant, and those that do not, against the schema.
func TestMoveKnowsAllTables(t *testing.T) {
	t.Parallel()
	s := openStore(t, Options{URL: modelstest.DB(t)})
	rows, err := s.pool.Query(t.Context(), `select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
		and not c.relispartition order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]int{}
	for i := range movedTables {
		known[movedTables[i].name]++
	}
	for name, why := range notMoved {
		known[name]++
		if why == "" {
			t.Errorf("nobody says why %s stays", name)
		}
	}
	for _, name := range there {
		if known[name] != 1 {
			t.Errorf("the table %s is in %d of the lists in move_tables.go: say what becomes of it when a tenant moves", name, known[name])
		}
		delete(known, name)
	}
	for name := range known {
		t.Errorf("there is no table %s", name)
	}
}

// TestMove moves a tenant with rows of every kind away, on, and back: each time all is as it was, and nothing is left.
func TestMove(t *testing.T) {
	t.Parallel()
	r := newRemoval(t)
	key := r.everything(r.home, "acme")
	other := r.everything(r.home, "other")
	r.fold(r.home)
	before, others := r.rows(r.home, key), r.rows(r.home, other)
	for table, rows := range before {
		if len(rows) == 0 && !strings.HasSuffix(table, "_deltas") {
			t.Errorf("the test has no row of %s", table)
		}
	}
	for _, way := range []struct{ from, to string }{{HomeCell, "eu1"}, {"eu1", "eu2"}, {"eu2", HomeCell}, {HomeCell, "eu1"}} {
		m := r.until(r.start(way.to), MoveDone)
		if m.Source != way.from || m.Target != way.to || m.SwitchedAt == nil || m.Progress.Tries != 1 || m.Error != "" {
			t.Errorf("%+v", m)
		}
		t.Logf("%s to %s: held %d ms, %d rows", way.from, way.to, m.Progress.HeldMs, m.Progress.Rows)
		// The audit log is with those who are there: moves are told at home, which is not the tenant.
		r.same(before, r.rows(r.cells[way.to], key))
		r.nothing(r.cells[way.from], key)
		r.notMoving(r.cells[way.to])
		if cell, _, _, err := r.home.PlaceNow(t.Context(), "acme"); err != nil || cellNamed(&cell) != way.to && !(cell == "" && way.to == HomeCell) {
			t.Errorf("the directory says %q: %v", cell, err)
		}
	}
	r.same(others, r.rows(r.home, other))
}

// publish publishes an event for acme in a cell.
func (r *removal) publish(cell string) error {
	a := NewAccepter(r.cells[cell], nil, slog.New(slog.DiscardHandler))
	defer a.Close()
	_, err := a.Publish(r.Context(), &PublishInput{TenantID: "acme", Data: json.RawMessage(`{"n": 1}`)})
	return err
}

// TestMoveDiesAnywhere kills who moves a tenant between any two transactions, again and again, while something is published: all goes
// on, and nothing is lost or there twice.
func TestMoveDiesAnywhere(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"eu1"} {
		r := newRemoval(t)
		key := r.everything(r.home, "acme")
		killed := errors.New("killed")
		seen := map[string]int{}
		r.dies = func(step string) error {
			if seen[step]++; seen[step] <= 3 {
				return killed
			}
			return nil
		}
		m := r.start(to)
		accepted := 60
		for range 2000 {
			if m.Phase == MoveDone {
				break
			}
			if m.Phase == MoveCatchUp || m.Phase == MoveCopy {
				if err := r.publish(HomeCell); err == nil {
					accepted++
				}
			}
			var err error
			m, _, err = r.advance(m)
			if err != nil {
				if !errors.Is(err, killed) {
					t.Fatalf("in phase %s: %v", m.Phase, err)
				}
				r.newMover()
			}
			if m.Phase == MoveClean && seen["aged"] == 0 {
				seen["aged"] = 1
				r.exec(r.home, "update tenant_moves set switched_at = switched_at - interval '1 minute'")
			}
		}
		if m.Phase != MoveDone {
			t.Fatalf("%+v", m)
		}
		t.Log("killed at", seen)
		for _, step := range []string{"target's row", "capture", "progress", "target commits", "source commits", "hold", "switch", "release", "clean"} {
			if least := map[string]int{"switch": 1}[step]; seen[step] < cmp.Or(least, 3) { // who died after the switch does not switch again
				t.Errorf("nobody died at %q", step)
			}
		}
		there := r.cells[to]
		events := r.number(there, "select count(*) from events where tenant_key = $1", key)
		if int(events) != accepted {
			t.Errorf("%d events were accepted, and %d are there", accepted, events)
		}
		r.nothing(r.home, key)
		// Each delivery that waits is in one job, and the lines are in their order.
		if n := r.number(there, `select count(*) from (select event_id, row_number() over (partition by ordering_key order by seq) n,
			row_number() over (partition by ordering_key order by event_id) e from ordered_deliveries) x where n <> e`); n != 0 {
			t.Errorf("%d places in lines are out of their order", n)
		}
		jobs := r.number(there, "select count(*) from river.river_job where kind = 'deliver'")
		twice := r.number(there, "select count(*) - count(distinct args::text) from river.river_job where kind = 'deliver'")
		if jobs == 0 || twice != 0 {
			t.Errorf("%d jobs, %d of them twice", jobs, twice)
		}
	}
}

// TestMoveRefusesLateWrites: what is written at the source after the switch fails, with an error that says where the tenant is.
func TestMoveRefusesLateWrites(t *testing.T) {
	t.Parallel()
	r := newRemoval(t)
	key := r.everything(r.home, "acme")
	m := r.until(r.start("eu1"), MoveRelease)
	var e *ElsewhereError
	if err := r.publish(HomeCell); !errors.As(err, &e) || e.Cell != "eu1" {
		t.Errorf("publish at the source: %v", err)
	}
	var held *HeldError
	if err := r.publish("eu1"); !errors.As(err, &held) {
		t.Errorf("publish at the target, before it is released: %v", err)
	}
	for _, sql := range []string{"update deliveries set turn = turn + 1 where tenant_key = $1",
		"insert into events (id, tenant_key, topic, retry, data) values (gen_random_uuid(), $1, '', true, '{}')",
		"update channels set name = 'x' where owner_key = $1 returning key", "insert into traffic_deltas select $1, now(), 1, 1, 1, 1, 1, 1"} {
		err := r.home.InTx(t.Context(), func(tx *Tx) error {
			_, err := tx.Exec(t.Context(), sql, key)
			return err
		})
		if strings.Contains(sql, "channels") {
			continue // there is none any more
		}
		if !errors.As(err, &e) || e.TenantID != "acme" || e.Cell != "eu1" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	r.until(m, MoveDone)
	if err := r.publish("eu1"); err != nil {
		t.Error(err)
	}
}

// TestMoveHold: a hold that runs out before the switch ends nothing but this try.
func TestMoveHold(t *testing.T) {
	t.Parallel()
	r := newRemoval(t)
	key := r.everything(r.home, "acme")
	m := r.until(r.start("eu1"), MoveSwitch)
	r.dies = func(step string) error {
		if step == "hold" { // somebody needs ten seconds
			r.exec(r.home, "update tenants set held_until = now() - interval '1 second' where key = $1", key)
		}
		return nil
	}
	m, _, err := r.advance(m)
	if err != nil || m.Phase != MoveCatchUp || m.Progress.Tries != 1 {
		t.Fatalf("%+v: %v", m, err)
	}
	if err := r.publish(HomeCell); err != nil {
		t.Errorf("after the hold: %v", err)
	}
	r.dies = nil
	r.until(m, MoveDone)
	if n := r.number(r.cells["eu1"], "select count(*) from events where tenant_key = $1", key); n != 61 {
		t.Errorf("%d events", n)
	}
}

// TestMoveOfWhatIsUnderWay: a job that a worker has at the switch is done again at the target, and its worker can record nothing.
func TestMoveOfWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	r := newRemoval(t)
	r.everything(r.home, "acme")
	got, err := queue.Fetch(t.Context(), r.home.Jobs, "worker", queue.Deliver, 1, 10)
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	jobs := r.number(r.home, "select count(*) from river.river_job where kind = 'deliver'")
	m := r.until(r.start("eu1"), MoveDone)
	if m.Progress.Running != 1 {
		t.Errorf("%+v", m.Progress)
	}
	if n := r.number(r.cells["eu1"], "select count(*) from river.river_job where kind = 'deliver' and state = 'available'"); n != jobs {
		t.Errorf("%d jobs, want %d", n, jobs)
	}
	if n := r.number(r.cells["eu1"], "select count(*) from river.river_job where attempt = 1 and args = $1", string(got[0].Args)); n != 1 {
		t.Error("the job that was under way is not done again")
	}
}

// TestCancelMove: what was copied is deleted, and the tenant goes on where it is. It can be moved again.
// TestDoctorNamesStuckMoves: the doctor says of each move that does not get on why, and what can be done.
func TestDoctorNamesStuckMoves(t *testing.T) {
	t.Parallel()
	r := newRemoval(t)
	r.everything(r.home, "acme")
	said := func() (out []string) {
		t.Helper()
		var f findings
		if err := r.home.checkMoves(t.Context(), &f, time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, x := range f {
			out = append(out, x.Level+": "+x.Message+" "+x.Advice)
		}
		return out
	}
	wants := func(what ...string) {
		t.Helper()
		got := said()
		if len(got) != 1 {
			t.Fatalf("%q", got)
		}
		for _, w := range what {
			if !strings.Contains(got[0], w) {
				t.Errorf("%q lacks %q", got[0], w)
			}
		}
	}
	if got := said(); got != nil {
		t.Errorf("without moves: %q", got)
	}
	m := r.start("eu1")
	wants("ok", "1 tenant is under way to another cell")
	open := r.mover.Open
	r.mover.Open = func(string) (*Store, error) { return nil, errors.New("nobody serves it") }
	if _, err := r.mover.Advance(t.Context(), m.Key); err == nil {
		t.Fatal("it got on")
	}
	wants("warn", "tenant acme from main to eu1 does not get on (prepare)", "nobody serves it", "waybill cells cancel "+m.ID())
	r.exec(r.home, "update tenant_moves set phase = 'release', switched_at = now() where id = $1", m.Key)
	wants("fail", "nothing can be published to the tenant: the cell", "cannot be cancelled")
	r.exec(r.home, `update tenant_moves set phase = 'catch_up', switched_at = null, error = '', progress = '{"tries": 5, "held_ms": 2100}' where id = $1`, m.Key)
	wants("warn", "has held the tenant 5 times in vain, the last time for 2100 ms")
	r.exec(r.home, "update tenant_moves set phase = 'prepare', progress = '{}' where id = $1", m.Key)
	r.mover.Open = open
	r.until(m, MoveDone)
	if got := said(); got != nil {
		t.Errorf("when it is over: %q", got)
	}
}

func TestCancelMove(t *testing.T) {
	t.Parallel()
	r := newRemoval(t)
	key := r.everything(r.home, "acme")
	r.fold(r.home)
	before := r.rows(r.home, key)
	for _, phase := range []string{MovePrepare, MoveCopy, MoveCatchUp} {
		m := r.until(r.start("eu1"), phase)
		if _, err := r.home.StartMove(t.Context(), "acme", "eu2", "Ann"); !IsKind(err, KindConflict) {
			t.Errorf("a second move is begun: %v", err)
		}
		if _, err := r.home.CancelMove(t.Context(), m.ID()); err != nil {
			t.Fatal(err)
		}
		m, _ = r.home.Move(t.Context(), m.ID())
		m = r.until(m, MoveUndone)
		if m.Open() || m.SwitchedAt != nil {
			t.Errorf("%+v", m)
		}
		r.nothing(r.cells["eu1"], key)
		r.notMoving(r.home)
		r.same(before, r.rows(r.home, key))
		if _, err := r.home.CancelMove(t.Context(), m.ID()); !IsKind(err, KindConflict) {
			t.Errorf("cancelled again: %v", err)
		}
	}
	m := r.until(r.start("eu1"), MoveRelease)
	if _, err := r.home.CancelMove(t.Context(), m.ID()); !IsKind(err, KindConflict) {
		t.Errorf("cancelled after the switch: %v", err)
	}
	r.until(m, MoveDone)
	r.same(before, r.rows(r.cells["eu1"], key))
	// And back: what home has of its own stays when that is cancelled.
	back := r.until(r.start(HomeCell), MoveCatchUp)
	r.exec(r.home, "insert into audit (id, tenant_key, actor, action, object) values ($1, $2, 'Ann', 'member.add', 'x')", uuid.Must(uuid.NewV7()), key)
	if _, err := r.home.CancelMove(t.Context(), back.ID()); err != nil {
		t.Fatal(err)
	}
	back, _ = r.home.Move(t.Context(), back.ID())
	r.until(back, MoveUndone)
	if n := r.number(r.home, "select count(*) from audit where tenant_key = $1", key); n != 1 {
		t.Errorf("home has %d entries", n)
	}
	if err := r.publish("eu1"); err != nil {
		t.Error(err)
	}
}

// TestFeedAfterMove: who reads the changes goes on where they were, with a cursor of before the move.
func TestFeedAfterMove(t *testing.T) {
	t.Parallel()
	r := newRemoval(t)
	key := r.everything(r.home, "acme")
	scope := Scope{key: key}
	read := func(s *Store, since string, limit int) *FeedPage {
		t.Helper()
		p, err := s.Feed(t.Context(), scope, FeedQuery{Since: since, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	all := read(r.home, FeedStart, 1000).Entries
	if len(all) < 4 {
		t.Fatalf("%d changes", len(all))
	}
	cursor := all[1].Cursor
	r.until(r.start("eu1"), MoveDone)
	eu1 := r.cells["eu1"]
	if _, _, err := eu1.PutTenant(t.Context(), "acme", map[string]string{"plan": "silver"}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for page := read(eu1, cursor, 1); ; page = read(eu1, page.Next, 1) {
		for _, e := range page.Entries {
			ids = append(ids, e.ID)
		}
		if !page.More {
			break
		}
	}
	if len(ids) != len(all)-2+1 {
		t.Fatalf("%d changes after the cursor, want %d", len(ids), len(all)-1)
	}
	for i, e := range all[2:] {
		if ids[i] != e.ID {
			t.Errorf("change %d is another one", i)
		}
	}
	published := 0
	if _, err := eu1.PublishChanges(t.Context(), func(_ context.Context, in []*PublishInput) ([]PublishResult, []error) {
		published += len(in)
		return make([]PublishResult, len(in)), make([]error, len(in))
	}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Log("published at the target:", published)
}
