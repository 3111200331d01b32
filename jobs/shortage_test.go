package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// TestShortageIsNotTheDestinations has the worker run out of ports again and again in the middle of jobs: everything is
// delivered once, no attempt fails, and those that the server could not make count nowhere.
func TestShortageIsNotTheDestinations(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(r *models.Rules) { r.Retry = models.RetryPolicy{MaxAttempts: 1} })
	var mu sync.Mutex
	got := map[string]int{}
	var short atomic.Int64
	e.destination("d", func(_ context.Context, m *adapters.Message) (adapters.Receipt, error) {
		mu.Lock()
		defer mu.Unlock()
		if n := short.Add(1); n%40 == 7 {
			return adapters.Receipt{}, adapters.AsShortage(syscall.EADDRNOTAVAIL)
		}
		got[m.EventID]++
		return adapters.Receipt{Code: 200}, nil
	}, nil)
	const n = 150
	ins := make([]*models.PublishInput, n)
	for i := range ins {
		ins[i] = &models.PublishInput{ID: fmt.Sprint("e", i), TenantID: "acme", Data: json.RawMessage(`{}`)}
	}
	if _, errs := e.accept.PublishAll(context.Background(), ins); errs[0] != nil {
		t.Fatal(errs[0])
	}
	e.startWorker()
	for i := range n {
		d := e.delivery(fmt.Sprint("e", i), "d", is(models.StatusDelivered))
		mu.Lock() // others are under way
		sent := got[d.PublicEventID]
		mu.Unlock()
		if d.Attempts != 1 || d.Reason != "" || sent != 1 {
			t.Errorf("sent %d times: %+v", sent, d)
		}
	}
	if h := e.get("d").Health; h != nil && h.Failures > 0 {
		t.Errorf("%d failures in a row", h.Failures)
	}
}

// TestShortageOfARetry has the second attempt be impossible for a while: the delivery says why and when, and its schedule goes
// on where it was.
func TestShortageOfARetry(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(r *models.Rules) {
		r.Retry = models.RetryPolicy{Schedule: []models.Duration{models.Duration(10 * time.Millisecond)}}
	})
	var tries atomic.Int64
	lacks := make(chan bool)
	e.destination("d", func(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
		switch tries.Add(1) {
		case 1:
			return server500(ctx, m)
		case 2:
			return adapters.Receipt{}, adapters.AsShortage(syscall.EMFILE)
		}
		<-lacks
		return adapters.Receipt{Code: 200}, nil
	}, nil)
	e.startWorker()
	id := e.publish(models.PublishInput{}).ID
	d := e.delivery(id, "d", func(d *models.Delivery) bool { return strings.Contains(d.Reason, "This server") })
	if d.Status != models.StatusRetrying || d.Attempts != 1 || d.NextAttemptAt == nil ||
		!d.NextAttemptAt.After(time.Now().Add(-time.Minute)) {
		t.Errorf("%+v", d)
	}
	close(lacks)
	d = e.delivery(id, "d", is(models.StatusDelivered))
	if d.Attempts != 2 || d.Reason != "" {
		t.Errorf("%+v", d)
	}
}
