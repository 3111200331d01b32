package models

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// batcher collects what callers hand over and gives it to a writer in groups: whatever has queued up while the writer was
// busy is its next group. What comes after a rest does not wait, and nothing does where there is no least time between groups.
//
// One writer makes the largest groups and so costs the least, but it must not be the only one when it is stuck behind a
// lock or a slow commit. A standby writer then takes over what queues up.
type batcher[T any] struct {
	in     chan T
	inTurn chan T // for the first writer only, so that it keeps its order; nil where there is no such thing
	limits batchLimits[T]

	busySince atomic.Int64  // when the first writer began its group, in unix nanoseconds; 0 while it waits
	wake      chan struct{} // wakes the standby writer; nil where there is none
	now       chan struct{} // ends the wait for the next group
	writers   sync.WaitGroup
}

// batchLimits bound a group and what waits for one.
type batchLimits[T any] struct {
	Waiting int           // values that wait
	Group   int           // values in a group
	Bytes   int           // size of a group; its last value may go past it; 0 for no limit
	Size    func(T) int   // of a value, with Bytes
	Every   time.Duration // least time from the beginning of a group to that of the next, unless it was full or hurry is called; 0 for none
}

// stuckAfter is how long the first writer may take before the standby writer steps in.
const stuckAfter = 50 * time.Millisecond

func newBatcher[T any](limits batchLimits[T]) *batcher[T] {
	return &batcher[T]{in: make(chan T, limits.Waiting), limits: limits, now: make(chan struct{}, 1)}
}

// keepOrder adds the queue for values that only the first writer takes. It is called before start.
func (b *batcher[T]) keepOrder() { b.inTurn = make(chan T, b.limits.Waiting) }

// start begins to write with the first writer.
func (b *batcher[T]) start(write func(group []T)) { b.writers.Go(func() { b.run(write) }) }

// standBy adds the standby writer. It is called before start.
func (b *batcher[T]) standBy(write func(group []T)) {
	b.wake = make(chan struct{}, 1)
	b.writers.Go(func() {
		for range b.wake {
			if group := b.fill(nil, b.in); len(group) > 0 {
				write(group)
			}
		}
	})
}

// close writes what was handed over, and returns when all writers have ended. Nothing may be handed over afterwards.
func (b *batcher[T]) close() {
	close(b.in)
	if b.inTurn != nil {
		close(b.inTurn)
	}
	if b.wake != nil {
		close(b.wake)
	}
	b.writers.Wait()
}

// offer hands a value over unless too many wait already.
func (b *batcher[T]) offer(v T) bool { return b.offerTo(b.in, v) }

// offerInTurn is offer for a value that keeps its order.
func (b *batcher[T]) offerInTurn(v T) bool { return b.offerTo(b.inTurn, v) }

func (b *batcher[T]) offerTo(queue chan T, v T) bool {
	select {
	case queue <- v:
		b.checkFirst()
		return true
	default:
		return false
	}
}

// put hands a value over, and waits while too many are there already. It fails when ctx ends first.
func (b *batcher[T]) put(ctx context.Context, v T) error {
	select {
	case b.in <- v:
		b.checkFirst()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hurry has the next group begin at once, with what was handed over before.
func (b *batcher[T]) hurry() {
	select {
	case b.now <- struct{}{}:
	default:
	}
}

// pause waits for the time of the next group.
func (b *batcher[T]) pause(last time.Time, full bool) {
	wait := b.limits.Every - time.Since(last)
	if wait <= 0 || full {
		return
	}
	select {
	case <-time.After(wait):
	case <-b.now:
	}
}

func (b *batcher[T]) run(write func(group []T)) {
	group := make([]T, 0, b.limits.Group)
	var began time.Time
	for in, inTurn := b.in, b.inTurn; in != nil || inTurn != nil; {
		var v T
		var ok bool
		select {
		case v, ok = <-in:
			if !ok {
				in = nil
			}
		case v, ok = <-inTurn:
			if !ok {
				inTurn = nil
			}
		}
		if !ok {
			continue
		}
		b.pause(began, len(group) == b.limits.Group)
		group = b.fill(b.fill(append(group[:0], v), b.inTurn), b.in)
		began = time.Now()
		b.busySince.Store(began.UnixNano())
		write(group)
		b.busySince.Store(0)
		clear(group) // what was written can be freed while nothing comes
	}
}

// checkFirst wakes the standby writer when the first one is stuck.
func (b *batcher[T]) checkFirst() {
	if b.wake == nil {
		return
	}
	if since := b.busySince.Load(); since != 0 && time.Now().UnixNano()-since > int64(stuckAfter) {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// fill takes what is in a queue, as much as the group has room for.
func (b *batcher[T]) fill(group []T, queue chan T) []T {
	size := 0
	if b.limits.Bytes > 0 {
		for _, v := range group {
			size += b.limits.Size(v)
		}
	}
	for len(group) < b.limits.Group && (b.limits.Bytes == 0 || size < b.limits.Bytes) {
		select {
		case v, ok := <-queue:
			if !ok {
				return group
			}
			group = append(group, v)
			if b.limits.Bytes > 0 {
				size += b.limits.Size(v)
			}
		default:
			return group
		}
	}
	return group
}
