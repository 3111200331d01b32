package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// line records in which order the events of each ordering key were acknowledged.
type line struct {
	mu    sync.Mutex
	acked map[string][]int
	fail  func(key string, n, attempt int) bool
	busy  map[string]bool
	both  bool // two of a key were under way at once
}

func (l *line) answer(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
	var d struct {
		Key string `json:"key"`
		N   int    `json:"n"`
	}
	if err := json.Unmarshal(m.Data, &d); err != nil {
		return adapters.Receipt{}, err
	}
	l.mu.Lock()
	l.both = l.both || l.busy[d.Key]
	l.busy[d.Key] = true
	l.mu.Unlock()
	<-time.After(time.Millisecond) // long enough for another one to show up
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy[d.Key] = false
	if l.fail != nil && l.fail(d.Key, d.N, m.Attempt) {
		return server500(ctx, m)
	}
	l.acked[d.Key] = append(l.acked[d.Key], d.N)
	return adapters.Receipt{Code: 200}, nil
}

func (l *line) of(key string) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.acked[key])
}

func (l *line) await(t *testing.T, key string, n int) []int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		if got := l.of(key); len(got) >= n {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("key %s: %d of %d were acknowledged: %v", key, len(l.of(key)), n, l.of(key))
		}
	}
}

func ordered(policy string) func(models.DestinationPatch) {
	return func(in models.DestinationPatch) {
		in["ordered"] = true
		if policy != "" {
			in["on_exhausted"] = policy
		}
	}
}

func event(key string, n int) models.PublishInput {
	return models.PublishInput{ID: fmt.Sprintf("%s-%d", key, n), OrderingKey: "$.key",
		Data: json.RawMessage(fmt.Sprintf(`{"key":%q,"n":%d}`, key, n))}
}

func newLine(e *engine, policy string) *line {
	l := &line{acked: map[string][]int{}, busy: map[string]bool{}}
	e.destination("d", l.answer, ordered(policy))
	return l
}

func TestOrder(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	l := newLine(e, "")
	// Every third event of a key fails twice before it goes through, and the others of the key wait for it.
	l.fail = func(_ string, n, attempt int) bool { return n%3 == 0 && attempt < 3 }
	e.startWorker()
	const keys, each = 5, 20
	var all []*models.PublishInput
	for n := range each {
		for k := range keys {
			in := event(fmt.Sprint("k", k), n)
			in.TenantID = "acme"
			if n%2 == 0 {
				in.ID = "" // some of the ids are ours
			}
			all = append(all, &in)
		}
	}
	for part := range slices.Chunk(all, 30) {
		_, errs := e.accept.PublishAll(context.Background(), part)
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for k := range keys {
		got := l.await(t, fmt.Sprint("k", k), each)
		if !slices.IsSorted(got) || len(got) != each {
			t.Errorf("key %d: %v", k, got)
		}
	}
	if l.both {
		t.Error("two events of one key were under way at once")
	}
	waitEmpty(t, e)
}

// waitEmpty waits until no line holds anybody any more.
func waitEmpty(t *testing.T, e *engine) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		var n int
		if err := e.db.QueryRow(context.Background(), "select count(*) from ordered_deliveries").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d deliveries are still in line", n)
		}
	}
}

func TestOrderSkipsWhatFailed(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	l := newLine(e, models.ExhaustedSkip)
	l.fail = func(_ string, n, _ int) bool { return n == 1 }
	e.startWorker()
	for n := range 4 {
		e.publish(event("k", n))
	}
	if got := l.await(t, "k", 3); !slices.Equal(got, []int{0, 2, 3}) {
		t.Errorf("%v", got)
	}
	e.delivery("k-1", "d", is(models.StatusFailed))
	waitEmpty(t, e)
}

func TestOrderBlocksUntilSomebodyDecides(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := newEngine(t, nil)
	l := newLine(e, models.ExhaustedBlock)
	mended := false
	l.fail = func(key string, n, _ int) bool { return !mended && n == 1 }
	e.startWorker()
	for n := range 3 {
		e.publish(event("retried", n))
		e.publish(event("cancelled", n))
		e.publish(event("changed", n))
	}
	for _, key := range []string{"retried", "cancelled", "changed"} {
		e.delivery(key+"-1", "d", is(models.StatusFailed))
		if got := l.of(key); !slices.Equal(got, []int{0}) {
			t.Fatalf("%s: %v", key, got)
		}
		e.delivery(key+"-2", "d", is(models.StatusPending))
	}
	d := e.delivery("cancelled-1", "d", is(models.StatusFailed))
	if _, err := e.store.CancelDelivery(ctx, models.AllTenants(), d.ID(), "ann"); err != nil {
		t.Fatal(err)
	}
	if got := l.await(t, "cancelled", 2); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("after the cancelled one: %v", got)
	}
	l.mu.Lock()
	mended = true
	l.mu.Unlock()
	if _, _, err := e.store.RetryEvent(ctx, models.AllTenants(), "retried-1", "d", "ann"); err != nil {
		t.Fatal(err)
	}
	if got := l.await(t, "retried", 3); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("after the retried one: %v", got)
	}
	skip := models.ExhaustedSkip
	if _, err := e.store.UpdateDestination(ctx, models.AllTenants(), "acme", "d", 0,
		models.DestinationInput{Patch: models.DestinationPatch{"on_exhausted": skip}}); err != nil {
		t.Fatal(err)
	}
	if got := l.await(t, "changed", 2); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("after the policy has changed: %v", got)
	}
	waitEmpty(t, e)
}

