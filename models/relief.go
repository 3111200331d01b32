package models

import (
	"sync/atomic"
	"time"
)

// relief lets a second writer take over what queues up while the first is held up, by a lock or a slow commit. One writer
// alone makes the largest groups, and so costs the least; it must not be the only one when it is stuck.
type relief struct {
	since atomic.Int64  // when the first began its transaction, in unix nanoseconds; 0 when it has none
	wake  chan struct{} // for the second
}

// stuckAfter is how long a transaction may take before the second writer steps in.
const stuckAfter = 50 * time.Millisecond

func newRelief() *relief { return &relief{wake: make(chan struct{}, 1)} }

// during runs the first writer's transaction.
func (r *relief) during(write func()) {
	r.since.Store(time.Now().UnixNano())
	write()
	r.since.Store(0)
}

// check is called whenever something queues up, and wakes the second writer when the first is held up.
func (r *relief) check() {
	if since := r.since.Load(); since != 0 && time.Now().UnixNano()-since > int64(stuckAfter) {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}
