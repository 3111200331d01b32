package migrations

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// partitionedIndex is an index that came after the first release, on a table that is partitioned by day. CREATE INDEX
// would keep everybody from writing while it reads all days, and cannot run concurrently on such a table. So the days
// get theirs one by one, concurrently, and are then attached to the table's; days to come get theirs with the table.
type partitionedIndex struct {
	name, table, def string
}

var partitionedIndexes = []partitionedIndex{
	// Attempts are written in the order of their start, so that a summary of each range of pages finds a span of time,
	// over all tenants, and takes a few pages itself. With long ranges the planner reads a whole index of tenants instead; the
	// day's newest ranges are summarized as they fill.
	{"attempts_by_start", "attempts", "using brin (started_at) with (pages_per_range = 16, autosummarize = on)"},
	// What a filter held back is looked for by tenant and time.
	{"events_filtered", "events", "(tenant_key, id) where filtered_by is not null"},
	// Events by when they happened, where the publisher said: that is near when they were received, so that ranges of pages
	// stand for spans of time.
	{"events_time", "events", "using brin (time) where time is not null"},
	// What a bulk retry has queued, and what came of it. Neither is changed on the usual path.
	{"deliveries_retry", "deliveries", "(retry_id) where retry_id is not null"},
	{"attempts_retry", "attempts", "(retry_id, ok) where retry_id is not null"},
	// Deliveries in one of the rare states, over all tenants. The usual path never has an entry.
	{"deliveries_unusual", "deliveries", "(attention, event_id, destination_key) where attention is not null"},
}

// queueIndex finds the jobs that were put aside, of one tenant or of each in turn (models/queue/aside.go). Nothing of the usual path is
// in it.
const (
	queueIndexName = RiverSchema + ".river_job_aside"
	queueIndex     = "create index concurrently if not exists river_job_aside on " + RiverSchema + `.river_job
		((queue || ''), ((args->>'n')::bigint), scheduled_at, id) where (state = 'available') is true and (priority = 2) is true`
)

// ensureQueueIndex makes the index of the table of jobs, beside those who work on it.
func ensureQueueIndex(ctx context.Context, pool *pgxpool.Pool) error {
	if err := dropBroken(ctx, pool, queueIndexName); err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, queueIndex); err != nil {
		return fmt.Errorf("make an index of the job queue: %w", err)
	}
	return nil
}

// dropBroken drops an index that a run has not finished.
func dropBroken(ctx context.Context, pool *pgxpool.Pool, name string) error {
	var broken bool
	err := pool.QueryRow(ctx, "select coalesce((select not indisvalid from pg_index where indexrelid = to_regclass($1)), false)", name).Scan(&broken)
	if err == nil && broken {
		_, err = pool.Exec(ctx, "drop index concurrently if exists "+name)
	}
	return err
}

// ensureIndexes makes the partitioned indexes that are missing. What a run that was cut off left behind is made anew.
func ensureIndexes(ctx context.Context, pool *pgxpool.Pool) error {
	for _, x := range partitionedIndexes {
		if err := x.ensure(ctx, pool); err != nil {
			return fmt.Errorf("make index %s: %w", x.name, err)
		}
	}
	for _, name := range replacedIndexes {
		if err := drop(ctx, pool, name); err != nil {
			return fmt.Errorf("drop index %s: %w", name, err)
		}
	}
	return nil
}

// replacedIndexes are those of earlier releases that others do better. No statement names them.
var replacedIndexes = []string{"attempts_started"}

// drop drops an index of a partitioned table, for which nobody may read or write it. Where somebody does so for long, the index stays
// until the next run.
func drop(ctx context.Context, pool *pgxpool.Pool, name string) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "set local lock_timeout = '1s'"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "drop index if exists "+name)
		return err
	})
	if lockNotAvailable(err) {
		return nil
	}
	return err
}

func (x partitionedIndex) ensure(ctx context.Context, pool *pgxpool.Pool) error {
	if _, err := pool.Exec(ctx, fmt.Sprintf("create index if not exists %s on only %s %s", x.name, x.table, x.def)); err != nil {
		return err
	}
	// The days without an index that is attached to ours.
	rows, err := pool.Query(ctx, `select i.inhrelid::regclass::text from pg_inherits i where i.inhparent = $1::regclass and not exists (
			select 1 from pg_inherits a join pg_index p on p.indexrelid = a.inhrelid where a.inhparent = $2::regclass
				and p.indrelid = i.inhrelid)
		order by 1`, x.table, x.name)
	if err != nil {
		return err
	}
	days, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, day := range days {
		name := day + strings.TrimPrefix(x.name, x.table)
		err := dropBroken(ctx, pool, name)
		if err == nil {
			_, err = pool.Exec(ctx, fmt.Sprintf("create index concurrently if not exists %s on %s %s", name, day, x.def))
		}
		if err == nil {
			_, err = pool.Exec(ctx, fmt.Sprintf("alter index %s attach partition %s", x.name, name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
