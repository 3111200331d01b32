package models

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// How far a look at what is new goes back. A look costs what it reads, whoever watches and however much there is.
const (
	tailEvery  = time.Second      // between two looks
	tailLate   = 5 * time.Second  // usually between an event's id and its commit, at most; what is later comes with a wide look
	tailLatest = 2 * time.Minute  // ever: a group of events has 10 s to be committed, and few groups wait (publish.go)
	wideEvery  = 15 * time.Second // between two wide looks

	usualEvents, usualDeliveries = 20_000, 10_000   // the newest rows that a look reads
	wideEvents, wideDeliveries   = 200_000, 100_000 // and a wide one
)

// rowVersion is a row as one transaction left it: of a delivery, or of an event where there is no destination.
type rowVersion struct {
	event       uuid.UUID
	destination int64
	xmin        int64
}

// changedRow is a row that is new, or was changed.
type changedRow struct {
	rowVersion
	tenant int64
}

// tailSpan is what a look reads.
type tailSpan struct {
	since              moment
	late               time.Duration // events whose id is older by this than the moment's time are not looked for
	events, deliveries int           // rows
	tracked            []uuid.UUID   // events whose deliveries are looked at beside the newest ones
	scope              Scope
}

// tailSeen is what a look has found.
type tailSeen struct {
	now  moment
	rows []changedRow
	full bool // there may be more new events than it reads
}

// tailLook reads what was written after a moment: events, and deliveries that have changed. Everything is read as of one
// snapshot, which is the moment of the next look.
func (s *Store) tailLook(ctx context.Context, span tailSpan) (*tailSeen, error) {
	out := &tailSeen{}
	b := &pgx.Batch{}
	b.Queue("begin isolation level repeatable read read only")
	b.Queue(momentSelect).QueryRow(func(row pgx.Row) (err error) {
		out.now, err = readMoment(row)
		return err
	})
	take := func(rows pgx.Rows) error {
		var r changedRow
		_, err := pgx.ForEachRow(rows, []any{&r.event, &r.destination, &r.tenant, &r.xmin}, func() error {
			out.rows = append(out.rows, r)
			return nil
		})
		return err
	}
	lo := lowestUUID(span.since.at.Add(-span.late))
	q := newQuery()
	q.and("e.id >= ?", lo)
	span.scope.where(q, "e.tenant_key")
	inner := "select e.id, e.tenant_key, e.xmin::text::bigint v from events e" + q.sql() + " order by e.id desc" + q.limit(span.events)
	b.Queue("select id, 0::bigint, tenant_key, v from ("+inner+") x where "+span.since.after(q, "v"), q.args...).Query(take)

	q = newQuery()
	inner = "select event_id, destination_key, tenant_key, xmin::text::bigint v from deliveries order by event_id desc, destination_key desc" +
		q.limit(span.deliveries)
	span.scope.where(q, "tenant_key")
	q.conds = append(q.conds, span.since.after(q, "v"))
	b.Queue("select event_id, destination_key, tenant_key, v from ("+inner+") x"+q.sql(), q.args...).Query(take)
	if len(span.tracked) > 0 {
		first, last := ends(span.tracked)
		q = newQuery()
		q.and("d.event_id = any(?)", span.tracked)
		q.and("d.event_id >= ?", first)
		q.and("d.event_id <= ?", last)
		q.conds = append(q.conds, span.since.after(q, "d.xmin::text::bigint"))
		b.Queue("select d.event_id, d.destination_key, d.tenant_key, d.xmin::text::bigint from deliveries d"+q.sql(), q.args...).Query(take)
	}
	b.Queue("commit")
	err := s.pool.SendBatch(ctx, b).Close()
	n := 0
	for _, r := range out.rows {
		if r.destination == 0 {
			n++
		}
	}
	out.full = n >= span.events
	return out, err
}

// ends are the first and the last of some ids, which keep the planner away from the days that are not concerned.
func ends(ids []uuid.UUID) (lo, hi uuid.UUID) {
	lo, hi = ids[0], ids[0]
	for _, id := range ids {
		lo, hi = minUUID(lo, id), maxUUID(hi, id)
	}
	return lo, hi
}
