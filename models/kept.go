package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Tenants may keep less than the server does: for fewer days, also of some topics (kept_topics.go), or no payload once an
// event is delivered. A job that runs every few minutes goes through their events, in portions of one short transaction each,
// and notes how far it has come; so it goes on where it was. Days that the whole server has done with are dropped as they are,
// see Upkeep.

const (
	// keptSettle is how old an event is before it is looked at: most are delivered by then.
	keptSettle = time.Minute
	// keptAgain is after what time receipts of attempts are erased that may have been under way when their event was.
	keptAgain = 5 * time.Minute
)

// WhyDelivered is said of events that were erased because their tenant keeps no payloads after success.
const WhyDelivered = "Erased after it was delivered, as the tenant's settings ask for."

func whyPast(days int) string {
	return fmt.Sprintf("Erased after %s, as the tenant's settings ask for.", countOf(days, "day", "days"))
}

// keeping is a tenant that keeps less than the server.
type keeping struct {
	tenant          int64
	settings        TenantSettings
	past, delivered uuid.UUID // see kept_marks
}

// EraseKept erases what tenants do not want to be kept any longer, until it is through or still says no. It returns the events.
func (s *Store) EraseKept(ctx context.Context, now time.Time, still func() bool) (erased []uuid.UUID, err error) {
	// What is past its time is so by both clocks, as in Upkeep.
	var there time.Time
	if err := s.pool.QueryRow(ctx, "select now()").Scan(&there); err != nil {
		return nil, err
	}
	now = earlier(now, there)
	if erased, err = s.eraseTopics(ctx, now, still); err != nil {
		return erased, err
	}
	if _, err := s.pool.Exec(ctx, `insert into kept_marks (tenant_key) select key from tenants
		where deleted_at is null and cell is null and settings ?| array['retention_days', 'erase_delivered'] on conflict do nothing`); err != nil {
		return erased, err
	}
	rows, err := s.pool.Query(ctx,
		"select m.tenant_key, t.settings, m.past, m.delivered from kept_marks m join tenants t on t.key = m.tenant_key where t.cell is null order by 1")
	if err != nil {
		return erased, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k *keeping, err error) {
		k = &keeping{}
		err = row.Scan(&k.tenant, &k.settings, &k.past, &k.delivered)
		return k, err
	})
	if err != nil {
		return erased, err
	}
	for _, k := range list {
		for _, do := range []func(context.Context, *keeping, time.Time) ([]uuid.UUID, bool, error){s.erasePast, s.eraseDelivered} {
			for more := true; more && still(); {
				var part []uuid.UUID
				part, more, err = do(ctx, k, now)
				if erased = append(erased, part...); err != nil {
					return erased, fmt.Errorf("erase what tenant %d keeps no longer: %w", k.tenant, err)
				}
			}
		}
		part, err := s.eraseLater(ctx, k, still)
		if erased = append(erased, part...); err != nil {
			return erased, fmt.Errorf("erase what tenant %d keeps no longer: %w", k.tenant, err)
		}
	}
	return erased, nil
}

// mark moves a tenant's mark on within tx. moved is false when somebody else was quicker.
func (k *keeping) mark(ctx context.Context, tx pgx.Tx, column string, from, to uuid.UUID) (moved bool, err error) {
	tag, err := tx.Exec(ctx, "update kept_marks set "+column+" = $3 where tenant_key = $1 and "+column+" = $2", k.tenant, from, to)
	return tag.RowsAffected() == 1, err
}

// keptWindow finds the next events of a tenant from lo until before hi, and which of them are not erased.
func (s *Store) keptWindow(ctx context.Context, k *keeping, lo, hi uuid.UUID) (ids []uuid.UUID, to uuid.UUID, err error) {
	n, last, err := s.eventWindow(ctx, Scope{key: k.tenant}, lo, hi, "asc", erasePortion)
	if err != nil || n == 0 {
		return nil, lo, err
	}
	to = next(last)
	rows, err := s.pool.Query(ctx, "select id from events where tenant_key = $1 and id >= $2 and id < $3 and erased_at is null order by id",
		k.tenant, lo, to)
	if err != nil {
		return nil, to, err
	}
	ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	return ids, to, err
}

// erasePast erases a portion of what is older than the tenant keeps. What of it still waits is called off.
func (s *Store) erasePast(ctx context.Context, k *keeping, now time.Time) (erased []uuid.UUID, more bool, err error) {
	days := k.settings.RetentionDays
	if days == nil {
		return nil, false, nil
	}
	ids, to, err := s.keptWindow(ctx, k, k.past, lowestUUID(now.Add(-time.Duration(*days)*24*time.Hour)))
	if err != nil || to == k.past {
		return nil, false, err
	}
	if len(ids) > 0 {
		err = s.cancelErased(ctx, ids, whyPast(*days), func(ctx context.Context, tx *Tx, n int) error {
			return noteLater(ctx, tx, slices.Repeat([]int64{k.tenant}, len(ids)), ids)
		})
		if err != nil {
			return nil, false, err
		}
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		moved, err := k.mark(ctx, tx, "past", k.past, to)
		if more = moved; err != nil || !moved || len(ids) == 0 {
			return err
		}
		erased, _, err = eraseEvents(ctx, tx, ids, whyPast(*days), nil)
		return err
	})
	if errors.Is(err, errQueuedAgain) {
		return nil, true, nil
	}
	if err == nil {
		k.past = to
	}
	return erased, more, err
}

