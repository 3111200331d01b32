package models

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// DeliveryQuery selects deliveries.
type DeliveryQuery struct {
	ReceivedSpan
	HappenedSpan
	Statuses     []string `query:"status" label:"Status" words:"delivery status" api:"schema=DeliveryStatus" doc:"Only in one of these states."`
	Destinations []string `query:"destination_id" label:"Destination" words:"destination" doc:"Only of these destinations."`
	Topics       []string `query:"topic" label:"Topic" doc:"Only of these topics."`
	Codes        []Code   `query:"code" label:"Response code" doc:"Only where the last attempt is shown with one of these codes."`
	ErrorClass   string   `query:"error_class" label:"Error" words:"error class" api:"schema=ErrorClass" doc:"Only where the last attempt failed so."`
	EventIDs     []string `query:"event_id" label:"Event" doc:"Only of these events."`
	Sort         string   `query:"order_by" doc:"'created_at' when missing, which is when the event was received. 'last_attempt_at' lists only what was attempted. Other orders are made within portions, see 'sorted' in the answer. 'status' begins with what needs somebody, when ascending."` // of DeliverySorts
	Page         PageQuery
}

// deliverySortings are the orders of deliveries that no index gives. Their values are made of the rows a of a portion.
var deliverySortings = map[string]sorting{
	SortTime:   {typ: "timestamptz", value: "coalesce(a.time, " + fmt.Sprintf(receivedIn, "a.event_id") + ")"},
	SortTopic:  {typ: `text collate "C"`, value: "a.topic"},
	SortStatus: {typ: "int", value: statusRank("a.status")},
	SortDestination: {typ: `text collate "C"`,
		value: "(select lower(coalesce(nullif(n.name, ''), n.id)) from destinations n where n.key = a.destination_key)"},
	SortAttempts: {typ: "bigint", value: "a.attempts"},
}

// attemptedPosition is the place of a delivery in a list by its last attempt.
type attemptedPosition struct {
	At time.Time
	DeliveryKey
}

// Deliveries lists deliveries by the time their event was received, or by their last attempt. What a filter held back is among
// them only when its status is asked for.
//
// No index is on last_attempt_at, because the usual path changes it: every delivery would be written a second time into
// each index. Sorted by it, the list walks attempts, which are found by tenant or destination and time, and takes the
// deliveries of which they are the last.
func (s *Store) Deliveries(ctx context.Context, scope Scope, dq DeliveryQuery) (*Page[*Delivery], error) {
	page, err := s.deliveries(ctx, scope, dq)
	if err != nil {
		return nil, err
	}
	return page, s.explain(ctx, page.Items)
}

func (s *Store) deliveries(ctx context.Context, scope Scope, dq DeliveryQuery) (*Page[*Delivery], error) {
	if dq.Sort == "" {
		dq.Sort = SortCreated
	}
	if err := oneOf("order_by", []string{dq.Sort}, DeliverySorts); err != nil {
		return nil, err
	}
	dq.ReceivedSpan = dq.ends()
	k, err := dq.Page.keyset(scope.keys(), dq)
	if err != nil {
		return nil, err
	}
	if err := checkShown(dq.Statuses, dq.Codes); err != nil {
		return nil, err
	}
	m := &deliveryMatch{s: s, scope: scope, dq: dq}
	if len(dq.EventIDs) > 0 {
		if m.events, err = s.eventKeys(ctx, scope, dq.EventIDs); err != nil {
			return nil, err
		}
	}
	if m.keys, err = s.destinationKeys(ctx, scope, dq.Destinations); err != nil {
		return nil, err
	}
	if order, ok := deliverySortings[dq.Sort]; ok {
		return m.sorted(ctx, k, order)
	}
	if dq.Sort == SortLastAttempt {
		return m.byLastAttempt(ctx, k)
	}
	return m.byReceipt(ctx, k)
}

// deliveryMatch says which deliveries a query selects.
type deliveryMatch struct {
	s      *Store
	scope  Scope
	dq     DeliveryQuery
	events []uuid.UUID // nil for any
	keys   []int64     // of destinations; nil for any
}

