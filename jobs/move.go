package jobs

import (
	"context"
	"time"

	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/queue"
)

// moveWorker moves tenants to other cells. Only workers of home have one.
type moveWorker struct {
	inTurns[queue.Move]
	mover    *models.Mover
	stopping <-chan struct{}
}

// Work does step after step, until nothing is left to do or its turn is over.
func (w *moveWorker) Work(ctx context.Context, job *river.Job[queue.Move]) error {
	return takeTurn(ctx, w.stopping, func() (wait time.Duration, over bool, err error) {
		step, err := w.mover.Advance(ctx, job.Args.ID)
		return step.Wait, step.Over, err
	})
}
