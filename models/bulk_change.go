package models

import "context"

// PauseBulkRetry queues nothing more of a bulk retry until it is resumed. What is queued already goes out.
func (s *Store) PauseBulkRetry(ctx context.Context, scope Scope, id, actor string) (*BulkRetry, error) {
	return s.changeBulk(ctx, scope, id, actor, "retry.pause", func(b *BulkRetry) (string, error) {
		switch {
		case b.Status == BulkPaused:
			return b.Status, nil
		case b.Status != BulkRunning:
			return "", conflict("The bulk retry is %s; only one that is running can be paused.", b.Status)
		case b.walked:
			return "", conflict("Everything is queued already, so there is nothing to pause. Cancel takes back what was not sent yet.")
		}
		return BulkPaused, nil
	})
}

// ResumeBulkRetry goes on with a bulk retry that was paused.
func (s *Store) ResumeBulkRetry(ctx context.Context, scope Scope, id, actor string) (*BulkRetry, error) {
	return s.changeBulk(ctx, scope, id, actor, "retry.resume", func(b *BulkRetry) (string, error) {
		if b.Status != BulkPaused && b.Status != BulkRunning {
			return "", conflict("The bulk retry is %s; only one that is paused can be resumed.", b.Status)
		}
		return BulkRunning, nil
	})
}

// CancelBulkRetry ends a bulk retry. What was sent stays sent. What is queued and has not begun returns to its earlier
// state, unless an automatic retry is due for it anyway.
func (s *Store) CancelBulkRetry(ctx context.Context, scope Scope, id, actor string) (*BulkRetry, error) {
	return s.changeBulk(ctx, scope, id, actor, "retry.cancel", func(b *BulkRetry) (string, error) {
		if b.Status == BulkDone {
			return "", conflict("The bulk retry is done; there is nothing left to cancel.")
		}
		return BulkCancelled, nil
	})
}

// changeBulk changes the status of a bulk retry and gives it a new job, for the one it had may have ended.
func (s *Store) changeBulk(ctx context.Context, scope Scope, id, actor, action string,
	to func(*BulkRetry) (string, error)) (*BulkRetry, error) {
	b, err := s.BulkRetry(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		now, err := bulkRow(ctx, tx.Pgx, " where b.id = $1 for update of b", b.Key)
		if err != nil {
			return err
		}
		status, err := to(now)
		if err != nil {
			return err
		}
		if status == now.Status {
			return tx.Audit(ctx, b.entry(action))
		}
		if _, err := tx.Pgx.Exec(ctx, `update bulk_retries set status = $2, changed_at = now(), changed_by = $3, run = run + 1, note = '',
			next_at = greatest(next_at, now()) where id = $1`, b.Key, status, text(actor)); err != nil {
			return err
		}
		if err := s.Queue.EnqueueBulkRetry(ctx, tx.Pgx, b.Key, now.run+1); err != nil {
			return err
		}
		if b, err = bulkRow(ctx, tx, " where b.id = $1", b.Key); err != nil {
			return err
		}
		return tx.Audit(ctx, b.entry(action))
	})
	return b, err
}

// entry is the line of the audit log about what somebody does to a bulk retry.
func (b *BulkRetry) entry(action string) AuditEntry {
	return AuditEntry{Scope: b.TenantScope(), Action: action, Object: b.ID(),
		Detail: map[string]any{"total": b.Total, "queued": b.Queued, "remaining": b.Remaining()}}
}
