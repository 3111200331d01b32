package models

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// EventQuery selects events.
type EventQuery struct {
	IDs  []string `query:"id" label:"Event" doc:"Only these events."`
	Text string   `query:"q" label:"Search" doc:"An id, a filter in JSON or search notation, or a text in the payload."`
	ReceivedSpan
	HappenedSpan
	Statuses     []string `query:"status" label:"Status" words:"delivery status" api:"schema=DeliveryStatus" doc:"Only with a delivery in one of these states."`
	Destinations []string `query:"destination_id" label:"Destination" words:"destination" doc:"Only of these destinations."` // or considered for them
	Topics       []string `query:"topic" label:"Topic" doc:"Only of these topics."`
	Codes        []Code   `query:"code" label:"Response code" doc:"Only where the last attempt is shown with one of these codes."`
	ErrorClass   string   `query:"error_class" label:"Error" words:"error class" api:"schema=ErrorClass" doc:"Only where the last attempt failed so."`
	Sort         string   `query:"order_by" doc:"'received_at' when missing. Other orders are made within portions, see 'sorted' in the answer; not with 'q'. 'status' begins with what needs somebody, when ascending."` // of EventSorts
	Page         PageQuery
}

// eventSortings are the orders of events that no index gives. Their values are made of the rows a of eventMatches.
var eventSortings = map[string]sorting{
	SortTime:  {typ: "timestamptz", value: "coalesce(a.time, " + fmt.Sprintf(receivedIn, "a.event_id") + ")"},
	SortTopic: {typ: "text collate \"C\"", value: "a.topic"},
	SortStatus: {typ: "int", value: "coalesce((select min(" + statusRank("x.status") +
		") from deliveries x where x.event_id = a.event_id), case when a.filtered then 100 else 101 end)"},
	SortDestination: {typ: "text collate \"C\"",
		value: "coalesce((select min(lower(coalesce(nullif(n.name, ''), n.id))) from deliveries x join destinations n on n.key = x.destination_key" +
			" where x.event_id = a.event_id and x.status <> 'filtered_out'), '')"},
	SortAttempts: {typ: "bigint", value: "coalesce((select sum(x.attempts) from deliveries x where x.event_id = a.event_id), 0)"},
	SortLastAttempt: {typ: "timestamptz",
		value: "coalesce((select max(x.last_attempt_at) from deliveries x where x.event_id = a.event_id), '-infinity')"},
}

// Events lists events: by the time they were received, for which there is an index, or in another order within portions.
func (s *Store) Events(ctx context.Context, scope Scope, eq EventQuery) (*Page[*Event], error) {
	if eq.Sort == "" {
		eq.Sort = SortReceived
	}
	if err := oneOf("order_by", []string{eq.Sort}, EventSorts); err != nil {
		return nil, err
	}
	eq.ReceivedSpan = eq.ends()
	k, err := eq.Page.keyset(scope.keys(), eq)
	if err != nil {
		return nil, err
	}
	if err := checkShown(eq.Statuses, eq.Codes); err != nil {
		return nil, err
	}
	keys, err := s.destinationKeys(ctx, scope, eq.Destinations)
	if err != nil {
		return nil, err
	}
	lo, hi := idRange(eq.Since, eq.Until)
	if eq.Text = strings.TrimSpace(eq.Text); eq.Text != "" {
		named, err := s.namedEvent(ctx, scope, eq.Text)
		if err != nil {
			return nil, err
		}
		if named == nil {
			what, err := parseSearch(eq.Text)
			if err != nil {
				return nil, err
			}
			if eq.Sort != SortReceived {
				return nil, Invalid("order_by",
					"must be "+SortReceived+" where q searches payloads, which are read in that order: leave one of the two out")
			}
			return s.searchEvents(ctx, scope, what, k, lo, hi, func(q *query) { eq.conditions(q, scope, keys) })
		}
		lo, hi = maxUUID(lo, named.Key), minUUID(hi, next(named.Key))
	}
	conditions := func(q *query) {
		q.and("e.id >= ?", lo)
		q.and("e.id < ?", hi)
		scope.where(q, "e.tenant_key")
		eq.conditions(q, scope, keys)
	}
	if order, ok := eventSortings[eq.Sort]; ok {
		return s.sortedEvents(ctx, k, order, eq.Sort, conditions)
	}
	var after uuid.UUID
	if k.decode(&after) {
		if k.descending() {
			hi = minUUID(hi, after)
		} else {
			lo = maxUUID(lo, next(after))
		}
	}
	return s.eventPage(ctx, scope, eq, k, keys, lo, hi)
}

