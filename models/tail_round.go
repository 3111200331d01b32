package models

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

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
	rows, seen, isWide, err := t.rows(ctx)
	if err != nil {
		return err
	}
	now := seen.now
	// Whoever is counted in here began to read before: what is committed later is in the next look.
	rounds := t.rounds(rows, seen.full)
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
func (t *Tail) rows(ctx context.Context) (rows []changedRow, seen *tailSeen, isWide bool, err error) {
	if !t.known {
		now, err := t.s.now(ctx)
		return nil, &tailSeen{now: now}, false, err
	}
	span := tailSpan{since: t.last, late: tailLate, events: usualEvents, deliveries: usualDeliveries, scope: AllTenants(),
		tracked: t.tracked()}
	if isWide = time.Since(t.widened) >= wideEvery; isWide {
		span.since, span.late, span.events, span.deliveries = t.wide, tailLatest, wideEvents, wideDeliveries
	}
	if seen, err = t.s.tailLook(ctx, span); err != nil {
		return nil, nil, isWide, err
	}
	had := map[rowVersion]struct{}{}
	for _, r := range seen.rows {
		_, before := t.seen[r.rowVersion]
		_, twice := had[r.rowVersion]
		if had[r.rowVersion] = struct{}{}; !before && !twice {
			rows = append(rows, r)
		}
	}
	return rows, seen, isWide, nil
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

// rounds says what of the rows concerns whom; full that there are more.
func (t *Tail) rounds(rows []changedRow, full bool) []*tailRound {
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
		r := &tailRound{tailGroup: g, ids: got.ids, fresh: got.fresh, readers: slices.Collect(maps.Keys(g.readers)), reload: full}
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
	return t.s.pool.SendBatch(ctx, b).Close()
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
