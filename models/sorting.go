package models

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// What lists of events and deliveries can be sorted by.
const (
	SortReceived    = "received_at"     // when the event was accepted
	SortCreated     = "created_at"      // the same, as deliveries call it
	SortTime        = "time"            // when the event happened
	SortTopic       = "topic"           // by the alphabet
	SortStatus      = "status"          // in the order of sortedStatuses; of an event, its worst delivery
	SortDestination = "destination"     // by name, or id without one; of an event, the first of its destinations
	SortAttempts    = "attempts"        // how many were made; of an event, for all its deliveries
	SortLastAttempt = "last_attempt_at" // of deliveries, only those that were attempted
)

// EventSorts lists what lists of events can be sorted by.
var EventSorts = []string{SortReceived, SortTime, SortTopic, SortStatus, SortDestination, SortAttempts, SortLastAttempt}

// DeliverySorts lists what lists of deliveries can be sorted by.
var DeliverySorts = []string{SortCreated, SortReceived, SortTime, SortTopic, SortStatus, SortDestination, SortAttempts, SortLastAttempt}

// sortedStatuses are the states of deliveries in ascending order: what needs somebody comes first.
var sortedStatuses = []string{StatusFailed, StatusRetrying, StatusHeld, StatusPending, StatusDelivering, StatusDelivered, StatusCancelled,
	StatusFilteredOut}

// statusRank is a status as a number in that order.
func statusRank(column string) string {
	var b strings.Builder
	b.WriteString("case " + column)
	for i, st := range sortedStatuses {
		b.WriteString(" when '" + st + "' then " + strconv.Itoa(i))
	}
	return b.String() + " end"
}

// DefaultSortWindow is how many rows are sorted together where no index gives the order.
const DefaultSortWindow = 10_000

// Sorted says how far the order of a list reaches that no index gives. Such a list is sorted within portions of the rows that
// match, as they were received; the portions follow each other.
type Sorted struct {
	Within   int  // rows that a portion has at most
	Complete bool // all that match are in one portion: the order is that of the whole list
}

// receivedIn is the time in an event's id.
const receivedIn = "timestamptz 'epoch' + ('x' || left(replace(%s::text, '-', ''), 12))::bit(48)::bigint * interval '1 millisecond'"

// sorting is an order that no index gives.
type sorting struct {
	by     string
	typ    string // of the values, in SQL
	value  string // of a row a of the window
	window int
}

// chronological orders go through the portions in their own direction; the others always begin at the newest.
func (o sorting) oldestFirst(k *keyset) bool {
	return k.asc && (o.by == SortTime || o.by == SortLastAttempt)
}

// sortPosition is a place in a sorted list. The portion that it is in begins at Start; the row is found by what it is sorted by.
// At an edge, the portion is the one that begins at Start, or going back the one that ends before it.
type sortPosition struct {
	Portion int
	Start   DeliveryKey
	Edge    bool   `json:",omitempty"`
	Value   string `json:",omitempty"`
	Key     DeliveryKey
}

// sortedRow is the key of a row, with what it is sorted by.
type sortedRow struct {
	DeliveryKey
	value string
}

// portion is a part of a list that is sorted by itself.
type sortedPortion struct {
	rows        []sortedRow  // of the page, and one more if there is one
	first, last *DeliveryKey // of the portion as it was read; nil when it is empty
	further     *DeliveryKey // where the next portion begins; nil at the end
}

