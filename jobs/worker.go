package jobs

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/queue"
)

// Options are how a worker process works.
type Options struct {
	MaxInFlight int            // attempts under way at once in this process; 0 for 1000
	Env         adapters.Env   // what senders may do
	Recent      *models.Recent // events accepted in this process; nil when web runs elsewhere
	Role        string         // shown among the processes: "serve" or "work"
	StopWait    time.Duration  // how long running attempts may take to finish when stopping; 0 for 20s
	Notices     *Notices       // sends notices
	Publish     models.Publish // accepts events that tell of changes; nil for none
	Mover       *models.Mover  // moves tenants between cells; nil for none. Only workers of home have one
}

// Worker is the part of a process that works off the queue.
type Worker struct {
	store    *models.Store
	opts     Options
	log      *slog.Logger
	process  *models.Process
	loader   *models.Loader
	recorder *models.Recorder
	senders  senders
	lanes    lanes
	tenants  tenants
	tracker  tracker
	ownJobs  *ownJobs
	pool     pool // makes attempts

	shortages  shortages
	slots      chan struct{} // one token per attempt under way in this process
	slowOnes   chan struct{} // of those, to destinations that are slow
	jobs       atomic.Int64  // jobs under way or waiting for their turn
	client     *river.Client[pgx.Tx]
	background sync.WaitGroup
	stopping   chan struct{} // closed when no more work is to be begun
}

// maxJobs is how many jobs a process takes at once. Most of them wait for their destination's turn.
const maxJobs = 2000

// slowShare is which part of a process's attempts may be to slow destinations, so that however many of them hang,
// places are left for the others.
const slowShare = 0.7

// Run works off the queue until ctx ends, then lets running attempts finish or hands them back. When others have taken
// this process's work over, because it was stopped for too long, it starts anew.
func Run(ctx context.Context, store *models.Store, opts Options, log *slog.Logger, started func()) error {
	if opts.MaxInFlight == 0 {
		opts.MaxInFlight = 1000
	}
	if opts.StopWait == 0 {
		opts.StopWait = 20 * time.Second
	}
	outbound.Prepare()
	var now atomic.Pointer[Worker]
	watchWorker(store.Metrics, &now)
	once := false
	first := func() {
		once = true
		started()
	}
	for {
		again, err := runOnce(ctx, store, opts, log, first, &now)
		switch {
		case err != nil && once && ctx.Err() == nil:
			// A worker that has run before does not give up because the database is away for a while.
			log.Error("the worker could not start anew and tries again", "error", err)
			if _ = pause(ctx, time.Now().Add(time.Second)); ctx.Err() != nil {
				return nil //nolint:nilerr // it was to stop anyway
			}
		case err != nil || !again:
			return err
		}
		first = func() {}
	}
}

func runOnce(ctx context.Context, store *models.Store, opts Options, log *slog.Logger, started func(),
	now *atomic.Pointer[Worker]) (again bool, err error) {
	// Background work that must outlast ctx, until the last attempt is recorded.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	defer background.Wait()
	defer end()
	process, err := store.Register(life, opts.Role, log)
	if err != nil {
		return false, err
	}
	background.Go(process.Wait)
	w := &Worker{store: store, opts: opts, log: log, process: process, loader: models.NewLoader(life, store, opts.Recent),
		recorder: models.NewRecorder(store, process.ID, log), senders: senders{env: opts.Env}, tracker: tracker{working: map[int64]bool{}},
		tenants:  tenants{places: max(1, opts.MaxInFlight/tenantShare)},
		stopping: make(chan struct{}),
		slots:    make(chan struct{}, opts.MaxInFlight), slowOnes: make(chan struct{}, max(1, int(float64(opts.MaxInFlight)*slowShare)))}
	now.Store(w)
	if err := w.start(life); err != nil {
		w.recorder.Close()
		w.loader.Close()
		return false, err
	}
	takeover, stopTakeover := context.WithCancel(life)
	keeping := []func(context.Context){process.KeepTakingOver, w.sweep, w.adopt, w.watch}
	if opts.Publish != nil {
		keeping = append(keeping, w.publishChanges)
	}
	for _, keep := range keeping {
		background.Go(func() { keep(takeover) })
	}
	started()
	select {
	case <-ctx.Done():
	case <-process.Lost():
		again = true
	}
	stopTakeover()
	return again, w.stop(life)
}

