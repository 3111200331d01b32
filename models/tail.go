package models

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
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
	t := &Tail{s: s, log: log, write: write, groups: map[string]*tailGroup{}, callers: map[string]int{}, kick: make(chan struct{}, 1), resume: make(chan struct{}, 2)}
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
		return nil, &Error{Kind: KindUnavailable, Message: "This server has as many live tails as it has room for. Try again, or ask for /events/new from time to time.", RetryAfter: 5 * time.Second}
	case t.callers[caller] >= MaxTailsEach:
		return nil, &Error{Kind: KindLimited, Message: countOf(MaxTailsEach, "live tail is", "live tails are") + " open for this caller, which is the limit. Close one, or ask for /events/new from time to time.",
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

// tailRound is what one look tells one group.
type tailRound struct {
	*tailGroup
	readers []*TailReader
	ids     []uuid.UUID // that have come or changed, the oldest first
	fresh   map[uuid.UUID]bool
	matched map[uuid.UUID]bool
	tell    []uuid.UUID
	reload  bool
}

func (t *Tail) lookFor(ctx context.Context) error {
	rows, now, isWide, err := t.rows(ctx)
	if err != nil {
		return err
	}
	// Whoever is counted in here began to read before: what is committed later is in the next look.
	rounds := t.rounds(rows)
	if t.known {
		if err := t.match(ctx, rounds); err != nil {
			return err
		}
		if err := t.tell(ctx, rounds, now); err != nil {
			return err
		}
	}
	t.joinAll(rounds)
	if isWide || !t.known {
		t.wide, t.widened, t.seen = now, time.Now(), map[rowVersion]struct{}{}
	} else {
		for _, r := range rows {
			t.seen[r.rowVersion] = struct{}{}
		}
	}
	t.last, t.known = now, true
	return nil
}

// rows reads what has come since the last look. From time to time it looks further back, for what was committed late and for
// deliveries of older events.
func (t *Tail) rows(ctx context.Context) (rows []changedRow, now moment, isWide bool, err error) {
	if !t.known {
		now, err = t.s.now(ctx)
		return nil, now, false, err
	}
	span := tailSpan{since: t.last, late: tailLate, events: usualEvents, deliveries: usualDeliveries, scope: AllTenants(), tracked: t.tracked()}
	if isWide = time.Since(t.widened) >= wideEvery; isWide {
		span.since, span.late, span.events, span.deliveries = t.wide, tailLatest, wideEvents, wideDeliveries
	}
	seen, err := t.s.tailLook(ctx, span)
	if err != nil {
		return nil, now, isWide, err
	}
	had := map[rowVersion]struct{}{}
	for _, r := range seen.rows {
		_, before := t.seen[r.rowVersion]
		_, twice := had[r.rowVersion]
		if had[r.rowVersion] = struct{}{}; !before && !twice {
			rows = append(rows, r)
		}
	}
	return rows, seen.now, isWide, nil
}

func (t *Tail) tracked() []uuid.UUID {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[uuid.UUID]struct{}{}
	for _, g := range t.groups {
		for _, id := range g.tracked {
			all[id] = struct{}{}
		}
	}
	return slices.Collect(maps.Keys(all))
}

// rounds says what of the rows concerns whom.
func (t *Tail) rounds(rows []changedRow) []*tailRound {
	t.mu.Lock()
	defer t.mu.Unlock()
	type share struct {
		ids   []uuid.UUID
		fresh map[uuid.UUID]bool
	}
	byKey := map[int64]share{} // of scopes of one tenant, or of all for 0
	out := make([]*tailRound, 0, len(t.groups))
	for _, g := range t.groups {
		scope := g.match.scope
		got, has := byKey[scope.key]
		if !has || len(scope.more) > 0 {
			got.ids, got.fresh = scope.seesOf(rows)
			if len(scope.more) == 0 {
				byKey[scope.key] = got
			}
		}
		r := &tailRound{tailGroup: g, ids: got.ids, fresh: got.fresh, readers: slices.Collect(maps.Keys(g.readers))}
		if len(r.ids) > tailAmong {
			r.ids, r.reload = r.ids[len(r.ids)-tailAmong:], true
		}
		out = append(out, r)
	}
	return out
}

// match finds out which of the events each list has.
func (t *Tail) match(ctx context.Context, rounds []*tailRound) error {
	b := &pgx.Batch{}
	for _, r := range rounds {
		r.matched = map[uuid.UUID]bool{}
		take := func(ids []uuid.UUID) {
			for _, id := range ids {
				r.matched[id] = true
			}
		}
		switch {
		case len(r.ids) == 0:
		case r.tailGroup.match.any():
			take(r.ids)
		case r.tailGroup.match.what != nil:
			ids, err := t.search(ctx, r)
			if r.reload = r.reload || err != nil; ctx.Err() != nil {
				return err
			}
			take(ids)
		default:
			r.tailGroup.match.queue(b, r.ids, take)
		}
	}
	return t.s.Pool.SendBatch(ctx, b).Close()
}

// search looks among payloads, for so long that others are not kept waiting.
func (t *Tail) search(ctx context.Context, r *tailRound) ([]uuid.UUID, error) {
	ctx, cancel := context.WithTimeout(ctx, tailSearch)
	defer cancel()
	return r.tailGroup.match.search(ctx, r.ids)
}

// tell sends readers what concerns them. Each event is read and written once for all of them.
func (t *Tail) tell(ctx context.Context, rounds []*tailRound, now moment) error {
	all := map[uuid.UUID]struct{}{}
	for _, r := range rounds {
		for _, id := range r.ids {
			if r.matched[id] || slices.Contains(r.tracked, id) {
				r.tell = append(r.tell, id)
			}
		}
		if len(r.tell) > tailMost {
			r.tell, r.reload = r.tell[len(r.tell)-tailMost:], true
		}
		for _, id := range r.tell {
			all[id] = struct{}{}
		}
	}
	list, err := t.s.summaries(ctx, slices.Collect(maps.Keys(all)))
	if err != nil {
		return err
	}
	byKey := map[uuid.UUID]*Event{}
	for _, e := range list {
		byKey[e.Key] = e
	}
	type written struct {
		id             uuid.UUID
		fresh, matches bool
	}
	texts := map[written][]byte{}
	cursor := now.cursor()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range rounds {
		part := TailPart{Cursor: cursor}
		if r.reload {
			text, err := t.write(TailMessage{Reload: "More has changed than is told at once."})
			if err != nil {
				return err
			}
			part.Text = append(part.Text, text...)
		}
		for _, id := range r.tell {
			e := byKey[id]
			if e == nil {
				continue // deleted meanwhile
			}
			w := written{id, r.fresh[id], r.matched[id]}
			text, has := texts[w]
			if !has {
				if text, err = t.write(TailMessage{Event: e, Fresh: w.fresh, Matches: w.matches}); err != nil {
					return err
				}
				texts[w] = text
			}
			part.Text = append(part.Text, text...)
		}
		r.track()
		for _, reader := range r.readers {
			reader.take(part)
		}
	}
	return nil
}

// track remembers the newest events of the list.
func (r *tailRound) track() {
	g := r.tailGroup
	for _, id := range r.tell {
		if r.matched[id] && !slices.Contains(g.tracked, id) {
			g.tracked = append(g.tracked, id)
		}
	}
	slices.SortFunc(g.tracked, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	if n := len(g.tracked); n > tailTracked {
		g.tracked = slices.Clone(g.tracked[n-tailTracked:])
	}
}

// take hands a part to the reader. One that does not take them is cut off: it reads them when it connects again.
func (r *TailReader) take(part TailPart) {
	if r.ended || len(part.Text) == 0 && len(r.Parts) > 0 {
		return
	}
	select {
	case r.Parts <- part:
	default:
		r.leave()
	}
}

// joinAll says to those who were counted in that nothing is missed from now on.
func (t *Tail) joinAll(rounds []*tailRound) {
	for _, r := range rounds {
		for _, reader := range r.readers {
			select {
			case <-reader.joined:
			default:
				close(reader.joined)
			}
		}
	}
}
