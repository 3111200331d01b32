package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/jobs"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
	"github.com/waybill-dev/waybill/models/seal"
)

func TestMain(m *testing.M) { modelstest.Main(m) }

// fake is a destination type whose answers a test decides.
type fake struct{}

// answers are the tests' decisions, by the value of the field "name".
var answers sync.Map

type answer func(ctx context.Context, m *adapters.Message) (adapters.Receipt, error)

func (fake) Spec() adapters.Spec {
	return adapters.Spec{Name: "fake", Label: "Fake", Config: []adapters.Field{{Key: "name", Label: "Name", Type: adapters.FieldText,
		Required: true}}}
}
func (fake) Validate(*adapters.Settings) []adapters.FieldError { return nil }
func (fake) Target(s adapters.Settings) (string, string)       { return s.Config["name"], "" }
func (fake) Open(_ adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	return fakeSender(s.Config["name"]), nil
}

type fakeSender string

func (f fakeSender) Send(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
	v, ok := answers.Load(string(f))
	if !ok {
		return adapters.Receipt{Code: 200}, nil
	}
	return v.(answer)(ctx, m)
}
func (fakeSender) Close() error { return nil }

func init() { adapters.Register(fake{}) }

// engine is a store with an accepter and, once started, a worker.
type engine struct {
	*testing.T
	store  *models.Store
	db     *pgxpool.Pool // for the test's own statements
	accept *models.Accepter
	log    *slog.Logger
	stop   context.CancelFunc
	done   chan error
}

