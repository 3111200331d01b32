package jobs

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// TestDecide is the table of what follows from an attempt.
func TestDecide(t *testing.T) {
	t.Parallel()
	policy := models.RetryPolicy{Schedule: []models.Duration{models.Duration(time.Minute), models.Duration(time.Hour)},
		MaxInterval: models.Duration(6 * time.Hour)}
	only5xx := policy
	only5xx.RetryOn = []string{"5xx", "rejected"}
	e := func(k adapters.Kind, c adapters.Class) *adapters.Error {
		return &adapters.Error{Kind: k, Class: c, Message: "why"}
	}
	for name, c := range map[string]struct {
		in      tried
		status  string
		wait    time.Duration
		disable bool
	}{
		"acknowledged": {tried{policy: policy, eligible: true, number: 1}, models.StatusDelivered, 0, false},
		"first failure": {tried{policy: policy, eligible: true, number: 1,
			err: e(adapters.KindTransient, adapters.ClassServer), code: 500}, models.StatusRetrying, time.Minute, false},
		"second failure": {tried{policy: policy, eligible: true, number: 2,
			err: e(adapters.KindTransient, adapters.ClassDNS)}, models.StatusRetrying, time.Hour, false},
		"last failure": {tried{policy: policy, eligible: true, number: 3,
			err: e(adapters.KindTransient, adapters.ClassServer)}, models.StatusFailed, 0, false},
		"not eligible": {tried{policy: policy, number: 1, err: e(adapters.KindTransient, adapters.ClassServer)},
			models.StatusFailed, 0, false},
		"refused for good": {tried{policy: policy, eligible: true, number: 1,
			err: e(adapters.KindPermanent, adapters.ClassRejected), code: 422}, models.StatusFailed, 0, false},
		"refused, but the policy retries": {tried{policy: only5xx, eligible: true, number: 1,
			err: e(adapters.KindPermanent, adapters.ClassRejected), code: 422}, models.StatusRetrying, time.Minute, false},
		"transient, but not in the policy": {tried{policy: only5xx, eligible: true, number: 1,
			err: e(adapters.KindTransient, adapters.ClassNotFound), code: 404}, models.StatusFailed, 0, false},
		"gone": {tried{policy: policy, eligible: true, number: 1,
			err: e(adapters.KindGone, adapters.ClassGone), code: 410}, models.StatusFailed, 0, true},
		"asked to end": {tried{policy: policy, eligible: true, number: 1,
			err: e(adapters.KindAbort, adapters.ClassAborted)}, models.StatusFailed, 0, false},
		"throttled, asks for longer": {tried{policy: policy, eligible: true, number: 1,
			err: e(adapters.KindThrottled, adapters.ClassThrottled), asked: 2 * time.Hour}, models.StatusRetrying, 2 * time.Hour, false},
		"throttled, asks for shorter": {tried{policy: policy, eligible: true, number: 1,
			err: e(adapters.KindThrottled, adapters.ClassThrottled), asked: time.Second}, models.StatusRetrying, time.Minute, false},
		"throttled, asks for far too long": {tried{policy: policy, eligible: true, number: 1,
			err: e(adapters.KindThrottled, adapters.ClassThrottled), asked: 48 * time.Hour}, models.StatusRetrying, 6 * time.Hour, false},
		"a failure that asks for some time": {tried{policy: policy, eligible: true, number: 1,
			err: e(adapters.KindTransient, adapters.ClassServer), asked: 3 * time.Hour}, models.StatusRetrying, 3 * time.Hour, false},
	} {
		c.in.random = 0.5 // no jitter
		got := decide(c.in)
		if got.status != c.status || got.wait != c.wait || (got.disable != "") != c.disable {
			t.Errorf("%s: %+v", name, got)
		}
		if got.status == models.StatusFailed && got.reason == "" {
			t.Errorf("%s: failed without a reason", name)
		}
	}
}

// TestLane holds a destination that hangs to its places, and lets others wait for none of them.
func TestLane(t *testing.T) {
	t.Parallel()
	l := &lane{}
	now := time.Now()
	version := func(n int64) *models.Target {
		t := &models.Target{InFlight: 2, Policy: models.RetryPolicy{MaxInterval: models.Duration(time.Hour)}}
		t.Version = n
		return t
	}
	for range 2 {
		if _, ok := l.enter(now, coming{limit: 2, deliveries: 1}); !ok || !l.tryAcquire() {
			t.Fatal("a free lane puts off")
		}
	}
	if l.tryAcquire() {
		t.Error("more attempts at once than permitted")
	}
	for range maxWaitingOfSlow {
		if _, ok := l.enter(now, coming{limit: 2, deliveries: 1}); !ok {
			t.Error("a lane that is not slow puts off")
		}
	}
	later := now.Add(2 * time.Second) // nothing has ended since
	if wait, ok := l.enter(later, coming{limit: 2, deliveries: 1}); ok || wait < minPutOff {
		t.Errorf("a lane that hangs takes more jobs: %v %v", wait, ok)
	}
	l.release()
	l.learn(later, 10*time.Millisecond, true, true, 30*time.Second, time.Hour)
	if wait, ok := l.enter(later, coming{limit: 2, deliveries: 1}); ok || wait != 30*time.Second {
		t.Errorf("asked to wait 30 s: %v %v", wait, ok)
	}
	if l.allowed != 1 {
		t.Errorf("%d attempts at once after being asked to slow down", l.allowed)
	}
	l.learn(later, 10*time.Millisecond, false, false, 0, 0)
	if l.allowed != 2 {
		t.Errorf("%d attempts at once after a success", l.allowed)
	}
	l.learn(later, 10*time.Millisecond, true, true, 30*time.Second, time.Hour)
	l.permit(version(1), later) // of another version nothing is known
	if wait, ok := l.enter(later, coming{limit: 2, deliveries: 1}); !ok || l.allowed != 2 {
		t.Errorf("after a change of the destination: put off for %v, %d attempts at once", wait, l.allowed)
	}
	old := version(0)
	old.InFlight = 7
	if l.permit(old, later); l.limit != 2 {
		t.Errorf("%d attempts at once, as a version permits that is not in force any more", l.limit)
	}
}
