package models

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"
)

// The feed of changes is numbered in each cell for itself. A tenant's changes get new positions at the target, in their order, and each
// keeps the one that it had (changes.was). So that a cursor of before tells which of the two it is of, the target's positions of the
// tenant begin behind all that the source can give out meanwhile (tenants.feed_base).
//
// Changes that were published as events at the source are not published again. The others are placed behind them, and the target publishes
// them: they are those after the position that it had given out last by then (tenants.feed_since).
//
// Changes of topics are everybody's, and are in both feeds. So that a reader's place tells which of them it has read, the tenant brings a
// copy of its own of those that the source had; of everybody's at the target it is told from feed_since on. Those that only the target
// had by then are given to the tenant with what was not published yet.

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

// toldChanges are the changes at the source that are placed, and published if somebody takes them.
const toldChanges = `position > %d and position <= (select case when published is null then last
	else greatest(published, dropped) end from feed)`

// ofTopics are everybody's changes of topics that a tenant is told of.
const ofTopics = `tenant_key is null and type = '` + FeedTopic + `' and
	coalesce(position > (select coalesce(feed_since, 0) from tenants where key = %d), true)`

// changesThat is the query for the tenant's changes at the source, and those of topics that it is told of, in the order of the feed.
func (r *moveRun) changesThat(columns, own, topics string, limit int) string {
	of := func(condition string) string {
		return fmt.Sprintf("(select seq, %s from changes where %s order by position, seq limit %d)", columns, condition, limit)
	}
	return fmt.Sprintf("select %s from (%s union all %s) c order by position, seq limit %d", columns,
		of(fmt.Sprintf("tenant_key = %d and ", r.m.TenantKey)+own), of(fmt.Sprintf(ofTopics, r.m.TenantKey)+" and "+topics), limit)
}

// place queues what puts changes from a table beside the target's into its feed, in their order, as the tenant's own.
func (r *moveRun) place(b *pgx.Batch, beside, columns string) {
	list := strings.Split(columns, ", ")
	for i, c := range list {
		switch strings.Trim(c, `"`) {
		case "tenant_key":
			list[i] = fmt.Sprint(r.m.TenantKey)
		case "position":
			list[i] = "f.last + row_number() over (order by c.position, c.ctid)"
		case "was":
			list[i] = "c.position"
		default:
			list[i] = "c." + c
		}
	}
	b.Queue("insert into changes (" + columns + ") select " + strings.Join(list, ", ") + " from " + beside +
		" c, feed f order by c.position, c.ctid")
	b.Queue("update feed set last = last + (select count(*) from " + beside + ")")
}

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
	told := fmt.Sprintf(toldChanges, after)
	copied, err := p.copyRows(ctx, r.changesThat(columns, told, told, moveHistory), beside, columns)
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
	r.place(b, beside, columns)
	if err := p.to.SendBatch(ctx, b).Close(); err != nil {
		return 0, 0, fmt.Errorf("place the tenant's changes: %w", err)
	}
	return last, int(copied), dropBeside(ctx, p.to, beside)
}

func dropBeside(ctx context.Context, tx pgx.Tx, table string) error {
	_, err := tx.Exec(ctx, "drop table "+table)
	return err
}

// restOfChanges brings what is not told yet to its place beside the target's changes, and takes it away from the source. It returns up to
// which position of home's feed the source has the changes of topics. No other gets a position there before it commits.
func (r *moveRun) restOfChanges(ctx context.Context, p *movePipe) (topics int64, err error) {
	err = p.from.QueryRow(ctx, "select last from feed for update").Scan(&topics)
	if err == nil && r.source.home != nil {
		err = p.from.QueryRow(ctx, "select (value->>'position')::bigint from settings where key = $1", topicsCopied).Scan(&topics)
	}
	if err != nil {
		return 0, err
	}
	for {
		last, n, err := r.carryChanges(ctx, p, r.m.Progress.Feed)
		if err != nil {
			return 0, err
		}
		if r.m.Progress.Feed = last; n < moveHistory {
			break
		}
	}
	columns, err := moveColumns(ctx, r.source.pool, r.target.pool, "changes", "seq")
	if err != nil {
		return 0, err
	}
	into := moveNames{r.m.TenantKey}.staged("changes")
	rest := fmt.Sprintf("(position > %d or position is null)", r.m.Progress.Feed)
	_, err = p.copyRows(ctx, r.changesThat(columns, rest, fmt.Sprintf("%s and coalesce(was, position) <= %d", rest, topics), math.MaxInt32),
		into, columns)
	if err != nil {
		return 0, err
	}
	_, err = p.from.Exec(ctx, fmt.Sprintf("delete from changes where tenant_key = %d and %s", r.m.TenantKey, rest))
	return topics, err
}

// putChanges adds the changes that the source had not published yet, and then those of topics that it did not have; topics is up to where
// it had them, in home's feed, and nil where a mover of before has not said so.
func (r *moveRun) putChanges(ctx context.Context, tx *Tx, topics *int64) error {
	for more := true; more; { // from here on nobody else places any
		var err error
		if more, err = placeChanges(ctx, tx); err != nil {
			return err
		}
	}
	from := moveNames{r.m.TenantKey}.staged("changes")
	columns, err := moveColumns(ctx, tx, tx, from, "")
	if err != nil {
		return err
	}
	const copied = "id, at, type, action, object, version, changes, state"
	b := &pgx.Batch{}
	b.Queue("update tenants set feed_since = f.last from feed f where key = $1", r.m.TenantKey)
	b.Queue("insert into "+from+" ("+copied+") select "+copied+` from changes where tenant_key is null and type = $1
		and position is not null and coalesce(was, position) > $2 order by position`, FeedTopic, topics)
	r.place(b, from, columns)
	// Outcomes are read from the position on that stands for that of the source: all of the tenant's that came are there.
	b.Queue("update outcome_readers set since = $2 where tenant_key = $1 and source = $3 and since is null", r.m.TenantKey,
		r.m.Progress.Base-1, sourceFeed)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("put changes in place: %w", err)
	}
	return nil
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
func (s *Store) afterMove(ctx context.Context, scope Scope, is feedExtent, after int64) (int64, error) {
	if is.base == nil || after >= *is.base {
		return after, nil
	}
	err := s.pool.QueryRow(ctx, "select coalesce(max(position), $3) from changes where tenant_key = $1 and position >= $2 and was <= $4",
		scope.key, *is.base, *is.base-1, after).Scan(&after)
	return after, err
}
