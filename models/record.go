package models

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/pgcopy"
	"github.com/waybill-dev/waybill/models/queue"
	"github.com/waybill-dev/waybill/models/seal"
)

// Outcome is what became of a delivery when its turn came.
type Outcome struct {
	DeliveryKey
	TenantKey int64
	Type      string    // of the destination; for metrics
	Due       time.Time // when its job was to be done; for metrics
	Turn      int32
	Attempt   *Attempt  // nil when nothing was sent
	Status    string    // the delivery's new state
	Reason    string    // why, for held, failed and cancelled
	Next      time.Time // when it is due again, with StatusRetrying and StatusPending
	Trigger   string    // of the job it goes on with
	Actor     string
	BulkKey   uuid.UUID // of the bulk retry that the job belongs to; zero for none
	Previous  time.Time // when the delivery's attempt before this one was started; zero when there was none
	Passes    bool      // with its status the next delivery with its ordering key may go
	Own       bool      // its event is one of the server's own
}

// Report is what a job tells about its deliveries: some of them, or the last ones.
type Report struct {
	Job      int64
	Done     bool // nothing of the job is left to do
	Outcomes []Outcome
}

// Recorder writes outcomes in groups, as the Accepter writes events: whatever has queued up while the last transaction
// ran goes into the next one. One begins recordEvery after the last one at the earliest, for a transaction costs more than the
// outcomes in it, unless somebody waits.
type Recorder struct {
	s      *Store
	worker string
	log    *slog.Logger
	in     *batcher[*recording]
}

type recording struct {
	Report
	done chan error
}

const (
	maxReports     = 1024                   // that wait
	maxRecordGroup = 100                    // reports in one transaction, up to MaxBatch outcomes each
	recordEvery    = 20 * time.Millisecond  // about as long as outcomes wait for the others of their job
	recordTimeout  = 10 * time.Second       // of one transaction
	recordFor      = 5 * time.Minute        // that outcomes are kept which the database does not take, before they are given up
	recordPause    = 100 * time.Millisecond // before another try; twice as long before the next, up to
	recordMaxPause = 2 * time.Second
)

// NewRecorder starts to write for the worker with this id.
func NewRecorder(s *Store, worker string, log *slog.Logger) *Recorder {
	r := &Recorder{s: s, worker: worker, log: log,
		in: newBatcher(batchLimits[*recording]{Waiting: maxReports, Group: maxRecordGroup, Every: recordEvery})}
	r.in.standBy(r.writer())
	r.in.start(r.writer())
	return r
}

// writer returns what records groups, one after the other.
func (r *Recorder) writer() func(group []*recording) {
	w := &recordWriter{}
	return func(group []*recording) { r.commit(group, w) }
}

// Close waits until everything that was handed over is written. Nothing may be recorded afterwards.
func (r *Recorder) Close() { r.in.close() }

// Record returns when the report is committed. An error means that nothing of it was, and that the job will run again.
func (r *Recorder) Record(ctx context.Context, rep Report) error {
	rec := &recording{rep, make(chan error, 1)}
	if err := r.in.put(ctx, rec); err != nil {
		return err
	}
	if r.s.awaited.Load() > 0 || slices.ContainsFunc(rep.Outcomes, func(o Outcome) bool { return o.Passes }) {
		r.in.hurry()
	}
	return <-rec.done // always answered: writing has a deadline of its own
}

// commit writes a group and answers those who handed it over. While the database is away it tries again: what is known
// of attempts that were made would be lost otherwise, and they would be made once more. A transaction of which nobody
// knows whether it was committed does no harm: then its jobs are gone, or its attempts are there already.
func (r *Recorder) commit(group []*recording, w *recordWriter) {
	began := time.Now()
	err := r.write(group, w)
	for wait := recordPause; err != nil && IsUnavailable(err) && time.Since(began) < recordFor; wait = min(2*wait, recordMaxPause) {
		if wait == recordPause {
			r.log.Warn("outcomes are not recorded yet; the database is away", "reports", len(group), "error", err)
		}
		<-time.After(wait)
		err = r.write(group, w)
	}
	r.meter(w, time.Since(began), err)
	if err != nil {
		r.log.Error("outcomes were not recorded; their jobs will run again", "reports", len(group), "error", err)
	}
	for _, rec := range group {
		rec.done <- err
	}
}

