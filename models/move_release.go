package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/queue"
)

// release lets the tenant go on at the target, in one transaction, and has the directory say where it is.
func (r *moveRun) release(ctx context.Context) error {
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
	var staged []*movedTable
	for _, t := range tablesThat(movesStaged) {
		var there bool
		if err := tx.QueryRow(ctx, "select to_regclass($1) is not null", n.staged(t.name)).Scan(&there); err != nil {
			return err
		}
		if there {
			staged = append(staged, t)
		}
	}
	for _, t := range slices.Backward(tablesThat(movesStaged)) { // the rules that every new tenant has, where home has made some
		if _, err := tx.Exec(ctx, "delete from "+t.name+" where "+t.where(m.TenantKey)); err != nil {
			return err
		}
	}
	for _, t := range staged {
		if err := putStaged(ctx, tx, n.staged(t.name), t.name, t.fresh, t.order); err != nil {
			return err
		}
	}
	if err := r.putTenant(ctx, tx); err != nil {
		return err
	}
	if err := r.putChanges(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("insert into %[1]s.river_job (%[2]s) select %[2]s from %[3]s order by scheduled_at", queue.Schema,
		queue.Carried, n.staged("river_job"))); err != nil {
		return fmt.Errorf("put jobs in place: %w", err)
	}
	staged = append(staged, movedTableNamed("tenants"), movedTableNamed("changes"), &movedTable{name: "river_job"})
	for _, t := range staged {
		if _, err := tx.Exec(ctx, "drop table "+n.staged(t.name)); err != nil {
			return err
		}
	}
	tx.AfterCommit(r.target.Queue.Carry)
	return nil
}

// putStaged moves rows from their place beside a table into it.
func putStaged(ctx context.Context, tx pgx.Tx, from, into, fresh, order string) error {
	columns, err := moveColumns(ctx, tx, tx, from, fresh)
	if err != nil {
		return err
	}
	sql := fmt.Sprintf("insert into %[1]s (%[2]s) overriding system value select %[2]s from %[3]s", into, columns, from)
	if fresh != "" {
		sql = strings.Replace(sql, "overriding system value ", "", 1)
	}
	if order != "" {
		sql += " order by " + order
	}
	if _, err := tx.Exec(ctx, sql); err != nil {
		return fmt.Errorf("put rows of %s in place: %w", into, err)
	}
	return nil
}

// putTenant gives the tenant's row what it had at the source, and ends the hold. Where the target is home, that is the directory, too.
func (r *moveRun) putTenant(ctx context.Context, tx *Tx) error {
	m, from := r.m, moveNames{r.m.TenantKey}.staged("tenants")
	columns, err := moveColumns(ctx, tx, tx, from, "")
	if err != nil {
		return err
	}
	var set []string
	for _, c := range strings.Split(columns, ", ") {
		if !slices.Contains([]string{"key", "id", "cell", "held_until", "feed_base"}, c) {
			set = append(set, c+" = s."+c)
		}
	}
	var limited, own bool
	err = tx.QueryRow(ctx, "update tenants t set "+strings.Join(set, ", ")+", cell = null, held_until = null, feed_base = $2 from "+from+
		` s where t.key = $1 and s.key = $1 returning t.settings ?| '{requests_per_second,events_per_second,bytes_per_second,limit_burst}',
		exists (select 1 from destinations d where d.tenant_key = $1 and d.deleted_at is null and d.topics::text like '%"waybill.%')`,
		m.TenantKey, m.Progress.Base).Scan(&limited, &own)
	if err != nil {
		return fmt.Errorf("put the tenant in place: %w", err)
	}
	if limited {
		if err := noteIntake(ctx, tx); err != nil {
			return err
		}
	}
	if own {
		if err := resubscribe(ctx, tx, m.TenantKey); err != nil {
			return err
		}
	}
	if m.Target == HomeCell {
		return noteDirectory(ctx, tx)
	}
	return nil
}

// putChanges adds the changes that the source had not told yet. They get their positions as any others do.
func (r *moveRun) putChanges(ctx context.Context, tx *Tx) error {
	from := moveNames{r.m.TenantKey}.staged("changes")
	if _, err := tx.Exec(ctx, "update "+from+" set position = null, was = null"); err != nil {
		return err
	}
	if err := putStaged(ctx, tx, from, "changes", "", "ctid"); err != nil {
		return err
	}
	// Outcomes are read from the position on that stands for that of the source: all of the tenant's that came are there.
	_, err := tx.Exec(ctx, "update outcome_readers set since = $2 where tenant_key = $1 and source = $3 and since is null", r.m.TenantKey,
		r.m.Progress.Base-1, sourceFeed)
	return err
}

// direct has the directory say that the tenant is at the target.
func (r *moveRun) direct(ctx context.Context) error {
	m := r.m
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
		if err := noteDirectory(ctx, tx); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Actor: disabler, Action: "move.switch", Object: m.ID(),
			Detail: map[string]any{"tenant": m.TenantID, "from": m.Source, "to": m.Target, "started_by": m.Actor, "held_ms": m.Progress.HeldMs}})
	})
	if err == nil {
		r.log().Info("a tenant is in another cell", "tenant", m.TenantID, "from", m.Source, "to", m.Target, "events", m.Progress.Events,
			"held_ms", m.Progress.HeldMs, "jobs", m.Progress.MovedJob, "jobs_under_way", m.Progress.Running)
	}
	return err
}

// directoryVersion rises when a tenant is somewhere else, or cells change. It is a setting of home's.
const directoryVersion = "cells_version"

// noteDirectory says that the directory has changed.
func noteDirectory(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `insert into settings (key, value) values ($1, '1')
		on conflict (key) do update set value = to_jsonb((settings.value #>> '{}')::bigint + 1)`, directoryVersion)
	return err
}
