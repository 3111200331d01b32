// Package queue is the table of jobs. A job is written in the same transaction as what it is for.
//
// River keeps the table, fetches jobs and schedules them; this package writes jobs and ends those that deliver, by
// statements that check whose they are. Package jobs has the workers.
package queue

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Schema is the PostgreSQL schema of River's tables.
const Schema = "river"

// The queues. First attempts do not wait behind retries, and notices wait for nobody's events. Each bulk retry has one job,
// which lives as long as it does.
const (
	Deliver     = "deliver"
	Retry       = "retry"
	Notify      = "notify"
	Bulk        = "bulk"
	Maintenance = "upkeep" // also what is to be done with deliveries that wait
)

// Open are the states of a job that somebody will still run, as a condition.
const Open = "state in ('available', 'running', 'retryable', 'scheduled', 'pending')"

// Begun is the key in a job's metadata that says that some of its outcomes are recorded. River gives a job that a stop
// cut off its attempt back, so that the number of attempts alone does not tell.
const Begun = "begun"

// putOff is the key in a job's metadata that says that it was put off: it is due later than its deliveries are.
const putOff = "put_off"

// maxAttempts is how often River runs a job that fails. Attempts of deliveries are counted by us; a job only fails
// when the database does.
const maxAttempts = 10_000

// Item is one delivery on its way through the queue.
type Item struct {
	EventKey uuid.UUID
	// Turn is the delivery's when it was queued. It rises each time the delivery is queued anew, so a job of an earlier turn
	// does nothing. Later attempts claim their row first; first attempts need not, because nobody queues a pending delivery
	// a second time.
	Turn int32
}

// Key is what all deliveries of a job have in common.
type Key struct {
	Destination int64     `json:"d"`           // its key
	Tenant      int64     `json:"n,omitempty"` // the key of its tenant; 0 in jobs of releases that did not say so
	Later       bool      `json:"r,omitempty"` // not the first attempts: they go through the queue of retries
	Trigger     string    `json:"t,omitempty"` // of the attempts; "" for automatic
	Actor       string    `json:"a,omitempty"` // who asked, with a trigger other than automatic
	BulkKey     uuid.UUID `json:"b,omitzero"`  // of the bulk retry that they belong to; zero for none
}

// Batch is a job that delivers: it is the job's arguments.
type Batch struct {
	Key
	Items Items     `json:"i"` // at most MaxBatch
	At    time.Time `json:"-"` // when it is due; zero for now
	// Routed is the version of the tenant with which its events were routed, by the transaction that wrote it; 0 where nobody knows.
	Routed int64 `json:"-"`
}

// Kind implements river.JobArgs.
func (Batch) Kind() string { return "deliver" }

// MaxBatch is how many deliveries one job carries at most.
const MaxBatch = 50

// Split cuts items into jobs that are due at once.
func Split(k Key, items []Item) []Batch {
	var out []Batch
	for len(items) > 0 {
		n := min(len(items), MaxBatch)
		out = append(out, Batch{Key: k, Items: items[:n]})
		items = items[n:]
	}
	return out
}

// Release is a job that acts upon deliveries that wait or were filtered out.
type Release struct {
	Destination int64  // its key
	Action      string // see package models
	Actor       string
	Since       time.Time // only events received at or after; zero for no limit
	Until       time.Time // only events received before; zero for no limit
}

// Kind implements river.JobArgs.
func (Release) Kind() string { return "release" }

// BulkRetry is the job that works off a bulk retry.
type BulkRetry struct {
	ID  uuid.UUID `json:"id"`
	Run int       `json:"run"` // a job of an earlier run does nothing
}

// Kind implements river.JobArgs.
func (BulkRetry) Kind() string { return "bulk_retry" }

// Notice is the job that sends a notification.
type Notice struct {
	ID uuid.UUID `json:"id"`
}

// Kind implements river.JobArgs.
func (Notice) Kind() string { return "notice" }

// Items are packed into one string: River's table keeps arguments as JSON, and an array of ids would be several times as
// long.
type Items []Item

// PackedSize is how many bytes an item takes: its event's id, and the turn (big endian).
const PackedSize = 16 + 4

// MarshalJSON packs the items.
func (p Items) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(p)*PackedSize)
	for _, it := range p {
		b = append(b, it.EventKey[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(it.Turn))
	}
	out := make([]byte, 0, base64.StdEncoding.EncodedLen(len(b))+2)
	out = append(out, '"')
	out = base64.StdEncoding.AppendEncode(out, b)
	return append(out, '"'), nil
}