// recordWriter holds what one recorder reuses from group to group.
type recordWriter struct {
	attempts map[string]*pgcopy.Rows // by the table they go to
	updates  *pgx.Batch
	done     map[string]*deliveredRows // by their table
	requeue  map[requeueKey][]queue.Item
	health   healthDeltas
	traffic  trafficDeltas

	trafficRows, healthRows pgcopy.Rows

	finished []DeliveryKey        // those behind which others may wait
	recorded []*Outcome           // what is written
	keys     map[int64]*seal.Data // of the attempts whose events are sealed
	noted    pgcopy.Rows          // changes for the feed; empty while nobody follows outcomes
}

type requeueKey struct {
	queue.Key
	at int64 // unix milliseconds, rounded; 0 for now
}

// errOthersJob ends a transaction that has written outcomes of jobs which belong to others now.
var errOthersJob = errors.New("jobs were taken over")

// write records a group in one transaction: in one round trip where nothing but the writing depends on what it finds, and in two when it
// finds something else than usual, of which the first settles the jobs and updates the deliveries, and the second writes the attempts and
// commits. Should a job turn out to be another worker's, because this
// process was stopped for too long, it starts over without what that job's outcomes are: the other makes those deliveries
// again, and what it finds counts.
func (r *Recorder) write(group []*recording, w *recordWriter) error {
	ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
	defer cancel()
	if err := w.loadKeys(ctx, r.s, group); err != nil {
		return err
	}
	guess := true
	for lost := map[int64]bool{}; ; {
		err := r.s.inHotTx(ctx, func(tx *hotTx) error { return r.attempt(ctx, tx, group, w, lost, guess && tx.canGuess()) })
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errStale):
			guess = false
		case !errors.Is(err, errOthersJob):
			r.s.forgetPartitions(err)
			return err
		}
	}
}

// loadKeys loads the keys with which attempts are sealed.
func (w *recordWriter) loadKeys(ctx context.Context, s *Store, group []*recording) (err error) {
	var ids []int64
	for _, rec := range group {
		for i := range rec.Outcomes {
			if a := rec.Outcomes[i].Attempt; a != nil && a.PayloadKey != 0 && !slices.Contains(ids, a.PayloadKey) {
				ids = append(ids, a.PayloadKey)
			}
		}
	}
	if w.keys = nil; len(ids) > 0 {
		w.keys, err = s.payloads.load(ctx, ids...)
	}
	return err
}

// attempt is one try of write. lost are the jobs of others; it adds to them when it returns errOthersJob. With guess it takes it for
// granted that all jobs are its own and all deliveries where they were, and fails with errStale when that is not so.
func (r *Recorder) attempt(ctx context.Context, tx *hotTx, group []*recording, w *recordWriter, lost map[int64]bool,
	guess bool) (err error) {
	conn := tx.conn
	w.reset()
	r.s.followed.mu.RLock()
	defer r.s.followed.mu.RUnlock()
	tx.begin(w.updates)
	var done, partial []int64
	for _, rec := range group {
		if lost[rec.Job] {
			continue // it may have become this worker's once more since the last try, for another run, which is not to lose it
		}
		if rec.Done {
			done = append(done, rec.Job)
		} else {
			partial = append(partial, rec.Job)
		}
	}
	owned := make(map[int64]bool, len(group))
	if guess = guess && !depends(group); guess {
		r.s.Queue.SettleAll(w.updates, r.worker, done, partial, allOrStale)
	} else {
		r.s.Queue.Settle(w.updates, r.worker, done, partial, owned)
	}
	if w.checkHeld(group) {
		// What becomes of the deliveries depends on the answers.
		if err := w.send(ctx, conn); err != nil {
			return err
		}
	}
	for _, rec := range group {
		if !lost[rec.Job] {
			for i := range rec.Outcomes {
				w.add(r.s, &rec.Outcomes[i])
			}
		}
	}
	if guess {
		for _, d := range w.done {
			d.queueAll(w.updates)
		}
		tx.first = w.updates
	} else if err := r.settle(ctx, conn, group, w, owned, lost); err != nil {
		return err
	}
	jobs := w.jobs()
	if len(w.finished) > 0 {
		next, err := passOn(ctx, conn, w.finished)
		if err != nil {
			return err
		}
		jobs = append(jobs, next...)
	}
	copies := make([]pgcopy.Copy, 0, len(w.attempts)+4)
	for table, rows := range w.attempts {
		copies = append(copies, pgcopy.Copy{Into: table + " (" + attemptColumns + ")", Rows: rows})
	}
	if !w.noted.Empty() {
		copies = append(copies, pgcopy.Copy{Into: intoOutcomes, Rows: &w.noted})
	}
	copies = w.traffic.copyTo(copies, &w.trafficRows)
	copies = w.health.copyTo(copies, &w.healthRows)
	var wake func()
	if len(jobs) > 0 {
		var c pgcopy.Copy
		if c, wake, err = r.s.Queue.Copy(jobs); err != nil {
			return err
		}
		copies = append(copies, c)
	}
	return tx.commit(ctx, copies, wake)
}

