package jobs

import (
	"context"
	"log/slog"
	"time"

	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/queue"
)

// keptArgs are the arguments of the job that erases what tenants do not want to be kept any longer.
type keptArgs struct{}

func (keptArgs) Kind() string { return "erase_kept" }

const (
	keptEvery = 10 * time.Minute
	// keptTurn is how long one run works at most; the next one goes on.
	keptTurn = 9 * time.Minute
)

type keptWorker struct {
	river.WorkerDefaults[keptArgs]
	store    *models.Store
	recent   *models.Recent
	stopping <-chan struct{}
	log      *slog.Logger
}

func (*keptWorker) Timeout(*river.Job[keptArgs]) time.Duration { return keptEvery }

func periodicKept() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(keptEvery), func() (river.JobArgs, *river.InsertOpts) {
		return keptArgs{}, &river.InsertOpts{Queue: queue.Maintenance, UniqueOpts: river.UniqueOpts{ByPeriod: keptEvery}}
	}, &river.PeriodicJobOpts{RunOnStart: true})
}

// Work erases until it is through, its turn is over or the process is to stop.
func (w *keptWorker) Work(ctx context.Context, _ *river.Job[keptArgs]) error {
	now := time.Now()
	erased, err := w.store.EraseKept(ctx, now, goesOn(w.stopping, now, keptTurn))
	if w.recent.Forget(erased); len(erased) > 0 {
		w.log.Info("erased what tenants do not keep", "events", len(erased))
	}
	return err
}
