package queue

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Jobs are fetched in the order in which they are due, so that one tenant's thousands would be in everybody's way. What a tenant
// has beyond its share is put aside: it gets River's second priority, and is fetched tenant by tenant, as each has room for it.
// Releases that know nothing of this fetch it after the rest, as River does.
const (
	first = 1 // River's default priority
	aside = 2
)

// AtOnce is how many jobs of a tenant one transaction puts in line with those of the others. The rest is put aside.
const AtOnce = 100

// crowds says which of the jobs are beyond what their tenant may put in line; nil for none.
func crowds(batches []Batch) (beyond []bool) {
	if len(batches) <= AtOnce {
		return nil
	}
	jobs := map[int64]int{}
	for i, b := range batches {
		if b.Tenant == 0 {
			continue
		}
		if jobs[b.Tenant]++; jobs[b.Tenant] <= AtOnce {
			continue
		}
		if beyond == nil {
			beyond = make([]bool, len(batches))
		}
		beyond[i] = true
	}
	return beyond
}

func priorityOf(beyond bool) int16 {
	if beyond {
		return aside
	}
	return first
}

// asides is what a process knows of jobs that were put aside, by queue as wakers are: whether there may be some.
type asides struct {
	seen   [2]atomic.Bool  // some were there when last looked for
	looked [2]atomic.Int64 // when that was, in unix nanoseconds
}

// see says that there are some now.
func (a *asides) see() {
	for i := range a.looked {
		a.looked[i].Store(0)
	}
}

// lookForAside is how often a process looks for jobs that were put aside when it knows of none.
const lookForAside = 25 * time.Millisecond

// What the index river_job_aside has, and no other index could serve: a planner that sees an empty table would take any.
const (
	tenantOf  = "((args->>'n')::bigint)"
	asideJobs = Schema + ".river_job where (state = 'available') is true and (priority = 2) is true and queue || '' = "
)

const (
	// waitingAside lists the tenants that have jobs aside, by one step in the index for each.
	waitingAside = `with recursive t(n) as (
			(select ` + tenantOf + ` from ` + asideJobs + `$1 and ` + tenantOf + ` > 0
				order by ` + tenantOf + ` limit 1)
		union all
			select (select ` + tenantOf + ` from ` + asideJobs + `$1 and ` + tenantOf + ` > t.n
				order by ` + tenantOf + ` limit 1) from t where t.n is not null)
		select n from t where n is not null limit $2`
	// fetchAside takes due jobs of the tenants $5, up to $3 of each; see fetch.
	fetchAside = `with due as materialized (
			select j.ctid from unnest($5::bigint[], $3::int[]) t(n, room) cross join lateral (
				select ctid from ` + asideJobs + `$2 and ` + tenantOf + ` = t.n
					and scheduled_at <= now() order by scheduled_at, id limit t.room for update skip locked) j)` + taken
	// putAside gives jobs back that were taken and not begun; see again.
	putAside = "with gone as (delete from " + Schema + `.river_job
			where id = any($1) and state::text = 'running' and attempted_by[array_upper(attempted_by, 1)] = $2 returning *)
		insert into ` + Schema + `.river_job (args, attempt, created_at, errors, kind, max_attempts, metadata, priority, queue, scheduled_at,
			state, tags, unique_key, unique_states)
		select args, greatest(attempt - 1, 0), created_at, errors, kind, max_attempts, metadata, 2, queue, scheduled_at,
			'available', tags, unique_key, unique_states from gone`
	// yield puts aside what tenants have among the first jobs in line.
	yield = `with line as materialized (
			select ctid, ` + tenantOf + ` n from ` + Schema + `.river_job
				where state = 'available' and queue = $1 and priority = 1 and scheduled_at <= now() order by scheduled_at, id limit $3),
		theirs as materialized (
			select j.ctid from line join ` + Schema + `.river_job j on j.ctid = line.ctid
				where line.n = any($2) and j.state = 'available' for update of j skip locked)
		update ` + Schema + `.river_job j set priority = 2 from theirs where j.ctid = theirs.ctid`
)

// Aside lists tenants that have jobs aside in a queue, some of them when there are many.
func (q *Queue) Aside(ctx context.Context, pool *pgxpool.Pool, name string) ([]int64, error) {
	i := line(name)
	now := time.Now().UnixNano()
	if !q.seen[i].Load() && now-q.looked[i].Load() < int64(lookForAside) {
		return nil, nil
	}
	q.looked[i].Store(now)
	const most = 500
	rows, err := pool.Query(ctx, waitingAside, name, most)
	if err != nil {
		return nil, err
	}
	tenants, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	q.seen[i].Store(len(tenants) > 0)
	return tenants, err
}

// FetchAside is Fetch for jobs that were put aside: up to rooms[i] of tenants[i].
func FetchAside(
	ctx context.Context, pool *pgxpool.Pool, worker, name string, tenants []int64, rooms []int, workers int,
) ([]Fetched, error) {
	return take(ctx, pool, fetchAside, worker, name, rooms, workers, tenants)
}

// yieldAtOnce is how many jobs PutAside looks at.
const yieldAtOnce = 2000

// PutAside puts jobs aside that a worker has taken and not begun, and what their tenants have among the next ones in line.
func (q *Queue) PutAside(ctx context.Context, worker, name string, jobs, tenants []int64) error {
	// Its commit waits for the disk, for the reason that Postpone's does.
	b := &pgx.Batch{}
	b.Queue(putAside, jobs, worker)
	b.Queue(yield, name, tenants, yieldAtOnce)
	err := q.pools.Hot.SendBatch(ctx, b).Close()
	q.asides.see()
	return err
}

// Tenant is the key of the tenant of a job that delivers, 0 when the job does not say. It is looked for rather than parsed: a job
// carries kilobytes, and quotes within them are escaped.
func (f *Fetched) Tenant() (key int64) {
	const name = `"n": `
	for i := 0; i+len(name) < len(f.Args); i++ {
		if f.Args[i] != '"' || string(f.Args[i:i+len(name)]) != name {
			continue
		}
		end := i + len(name)
		for end < len(f.Args) && f.Args[end] >= '0' && f.Args[end] <= '9' {
			end++
		}
		key, _ = strconv.ParseInt(string(f.Args[i+len(name):end]), 10, 64)
		return key
	}
	return 0
}