// settle sends what has queued up, and makes sure that all jobs were the worker's and all deliveries were written.
func (r *Recorder) settle(ctx context.Context, conn *pgx.Conn, group []*recording, w *recordWriter,
	owned, lost map[int64]bool) (err error) {
	for _, d := range w.done {
		d.queue(w.updates)
	}
	if err := w.send(ctx, conn); err != nil {
		return err
	}
	missed := false
	for _, d := range w.done {
		missed = d.queueMissed(w.updates) || missed
	}
	if missed {
		if err := w.send(ctx, conn); err != nil {
			return err
		}
	}
	for _, rec := range group {
		if !owned[rec.Job] && !lost[rec.Job] {
			r.log.Warn("a job was taken over before its outcome was recorded", "job", rec.Job, "deliveries", len(rec.Outcomes))
			lost[rec.Job], err = true, errOthersJob
		}
	}
	return err
}

// depends reports whether what is to be written depends on what the database says: others may wait behind a delivery, or its
// destination may have been enabled.
func depends(group []*recording) bool {
	return slices.ContainsFunc(group, func(rec *recording) bool {
		return slices.ContainsFunc(rec.Outcomes, func(o Outcome) bool { return o.Passes || o.Status == StatusHeld })
	})
}

// checkHeld makes sure that no delivery is held just after its destination was enabled and its backlog released:
// then nobody would touch it again. It reports whether there is anything to check.
func (w *recordWriter) checkHeld(group []*recording) (any bool) {
	for _, rec := range group {
		for i := range rec.Outcomes {
			o := &rec.Outcomes[i]
			if o.Status != StatusHeld {
				continue
			}
			any = true
			w.updates.Queue("select disabled_at, deleted_at from destinations where key = $1 for share",
				o.DeliveryKey.Destination).QueryRow(func(row pgx.Row) error {
				var disabled, deleted *time.Time
				err := row.Scan(&disabled, &deleted)
				if err == nil && (disabled == nil || deleted != nil) {
					o.Status, o.Reason, o.Next = StatusPending, "", time.Time{}
				}
				return err
			})
		}
	}
	return any
}

// jobs are those with which the deliveries go on that are not finished.
func (w *recordWriter) jobs() (jobs []queue.Batch) {
	for k, items := range w.requeue {
		var at time.Time
		if k.at != 0 {
			at = time.UnixMilli(k.at)
		}
		for _, b := range queue.Split(k.Key, items) {
			b.At = at
			jobs = append(jobs, b)
		}
	}
	return jobs
}

func (w *recordWriter) reset() {
	w.attempts = map[string]*pgcopy.Rows{}
	w.updates = &pgx.Batch{}
	w.requeue = map[requeueKey][]queue.Item{}
	clear(w.health)
	clear(w.traffic)
	w.finished = w.finished[:0]
	w.recorded = w.recorded[:0]
	w.noted.Reset()
	w.done = map[string]*deliveredRows{}
}

