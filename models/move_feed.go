package models

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// The feed of changes is numbered in each cell for itself. A tenant's changes get new positions at the target, in their order, and each
// keeps the one that it had (changes.was). So that a cursor of before tells which of the two it is of, the target's positions of the
// tenant begin behind all that the source can give out meanwhile (tenants.feed_base).
//
// Changes that were published as events at the source are not published again. The others are not placed when they come, and the
// target publishes them.

// feedApart is how far the tenant's positions at the target begin behind the source's: more than it gives out during a move.
const feedApart = 1_000_000_000

// openFeed sets the first position that the tenant's changes have at the target.
func (r *moveRun) openFeed(ctx context.Context) error {
	var last int64
	if err := r.source.pool.QueryRow(ctx, "select last from feed").Scan(&last); err != nil {
		return err
	}
	err := r.target.pool.QueryRow(ctx, "update feed set last = greatest(last, $1) returning last", last+feedApart).Scan(&r.m.Progress.Base)
	r.m.Progress.Base++
	return err
}

// toldChanges are the tenant's changes at the source that are placed, and published if somebody takes them.
const toldChanges = `tenant_key = %d and position > %d and position <= (select case when published is null then last
	else greatest(published, dropped) end from feed)`

// copyChanges copies the next changes that are placed at the source, and gives them positions at the target.
func (r *moveRun) copyChanges(ctx context.Context) (over bool, err error) {
	last := r.m.Progress.Feed
	n := 0
	err = r.carry(ctx, func(p *movePipe) error {
		last, n, err = r.carryChanges(ctx, p, last)
		return err
	})
	r.m.Progress.Feed = last
	return n < moveHistory, err
}

// carryChanges copies a portion of the changes after a position, and returns the last one of it.
func (r *moveRun) carryChanges(ctx context.Context, p *movePipe, after int64) (last int64, n int, err error) {
	m := r.m
	columns, err := moveColumns(ctx, r.source.pool, r.target.pool, "changes", "seq")
	if err != nil {
		return 0, 0, err
	}
	// Those that somebody who died has brought already.
	if _, err := p.to.Exec(ctx, "delete from changes where tenant_key = $1 and position >= $2 and was > $3", m.TenantKey, m.Progress.Base,
		after); err != nil {
		return 0, 0, err
	}
	const beside = "moved_changes"
	if _, err := p.to.Exec(ctx, "create temporary table "+beside+" on commit drop as select "+columns+" from changes limit 0"); err != nil {
		return 0, 0, err
	}
	copied, err := p.copyRows(ctx, "select "+columns+" from changes where "+fmt.Sprintf(toldChanges, m.TenantKey, after)+
		fmt.Sprintf(" order by position limit %d", moveHistory), beside, columns)
	if err != nil || copied == 0 {
		return after, 0, errors.Join(err, dropBeside(ctx, p.to, beside))
	}
	if _, err := p.to.Exec(ctx, "select 1 from feed for update"); err != nil {
		return 0, 0, err
	}
	if err := p.to.QueryRow(ctx, "select max(position) from "+beside).Scan(&last); err != nil {
		return 0, 0, err
	}
	b := &pgx.Batch{}
	b.Queue("update " + beside + " set was = position")
	b.Queue("update " + beside + " c set position = f.last + x.n from feed f, (select was w, row_number() over (order by was) n from " + beside +
		") x where c.was = x.w")
	b.Queue("insert into changes (" + columns + ") select " + columns + " from " + beside + " order by position")
	b.Queue("update feed set last = greatest(last, (select max(position) from " + beside + "))")
	if err := p.to.SendBatch(ctx, b).Close(); err != nil {
		return 0, 0, fmt.Errorf("place the tenant's changes: %w", err)
	}
	return last, int(copied), dropBeside(ctx, p.to, beside)
}

func dropBeside(ctx context.Context, tx pgx.Tx, table string) error {
	_, err := tx.Exec(ctx, "drop table "+table)
	return err
}

// restOfChanges brings what is not told yet to its place beside the target's changes, and takes it away from the source.
func (r *moveRun) restOfChanges(ctx context.Context, p *movePipe) error {
	for {
		last, n, err := r.carryChanges(ctx, p, r.m.Progress.Feed)
		if err != nil {
			return err
		}
		if r.m.Progress.Feed = last; n < moveHistory {
			break
		}
	}
	columns, err := moveColumns(ctx, r.source.pool, r.target.pool, "changes", "seq")
	if err != nil {
		return err
	}
	into := moveNames{r.m.TenantKey}.staged("changes")
	rest := fmt.Sprintf("tenant_key = %d and (position > %d or position is null)", r.m.TenantKey, r.m.Progress.Feed)
	if _, err := p.copyRows(ctx, "select "+columns+" from changes where "+rest+" order by position, seq", into, columns); err != nil {
		return err
	}
	_, err = p.from.Exec(ctx, "delete from changes where "+rest)
	return err
}

// sameReaders has the target's workers note the outcomes that somebody reads of the tenant, before it is there.
func (r *moveRun) sameReaders(ctx context.Context) error {
	rows, err := r.source.pool.Query(ctx, "select source, attempts from outcome_readers where tenant_key = $1", r.m.TenantKey)
	if err != nil {
		return err
	}
	readers := map[string]bool{}
	var source string
	var attempts bool
	if _, err := pgx.ForEachRow(rows, []any{&source, &attempts}, func() error { readers[source] = attempts; return nil }); err != nil ||
		len(readers) == 0 {
		return err
	}
	var version int64
	err = r.target.InTx(ctx, func(tx *Tx) error {
		if err := tx.QueryRow(ctx, "select version from feed for update").Scan(&version); err != nil {
			return err
		}
		var added int64
		for source, attempts := range readers {
			tag, err := tx.Exec(ctx, `insert into outcome_readers (tenant_key, source, attempts, version) values ($1, $2, $3, $4)
				on conflict do nothing`, r.m.TenantKey, source, attempts, version+1)
			if err != nil {
				return err
			}
			added += tag.RowsAffected()
		}
		if added == 0 {
			return nil
		}
		version++
		_, err := tx.Exec(ctx, "update feed set version = $1", version)
		return err
	})
	if err != nil {
		return err
	}
	return r.target.awaitWorkers(ctx, version)
}

// afterMove is the position here that a reader's position stands for: another one where it is of the cell that its tenant came from.
func (s *Store) afterMove(ctx context.Context, scope Scope, after int64) (int64, error) {
	if scope.key == 0 {
		return after, nil
	}
	var base *int64
	err := s.pool.QueryRow(ctx, "select feed_base from tenants where key = $1", scope.key).Scan(&base)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && (base == nil || after >= *base) {
		return after, nil
	}
	if err != nil {
		return 0, err
	}
	err = s.pool.QueryRow(ctx, "select coalesce(max(position), $3) from changes where tenant_key = $1 and position >= $2 and was <= $4",
		scope.key, *base, *base-1, after).Scan(&after)
	return after, err
}
