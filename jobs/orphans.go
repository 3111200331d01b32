package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// tracker knows which jobs this process is working on. The database may think of others as well that they are: when a
// connection breaks just after jobs were fetched, or before it is written that one has failed. Nobody would touch those
// again, since this process is alive.
type tracker struct {
	mu      sync.Mutex
	working map[int64]bool
	suspect map[int64]bool // not worked on when last looked for
}

// middleware is what every job passes.
func (t *tracker) middleware() rivertype.Middleware {
	return river.WorkerMiddlewareFunc(func(ctx context.Context, job *rivertype.JobRow, work func(context.Context) error) error {
		t.begin(job.ID)
		defer t.end(job.ID)
		return work(ctx)
	})
}

func (t *tracker) begin(job int64) {
	t.mu.Lock()
	t.working[job] = true
	t.mu.Unlock()
}

func (t *tracker) end(job int64) {
	t.mu.Lock()
	delete(t.working, job)
	t.mu.Unlock()
}

// orphans are those of the jobs that were not worked on twice in a row.
func (t *tracker) orphans(jobs []int64) (orphans []int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	suspect := map[int64]bool{}
	for _, id := range jobs {
		switch {
		case t.working[id]:
		case t.suspect[id]:
			orphans = append(orphans, id)
		default:
			suspect[id] = true
		}
	}
	t.suspect = suspect
	return orphans
}

// lookForOrphans is how often a process looks for jobs that it should be working on and is not.
const lookForOrphans = 1500 * time.Millisecond

// adopt makes such jobs available again, until ctx ends.
func (w *Worker) adopt(ctx context.Context) {
	tick := time.NewTicker(lookForOrphans)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		jobs, err := w.store.Queue.Running(ctx, w.process.ID, lookForOrphans)
		if err == nil {
			if orphans := w.tracker.orphans(jobs); len(orphans) > 0 {
				w.log.Warn("jobs of this process that it does not know of are made available again", "jobs", len(orphans))
				err = w.store.Queue.MakeAvailable(ctx, w.process.ID, orphans, 0)
			}
		}
		if err != nil && ctx.Err() == nil {
			w.log.Warn("cannot look for jobs that nobody works on", "error", err)
		}
	}
}
