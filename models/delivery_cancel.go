package models

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/queue"
)

// Why deliveries of what was deleted are cancelled.
const (
	ReasonDestinationDeleted = "The destination was deleted."
	ReasonTenantDeleted      = "The tenant was deleted."
)

// CancelDeleted cancels what waits for a destination, or for all destinations of a tenant, that was deleted: deliveries that
// are held and those that are due later. What is due now is in the hands of the workers, who cancel it when they come to it.
// The work is done in portions of one transaction each, so that a stop in between neither loses nor repeats any.
func (s *Store) CancelDeleted(ctx context.Context, r queue.Release) (cancelled int, err error) {
	whose, key, reason := "destination_key", r.Destination, ReasonDestinationDeleted
	if r.Tenant != 0 {
		whose, key, reason = "tenant_key", r.Tenant, ReasonTenantDeleted
	}
	for _, status := range []string{StatusHeld, StatusRetrying} {
		for {
			n, err := s.cancelPortion(ctx, whose, key, status, reason)
			cancelled += n
			if err != nil {
				return cancelled, fmt.Errorf("cancel deliveries of what was deleted: %w", err)
			}
			if n == 0 {
				break
			}
		}
	}
	return cancelled, nil
}

// cancelPortion cancels deliveries with a status, and lets those behind them in their lines go on: a worker that comes to
// these cancels them in turn. The turn voids the job that a delivery may have.
func (s *Store) cancelPortion(ctx context.Context, whose string, key int64, status, reason string) (n int, err error) {
	committed := func() {}
	err = pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			with portion as (
				select event_id, destination_key from deliveries where `+whose+` = $1 and attention = $2 order by event_id limit $3 for update)
			update deliveries d set turn = d.turn + 1, next_attempt_at = null, status = 'cancelled', reason = $4
			from portion p where d.event_id = p.event_id and d.destination_key = p.destination_key
			returning d.event_id, d.destination_key`, key, status, releasePortion, reason)
		if err != nil {
			return err
		}
		keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k DeliveryKey, err error) {
			err = row.Scan(&k.EventID, &k.Destination)
			return k, err
		})
		n = len(keys)
		if err != nil || n == 0 {
			return err
		}
		jobs, err := passOn(ctx, tx, keys)
		if err != nil || len(jobs) == 0 {
			return err
		}
		committed, err = s.Queue.Enqueue(ctx, tx, jobs)
		return err
	})
	if err != nil {
		return 0, err
	}
	committed()
	return n, nil
}

// cancelLeftBehind queues the cancelling of what still waits for tenants that were deleted, of which nothing has come: it
// was left behind by releases that did not cancel it.
func (s *Store) cancelLeftBehind(ctx context.Context) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Tx) error {
		rows, err := tx.Pgx.Query(ctx, `select t.key from tenants t where t.deleted_at < now() - interval '1 hour' and exists (
			select 1 from deliveries d where d.tenant_key = t.key and d.attention in ('held', 'retrying')) limit 100`)
		if err != nil {
			return err
		}
		keys, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		for _, key := range keys {
			if err == nil {
				err = s.enqueueRelease(ctx, tx, queue.Release{Tenant: key, Action: ReleaseDeleted})
			}
		}
		return err
	})
}