// byReceipt lists deliveries by the time their event was received.
func (m *deliveryMatch) byReceipt(ctx context.Context, k *keyset) (*Page[*Delivery], error) {
	var list []*Delivery
	var after DeliveryKey
	from := k.decode(&after)
	w := m.portions(k, from, after)
	var err error
	if w != nil {
		var keys []DeliveryKey
		if err = w.run(ctx, func(ctx context.Context, p stretch) (int, error) {
			more, err := m.keysIn(ctx, k, p, k.limit+1-len(keys))
			keys = append(keys, more...)
			return len(keys), err
		}); err == nil && len(keys) > 0 {
			list, err = m.s.deliveriesOf(ctx, m.scope, keys)
		}
	} else if w = (&portions{}); !m.onlyFiltered() {
		q := newQuery()
		if from {
			q.and("(d.event_id, d.destination_key) "+k.op()+" (?, ?)", after.EventKey, after.Destination)
			// The index begins at the bound of its first column that is said by itself: without this, at that of the whole list.
			q.and("d.event_id "+k.op()[:1]+"= ?", after.EventKey)
			q.and("e.id "+k.op()[:1]+"= ?", after.EventKey)
		}
		m.conditions(q)
		list, err = m.read(ctx, q, " order by d.event_id "+k.order()+", d.destination_key "+k.order()+q.limit(k.limit+1))
	}
	if err == nil && m.filteredToo() {
		list, err = m.withFiltered(ctx, k, list)
	}
	if err != nil {
		return nil, err
	}
	here := DeliveryKey{EventKey: w.last}
	if !k.descending() {
		here.Destination = math.MaxInt64
	}
	return stopped(newPage(k, m.dq.Sort, list, func(d *Delivery) any { return d.DeliveryKey }), k, w.looked, here), nil
}

// keysIn finds the first deliveries of a portion that belong to the list. It reads one table at a time, by the keys that it knows:
// over many partitions the planner makes joins of the whole tables else.
func (m *deliveryMatch) keysIn(ctx context.Context, k *keyset, p stretch, most int) ([]DeliveryKey, error) {
	dq := m.dq
	if !m.scope.all && p.ids == nil || len(dq.Topics) > 0 || dq.HappenedSpan != (HappenedSpan{}) {
		q := newQuery()
		p.where(q, "e.id")
		m.scope.where(q, "e.tenant_key")
		if len(dq.Topics) > 0 {
			q.and("e.topic = any(?)", dq.Topics)
		}
		dq.happened(q)
		rows, err := m.s.pool.Query(ctx, "select e.id from events e"+q.sql(), q.args...)
		if err != nil {
			return nil, err
		}
		if p.ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil || len(p.ids) == 0 {
			return nil, err
		}
	}
	q := newQuery()
	var after DeliveryKey
	if k.decode(&after) {
		q.and("(d.event_id, d.destination_key) "+k.op()+" (?, ?)", after.EventKey, after.Destination)
	}
	if len(p.ids) > 0 {
		lo, hi := p.ids[0], p.ids[0]
		for _, id := range p.ids {
			lo, hi = minUUID(lo, id), maxUUID(hi, id)
		}
		p.lo, p.hi = lo, next(hi)
	}
	p.where(q, "d.event_id")
	m.scope.where(q, "d.tenant_key")
	statusConditions(q, m.scope, dq.Statuses)
	if len(m.keys) > 0 {
		q.and("d.destination_key = any(?)", m.keys)
	}
	codesAre(q, dq.Codes, "d.last_code", "d.error_class")
	if dq.ErrorClass != "" {
		q.and("d.error_class = ?", dq.ErrorClass)
	}
	o := k.order()
	rows, err := m.s.pool.Query(ctx, "select d.event_id, d.destination_key from deliveries d"+q.sql()+" order by d.event_id "+o+
		", d.destination_key "+o+q.limit(most), q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (key DeliveryKey, err error) {
		return key, row.Scan(&key.EventKey, &key.Destination)
	})
}

// portions says how to look for deliveries that no index finds in their order; nil when one does. What filters held back has no rows
// among deliveries, and is found by an index of its own.
func (m *deliveryMatch) portions(k *keyset, from bool, after DeliveryKey) *portions {
	dq := m.dq
	others := len(dq.Topics) > 0 || len(dq.Codes) > 0 || dq.ErrorClass != "" || dq.HappenedSpan != HappenedSpan{}
	if len(m.events) > 0 || m.filteredToo() || len(dq.Statuses) == 0 && !others {
		return nil
	}
	w := &portions{s: m.s, scope: m.scope, k: k, rare: rareOf(dq.Statuses, m.keys, others)}
	w.lo, w.hi = idRange(dq.Since, dq.Until)
	if from {
		if k.descending() {
			w.hi = minUUID(w.hi, next(after.EventKey))
		} else {
			w.lo = maxUUID(w.lo, after.EventKey)
		}
	}
	return w
}

