package queue

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Fetched is a job that was taken: its row, with the names of River's columns.
type Fetched struct {
	ID          int64
	Args        []byte
	Attempt     int
	AttemptedAt *time.Time
	AttemptedBy []string
	CreatedAt   time.Time
	Errors      [][]byte // JSON, one for each time that the job failed
	Kind        string
	MaxAttempts int
	Metadata    []byte
	Priority    int
	Queue       string
	ScheduledAt time.Time
	State       string
	Tags        []string
}

// fetch takes up to $3 jobs of the queue $2 that are due for the worker $1, the longest due first. It finds the rows again by
// where they are, for their locks keep them there. By id, PostgreSQL would have to choose between two indexes and two orders of a
// join, and when the table was empty a moment ago (it often is) they all look alike: it then reads a whole index for each job, and
// keeps to that plan while the table grows. What was put aside is not among them; see aside.go.
const fetch = `with due as materialized (
		select ctid from ` + Schema + `.river_job
		where state = 'available' and queue = $2 and priority = 1 and scheduled_at <= now()
		order by scheduled_at, id limit $3 for update skip locked)` + taken

// taken says that the jobs that are due are a worker's now.
const taken = `
	update ` + Schema + `.river_job j set state = 'running', attempt = j.attempt + 1, attempted_at = now(),
		attempted_by = array_append(case when array_length(j.attempted_by, 1) >= $4 then j.attempted_by[array_length(j.attempted_by,
			1) + 2 - $4:]
			else j.attempted_by end, $1::text)
	from due where j.ctid = due.ctid
	returning j.id, j.args, j.attempt, j.attempted_at, j.attempted_by, j.created_at, j.errors, j.kind, j.max_attempts, j.metadata,
		j.priority, j.queue, j.scheduled_at, j.state::text, j.tags`

// Fetch takes up to limit jobs of a queue that are due. The last workers that had a job are remembered, that many at most.
func Fetch(ctx context.Context, pool *pgxpool.Pool, worker, name string, limit, workers int) ([]Fetched, error) {
	return take(ctx, pool, fetch, worker, name, limit, workers)
}

// waiting finds one job of a queue that waits, due or not, in line or put aside.
const waiting = `select exists (select 1 from (values (1::smallint), (2)) p (priority) cross join lateral (
	select 1 from ` + Schema + `.river_job where state = 'available' and queue = $1 and priority = p.priority limit 1) j)`

// Empty reports whether no job of a queue waits, neither now nor for its time. It is one statement, where a fetch of nothing is three.
func Empty(ctx context.Context, pool *pgxpool.Pool, name string) (bool, error) {
	var some bool
	err := pool.QueryRow(ctx, waiting, name).Scan(&some)
	return !some, err
}

func take(ctx context.Context, pool *pgxpool.Pool, query string, args ...any) ([]Fetched, error) {
	rows, err := pool.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	var out []Fetched
	var f Fetched
	_, err = pgx.ForEachRow(rows, []any{&f.ID, &f.Args, &f.Attempt, &f.AttemptedAt, &f.AttemptedBy, &f.CreatedAt, &f.Errors, &f.Kind,
		&f.MaxAttempts,
		&f.Metadata, &f.Priority, &f.Queue, &f.ScheduledAt, &f.State, &f.Tags}, func() error {
		out = append(out, f)
		f = Fetched{} // what it points to is the caller's
		return nil
	})
	return out, err
}

// How often a process looks whether the table has outgrown what PostgreSQL knows of it, and from how many jobs on that matters.
const (
	sizeWatch = time.Second
	manyJobs  = 1000
)

// watchSize has the table analyzed when it has grown fourfold, until ctx ends. Autovacuum likes to look at it while it is empty,
// and statements keep the plan that was good then (they find a job by reading a whole index) until it is analyzed again, which
// autovacuum would do a minute later.
func (q *Queue) watchSize(ctx context.Context) {
	tick := time.NewTicker(sizeWatch)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var known, jobs float64
		err := q.pools.Jobs.QueryRow(ctx,
			"select reltuples, pg_stat_get_live_tuples(oid) from pg_class where oid = '"+Schema+".river_job'::regclass").Scan(&known, &jobs)
		if err != nil || jobs < manyJobs || jobs < 4*known {
			continue // without the database nothing is slow but the database
		}
		if _, err := q.pools.Jobs.Exec(ctx, "analyze "+Schema+".river_job"); err != nil && ctx.Err() == nil {
			q.log.Warn("cannot analyze the table of jobs; statements on it may be slow until autovacuum does", "error", err)
		}
	}
}
