package models

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/queue"
)

// Why deliveries of what was deleted are cancelled.
const (
	ReasonDestinationDeleted = "The destination was deleted."
	ReasonTenantDeleted      = "The tenant was deleted."
)

// cancelSpan is how many deliveries of a deleted destination are looked at in one step; those of them that wait are
// cancelled in one transaction.
const cancelSpan = 1000

// cancelAgain is the pause before those are looked at again that a worker was just recording.
const cancelAgain = 20 * time.Millisecond

// The statuses of deliveries that still wait for something.
var (
	waiting      = []string{StatusPending, StatusDelivering, StatusRetrying, StatusHeld}
	waitingLong  = []string{StatusHeld, StatusRetrying} // they have an index
	deletedWords = map[string]string{ReleaseDestinationDeleted: ReasonDestinationDeleted, ReleaseTenantDeleted: ReasonTenantDeleted}
)

// CancelDeleted cancels what still waits for a destination that was deleted, in portions of one transaction each, so that
// a stop in between neither loses nor repeats any. An attempt that is under way is not interrupted; if it succeeds, the
// delivery counts as delivered.
//
// Rows that a worker is just recording are passed over and looked at again: this never waits for a row while it holds
// others. Lines of ordering keys are taken away at the end, when nothing in them waits any more.
func (s *Store) CancelDeleted(ctx context.Context, r queue.Release) (cancelled int, err error) {
	for _, status := range waitingLong { // what would wait the longest comes first, and is found by an index
		for lo := (uuid.UUID{}); ; {
			n, last, err := s.cancelAttention(ctx, r, status, lo)
			if cancelled += n; err != nil {
				return cancelled, err
			}
			if n == 0 {
				break
			}
			lo = last
		}
	}
	for lo := (uuid.UUID{}); ; {
		var hi uuid.UUID
		err := s.pool.QueryRow(ctx, `select event_id from (
				select event_id from deliveries where destination_key = $1 and event_id >= $2 order by event_id limit $3) x
			order by event_id desc limit 1`, r.Destination, lo, cancelSpan).Scan(&hi)
		if err == pgx.ErrNoRows {
			break
		}
		if err != nil {
			return cancelled, err
		}
		n, err := s.cancelBetween(ctx, r, lo, hi)
		if cancelled += n; err != nil {
			return cancelled, err
		}
		lo = next(hi)
	}
	_, err = s.pool.Exec(ctx, "delete from ordered_deliveries where destination_key = $1", r.Destination)
	return cancelled, err
}

// cancelSet is what cancelling a delivery because of a deletion changes; $2 is the reason.
const cancelSet = ` set status = 'cancelled', turn = d.turn + 1, next_attempt_at = null, reason = $2 from portion p
	where d.event_id = p.event_id and d.destination_key = $1 and d.event_id >= $3`

// cancelAttention cancels a portion of those that have one of the statuses with an index.
func (s *Store) cancelAttention(ctx context.Context, r queue.Release, status string, lo uuid.UUID) (n int, last uuid.UUID, err error) {
	rows, err := s.pool.Query(ctx, `with portion as (
			select event_id from deliveries where destination_key = $1 and attention = $4::delivery_status and event_id >= $3
			order by event_id limit $5 for update skip locked)
		update deliveries d`+cancelSet+" returning d.event_id", r.Destination, deletedWords[r.Action], lo, status, cancelSpan)
	if err != nil {
		return 0, last, err
	}
	var id uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		n++
		last = maxUUID(last, id)
		return nil
	})
	if err != nil {
		return 0, last, fmt.Errorf("cancel deliveries to a deleted destination: %w", err)
	}
	return n, last, nil
}

// cancelBetween cancels all that wait from lo to hi, and stays until none does.
func (s *Store) cancelBetween(ctx context.Context, r queue.Release, lo, hi uuid.UUID) (cancelled int, err error) {
	for {
		tag, err := s.pool.Exec(ctx, `with portion as (
				select event_id from deliveries where destination_key = $1 and event_id >= $3 and event_id <= $4
					and status = any($5::delivery_status[])
				order by event_id for update skip locked)
			update deliveries d`+cancelSet+" and d.event_id <= $4", r.Destination, deletedWords[r.Action], lo, hi, waiting)
		if err != nil {
			return cancelled, fmt.Errorf("cancel deliveries to a deleted destination: %w", err)
		}
		cancelled += int(tag.RowsAffected())
		var left bool
		err = s.pool.QueryRow(ctx, `select exists (select 1 from deliveries
			where destination_key = $1 and event_id >= $2 and event_id <= $3 and status = any($4::delivery_status[]))`,
			r.Destination, lo, hi, waiting).Scan(&left)
		if err != nil || !left {
			return cancelled, err
		}
		select {
		case <-ctx.Done():
			return cancelled, ctx.Err()
		case <-time.After(cancelAgain):
		}
	}
}

// releaseDeleted has a job cancel what waits for destinations that are deleted within tx.
func (s *Store) releaseDeleted(ctx context.Context, tx *Tx, action string, destinations ...int64) error {
	list := make([]queue.Release, len(destinations))
	for i, key := range destinations {
		list[i] = queue.Release{Destination: key, Action: action}
	}
	return s.Queue.EnqueueRelease(ctx, tx.Pgx, list...)
}

// cancelLeftBehind queues the cancelling of what still waits for destinations that were deleted, and has not come: it was
// left behind by releases that did not cancel it.
func (s *Store) cancelLeftBehind(ctx context.Context) error {
	return s.InTx(ctx, func(tx *Tx) error {
		rows, err := tx.Pgx.Query(ctx, `select d.key from destinations d where d.deleted_at < now() - interval '1 hour' and exists (
			select 1 from deliveries x where x.destination_key = d.key and x.attention in ('held', 'retrying')) limit 1000`)
		if err != nil {
			return err
		}
		keys, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil || len(keys) == 0 {
			return err
		}
		return s.releaseDeleted(ctx, tx, ReleaseDestinationDeleted, keys...)
	})
}
