package models

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// takeBack puts deliveries of a cancelled bulk retry back that no worker has begun, in portions. Those that would be tried
// again by themselves stay as they are.
func (s *Store) takeBack(ctx context.Context, b *BulkRetry) (n int, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, "select from bulk_retries where id = $1 for update", b.Key); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			with portion as (
				select d.event_id, d.destination_key from deliveries d where d.retry_id = $1 and d.status = 'pending' and d.retry_from <> 'retrying' and `+unattempted+`
				limit $2 for update of d skip locked)
			update deliveries d set status = d.retry_from, turn = d.turn + 1, manual_retries = d.manual_retries - 1, retry_id = null,
				retry_from = null,
				reason = case when d.retry_from <> 'delivered' then $3 end
			from portion p where d.event_id = p.event_id and d.destination_key = p.destination_key`,
			b.Key, bulkPortion, "Its bulk retry was cancelled by "+actorName(b.ChangedBy)+" before its turn.")
		if err != nil {
			return err
		}
		n = int(tag.RowsAffected())
		_, err = tx.Exec(ctx, "update bulk_retries set queued = queued - $2 where id = $1", b.Key, n)
		return err
	})
	return n, err
}

// unattempted says that the bulk retry $1 has made no attempt of a delivery d.
const unattempted = `not exists (select 1 from attempts a where a.event_id = d.event_id and a.destination_key = d.destination_key and a.retry_id = $1)`

// CountBulkRetry brings the outcomes of a bulk retry up to date, and ends it when nothing is left to do. over says that the
// job of this run has nothing left to do.
func (s *Store) CountBulkRetry(ctx context.Context, key uuid.UUID, run int) (over bool, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		b, err := bulkRow(ctx, tx, " where b.id = $1 for update of b", key)
		if err != nil {
			return err
		}
		if over = b.run != run || b.Final(); over {
			return nil
		}
		var delivered, failed, waiting int
		// Whoever else may have queued a delivery since: it counts as waiting only until the attempt of this bulk retry.
		if err := tx.QueryRow(ctx,
			`select (select count(*) from attempts a where a.retry_id = $1 and a.ok), (select count(*) from attempts a where a.retry_id = $1
				and not a.ok),
			(select count(*) from deliveries d where d.retry_id = $1 and d.status in ('pending', 'delivering') and `+unattempted+`)`, key).Scan(&delivered, &failed, &waiting); err != nil {
			return err
		}
		// What retention has dropped meanwhile stays counted.
		b.Delivered, b.Failed = max(b.Delivered, delivered), max(b.Failed, failed)
		b.Unsent = max(b.Queued-b.Delivered-b.Failed-waiting, 0)
		settled := waiting == 0
		var finished *time.Time
		switch {
		case settled && (b.Status == BulkCancelled || b.Status == BulkRunning && b.walked):
			if b.Status == BulkRunning {
				b.Status = BulkDone
			}
			now := time.Now()
			finished, over = &now, true
		case settled && b.Status == BulkPaused:
			over = true
		}
		if _, err := tx.Exec(ctx, `update bulk_retries set status = $2, delivered = $3, failed = $4, unsent = $5, finished_at = $6,
			changed_at = case when status <> $2 then now() else changed_at end where id = $1`, key, b.Status, b.Delivered, b.Failed,
			b.Unsent, finished); err != nil || finished == nil {
			return err
		}
		return tx.Audit(ctx, b.outcome())
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return true, nil
	}
	return over, err
}

// outcome is the line of the audit trail at the end of a bulk retry.
func (b *BulkRetry) outcome() AuditEntry {
	detail := map[string]any{"started_by": b.Actor, "status": b.Status, "total": b.Total, "delivered": b.Delivered, "failed": b.Failed,
		"skipped": b.Skipped(), "remaining": b.Remaining()}
	for _, x := range b.Skips() {
		detail["skipped_"+x.Reason] = x.Count
	}
	return AuditEntry{Scope: b.TenantScope(), Actor: disabler, Action: "retry.finish", Object: b.ID(), Detail: detail}
}

// ResumeLost gives bulk retries a job that are open and have none: after a crash of PostgreSQL, a job may have been ended
// for one that was taken up twice. It returns how many.
func (s *Store) ResumeLost(ctx context.Context) (n int, err error) {
	return n, s.InTx(ctx, func(tx *Tx) error {
		open, err := s.Queue.WithoutJob(ctx, tx.Pgx, true)
		if err != nil {
			return err
		}
		for _, key := range open {
			var run int
			if err := tx.Pgx.QueryRow(ctx, "update bulk_retries set run = run + 1 where id = $1 returning run",
				key).Scan(&run); err != nil {
				return err
			}
			if err := s.Queue.EnqueueBulkRetry(ctx, tx.Pgx, key, run); err != nil {
				return err
			}
		}
		n = len(open)
		return nil
	})
}