func noteLater(ctx context.Context, tx pgx.Tx, tenants []int64, ids []uuid.UUID) error {
	_, err := tx.Exec(ctx, `insert into kept_later (tenant_key, event_id) select t, e from unnest($1::bigint[], $2::uuid[]) u (t, e)
		on conflict do nothing`, tenants, ids)
	return err
}

// settledEvents are those of some events of which nothing waits, is under way or has failed.
func (s *Store) settledEvents(ctx context.Context, ids []uuid.UUID) (settled, others []uuid.UUID, err error) {
	lo, hi := ends(ids)
	rows, err := s.pool.Query(ctx, `select distinct event_id from deliveries where event_id = any($1) and event_id >= $2 and event_id <= $3
		and status not in ('delivered', 'filtered_out', 'cancelled')`, ids, lo, hi)
	if err != nil {
		return nil, nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	open := map[uuid.UUID]bool{}
	for _, id := range list {
		open[id] = true
	}
	for _, id := range ids {
		if open[id] {
			others = append(others, id)
		} else {
			settled = append(settled, id)
		}
	}
	return settled, others, err
}

// eraseDelivered erases a portion of what is delivered, for a tenant that keeps no payloads then. The others are noted.
func (s *Store) eraseDelivered(ctx context.Context, k *keeping, now time.Time) (erased []uuid.UUID, more bool, err error) {
	if on := k.settings.EraseDelivered; on == nil || !*on {
		return nil, false, nil
	}
	ids, to, err := s.keptWindow(ctx, k, maxUUID(k.delivered, k.past), lowestUUID(now.Add(-keptSettle)))
	if err != nil || to == maxUUID(k.delivered, k.past) {
		return nil, false, err
	}
	var settled, others []uuid.UUID
	if len(ids) > 0 {
		if settled, others, err = s.settledEvents(ctx, ids); err != nil {
			return nil, false, err
		}
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		moved, err := k.mark(ctx, tx, "delivered", k.delivered, to)
		if more = moved; err != nil || !moved {
			return err
		}
		if len(others) > 0 {
			err = noteLater(ctx, tx, slices.Repeat([]int64{k.tenant}, len(others)), others)
		}
		if err == nil && len(settled) > 0 {
			erased, _, err = eraseEvents(ctx, tx, settled, WhyDelivered, nil)
		}
		return err
	})
	if errors.Is(err, errQueuedAgain) {
		return nil, true, nil // somebody has just retried one of them; it is among the others next time
	}
	if err == nil {
		k.delivered = to
	}
	return erased, more, err
}

// eraseLater looks at the events again that were noted, and forgets those that nothing is left to do for.
func (s *Store) eraseLater(ctx context.Context, k *keeping, still func() bool) (erased []uuid.UUID, err error) {
	var after uuid.UUID
	for still() {
		rows, err := s.pool.Query(ctx, `select event_id from kept_later where tenant_key = $1 and event_id > $2
			and noted_at < now() - make_interval(secs => $3) order by event_id limit $4`, k.tenant, after, keptAgain.Seconds(), erasePortion)
		if err != nil {
			return erased, err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil || len(ids) == 0 {
			return erased, err
		}
		after = ids[len(ids)-1]
		settled, others, err := s.settledEvents(ctx, ids)
		if err != nil {
			return erased, err
		}
		part, err := s.eraseNoted(ctx, k, settled, others)
		if erased = append(erased, part...); err != nil && !errors.Is(err, errQueuedAgain) {
			return erased, err
		}
	}
	return erased, nil
}

// eraseNoted erases noted events that are settled now. For a tenant that keeps payloads after all, the others are forgotten, too.
func (s *Store) eraseNoted(ctx context.Context, k *keeping, settled, others []uuid.UUID) (erased []uuid.UUID, err error) {
	on := k.settings.EraseDelivered != nil && *k.settings.EraseDelivered
	err = s.InTx(ctx, func(tx *Tx) error {
		if on && len(settled) > 0 {
			if erased, _, err = eraseEvents(ctx, tx, settled, WhyDelivered, nil); err != nil {
				return err
			}
		}
		gone := settled
		if !on {
			gone = append(gone, others...)
		}
		if len(gone) == 0 {
			return nil
		}
		lo, hi := ends(gone)
		rows, err := tx.Pgx.Query(ctx, "select id from events where id = any($1) and id >= $2 and id <= $3 and erased_at is not null",
			gone, lo, hi)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return err
		}
		if _, err := eraseReceipts(ctx, tx, ids); err != nil { // of attempts that were under way
			return err
		}
		_, err = tx.Pgx.Exec(ctx, "delete from kept_later where tenant_key = $1 and event_id = any($2)", k.tenant, gone)
		return err
	})
	if err != nil {
		return nil, err
	}
	return erased, nil
}
