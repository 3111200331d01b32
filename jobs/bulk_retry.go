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
	inTurns[queue.BulkRetry]
	store    *models.Store
	log      *slog.Logger
	stopping <-chan struct{}
}

const (
	// bulkCount is how often its outcomes are counted, and bulkCountShare which part of the time that may take.
	bulkCount      = 500 * time.Millisecond
	bulkCountShare = 10
)

// Work queues portions at the rate of the bulk retry and counts outcomes, until nothing is left to do or its turn is over.
func (w *bulkWorker) Work(ctx context.Context, job *river.Job[queue.BulkRetry]) error {
	var counted time.Time // when the next count is due
	return takeTurn(ctx, w.stopping, func() (wait time.Duration, over bool, err error) {
		step, err := w.store.AdvanceBulkRetry(ctx, job.Args.ID, job.Args.Run)
		if err != nil || step.Over {
			return 0, true, err
		}
		if began := time.Now(); began.After(counted) {
			if over, err := w.store.CountBulkRetry(ctx, job.Args.ID, job.Args.Run); err != nil || over {
				return 0, true, err
			}
			counted = time.Now().Add(max(bulkCount, bulkCountShare*time.Since(began)))
		}
		return min(step.Wait, time.Until(counted)), false, nil
	})
}