// UnmarshalJSON unpacks them.
func (p *Items) UnmarshalJSON(d []byte) error {
	var b []byte
	if err := json.Unmarshal(d, &b); err != nil {
		return err
	}
	if len(b)%PackedSize != 0 {
		return fmt.Errorf("packed items of %d bytes", len(b))
	}
	*p = make(Items, 0, len(b)/PackedSize)
	for ; len(b) > 0; b = b[PackedSize:] {
		*p = append(*p, Item{EventKey: uuid.UUID(b[:16]), Turn: int32(binary.BigEndian.Uint32(b[16:]))})
	}
	return nil
}

// Queue adds jobs within the transactions of others, and tells workers that there are some.
type Queue struct {
	pools Pools
	wake  [3]waker
	skew  atomic.Int64 // nanoseconds by which the database's clock is ahead of ours
	asides
	due   due
	ids   ids
	owner atomic.Pointer[Owner]
	log   *slog.Logger
	stop  context.CancelFunc
	runs  sync.WaitGroup
}

// Pools are the connections that a queue uses.
type Pools struct {
	Any  *pgxpool.Pool
	Hot  *pgxpool.Pool // commits wait for the disk
	Jobs *pgxpool.Pool // they do not
}

// New makes a queue whose workers, in this process or others, are woken until Close.
func New(pools Pools, log *slog.Logger) *Queue {
	ctx, stop := context.WithCancel(context.Background())
	q := &Queue{pools: pools, log: log, stop: stop, due: due{changed: make(chan struct{}, 1)},
		ids: ids{process: rand.Int64N(1 << processBits)}}
	for i, name := range []string{Deliver, Retry, Notify} {
		w := &q.wake[i]
		*w = waker{queue: name, pool: pools.Jobs, log: log, c: make(chan struct{}, 1)}
		q.runs.Go(func() { w.run(ctx) })
	}
	q.runs.Go(func() { q.watchClock(ctx) })
	q.runs.Go(func() { q.watchSize(ctx) })
	q.runs.Go(func() { q.watchDue(ctx) })
	return q
}

// Close stops waking workers.
func (q *Queue) Close() {
	q.stop()
	q.runs.Wait()
}

// clockWatch is how often a process compares its clock with the database's.
const clockWatch = 2 * time.Second

// watchClock keeps the difference of the clocks known, until ctx ends. The database's decides whether a job is due, and
// without it a wait of seconds would last as long as the clocks are apart.
func (q *Queue) watchClock(ctx context.Context) {
	tick := time.NewTicker(clockWatch)
	defer tick.Stop()
	for {
		if skew, err := ClockSkew(ctx, q.pools.Jobs); err == nil { // the next look may see more
			q.skew.Store(int64(skew))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ClockSkew is by how much the database's clock is ahead of ours, as far as can be told within the time of an answer.
func ClockSkew(ctx context.Context, pool *pgxpool.Pool) (time.Duration, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	var there time.Time
	began := time.Now()
	if err := conn.QueryRow(ctx, "select clock_timestamp()").Scan(&there); err != nil {
		return 0, err
	}
	took := time.Since(began)
	skew := there.Sub(began.Add(took / 2))
	if skew.Abs() <= took/2 {
		return 0, nil
	}
	return skew, nil
}

// WakeAll tells workers that there are jobs of some queue.
func (q *Queue) WakeAll() {
	for i := range q.wake {
		q.wake[i].wake()
	}
}

// Wake tells workers that there are jobs of first or later attempts.
func (q *Queue) Wake(later bool) {
	if later {
		q.wake[1].wake()
	} else {
		q.wake[0].wake()
	}
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

// inserted is the channel on which River's workers hear that there are new jobs.
const inserted = Schema + ".river_insert"

// insertedInto is what is said there of a queue.
func insertedInto(queue string) string { return `{"queue":"` + queue + `"}` }

func (w *waker) run(ctx context.Context) {
	payload := insertedInto(w.queue)
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.c:
		}
		if _, err := w.pool.Exec(ctx, "select pg_notify($1, $2)", inserted, payload); err != nil && ctx.Err() == nil {
			w.log.Warn("workers could not be woken; they look by themselves soon", "queue", w.queue, "error", err)
		}
	}
}
