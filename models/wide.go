package models

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// An event for thousands of destinations takes a transaction that others would wait for. So those of tenants that have many are
// accepted beside the rest, one tenant after the other, and a transaction has a bounded number of deliveries.
const (
	// wideFrom is from how many destinations on an event is accepted beside the others.
	wideFrom = 200
	// wideGroup is how many deliveries one transaction has; its last event may go past it.
	wideGroup = 1_000
	// maxWide is how many such events of a tenant wait: more than one request may publish.
	maxWide = 2_000
)

// breadth is to how many destinations an event may go, as far as can be told without filters. Events with an ordering key all count
// as those that go to every destination, so that they keep their order.
func (r *routes) breadth(p *publishing) int {
	switch {
	case p.key != "":
		return len(r.all)
	case p.in.DestinationID != "":
		return 1
	case p.in.Topic == "":
		return len(r.every)
	}
	return len(r.every) + len(r.byTopic[p.in.Topic]) + len(r.patterns)
}

// wideQueue is where events wait to be accepted beside the others, by tenant.
type wideQueue struct {
	mu      sync.Mutex
	waiting map[string][]*publishing
	turns   []string // tenants that have events waiting, the next one first
	wake    chan struct{}
	closed  bool
	done    chan struct{}
}

func newWideQueue(write func(group []*publishing)) *wideQueue {
	w := &wideQueue{waiting: map[string][]*publishing{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run(write)
	return w
}

// offer hands an event over unless too many of its tenant wait already.
func (w *wideQueue) offer(p *publishing) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	tenant := p.in.TenantID
	list := w.waiting[tenant]
	if len(list) >= maxWide {
		return false
	}
	if len(list) == 0 {
		w.turns = append(w.turns, tenant)
	}
	w.waiting[tenant] = append(list, p)
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return true
}

// next takes the next tenant's events for one transaction, and reports whether there may be any to come.
func (w *wideQueue) next() (group []*publishing, open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.turns) == 0 {
		return nil, !w.closed
	}
	tenant := w.turns[0]
	list := w.waiting[tenant]
	n := 0
	for size, bytes := 0, 0; n < len(list) && n < maxGroup && size < wideGroup && bytes < maxGroupBytes; n++ {
		size += list[n].breadth
		bytes += list[n].size()
	}
	group = list[:n:n]
	w.turns = w.turns[1:]
	if n == len(list) {
		delete(w.waiting, tenant)
	} else {
		w.waiting[tenant] = list[n:]
		w.turns = append(w.turns, tenant)
	}
	return group, true
}

func (w *wideQueue) run(write func(group []*publishing)) {
	defer close(w.done)
	for {
		group, open := w.next()
		switch {
		case len(group) > 0:
			write(group)
		case !open:
			return
		default:
			<-w.wake
		}
	}
}

// close writes what was handed over. Nothing may be handed over afterwards.
func (w *wideQueue) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	<-w.done
}

// setAside takes those events out of a group that are to be accepted beside the others. It leaves the group as it was when there
// are none, as is usual.
func (w *acceptWriter) setAside(group []*publishing, tenants map[string]*accepting) []*publishing {
	isWide := func(p *publishing) bool {
		t := tenants[p.in.TenantID]
		if t == nil || t.gone != nil || len(t.routes.all) < wideFrom {
			return false
		}
		p.breadth = t.routes.breadth(p)
		return p.breadth >= wideFrom
	}
	if w.alone || !slices.ContainsFunc(group, isWide) {
		return group
	}
	rest := make([]*publishing, 0, len(group))
	for _, p := range group {
		if isWide(p) {
			w.wide = append(w.wide, p)
		} else {
			rest = append(rest, p)
		}
	}
	return rest
}

// handOver gives the events that were set aside to whoever accepts them, and returns the others of the group.
func (a *Accepter) handOver(group []*publishing, w *acceptWriter) []*publishing {
	if len(w.wide) == 0 {
		return group
	}
	rest := make([]*publishing, 0, len(group))
	for _, p := range group {
		if !slices.Contains(w.wide, p) {
			rest = append(rest, p)
		} else if !a.wide.offer(p) {
			const busy = "The server is taking in the tenant's events, to %d destinations each, as fast as it can. Try again."
			p.err = &Error{Kind: KindUnavailable, Message: fmt.Sprintf(busy, p.breadth), RetryAfter: time.Second}
			rest = append(rest, p)
		}
	}
	w.wide = w.wide[:0]
	return rest
}
