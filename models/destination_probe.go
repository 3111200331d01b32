package models

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/queue"
)

// probe is one held delivery that is sent to a disabled destination, to find out whether it works again. When it
// arrives, the destination is enabled; otherwise it stays as it is, and so does the delivery.
type probe struct {
	Event   uuid.UUID `json:"event"`
	Backlog Backlog   `json:"backlog"` // what happens to the others then
	Asker             // who asked for it, and how
}

// maxProbeWait is the longest wait between two probes that the server makes by itself.
const maxProbeWait = 6 * time.Hour

// ProbeDestination sends the oldest held delivery of a disabled destination, and enables it once that has arrived.
// probing is false when there is nothing to probe with; then the destination is enabled at once.
func (s *Store) ProbeDestination(ctx context.Context, scope Scope, tenantID, id string, by Asker, backlog Backlog) (d *Destination,
	probing bool, err error) {
	if err := backlog.check("backlog"); err != nil {
		return nil, false, err
	}
	d, err = s.change(ctx, scope, tenantID, id, 0, func(ctx context.Context, tx *Tx, d *Destination) error {
		if d.DisabledAt == nil {
			return conflict("The destination is not disabled.")
		}
		probing, err = s.startProbe(ctx, tx, d, probe{Asker: by, Backlog: backlog})
		if err == nil && !probing {
			err = s.enable(ctx, tx, d, by.Actor, backlog)
		}
		d.audit(map[bool]string{true: "destination.probe", false: "destination.enable"}[probing], map[string]any{"backlog": backlog.Action})
		return err
	})
	return d, probing, err
}

// startProbe queues the oldest held delivery of a destination that is locked. What is being dropped or released at this moment is
// passed over for the next one.
func (s *Store) startProbe(ctx context.Context, tx *Tx, d *Destination, p probe) (probing bool, err error) {
	var it queue.Item
	err = tx.QueryRow(ctx,
		`with oldest as (
			select event_id from deliveries where destination_key = $1 and attention = 'held'
				order by event_id limit 1 for update skip locked)
		update deliveries d set status = 'pending', reason = null, next_attempt_at = null, turn = turn + 1, retry_id = null,
			retry_from = null
		from oldest o where d.destination_key = $1 and d.event_id = o.event_id
		returning d.event_id, d.turn`, d.Key).Scan(&it.EventKey, &it.Turn)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	p.Event = it.EventKey
	_, err = tx.Exec(ctx, `insert into destination_health (destination_key, tenant_key, probe) values ($1, $2, $3)
		on conflict (destination_key) do update set probe = excluded.probe`, d.Key, d.TenantKey, p)
	if err != nil {
		return false, err
	}
	err = s.Queue.Enqueue(ctx, tx, []queue.Batch{{Key: queue.Key{Destination: d.Key, Tenant: d.TenantKey, Later: true,
		Trigger: TriggerProbe, Actor: p.Actor},
		Items: []queue.Item{it}}})
	return err == nil, err
}

// SettleProbes enables the destinations whose probe has arrived, forgets those that failed, and starts the ones that are
// due. Any process may call it at any time.
func (s *Store) SettleProbes(ctx context.Context, now time.Time) error {
	rows, err := s.pool.Query(ctx,
		`select t.id, d.id, h.destination_key, h.probe from destination_health h join destinations d on d.key = h.destination_key
		join tenants t on t.key = d.tenant_key where h.probe is not null`)
	if err != nil {
		return err
	}
	type under struct {
		tenant, id string
		key        int64
		probe      probe
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (u under, err error) {
		return u, row.Scan(&u.tenant, &u.id, &u.key, &u.probe)
	})
	if err != nil {
		return err
	}
	for _, u := range list {
		var status, reason string
		err := s.pool.QueryRow(ctx,
			"select status::text, coalesce(reason, '') from deliveries where event_id = $1 and destination_key = $2", u.probe.Event,
			u.key).Scan(&status, &reason)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if status == StatusPending || status == StatusDelivering {
			continue
		}
		if err := s.settleProbe(ctx, u.tenant, u.id, u.probe, status == StatusDelivered, reason); err != nil && !IsKind(err, KindNotFound) {
			return fmt.Errorf("settle the probe of destination %s: %w", u.id, err)
		}
	}
	return s.startDueProbes(ctx, now)
}

func (s *Store) settleProbe(ctx context.Context, tenantID, id string, p probe, arrived bool, reason string) error {
	_, err := s.change(ctx, AllTenants(), tenantID, id, 0, func(ctx context.Context, tx *Tx, d *Destination) error {
		if _, err := tx.Pgx.Exec(ctx, "update destination_health set probe = null where destination_key = $1", d.Key); err != nil {
			return err
		}
		if d.DisabledAt == nil {
			return nil
		}
		entry := p.entry(d.TenantScope(), "destination.probe", d.ID)
		entry.Outcome = reason
		if arrived {
			entry.Action, entry.Outcome, entry.Detail = "destination.enable", "",
				map[string]any{"reason": "A probe arrived.", "backlog": p.Backlog.Action}
			if err := s.enable(ctx, tx, d, p.Actor, p.Backlog); err != nil {
				return err
			}
		}
		return tx.Audit(ctx, entry)
	})
	return err
}

// startDueProbes probes the destinations that were disabled by themselves, each time after twice the wait.
func (s *Store) startDueProbes(ctx context.Context, now time.Time) error {
	rows, err := s.pool.Query(ctx,
		`select t.id, d.id from destination_health h join destinations d on d.key = h.destination_key join tenants t on t.key = d.tenant_key
		where h.probe_at <= $1 and h.probe is null and d.disabled_at is not null and d.deleted_at is null and t.deleted_at is null limit 100`, now)
	if err != nil {
		return err
	}
	type named struct{ tenant, id string }
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (x named, err error) {
		return x, row.Scan(&x.tenant, &x.id)
	})
	if err != nil {
		return err
	}
	for _, x := range list {
		_, err := s.change(ctx, AllTenants(), x.tenant, x.id, 0, func(ctx context.Context, tx *Tx, d *Destination) error {
			found, err := lockHealth(ctx, tx.Pgx, []int64{d.Key})
			if err != nil {
				return err
			}
			h := found[d.Key]
			if h == nil || h.ProbeAt == nil || h.ProbeAt.After(now) || d.DisabledAt == nil {
				return errUnchanged
			}
			t, err := s.tenantByKey(ctx, d.TenantKey)
			if err != nil {
				return err
			}
			wait := s.RulesOf(t).ProbeAfter
			if wait == 0 {
				return errUnchanged // probing was switched off since; it goes on where it is switched on again
			}
			h.Probes++
			next := now.Add(min(wait<<min(h.Probes, 16), maxProbeWait))
			h.ProbeAt = &next
			b := &pgx.Batch{}
			h.queue(b)
			if err := tx.Pgx.SendBatch(ctx, b).Close(); err != nil {
				return err
			}
			_, err = s.startProbe(ctx, tx, d, probe{Asker: Asker{Actor: disabler, ActorKind: ActorServer},
				Backlog: Backlog{Action: s.probeAction(t)}})
			return err
		})
		if err != nil && !errors.Is(err, errUnchanged) && !IsKind(err, KindNotFound) {
			return fmt.Errorf("probe destination %s: %w", x.id, err)
		}
	}
	return nil
}
