package models

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// How an erasure is worked off. Its job goes through the tenant's events by their keys. Of each window it finds those that are
// meant, calls off what of them still waits or is under way, and then erases them in one short transaction, which notes in the
// row of the erasure how far it has come. So a job that dies in between, or runs twice, goes on where the last one stopped.
//
// An attempt that is under way when its event is erased is recorded later, with its answer. Where there may be some, the
// erasure waits until no job is left that was running then, and goes through its events once more.

// ErasureStep is how a pass over an erasure went.
type ErasureStep struct {
	Over   bool          // nothing is left to do
	Wait   time.Duration // until it is worth looking again
	Erased []uuid.UUID   // events, by this step
}

const (
	eraseWindow  = 2000 // events that are looked at at once
	erasePortion = 200  // events that one transaction erases at most
	// eraseWait is how often attempts under way are looked for.
	eraseWait = 250 * time.Millisecond
)

// AdvanceErasure does one portion of an erasure.
func (s *Store) AdvanceErasure(ctx context.Context, key uuid.UUID) (step ErasureStep, err error) {
	e, err := erasureRow(ctx, s.pool, " where x.id = $1", key)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && e.FinishedAt != nil {
		return ErasureStep{Over: true}, nil
	}
	if err != nil {
		return step, err
	}
	switch {
	case e.Total == nil:
		err = s.countErasure(ctx, e)
	case e.phase == phaseWait:
		var busy bool
		if busy, err = s.Queue.DeliversSince(ctx, *e.walkedAt); busy {
			return ErasureStep{Wait: eraseWait}, err
		}
		if err == nil {
			_, err = s.pool.Exec(ctx, "update erasures set phase = 'sweep', after_event = null where id = $1 and phase = 'wait'", e.Key)
		}
	case e.phase == phaseSweep:
		err = s.sweepPortion(ctx, e)
	default:
		step.Erased, err = s.erasurePortion(ctx, e)
	}
	if err != nil {
		return step, fmt.Errorf("erasure %s: %w", e.ID(), err)
	}
	return step, nil
}

// bounds are the events that an erasure goes through: from lo until before hi.
func (e *Erasure) bounds() (lo, hi uuid.UUID) {
	if e.Scope == ErasureOfEvent {
		lo, hi = e.EventKey, next(e.EventKey)
	} else {
		var since time.Time
		if e.Filter.Since != nil {
			since = *e.Filter.Since
		}
		lo, hi = idRange(since, *e.Filter.Until)
	}
	if e.after != uuid.Nil {
		lo = maxUUID(lo, next(e.after))
	}
	return lo, hi
}

// countErasure counts the events that an erasure will look at.
func (s *Store) countErasure(ctx context.Context, e *Erasure) error {
	lo, hi := e.bounds()
	_, err := s.pool.Exec(ctx, `update erasures set total = (select count(*) from events e where e.tenant_key = $2 and e.id >= $3 and e.id < $4)
		where id = $1`, e.Key, e.TenantKey, lo, hi)
	return err
}

// chosen finds those events of a window that are meant and not erased yet.
func (e *Erasure) chosen(ctx context.Context, s *Store, lo, last uuid.UUID) ([]uuid.UUID, error) {
	conditions := func(q *query) {
		q.and("e.erased_at is null")
		if len(e.Filter.Topics) > 0 {
			q.and("e.topic = any(?)", e.Filter.Topics)
		}
	}
	if e.Filter.Text == "" {
		q := newQuery()
		q.and("e.tenant_key = ?", e.TenantKey)
		q.and("e.id >= ?", lo)
		q.and("e.id <= ?", last)
		conditions(q)
		rows, err := s.pool.Query(ctx, "select e.id from events e"+q.sql()+" order by e.id", q.args...)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	}
	what, err := parseSearch(e.Filter.Text)
	if err != nil {
		return nil, err
	}
	w := &searching{s: s, scope: e.TenantScope(), what: what, k: &keyset{asc: true, limit: eraseWindow}, lo: lo, conditions: conditions}
	if err := w.look(ctx, last); err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(w.found))
	for i, x := range w.found {
		ids[i] = x.Key
	}
	return ids, nil
}

// erasurePortion erases what is meant of the next window.
func (s *Store) erasurePortion(ctx context.Context, e *Erasure) (erased []uuid.UUID, err error) {
	lo, hi := e.bounds()
	n, last, err := s.eventWindow(ctx, e.TenantScope(), lo, hi, "asc", eraseWindow)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, s.erasureWalked(ctx, e)
	}
	ids, err := e.chosen(ctx, s, lo, last)
	if err != nil {
		return nil, err
	}
	for len(ids) > 0 {
		part := ids[:min(len(ids), erasePortion)]
		ids = ids[len(part):]
		looked, upTo := 0, part[len(part)-1]
		if len(ids) == 0 {
			looked, upTo = n, last // of the window as a whole, once it is through
		}
		done, ours, err := s.erasePart(ctx, e, part, looked, upTo)
		if err != nil || !ours {
			return erased, err
		}
		erased = append(erased, done...)
		e.after = upTo
		if len(ids) == 0 {
			return erased, nil
		}
	}
	_, err = s.pool.Exec(ctx, `update erasures set after_event = $3, looked = looked + $4 where id = $1 and phase = 'walk'
		and coalesce(after_event, '00000000-0000-0000-0000-000000000000') = $2`, e.Key, e.after, last, n)
	return erased, err
}

