// Package jobs is the work that happens in the background, on River's job queue: delivering events, releasing held
// ones, keeping the database tidy. Nothing else imports River.
package jobs

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/pgcopy"
)

// The queues. First attempts do not wait behind retries.
const (
	queueDeliver = "deliver"
	queueRetry   = "retry"
	queueUpkeep  = "upkeep"
)

// schema is the PostgreSQL schema of River's tables.
const schema = "river"

// begun is the key in a job's metadata that says that some of its outcomes are recorded. River gives a job that a stop
// cut off its attempt back, so that the number of attempts alone does not tell.
const begun = "begun"

// putOff is the key in a job's metadata that says that it was put off: it is due later than its deliveries are.
const putOff = "put_off"

// maxAttempts is how often River runs a job that fails. Attempts of deliveries are counted by us; a job only fails
// when the database does.
const maxAttempts = 10_000

// Queue adds jobs to River's table, within the transactions of others. It implements models.Queue.
type Queue struct {
	wake [3]waker
	skew atomic.Int64 // nanoseconds by which the database's clock is ahead of ours
}

var _ models.Queue = (*Queue)(nil)

// NewQueue makes a queue whose workers, in this process or others, are woken over pool until ctx ends.
func NewQueue(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) *Queue {
	q := &Queue{}
	for i, name := range []string{queueDeliver, queueRetry, queueNotify} {
		q.wake[i] = waker{queue: name, pool: pool, log: log, c: make(chan struct{}, 1)}
		go q.wake[i].run(ctx)
	}
	go q.watchClock(ctx, pool)
	return q
}

// clockWatch is how often a process compares its clock with the database's.
const clockWatch = 2 * time.Second

// watchClock keeps the difference of the clocks known, until ctx ends. The database's decides whether a job is due, and
// without it a wait of seconds would last as long as the clocks are apart.
func (q *Queue) watchClock(ctx context.Context, pool *pgxpool.Pool) {
	tick := time.NewTicker(clockWatch)
	defer tick.Stop()
	for {
		if skew, err := models.ClockSkew(ctx, pool); err == nil { // the next look may see more
			q.skew.Store(int64(skew))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// deliverArgs are the arguments of a job that delivers. The items are packed into one string: River's table keeps
// arguments as JSON, and an array of ids would be several times as long.
type deliverArgs struct {
	Destination int64  `json:"d"`
	Items       packed `json:"i"`
	Retry       bool   `json:"r,omitempty"`
	Trigger     string `json:"t,omitempty"`
	Actor       string `json:"a,omitempty"`

	RetryID uuid.UUID `json:"b,omitzero"` // of the bulk retry
}

func (deliverArgs) Kind() string { return "deliver" }

type packed []models.Item

const packedSize = 16 + 4

func (p packed) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(p)*packedSize)
	for _, it := range p {
		b = append(b, it.EventID[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(it.Turn))
	}
	out := make([]byte, 0, base64.StdEncoding.EncodedLen(len(b))+2)
	out = append(out, '"')
	out = base64.StdEncoding.AppendEncode(out, b)
	return append(out, '"'), nil
}

func (p *packed) UnmarshalJSON(d []byte) error {
	var b []byte
	if err := json.Unmarshal(d, &b); err != nil {
		return err
	}
	if len(b)%packedSize != 0 {
		return fmt.Errorf("packed items of %d bytes", len(b))
	}
	*p = make(packed, 0, len(b)/packedSize)
	for ; len(b) > 0; b = b[packedSize:] {
		*p = append(*p, models.Item{EventID: uuid.UUID(b[:16]), Turn: int32(binary.BigEndian.Uint32(b[16:]))})
	}
	return nil
}

// Enqueue adds jobs within tx. They are written as River writes them, but for two things. All are "available", those
// of the future too, with the time at which they are due: River fetches by that time, so that no leader has to promote
// them first. And the NOTIFY that wakes the workers is sent beside the transaction, because PostgreSQL lets only one
// transaction at a time commit that carries one: the caller calls committed once tx has committed.
func (q *Queue) Enqueue(ctx context.Context, tx pgx.Tx, batches []models.Batch) (committed func(), err error) {
	c, committed, err := q.Copy(batches)
	if err != nil {
		return nil, err
	}
	if err := c.Rows.Send(ctx, tx, c.SQL); err != nil {
		return nil, fmt.Errorf("write jobs: %w", err)
	}
	return committed, nil
}

// Copy implements models.Queue.
func (q *Queue) Copy(batches []models.Batch) (c pgcopy.Copy, committed func(), err error) {
	rows := &pgcopy.Rows{}
	rows.Reset()
	var due [2]bool // by queue, as wake
	now := time.Now()
	atOnce := func(b models.Batch) bool { return !b.At.After(now) }
	// Those that are due at once leave their time to the database, whose clock decides. A COPY has one list of columns.
	timed := slices.ContainsFunc(batches, func(b models.Batch) bool { return !atOnce(b) })
	skew, columns := time.Duration(q.skew.Load()), "args, kind, max_attempts, queue, state"
	if timed {
		columns += ", scheduled_at"
	}
	for _, b := range batches {
		args, err := json.Marshal(deliverArgs{b.Destination, b.Items, b.Retry, b.Trigger, b.Actor, b.RetryID})
		if err != nil {
			return c, nil, err
		}
		name, at, i := queueDeliver, b.At, 0
		if b.Retry {
			name, i = queueRetry, 1
		}
		if atOnce(b) {
			at = now.Add(-time.Second) // a little before now, for the difference of the clocks is an estimate
			due[i] = true
		}
		rows.Row(strings.Count(columns, ",") + 1)
		rows.JSONB(args)
		rows.Text("deliver")
		rows.Int2(maxAttempts)
		rows.Text(name)
		rows.Text("available")
		if timed {
			rows.Time(at.Add(skew))
		}
	}
	c = pgcopy.Copy{SQL: "copy " + schema + ".river_job (" + columns + ") from stdin binary", Rows: rows}
	return c, func() {
		for i, d := range due {
			if d {
				q.wake[i].wake()
			}
		}
	}, nil
}

// waker tells workers that there is something in a queue.
type waker struct {
	queue string
	pool  *pgxpool.Pool
	log   *slog.Logger
	c     chan struct{}
}

func (w *waker) wake() {
	select {
	case w.c <- struct{}{}:
	default: // a notification that has not been sent yet serves this as well
	}
}

func (w *waker) run(ctx context.Context) {
	payload := `{"queue":"` + w.queue + `"}`
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.c:
		}
		if _, err := w.pool.Exec(ctx, "select pg_notify($1, $2)", schema+".river_insert", payload); err != nil && ctx.Err() == nil {
			w.log.Warn("workers could not be woken; they look by themselves soon", "queue", w.queue, "error", err)
		}
	}
}

