package models

import (
	"context"
	"math"
	"time"
)

// attemptPortions goes through attempts by the time they were started, from lo until before hi, until a page is full or it has taken
// long enough.
type attemptPortions struct {
	s            *Store
	scope        Scope
	destinations []int64 // nil for any
	k            *keyset
	lo, hi       time.Time
	length       time.Duration // of the next portion over all tenants, which are found by time alone
	looked       *Looked
}

const firstAttempts = 10 * time.Second // length of the first portion over all tenants

// attemptBounds are the times between which attempts of a list can be.
func (s *Store) attemptBounds(aq AttemptQuery, now time.Time) (lo, hi time.Time) {
	lo, hi = now.Add(-s.Rules().Retention-48*time.Hour), now.Add(time.Hour)
	for _, at := range []time.Time{aq.GTE, aq.GT} {
		lo = later(lo, at)
	}
	if !aq.LT.IsZero() {
		hi = earlier(hi, aq.LT)
	}
	if !aq.LTE.IsZero() {
		hi = earlier(hi, aq.LTE.Add(time.Microsecond))
	}
	return lo, hi
}

// run calls read for each portion; it reports how many rows the page has now.
func (w *attemptPortions) run(ctx context.Context, read func(ctx context.Context, lo, hi time.Time) (int, error)) error {
	began, events, size := time.Now(), 0, firstPortion
	w.length = firstAttempts
	for w.lo.Before(w.hi) {
		n, lo, hi, err := w.next(ctx, size)
		if err != nil {
			return err
		}
		if n > 0 {
			rows, err := read(ctx, lo, hi)
			if err != nil || rows > w.k.limit {
				return err
			}
		}
		events += n
		if w.k.descending() {
			w.hi = lo
		} else {
			w.lo = hi
		}
		// Portions over all tenants begin short: one that is nearly empty is no reason to stop.
		if w.lo.Before(w.hi) && events >= firstPortion/4 && time.Since(began) > w.s.ListTime {
			w.looked = &Looked{Events: events, Until: w.here()}
			return nil
		}
		if time.Since(began) < w.s.ListTime/3 {
			size = min(2*size, maxPortion)
		}
	}
	return nil
}

// here is up to where it has looked.
func (w *attemptPortions) here() time.Time {
	if w.k.descending() {
		return w.hi
	}
	return w.lo
}

// position is a place in the list between what was looked at and the rest.
func (w *attemptPortions) position() attemptPosition {
	if w.k.descending() {
		return attemptPosition{At: w.hi}
	}
	return attemptPosition{At: w.lo, Destination: math.MinInt64}
}

// next finds the next portion, and how many attempts it has.
func (w *attemptPortions) next(ctx context.Context, size int) (n int, lo, hi time.Time, err error) {
	lo, hi = w.lo, w.hi
	q := newQuery()
	byTime := w.scope.all && len(w.destinations) == 0
	if byTime {
		if w.k.descending() {
			lo = later(lo, earlier(hi, time.Now()).Add(-w.length)) // what is later, by other clocks, comes along
		} else {
			hi = earlier(hi, lo.Add(w.length))
		}
	} else {
		w.scope.where(q, "tenant_key")
		if len(w.destinations) > 0 {
			q.and("destination_key = any(?)", w.destinations)
		}
	}
	q.and("started_at >= ?", lo)
	q.and("started_at < ?", hi)
	// No attempt is made before its event is there.
	q.and("event_id < ?", lowestUUID(hi.Add(time.Hour)))
	if byTime {
		if err := w.s.pool.QueryRow(ctx, "select count(*) from attempts"+q.sql(), q.args...).Scan(&n); err != nil {
			return 0, lo, hi, err
		}
		switch {
		case n < size/4:
			w.length *= 4
		case n > size:
			w.length = max(w.length/2, time.Second)
		}
		return n, lo, hi, nil
	}
	var last *time.Time
	err = w.s.pool.QueryRow(ctx, "select count(*), (array_agg(x.started_at))[count(*)] from (select started_at from attempts"+q.sql()+
		" order by started_at "+w.k.order()+q.limit(size)+") x", q.args...).Scan(&n, &last)
	if err == nil && n == size {
		if w.k.descending() {
			lo = *last
		} else {
			hi = last.Add(time.Microsecond)
		}
	}
	return n, lo, hi, err
}

// indexed reports whether an index gives the attempts of a list in their order.
func (aq AttemptQuery) indexed(scope Scope, destinations []int64) bool {
	if len(aq.EventIDs) > 0 {
		return true
	}
	if len(aq.DestinationTypes) > 0 || len(aq.Topics) > 0 || len(aq.Codes) > 0 || aq.ErrorClass != "" || len(aq.Triggers) > 0 ||
		aq.Manual != nil || aq.Actor != "" || len(scope.more) > 0 || len(destinations) > 1 {
		return false
	}
	if len(destinations) == 1 {
		return aq.Status == "" || aq.Status == AttemptSucceeded
	}
	return !scope.all
}