// erasePart erases some events, and notes that the erasure has come behind them. ours is false when somebody else was quicker.
func (s *Store) erasePart(ctx context.Context, e *Erasure, ids []uuid.UUID, looked int, upTo uuid.UUID) (erased []uuid.UUID, ours bool,
	err error) {
	why := e.sentence()
	for {
		erased, ours, err = s.tryErasePart(ctx, e, ids, looked, upTo, why)
		if !errors.Is(err, errQueuedAgain) {
			return erased, ours, err
		}
	}
}

func (s *Store) tryErasePart(ctx context.Context, e *Erasure, ids []uuid.UUID, looked int, upTo uuid.UUID, why string) (erased []uuid.UUID,
	ours bool, err error) {
	err = s.cancelErased(ctx, ids, why, func(ctx context.Context, tx *Tx, n int) error {
		_, err := tx.Pgx.Exec(ctx, "update erasures set cancelled = cancelled + $2 where id = $1", e.Key, n)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		now, err := erasureRow(ctx, tx.Pgx, " where x.id = $1 for update of x", e.Key)
		if err != nil {
			return err
		}
		if ours = now.phase == phaseWalk && now.after == e.after; !ours {
			return nil
		}
		var attempts int
		if erased, attempts, err = eraseEvents(ctx, tx, ids, why, &e.Key); err != nil {
			return err
		}
		_, err = tx.Pgx.Exec(ctx, `update erasures set after_event = $2, looked = looked + $3, erased = erased + $4, attempts = attempts + $5
			where id = $1`, e.Key, upTo, looked, len(erased), attempts)
		return err
	})
	return erased, ours, err
}

// erasureWalked notes that all events were seen to. What was called off may have been under way.
func (s *Store) erasureWalked(ctx context.Context, e *Erasure) error {
	if e.Cancelled > 0 {
		_, err := s.pool.Exec(ctx, "update erasures set phase = 'wait', walked_at = clock_timestamp() where id = $1 and phase = 'walk'", e.Key)
		return err
	}
	return s.finishErasure(ctx, e)
}

// sweepPortion erases what attempts have recorded of erased events since.
func (s *Store) sweepPortion(ctx context.Context, e *Erasure) error {
	lo, hi := e.bounds()
	n, last, err := s.eventWindow(ctx, e.TenantScope(), lo, hi, "asc", eraseWindow)
	if err != nil {
		return err
	}
	if n == 0 {
		return s.finishErasure(ctx, e)
	}
	rows, err := s.pool.Query(ctx, `select id from events where tenant_key = $1 and id >= $2 and id <= $3 and erasure_id = $4 order by id`,
		e.TenantKey, lo, last, e.Key)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return err
	}
	return s.InTx(ctx, func(tx *Tx) error {
		now, err := erasureRow(ctx, tx.Pgx, " where x.id = $1 for update of x", e.Key)
		if err != nil || now.phase != phaseSweep || now.after != e.after {
			return err
		}
		attempts, err := eraseReceipts(ctx, tx, ids)
		if err != nil {
			return err
		}
		_, err = tx.Pgx.Exec(ctx, "update erasures set after_event = $2, attempts = attempts + $3 where id = $1", e.Key, last, attempts)
		return err
	})
}

// finishErasure ends an erasure, with its entry in the audit log.
func (s *Store) finishErasure(ctx context.Context, e *Erasure) error {
	if e.payloadKey != 0 {
		if err := s.payloads.delete(ctx, e.payloadKey); err != nil {
			return fmt.Errorf("delete the key of the tenant's payloads: %w", err)
		}
	}
	return s.InTx(ctx, func(tx *Tx) error {
		tag, err := tx.Pgx.Exec(ctx, `update erasures set phase = 'done', looked = coalesce(total, looked), finished_at = now()
			where id = $1 and finished_at is null`, e.Key)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if e, err = erasureRow(ctx, tx.Pgx, " where x.id = $1", e.Key); err != nil {
			return err
		}
		detail := e.detail()
		detail["started_by"], detail["events"], detail["attempts"], detail["cancelled"] = e.Actor, e.Erased, e.Attempts, e.Cancelled
		return tx.Audit(ctx, AuditEntry{Scope: e.TenantScope(), Actor: disabler, Action: "erasure.finish", Object: e.ID(), Detail: detail})
	})
}

// ResumeErasures gives erasures a job that are open and have none; see ResumeLost. It returns how many.
func (s *Store) ResumeErasures(ctx context.Context) (n int, err error) {
	return n, s.InTx(ctx, func(tx *Tx) error {
		open, err := s.Queue.ErasuresWithoutJob(ctx, tx.Pgx)
		if n = len(open); err != nil || n == 0 {
			return err
		}
		return s.Queue.EnqueueErasure(ctx, tx.Pgx, open...)
	})
}
