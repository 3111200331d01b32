package jobs

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/internal/traces"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/queue"
)

// deliverWorker makes the attempts of a job's deliveries and reports what became of them.
type deliverWorker struct {
	river.WorkerDefaults[queue.Batch]
	w *Worker
}

// Timeout is off: each attempt has its own deadline, and a job may wait for its destination's turn.
func (*deliverWorker) Timeout(*river.Job[queue.Batch]) time.Duration { return -1 }

var errNotAlive = errors.New("this process has not been seen by the database for too long and must not send")

// settled is the error that ends every job: its row is as it should be, and River must not write it. River writes the end of
// a job a quarter of a second later, or when the database is back, and by the job's id alone. If another worker has the job by
// then (because of a takeover, or because PostgreSQL lost the start of the job in a crash), River would complete it although
// it still runs, and nobody would touch its deliveries again. River reads this error as one about several jobs, none of which
// it has to report.
type settled struct{}

func (settled) Error() string               { return "the job is settled" }
func (settled) Jobs() []*rivertype.JobRow   { return nil }
func (settled) ErrorsByID() map[int64]error { return nil }

// Work runs one job.
func (d *deliverWorker) Work(ctx context.Context, job *river.Job[queue.Batch]) error {
	d.w.run(ctx, job)
	return settled{}
}

// run makes the attempts of a job, and queues it again when it ends with an error.
func (w *Worker) run(ctx context.Context, job *river.Job[queue.Batch]) {
	if err := w.deliver(ctx, job); err != nil {
		w.requeue(ctx, job, err)
	}
}

// requeueTimeout bounds how long the database may take to be told that a job could not be done.
const requeueTimeout = 5 * time.Second

// requeue has a job done again that could not be done, because the database was away or the process stops. Should the
// database not take that either, the job is found by whoever looks for jobs that nobody works on (adopt, takeOver).
func (w *Worker) requeue(ctx context.Context, job *river.Job[queue.Batch], reason error) {
	wait := min(time.Second*time.Duration(job.Attempt), 10*time.Second)
	var lost *lostEventsError
	var held *models.HeldError
	switch {
	case ctx.Err() != nil:
		wait = 0 // for others
	case errors.As(reason, &lost):
		wait = lost.wait
	case errors.As(reason, &held):
		wait = heldAgain
	default:
		w.log.Warn("a job could not be done and is done again", "job", job.ID, "attempt", job.Attempt, "deliveries", len(job.Args.Items),
			"error", reason)
	}
	w.giveBack(ctx, []int64{job.ID}, wait)
}

// giveBack has jobs of this process done again after a while, also while ctx has ended.
func (w *Worker) giveBack(ctx context.Context, jobs []int64, wait time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requeueTimeout)
	defer cancel()
	if err := w.store.Queue.MakeAvailable(ctx, w.process.ID, jobs, wait); err != nil {
		w.log.Warn("jobs could not be given back; they are looked for within seconds", "jobs", jobs, "error", err)
	}
}

// deliver makes the attempts of a job.
func (w *Worker) deliver(ctx context.Context, job *river.Job[queue.Batch]) error {
	args := job.Args
	lane := w.lanes.get(args.Destination)
	if lane.held(time.Now()) {
		return w.store.Queue.Postpone(ctx, w.process.ID, job.ID, heldPause)
	}
	if wait, ok := lane.enter(time.Now(), coming{w.store.Rules().MaxInFlight, len(args.Items), w.jobs.Load() > maxJobs/2, args.Later,
		job.CreatedAt}); !ok {
		return w.putOff(ctx, lane, job, wait)
	}
	w.jobs.Add(1)
	defer w.jobs.Add(-1)
	defer lane.leave()
	tenant := w.tenants.enter(time.Now(), args.Tenant, args.Later)
	defer tenant.leave(args.Later)
	if err := lane.acquire(ctx); err == errPutOff {
		return w.putOff(ctx, lane, job, lane.wait())
	} else if err != nil {
		return err
	}
	place, err := tenant.acquire(ctx, args.Later)
	if err != nil {
		lane.release()
		return err
	}
	placed := true // whether this goroutine holds a place of the tenant, and one in the lane
	defer func() {
		if placed {
			place.release()
			lane.release()
		}
	}()
	fresh := !args.Later && job.Attempt == 1 && !bytes.Contains(job.Metadata, []byte(queue.Begun))
	var missing []queue.Item
	target, ready, looked := w.remembered(job, fresh)
	if target == nil {
		target, ready, missing, err = w.loader.Load(ctx, args.Destination, args.Items, fresh)
		looked = time.Now()
	}
	if held := (*models.HeldError)(nil); errors.As(err, &held) {
		lane.hold(time.Now())
		return w.store.Queue.Postpone(ctx, w.process.ID, job.ID, heldPause)
	}
	if err != nil {
		return err
	}
	lane.permit(target, looked)
	if status, reason := unusable(target, args.Trigger); status != "" {
		err := w.recorder.Record(ctx, models.Report{Job: job.ID, Done: len(missing) == 0,
			Outcomes: unsent(target, ready, args, status, reason)})
		if err == nil {
			err = w.notFound(job, missing)
		}
		return err
	}
	run := &run{w: w, ctx: ctx, job: job, tenant: tenant, lane: lane, ready: ready, missing: missing}
	run.use(target)
	defer run.releaseSenders()
	placed = false
	run.attemptAll(place)
	return run.finish()
}

