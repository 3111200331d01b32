package models

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// EventHistogram counts the events of a list over time, by the worst state of their deliveries.
type EventHistogram struct {
	Since, Until time.Time
	Buckets      []EventBucket // HistogramBuckets of the same length, in order
	Events       int           // in all buckets
	Complete     bool          // each event was counted; otherwise the numbers are estimates, but for Exact
	Share        float64       // of the time that was looked at for what is estimated, evenly over each bucket; 1 for all
	Exact        []string      // states that were counted one by one all the same, because they are rare
}

// EventBucket is a part of a histogram.
type EventBucket struct {
	Start  time.Time
	States Counts // events by their worst delivery, in the order of sortedStatuses; StatusNone for those without any
}

// StatusNone stands for an event that goes to no destination.
const StatusNone = "none"

// HistogramBuckets is how many buckets a histogram has.
const HistogramBuckets = 60

const (
	histogramEvents  = 6_000  // that are looked at; with more, a sample of about so many is
	histogramRare    = 10_000 // deliveries in each rare state that are counted one by one
	histogramChosen  = 5_000  // and with conditions, of which each must be checked
	histogramSlices  = 2      // of a bucket that a sample takes
	histogramTimeout = 2 * time.Second
)

// rareWorst are the states that are counted one by one, which are the worst. An event with such a delivery is in one of them.
var rareWorst = sortedStatuses[:3]

// EventHistogram counts the events that a list shows, of the last 24 hours when it does not say since when. A search among payloads
// cannot be counted.
func (s *Store) EventHistogram(ctx context.Context, scope Scope, eq EventQuery, now time.Time) (*EventHistogram, error) {
	if err := checkShown(eq.Statuses, eq.Codes); err != nil {
		return nil, err
	}
	if eq.Text = strings.TrimSpace(eq.Text); eq.Text != "" {
		named, err := s.namedEvent(ctx, scope, eq.Text)
		if err != nil {
			return nil, err
		}
		if named == nil {
			return nil, Invalid("q", "can only be an event's id here, for payloads are not looked into: leave it out")
		}
		eq.IDs = append(eq.IDs, named.ID)
	}
	keys, err := s.destinationKeys(ctx, scope, eq.Destinations)
	if err != nil {
		return nil, err
	}
	eq.ReceivedSpan = eq.ends()
	h := &histogramRun{s: s, scope: scope, eq: eq, keys: keys, out: &EventHistogram{Since: eq.Since, Until: eq.Until, Complete: true,
		Share: 1}}
	if h.out.Until.IsZero() {
		h.out.Until = ceil(now.UTC())
	}
	if h.out.Since.IsZero() {
		h.out.Since = h.out.Until.Add(-24 * time.Hour)
	}
	if !h.out.Since.Before(h.out.Until) {
		return nil, Invalid("until", "must be after since")
	}
	h.divide()
	err = s.within(ctx, histogramTimeout, func(tx pgx.Tx) error { return h.count(ctx, tx) })
	if isCanceled(err) {
		return nil, &Error{Kind: KindUnavailable, RetryAfter: time.Minute, Err: err,
			Message: "There is more to count than this server does in 2 seconds. Ask for a shorter span, or with fewer conditions."}
	}
	return h.out, err
}

// histogramRun is a histogram that is being made.
type histogramRun struct {
	s      *Store
	scope  Scope
	eq     EventQuery
	keys   []int64
	bounds []uuid.UUID // starts of the buckets
	out    *EventHistogram
}

func (h *histogramRun) divide() {
	length := h.out.Until.Sub(h.out.Since) / HistogramBuckets
	for i := range HistogramBuckets {
		at := h.out.Since.Add(time.Duration(i) * length)
		h.out.Buckets = append(h.out.Buckets, EventBucket{Start: at.UTC(), States: Counts{}})
		h.bounds = append(h.bounds, lowestUUID(at))
	}
}

