package models

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// What erasing an event means: its payload, metadata, ordering key and trace state are gone, and so is what attempts keep of
// requests and answers. Ids, times, states, counts and kinds of errors stay, so that numbers stay true.

// ReceiptErased is said in place of an error that a receiver's answer may be part of.
const ReceiptErased = "What was said of this was erased."

// FilterErased is said in place of what a filter found in an event.
const FilterErased = "A filter held it back. What the filter looked at was erased."

// waits chooses the deliveries d of erased events that are to be called off: all that wait or are under way, and those that
// have failed and block the ones behind them.
const waits = `(d.status in ('pending', 'delivering', 'retrying', 'held') or d.status = 'failed' and exists (
	select 1 from ordered_deliveries o where o.event_id = d.event_id and o.destination_key = d.destination_key))`

// cancelErased calls off what of some events still waits or is under way, and stays until nothing does. Each transaction counts
// what it called off with count. Rows that a worker is just recording are passed over and looked at again: this never waits for
// a row while it holds others.
func (s *Store) cancelErased(ctx context.Context, ids []uuid.UUID, why string, count func(context.Context, *Tx, int) error) error {
	lo, hi := ends(ids)
	err := s.InTx(ctx, func(tx *Tx) error {
		rows, _ := tx.Pgx.Query(ctx, `select distinct d.destination_key from deliveries d where d.event_id = any($1) and d.event_id >= $2
			and d.event_id <= $3 and d.status in ('pending', 'delivering') order by 1`, ids, lo, hi)
		destinations, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil || len(destinations) == 0 {
			return err
		}
		return takeCare(ctx, tx.Pgx, destinations)
	})
	if err != nil {
		return err
	}
	for {
		n, err := s.cancelErasedPart(ctx, ids, lo, hi, why, count)
		if err != nil {
			return fmt.Errorf("cancel deliveries of erased events: %w", err)
		}
		if n > 0 {
			continue
		}
		var left bool
		err = s.pool.QueryRow(ctx, "select exists (select 1 from deliveries d where d.event_id = any($1) and d.event_id >= $2 and d.event_id <= $3 and "+
			waits+")", ids, lo, hi).Scan(&left)
		if err != nil || !left {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(cancelAgain):
		}
	}
}

func (s *Store) cancelErasedPart(ctx context.Context, ids []uuid.UUID, lo, hi uuid.UUID, why string,
	count func(context.Context, *Tx, int) error) (n int, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		rows, err := tx.Pgx.Query(ctx, `with portion as (
				select d.event_id, d.destination_key from deliveries d where d.event_id = any($1) and d.event_id >= $2 and d.event_id <= $3
					and `+waits+` order by d.event_id, d.destination_key limit $5 for update skip locked)
			update deliveries d set status = 'cancelled', turn = d.turn + 1, next_attempt_at = null, reason = $4, retry_id = null,
				retry_from = null
			from portion p where d.event_id = p.event_id and d.destination_key = p.destination_key and d.event_id >= $2 and d.event_id <= $3
			returning d.event_id, d.destination_key`, ids, lo, hi, why, cancelSpan)
		if err != nil {
			return err
		}
		keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k DeliveryKey, err error) {
			err = row.Scan(&k.EventKey, &k.Destination)
			return k, err
		})
		if n = len(keys); err != nil || n == 0 {
			return err
		}
		if err := noteOutcomes(ctx, tx.Pgx, StatusCancelled, why, keys...); err != nil {
			return err
		}
		jobs, err := passOn(ctx, tx.Pgx, keys)
		if err != nil {
			return err
		}
		if len(jobs) > 0 {
			if err := s.Queue.Enqueue(ctx, tx, jobs); err != nil {
				return err
			}
		}
		return count(ctx, tx, n)
	})
	return n, err
}