// remembered loads what a job needs without the database, and says as of when, or returns nil.
func (w *Worker) remembered(job *river.Job[queue.Batch], fresh bool) (*models.Target, []models.Ready, time.Time) {
	if !fresh {
		return nil, nil, time.Time{}
	}
	target, ready := w.loader.Remembered(job.Args, job.CreatedAt)
	return target, ready, job.CreatedAt
}

// unusable says what becomes of deliveries to a destination to which nothing is to be sent.
func unusable(e *models.Target, trigger string) (status, reason string) {
	switch {
	case e.TenantGone:
		return models.StatusCancelled, models.ReasonTenantDeleted
	case e.DeletedAt != nil:
		return models.StatusCancelled, models.ReasonDestinationDeleted
	case e.DisabledAt != nil && trigger != models.TriggerProbe:
		return models.StatusHeld, e.HeldReason()
	}
	return "", ""
}

// unsent makes the outcomes of deliveries of which no attempt was made.
func unsent(e *models.Target, ready []models.Ready, args queue.Batch, status, reason string) []models.Outcome {
	out := make([]models.Outcome, len(ready))
	for i, r := range ready {
		out[i] = models.Outcome{DeliveryKey: models.DeliveryKey{EventKey: r.EventKey, Destination: e.Key}, TenantKey: e.TenantKey,
			Type: e.Type, Turn: r.Turn,
			Status: status, Reason: reason, Trigger: args.Trigger, Actor: args.Actor, BulkKey: args.BulkKey, Passes: e.Passes(status),
			Own: models.OwnEvent(e.TenantID, r.Event.Topic)}
	}
	return out
}

// putOff gives a job back to the queue, to be taken up later. Nothing of it has been done, so its deliveries stay as they
// are.
func (w *Worker) putOff(ctx context.Context, l *lane, job *river.Job[queue.Batch], wait time.Duration) error {
	w.store.Metrics.PutOff(len(job.Args.Items))
	w.tellWait(l, job.Args.Destination)
	return w.store.Queue.Postpone(ctx, w.process.ID, job.ID, wait)
}

// run is one job under way.
type run struct {
	w       *Worker
	ctx     context.Context
	job     *river.Job[queue.Batch]
	tenant  *tenant
	lane    *lane
	ready   []models.Ready
	missing []queue.Item // whose event cannot be found, so that the job stays
	current current

	mu       sync.Mutex
	next     int              // index of the delivery to be taken up next
	left     int              // deliveries whose outcome is not known
	outcomes []models.Outcome // known but not reported
	timer    *time.Timer      // reports what is known while others take long
	ending   bool             // no further report begins beside that which ends the job
	reports  sync.WaitGroup   // reports under way
	err      error
	short    shortage // why deliveries are left, with errShort
}

// reportAfter is how long a known outcome waits for the others of its job before it is reported alone.
const reportAfter = 25 * time.Millisecond

// attemptAll makes the attempts. This goroutine has a place of the tenant and one in the lane, and helpers take as many more
// as are free. When it returns all places are given back.
func (r *run) attemptAll(mine *place) {
	r.left = len(r.ready)
	r.outcomes = make([]models.Outcome, 0, len(r.ready))
	var helpers sync.WaitGroup
	spawn := func() {
		for r.more() && r.lane.tryAcquire() {
			place, ok := r.tenant.tryAcquire()
			if !ok {
				r.lane.release()
				return
			}
			helpers.Add(1)
			r.w.pool.run(func() {
				defer helpers.Done()
				defer r.lane.release()
				defer place.release()
				for i, ok := r.take(); ok; i, ok = r.take() {
					r.attemptOne(i, place)
					if place.spare() {
						return
					}
				}
			})
		}
	}
	var err error
	for i, ok := r.take(); ok; i, ok = r.take() {
		spawn()
		r.attemptOne(i, mine)
		if mine.spare() && r.more() {
			mine.release()
			if err = mine.wait(r.ctx); err != nil {
				r.fail(err)
				break
			}
		}
	}
	if err == nil {
		mine.release()
	}
	r.lane.release()
	helpers.Wait()
}