// chooses reports whether there are conditions besides the time.
func (h *histogramRun) chooses() bool { return len(h.eq.IDs) > 0 || h.eq.chooses(h.keys) }

func (h *histogramRun) count(ctx context.Context, tx pgx.Tx) error {
	rare, err := h.rare(ctx, tx)
	if err != nil {
		return err
	}
	if rare {
		h.out.Exact = rareWorst
		if only := rareOf(h.eq.Statuses, nil, true); only != nil && !slices.Contains(h.eq.Statuses, StatusCancelled) {
			return nil
		}
	}
	return h.scan(ctx, tx, rare)
}

// rare counts the events whose worst delivery is in a rare state, by an index of these. It reports false when there are too many.
func (h *histogramRun) rare(ctx context.Context, tx pgx.Tx) (bool, error) {
	counted, ranks := rareWorst, h.onlyRare()
	most := histogramRare
	if ranks != nil {
		counted = rareWorst[:slices.Max(ranks)+1] // what is worse than all that are asked for can be the worst of an event
	} else if h.chooses() {
		most = histogramChosen
	}
	lo, hi := idRange(h.out.Since, h.out.Until)
	q := newQuery()
	lists := ""
	for i, st := range counted {
		sub := &query{args: q.args}
		h.scope.where(sub, "tenant_key")
		sub.and("attention = ?::delivery_status", st)
		sub.and("event_id >= ?", lo)
		sub.and("event_id < ?", hi)
		if i > 0 {
			lists += " union all "
		}
		lists += "(select event_id, " + statusRank("attention") + " rank from deliveries" + sub.sql() + " order by event_id desc" +
			sub.limit(most) + ")"
		q.args = sub.args
	}
	// Where a list was cut off, nothing more is read.
	of := &query{args: q.args}
	of.and("(select coalesce(max(n), 0) from c) < ?", most)
	from, having := "f", ""
	switch {
	case ranks != nil:
		having = of.bind(" having bool_or(rank = any(?::int[]))", ranks)
	case h.chooses():
		of.and("e.id >= ?", lo)
		of.and("e.id < ?", hi)
		h.eq.conditions(of, h.scope, h.keys)
		from = "f join events e on e.id = f.event_id"
	}
	from += of.sql()
	q.args = of.args
	sql := "with l as materialized (" + lists + "), c as materialized (select rank, count(*)::int n from l group by 1), " +
		"f as (select event_id, min(rank) worst from l group by 1" + having + ") select 0, rank, n from c union all select " +
		q.bind("width_bucket(f.event_id, ?::uuid[])", h.bounds) + ", f.worst, count(*)::int from " + from + " group by 1, 2"
	type cell struct{ bucket, worst, n int }
	rows, err := tx.Query(ctx, sql, q.args...)
	if err != nil {
		return false, err
	}
	cells, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c cell, err error) {
		return c, row.Scan(&c.bucket, &c.worst, &c.n)
	})
	if err != nil || slices.ContainsFunc(cells, func(c cell) bool { return c.bucket == 0 && c.n == most }) {
		return false, err
	}
	for _, c := range cells {
		if c.bucket > 0 {
			h.add(c.bucket, c.worst, c.n)
		}
	}
	return true, nil
}

// onlyRare are the ranks of the states that are asked for, where these are rare ones and nothing else is: then their index alone tells
// which events are meant. It is nil otherwise.
func (h *histogramRun) onlyRare() []int32 {
	others := h.eq
	others.Statuses = nil
	if len(h.eq.Statuses) == 0 || len(others.IDs) > 0 || others.chooses(h.keys) {
		return nil
	}
	var out []int32
	for _, st := range h.eq.Statuses {
		rank := slices.Index(rareWorst, st)
		if rank < 0 {
			return nil
		}
		out = append(out, int32(rank))
	}
	return out
}