// eventPage lists the events from lo until before hi. Where no index finds them it looks through portions.
func (s *Store) eventPage(ctx context.Context, scope Scope, eq EventQuery, k *keyset, keys []int64, lo, hi uuid.UUID) (*Page[*Event],
	error) {
	var list []*Event
	read := func(ctx context.Context, p stretch) (int, error) {
		q := newQuery()
		p.where(q, "e.id")
		scope.where(q, "e.tenant_key")
		eq.conditions(q, scope, keys)
		more, err := s.readEventRows(ctx, q, " order by e.id "+k.order()+q.limit(k.limit+1-len(list)))
		list = append(list, more...)
		return len(list), err
	}
	w := &portions{s: s, scope: scope, k: k, lo: lo, hi: hi,
		rare: rareOf(eq.Statuses, keys, len(eq.Topics) > 0 || len(eq.Codes) > 0 || eq.ErrorClass != "" || eq.HappenedSpan != HappenedSpan{} ||
			len(eq.IDs) > 0)}
	var err error
	if eq.chooses(keys) {
		err = w.run(ctx, read)
	} else {
		_, err = read(ctx, stretch{lo: lo, hi: hi})
	}
	if err == nil {
		err = s.addDeliveries(ctx, list)
	}
	if err != nil {
		return nil, err
	}
	return stopped(newPage(k, SortReceived, list, func(e *Event) any { return e.Key }), k, w.looked, w.last), nil
}

// chooses reports whether there are conditions that no index of events serves.
func (eq EventQuery) chooses(keys []int64) bool {
	return len(eq.IDs) == 0 && (len(keys) > 0 || len(eq.Statuses) > 0 || len(eq.Topics) > 0 || len(eq.Codes) > 0 || eq.ErrorClass != "" ||
		eq.HappenedSpan != HappenedSpan{})
}

// listEvents reads events with what lists show of their deliveries.
func (s *Store) listEvents(ctx context.Context, q *query, tail string) ([]*Event, error) {
	list, err := s.readEventRows(ctx, q, tail)
	if err != nil {
		return nil, err
	}
	return list, s.addDeliveries(ctx, list)
}

func (s *Store) readEventRows(ctx context.Context, q *query, tail string) ([]*Event, error) {
	rows, err := s.pool.Query(ctx, eventSelect+q.sql()+tail, q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, s.eventScanner(ctx))
}

// sortedEvents lists events in an order that no index gives.
func (s *Store) sortedEvents(ctx context.Context, k *keyset, order sorting, by string, conditions func(*query)) (*Page[*Event], error) {
	order.by, order.window = by, s.SortWindow
	keys, err := s.sortedPage(ctx, k, order, func(q *query, op string, from *DeliveryKey, tail string) string {
		conditions(q)
		if from != nil {
			q.and("e.id "+op+" ?", from.EventKey)
		}
		return "select e.id event_id, 0::bigint destination_key, e.time, e.topic, e.filtered_by is not null filtered from events e" +
			q.sql() + tail
	})
	if err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(keys.Items))
	place := map[uuid.UUID]int{}
	for i, key := range keys.Items {
		ids[i], place[key.EventKey] = key.EventKey, i
	}
	q := newQuery()
	q.and("e.id = any(?)", ids)
	list, err := s.listEvents(ctx, q, "")
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b *Event) int { return place[a.Key] - place[b.Key] })
	return pageOf(keys, list), nil
}

func (eq EventQuery) conditions(q *query, scope Scope, keys []int64) {
	if len(eq.IDs) > 0 {
		q.and("(e.caller_id = any(?) or e.id = any(?))", eq.IDs, parseEventIDs(eq.IDs))
	}
	if len(eq.Topics) > 0 {
		q.and("e.topic = any(?)", eq.Topics)
	}
	eq.happened(q)
	if len(keys) == 0 && len(eq.Statuses) == 0 && len(eq.Codes) == 0 && eq.ErrorClass == "" {
		return
	}
	sub := newQuery()
	sub.args = q.args
	sub.and("d.event_id = e.id")
	if len(keys) > 0 {
		sub.and("d.destination_key = any(?)", keys)
	}
	statusConditions(sub, scope, eq.Statuses)
	codesAre(sub, eq.Codes, "d.last_code", "d.error_class")
	if eq.ErrorClass != "" {
		sub.and("d.error_class = ?", eq.ErrorClass)
	}
	// A fence: the planner would make a join of it and begin with the deliveries, of which there may be very many.
	exists := "exists (select 1 from deliveries d" + sub.sql() + " offset 0)"
	q.args = sub.args
	q.conds = append(q.conds, eq.orFiltered(q, exists, keys))
}

// orFiltered also takes the events that a filter held back, which have no row in deliveries.
func (eq EventQuery) orFiltered(q *query, exists string, keys []int64) string {
	only := len(eq.Statuses) == 0 && len(eq.Codes) == 0 && eq.ErrorClass == ""
	for _, st := range eq.Statuses {
		only = only || st == StatusFilteredOut
	}
	if !only {
		return exists
	}
	if len(keys) == 0 {
		return "(" + exists + " or e.filtered_by is not null)"
	}
	return q.bind("("+exists+" or exists (select 1 from destination_filters f where f.key = any(e.filtered_by) and f.destination_key = any(?)))", keys)
}
