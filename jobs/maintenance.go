package jobs

import (
	"context"
	"log/slog"
	"time"

	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/queue"
)

// releaseWorker acts upon deliveries that wait or were filtered out.
type releaseWorker struct {
	river.WorkerDefaults[queue.Release]
	store *models.Store
	log   *slog.Logger
}

func (*releaseWorker) Timeout(*river.Job[queue.Release]) time.Duration { return time.Hour }

// NextRetry tries again soon: a portion that is done is done.
func (*releaseWorker) NextRetry(*river.Job[queue.Release]) time.Time {
	return time.Now().Add(2 * time.Second)
}

// Work moves the deliveries, in portions.
func (w *releaseWorker) Work(ctx context.Context, job *river.Job[queue.Release]) error {
	r, act := job.Args, w.store.ReleaseHeld
	switch r.Action {
	case models.ReleaseFiltered, models.ReleaseFilteredAll:
		act = w.store.ReleaseFilteredEvents
	case models.ReleaseDestinationDeleted, models.ReleaseTenantDeleted:
		act = w.store.CancelDeleted
	}
	n, err := act(ctx, r)
	if n > 0 {
		w.log.Info("acted upon deliveries that waited or were filtered out", "action", job.Args.Action, "deliveries", n, "destination_key",
			r.Destination)
	}
	return err
}

// upkeepArgs are the arguments of the hourly job that keeps the database tidy.
type upkeepArgs struct{}

func (upkeepArgs) Kind() string { return "upkeep" }

type upkeepWorker struct {
	river.WorkerDefaults[upkeepArgs]
	store    *models.Store
	stopping <-chan struct{}
	log      *slog.Logger
}

// upkeepTurn is how long after its beginning upkeep still adds up hours; the next one goes on.
const upkeepTurn = 8 * time.Minute

func (*upkeepWorker) Timeout(*river.Job[upkeepArgs]) time.Duration { return 10 * time.Minute }

// Work makes the partitions of the coming days, drops those past retention, forgets expired sessions, and adds minutes of destinations
// up to hours.
func (w *upkeepWorker) Work(ctx context.Context, _ *river.Job[upkeepArgs]) error {
	began := time.Now()
	dropped, err := w.store.Upkeep(ctx, began)
	if len(dropped) > 0 {
		w.log.Info("dropped what is past its retention", "partitions", dropped)
	}
	if err != nil {
		return err
	}
	n, err := w.store.ResumeLost(ctx)
	if n > 0 {
		w.log.Warn("bulk retries had no job any more and go on", "retries", n)
	}
	if err != nil {
		return err
	}
	if n, err = w.store.ResumeErasures(ctx); n > 0 {
		w.log.Warn("erasures had no job any more and go on", "erasures", n)
	}
	if err != nil {
		return err
	}
	if n, err = w.store.ResumeMoves(ctx); n > 0 {
		w.log.Warn("moves of tenants had no job any more and go on", "moves", n)
	}
	if err != nil {
		return err
	}
	n, err = w.store.RollHours(ctx, began, goesOn(w.stopping, began, upkeepTurn))
	w.log.Debug("added minutes of destinations up to hours", "hours", n)
	return err
}