// EnqueueRelease implements models.Queue.
func (q *Queue) EnqueueRelease(ctx context.Context, tx pgx.Tx, list ...models.Release) error {
	args := make([][]byte, len(list))
	for i, r := range list {
		var err error
		if args[i], err = json.Marshal(releaseArgs{r}); err != nil {
			return err
		}
	}
	return enqueueEach(ctx, tx, releaseArgs{}.Kind(), queueUpkeep, args...)
}

// enqueueEach adds jobs that are due at once, one for each of args. Workers find them by themselves soon.
func enqueueEach(ctx context.Context, tx pgx.Tx, kind, queue string, args ...[]byte) error {
	_, err := tx.Exec(ctx, "insert into "+schema+".river_job (args, kind, max_attempts, queue) select a, $2, $3, $4 from unnest($1::jsonb[]) a", args, kind, maxAttempts, queue)
	return err
}

// Settle implements models.Queue. A job that is done is deleted rather than kept as completed: the attempts are the
// log, and each version of a row in River's table costs several index entries.
func (q *Queue) Settle(b *pgx.Batch, worker string, done, partial []int64, owned map[int64]bool) {
	// A job that is available under this id is the worker's too: that it was taken was undone by a crash of PostgreSQL
	// (fetching does not wait for the disk).
	const ours = "id = any($1) and (state::text = 'running' and attempted_by[array_upper(attempted_by, 1)] = $2 or state::text = 'available')"
	collect := func(rows pgx.Rows) error {
		var id int64
		_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
			owned[id] = true
			return nil
		})
		return err
	}
	if len(done) > 0 {
		b.Queue("delete from "+schema+".river_job where "+ours+" returning id", done, worker).Query(collect)
	}
	if len(partial) > 0 {
		b.Queue("update "+schema+`.river_job set metadata = metadata || '{"`+begun+`": true}', state = 'running', attempted_at = coalesce(attempted_at, now()),
			attempted_by = case when state::text = 'running' then attempted_by else array_append(attempted_by, $2) end
			where `+ours+" returning id", partial, worker).Query(collect)
	}
}

