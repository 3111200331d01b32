package queue

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Settle adds statements to b that check which of a worker's jobs still belong to it, lock those and delete the ones that are
// done. Once b was sent they are in owned; a job that another worker has taken over is not. A job that is done is deleted rather
// than kept as completed: the attempts are the log, and each version of a row in River's table costs several index entries.
func (q *Queue) Settle(b *pgx.Batch, worker string, done, partial []int64, owned map[int64]bool) {
	collect := func(rows pgx.Rows) error {
		var id int64
		_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
			owned[id] = true
			return nil
		})
		return err
	}
	if len(done) > 0 {
		b.Queue(settleDone, done, worker).Query(collect)
	}
	if len(partial) > 0 {
		b.Queue(settlePartial, partial, worker).Query(collect)
	}
}

// SettleAll does what Settle does for a worker that takes it for granted that all of the jobs are its own: all makes one of a
// statement that fails unless it returns n rows.
func (q *Queue) SettleAll(b *pgx.Batch, worker string, done, partial []int64, all func(statement, n string) string) {
	const n = "cardinality($1)"
	if len(done) > 0 {
		b.Queue(all(settleDone, n), done, worker)
	}
	if len(partial) > 0 {
		b.Queue(all(settlePartial, n), partial, worker)
	}
}

const (
	// A job that is available under this id is the worker's too: that it was taken was undone by a crash of PostgreSQL
	// (fetching does not wait for the disk).
	ours = `id = any($1::bigint[]) and (state::text = 'running' and attempted_by[array_upper(attempted_by, 1)] = $2
		or state::text = 'available')`
	settleDone    = "delete from " + Schema + ".river_job where " + ours + " returning id"
	settlePartial = "update " + Schema + `.river_job set metadata = metadata || '{"` + Begun + `": true}', state = 'running',
		attempted_at = coalesce(attempted_at, now()),
		attempted_by = case when state::text = 'running' then attempted_by else array_append(attempted_by, $2) end
		where ` + ours + " returning id"
)

// again is what gives running jobs back to the queue: they go on as new ones, due after $1 seconds. Were they the same
// rows, a worker that is through with a job and has lost it meanwhile could end it for the one that has it now: River
// writes a job's end later, under its id, to whatever then runs under it.
func again(attempt, metadata, which string) string {
	return "with gone as (delete from " + Schema + ".river_job where " + which + ` returning *)
		insert into ` + Schema + `.river_job (args, attempt, created_at, errors, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags, unique_key, unique_states)
		select args, ` + attempt + `, created_at, errors, kind, max_attempts, ` + metadata + `, priority, queue, now() + $1 * interval '1 second', 'available', tags, unique_key, unique_states
		from gone`
}

// mine says that jobs named $2 are those of the worker $3. The state is compared as text so that only the index on id can
// serve.
const mine = "id = any($2) and state::text = 'running' and attempted_by[array_upper(attempted_by, 1)] = $3"

var (
	// postpone undoes that a job was taken. The attempt that is given back tells that nothing of it was done.
	postpone = again("greatest(attempt - 1, 0)", `metadata || '{"`+putOff+`": true}'`, mine)
	// Jobs may be done again for as long as their events are kept, and the column is a smallint.
	makeAvailable = again("least(attempt, 1000)", "metadata", mine)
	// takeover takes the jobs of processes that nobody knows of, or not any more.
	takeover = again("attempt", "metadata",
		"state = 'running' and not exists (select 1 from processes p where p.id = attempted_by[array_upper(attempted_by, 1)])")
)

// Postpone gives a running job of a worker back, to be taken up after a while under a new id, as if it had never been taken.
func (q *Queue) Postpone(ctx context.Context, worker string, job int64, wait time.Duration) error {
	// Its commit waits for the disk: were it undone by a crash of PostgreSQL, the job would stay with a worker that has it no
	// more.
	_, err := q.pools.Hot.Exec(ctx, postpone, wait.Seconds(), []int64{job}, worker)
	q.due.expectAny(time.Now().Add(wait))
	return err
}