// TestOrderOfWhatWasHeld disables the destination while events wait, and enables it again.
func TestOrderOfWhatWasHeld(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := newEngine(t, nil)
	l := newLine(e, "")
	for n := range 3 { // no worker runs yet
		e.publish(event("k", n))
	}
	if _, err := e.store.DisableDestination(ctx, models.AllTenants(), "acme", "d", "ann", ""); err != nil {
		t.Fatal(err)
	}
	e.startWorker()
	e.delivery("k-0", "d", is(models.StatusHeld))
	for n := 3; n < 6; n++ {
		e.publish(event("k", n))
		e.delivery(fmt.Sprint("k-", n), "d", is(models.StatusHeld))
	}
	if _, err := e.store.EnableDestination(ctx, models.AllTenants(), "acme", "d", "ann", models.Backlog{}); err != nil {
		t.Fatal(err)
	}
	if got := l.await(t, "k", 6); !slices.IsSorted(got) {
		t.Errorf("%v", got)
	}
	waitEmpty(t, e)
}

// TestOrderSurvivesADropAndAnEnd drops what is held, switches the order off, and expects nobody to be left behind.
func TestOrderSurvivesADropAndAnEnd(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := newEngine(t, nil)
	l := newLine(e, "")
	for n := range 4 {
		e.publish(event("k", n))
	}
	if _, err := e.store.DisableDestination(ctx, models.AllTenants(), "acme", "d", "ann", ""); err != nil {
		t.Fatal(err)
	}
	e.startWorker()
	e.delivery("k-0", "d", is(models.StatusHeld))
	if _, err := e.store.EnableDestination(ctx, models.AllTenants(), "acme", "d", "ann",
		models.Backlog{Action: models.BacklogDrop}); err != nil {
		t.Fatal(err)
	}
	no := false
	if _, err := e.store.UpdateDestination(ctx, models.AllTenants(), "acme", "d", 0,
		models.DestinationInput{Patch: models.DestinationPatch{"ordered": no}}); err != nil {
		t.Fatal(err)
	}
	if got := l.await(t, "k", 3); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("%v", got)
	}
	waitEmpty(t, e)
}

func TestOrderingKeyIsChecked(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	for key, want := range map[string]string{"$.nothing": `has no "nothing"`, "$.list": "is no text",
		strings.Repeat("k", 300): "at most 256 bytes"} {
		_, err := e.accept.Publish(context.Background(), &models.PublishInput{TenantID: "acme", OrderingKey: key,
			Data: json.RawMessage(`{"list":[1]}`)})
		var e *models.Error
		if !errors.As(err, &e) || !strings.Contains(fmt.Sprint(e.Fields), want) {
			t.Errorf("%.20s: %v", key, err)
		}
	}
}

// TestOrderOfWhatWasFilteredOut sends events after all that a filter had held back. They go out one at a time for each ordering
// key, in the order in which they were received, and behind those that wait.
func TestOrderOfWhatWasFilteredOut(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	l := &line{acked: map[string][]int{}, busy: map[string]bool{}}
	e.destination("d", l.answer, func(in models.DestinationPatch) {
		ordered("")(in)
		in["filter"] = json.RawMessage(`{"n":{"$lt":0}}`)
	})
	const each = 20
	for n := range each {
		e.publish(event("a", n))
		e.publish(event("b", n))
	}
	e.startWorker()
	if _, err := e.store.SendFiltered(t.Context(), models.AllTenants(), "acme", "d", "ann", models.FilteredQuery{All: true}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		if got := l.await(t, key, each); !slices.IsSorted(got) || len(got) != each {
			t.Errorf("key %s: %v", key, got)
		}
	}
	if l.both {
		t.Error("two of an ordering key were under way at once")
	}
	waitEmpty(t, e)
}
