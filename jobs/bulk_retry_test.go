package jobs_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// receiver notes what it gets.
type receiver struct {
	mu      sync.Mutex
	got     map[string][]time.Time // by event
	busy    map[string]bool
	twice   string        // an event that was sent while it was being sent
	holding time.Duration // how long an answer takes
}

func newReceiver(holding time.Duration) *receiver {
	return &receiver{got: map[string][]time.Time{}, busy: map[string]bool{}, holding: holding}
}

func (r *receiver) answer(_ context.Context, m *adapters.Message) (adapters.Receipt, error) {
	r.mu.Lock()
	if r.busy[m.EventID] {
		r.twice = m.EventID
	}
	r.busy[m.EventID] = true
	r.got[m.EventID] = append(r.got[m.EventID], time.Now())
	r.mu.Unlock()
	<-time.After(r.holding) // long enough for another one to show up
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy[m.EventID] = false
	return adapters.Receipt{Code: 200}, nil
}

func (r *receiver) times() (out []time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, list := range r.got {
		out = append(out, list...)
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// failAll publishes n events while no worker is there, and makes their deliveries failed ones.
func (e *engine) failAll(n int) (events []string) {
	e.Helper()
	for i := range n {
		events = append(events, e.publish(models.PublishInput{ID: fmt.Sprintf("e-%d", i)}).ID)
	}
	e.exec("update deliveries set status = 'failed', turn = turn + 1, attempts = 3, error_class = 'server', error = 'The receiver answered 500.'")
	e.exec("delete from river.river_job where kind = 'deliver'")
	return events
}

func (e *engine) acme() models.Scope {
	e.Helper()
	t, err := e.store.Tenant(e.Context(), models.AllTenants(), "acme")
	if err != nil {
		e.Fatal(err)
	}
	return t.Scope()
}

func (e *engine) bulk(in models.BulkInput) *models.BulkRetry {
	e.Helper()
	in.Actor = "Ann"
	b, _, err := e.store.StartBulkRetry(e.Context(), e.acme(), in)
	if err != nil {
		e.Fatal(err)
	}
	return b
}

// over waits for the end of a bulk retry, whose parts make its total at any time.
func (e *engine) over(id string) *models.BulkRetry {
	e.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; <-time.After(10 * time.Millisecond) {
		b, err := e.store.BulkRetry(e.Context(), models.AllTenants(), id)
		if err != nil {
			e.Fatal(err)
		}
		if sum := b.Delivered + b.Failed + b.Skipped() + b.Waiting() + b.Remaining(); sum != b.Total {
			e.Fatalf("the parts make %d: %+v", sum, b)
		}
		if b.Final() {
			return b
		}
		if time.Now().After(deadline) {
			e.Fatalf("the bulk retry did not end: %+v", b)
		}
	}
}

// step does one portion of a bulk retry as its job would.
func (e *engine) step(b *models.BulkRetry, run int) models.BulkStep {
	e.Helper()
	step, err := e.store.AdvanceBulkRetry(e.Context(), b.Key, run)
	if err != nil {
		e.Fatal(err)
	}
	return step
}

// TestBulkRetryCancelTakesBack cancels a bulk retry before any worker has begun what is queued: all is as it was.
func TestBulkRetryCancelTakesBack(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	r := newReceiver(0)
	e.destination("d", r.answer, nil)
	events := e.failAll(5)
	b := e.bulk(models.BulkInput{Rate: 15}) // three in a portion
	if e.step(b, 1); e.step(b, 2).Over != true {
		t.Error("a job of another run is not over")
	}
	b, err := e.store.BulkRetry(t.Context(), e.acme(), b.ID())
	if err != nil || b.Queued != 3 || b.Remaining() != 2 || b.Waiting() != 3 {
		t.Errorf("%+v %v", b, err)
	}
	if _, err := e.store.CancelBulkRetry(t.Context(), e.acme(), b.ID(), "Bob"); err != nil {
		t.Fatal(err)
	}
	e.step(b, 2)
	e.startWorker()
	if b = e.over(b.ID()); b.Status != models.BulkCancelled || b.Remaining() != 5 || b.Delivered != 0 {
		t.Errorf("%+v", b)
	}
	for _, id := range events {
		d := e.delivery(id, "d", is(models.StatusFailed))
		if d.ManualRetries != 0 || d.ErrorClass != "server" {
			t.Errorf("%+v", d)
		}
	}
	// They can be retried again, by the next one.
	if b = e.over(e.bulk(models.BulkInput{}).ID()); b.Delivered != 5 || len(r.times()) != 5 {
		t.Errorf("%d were sent: %+v", len(r.times()), b)
	}
}

// TestBulkRetryNeverTwiceAtOnce has two bulk retries, each worked off by two at once, and single retries by hand compete for
// the same deliveries.
func TestBulkRetryNeverTwiceAtOnce(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	r := newReceiver(3 * time.Millisecond)
	e.destination("d", r.answer, nil)
	events := e.failAll(150)
	all := models.RetryFilter{Statuses: models.Retryable}
	first, second := e.bulk(models.BulkInput{Filter: all}), e.bulk(models.BulkInput{Filter: all, Rate: 500})
	e.startWorker()
	var wg sync.WaitGroup
	byHand := 0
	wg.Go(func() {
		for _, id := range events {
			if _, queued, err := e.store.RetryEvent(t.Context(), e.acme(), id, "d", "Ann"); err != nil {
				t.Error(err)
			} else if queued {
				byHand++
			}
		}
	})
	for _, b := range []*models.BulkRetry{first, second} {
		wg.Go(func() {
			for {
				step, err := e.store.AdvanceBulkRetry(t.Context(), b.Key, 1)
				if err != nil {
					t.Error(err)
				}
				if err != nil || step.Over {
					return
				}
				<-time.After(min(step.Wait, 10*time.Millisecond))
			}
		})
	}
	one, two := e.over(first.ID()), e.over(second.ID())
	wg.Wait()
	for _, id := range events {
		e.delivery(id, "d", is(models.StatusDelivered))
	}
	sent := len(r.times())
	if r.twice != "" {
		t.Errorf("event %s was sent while it was being sent", r.twice)
	}
	if want := one.Delivered + two.Delivered + byHand; sent != want || one.Failed+two.Failed > 0 {
		t.Errorf("%d were sent, but %d + %d + %d asked for: %+v %+v", sent, one.Delivered, two.Delivered, byHand, one, two)
	}
	var manual int
	if err := e.db.QueryRow(t.Context(), "select sum(manual_retries) from deliveries").Scan(&manual); err != nil || manual != sent {
		t.Errorf("%d of %d retries were counted against the limit of their delivery (%v)", manual, sent, err)
	}
}

// TestBulkRetryRate works a bulk retry off by three at once, who keep to its rate together.
func TestBulkRetryRate(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	r := newReceiver(0)
	e.destination("d", r.answer, nil)
	e.failAll(60)
	started := time.Now()
	b := e.bulk(models.BulkInput{Rate: 50}) // ten in a portion
	e.startWorker()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !e.step(b, 1).Over {
				<-time.After(5 * time.Millisecond)
			}
		})
	}
	if done := e.over(b.ID()); done.Queued != 60 || done.Skipped() != 0 {
		t.Errorf("somebody did a portion that another one had done: %+v", done)
	}
	wg.Wait()
	at := r.times()
	if len(at) != 60 {
		t.Fatalf("%d were sent", len(at))
	}
	// Five portions come after the first one, 200 ms apart.
	if took := at[59].Sub(started); took < 950*time.Millisecond {
		t.Errorf("60 at 50 a second took %v", took)
	}
}

