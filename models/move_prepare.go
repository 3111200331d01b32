package models

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
)

// prepare makes the target ready and has the source note what changes.
func (r *moveRun) prepare(ctx context.Context) error {
	m := r.m
	for name, s := range map[string]*Store{m.Source: r.source, m.Target: r.target} {
		if err := s.Migrated(ctx); err != nil {
			return fmt.Errorf("the cell %q: %w", name, err)
		}
	}
	if err := r.samePartitions(ctx); err != nil {
		return err
	}
	if err := ddl(ctx, r.target, "select pg_advisory_xact_lock(hashtext('"+MoveSchema+"'))", "create schema if not exists "+MoveSchema); err != nil {
		return err
	}
	// At home the row is the directory's: cell goes on telling where the tenant is. Elsewhere a row that says so may be there still.
	// What the tenant's settings ask for is not to be done to a copy.
	sql := `insert into tenants (key, id, held_until) overriding system value values ($1, $2, 'infinity')
		on conflict (key) do update set id = excluded.id, cell = null, held_until = 'infinity', settings = '{}', deleted_at = null`
	if m.Target == HomeCell {
		sql = "update tenants set held_until = 'infinity' where key = $1 and id = $2"
	}
	if _, err := r.target.pool.Exec(ctx, sql, m.TenantKey, m.TenantID); err != nil {
		return err
	}
	if err := r.pause("target's row"); err != nil {
		return err
	}
	if err := capture(ctx, r.source, m); err != nil {
		return err
	}
	if err := r.pause("capture"); err != nil {
		return err
	}
	err := r.source.pool.QueryRow(ctx, `select clock_timestamp(), (select count(*) from events where tenant_key = $1)`, m.TenantKey).
		Scan(&m.Progress.Since, &m.Progress.Total)
	if err != nil {
		return err
	}
	if err := r.openFeed(ctx); err != nil {
		return err
	}
	return m.note(ctx, r.Home, MoveCopy)
}

// samePartitions makes the days at the target that the source has.
func (r *moveRun) samePartitions(ctx context.Context) error {
	days, err := migrations.Days(ctx, r.source.pool)
	if err != nil {
		return err
	}
	return migrations.EnsureDays(ctx, r.target.pool, days)
}

// copyPortion copies the next portion of what may be much.
func (r *moveRun) copyPortion(ctx context.Context) (err error) {
	p := &r.m.Progress
	var over bool
	switch stages := tablesThat(movesHistory); {
	case p.Stage == 0:
		over, err = r.copyEvents(ctx)
	case p.Stage == 1:
		over, err = r.copyNotifications(ctx)
	case p.Stage == 2:
		over, err = r.copyChanges(ctx)
	case p.Stage-3 < len(stages):
		over, err = r.copyHistory(ctx, stages[p.Stage-3])
	default:
		p.Stage, p.After = 0, ""
		return r.m.note(ctx, r.Home, MoveCatchUp)
	}
	if err != nil {
		return err
	}
	if over {
		p.Stage, p.After = p.Stage+1, ""
	}
	if err := r.pause("progress"); err != nil {
		return err
	}
	return r.m.note(ctx, r.Home, MoveCopy)
}

// copyEvents copies the next events with what belongs to them, and some of what has changed meanwhile: of a long copy, much would pile up.
func (r *moveRun) copyEvents(ctx context.Context) (over bool, err error) {
	p := &r.m.Progress
	after := uuid.UUID{}
	if p.After != "" {
		if after, err = uuid.Parse(p.After); err != nil {
			return false, err
		}
	}
	n, last := 0, after
	err = r.carry(ctx, func(pipe *movePipe) error {
		ids, err := r.nextEvents(ctx, pipe.from, after, movePortion)
		if n = len(ids); err != nil || n == 0 {
			return err
		}
		last = ids[n-1]
		return pipe.events(ctx, ids)
	})
	if err != nil {
		return false, err
	}
	if n > 0 {
		p.After, p.Events = last.String(), p.Events+int64(n)
	}
	if n < movePortion { // what comes now is for the catch-up: the copy does not come to it
		p.Mark = last
		return true, nil
	}
	if _, err = r.takeUp(ctx, last); err == nil && p.Events/movePortion%tidyEach == 0 {
		err = tidyChanged(ctx, r.source, r.m)
	}
	return false, err
}

func (r *moveRun) nextEvents(ctx context.Context, db querier, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	rows, err := db.Query(ctx, "select id from events where tenant_key = $1 and id > $2 order by id limit $3", r.m.TenantKey, after, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// takeUp copies some of what has changed, up to an event; changes of later ones are dropped, for the copy comes to those. Without an event
// it takes all. It returns how many changes it took.
func (r *moveRun) takeUp(ctx context.Context, upTo uuid.UUID) (taken int64, err error) {
	err = r.carry(ctx, func(p *movePipe) error {
		c, err := takeChanged(ctx, p.from, r.m, moveChanges)
		if err != nil {
			return err
		}
		taken = c.noted
		if upTo != uuid.Nil {
			c.until(upTo)
		}
		return p.changed(ctx, c)
	})
	return taken, err
}

func (r *moveRun) copyNotifications(ctx context.Context) (over bool, err error) {
	p := &r.m.Progress
	n, last := 0, p.After
	err = r.carry(ctx, func(pipe *movePipe) error {
		rows, err := pipe.from.Query(ctx, "select id from notifications where owner_key = $1 and id > $2 order by id limit $3", r.m.TenantKey,
			uuidOr(last), moveHistory)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if n = len(ids); err != nil || n == 0 {
			return err
		}
		last = ids[n-1].String()
		return pipe.put(ctx, movedTableNamed("notifications"), "id = any("+uuidList(ids)+")")
	})
	p.After = last
	return n < moveHistory, err
}

func uuidOr(s string) uuid.UUID {
	id, _ := uuid.Parse(s) // empty for the first one
	return id
}

// copyHistory copies a table that is only added to.
func (r *moveRun) copyHistory(ctx context.Context, t *movedTable) (over bool, err error) {
	if t.name != "audit" && t.name != "filter_counts" {
		return r.copyByDestination(ctx, t)
	}
	return true, r.carry(ctx, func(p *movePipe) error { return p.put(ctx, t, t.where(r.m.TenantKey)) })
}

// copyByDestination copies a destination's part of a table.
func (r *moveRun) copyByDestination(ctx context.Context, t *movedTable) (over bool, err error) {
	p := &r.m.Progress
	err = r.carry(ctx, func(pipe *movePipe) error {
		var key int64
		err := pipe.from.QueryRow(ctx, "select key from destinations where tenant_key = $1 and key > $2::text::bigint order by key limit 1",
			r.m.TenantKey, cmp.Or(p.After, "0")).Scan(&key)
		if errors.Is(err, pgx.ErrNoRows) {
			over = true
			return nil
		}
		if err != nil {
			return err
		}
		p.After = fmt.Sprint(key)
		return pipe.put(ctx, t, fmt.Sprintf("destination_key = %d", key))
	})
	return over, err
}

// until leaves out what belongs to later events.
func (c *changedRows) until(last uuid.UUID) {
	events, deliveries := c.events[:0], c.deliveries[:0]
	for _, id := range c.events {
		if minUUID(id, last) == id {
			events = append(events, id)
		}
	}
	for _, k := range c.deliveries {
		if minUUID(k.EventKey, last) == k.EventKey {
			deliveries = append(deliveries, k)
		}
	}
	c.events, c.deliveries = events, deliveries
}