// eraseEvents erases events, and what attempts keep of them, within tx. Their deliveries were called off before. It returns those
// that were not erased before, and of how many attempts something was erased.
func eraseEvents(ctx context.Context, tx *Tx, ids []uuid.UUID, why string, erasure *uuid.UUID) (erased []uuid.UUID, attempts int,
	err error) {
	lo, hi := ends(ids)
	rows, err := tx.Pgx.Query(ctx, `with portion as (
			select id from events where id = any($1) and id >= $2 and id <= $3 and erased_at is null order by id for no key update)
		update events e set data = 'null', metadata = null, sealed = null, ordering_key = null, tracestate = null,
			erased_at = now(), erased_why = $4, erasure_id = $5
		from portion p where e.id = p.id and e.id >= $2 and e.id <= $3 returning e.id`, ids, lo, hi, why, erasure)
	if err != nil {
		return nil, 0, err
	}
	if erased, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
		return nil, 0, fmt.Errorf("erase events: %w", err)
	}
	// Whoever queues a delivery of a finished event again locks the event: what is not seen here comes too late to be queued.
	var queued bool
	if err := tx.Pgx.QueryRow(ctx, "select exists (select 1 from deliveries d where d.event_id = any($1) and d.event_id >= $2 and d.event_id <= $3 and "+
		waits+")", ids, lo, hi).Scan(&queued); err != nil {
		return nil, 0, err
	}
	if queued {
		return nil, 0, errQueuedAgain
	}
	attempts, err = eraseReceipts(ctx, tx, erased)
	return erased, attempts, err
}

// errQueuedAgain says that deliveries were queued since they were called off: nothing is erased then, and it begins anew.
var errQueuedAgain = errors.New("deliveries of the events were queued meanwhile")

// eraseReceipts erases what attempts and deliveries keep of requests and answers, and tells of how many attempts. Deliveries that
// a worker is just recording are left to the sweep.
func eraseReceipts(ctx context.Context, tx *Tx, ids []uuid.UUID) (attempts int, err error) {
	if len(ids) == 0 {
		return 0, nil
	}
	lo, hi := ends(ids)
	tag, err := tx.Pgx.Exec(ctx, `update attempts set request_header = '', response_header = '', headers = null, response_body = null, sealed = null,
			url = split_part(url, '?', 1), error = case when error is not null then $4 end, advice = null, raw_error = null, log = null
		where event_id = any($1) and event_id >= $2 and event_id <= $3 and (request_header <> ''
			or response_header <> '' or headers is not null or response_body is not null or sealed is not null or url like '%?%' or error <> $4 or advice is not null or raw_error is not null or log is not null)`,
		ids, lo, hi, ReceiptErased)
	if err != nil {
		return 0, fmt.Errorf("erase attempts: %w", err)
	}
	_, err = tx.Pgx.Exec(ctx, `with portion as (
			select event_id, destination_key from deliveries where event_id = any($1) and event_id >= $2 and event_id <= $3
				and (error <> $4 or advice is not null or status = 'filtered_out' and reason is distinct from $5)
			order by event_id, destination_key for update skip locked)
		update deliveries d set error = case when d.error is not null then $4 end, advice = null,
			reason = case when d.status = 'filtered_out' then $5 else d.reason end
		from portion p where d.event_id = p.event_id and d.destination_key = p.destination_key and d.event_id >= $2 and d.event_id <= $3`,
		ids, lo, hi, ReceiptErased, FilterErased)
	if err != nil {
		return 0, fmt.Errorf("erase what is said of deliveries: %w", err)
	}
	return int(tag.RowsAffected()), nil
}

// unerased refuses what would send an event whose data was erased. Whoever erases the event from now on waits for tx, and calls
// off what it queues.
func unerased(ctx context.Context, tx pgx.Tx, event uuid.UUID) error {
	var erased bool
	var why string
	err := tx.QueryRow(ctx, "select erased_at is not null, coalesce(erased_why, '') from events where id = $1 for share",
		event).Scan(&erased, &why)
	if err == nil && erased {
		err = conflict("The data of this event was erased, so that it cannot be sent again. %s", why)
	}
	return err
}
