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
	inTurns[queue.Erasure]
	store    *models.Store
	recent   *models.Recent // nil when events are accepted elsewhere
	stopping <-chan struct{}
}

// Work erases portion after portion, until nothing is left to do or its turn is over.
func (w *erasureWorker) Work(ctx context.Context, job *river.Job[queue.Erasure]) error {
	return takeTurn(ctx, w.stopping, func() (wait time.Duration, over bool, err error) {
		step, err := w.store.AdvanceErasure(ctx, job.Args.ID)
		w.recent.Forget(step.Erased)
		return step.Wait, step.Over, err
	})
}
