package jobs

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/waybill-dev/waybill/models/queue"
)

// ownJobs are jobs that this process has written for itself; see queue.Owner. They come from memory, not by River.
type ownJobs struct {
	ctx     context.Context // ends when they are to be cut off
	cancel  context.CancelFunc
	release func() // has no more of them written
	mu      sync.Mutex
	closed  bool
	runs    sync.WaitGroup
}

func newOwnJobs(ctx context.Context) *ownJobs {
	life, cancel := context.WithCancel(ctx)
	return &ownJobs{ctx: life, cancel: cancel}
}

// maxOwnJobs is up to how many jobs under way a process takes its own. Those beyond are left to whoever fetches them first.
const maxOwnJobs = maxJobs / 4

// own has this process's first attempts begin as soon as they are accepted.
func (w *Worker) own(ctx context.Context) {
	w.ownJobs = newOwnJobs(ctx)
	w.ownJobs.release = w.store.Queue.Own(&queue.Owner{Worker: w.process.ID, Room: w.roomForOwn, Take: w.takeOwn})
}

func (w *Worker) roomForOwn(tenant int64) int {
	room := maxOwnJobs - int(w.jobs.Load())
	if room <= 0 || tenant == 0 {
		return room
	}
	return min(room, w.tenants.room(time.Now(), tenant, false, false, maxOwnJobs))
}

// takeOwn begins jobs. While the worker stops they are given back, for others.
func (w *Worker) takeOwn(jobs []queue.Taken) {
	if !w.beginOwn(jobs) {
		ids := make([]int64, len(jobs))
		for i, j := range jobs {
			ids[i] = j.ID
		}
		w.giveBack(w.ownJobs.ctx, ids, 0)
		return
	}
	for _, j := range jobs {
		w.pool.run(func() { w.runOwn(j) })
	}
}

// beginOwn counts jobs that are begun. It reports false when none may be any more.
func (w *Worker) beginOwn(jobs []queue.Taken) bool {
	w.ownJobs.mu.Lock()
	defer w.ownJobs.mu.Unlock()
	if w.ownJobs.closed {
		return false
	}
	w.ownJobs.runs.Add(len(jobs))
	for _, j := range jobs {
		w.tracker.begin(j.ID)
	}
	return true
}

func (w *Worker) runOwn(j queue.Taken) {
	defer w.ownJobs.runs.Done()
	defer w.tracker.end(j.ID)
	job := &river.Job[queue.Batch]{Args: j.Batch, JobRow: &rivertype.JobRow{ID: j.ID, Attempt: 1, CreatedAt: j.At, Queue: queue.Deliver}}
	defer func() {
		if r := recover(); r != nil {
			w.requeue(w.ownJobs.ctx, job, fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		}
	}()
	w.run(w.ownJobs.ctx, job)
}

// closeOwn takes no more of them. What is under way goes on.
func (w *Worker) closeOwn() {
	w.ownJobs.release()
	w.ownJobs.mu.Lock()
	w.ownJobs.closed = true
	w.ownJobs.mu.Unlock()
}

// waitOwn waits until those under way have ended, or ctx has.
func (w *Worker) waitOwn(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		w.ownJobs.runs.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
