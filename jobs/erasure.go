package jobs

import (
	"context"
	"time"

	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/queue"
)

// erasureWorker works off erasures.
type erasureWorker struct {
	river.WorkerDefaults[queue.Erasure]
	store    *models.Store
	recent   *models.Recent // nil when events are accepted elsewhere
	stopping <-chan struct{}
}

// Timeout is off: a turn has its own end, and each portion is short.
func (*erasureWorker) Timeout(*river.Job[queue.Erasure]) time.Duration { return -1 }

// NextRetry tries again soon: a portion that is done is done.
func (*erasureWorker) NextRetry(*river.Job[queue.Erasure]) time.Time {
	return time.Now().Add(time.Second)
}

// Work erases portion after portion, until nothing is left to do or its turn is over.
func (w *erasureWorker) Work(ctx context.Context, job *river.Job[queue.Erasure]) error {
	end := time.Now().Add(bulkTurn)
	for {
		step, err := w.store.AdvanceErasure(ctx, job.Args.ID)
		w.recent.Forget(step.Erased)
		if err != nil || step.Over {
			return err
		}
		if time.Now().After(end) {
			return river.JobSnooze(0)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.stopping:
			return river.JobSnooze(0) // another process goes on at once
		case <-time.After(step.Wait):
		}
	}
}
