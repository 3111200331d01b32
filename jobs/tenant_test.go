package jobs

import (
	"context"
	"testing"
	"time"
)

// TestTenantPlaces: a tenant takes as many places as it wants while it is alone. As soon as another one comes it keeps its part,
// and what takes long needs no place.
func TestTenantPlaces(t *testing.T) {
	t.Parallel()
	ctx, now := t.Context(), time.Now().Add(time.Hour) // so that nobody becomes idle while the test runs
	ts := &tenants{places: 4}
	busy := ts.enter(now, 1, false)
	var places []*place
	for range 10 {
		p, ok := busy.tryAcquire()
		if !ok {
			t.Fatalf("a tenant that is alone has %d places only", len(places))
		}
		places = append(places, p)
	}
	other := ts.enter(now, 2, false)
	if _, ok := other.tryAcquire(); !ok {
		t.Error("the other tenant has no place")
	}
	if _, ok := busy.tryAcquire(); ok {
		t.Error("the first one takes more than its part although there is another one")
	}
	for len(places) > 4 {
		if !places[0].spare() {
			t.Fatalf("with %d places of 4 none is spare", len(places))
		}
		places[0].release()
		places = places[1:]
	}
	if places[0].spare() {
		t.Error("a place of its part is spare")
	}
	got := make(chan *place, 1)
	go func() {
		p, _ := busy.acquire(ctx, false)
		got <- p
	}()
	for waiting := 0; waiting == 0; { // until it waits
		ts.mu.Lock()
		waiting = len(busy.waiting)
		ts.mu.Unlock()
	}
	places[0].try()
	places[0].lend() // as after slowAttempt
	p := <-got
	if room := ts.room(now, 1, false, true, maxJobs); room != maxJobs/tenantShare-1 {
		t.Errorf("with one job there is room for %d", room)
	}
	places[0].tried()
	if !p.spare() {
		t.Error("the place of an attempt that took long was not taken back")
	}
	p.release()
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := busy.acquire(stopped, false); err == nil {
		t.Error("there was a place for somebody who does not wait any more")
	}
	places[1].release()
	if _, ok := busy.tryAcquire(); !ok {
		t.Error("a free place is not given away")
	}
	var nobody *tenant // of jobs that do not say whose they are
	if p, ok := nobody.tryAcquire(); !ok || p.spare() {
		t.Error("an unknown tenant has no place")
	}
}
