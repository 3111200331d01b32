package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// publishMany publishes n events and returns their ids.
func (e *engine) publishMany(n int) (ids []string) {
	e.Helper()
	ins := make([]*models.PublishInput, n)
	for i := range ins {
		ins[i] = &models.PublishInput{ID: fmt.Sprintf("%s-%d", e.Name(), i), TenantID: "acme", Data: json.RawMessage(`{}`)}
		ids = append(ids, ins[i].ID)
	}
	if _, errs := e.accept.PublishAll(context.Background(), ins); errs[0] != nil {
		e.Fatal(errs[0])
	}
	return ids
}

// TestWaitsKeepToMaxInterval has a destination answer 503 for good, without saying for how long: each delivery is tried again
// when it was said to be, and none waits for longer than max_interval.
func TestWaitsKeepToMaxInterval(t *testing.T) {
	t.Parallel()
	const attempts, longest = 6, 400 * time.Millisecond
	e := newEngine(t, func(r *models.Rules) {
		r.Retry = models.RetryPolicy{Initial: models.Duration(longest / 2), Multiplier: 2, MaxInterval: models.Duration(longest),
			MaxAttempts: attempts}
	})
	e.destination("d", func(context.Context, *adapters.Message) (adapters.Receipt, error) {
		return adapters.Receipt{Code: 503}, &adapters.Error{Kind: adapters.KindThrottled, Class: adapters.ClassServer,
			Message: "The receiver answered 503."}
	}, nil)
	e.startWorker()
	for _, id := range e.publishMany(8) {
		d := e.delivery(id, "d", is(models.StatusFailed))
		list := e.attempts(d) // the newest first
		if len(list) != attempts {
			t.Fatalf("%d attempts", len(list))
		}
		for i := range list[1:] {
			// Jitter, the grain of due times, and a machine that does other things as well.
			if wait := list[i].StartedAt.Sub(list[i+1].StartedAt); wait > longest*6/5+1500*time.Millisecond {
				t.Errorf("%v between attempts %d and %d, of at most %v", wait, list[i+1].Number, list[i].Number, longest)
			}
		}
	}
}

// TestFailingSaysWhy looks at deliveries that wait for a destination that keeps failing: they say why, how many wait and until
// when about, and no longer once it works.
func TestFailingSaysWhy(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(r *models.Rules) {
		r.Retry = models.RetryPolicy{Schedule: []models.Duration{models.Duration(100 * time.Millisecond), models.Duration(time.Hour)}}
	})
	var works atomic.Bool
	e.destination("d", func(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
		if works.Load() {
			return adapters.Receipt{Code: 200}, nil
		}
		return server500(ctx, m)
	}, nil)
	ids := e.publishMany(1200)
	e.startWorker()
	last := ids[len(ids)-1]
	d := e.delivery(last, "d", func(d *models.Delivery) bool { return d.Waits })
	if !strings.Contains(d.Reason, "keeps failing") || !strings.Contains(d.Reason, "20 times a second") ||
		!strings.Contains(d.Reason, "deliveries wait for it") {
		t.Errorf("reason %q", d.Reason)
	}
	// It waits for its first attempt, or for the one after it where that came before the destination was known to fail.
	if d.Status != models.StatusPending && d.Status != models.StatusRetrying || d.NextAttemptAt == nil ||
		time.Until(*d.NextAttemptAt) < time.Second || time.Until(*d.NextAttemptAt) > 2*time.Minute {
		t.Errorf("%+v", d)
	}
	w, err := e.store.Waits(context.Background(), []int64{d.DeliveryKey.Destination})
	if err != nil || len(w) != 1 || w[d.DeliveryKey.Destination].Waiting < 500 {
		t.Errorf("%+v %v", w, err)
	}
	works.Store(true)
	if d = e.delivery(last, "d", is(models.StatusDelivered)); d.Reason != "" || d.Waits {
		t.Errorf("%+v", d)
	}
	eventually(t, "nothing waits", func() bool {
		w, err = e.store.Waits(context.Background(), []int64{d.DeliveryKey.Destination})
		return err == nil && len(w) == 0
	})
}
