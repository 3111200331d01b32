package queue_test

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
	"github.com/waybill-dev/waybill/models/queue"
	"github.com/waybill-dev/waybill/models/seal"
)

// openStore opens a store over a database of the test's own, with few connections.
func openStore(t *testing.T) (s *models.Store, url string) {
	t.Helper()
	keys, err := seal.New("a secret for tests that is long enough")
	if err != nil {
		t.Fatal(err)
	}
	url = modelstest.DB(t)
	s, err = models.Open(t.Context(), models.Options{URL: url, Keys: keys, Rules: models.DefaultRules(), MaxConns: 2, HotConns: 1, JobConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, url
}

// TestPlansOfAnEmptyTable: statements on the table of jobs are planned when it was vacuumed while it was empty, and stay fast when
// it has grown since. They read the rows that they want, and no others.
func TestPlansOfAnEmptyTable(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, url := openStore(t)
	db := modelstest.Connect(t, url)
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.Exec(ctx, query, args...); err != nil {
			t.Fatal(err)
		}
	}
	const fill = `insert into river.river_job (args, kind, max_attempts, queue, state, scheduled_at)
		select '{}', 'deliver', 10, 'deliver', 'available', now() - interval '1 second' from generate_series(1, 20000)`
	exec(fill)
	exec("delete from river.river_job")
	exec("vacuum analyze river.river_job")
	const worker = "11111111-1111-1111-1111-111111111111"
	run := func() { // what plans the statements
		t.Helper()
		if _, err := queue.Fetch(ctx, s.Jobs, worker, queue.Deliver, 10, 100); err != nil {
			t.Fatal(err)
		}
		if _, err := queue.Empty(ctx, s.Jobs, queue.Retry); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Queue.Aside(ctx, s.Jobs, queue.Deliver); err != nil {
			t.Fatal(err)
		}
		if _, err := queue.FetchAside(ctx, s.Jobs, worker, queue.Deliver, []int64{1}, []int{1}, 100); err != nil {
			t.Fatal(err)
		}
		if err := s.Queue.PutAside(ctx, worker, queue.Deliver, []int64{3}, []int64{4}); err != nil {
			t.Fatal(err)
		}
		b := &pgx.Batch{}
		s.Queue.Settle(b, worker, []int64{1}, []int64{2}, map[int64]bool{})
		s.Queue.SettleAll(b, worker, []int64{1}, []int64{2}, func(statement, n string) string {
			return "with settled as (" + statement + ") select (select count(*) from settled) = " + n
		})
		if err := s.Hot.SendBatch(ctx, b).Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Queue.Postpone(ctx, worker, 1, 0); err != nil {
			t.Fatal(err)
		}
	}
	run()
	run()
	exec(fill)
	exec(`insert into river.river_job (args, kind, max_attempts, queue, state, priority, scheduled_at)
		select jsonb_build_object('n', i % 50 + 1), 'deliver', 10, 'deliver', 'available', 2, now() - interval '1 second' from generate_series(1, 20000) i`)
	exec("select pg_stat_force_next_flush()") // as those who are busy do
	exec("update river.river_job set state = 'running', attempted_by = array[$1::text] where id % 1000 = 7", worker)
	ids := `(select array_agg(id) from (select id from river.river_job where state = 'running' order by id limit 5) r)`
	var running string
	if err := db.QueryRow(ctx, "select "+ids+"::text").Scan(&running); err != nil {
		t.Fatal(err)
	}
	// Fetching has one plan. The others get a new one soon, because the table has grown.
	if plan, pages := planOf(ctx, t, s.Jobs, "with due as materialized ( select ctid%", `('`+worker+`', 'deliver', 10, 100)`); pages > 300 {
		t.Errorf("fetching 10 jobs looks at %d pages:\n%s", pages, plan)
	}
	if plan, pages := planOf(ctx, t, s.Jobs, "with recursive t(n)%", `('deliver', 500)`); pages > 400 {
		t.Errorf("listing 50 tenants that have jobs aside looks at %d pages:\n%s", pages, plan)
	}
	if plan, pages := planOf(ctx, t, s.Jobs, "with due as materialized ( select j.ctid%", `('`+worker+`', 'deliver', '{5,5}', 100, '{7,8}')`); pages > 300 {
		t.Errorf("fetching 10 jobs that were put aside looks at %d pages:\n%s", pages, plan)
	}
	if plan, pages := planOf(ctx, t, s.Jobs, "select exists (select 1 from (values%", `('deliver')`); pages > 20 {
		t.Errorf("finding out that a queue is not empty looks at %d pages:\n%s", pages, plan)
	}
	for like, args := range map[string]string{
		"delete from river.river_job%":                                  `('` + running + `', '` + worker + `')`,
		"update river.river_job set metadata%":                          `('` + running + `', '` + worker + `')`,
		"with settled as (delete from river.river_job%":                 `('` + running + `', '` + worker + `')`,
		"with settled as (update river.river_job%":                      `('` + running + `', '` + worker + `')`,
		"with gone as (delete from river.river_job where id = any($2)%": `(0, '` + running + `', '` + worker + `')`,
	} {
		const few = 120 // of about 150 in the index
		for deadline := time.Now().Add(20 * time.Second); ; {
			plan, pages := planOf(ctx, t, s.Hot, like, args)
			if pages <= few {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%s looks at %d pages for 5 jobs:\n%s", like, pages, plan)
				break
			}
		}
	}
}

// planOf runs a statement that a connection has prepared, and takes it back. pages is how many it looks at.
func planOf(ctx context.Context, t *testing.T, pool *pgxpool.Pool, like, args string) (plan string, pages int) {
	t.Helper()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	var name string
	if err := conn.QueryRow(ctx,
		"select name from pg_prepared_statements where regexp_replace(statement, '\\s+', ' ', 'g') like $1 limit 1",
		like).Scan(&name); err != nil {
		t.Fatal(like, err)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	rows, err := tx.Query(ctx, `explain (analyze, buffers) execute "`+name+`" `+args, pgx.QueryExecModeExec)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`shared hit=(\d+)`).FindStringSubmatch(strings.Join(lines, "\n"))
	if m == nil {
		t.Fatal("no pages in ", lines)
	}
	pages, _ = strconv.Atoi(m[1])
	return strings.Join(lines, "\n"), pages
}