// byLastAttempt lists deliveries by their last attempt; those without one are none of them.
func (m *deliveryMatch) byLastAttempt(ctx context.Context, k *keyset) (*Page[*Delivery], error) {
	w := &attemptPortions{s: m.s, scope: m.scope, destinations: m.keys, k: k}
	w.lo, w.hi = m.s.attemptBounds(AttemptQuery{}, time.Now())
	var after attemptedPosition
	if k.decode(&after) {
		if k.descending() {
			w.hi = earlier(w.hi, after.At.Add(time.Microsecond))
		} else {
			w.lo = later(w.lo, after.At)
		}
	}
	var list []*Delivery
	read := func(ctx context.Context, lo, hi time.Time) (int, error) {
		attempts, err := m.attemptsIn(ctx, k, lo, hi)
		for part := range slices.Chunk(attempts, attemptedPart) {
			if err != nil || len(list) > k.limit {
				break
			}
			var more []*Delivery
			more, err = m.lastAttempted(ctx, k, part, k.limit+1-len(list))
			list = append(list, more...)
		}
		return len(list), err
	}
	if err := w.run(ctx, read); err != nil {
		return nil, err
	}
	here := attemptedPosition{At: w.here()}
	if !k.descending() {
		here.Destination = math.MinInt64
	}
	return stopped(newPage(k, SortLastAttempt, list, func(d *Delivery) any { return attemptedPosition{*d.LastAttemptAt, d.DeliveryKey} }),
		k,
		w.looked, here), nil
}

// attemptedPart is of how many attempts the deliveries are looked up at once.
const attemptedPart = 200

// attemptsIn finds the attempts that were started from lo until before hi, in the order of a page.
func (m *deliveryMatch) attemptsIn(ctx context.Context, k *keyset, lo, hi time.Time) ([]attemptedPosition, error) {
	q := newQuery()
	m.attempted(q, k)
	q.and("a.started_at >= ?", lo)
	q.and("a.started_at < ?", hi)
	o := k.order()
	rows, err := m.s.pool.Query(ctx, "select a.started_at, a.event_id, a.destination_key from attempts a"+q.sql()+" order by a.started_at "+o+
		", a.event_id "+o+", a.destination_key "+o, q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p attemptedPosition, err error) {
		return p, row.Scan(&p.At, &p.EventKey, &p.Destination)
	})
}

// lastAttempted reads those deliveries of which these attempts are the last, and that meet the conditions. They are found by their
// keys, whatever the planner believes of the tables.
func (m *deliveryMatch) lastAttempted(ctx context.Context, k *keyset, part []attemptedPosition, most int) ([]*Delivery, error) {
	at, events, destinations := make([]time.Time, len(part)), make([]uuid.UUID, len(part)), make([]int64, len(part))
	lo, hi := part[0].EventKey, part[0].EventKey
	for i, p := range part {
		at[i], events[i], destinations[i] = p.At, p.EventKey, p.Destination
		lo, hi = minUUID(lo, p.EventKey), maxUUID(hi, p.EventKey)
	}
	q := newQuery()
	join := q.bind(" join unnest(?::timestamptz[], ?::uuid[], ?::bigint[]) a (at, event, destination) on d.event_id = a.event and "+
		"d.destination_key = a.destination and d.last_attempt_at = a.at", at, events, destinations)
	stretch{lo: lo, hi: next(hi), ids: events}.where(q, "d.event_id")
	m.conditions(q)
	o := k.order()
	tail := " order by a.at " + o + ", a.event " + o + ", a.destination " + o + q.limit(most)
	return readByKeys(ctx, m.s, m.s.scanDelivery, deliverySelect+join+q.sql()+tail, q.args...)
}

// followIndexes keeps the planner of a transaction on the indexes, for statements that find rows by their keys or along an index. Over
// many partitions it takes reading all of them for cheaper, because it counts each partition that a key might be in; and a plan that
// it makes once for all values knows neither how many keys there are nor which partitions they are in. Tables are joined in the order
// in which the statement names them.
const followIndexes = `select set_config(name, 'off', true) from unnest(array['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin']) name
	union all select set_config('plan_cache_mode', 'force_custom_plan', true)
	union all select set_config('join_collapse_limit', '1', true)`

// readByKeys reads rows with a statement that finds them by their keys or along an index.
func readByKeys[T any](ctx context.Context, s *Store, scan pgx.RowToFunc[T], sql string, args ...any) (list []T, err error) {
	err = s.inSnapshot(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, followIndexes); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, scan)
		return err
	})
	return list, err
}

func (m *deliveryMatch) read(ctx context.Context, q *query, tail string) ([]*Delivery, error) {
	return readByKeys(ctx, m.s, m.s.scanDelivery, deliverySelect+q.sql()+tail, q.args...)
}

// attempted are the conditions on attempts a of a list that walks these.
func (m *deliveryMatch) attempted(q *query, k *keyset) {
	var after attemptedPosition
	if k.decode(&after) {
		q.and("(a.started_at, a.event_id, a.destination_key) "+k.op()+" (?, ?, ?)", after.At, after.EventKey, after.Destination)
	}
	lo, hi := idRange(m.dq.Since, m.dq.Until)
	q.and("a.event_id >= ?", lo)
	q.and("a.event_id < ?", hi)
	m.scope.where(q, "a.tenant_key")
	if len(m.dq.Statuses) > 0 && !slices.ContainsFunc(m.dq.Statuses, func(st string) bool {
		return st != StatusFailed &&
			st != StatusRetrying
	}) {
		q.and("not a.ok") // for the index of failures
	}
	if len(m.keys) > 0 {
		q.and("a.destination_key = any(?)", m.keys)
	}
}