// requeueGrain: retries that are due within the same 50 ms share a job.
const requeueGrain = 50 * time.Millisecond

func (w *recordWriter) add(s *Store, o *Outcome) {
	w.recorded = append(w.recorded, o)
	w.traffic.outcome(o, time.Now())
	s.followed.note(&w.noted, o)
	if o.Attempt != nil {
		table := s.partitions.of("attempts", o.EventKey)
		rows := w.attempts[table]
		if rows == nil {
			rows = &pgcopy.Rows{}
			rows.Reset()
			w.attempts[table] = rows
		}
		o.Attempt.write(rows, w.keys[o.Attempt.PayloadKey])
		w.health.attempt(o)
	}
	w.update(s.partitions.of("deliveries", o.EventKey), o)
	if o.Passes {
		w.finished = append(w.finished, o.DeliveryKey)
	}
	if o.Status != StatusRetrying && o.Status != StatusPending {
		return
	}
	q := requeueKey{Key: queue.Key{Destination: o.DeliveryKey.Destination, Tenant: o.TenantKey, Later: true,
		Trigger: o.Trigger, Actor: o.Actor,
		BulkKey: o.BulkKey}}
	if !o.Next.IsZero() {
		q.at = o.Next.Add(requeueGrain - 1).Truncate(requeueGrain).UnixMilli()
	}
	w.requeue[q] = append(w.requeue[q], queue.Item{EventKey: o.EventKey, Turn: o.Turn + 1})
}

// One statement for each delivery that is not delivered yet, all sent at once. Statements with lists of ids would leave the
// planner a choice, which it makes once, while the day's table is still empty: to look at every row of the destination.
const (
	// What somebody did to a delivery meanwhile (its turn has changed) stays.
	updateTried = ` set attempts = greatest(attempts, $4), last_attempt_at = $5, last_code = $6, error_class = $7, error = $8, advice = $9,
			status = case when turn = $3 then $10::delivery_status else status end,
			reason = case when turn = $3 then $11 else reason end,
			next_attempt_at = case when turn = $3 then $12 else next_attempt_at end,
			turn = case when turn = $3 and $10 = 'retrying' then turn + 1 else turn end
		where event_id = $1 and destination_key = $2`
	updateUntried = ` set status = $4::delivery_status, reason = $5, next_attempt_at = $6, turn = case when $4 in ('pending',
		'retrying') then turn + 1 else turn end
		where event_id = $1 and destination_key = $2 and turn = $3`
)

// update queues the UPDATE of a delivery, or sees to it that it is done with the others that are delivered.
func (w *recordWriter) update(table string, o *Outcome) {
	a := o.Attempt
	switch {
	case o.Status == StatusDelivered:
		d := w.done[table]
		if d == nil {
			d = &deliveredRows{table: table}
			w.done[table] = d
		}
		d.add(o)
	case a != nil:
		w.updates.Queue("update "+table+updateTried, [16]byte(o.EventKey), o.DeliveryKey.Destination, o.Turn, int32(a.Number), a.StartedAt,
			int32(a.Code),
			textOrNil(a.ErrorClass), textOrNil(a.Error), textOrNil(a.Advice), o.Status, textOrNil(o.Reason), timeOrNil(o.Next))
	default:
		w.updates.Queue("update "+table+updateUntried, [16]byte(o.EventKey), o.DeliveryKey.Destination, o.Turn, o.Status, textOrNil(o.Reason),
			timeOrNil(o.Next))
	}
}

// send runs what has queued up, in one round trip.
func (w *recordWriter) send(ctx context.Context, conn *pgx.Conn) error {
	b := w.updates
	w.updates = &pgx.Batch{}
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("update deliveries: %w", err)
	}
	return nil
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// text makes s fit for a text column: valid UTF-8 without NUL. Answers of strangers are neither, sometimes.
func text(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func textOrNil(s string) *string {
	if s == "" {
		return nil
	}
	s = text(s)
	return &s
}