func (h *histogramRun) add(bucket, worst, n int) {
	state := StatusNone
	if worst < len(sortedStatuses) {
		state = sortedStatuses[worst]
	}
	h.out.Buckets[min(bucket, HistogramBuckets)-1].States[state] += n
	h.out.Events += n
}

// scan looks at the events themselves, or at those of a part of each bucket's time when there are many. What was counted by rare is
// left out.
func (h *histogramRun) scan(ctx context.Context, tx pgx.Tx, counted bool) error {
	if err := h.choose(ctx, tx); err != nil {
		return err
	}
	slicesOf := histogramSlices
	if h.out.Complete {
		slicesOf = 1
	}
	part := h.out.Until.Sub(h.out.Since) / HistogramBuckets / time.Duration(slicesOf)
	var lo, hi []uuid.UUID
	var number []int32
	for i := range HistogramBuckets * slicesOf {
		at := h.out.Since.Add(time.Duration(i) * part)
		end := at.Add(time.Duration(float64(part) * h.out.Share))
		if h.out.Complete && i+1 < HistogramBuckets {
			end = h.out.Buckets[i+1].Start
		} else if h.out.Complete {
			end = h.out.Until
		}
		lo, hi, number = append(lo, lowestUUID(at)), append(hi, lowestUUID(end)), append(number, int32(i/slicesOf+1))
	}
	q := newQuery()
	from := q.bind("unnest(?::uuid[], ?::uuid[], ?::int[]) s (lo, hi, bucket)", lo, hi, number)
	of := &query{args: q.args}
	of.conds = append(of.conds, "e.id >= s.lo", "e.id < s.hi")
	h.scope.where(of, "e.tenant_key")
	h.eq.conditions(of, h.scope, h.keys)
	sql := "select s.bucket, x.worst, count(*)::int from " + from + " cross join lateral (select coalesce((select min(" + statusRank("d.status") +
		") from deliveries d where d.event_id = e.id), case when e.filtered_by is not null then 7 else 100 end) worst from events e" + of.sql() +
		" offset 0) x group by 1, 2" // a fence: each slice is looked up by the index of events
	rows, err := tx.Query(ctx, sql, of.args...)
	if err != nil {
		return err
	}
	var bucket, worst, n int
	_, err = pgx.ForEachRow(rows, []any{&bucket, &worst, &n}, func() error {
		if !counted || worst >= len(rareWorst) {
			h.add(bucket, worst, int(math.Round(float64(n)/h.out.Share)))
		}
		return nil
	})
	return err
}

// choose finds out whether there are so few events that all can be looked at, or else which share of the time can.
func (h *histogramRun) choose(ctx context.Context, tx pgx.Tx) error {
	lo, hi := idRange(h.out.Since, h.out.Until)
	q := newQuery()
	h.scope.where(q, "tenant_key")
	q.and("id >= ?", lo)
	q.and("id < ?", hi)
	var n int64
	if err := tx.QueryRow(ctx, "select count(*) from (select from events"+q.sql()+q.limit(histogramEvents+1)+") x", q.args...).
		Scan(&n); err != nil || n <= histogramEvents {
		return err
	}
	// How many there are about, by what was counted when they were received.
	keys := h.scope.keys()
	if h.scope.all {
		keys = []int64{0}
	}
	var received int64
	if err := tx.QueryRow(ctx, "select coalesce(sum(received), 0)::bigint from traffic where tenant_key = any($1) and grain = $2 and start > $3 and start < $4",
		keys, int32(grainHalfHour/time.Second), h.out.Since.Add(-grainHalfHour), h.out.Until).Scan(&received); err != nil {
		return err
	}
	// The spans at both ends may reach beyond.
	span := h.out.Until.Sub(h.out.Since)
	received = int64(float64(received) * float64(span) / float64(span+grainHalfHour))
	h.out.Complete, h.out.Share = false, math.Min(1, histogramEvents/float64(max(received, n)))
	return nil
}