// TestBulkRetryKeepsOrder retries deliveries of one ordering key: they go out one after the other, and each attempt names
// the bulk retry.
func TestBulkRetryKeepsOrder(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	l := &line{acked: map[string][]int{}, busy: map[string]bool{}}
	d := e.destination("d", l.answer, ordered(""))
	for n := range 5 {
		e.publish(event("a", n))
	}
	e.exec("update deliveries set status = 'held', turn = turn + 1")
	e.exec("delete from river.river_job where kind = 'deliver'")
	b := e.bulk(models.BulkInput{Filter: models.RetryFilter{Statuses: []string{models.StatusHeld}, Destinations: []string{d.ID}}})
	e.startWorker()
	if b = e.over(b.ID()); b.Delivered != 5 || b.Skipped() != 0 {
		t.Errorf("%+v", b)
	}
	if got := l.of("a"); !slices.Equal(got, []int{0, 1, 2, 3, 4}) || l.both {
		t.Errorf("acknowledged in the order %v, two at once: %v", got, l.both)
	}
}

// TestBulkRetryOfDisabled disables the destination while a bulk retry waits for it: its deliveries are held, and the bulk
// retry ends and says so.
func TestBulkRetryOfDisabled(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	r := newReceiver(0)
	e.destination("d", r.answer, nil)
	events := e.failAll(4)
	b := e.bulk(models.BulkInput{})
	e.step(b, 1)
	if _, err := e.store.DisableDestination(t.Context(), e.acme(), "acme", "d", "Ann", "Maintenance"); err != nil {
		t.Fatal(err)
	}
	e.startWorker()
	if b = e.over(b.ID()); b.Status != models.BulkDone || b.Unsent != 4 || len(r.times()) != 0 {
		t.Errorf("%d were sent: %+v", len(r.times()), b)
	}
	for _, id := range events {
		e.delivery(id, "d", is(models.StatusHeld))
	}
}

