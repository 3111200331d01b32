package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// TestRateLimitIsShared has two workers send to one destination with a limit.
func TestRateLimitIsShared(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	var mu sync.Mutex
	var sent []time.Time
	const rate = 100.0
	e.destination("d", func(context.Context, *adapters.Message) (adapters.Receipt, error) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, time.Now())
		return adapters.Receipt{Code: 200}, nil
	}, func(in models.DestinationPatch) { in["rate_limit"] = map[string]any{"per_second": rate} })
	e.startWorker()
	second := &engine{T: t, store: e.store, accept: e.accept, log: e.log}
	second.startWorker()
	t.Cleanup(second.stopWorker)
	const n = 300
	ins := make([]*models.PublishInput, n)
	for i := range ins {
		ins[i] = &models.PublishInput{TenantID: "acme", Data: json.RawMessage(`{}`)}
	}
	if _, errs := e.accept.PublishAll(context.Background(), ins); errs[0] != nil {
		t.Fatal(errs[0])
	}
	for deadline := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
		mu.Lock()
		got := len(sent)
		mu.Unlock()
		if got == n {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d were sent", got, n)
		}
	}
	if took := sent[n-1].Sub(sent[0]).Seconds(); (n-1)/took > rate*1.1 {
		t.Errorf("%.0f were sent in a second", (n-1)/took)
	}
	// In no span of a second may there be more than the limit and a tenth, and those few that a busy machine holds up until
	// just before it.
	const heldUp = 20
	for i, from := range sent {
		in := 0
		for _, at := range sent[i:] {
			if at.Sub(from) < time.Second {
				in++
			}
		}
		if in > rate*1.1+heldUp {
			t.Fatalf("%d were sent within a second", in)
		}
	}
}

// TestFailingDestinationIsSlowedDown has a destination refuse everything with many events queued: it is tried a few times
// a second, and at full speed as soon as it works again.
func TestFailingDestinationIsSlowedDown(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(r *models.Rules) {
		r.Retry = models.RetryPolicy{Schedule: []models.Duration{models.Duration(100 * time.Millisecond)}}
	})
	var mu sync.Mutex
	var tried int
	works := false
	e.destination("d", func(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
		mu.Lock()
		defer mu.Unlock()
		if works {
			return adapters.Receipt{Code: 200}, nil
		}
		tried++
		return server500(ctx, m)
	}, nil)
	const n = 1000
	ins := make([]*models.PublishInput, n)
	for i := range ins {
		ins[i] = &models.PublishInput{ID: fmt.Sprint("e", i), TenantID: "acme", Data: json.RawMessage(`{}`)}
	}
	if _, errs := e.accept.PublishAll(context.Background(), ins); errs[0] != nil {
		t.Fatal(errs[0])
	}
	e.startWorker()
	count := func() int { mu.Lock(); defer mu.Unlock(); return tried }
	for deadline := time.Now().Add(time.Minute); count() < 110; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d attempts", count())
		}
	}
	from, at := count(), time.Now()
	<-time.After(2 * time.Second) // over which the attempts are counted
	if rate := float64(count()-from) / time.Since(at).Seconds(); rate > 60 {
		t.Errorf("%.0f attempts a second", rate)
	}
	mu.Lock()
	works = true
	mu.Unlock()
	e.delivery(e.publish(models.PublishInput{}).ID, "d", is(models.StatusDelivered))
}