func (w *Worker) start(ctx context.Context) error {
	workers := river.NewWorkers()
	river.AddWorker(workers, &deliverWorker{w: w})
	river.AddWorker(workers, &releaseWorker{store: w.store, log: w.log})
	river.AddWorker(workers, &bulkWorker{store: w.store, log: w.log, stopping: w.stopping})
	river.AddWorker(workers, &erasureWorker{store: w.store, recent: w.opts.Recent, stopping: w.stopping})
	if w.opts.Mover != nil {
		river.AddWorker(workers, &moveWorker{mover: w.opts.Mover, stopping: w.stopping})
	}
	river.AddWorker(workers, &keptWorker{store: w.store, recent: w.opts.Recent, stopping: w.stopping, log: w.log})
	river.AddWorker(workers, &noticeWorker{notices: w.opts.Notices, process: w.process.ID})
	river.AddWorker(workers, &letterWorker{notices: w.opts.Notices})
	river.AddWorker(workers, &upkeepWorker{store: w.store, stopping: w.stopping, log: w.log})
	hourly := river.NewPeriodicJob(river.PeriodicInterval(time.Hour), func() (river.JobArgs, *river.InsertOpts) {
		return upkeepArgs{}, &river.InsertOpts{Queue: queue.Maintenance, UniqueOpts: river.UniqueOpts{ByPeriod: time.Hour}}
	}, &river.PeriodicJobOpts{RunOnStart: true})
	client, err := river.NewClient(newDriver(w.store, &w.tenants), &river.Config{
		ID:     w.process.ID,
		Schema: queue.Schema,
		Logger: slog.New(&quieter{w.log.Handler()}),
		// River's limit on notifications; the time between fetches is set per queue.
		FetchCooldown: time.Millisecond,
		// The queue wakes workers when jobs are due (queue.ExpectNext); this is for those that nobody told of.
		FetchPollInterval: time.Second,
		JobTimeout:        time.Minute,
		// Jobs of dead processes are taken over within seconds by us; this is for what nobody thought of.
		RescueStuckJobsAfter:        time.Hour,
		CompletedJobRetentionPeriod: 15 * time.Minute,
		CancelledJobRetentionPeriod: time.Hour,
		DiscardedJobRetentionPeriod: 24 * time.Hour,
		ReindexerIndexNames: []string{"river_job_kind", "river_job_prioritized_fetching_index",
			"river_job_state_and_finalized_at_index"},
		Workers:      workers,
		Middleware:   []rivertype.Middleware{w.tracker.middleware()},
		PeriodicJobs: []*river.PeriodicJob{hourly, periodicKept()},
		Queues: map[string]river.QueueConfig{
			queue.Deliver:     {MaxWorkers: maxJobs, FetchCooldown: 3 * time.Millisecond},
			queue.Retry:       {MaxWorkers: maxJobs / 2, FetchCooldown: 10 * time.Millisecond},
			queue.Notify:      {MaxWorkers: 16, FetchCooldown: 50 * time.Millisecond},
			queue.Bulk:        {MaxWorkers: 32, FetchCooldown: 50 * time.Millisecond},
			queue.Maintenance: {MaxWorkers: 4, FetchCooldown: 100 * time.Millisecond},
		},
	})
	if err != nil {
		return fmt.Errorf("set up the job queue: %w", err)
	}
	w.client = client
	if err := client.Start(ctx); err != nil {
		return fmt.Errorf("start the job queue: %w", err)
	}
	w.own(ctx)
	return nil
}

// stop takes no new jobs, gives running attempts time to finish, hands back what did not, and signs off.
func (w *Worker) stop(ctx context.Context) error {
	close(w.stopping)
	w.closeOwn()
	soft, cancel := context.WithTimeout(ctx, w.opts.StopWait)
	defer cancel()
	defer w.ownJobs.cancel()
	if err := cmp.Or(w.client.Stop(soft), w.waitOwn(soft)); err != nil {
		hard, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		w.ownJobs.cancel()
		if err := cmp.Or(w.client.StopAndCancel(hard), w.waitOwn(hard)); err != nil {
			w.log.Warn("some attempts did not end; another process takes them over", "error", err)
			w.pool.close()
			return nil // without signing off: the others find this process dead, and its jobs with it
		}
	}
	w.recorder.Close()
	w.background.Wait()
	w.loader.Close()
	w.senders.sweep(time.Now().Add(time.Hour))
	w.pool.close()
	bye, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return w.process.Unregister(bye)
}

// sweep closes what has been idle.
func (w *Worker) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			w.senders.sweep(now.Add(-5 * time.Minute))
			w.lanes.sweep(now.Add(-10 * time.Minute))
			w.pool.sweep(now.Add(-pooledFor))
		}
	}
}

// acquireSlot waits for one of the process's places for attempts, and returns how to give it back. Slow destinations have a
// share of them only.
func (w *Worker) acquireSlot(ctx context.Context, l *lane) (free func(), err error) {
	slow := l.slow()
	if slow {
		select {
		case w.slowOnes <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		if slow {
			<-w.slowOnes
		}
		return nil, ctx.Err()
	}
	if slow {
		return func() { <-w.slots; <-w.slowOnes }, nil
	}
	return w.freeSlot, nil
}

func (w *Worker) freeSlot() { <-w.slots }

// disable disables a destination whose receiver says that it is gone, beside the job: it waits for a lock that the
// job's own recording may hold.
func (w *Worker) disable(e *models.Target, reason string) {
	w.inBackground(func(ctx context.Context) {
		if err := w.store.DisableGone(ctx, e, reason); err != nil {
			w.log.Error("a destination that is gone could not be disabled; its next answer is another chance", "destination", e.ID, "error",
				err)
		}
	})
}

// inBackground does something beside the job at hand. The worker does not stop before it is done.
func (w *Worker) inBackground(do func(context.Context)) {
	w.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		do(ctx)
	})
}

// recall has jobs done now that were put off because their destination failed or was slow, which it is not any more.
func (w *Worker) recall(l *lane, e *models.Target) {
	w.inBackground(func(ctx context.Context) {
		n, err := w.store.Queue.Recall(ctx, e.Key, recallAtOnce)
		if err != nil || n == recallAtOnce {
			l.recallAgain()
		}
		if err != nil {
			w.log.Warn("what was put off could not be called back; it comes back within a minute, or with the next success", "destination",
				e.ID, "error", err)
		}
	})
}

// quieter passes River's log on, without messages about a normal stop.
type quieter struct{ slog.Handler }

func (q *quieter) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

// Handle leaves out that the queue's own work was cut off by a stop.
func (q *quieter) Handle(ctx context.Context, r slog.Record) error {
	stopped := false
	r.Attrs(func(a slog.Attr) bool {
		stopped = strings.Contains(a.Value.String(), context.Canceled.Error())
		return !stopped
	})
	if stopped {
		return nil
	}
	return q.Handler.Handle(ctx, r)
}

func (q *quieter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &quieter{q.Handler.WithAttrs(attrs)}
}
func (q *quieter) WithGroup(name string) slog.Handler { return &quieter{q.Handler.WithGroup(name)} }