// TestBulkRetryWithoutJob loses the job of a bulk retry: upkeep finds that out, and so does the doctor.
func TestBulkRetryWithoutJob(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	e.destination("d", newReceiver(0).answer, nil)
	e.failAll(3)
	b := e.bulk(models.BulkInput{})
	if n, err := e.store.ResumeLost(t.Context()); n != 0 || err != nil {
		t.Errorf("%d bulk retries have no job: %v", n, err)
	}
	e.exec("delete from river.river_job where kind = 'bulk_retry'")
	if found, err := e.store.DiagnoseQueue(t.Context(), false); err != nil || !slices.ContainsFunc(found, func(f models.Finding) bool {
		return f.Check == "bulk retries" && f.Level == models.LevelFail && slices.Equal(f.Examples, []string{b.ID()})
	}) {
		t.Errorf("the doctor finds %+v %v", found, err)
	}
	if n, err := e.store.ResumeLost(t.Context()); n != 1 || err != nil {
		t.Errorf("%d bulk retries have no job: %v", n, err)
	}
	e.startWorker()
	if b = e.over(b.ID()); b.Delivered != 3 {
		t.Errorf("%+v", b)
	}
}

// TestBulkRetryGoesOnElsewhere stops the worker in the middle of a bulk retry: that does not hold the stop up, and the next
// worker goes on.
func TestBulkRetryGoesOnElsewhere(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	r := newReceiver(0)
	e.destination("d", r.answer, nil)
	e.failAll(40)
	b := e.bulk(models.BulkInput{Rate: 20})
	e.startWorker()
	for len(r.times()) == 0 {
		<-time.After(5 * time.Millisecond)
	}
	e.stopWorker()
	if n := len(r.times()); n == 40 {
		t.Error("the stop waited for the end of the bulk retry")
	}
	e.startWorker()
	if b = e.over(b.ID()); b.Delivered != 40 || len(r.times()) != 40 {
		t.Errorf("%d were sent: %+v", len(r.times()), b)
	}
}