// sortedPage finds the keys of a page's rows. match writes the SQL of the rows that match, as they were received: event_id,
// destination_key and what the sorting's value is made of, from a place on and in the order that tail says. Portions are found
// by an index, so that a page takes bounded time; who pages on sees the same ones, because a cursor says where its own begins.
func (s *Store) sortedPage(ctx context.Context, k *keyset, o sorting, match func(q *query, op string, from *DeliveryKey,
	tail string) string) (*Page[DeliveryKey], error) {
	at := sortPosition{}
	has := k.decode(&at)
	op, dir := "<=", "desc"
	if o.oldestFirst(k) {
		op, dir = ">=", "asc"
	}
	if has && k.back && at.Edge { // the portion before is read from its end
		op, dir = map[string]string{"<=": ">", ">=": "<"}[op], map[string]string{"desc": "asc", "asc": "desc"}[dir]
	}
	var from *DeliveryKey
	if has {
		from = &at.Start
	}
	q := newQuery()
	keys := " order by event_id " + dir + ", destination_key " + dir
	sql := "with s as materialized (select row_number() over (" + keys + ") n, r.* from (" + match(q, op, from,
		keys+q.limit(o.window+1)) + ") r), " +
		"w as (select a.event_id, a.destination_key, (" + o.value + ")::" + o.typ + " v from s a where a.n <= " + q.bind("?",
		o.window) + ")"
	cond := ""
	if has && !at.Edge {
		cond = q.bind(" where (v, event_id, destination_key) "+k.op()+" (?::text::"+o.typ+", ?, ?)", at.Value, at.Key.EventKey,
			at.Key.Destination)
	}
	values := func(table string) string {
		d := k.order()
		return " order by " + table + ".v " + d + ", " + table + ".event_id " + d + ", " + table + ".destination_key " + d
	}
	sql += " select f.event_id, f.destination_key, l.event_id, l.destination_key, m.event_id, m.destination_key, x.event_id, x.destination_key, x.v::text from (select 1) one" +
		" left join s f on f.n = 1 left join s l on l.n = least((select count(*) from s), " + q.bind("?",
		o.window) + ") left join s m on m.n = " + q.bind("?", o.window+1) +
		" left join lateral (select * from w" + cond + values("w") + q.limit(k.limit+1) + ") x on true" + values("x")
	rows, err := s.pool.Query(ctx, sql, q.args...)
	if err != nil {
		return nil, k.misplaced(err)
	}
	var p sortedPortion
	ids, destinations := [4]*uuid.UUID{}, [4]*int64{}
	var value *string
	if _, err := pgx.ForEachRow(rows, []any{&ids[0], &destinations[0], &ids[1], &destinations[1], &ids[2], &destinations[2], &ids[3],
		&destinations[3], &value}, func() error {
		key := func(i int) *DeliveryKey {
			if ids[i] == nil {
				return nil
			}
			return &DeliveryKey{*ids[i], *destinations[i]}
		}
		p.first, p.last, p.further = key(0), key(1), key(2)
		if row := key(3); row != nil {
			p.rows = append(p.rows, sortedRow{*row, *value})
		}
		return nil
	}); err != nil {
		return nil, k.misplaced(err)
	}
	return o.page(k, at, has, p), nil
}

// page makes a page of what was read of a portion, with the ways to its neighbours in this portion and the next ones.
func (o sorting) page(k *keyset, at sortPosition, has bool, read sortedPortion) *Page[DeliveryKey] {
	p := &Page[DeliveryKey]{OrderBy: o.by, Dir: "desc", Limit: k.limit, Items: []DeliveryKey{}}
	if k.asc {
		p.Dir = "asc"
	}
	start := at.Start
	switch backed := k.back && at.Edge; {
	case read.first == nil && !has:
		p.Sorted = &Sorted{o.window, true}
		return p
	case read.first != nil && backed:
		start = *read.last
	case read.first != nil && !has:
		start = *read.first
	}
	more := len(read.rows) > k.limit
	rows := read.rows[:min(len(read.rows), k.limit)]
	if k.back {
		slices.Reverse(rows)
	}
	for _, r := range rows {
		p.Items = append(p.Items, r.DeliveryKey)
	}
	beside := func(i int) string {
		if len(rows) == 0 {
			return k.cursor(at)
		}
		return k.cursor(sortPosition{Portion: at.Portion, Start: start, Value: rows[i].value, Key: rows[i].DeliveryKey})
	}
	edge := func(portion int, start DeliveryKey) string {
		return k.cursor(sortPosition{Portion: portion, Start: start, Edge: true})
	}
	end := len(rows) - 1
	switch {
	case k.back && at.Edge:
		p.Next = edge(at.Portion+1, at.Start)
	case k.back || more:
		p.Next = beside(end)
	case read.further != nil:
		p.Next = edge(at.Portion+1, *read.further)
	}
	switch {
	case k.back && more, !k.back && has && !at.Edge:
		p.Prev = beside(0)
	case at.Portion > 0:
		p.Prev = edge(at.Portion-1, start)
	}
	p.Sorted = &Sorted{o.window, at.Portion == 0 && read.further == nil && !(k.back && at.Edge)}
	return p
}
