package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/queue"
)

// release lets the tenant go on at the target, in one transaction, and has the directory say where it is.
func (r *moveRun) release(ctx context.Context) error {
	r.lap("")
	// The target has all changes of topics that the source had, so that the tenant, which brings its own copy, is not told of one again.
	if err := r.target.CopyTopics(ctx); err != nil {
		return err
	}
	err := r.target.InTx(ctx, func(tx *Tx) error {
		err := r.lockTarget(ctx, tx)
		if errors.Is(err, errMoved) {
			return nil // it was released by somebody who died then
		}
		if err != nil {
			return err
		}
		return r.putInPlace(ctx, tx)
	})
	r.lap("release")
	if err != nil {
		return err
	}
	if err := r.pause("release"); err != nil {
		return err
	}
	return r.direct(ctx)
}

// putInPlace puts the rows that were brought during the hold into their tables.
func (r *moveRun) putInPlace(ctx context.Context, tx *Tx) error {
	m, n := r.m, moveNames{r.m.TenantKey}
	tables := brought()
	list := make([]string, len(tables))
	for i, t := range tables {
		list[i] = "exists (select 1 from " + n.staged(t.name) + ")"
	}
	var filled []bool
	if err := tx.QueryRow(ctx, "select array["+strings.Join(list, ", ")+"]").Scan(&filled); err != nil {
		return err
	}
	b := &pgx.Batch{}
	for _, t := range slices.Backward(tablesThat(movesStaged)) { // the rules that every new tenant has, where home has made some
		b.Queue("delete from " + t.name + " where " + t.where(m.TenantKey))
	}
	for i, t := range tables {
		if !filled[i] {
			continue
		}
		columns, err := r.columnsOf(ctx)(t.name)
		if err != nil {
			return err
		}
		b.Queue(t.fromStage(n.staged(t.name), columns))
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("put rows in place: %w", err)
	}
	topics, err := r.putTenant(ctx, tx)
	if err != nil {
		return err
	}
	if err := r.putChanges(ctx, tx, topics); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("insert into %[1]s.river_job (%[2]s) select %[2]s from %[3]s order by scheduled_at", queue.Schema,
		queue.Carried, n.staged("river_job"))); err != nil {
		return fmt.Errorf("put jobs in place: %w", err)
	}
	tx.AfterCommit(r.target.Queue.Carry)
	return nil
}

// fromStage puts rows of a table that were brought beside it into it.
func (t *movedTable) fromStage(stage, columns string) string {
	if t.how == movesHistory {
		return t.upsert(columns, stage)
	}
	into, order := columns, ""
	if t.order != "" {
		order = " order by " + t.order
	}
	if t.fresh != "" {
		into = strings.Join(slices.DeleteFunc(strings.Split(columns, ", "), func(c string) bool { return c == t.fresh }), ", ")
		return fmt.Sprintf("insert into %[1]s (%[2]s) select %[2]s from %[3]s%[4]s", t.name, into, stage, order)
	}
	return fmt.Sprintf("insert into %[1]s (%[2]s) overriding system value select %[2]s from %[3]s%[4]s", t.name, into, stage, order)
}

// putTenant gives the tenant's row what it had at the source, and ends the hold. Where the target is home, that is the directory, too. It
// returns what carryRest has noted of topics.
func (r *moveRun) putTenant(ctx context.Context, tx *Tx) (topics *int64, err error) {
	m, from := r.m, moveNames{r.m.TenantKey}.staged("tenants")
	columns, err := r.columnsOf(ctx)("tenants")
	if err != nil {
		return nil, err
	}
	var set []string
	for _, c := range strings.Split(columns, ", ") {
		if !slices.Contains([]string{"key", "id", "cell", "held_until", "feed_base", "feed_since"}, c) {
			set = append(set, c+" = s."+c)
		}
	}
	var limited, own bool
	err = tx.QueryRow(ctx, "update tenants t set "+strings.Join(set, ", ")+", cell = null, held_until = null, feed_base = $2 from "+from+
		` s where t.key = $1 and s.key = $1 returning t.settings ?| '{requests_per_second,events_per_second,bytes_per_second,limit_burst}',
		s.feed_since, exists (select 1 from destinations d where d.tenant_key = $1 and d.deleted_at is null and d.topics::text like '%"waybill.%')`,
		m.TenantKey, m.Progress.Base).Scan(&limited, &topics, &own)
	if err != nil {
		return nil, fmt.Errorf("put the tenant in place: %w", err)
	}
	if limited {
		if err := noteIntake(ctx, tx); err != nil {
			return nil, err
		}
	}
	if own {
		if err := resubscribe(ctx, tx, m.TenantKey); err != nil {
			return nil, err
		}
	}
	if m.Target == HomeCell {
		return topics, noteCells(ctx, tx)
	}
	return topics, nil
}

// direct has the directory say that the tenant is at the target.
func (r *moveRun) direct(ctx context.Context) error {
	m := r.m
	if !m.Progress.HeldAt.IsZero() {
		m.Progress.HeldMs = time.Since(m.Progress.HeldAt).Milliseconds()
	}
	err := r.Home.InTx(ctx, func(tx *Tx) error {
		tag, err := tx.Exec(ctx, "update tenant_moves set phase = $3, switched_at = coalesce(switched_at, now()), error = '', progress = $4 where id = $1 and phase = $2",
			m.Key, MoveRelease, MoveClean, m.Progress)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return errMoved
		}
		if _, err := tx.Exec(ctx, "update tenants set cell = $2 where key = $1", m.TenantKey, inDirectory(m.Target)); err != nil {
			return err
		}
		if err := noteCells(ctx, tx); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Actor: disabler, Action: "move.switch", Object: m.ID(),
			Detail: map[string]any{"tenant": m.TenantID, "from": m.Source, "to": m.Target, "started_by": m.Actor, "held_ms": m.Progress.HeldMs}})
	})
	r.Home.ForgetPlace(m.TenantID)
	if err == nil {
		r.log().Info("a tenant is in another cell", "tenant", m.TenantID, "from", m.Source, "to", m.Target, "events", m.Progress.Events,
			"held_ms", m.Progress.HeldMs, "jobs", m.Progress.MovedJob, "jobs_under_way", m.Progress.Running)
		r.lap("directory")
		r.log().Debug("a tenant was released", append([]any{"tenant", m.TenantID}, r.laps...)...)
	}
	return err
}
