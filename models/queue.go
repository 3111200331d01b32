package models

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/waybill-dev/waybill/models/pgcopy"
)

// Item is one delivery on its way through the queue.
type Item struct {
	EventID uuid.UUID
	Turn    int32 // of the delivery when it was queued; a job whose turn is over does nothing
}

// Triggers say why an attempt was made.
const (
	TriggerAutomatic = "automatic"
	TriggerManual    = "manual"
	TriggerBulk      = "bulk"
	TriggerTest      = "test"
	TriggerProbe     = "probe" // to find out whether a disabled destination works again
)

// Batch is a job: deliveries to one destination, at most MaxBatch of them.
type Batch struct {
	Destination int64 // its key
	Items       []Item
	At          time.Time // when it is due; zero for now
	Retry       bool      // not the first attempt: it goes through the queue of retries
	Trigger     string    // "" for automatic
	Actor       string    // who asked, with a trigger other than automatic
	RetryID     uuid.UUID // of the bulk retry, with TriggerBulk; zero for none
}

// MaxBatch is how many deliveries one job carries at most.
const MaxBatch = 50

// Release is the work that follows when a destination is enabled or deleted, or its backlog is acted upon: to do
// something with the deliveries that are held. It is also that of sending what a filter held back after all.
type Release struct {
	Destination int64  // its key
	Action      string // BacklogDeliver, BacklogDrop, or one of the Release actions below
	Actor       string
	Since       time.Time // only events received at or after; zero for no limit
	Until       time.Time // only events received before; zero for no limit
}

// Actions of a Release besides those on a backlog: to send what the destination's filters held back, and to cancel all that
// still waits for a destination which was deleted.
const (
	ReleaseFiltered    = "filtered"     // if the filter lets it through as it is now
	ReleaseFilteredAll = "filtered_all" // whatever the filter says

	ReleaseDestinationDeleted = "destination_deleted"
	ReleaseTenantDeleted      = "tenant_deleted"
)

// Queue is what the models need of the job queue. Package jobs implements it.
type Queue interface {
	// Enqueue adds jobs within tx; they exist exactly if tx commits. The caller calls committed after that, so that
	// workers look at once; without it they find the jobs a little later.
	Enqueue(ctx context.Context, tx pgx.Tx, batches []Batch) (committed func(), err error)
	// Copy prepares what Enqueue does, for a transaction that writes other things in the same round trip.
	Copy(batches []Batch) (c pgcopy.Copy, committed func(), err error)
	// EnqueueRelease adds jobs that act upon deliveries which wait within tx, one each.
	EnqueueRelease(ctx context.Context, tx pgx.Tx, list ...Release) error
	// EnqueueBulkRetry adds the job that works off a bulk retry within tx. run tells it from earlier ones.
	EnqueueBulkRetry(ctx context.Context, tx pgx.Tx, key uuid.UUID, run int) error
	// WithoutJob lists the bulk retries that somebody has to see to and no job does.
	WithoutJob(ctx context.Context, db Querier) ([]uuid.UUID, error)
	// EnqueueNotices adds a job for each of these notifications within tx.
	EnqueueNotices(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) (committed func(), err error)
	// Settle adds statements to b that check which of a worker's jobs still belong to it, lock those and delete the
	// ones that are done. Once b was sent they are in owned; a job that another worker has taken over is not.
	Settle(b *pgx.Batch, worker string, done, partial []int64, owned map[int64]bool)
	// Postpone gives a running job of a worker back, to be taken up after a while under a new id, as if it had never been
	// taken.
	Postpone(ctx context.Context, db Execer, worker string, job int64, wait time.Duration) error
	// Recall has jobs of a destination that were put off done now, limit of them at most, and returns how many.
	Recall(ctx context.Context, db Execer, destination int64, limit int) (jobs int, err error)
	// Running lists the jobs that a worker has been working on for longer than a while, as far as the database knows.
	Running(ctx context.Context, db Querier, worker string, longer time.Duration) ([]int64, error)
	// MakeAvailable has running jobs of a worker done again after a while, under new ids.
	MakeAvailable(ctx context.Context, db Execer, worker string, jobs []int64, wait time.Duration) error
	// Takeover makes running jobs of workers that are not among the processes available again within tx, under new ids, and
	// first attempts that only a clock which was set back keeps waiting.
	Takeover(ctx context.Context, tx pgx.Tx) (jobs int, err error)
}

// SetQueue connects the store to the job queue. It is called once, before the store is used.
func (s *Store) SetQueue(q Queue) { s.queue = q }

// Execer runs a statement.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Querier runs a query.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// RunningJobs lists the jobs that a worker has been working on for longer than a while, as far as the database knows.
func (s *Store) RunningJobs(ctx context.Context, worker string, longer time.Duration) ([]int64, error) {
	return s.queue.Running(ctx, s.Pool, worker, longer)
}

// MakeAvailable has running jobs of a worker done again after a while.
func (s *Store) MakeAvailable(ctx context.Context, worker string, jobs []int64, wait time.Duration) error {
	return s.queue.MakeAvailable(ctx, s.Hot, worker, jobs, wait)
}

// Postpone gives a running job of a worker back to the queue, to be taken up after a while.
func (s *Store) Postpone(ctx context.Context, worker string, job int64, wait time.Duration) error {
	// Not over s.Jobs: were it undone by a crash of PostgreSQL, the job would stay with a worker that has it no more.
	return s.queue.Postpone(ctx, s.Hot, worker, job, wait)
}

// Recall has jobs of a destination that were put off done now, limit of them at most, and returns how many.
func (s *Store) Recall(ctx context.Context, destination int64, limit int) (jobs int, err error) {
	return s.queue.Recall(ctx, s.Pool, destination, limit)
}

func (s *Store) enqueueRelease(ctx context.Context, tx *Tx, r Release) error {
	if r.Action == "" || r.Action == BacklogKeep {
		return nil
	}
	return s.queue.EnqueueRelease(ctx, tx.Pgx, r)
}

// batches cuts items into jobs.
func batches(b Batch, items []Item) []Batch {
	var out []Batch
	for len(items) > 0 {
		n := min(len(items), MaxBatch)
		b.Items = items[:n]
		out = append(out, b)
		items = items[n:]
	}
	return out
}
