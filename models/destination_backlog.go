package models

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models/queue"
)

// What may happen to the deliveries that a disabled destination held.
const (
	BacklogDeliver = "deliver" // send them now
	BacklogDrop    = "drop"    // cancel them
	BacklogKeep    = "keep"    // leave them held; they can be sent later
)

// Backlog says what to do with held deliveries.
type Backlog struct {
	Action string     `json:"action" api:"schema=BacklogAction"` // deliver, drop or keep; deliver when empty
	Since  *time.Time `json:"since" doc:"Only events received from then on."`
	Until  *time.Time `json:"until" doc:"Only events received before."`
}

// check reports what is wrong with b; field is what the caller calls its action.
func (b *Backlog) check(field string) error {
	bad := problems{}
	switch b.Action {
	case "":
		b.Action = BacklogDeliver
	case BacklogDeliver, BacklogDrop, BacklogKeep:
	default:
		bad.add(field, "must be deliver, drop or keep")
	}
	if b.Since != nil && b.Until != nil && !b.Since.Before(*b.Until) {
		bad.add("until", "must be after since")
	}
	return bad.err()
}

func (b *Backlog) release(destination int64, actor string) queue.Release {
	r := queue.Release{Destination: destination, Action: b.Action, Actor: actor}
	if b.Since != nil {
		r.Since = *b.Since
	}
	if b.Until != nil {
		r.Until = *b.Until
	}
	return r
}

// lowestUUID is the smallest event id of the instant t.
func lowestUUID(t time.Time) uuid.UUID { return uuid.MustParse(migrations.LowestID(t)) }

var highestUUID = uuid.MustParse("ffffffff-ffff-ffff-ffff-ffffffffffff")

// idRange turns a span of time into a span of event ids; zero times are open ends.
func idRange(since, until time.Time) (lo, hi uuid.UUID) {
	hi = highestUUID
	if !since.IsZero() {
		lo = lowestUUID(since)
	}
	if !until.IsZero() {
		hi = lowestUUID(until)
	}
	return lo, hi
}

// ActOnBacklog does something with the held deliveries of a destination and returns how many there are. The work itself
// is done by a job, in portions. What is held only afterwards is not dropped: nobody has asked for that.
func (s *Store) ActOnBacklog(ctx context.Context, scope Scope, tenantID, id, actor string, b Backlog) (count int, err error) {
	if err := b.check("action"); err != nil {
		return 0, err
	}
	_, err = s.change(ctx, scope, tenantID, id, 0, func(ctx context.Context, tx *Tx, d *Destination) error {
		if b.Action == BacklogDeliver && d.DisabledAt != nil {
			return conflict("The destination is disabled. Enable it first; that also asks what to do with the backlog.")
		}
		if b.Action == BacklogDrop && b.Until == nil {
			now := time.Now()
			b.Until = &now
		}
		r := b.release(d.Key, actor)
		lo, hi := idRange(r.Since, r.Until)
		err := tx.Pgx.QueryRow(ctx,
			`select count(*) from deliveries where destination_key = $1 and attention = 'held' and event_id >= $2 and event_id < $3`,
			d.Key, lo, hi).Scan(&count)
		if err != nil {
			return err
		}
		if err := s.enqueueRelease(ctx, tx, r); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: d.TenantScope(), Action: "destination.backlog", Object: d.ID,
			Detail: map[string]any{"action": b.Action, "since": b.Since, "until": b.Until, "count": count}})
	})
	return count, err
}

// heldTime is how long held deliveries are counted, and heldCounted how far they are when that is not enough.
const (
	heldTime    = 2 * time.Second
	heldCounted = 100_000
)

// Held counts the deliveries that a destination holds, exactly. more is true when there are so many that they could not be counted in
// time: n is a part of them then.
func (s *Store) Held(ctx context.Context, destination int64) (n int, more bool, err error) {
	count := func(sql string) error {
		return s.within(ctx, heldTime, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sql, destination).Scan(&n) })
	}
	const held = " from deliveries where destination_key = $1 and attention = 'held'"
	err = count("select count(*)" + held)
	if more = isCanceled(err); more {
		err = count(fmt.Sprintf("select count(*) from (select 1%s limit %d) x", held, heldCounted))
	}
	return n, more, err
}

// releasePortion is how many held deliveries one transaction moves.
const releasePortion = 500

// ReleaseHeld does what r says with the held deliveries, oldest first, in portions of one transaction each, so that a
// stop in between neither loses nor repeats any.
func (s *Store) ReleaseHeld(ctx context.Context, r queue.Release) (moved int, err error) {
	lo, hi := idRange(r.Since, r.Until)
	for {
		n, last, err := s.releasePortion(ctx, r, lo, hi)
		moved += n
		if err != nil || n == 0 {
			return moved, err
		}
		lo = last
	}
}

func (s *Store) releasePortion(ctx context.Context, r queue.Release, lo, hi uuid.UUID) (n int, last uuid.UUID, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		set := "status = 'pending', reason = null, retry_id = null, retry_from = null"
		if r.Action == BacklogDrop {
			set = "status = 'cancelled', reason = 'Dropped from the backlog by '||$5"
		}
		rows, err := tx.Query(ctx, `
			with portion as (
				select event_id, destination_key from deliveries
				where destination_key = $1 and attention = 'held' and event_id >= $2 and event_id < $3
				order by event_id limit $4 for update)
			update deliveries d set turn = d.turn + 1, next_attempt_at = null, `+set+`
			from portion p where d.event_id = p.event_id and d.destination_key = p.destination_key
				and d.event_id >= $2 and $5::text is not null
			returning d.event_id, d.turn, d.tenant_key`, r.Destination, lo, hi, releasePortion, actorName(r.Actor))
		if err != nil {
			return err
		}
		var tenant int64
		items, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (it queue.Item, err error) {
			err = row.Scan(&it.EventKey, &it.Turn, &tenant)
			if last = maxUUID(last, it.EventKey); err != nil {
				return it, err
			}
			return it, nil
		})
		n = len(items)
		if err != nil || n == 0 {
			return err
		}
		jobs := queue.Split(queue.Key{Destination: r.Destination, Tenant: tenant, Later: true}, items)
		if r.Action == BacklogDrop {
			if err := noteOutcomes(ctx, tx, StatusCancelled, "Dropped from the backlog by "+actorName(r.Actor),
				keysOf(r.Destination, items)...); err != nil {
				return err
			}
			jobs, err = passOn(ctx, tx, keysOf(r.Destination, items))
		}
		if err != nil || len(jobs) == 0 {
			return err
		}
		return s.Queue.Enqueue(ctx, tx, jobs)
	})
	if err != nil {
		return 0, last, fmt.Errorf("release held deliveries: %w", err)
	}
	return n, last, nil
}

func keysOf(destination int64, items []queue.Item) []DeliveryKey {
	keys := make([]DeliveryKey, len(items))
	for i, it := range items {
		keys[i] = DeliveryKey{it.EventKey, destination}
	}
	return keys
}

func maxUUID(a, b uuid.UUID) uuid.UUID {
	if string(a[:]) > string(b[:]) {
		return a
	}
	return b
}

func minUUID(a, b uuid.UUID) uuid.UUID {
	if string(a[:]) < string(b[:]) {
		return a
	}
	return b
}

// actorName is what people read for an actor.
func actorName(actor string) string {
	if actor == "" {
		return "the server"
	}
	return actor
}
