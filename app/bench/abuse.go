package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How much the abusing tenant of measureAbuse has, for the usual number of events.
const (
	abuseDestinations = 10_000
	abuseBatch        = 100 // events in one request, each to all of them
)

// measureAbuse measures a tenant whose neighbour has many destinations and sends many events to all of them at once. What
// arrives of both counts as delivered; the rest is the tenant's own.
func measureAbuse(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
	abuser, err := b.tenant()
	if err != nil {
		return r, err
	}
	tenant, err := b.tenant()
	if err != nil {
		return r, err
	}
	many := max(1, c.events*abuseDestinations/1500)
	if err := b.destinations(abuser, many); err != nil {
		return r, err
	}
	if err := b.destination(tenant, "/hook", nil); err != nil {
		return r, err
	}
	b.busy.Store(0)
	begun, flooded := time.Now(), make(chan error, 1)
	go func() {
		time.Sleep(time.Second) // in which the tenant is alone
		batch := benchCase{publishers: 1, events: abuseBatch, batch: abuseBatch}
		_, err := b.publish(ctx, batch, func(int64) string { return abuser })
		flooded <- err
	}()
	if r, err = b.load(ctx, c, func(int64) string { return tenant }); err != nil {
		return r, err
	}
	took := time.Since(begun)
	r.delivered = float64(b.received.Load()+b.busy.Load()) / took.Seconds()
	if err := <-flooded; err != nil {
		return r, fmt.Errorf("the batch to %d destinations: %w", many, err)
	}
	want := int64(many) * abuseBatch
	for deadline := time.Now().Add(10 * time.Minute); b.busy.Load() < want; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return r, fmt.Errorf("%d of %d deliveries of the batch arrived", b.busy.Load(), want)
		}
	}
	return r, nil
}

// destinations makes n destinations that post to /busy.
func (b *bencher) destinations(tenant string, n int) error {
	const atOnce = 4
	var wg sync.WaitGroup
	failed := make([]error, atOnce)
	for i := range atOnce {
		wg.Go(func() {
			for k := i; k < n && failed[i] == nil; k += atOnce {
				failed[i] = b.destination(tenant, "/busy", nil)
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}
