package models

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Looked says how far a list looked that stopped before its page was full, because few rows meet its conditions and no index finds
// them. The next page goes on there.
type Looked struct {
	Events int       // or attempts, that were looked at
	Until  time.Time // those that were received, or started, up to there
}

// DefaultListTime is for how long a list looks for the rows of a page.
const DefaultListTime = 50 * time.Millisecond

const (
	firstPortion = 1_000 // events, of the first portion
	maxPortion   = 5_000
	maxRare      = 1_000 // events that are looked up by their ids
)

// stretch is a part of a list: events from lo until before hi, and of these only ids, unless it is nil.
type stretch struct {
	lo, hi uuid.UUID
	ids    []uuid.UUID
}

// where limits a column with the events' ids.
func (p stretch) where(q *query, column string) {
	if p.ids != nil {
		q.and(column+" = any(?)", p.ids)
	}
	q.and(column+" >= ?", p.lo)
	q.and(column+" < ?", p.hi)
}

// portions goes through the events from lo until before hi, in the order of a page, until that is full or it has taken long enough.
type portions struct {
	s      *Store
	scope  Scope
	k      *keyset
	lo, hi uuid.UUID
	rare   *rareStates // goes through the events with such deliveries only; nil for all events
	looked *Looked     // set when it stopped early
	last   uuid.UUID   // of the events that were looked at
}

// run calls read for each portion; it reports how many rows the page has now.
func (w *portions) run(ctx context.Context, read func(context.Context, stretch) (int, error)) error {
	began, events := time.Now(), 0
	size := firstPortion
	if w.rare != nil && w.rare.exact {
		size = w.k.limit + 2 // the cursor's own event may have more deliveries
	}
	for {
		n, p, err := w.next(ctx, size)
		if err != nil || n == 0 {
			return err
		}
		events += n
		rows, err := read(ctx, p)
		if err != nil || rows > w.k.limit || n < size {
			return err
		}
		if w.k.descending() {
			w.last, w.hi = p.lo, p.lo
		} else {
			w.lo = p.hi
		}
		if time.Since(began) > w.s.ListTime {
			w.looked = &Looked{Events: events, Until: eventTime(w.last)}
			return nil
		}
		if time.Since(began) < w.s.ListTime/3 {
			if size = min(2*size, maxPortion); w.rare != nil {
				size = min(size, max(maxRare, w.k.limit+2))
			}
		}
	}
}

// next finds the next portion, and how many events it has. With fewer than size it reaches to the end.
func (w *portions) next(ctx context.Context, size int) (n int, p stretch, err error) {
	p = stretch{lo: w.lo, hi: w.hi}
	if w.rare != nil {
		if p.ids, err = w.rare.find(ctx, w.s, w.scope, w.lo, w.hi, w.k.order(), size); err != nil || len(p.ids) == 0 {
			return 0, p, err
		}
		n, w.last = len(p.ids), p.ids[len(p.ids)-1]
	} else if n, w.last, err = w.s.eventWindow(ctx, w.scope, w.lo, w.hi, w.k.order(), size); err != nil {
		return 0, p, err
	}
	if n == size {
		if w.k.descending() {
			p.lo = w.last
		} else {
			p.hi = next(w.last)
		}
	}
	return n, p, nil
}

// stopped makes a page go on where the list stopped looking. position is that of the last event that was looked at.
func stopped[T any](p *Page[T], k *keyset, looked *Looked, position any) *Page[T] {
	if p.Looked = looked; looked == nil || len(p.Items) > 0 && (k.back && p.Prev != "" || !k.back && p.Next != "") {
		return p
	}
	if k.back {
		p.Prev = k.cursor(position)
	} else {
		p.Next = k.cursor(position)
	}
	return p
}

// rareStates finds events by their deliveries in states that are rare, for which there are indexes.
type rareStates struct {
	states       []string
	destinations []int64 // nil for any
	exact        bool    // each event that is found belongs to the list: no other condition chooses among them
}

// maxRareLists is up to how many lists of one state and destination are merged.
const maxRareLists = 24

// rareOf says how to go through deliveries in these states; nil when they cannot be found so.
func rareOf(states []string, destinations []int64, others bool) *rareStates {
	if len(states) == 0 || len(states)*max(len(destinations), 1) > maxRareLists {
		return nil
	}
	for _, st := range states {
		switch st {
		case StatusFailed, StatusRetrying, StatusHeld, StatusCancelled:
		default:
			return nil
		}
	}
	return &rareStates{states, destinations, !others}
}

// find returns the next ids of events, as many as most, in the order.
func (r *rareStates) find(ctx context.Context, s *Store, scope Scope, lo, hi uuid.UUID, order string, most int) ([]uuid.UUID, error) {
	q := newQuery()
	lists := ""
	destinations := r.destinations
	if len(destinations) == 0 {
		destinations = []int64{0}
	}
	for _, st := range r.states {
		for _, key := range destinations {
			sub := &query{args: q.args}
			switch {
			case key != 0:
				sub.and("destination_key = ?", key)
			case len(r.destinations) == 0:
				scope.where(sub, "tenant_key")
			}
			sub.and("attention = ?::delivery_status", st)
			sub.and("event_id >= ?", lo)
			sub.and("event_id < ?", hi)
			if lists != "" {
				lists += " union "
			}
			lists += "(select event_id from deliveries" + sub.sql() + " order by event_id " + order + sub.limit(most) + ")"
			q.args = sub.args
		}
	}
	rows, err := s.pool.Query(ctx, "select distinct event_id from ("+lists+") x order by event_id "+order+q.limit(most), q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}
