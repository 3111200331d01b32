package models

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Limits of the live tail.
const (
	MaxTails     = 500                    // readers of a process
	MaxTailsEach = 100                    // and of one caller
	tailMost     = 500                    // events that a look tells of one list; past it readers are asked to list them again
	tailAmong    = 5000                   // of so many that have changed
	tailTracked  = 50                     // events of a list whose deliveries are looked at however old they are
	tailAhead    = 8                      // looks that a reader may be behind before it is cut off
	tailSoon     = 100 * time.Millisecond // until a new reader is counted in
	tailSearch   = 2 * time.Second        // of a look among payloads
)

// TailMessage is something that the tail tells: an event that is new or has changed, or else that more has changed than it
// tells.
type TailMessage struct {
	Event   *Event // nil for TailMessage{Reload: …}; without its payload
	Fresh   bool   // it is new; otherwise its deliveries have changed
	Matches bool   // the query selects it
	Reload  string // why the list has to be read again
}

// TailPart is what readers of the same list are told at once.
type TailPart struct {
	Text   []byte // messages; empty for none
	Cursor string // to go on from
}

// Tail tells readers of this process which events come and which change. However many there are, one goroutine looks for all
// of them, once a second, and writes what is to be sent once. It does nothing while nobody reads.
type Tail struct {
	s     *Store
	log   *slog.Logger
	write func(TailMessage) ([]byte, error)

	mu      sync.Mutex
	groups  map[string]*tailGroup
	readers int
	callers map[string]int
	kick    chan struct{}
	resume  chan struct{} // a place for each that catches up
	ctx     context.Context
	stop    context.CancelFunc
	runs    sync.WaitGroup

	// of the goroutine that looks
	known      bool
	last, wide moment
	widened    time.Time
	seen       map[rowVersion]struct{} // since the last wide look
	failing    bool
}

// tailGroup are the readers of one list.
type tailGroup struct {
	match   *eventMatch
	tracked []uuid.UUID // the oldest first
	readers map[*TailReader]struct{}
}

// TailReader is one reader. Parts is closed when it has fallen behind, or the process stops.
type TailReader struct {
	Parts chan TailPart

	t      *Tail
	group  string
	caller string
	match  *eventMatch
	joined chan struct{} // closed once a look has counted it in
	ended  bool
}

// NewTail makes a tail. write makes of a message the text that readers get.
func NewTail(s *Store, log *slog.Logger, write func(TailMessage) ([]byte, error)) *Tail {
	t := &Tail{s: s, log: log, write: write, groups: map[string]*tailGroup{}, callers: map[string]int{}, kick: make(chan struct{}, 1),
		resume: make(chan struct{}, 2)}
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.runs.Go(t.run)
	return t
}

// Stop ends the tail. Readers see their Parts closed.
func (t *Tail) Stop() { t.stop() }

// Close is Stop, and waits for the look under way.
func (t *Tail) Close() {
	t.Stop()
	t.runs.Wait()
}

// Reading is how many readers there are.
func (t *Tail) Reading() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.readers
}

// Read begins to tell a caller of the events that a query selects. caller names who it is, for their limit. End must be called.
func (t *Tail) Read(ctx context.Context, scope Scope, eq EventQuery, caller string) (*TailReader, error) {
	m, err := t.s.matchEvents(ctx, scope, eq)
	if err != nil {
		return nil, err
	}
	r := &TailReader{Parts: make(chan TailPart, tailAhead), t: t, match: m, group: m.name(), caller: caller, joined: make(chan struct{})}
	t.mu.Lock()
	g := t.groups[r.group]
	t.mu.Unlock()
	var tracked []uuid.UUID
	if g == nil {
		if tracked, err = m.newest(ctx, tailTracked); err != nil {
			return nil, err
		}
		slices.Reverse(tracked)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.ctx.Err() != nil:
		return nil, &Error{Kind: KindUnavailable, Message: "The server is stopping. Try again.", RetryAfter: time.Second}
	case t.readers >= MaxTails:
		return nil, &Error{Kind: KindUnavailable,
			Message: "This server has no room for another live tail. Try again, or ask for /events/new from time to time.", RetryAfter: 5 * time.Second}
	case t.callers[caller] >= MaxTailsEach:
		return nil, &Error{Kind: KindLimited, Message: countOf(MaxTailsEach, "live tail is", "live tails are") +
			" open for this caller, which is the limit. Close one, or ask for /events/new from time to time.",
			RetryAfter: 5 * time.Second}
	}
	if g = t.groups[r.group]; g == nil {
		g = &tailGroup{match: m, tracked: tracked, readers: map[*TailReader]struct{}{}}
		t.groups[r.group] = g
	}
	g.readers[r] = struct{}{}
	t.readers++
	t.callers[caller]++
	select {
	case t.kick <- struct{}{}:
	default:
	}
	return r, nil
}

// End ends the reading.
func (r *TailReader) End() {
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	r.leave()
}

// leave takes a reader out; the lock is held.
func (r *TailReader) leave() {
	if r.ended {
		return
	}
	r.ended = true
	close(r.Parts)
	t := r.t
	t.readers--
	if t.callers[r.caller]--; t.callers[r.caller] == 0 {
		delete(t.callers, r.caller)
	}
	g := t.groups[r.group]
	if delete(g.readers, r); len(g.readers) == 0 {
		delete(t.groups, r.group)
	}
}

// run looks while somebody reads.
func (t *Tail) run() {
	defer t.endAll()
	timer := time.NewTimer(tailEvery)
	defer timer.Stop()
	for {
		if t.Reading() == 0 {
			t.known, t.seen, t.failing = false, nil, false
			select {
			case <-t.kick:
			case <-t.ctx.Done():
				return
			}
			continue
		}
		t.look()
		timer.Reset(tailEvery)
		select {
		case <-timer.C:
		case <-t.kick: // a new reader need not wait so long
			timer.Reset(tailSoon)
			select {
			case <-timer.C:
			case <-t.ctx.Done():
				return
			}
		case <-t.ctx.Done():
			return
		}
	}
}

func (t *Tail) endAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range t.groups {
		for r := range g.readers {
			r.leave()
		}
	}
}

// look tells all readers what has come since the last look. What cannot be read now is read by the next one.
func (t *Tail) look() {
	ctx, cancel := context.WithTimeout(t.ctx, followTimeout)
	defer cancel()
	err := t.lookFor(ctx)
	if t.ctx.Err() != nil {
		return
	}
	if err != nil && !t.failing {
		t.log.Warn("the live tail cannot read what is new; it tries again", "readers", t.Reading(), "error", err)
	}
	t.failing = err != nil
}