// again is what gives running jobs back to the queue: they go on as new ones, due after $1 seconds. Were they the same
// rows, a worker that is through with a job and has lost it meanwhile could end it for the one that has it now: River
// writes a job's end later, under its id, to whatever then runs under it.
func again(attempt, metadata, which string) string {
	return "with gone as (delete from " + schema + ".river_job where " + which + ` returning *)
		insert into ` + schema + `.river_job (args, attempt, created_at, errors, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags, unique_key, unique_states)
		select args, ` + attempt + `, created_at, errors, kind, max_attempts, ` + metadata + `, priority, queue, now() + $1 * interval '1 second', 'available', tags, unique_key, unique_states
		from gone`
}

// mine says that jobs named $2 are those of the worker $3. The state is compared as text so that only the index on id can
// serve.
const mine = "id = any($2) and state::text = 'running' and attempted_by[array_upper(attempted_by, 1)] = $3"

var (
	// postpone undoes that a job was taken. The attempt that is given back tells that nothing of it was done.
	postpone      = again("greatest(attempt - 1, 0)", `metadata || '{"`+putOff+`": true}'`, mine)
	makeAvailable = again("attempt", "metadata", mine)
	// takeover takes the jobs of processes that nobody knows of, or not any more.
	takeover = again("attempt", "metadata", "state = 'running' and not exists (select 1 from processes p where p.id = attempted_by[array_upper(attempted_by, 1)])")
)

// Postpone implements models.Queue.
func (q *Queue) Postpone(ctx context.Context, db models.Execer, worker string, job int64, wait time.Duration) error {
	_, err := db.Exec(ctx, postpone, wait.Seconds(), []int64{job}, worker)
	return err
}

// recall has jobs that were put off done now, the first ones first. All jobs have River's default priority; saying so lets
// its index find those that are due within the longest time that any is put off for.
const recall = "update " + schema + `.river_job set scheduled_at = now() where id in (
	select id from ` + schema + `.river_job where state = 'available' and queue = any($1) and priority = 1
		and scheduled_at > now() and scheduled_at < now() + $2::interval and metadata ? '` + putOff + `' and (args->>'d')::bigint = $3
	order by scheduled_at limit $4 for update skip locked)`

// Recall implements models.Queue.
func (q *Queue) Recall(ctx context.Context, db models.Execer, destination int64, limit int) (int, error) {
	tag, err := db.Exec(ctx, recall, []string{queueDeliver, queueRetry}, longestPutOff, destination, limit)
	if err != nil || tag.RowsAffected() == 0 {
		return 0, err
	}
	for i := range 2 { // those of deliveries
		q.wake[i].wake()
	}
	return int(tag.RowsAffected()), nil
}

// Running implements models.Queue.
func (q *Queue) Running(ctx context.Context, db models.Querier, worker string, longer time.Duration) ([]int64, error) {
	rows, err := db.Query(ctx, "select id from "+schema+`.river_job where state = 'running' and attempted_by[array_upper(attempted_by, 1)] = $1
		and attempted_at < now() - $2 * interval '1 second'`, worker, longer.Seconds())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// MakeAvailable implements models.Queue.
func (q *Queue) MakeAvailable(ctx context.Context, db models.Execer, worker string, jobs []int64, wait time.Duration) error {
	_, err := db.Exec(ctx, makeAvailable, wait.Seconds(), jobs, worker)
	return err
}

// longestPutOff is more than any first attempt is put off for. One that is due later waits for a time from before the
// database's clock was set back.
const longestPutOff = 2 * time.Minute

// Takeover implements models.Queue.
func (q *Queue) Takeover(ctx context.Context, tx pgx.Tx) (int, error) {
	tag, err := tx.Exec(ctx, takeover, 0.0)
	if err != nil {
		return 0, err
	}
	// All jobs have River's default priority; saying so lets the index find the last ones.
	if _, err := tx.Exec(ctx, "update "+schema+`.river_job set scheduled_at = now()
		where state = 'available' and queue = $1 and priority = 1 and scheduled_at > now() + $2::interval`, queueDeliver, longestPutOff); err != nil {
		return 0, err
	}
	if tag.RowsAffected() > 0 {
		for i := range q.wake {
			q.wake[i].wake() // perhaps too early; the workers look again soon
		}
	}
	return int(tag.RowsAffected()), nil
}
