package jobs

import (
	"context"
	"log/slog"
	"time"

	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/models"
)

// releaseArgs are the arguments of a job that acts upon deliveries that wait or were filtered out.
type releaseArgs struct {
	models.Release
}

func (releaseArgs) Kind() string { return "release" }

type releaseWorker struct {
	river.WorkerDefaults[releaseArgs]
	store *models.Store
	log   *slog.Logger
}

func (*releaseWorker) Timeout(*river.Job[releaseArgs]) time.Duration { return time.Hour }

// NextRetry tries again soon: a portion that is done is done.
func (*releaseWorker) NextRetry(*river.Job[releaseArgs]) time.Time {
	return time.Now().Add(2 * time.Second)
}

// Work moves the deliveries, in portions.
func (w *releaseWorker) Work(ctx context.Context, job *river.Job[releaseArgs]) error {
	r, act := job.Args.Release, w.store.ReleaseHeld
	switch r.Action {
	case models.ReleaseFiltered, models.ReleaseFilteredAll:
		act = w.store.ReleaseFilteredEvents
	case models.ReleaseDestinationDeleted, models.ReleaseTenantDeleted:
		act = w.store.CancelDeleted
	}
	n, err := act(ctx, r)
	if n > 0 {
		w.log.Info("acted upon deliveries that were waiting or filtered out", "action", job.Args.Action, "deliveries", n, "destination_key", r.Destination)
	}
	return err
}

// upkeepArgs are the arguments of the hourly job that keeps the database tidy.
type upkeepArgs struct{}

func (upkeepArgs) Kind() string { return "upkeep" }

type upkeepWorker struct {
	river.WorkerDefaults[upkeepArgs]
	store *models.Store
	log   *slog.Logger
}

func (*upkeepWorker) Timeout(*river.Job[upkeepArgs]) time.Duration { return 10 * time.Minute }

// Work makes the partitions of the coming days, drops those past retention, and forgets expired sessions.
func (w *upkeepWorker) Work(ctx context.Context, _ *river.Job[upkeepArgs]) error {
	dropped, err := w.store.Upkeep(ctx, time.Now())
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
	return err
}
