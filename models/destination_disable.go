package models

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// disabler is the actor of what the server does to a destination by itself.
const disabler = "Waybill"

// disableLimit is after how many failing deliveries in a row a destination d of a tenant t is disabled. $1 is the server's number.
const disableLimit = "coalesce(d.disable_after, (t.settings->>'disable_after_failures')::int, $1)"

// disableLeast is for how long they must last; own is the tenant's disable_min_duration.
func (r *Rules) disableLeast(own *string) time.Duration {
	if own != nil {
		if d, err := ParseDuration(*own); err == nil {
			return time.Duration(d)
		}
	}
	return r.DisableLeast
}

// DisableFailing disables the destinations that have failed too often and for too long, and returns how many those were.
// Any process may call it at any time.
func (s *Store) DisableFailing(ctx context.Context) (n int, err error) {
	rules := s.Rules()
	rows, err := s.pool.Query(ctx,
		`select t.id, d.id from destination_health h join destinations d on d.key = h.destination_key join tenants t on t.key = d.tenant_key
		cross join lateral (select `+disableLimit+` as most) l
		where h.failures > 0 and h.failures >= l.most and l.most > 0
			and (h.last_failure_at - h.since >= $2::interval or t.settings ? 'disable_min_duration')
			and d.disabled_at is null and d.deleted_at is null and t.deleted_at is null
		limit 1000`, rules.DisableAfter, rules.DisableLeast)
	if err != nil {
		return 0, err
	}
	type named struct{ tenant, id string }
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (x named, err error) {
		err = row.Scan(&x.tenant, &x.id)
		return x, err
	})
	if err != nil {
		return 0, err
	}
	for _, x := range list {
		done, err := s.disableFailing(ctx, x.tenant, x.id)
		if err != nil {
			return n, fmt.Errorf("disable destination %s: %w", x.id, err)
		}
		if done {
			n++
		}
	}
	return n, nil
}

// disableFailing disables one destination, after a second look with the destination locked.
func (s *Store) disableFailing(ctx context.Context, tenantID, id string) (done bool, err error) {
	_, err = s.change(ctx, AllTenants(), tenantID, id, 0, func(ctx context.Context, tx *Tx, d *Destination) error {
		found, err := lockHealth(ctx, tx.Pgx, []int64{d.Key})
		if err != nil {
			return err
		}
		h := found[d.Key]
		t, err := s.tenantByKey(ctx, d.TenantKey)
		if err != nil {
			return err
		}
		rules := s.RulesOf(t)
		if h == nil || d.DisabledAt != nil || !h.ShouldDisable(d.DisableLimit(rules.DisableAfter), rules.DisableLeast) {
			return errUnchanged
		}
		// What other workers have recorded but nobody has folded in yet: one success is enough to let it go on.
		var works bool
		err = tx.Pgx.QueryRow(ctx,
			"select exists (select 1 from attempts where destination_key = $1 and started_at > $2 and ok and trigger <> 'test')",
			d.Key, *h.Since).Scan(&works)
		if err != nil {
			return err
		}
		if works {
			return errUnchanged
		}
		now := time.Now()
		d.DisabledAt, d.DisabledBy, d.disabledCause = &now, disabler, causeFailures
		d.DisabledReason = fmt.Sprintf("%s between %s and %s UTC. Last error: %s", h.Sentence(), h.Since.UTC().Format("2006-01-02 15:04"),
			h.LastFailure.UTC().Format("15:04"), h.Error)
		attempts, err := lastFailedAttempts(ctx, tx.Pgx, d.Key, *h.Since)
		if err != nil {
			return err
		}
		h.Probes, h.ProbeAt = 0, nil
		if rules.ProbeAfter > 0 {
			first := now.Add(rules.ProbeAfter)
			h.ProbeAt = &first
		}
		b := &pgx.Batch{}
		h.queue(b)
		if err := tx.Pgx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: d.TenantScope(), Actor: disabler, Action: "destination.disable", Object: d.ID,
			Detail: map[string]any{
				"reason": d.DisabledReason, "failures_in_a_row": h.Failures, "failed_attempts": h.Attempts, "since": h.Since,
				"error_class": h.ErrorClass,
				"attempts":    attempts}})
	})
	if errors.Is(err, errUnchanged) || IsKind(err, KindNotFound) {
		return false, nil
	}
	return err == nil, err
}

// lastFailedAttempts are the ids of the last attempts of a destination that failed since a time, newest first.
func lastFailedAttempts(ctx context.Context, tx pgx.Tx, destination int64, since time.Time) ([]string, error) {
	rows, err := tx.Query(ctx, `select event_id, number from attempts where destination_key = $1 and started_at >= $2 and not ok
		order by started_at desc limit 10`, destination, since)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		k := DeliveryKey{Destination: destination}
		var n int
		err := row.Scan(&k.EventKey, &n)
		return k.AttemptID(n), err
	})
}

// resetHealth forgets a destination's failures, because it is enabled.
func resetHealth(ctx context.Context, tx pgx.Tx, destination int64) error {
	found, err := lockHealth(ctx, tx, []int64{destination})
	if err != nil || found[destination] == nil {
		return err
	}
	h := found[destination]
	h.reset(time.Now())
	b := &pgx.Batch{}
	h.queue(b)
	return tx.SendBatch(ctx, b).Close()
}

// StateChange is one time at which a destination was disabled or enabled.
type StateChange struct {
	At       time.Time
	Disabled bool
	Actor    string
	Reason   string
	Attempts []string // ids of the attempts that led to it, when it was disabled by itself
}

// StateChanges lists when a destination was disabled and enabled, newest first.
func (s *Store) StateChanges(ctx context.Context, d *Destination, limit int) ([]StateChange, error) {
	rows, err := s.pool.Query(ctx,
		`select id::text, actor, action, coalesce(detail->>'reason', ''), coalesce(detail->'attempts', '[]') from audit
		where tenant_key = $1 and object = $2 and action in ('destination.disable', 'destination.enable') and outcome = 'ok'
			order by id desc limit $3`, d.TenantKey, d.ID, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c StateChange, err error) {
		var id, action string
		err = row.Scan(&id, &c.Actor, &action, &c.Reason, &c.Attempts)
		c.At, c.Disabled = timeInID(id), action == "destination.disable"
		return c, err
	})
}
