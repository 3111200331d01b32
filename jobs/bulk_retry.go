package jobs

import (
	"context"
	"log/slog"
	"time"

	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/queue"
)

// bulkWorker works off bulk retries.
type bulkWorker struct {
	river.WorkerDefaults[queue.BulkRetry]
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
func (*bulkWorker) Timeout(*river.Job[queue.BulkRetry]) time.Duration { return -1 }

// NextRetry tries again soon: a portion that is done is done.
func (*bulkWorker) NextRetry(*river.Job[queue.BulkRetry]) time.Time {
	return time.Now().Add(time.Second)
}

// Work queues portions at the rate of the bulk retry and counts outcomes, until nothing is left to do or its turn is over.
func (w *bulkWorker) Work(ctx context.Context, job *river.Job[queue.BulkRetry]) error {
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