// conditions are those on deliveries d of events e. Bounds are said of both: PostgreSQL does not conclude those of one from the other's,
// and where it walks both in their order it would begin with the oldest event that there is.
func (m *deliveryMatch) conditions(q *query) {
	dq := m.dq
	lo, hi := idRange(dq.Since, dq.Until)
	if len(dq.EventIDs) > 0 {
		q.and("d.event_id = any(?)", m.events)
	}
	for _, id := range []string{"d.event_id", "e.id"} {
		q.and(id+" >= ?", lo)
		q.and(id+" < ?", hi)
	}
	m.scope.where(q, "d.tenant_key")
	m.scope.where(q, "e.tenant_key")
	statusConditions(q, m.scope, dq.Statuses)
	if len(m.keys) > 0 {
		q.and("d.destination_key = any(?)", m.keys)
	}
	if len(dq.Topics) > 0 {
		q.and("e.topic = any(?)", dq.Topics)
	}
	dq.happened(q)
	codesAre(q, dq.Codes, "d.last_code", "d.error_class")
	if dq.ErrorClass != "" {
		q.and("d.error_class = ?", dq.ErrorClass)
	}
}

// onlyFiltered reports whether nothing else than what filters held back is selected.
func (m *deliveryMatch) onlyFiltered() bool {
	return m.filteredToo() && !slices.ContainsFunc(m.dq.Statuses, func(st string) bool { return st != StatusFilteredOut })
}

// filteredToo reports whether what filters held back is among what is selected.
func (m *deliveryMatch) filteredToo() bool {
	return slices.Contains(m.dq.Statuses, StatusFilteredOut) && len(m.dq.Codes) == 0 && m.dq.ErrorClass == ""
}

// sorted lists deliveries in an order that no index gives.
func (m *deliveryMatch) sorted(ctx context.Context, k *keyset, order sorting) (*Page[*Delivery], error) {
	order.by, order.window = m.dq.Sort, m.s.SortWindow
	keys, err := m.s.sortedPage(ctx, k, order, func(q *query, op string, from *DeliveryKey, tail string) string {
		sub := &query{args: q.args}
		m.conditions(sub)
		if from != nil {
			sub.and("(d.event_id, d.destination_key) "+op+" (?, ?)", from.EventKey, from.Destination)
		}
		sql := "select d.event_id, d.destination_key, d.status::text status, d.attempts, e.topic, e.time from deliveries d join events e on e.id = d.event_id" + sub.sql() + tail
		if q.args = sub.args; !m.filteredToo() {
			return sql
		}
		held := &query{args: q.args}
		m.filtered(held, op, from)
		sql = "select event_id, destination_key, status, attempts, topic, time from ((" + sql +
			") union all (select e.id, f.destination_key, 'filtered_out', 0, e.topic, e.time" + filteredFrom + held.sql() +
			strings.NewReplacer("event_id", "1", "destination_key", "2").Replace(tail) + ")) u" + tail
		q.args = held.args
		return sql
	})
	if err != nil {
		return nil, err
	}
	list, err := m.s.deliveriesOf(ctx, m.scope, keys.Items)
	return pageOf(keys, list), err
}

// deliveriesOf reads deliveries by their keys, in that order. What is not there any more is left out.
func (s *Store) deliveriesOf(ctx context.Context, scope Scope, keys []DeliveryKey) ([]*Delivery, error) {
	events, destinations := make([]uuid.UUID, len(keys)), make([]int64, len(keys))
	place := map[DeliveryKey]int{}
	for i, k := range keys {
		events[i], destinations[i], place[k] = k.EventKey, k.Destination, i
	}
	list, err := readByKeys(ctx, s, s.scanDelivery, deliverySelect+
		" join unnest($1::uuid[], $2::bigint[]) u (e, k) on d.event_id = u.e and d.destination_key = u.k where d.event_id = any($1)",
		events, destinations)
	if err != nil {
		return nil, err
	}
	if len(list) < len(keys) { // filters held some back, which have no row
		q := newQuery()
		q.and("(e.id, f.destination_key) in (select u.e, u.k from unnest(?::uuid[], ?::bigint[]) u (e, k))", events, destinations)
		q.and("e.id = any(?)", events)
		scope.where(q, "e.tenant_key")
		filtered, err := s.readFiltered(ctx, q, "")
		if err != nil {
			return nil, err
		}
		list = append(list, filtered...)
	}
	slices.SortFunc(list, func(a, b *Delivery) int { return place[a.DeliveryKey] - place[b.DeliveryKey] })
	return list, nil
}
