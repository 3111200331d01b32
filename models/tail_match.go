package models

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// eventMatch says which events a query selects, of those that it is asked about. It is the query of a list, without a page.
type eventMatch struct {
	s      *Store
	scope  Scope
	eq     EventQuery
	keys   []int64 // of destinations; nil for any
	lo, hi uuid.UUID
	what   *search // nil without a text
}

// matchEvents checks a query as the list does, and looks up what it names. Its order and page do not matter.
func (s *Store) matchEvents(ctx context.Context, scope Scope, eq EventQuery) (*eventMatch, error) {
	if eq.Sort != "" {
		if err := oneOf("order_by", []string{eq.Sort}, EventSorts); err != nil {
			return nil, err
		}
	}
	if err := checkShown(eq.Statuses, eq.Codes); err != nil {
		return nil, err
	}
	eq.ReceivedSpan, eq.Sort, eq.Page = eq.ends(), "", PageQuery{}
	m := &eventMatch{s: s, scope: scope, eq: eq}
	m.lo, m.hi = idRange(eq.Since, eq.Until)
	var err error
	if m.keys, err = s.destinationKeys(ctx, scope, eq.Destinations); err != nil {
		return nil, err
	}
	if m.eq.Text = strings.TrimSpace(eq.Text); m.eq.Text == "" {
		return m, nil
	}
	named, err := s.namedEvent(ctx, scope, m.eq.Text)
	if err != nil {
		return nil, err
	}
	if named != nil {
		m.lo, m.hi = maxUUID(m.lo, named.Key), minUUID(m.hi, next(named.Key))
		return m, nil
	}
	m.what, err = parseSearch(m.eq.Text)
	return m, err
}

// name is the same for queries that select the same events.
func (m *eventMatch) name() string { return fmt.Sprint(m.scope, m.lo, m.hi, given(m.eq)) }

// any reports whether it selects all events of the scope.
func (m *eventMatch) any() bool { return len(given(m.eq)) == 0 }

// where are the conditions on events e, among some ids where there are any.
func (m *eventMatch) where(q *query, among []uuid.UUID) {
	if len(among) > 0 {
		first, last := ends(among)
		q.and("e.id = any(?)", among)
		q.and("e.id >= ?", maxUUID(first, m.lo))
		q.and("e.id <= ?", last)
	} else {
		q.and("e.id >= ?", m.lo)
	}
	q.and("e.id < ?", m.hi)
	m.scope.where(q, "e.tenant_key")
	m.eq.conditions(q, m.scope, m.keys)
}

// queue adds the question which of some events it selects to a batch; take gets the answer. A search among payloads cannot be
// asked that way: see search.
func (m *eventMatch) queue(b *pgx.Batch, among []uuid.UUID, take func([]uuid.UUID)) {
	q := newQuery()
	m.where(q, among)
	b.Queue("select e.id from events e"+q.sql(), q.args...).Query(func(rows pgx.Rows) error {
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		take(ids)
		return err
	})
}

// search looks among the payloads of some events.
func (m *eventMatch) search(ctx context.Context, among []uuid.UUID) ([]uuid.UUID, error) {
	first, last := ends(among)
	w := &searching{s: m.s, scope: m.scope, what: m.what, k: &keyset{limit: math.MaxInt32}, hi: minUUID(m.hi, next(last)),
		conditions: func(q *query) {
			q.and("e.id = any(?)", among)
			m.eq.conditions(q, m.scope, m.keys)
		}}
	if err := w.look(ctx, maxUUID(first, m.lo)); err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(w.found))
	for i, e := range w.found {
		ids[i] = e.Key
	}
	return ids, nil
}

// among are those of some events that it selects.
func (m *eventMatch) among(ctx context.Context, ids []uuid.UUID) (out []uuid.UUID, err error) {
	switch {
	case len(ids) == 0 || m.any():
		return ids, nil
	case m.what != nil:
		return m.search(ctx, ids)
	}
	b := &pgx.Batch{}
	m.queue(b, ids, func(found []uuid.UUID) { out = found })
	return out, m.s.pool.SendBatch(ctx, b).Close()
}

// newestLooked is how many of the newest events are looked through for those with which a list begins.
const newestLooked = 10_000

