package jobs

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/models"
)

// queueBulk is the queue of bulk retries. Each has one job, which lives as long as it does.
const queueBulk = "bulk"

// bulkArgs are the arguments of a job that works off a bulk retry.
type bulkArgs struct {
	ID  uuid.UUID `json:"id"`
	Run int       `json:"run"` // a job of an earlier run does nothing
}

func (bulkArgs) Kind() string { return "bulk_retry" }

// EnqueueBulkRetry implements models.Queue.
func (q *Queue) EnqueueBulkRetry(ctx context.Context, tx pgx.Tx, key uuid.UUID, run int) error {
	args, err := json.Marshal(bulkArgs{key, run})
	if err != nil {
		return err
	}
	return enqueueEach(ctx, tx, bulkArgs{}.Kind(), queueBulk, args)
}

// withoutJob finds the bulk retries that no job sees to. One that is paused needs none once its outcomes are known.
const withoutJob = `select b.id from bulk_retries b where b.finished_at is null and (b.status <> 'paused' or b.queued > b.delivered + b.failed + b.unsent)
	and not exists (select 1 from ` + schema + `.river_job j where j.kind = 'bulk_retry' and ` + open + ` and (j.args->>'id')::uuid = b.id and (j.args->>'run')::int = b.run)`

// WithoutJob implements models.Queue.
func (q *Queue) WithoutJob(ctx context.Context, db models.Querier) ([]uuid.UUID, error) {
	rows, err := db.Query(ctx, withoutJob+" for update of b skip locked")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// bulkWorker works off bulk retries.
type bulkWorker struct {
	river.WorkerDefaults[bulkArgs]
	store    *models.Store
	log      *slog.Logger
	stopping <-chan struct{}
}

const (
	// bulkTurn is how long a bulk retry is worked off before others that wait get their turn.
	bulkTurn = 30 * time.Second
	// bulkCount is how often its outcomes are counted, and bulkCountShare which part of the time that may take.
	bulkCount      = 500 * time.Millisecond
	bulkCountShare = 10
)

// Timeout is off: a turn has its own end, and each portion is short.
func (*bulkWorker) Timeout(*river.Job[bulkArgs]) time.Duration { return -1 }

// NextRetry tries again soon: a portion that is done is done.
func (*bulkWorker) NextRetry(*river.Job[bulkArgs]) time.Time { return time.Now().Add(time.Second) }

// Work queues portions at the rate of the bulk retry and counts outcomes, until nothing is left to do or its turn is over.
func (w *bulkWorker) Work(ctx context.Context, job *river.Job[bulkArgs]) error {
	end := time.Now().Add(bulkTurn)
	var counted time.Time // when the next count is due
	for {
		step, err := w.store.AdvanceBulkRetry(ctx, job.Args.ID, job.Args.Run)
		if err != nil || step.Over {
			return err
		}
		if began := time.Now(); began.After(counted) {
			over, err := w.store.CountBulkRetry(ctx, job.Args.ID, job.Args.Run)
			if err != nil || over {
				return err
			}
			counted = time.Now().Add(max(bulkCount, bulkCountShare*time.Since(began)))
		}
		if time.Now().After(end) {
			return river.JobSnooze(0)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.stopping:
			return river.JobSnooze(0) // another process goes on at once
		case <-time.After(min(step.Wait, time.Until(counted), time.Until(end))):
		}
	}
}