// recall has jobs that were put off done now, the first ones first. Saying which priorities there are lets
// River's index find those that are due within the longest time that any is put off for.
const recall = "update " + Schema + `.river_job set scheduled_at = now() where id in (
	select id from ` + Schema + `.river_job where state = 'available' and queue = any($1) and priority in (1, 2)
		and scheduled_at > now() and scheduled_at < now() + $2::interval and metadata ? '` + putOff + `' and (args->>'d')::bigint = $3
	order by scheduled_at limit $4 for update skip locked)`

// Recall has jobs of a destination that were put off done now, limit of them at most, and returns how many.
func (q *Queue) Recall(ctx context.Context, destination int64, limit int) (int, error) {
	tag, err := q.pools.Any.Exec(ctx, recall, []string{Deliver, Retry}, longestPutOff, destination, limit)
	if err != nil || tag.RowsAffected() == 0 {
		return 0, err
	}
	for i := range 2 { // those of deliveries
		q.wake[i].wake()
	}
	return int(tag.RowsAffected()), nil
}

// Running lists the jobs that a worker has been working on for longer than a while, as far as the database knows.
func (q *Queue) Running(ctx context.Context, worker string, longer time.Duration) ([]int64, error) {
	rows, err := q.pools.Any.Query(ctx,
		"select id from "+Schema+`.river_job where state = 'running' and attempted_by[array_upper(attempted_by, 1)] = $1
		and attempted_at < now() - $2 * interval '1 second'`, worker, longer.Seconds())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// MakeAvailable has running jobs of a worker done again after a while, under new ids.
func (q *Queue) MakeAvailable(ctx context.Context, worker string, jobs []int64, wait time.Duration) error {
	_, err := q.pools.Hot.Exec(ctx, makeAvailable, wait.Seconds(), jobs, worker)
	if q.due.expectAny(time.Now().Add(wait)); wait == 0 {
		q.WakeAll()
	}
	return err
}

// longestPutOff is more than any first attempt is put off for. One that is due later waits for a time from before the
// database's clock was set back.
const longestPutOff = 2 * time.Minute

// Takeover makes running jobs of workers that are not among the processes available again within tx, under new ids, and first
// attempts that only a clock which was set back keeps waiting. The caller wakes the workers when tx has committed.
func (q *Queue) Takeover(ctx context.Context, tx pgx.Tx) (int, error) {
	tag, err := tx.Exec(ctx, takeover, 0.0)
	if err != nil {
		return 0, err
	}
	// Saying which priorities there are lets the index find the last ones.
	if _, err := tx.Exec(ctx, "update "+Schema+`.river_job set scheduled_at = now()
		where state = 'available' and queue = $1 and priority in (1, 2) and scheduled_at > now() + $2::interval`, Deliver,
		longestPutOff); err != nil {
		return 0, err
	}
	return int(tag.RowsAffected()), nil
}

// withoutJob finds the bulk retries that no job sees to. One that is paused needs none once its outcomes are known.
const withoutJob = `select b.id from bulk_retries b where b.finished_at is null and (b.status <> 'paused'
	or b.queued > b.delivered + b.failed + b.unsent)
	and not exists (select 1 from ` + Schema + `.river_job j where j.kind = 'bulk_retry' and ` + Open + ` and (j.args->>'id')::uuid = b.id and (j.args->>'run')::int = b.run)`

// WithoutJob lists the unfinished bulk retries that no job carries. With lock they stay as they are until tx
// ends; those that others have locked are left out.
func (q *Queue) WithoutJob(ctx context.Context, tx pgx.Tx, lock bool) ([]uuid.UUID, error) {
	query := withoutJob
	if lock {
		query += " for update of b skip locked"
	}
	rows, err := tx.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}
