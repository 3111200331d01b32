package models

import (
	"context"
	"fmt"
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
	q := newQuery()
	var after DeliveryKey
	if k.decode(&after) {
		q.and("(d.event_id, d.destination_key) "+k.op()+" (?, ?)", after.EventKey, after.Destination)
	}
	m.conditions(q)
	list, err := m.read(ctx, "", q, " order by d.event_id "+k.order()+", d.destination_key "+k.order()+q.limit(k.limit+1))
	if err == nil && m.filteredToo() {
		list, err = m.withFiltered(ctx, k, list)
	}
	if err != nil {
		return nil, err
	}
	return newPage(k, m.dq.Sort, list, func(d *Delivery) any { return d.DeliveryKey }), nil
}

// byLastAttempt lists deliveries by their last attempt; those without one are none of them.
func (m *deliveryMatch) byLastAttempt(ctx context.Context, k *keyset) (*Page[*Delivery], error) {
	q := newQuery()
	m.attempted(q, k)
	m.conditions(q)
	list, err := m.read(ctx,
		" join attempts a on a.event_id = d.event_id and a.destination_key = d.destination_key and a.started_at = d.last_attempt_at", q,
		" order by a.started_at "+k.order()+", a.event_id "+k.order()+", a.destination_key "+k.order()+q.limit(k.limit+1))
	if err != nil {
		return nil, err
	}
	return newPage(k, SortLastAttempt, list, func(d *Delivery) any { return attemptedPosition{*d.LastAttemptAt, d.DeliveryKey} }), nil
}

func (m *deliveryMatch) read(ctx context.Context, join string, q *query, tail string) ([]*Delivery, error) {
	rows, err := m.s.pool.Query(ctx, deliverySelect+join+q.sql()+tail, q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, m.s.scanDelivery)
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

// conditions are those on deliveries d of events e.
func (m *deliveryMatch) conditions(q *query) {
	dq := m.dq
	lo, hi := idRange(dq.Since, dq.Until)
	if len(dq.EventIDs) > 0 {
		q.and("d.event_id = any(?)", m.events)
	}
	q.and("d.event_id >= ?", lo)
	q.and("d.event_id < ?", hi)
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
	rows, err := s.pool.Query(ctx,
		deliverySelect+" join unnest($1::uuid[], $2::bigint[]) u (e, k) on d.event_id = u.e and d.destination_key = u.k", events,
		destinations)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, s.scanDelivery)
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