// newest are the first events of the list, up to most. They are looked for among the newest ones of the scope only, so that it
// takes no longer when few match.
func (m *eventMatch) newest(ctx context.Context, most int) ([]uuid.UUID, error) {
	if m.what != nil {
		return nil, nil // it would take as long as the search
	}
	q := newQuery()
	m.scope.where(q, "tenant_key")
	from := "(select id from events" + q.sql() + " order by id desc" + q.limit(newestLooked) + ") n join events e on e.id = n.id"
	q.conds = nil
	m.where(q, nil)
	rows, err := m.s.pool.Query(ctx, "select e.id from "+from+q.sql()+" order by e.id desc"+q.limit(most), q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// summaries reads events as lists show them, without their payloads, in the order of their ids.
func (s *Store) summaries(ctx context.Context, ids []uuid.UUID) ([]*Event, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	q := newQuery()
	first, last := ends(ids)
	q.and("e.id = any(?)", ids)
	q.and("e.id >= ?", first)
	q.and("e.id <= ?", last)
	rows, err := s.pool.Query(ctx, strings.Replace(eventSelect, "e.data", "''", 1)+q.sql()+" order by e.id", q.args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, s.eventScanner(ctx))
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		e.Data = nil
	}
	return list, s.addDeliveries(ctx, list)
}

// Arrived is how many events have come since a moment.
type Arrived struct {
	Count  int
	More   bool   // there are more than Count
	Cursor string // of now
}

// MaxArrived is up to how many new events are counted.
const MaxArrived = 1000

// arrivedLooked is how many of the events that have come are looked at, whether or not they match.
const arrivedLooked = 5000

// Arrived counts the events of a list that have come after a cursor, or after an event. "now" counts none.
func (s *Store) Arrived(ctx context.Context, scope Scope, eq EventQuery, after string) (*Arrived, error) {
	ctx = OnPrimary(ctx)
	m, err := s.matchEvents(ctx, scope, eq)
	if err != nil {
		return nil, err
	}
	from, event, err := s.tailStart(ctx, scope, after)
	if err != nil {
		return nil, err
	}
	now, err := s.now(ctx)
	if err != nil {
		return nil, err
	}
	out := &Arrived{Cursor: now.cursor()}
	switch {
	case after == TailNow:
		return out, nil
	case event == nil && from.ahead(now):
		return nil, aheadOfTail()
	}
	q := newQuery()
	scope.where(q, "e.tenant_key")
	var new string
	if event != nil {
		q.and("e.id > ?", *event)
		new = "select e.id from events e" + q.sql() + " order by e.id desc" + q.limit(arrivedLooked)
	} else {
		q.and("e.id >= ?", lowestUUID(from.at.Add(-tailLatest)))
		window := "select e.id, e.xmin::text::bigint v from events e" + q.sql() + " order by e.id desc" + q.limit(wideEvents)
		new = "select id from (" + window + ") x where " + from.after(q, "v") + " order by id desc" + q.limit(arrivedLooked)
	}
	rows, err := s.pool.Query(ctx, new, q.args...)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, err
	}
	out.More = len(ids) == arrivedLooked
	if ids, err = m.among(ctx, ids); err != nil {
		return nil, err
	}
	out.More = out.More || len(ids) > MaxArrived
	out.Count = min(len(ids), MaxArrived)
	return out, nil
}

// TailNow stands for the cursor of now.
const TailNow = "now"

// tailStart reads where a reader begins: a cursor, or an event of the scope.
func (s *Store) tailStart(ctx context.Context, scope Scope, after string) (m moment, event *uuid.UUID, err error) {
	if after == "" {
		return m, nil, Invalid("after", `is required: "now", a cursor that an earlier answer gave, or the id of an event`)
	}
	if after == TailNow {
		return m, nil, nil
	}
	if m, ok := parseMoment(after); ok {
		return m, nil, nil
	}
	e, err := s.namedEvent(ctx, scope, after)
	if err != nil {
		return m, nil, err
	}
	if e == nil {
		return m, nil, Invalid("after", `must be "now", a cursor that an earlier answer gave, or the id of an event that is kept`)
	}
	return m, &e.Key, nil
}

func aheadOfTail() *Error {
	return &Error{Kind: KindPast,
		Message: "This cursor is of another database, or of this one before it was restored. List the events again, and begin with after=now."}
}

// sees are the rows of a look that a scope sees, by their events; fresh tells of each whether the event itself is new.
func (s Scope) seesOf(rows []changedRow) (ids []uuid.UUID, fresh map[uuid.UUID]bool) {
	fresh = map[uuid.UUID]bool{}
	for _, r := range rows {
		if !s.sees(r.tenant) {
			continue
		}
		if _, has := fresh[r.event]; !has {
			ids = append(ids, r.event)
		}
		fresh[r.event] = fresh[r.event] || r.destination == 0
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return ids, fresh
}

// CheckEvents says what is wrong with a query of the list of events, or nil.
func (s *Store) CheckEvents(ctx context.Context, scope Scope, eq EventQuery) error {
	_, err := s.matchEvents(ctx, scope, eq)
	return err
}