func (r *run) more() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next < len(r.ready)
}

func (r *run) take() (int, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next >= len(r.ready) || r.err != nil {
		return 0, false
	}
	r.next++
	return r.next - 1, true
}

// attemptOne makes one attempt, in a place of the tenant.
func (r *run) attemptOne(i int, in *place) {
	d := &r.ready[i]
	if err := r.awaitRate(); err != nil {
		r.fail(err)
		return
	}
	free, err := r.w.acquireSlot(r.ctx, r.lane)
	if err != nil {
		r.fail(err)
		return
	}
	defer free()
	if !r.w.process.Alive() {
		r.fail(errNotAlive)
		return
	}
	in.try()
	defer in.tried()
	v := r.version()
	if r.lane.held(time.Now()) {
		r.fail(&models.HeldError{TenantID: v.target.TenantID})
		return
	}
	if status, reason := unusable(v.target, r.job.Args.Trigger); status != "" {
		r.add(unsent(v.target, r.ready[i:i+1], r.job.Args, status, reason)[0])
		return
	}
	started := time.Now()
	span := r.trace(v, d, started)
	receipt, err := r.send(v, d, span)
	took := time.Since(started)
	if err != nil && r.ctx.Err() != nil {
		r.fail(r.ctx.Err()) // the process is stopping; the attempt was cut off and is made again
		return
	}
	if err != nil {
		if e := adapters.AsShortage(err); e != nil {
			r.lack(i, v, e, span)
			return
		}
	}
	o := r.outcome(v, d, started, took, receipt, err)
	r.logAttempt(v, d, &o, span)
	r.add(o)
}

// awaitRate waits for the destination's next sending time, if it has a rate limit or keeps failing.
func (r *run) awaitRate() error {
	rate := r.lane.pacing()
	if rate == 0 {
		return nil
	}
	target := r.version().target
	limit := target.Rate()
	var ask lease
	if rate == limit {
		ask = func(ctx context.Context, n int) (time.Duration, error) {
			return r.w.store.LeaseRate(ctx, target.Key, limit, n)
		}
	}
	at, err := r.lane.pace.take(r.ctx, rate, ask)
	if err != nil {
		return err
	}
	return pause(r.ctx, at)
}

func (r *run) send(v *version, d *models.Ready, span traces.Span) (adapters.Receipt, error) {
	if v.target.UnusableErr != nil {
		return adapters.Receipt{}, &adapters.Error{Class: adapters.ClassConfig,
			Message: "The destination's credentials cannot be opened with this server's key.",
			Advice:  "Ask the operator to check SECRET_KEY and SECRET_KEY_PREVIOUS, or enter the credentials again."}
	}
	if v.openErr != nil {
		return adapters.Receipt{}, v.openErr
	}
	e := d.Event
	body, computed, err := v.target.Compute(e)
	if err != nil {
		return adapters.Receipt{}, &adapters.Error{Class: adapters.ClassConfig, Message: err.Error(),
			Advice: "Nothing was sent, not even the payload as it is. Correct the expression in the destination's settings; the next attempt uses it."}
	}
	ctx, cancel := adapters.WithTimeout(r.ctx, v.target.Timeout)
	defer cancel()
	return v.sender.Send(ctx, &adapters.Message{EventID: e.ID, Topic: e.Topic, Time: e.Time, Metadata: e.Metadata,
		DeliveryMetadata: v.target.DeliveryMetadata, Data: body, Attempt: d.Attempts + 1, Computed: computed, TraceParent: span.Parent,
		TraceState: span.State})
}

