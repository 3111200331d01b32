package migrations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// PartitionsAhead is for how many days partitions are made in advance.
const PartitionsAhead = 7

// Partitioned are the tables with one partition a day: by the day in the event's UUIDv7, the last one by its minute.
var Partitioned = []string{"events", "deliveries", "attempts", byMinute}

// byMinute is the table that is partitioned by a time rather than by an id.
const byMinute = "health_minutes"

// Querier is what the functions here need of a pool, a connection or a transaction.
type Querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// tableSettings are the storage settings of new partitions. A bit more than half of a page of deliveries stays free, so that the
// update to "delivered" fits beside the row it replaces.
//
// Events and attempts are vacuumed soon after they were written: pages that vacuum marks after the next checkpoint are written to the
// log as a whole (with checksums, also for hints alone), which was more log than the rows themselves; before it they cost next to
// nothing. Rows are frozen on that occasion, so that no later vacuum against the wraparound of transaction ids writes all of it once
// more. Deliveries wait until half of them are new, for their dead rows may have vacuum read all of the day's indexes.
var tableSettings = map[string]string{
	"events":     "autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_freeze_min_age = 0",
	"deliveries": "fillfactor = 45, autovacuum_vacuum_scale_factor = 0.5, autovacuum_vacuum_insert_scale_factor = 0.5, autovacuum_freeze_min_age = 0",
	"attempts":   "autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_freeze_min_age = 0",
	// A minute's row is written anew each second.
	byMinute: "fillfactor = 70",
}

// EnsurePartitions makes the missing partitions for yesterday, today and the given number of days after it, and a
// default one for ids from outside that range (a clock that jumped). It can be called by many processes at once.
func EnsurePartitions(ctx context.Context, db Querier, now time.Time, ahead int) error {
	for _, table := range Partitioned {
		have, err := partitions(ctx, db, table)
		if err != nil {
			return err
		}
		if !have[table+"_default"] {
			if err := create(ctx, db, table, table+"_default", "default"); err != nil {
				return err
			}
		}
		for d := -1; d <= ahead; d++ {
			day := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, d)
			if err := createDay(ctx, db, table, day, have); err != nil {
				return err
			}
		}
	}
	return nil
}

// EnsureDays makes the missing partitions for days by table, as Days lists them: what is to be copied here comes from such days.
func EnsureDays(ctx context.Context, db Querier, days map[string][]time.Time) error {
	for _, table := range Partitioned {
		have, err := partitions(ctx, db, table)
		if err != nil {
			return err
		}
		for _, day := range days[table] {
			if err := createDay(ctx, db, table, day, have); err != nil {
				return err
			}
		}
	}
	return nil
}

// lowest is the first value of the partition key of a day.
func lowest(table string, day time.Time) string {
	if table == byMinute {
		return day.Format(time.RFC3339)
	}
	return LowestID(day)
}

// createDay makes the partition of a day, unless it is there.
func createDay(ctx context.Context, db Querier, table string, day time.Time, have map[string]bool) error {
	name := PartitionName(table, day)
	if have[name] {
		return nil
	}
	return create(ctx, db, table, name, fmt.Sprintf("for values from ('%s') to ('%s')", lowest(table, day), lowest(table, day.AddDate(0, 0, 1))))
}

func create(ctx context.Context, db Querier, table, name, bounds string) error {
	_, err := db.Exec(ctx, fmt.Sprintf("create table if not exists %s partition of %s %s with (%s)", name, table, bounds,
		tableSettings[table]))
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "23514" { // check_violation
		// The default partition holds rows of that day, because no partition was made in time. They stay there: the
		// day works without a partition of its own.
		return nil
	}
	if err != nil {
		return fmt.Errorf("make partition %s: %w", name, err)
	}
	return nil
}

// DropPartitions drops the partitions of days that ended before the cutoff and returns their names.
func DropPartitions(ctx context.Context, db Querier, cutoff time.Time) (dropped []string, err error) {
	for _, table := range Partitioned {
		have, err := partitions(ctx, db, table)
		if err != nil {
			return dropped, err
		}
		for name := range have {
			day, err := time.Parse(table+"_20060102", name)
			if err != nil || day.AddDate(0, 0, 1).After(cutoff) {
				continue
			}
			if _, err := db.Exec(ctx, "drop table if exists "+name); err != nil {
				return dropped, fmt.Errorf("drop partition %s: %w", name, err)
			}
			dropped = append(dropped, name)
		}
	}
	return dropped, nil
}

func partitions(ctx context.Context, db Querier, table string) (map[string]bool, error) {
	rows, err := db.Query(ctx, `select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = $1::regclass`,
		table)
	if err != nil {
		return nil, fmt.Errorf("list the partitions of %s: %w", table, err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	have := map[string]bool{}
	for _, n := range names {
		have[n] = true
	}
	return have, err
}

// PartitionName names the partition of table for the UTC day.
func PartitionName(table string, day time.Time) string {
	return table + "_" + day.UTC().Format("20060102")
}

// LowestID is the smallest UUIDv7 of the instant t, in text. Instants before 1970 and after the year 10889, of which there is
// none, have those of the first and of the last one that there is.
func LowestID(t time.Time) string {
	ms := min(max(t.UnixMilli(), 0), 1<<48-1)
	return fmt.Sprintf("%08x-%04x-0000-0000-000000000000", uint64(ms)>>16, uint64(ms)&0xffff)
}

// Days lists the days that have a partition, oldest first, by table.
func Days(ctx context.Context, db Querier) (map[string][]time.Time, error) {
	days := map[string][]time.Time{}
	for _, table := range Partitioned {
		have, err := partitions(ctx, db, table)
		if err != nil {
			return nil, err
		}
		days[table] = []time.Time{}
		for name := range have {
			if day, err := time.Parse(table+"_20060102", name); err == nil {
				days[table] = append(days[table], day)
			}
		}
		slices.SortFunc(days[table], time.Time.Compare)
	}
	return days, nil
}

// Ahead is for how many days after today there is a partition without a gap; -1 when even today has none.
func Ahead(days []time.Time, now time.Time) int {
	n := -1
	for day := now.UTC().Truncate(24 * time.Hour); slices.Contains(days, day); day = day.AddDate(0, 0, 1) {
		n++
	}
	return n
}
