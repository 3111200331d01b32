package models

import (
	"sync"

	"github.com/google/uuid"
)

// Recent remembers the events that this process accepted last, so that a worker in the same process need not read them
// back from the database. It is bounded by bytes; what it has forgotten is read.
type Recent struct {
	mu    sync.Mutex
	m     map[uuid.UUID]*Event
	queue []*Event // ring of the remembered events, oldest at head
	head  int
	bytes int
	max   int
}

// NewRecent makes a memory of at most maxBytes of payloads.
func NewRecent(maxBytes int) *Recent { return &Recent{m: map[uuid.UUID]*Event{}, max: maxBytes} }

// eventOverhead is roughly what an event takes beside its payload.
const eventOverhead = 300

func (r *Recent) add(e *Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, has := r.m[e.Key]; has {
		return // a transaction that was tried again
	}
	r.m[e.Key] = e
	r.queue = append(r.queue, e)
	r.bytes += len(e.Data) + eventOverhead
	for r.bytes > r.max {
		old := r.queue[r.head]
		r.queue[r.head] = nil
		r.head++
		delete(r.m, old.Key)
		r.bytes -= len(old.Data) + eventOverhead
	}
	if r.head > 1024 && r.head > len(r.queue)/2 {
		r.queue = append(r.queue[:0], r.queue[r.head:]...)
		r.head = 0
	}
}

// get returns a remembered event, or nil. It must not be changed.
func (r *Recent) get(id uuid.UUID) *Event {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m[id]
}

// Forget drops the payloads of events that were erased.
func (r *Recent) Forget(ids []uuid.UUID) {
	if r == nil || len(ids) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := map[*Event]bool{}
	for _, id := range ids {
		if e := r.m[id]; e != nil {
			gone[e] = true
			r.bytes -= len(e.Data) + eventOverhead
			delete(r.m, id)
		}
	}
	if len(gone) == 0 {
		return
	}
	kept := make([]*Event, 0, len(r.queue)-r.head)
	for _, e := range r.queue[r.head:] {
		if !gone[e] {
			kept = append(kept, e)
		}
	}
	r.queue, r.head = kept, 0
}