func testKeys(t *testing.T) *seal.Keyring {
	t.Helper()
	keys, err := seal.New("a secret for tests that is long enough")
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func newEngine(t *testing.T, change func(*models.Rules)) *engine {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	keys := testKeys(t)
	rules := models.DefaultRules()
	rules.Retry = models.RetryPolicy{Schedule: []models.Duration{0, 0}, MaxInterval: models.Duration(time.Hour)}
	if change != nil {
		change(&rules)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	url := modelstest.DB(t)
	s, err := models.Open(ctx, models.Options{Log: log, URL: url, Keys: keys, Rules: rules, MaxConns: 4, HotConns: 6, JobConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.KnowPartitions(ctx); err != nil {
		t.Fatal(err)
	}
	e := &engine{T: t, store: s, db: modelstest.Connect(t, url), accept: models.NewAccepter(s, nil, log), log: log}
	t.Cleanup(func() {
		e.stopWorker()
		e.accept.Close()
		cancel()
		s.Close()
	})
	if _, _, err := s.PutTenant(ctx, "acme", nil); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *engine) startWorker() {
	e.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	started := make(chan struct{})
	e.stop, e.done = cancel, make(chan error, 1)
	go func() {
		e.done <- jobs.Run(ctx, e.store, jobs.Options{Role: "work", StopWait: 5 * time.Second, Notices: e.notices()}, e.log,
			func() { close(started) })
	}()
	select {
	case <-started:
	case err := <-e.done:
		e.Fatal(err)
	}
}

func (e *engine) stopWorker() {
	if e.stop == nil {
		return
	}
	e.stop()
	if err := <-e.done; err != nil {
		e.Error(err)
	}
	e.stop = nil
}

// destination creates a destination whose attempts are answered by a.
func (e *engine) destination(id string, a answer, change func(models.DestinationPatch)) *models.Destination {
	e.Helper()
	name := e.Name() + "/" + id
	if a != nil {
		answers.Store(name, a)
	}
	in := models.DestinationPatch{"id": id, "type": "fake", "topics": "*", "config": models.Values{"name": &name}}
	if change != nil {
		change(in)
	}
	d, err := e.store.CreateDestination(context.Background(), models.AllTenants(), "acme", models.DestinationInput{Patch: in})
	if err != nil {
		e.Fatal(err)
	}
	return d
}

func (e *engine) publish(in models.PublishInput) *models.PublishResult {
	e.Helper()
	if in.TenantID == "" {
		in.TenantID = "acme"
	}
	if in.Data == nil {
		in.Data = json.RawMessage(`{"n": 1}`)
	}
	res, err := e.accept.Publish(context.Background(), &in)
	if err != nil {
		e.Fatal(err)
	}
	return res
}

// delivery waits until an event's delivery to a destination is as wanted, and returns it.
func (e *engine) delivery(event, destination string, wanted func(*models.Delivery) bool) *models.Delivery {
	e.Helper()
	deadline := time.Now().Add(time.Minute)
	var last *models.Delivery
	for time.Now().Before(deadline) {
		c, err := e.store.EventDeliveries(context.Background(), models.AllTenants(), event)
		if err != nil {
			e.Fatal(err)
		}
		for _, d := range c.Deliveries {
			if d.DestinationID == destination {
				if last = d; wanted(d) {
					return d
				}
			}
		}
		<-time.After(5 * time.Millisecond)
	}
	e.Fatalf("delivery of %s to %s did not get there; it is %+v", event, destination, last)
	return nil
}

func is(status string) func(*models.Delivery) bool {
	return func(d *models.Delivery) bool { return d.Status == status }
}

func (e *engine) attempts(d *models.Delivery) []*models.Attempt {
	e.Helper()
	list, err := e.store.DeliveryAttempts(context.Background(), models.AllTenants(), d.DeliveryKey)
	if err != nil {
		e.Fatal(err)
	}
	return list
}

func server500(context.Context, *adapters.Message) (adapters.Receipt, error) {
	return adapters.Receipt{Code: 500, Body: []byte("oops\x00\xff")}, &adapters.Error{Class: adapters.ClassServer,
		Message: "The receiver answered 500."}
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	got := make(chan adapters.Message, 1)
	e.destination("d", func(_ context.Context, m *adapters.Message) (adapters.Receipt, error) {
		got <- *m
		return adapters.Receipt{Code: 201, Body: []byte("thanks")}, nil
	}, nil)
	e.startWorker()
	payload := "{\"b\": 1.0,  \"a\":\"\\u00e9\" }"
	res := e.publish(models.PublishInput{ID: "evt-1", Topic: "order.created", Data: json.RawMessage(payload),
		Metadata: map[string]string{"k": "v"}})
	d := e.delivery(res.ID, "d", is(models.StatusDelivered))
	if m := <-got; string(m.Data) != payload || m.EventID != "evt-1" || m.Topic != "order.created" || m.Metadata["k"] != "v" ||
		m.Attempt != 1 {
		t.Errorf("sent %+v", m)
	}
	at := e.attempts(d)
	if len(at) != 1 || !at[0].OK || at[0].Code != 201 || string(at[0].ResponseBody) != "thanks" ||
		at[0].Trigger != models.TriggerAutomatic {
		t.Errorf("attempts %+v", at)
	}
}

func TestRetriesUntilExhausted(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	e.destination("d", server500, nil)
	e.startWorker()
	res := e.publish(models.PublishInput{})
	d := e.delivery(res.ID, "d", is(models.StatusFailed))
	if d.Attempts != 3 || d.Reason != "All 3 attempts failed." || d.ErrorClass != "server" || d.LastCode != 500 {
		t.Errorf("%+v", d)
	}
	for i, at := range e.attempts(d) {
		if at.Number != 3-i || at.OK || at.Error != "The receiver answered 500." {
			t.Errorf("attempt %d: %+v", i, at)
		}
	}
}

func TestRetryLater(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(r *models.Rules) { r.Retry = models.DefaultRetryPolicy() })
	e.destination("d", server500, nil)
	e.startWorker()
	before := time.Now()
	d := e.delivery(e.publish(models.PublishInput{}).ID, "d", is(models.StatusRetrying))
	if wait := d.NextAttemptAt.Sub(before); wait < 7*time.Second || wait > 13*time.Second {
		t.Errorf("next attempt in %v, want 10 s ± 20 %%", wait)
	}
	// A manual retry goes now; the scheduled one of before is void.
	if queued, err := e.store.RetryDelivery(context.Background(), models.AllTenants(), d.DeliveryKey, models.TriggerManual,
		"ann"); !queued || err != nil {
		t.Fatal(queued, err)
	}
	d = e.delivery(d.PublicEventID, "d", func(d *models.Delivery) bool { return d.Attempts == 2 && d.Status == models.StatusRetrying })
	if at := e.attempts(d); at[0].Trigger != models.TriggerManual || at[0].Actor != "ann" {
		t.Errorf("%+v", at[0])
	}
}

func TestOneAttemptWhenNotEligible(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	e.destination("d", server500, nil)
	e.startWorker()
	never := false
	d := e.delivery(e.publish(models.PublishInput{EligibleForRetry: &never}).ID, "d", is(models.StatusFailed))
	if d.Attempts != 1 {
		t.Errorf("%+v", d)
	}
}

func TestHeldAndReleased(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := newEngine(t, nil)
	e.destination("d", nil, nil)
	e.startWorker()
	if _, err := e.store.DisableDestination(ctx, models.AllTenants(), "acme", "d", "ann", "maintenance"); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 3 {
		res := e.publish(models.PublishInput{})
		ids = append(ids, res.ID)
		if d := e.delivery(res.ID, "d", is(models.StatusHeld)); d.Reason == "" {
			t.Errorf("held without a reason: %+v", d)
		}
	}
	if _, err := e.store.EnableDestination(ctx, models.AllTenants(), "acme", "d", "ann",
		models.Backlog{Action: models.BacklogDeliver}); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if d := e.delivery(id, "d", is(models.StatusDelivered)); d.Attempts != 1 || d.Reason != "" {
			t.Errorf("%+v", d)
		}
	}
}

// newHolding is an engine with a destination "d" that is disabled, and holds what is published.
func newHolding(t *testing.T) *engine {
	t.Helper()
	e := newEngine(t, nil)
	e.destination("d", nil, nil)
	if _, err := e.store.DisableDestination(t.Context(), models.AllTenants(), "acme", "d", "ann", "maintenance"); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestDropLeavesWhatCameLater: whoever drops what is held has not decided about events that are accepted before the job has run.
func TestDropLeavesWhatCameLater(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := newHolding(t)
	old := e.publish(models.PublishInput{}).ID
	if n, err := e.store.ActOnBacklog(ctx, models.AllTenants(), "acme", "d", "ann", models.Backlog{Action: models.BacklogDrop}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	later := e.publish(models.PublishInput{}).ID
	e.startWorker()
	e.delivery(old, "d", is(models.StatusCancelled))
	e.count(1, "select 1 - count(*) from river.river_job where kind = 'release' and state <> 'completed'")
	if d := e.delivery(later, "d", func(*models.Delivery) bool { return true }); d.Status != models.StatusHeld {
		t.Errorf("%+v", d)
	}
}

// TestProbePassesOverWhatIsDropped: a destination is not enabled unprobed because the oldest event that it holds is being dropped.
func TestProbePassesOverWhatIsDropped(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := newHolding(t)
	e.publish(models.PublishInput{})
	dropping, err := e.db.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dropping.Rollback(ctx) }()
	if _, err := dropping.Exec(ctx, "update deliveries set status = 'cancelled' where status = 'held'"); err != nil {
		t.Fatal(err)
	}
	later := e.publish(models.PublishInput{}).ID
	d, probing, err := e.store.ProbeDestination(ctx, models.AllTenants(), "acme", "d", models.Asker{Actor: "ann"}, models.Backlog{})
	if err != nil || !probing || d.DisabledAt == nil {
		t.Fatalf("probing %t, disabled at %v: %v", probing, d.DisabledAt, err)
	}
	if d := e.delivery(later, "d", func(*models.Delivery) bool { return true }); d.Status != models.StatusPending {
		t.Errorf("%+v", d)
	}
}

func TestGoneDisables(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	e.destination("d", func(context.Context, *adapters.Message) (adapters.Receipt, error) {
		return adapters.Receipt{Code: 410}, &adapters.Error{Kind: adapters.KindGone, Class: adapters.ClassGone, Message: "It answered 410."}
	}, nil)
	e.startWorker()
	if d := e.delivery(e.publish(models.PublishInput{}).ID, "d", is(models.StatusFailed)); d.Attempts != 1 {
		t.Errorf("%+v", d)
	}
	// The destination is disabled beside the recording of the attempt, and may be a moment later.
	eventually(t, "the destination is disabled", func() bool { return e.get("d").DisabledAt != nil })
	if d := e.get("d"); d.DisabledBy != "Waybill" || d.DisabledReason == "" {
		t.Errorf("disabled by %q: %q", d.DisabledBy, d.DisabledReason)
	}
	if d := e.delivery(e.publish(models.PublishInput{}).ID, "d", is(models.StatusHeld)); d.Attempts != 0 {
		t.Errorf("%+v", d)
	}
}

func TestFilteredOutIsExplained(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	e.destination("d", nil, func(in models.DestinationPatch) { in["filter"] = json.RawMessage(`{"total":{"$gte":10}}`) })
	e.startWorker()
	res := e.publish(models.PublishInput{Data: json.RawMessage(`{"total":4}`)})
	if len(res.DestinationIDs) != 0 {
		t.Errorf("%+v", res)
	}
	d := e.delivery(res.ID, "d", is(models.StatusFilteredOut))
	if want := "Rule 1: `data.total` is 4, needs at least 10"; d.Reason != want {
		t.Errorf("reason %q, want %q", d.Reason, want)
	}
	// It can be sent after all.
	if queued, err := e.store.RetryDelivery(context.Background(), models.AllTenants(), d.DeliveryKey, models.TriggerManual,
		"ann"); !queued || err != nil {
		t.Fatal(queued, err)
	}
	e.delivery(res.ID, "d", is(models.StatusDelivered))
}

func TestCancel(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	var sent atomic.Int32
	e.destination("d", func(context.Context, *adapters.Message) (adapters.Receipt, error) {
		sent.Add(1)
		return adapters.Receipt{Code: 200}, nil
	}, nil)
	res := e.publish(models.PublishInput{}) // no worker runs yet
	d := e.delivery(res.ID, "d", is(models.StatusPending))
	if _, err := e.store.CancelDelivery(context.Background(), models.AllTenants(), d.ID(), "ann"); err != nil {
		t.Fatal(err)
	}
	e.startWorker()
	e.delivery(e.publish(models.PublishInput{}).ID, "d", is(models.StatusDelivered))
	if d = e.delivery(res.ID, "d", is(models.StatusCancelled)); d.Reason != "Cancelled by ann" || sent.Load() != 1 {
		t.Errorf("%+v, sent %d", d, sent.Load())
	}
}

func TestSlowDestinationHoldsUpNobody(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	hang := make(chan struct{})
	defer close(hang)
	e.destination("slow", func(ctx context.Context, _ *adapters.Message) (adapters.Receipt, error) {
		select {
		case <-hang:
		case <-ctx.Done():
		}
		return adapters.Receipt{}, &adapters.Error{Class: adapters.ClassTimeout, Message: "No answer within 15 s."}
	}, func(in models.DestinationPatch) { in["topics"] = "slow" })
	e.destination("quick", nil, func(in models.DestinationPatch) { in["topics"] = "quick" })
	e.startWorker()
	for i := range 2000 {
		go e.accept.Publish(context.Background(), &models.PublishInput{TenantID: "acme", Topic: "slow",
			Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))})
	}
	for range 20 {
		at := time.Now()
		e.delivery(e.publish(models.PublishInput{Topic: "quick"}).ID, "quick", is(models.StatusDelivered))
		if took := time.Since(at); took > 12*time.Second { // an attempt to the slow one takes 15 s
			t.Errorf("the quick destination waited %v", took)
		}
	}
}

// TestDeadWorkerIsReplaced takes a worker's job over while it is sending: the other one makes the attempt, and what the
// first one finds out later is not recorded.
func TestDeadWorkerIsReplaced(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := newEngine(t, nil)
	first := make(chan struct{})
	goOn := make(chan struct{})
	var n atomic.Int32
	e.destination("d", func(context.Context, *adapters.Message) (adapters.Receipt, error) {
		if n.Add(1) == 1 {
			close(first)
			<-goOn
			return server500(ctx, nil)
		}
		return adapters.Receipt{Code: 200}, nil
	}, nil)
	e.startWorker()
	res := e.publish(models.PublishInput{})
	<-first
	// As if the process had been stopped for longer than its lease.
	if _, err := e.db.Exec(ctx, "update processes set seen_at = now() - interval '1 minute'"); err != nil {
		t.Fatal(err)
	}
	tx, err := e.db.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var id string
	if err := tx.QueryRow(ctx, "delete from processes returning id").Scan(&id); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "update river.river_job set state = 'available' where state = 'running'"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	e.delivery(res.ID, "d", is(models.StatusDelivered))
	close(goOn)
	e.stopWorker()
	d := e.delivery(res.ID, "d", is(models.StatusDelivered))
	if at := e.attempts(d); len(at) != 1 || !at[0].OK {
		t.Errorf("%d attempts recorded: %+v", len(at), at)
	}
}