// outcome turns an attempt into what is recorded.
func (r *run) outcome(v *version, d *models.Ready, started time.Time, took time.Duration, rc adapters.Receipt, err error) models.Outcome {
	trigger := r.job.Args.Trigger
	if trigger == "" {
		trigger = models.TriggerAutomatic
	}
	key := models.DeliveryKey{EventKey: d.EventKey, Destination: v.target.Key}
	a := &models.Attempt{DeliveryKey: key, TenantKey: v.target.TenantKey, Number: d.Attempts + 1, StartedAt: started, Duration: took,
		Timing: models.AttemptTiming(rc.Timing), Code: rc.Code, OK: err == nil, Trigger: trigger, Actor: r.job.Args.Actor,
		BulkKey: r.job.Args.BulkKey, Method: rc.Method, URL: rc.URL,
		RequestHeader: rc.ReqHeader, ResponseHeader: rc.RespHeader, ResponseBody: rc.Body, Truncated: rc.Truncated,
		TransformKey: v.target.TransformKey, PayloadKey: d.Event.PayloadKey, CertificateEnds: rc.CertificateEnds}
	t := tried{policy: v.target.Policy, eligible: d.Event.Retry && trigger != models.TriggerTest, number: a.Number, code: rc.Code,
		asked: rc.Retry, random: rand.Float64()}
	throttled := false
	if err != nil {
		t.err = adapters.AsError(err)
		a.ErrorClass, a.Error, a.Advice, a.RawError = string(t.err.Class), t.err.Message, t.err.Advice, t.err.Raw
		a.PrivateError = t.err.Private
		a.NotSent, a.Log = rc.NotSent, slices.Concat(rc.Log, t.err.Log)
		throttled = t.err.Kind == adapters.KindThrottled
	}
	v.target.Redaction.Apply(a)
	now := started.Add(took)
	dec := decide(t)
	longest := time.Duration(v.target.Policy.MaxInterval)
	ease := longest
	if dec.status == models.StatusRetrying {
		ease = dec.wait // others wait no longer than this one
	}
	if r.lane.learn(now, took, err != nil, throttled, min(max(t.asked, afterOf(t.err)), longest), ease) {
		r.w.tellWell(v.target.Key)
	}
	if r.lane.recall(now) {
		r.w.recall(r.lane, v.target)
	}
	o := models.Outcome{DeliveryKey: key, TenantKey: v.target.TenantKey, Type: v.target.Type, Due: due(r.job), Turn: d.Turn, Attempt: a,
		Status: dec.status, Reason: dec.reason, Previous: d.Previous,
		Own: models.OwnEvent(v.target.TenantID, d.Event.Topic)}
	if err != nil && trigger == models.TriggerProbe && v.target.DisabledAt != nil {
		o.Status, o.Reason = models.StatusHeld, "A probe of the disabled destination failed: "+a.Error
	}
	o.Passes = v.target.Passes(o.Status)
	if o.Status == models.StatusRetrying {
		o.Next = now.Add(dec.wait)
	}
	if dec.disable != "" {
		r.w.disable(v.target, dec.disable)
	}
	return o
}

// due is when a job was to be done. Jobs for now are written with a time that lies a little in the past.
func due(job *river.Job[queue.Batch]) time.Time {
	if job.CreatedAt.After(job.ScheduledAt) {
		return job.CreatedAt
	}
	return job.ScheduledAt
}

func afterOf(e *adapters.Error) time.Duration {
	if e == nil {
		return 0
	}
	return e.After
}

// add takes note of an outcome. Those that are known are reported together when the job is through, or after a short
// while when some of its deliveries take longer.
func (r *run) add(o models.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes = append(r.outcomes, o)
	r.left--
	if r.left > 0 && r.timer == nil {
		r.timer = time.AfterFunc(reportAfter, r.report)
	}
}

// report reports what is known so far.
func (r *run) report() {
	r.mu.Lock()
	r.timer = nil
	if r.ending || len(r.outcomes) == 0 {
		r.mu.Unlock()
		return
	}
	known := r.outcomes
	r.outcomes = nil
	r.reports.Add(1)
	r.mu.Unlock()
	defer r.reports.Done()
	if err := r.record(false, known); err != nil {
		r.fail(err)
	}
}

func (r *run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil || r.err == errShort { // after which the rest would be given up as untouched
		r.err = err
	}
}

// finish reports the rest and ends the job. After a failure what is known is reported all the same, and the job stays
// for another run, which leaves out what was recorded.
func (r *run) finish() error {
	r.lastOnly()
	r.reports.Wait()
	r.mu.Lock()
	known, err := r.outcomes, r.err
	if err == errShort && r.left == len(r.short.left)+len(r.ready)-r.next {
		known, err = append(known, r.postponed()...), nil
	}
	r.outcomes = nil
	r.mu.Unlock()
	if err == nil {
		err = r.w.notFound(r.job, r.missing)
	}
	if err != nil && len(known) == 0 {
		return err
	}
	if rec := r.record(err == nil, known); rec != nil {
		return rec
	}
	return err
}

// lastOnly keeps reports from beginning: the last one ends the job, and the others must be written before it. It is not
// enough to stop the timer, which may have fired without its report having begun.
func (r *run) lastOnly() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = true
	if r.timer != nil {
		r.timer.Stop()
	}
}

// record writes down what became of deliveries. What was sent is recorded although the process is stopping.
func (r *run) record(done bool, known []models.Outcome) error {
	return r.w.recorder.Record(context.WithoutCancel(r.ctx), models.Report{Job: r.job.ID, Done: done, Outcomes: known})
}
