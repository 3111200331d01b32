package models

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// rollAfter is how long after its end an hour is added up. A trigger notes minutes that are written more than a quarter of an hour
	// late (migrations/00042_health_hours.sql): one that it let pass would have to stay uncommitted for as long again to be missed.
	rollAfter = 30 * time.Minute
	// rollAgain is how many of the newest hours are added up once more each time, for the same minutes were written twice where the
	// database's clock was set back.
	rollAgain = 3 * time.Hour
	// rollLate is of how many hours in a portion that were noted by the trigger, each of one destination.
	rollLate = 500
	// rollDrop is how many hours past retention are deleted in a portion.
	rollDrop = 10_000
)

// RollHours adds minutes of destinations up to hours, while more says so: the newest three hours anew, then hours of which a minute came
// late, then older ones that were never added up, the newest first. Each portion is a transaction, after which readers make use of it. It
// returns how many hours it has added up; where another process is at it, none.
func (s *Store) RollHours(ctx context.Context, now time.Time, more func() bool) (hours int, err error) {
	r := roll{now: now, retention: s.Rules().Retention}
	for over := false; !over && more(); {
		if err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
			over, err = r.portion(ctx, tx)
			return err
		}); err != nil {
			return r.hours, fmt.Errorf("add minutes up to hours: %w", err)
		}
	}
	return r.hours, nil
}

// roll is a run of RollHours.
type roll struct {
	now       time.Time
	retention time.Duration
	next      time.Time // the hour that is added up next, of the newest
	hours     int       // added up
}

// portion does a part; over says that there is nothing left.
func (r *roll) portion(ctx context.Context, tx pgx.Tx) (over bool, err error) {
	var from, to, now time.Time
	err = tx.QueryRow(ctx, "select covered_from, covered_to, clock_timestamp() from health_hours_span for update skip locked").
		Scan(&from, &to, &now)
	if errors.Is(err, pgx.ErrNoRows) { // another process has it
		return true, nil
	}
	if err != nil {
		return false, err
	}
	now = minTime(now, r.now) // as for Upkeep
	lowest, end := startOfDay(now.Add(-r.retention)), now.Add(-rollAfter).UTC().Truncate(time.Hour)
	to = minTime(to, end) // the clock was set back
	from, to = later(minTime(from, to), lowest), later(to, lowest)
	if over, err = r.step(ctx, tx, lowest, end, &from, &to); err != nil {
		return false, err
	}
	_, err = tx.Exec(ctx, "update health_hours_span set covered_from = $1, covered_to = $2 where (covered_from, covered_to) <> ($1, $2)",
		from, to)
	return over, err
}

// step does what comes next between lowest and end, and moves the ends of the covered span.
func (r *roll) step(ctx context.Context, tx pgx.Tx, lowest, end time.Time, from, to *time.Time) (over bool, err error) {
	tag, err := tx.Exec(ctx, "delete from health_hours where ctid in (select ctid from health_hours where hour < $1 limit $2)", lowest,
		rollDrop)
	if err != nil || tag.RowsAffected() == rollDrop {
		return false, err
	}
	if r.next.IsZero() {
		r.next = later(*from, minTime(*to, end.Add(-rollAgain)))
	}
	if r.next.Before(end) {
		err := r.addUp(ctx, tx, r.next, r.next.Add(time.Hour))
		r.next = r.next.Add(time.Hour)
		*to = later(*to, r.next)
		return false, err
	}
	if n, err := r.late(ctx, tx, *from, *to); err != nil || n == rollLate {
		return false, err
	}
	if !lowest.Before(*from) {
		return true, nil
	}
	var newest *time.Time
	if err := tx.QueryRow(ctx, "select max(minute) from health_minutes where minute >= $1 and minute < $2", lowest, *from).
		Scan(&newest); err != nil {
		return false, err
	}
	until := *from
	*from = lowest
	if newest != nil {
		*from = newest.UTC().Truncate(time.Hour)
	}
	return false, r.addUp(ctx, tx, *from, until)
}

// addedUp are the columns of health_hours without its key, out of health_minutes.
const addedUp = "max(tenant_key), sum(deliveries), sum(failed_deliveries), sum(attempts), sum(failed_attempts), sum(given_up), " +
	"max(peak), sum(filter_failures)"

const insertHours = "insert into health_hours (destination_key, hour, tenant_key, " + healthCounters + ") "

// addUp adds up an hour of all destinations, after which there is nothing until the end.
func (r *roll) addUp(ctx context.Context, tx pgx.Tx, hour, end time.Time) error {
	// What is noted from here on is done later. So is what somebody is noting, for whom nobody waits here.
	if _, err := tx.Exec(ctx, `delete from health_hours_late where (hour, destination_key) in
		(select hour, destination_key from health_hours_late where hour >= $1 and hour < $2 for update skip locked)`, hour, end); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "delete from health_hours where hour >= $1 and hour < $2", hour, end); err != nil {
		return err
	}
	r.hours++
	_, err := tx.Exec(ctx, insertHours+"select destination_key, $1, "+addedUp+
		" from health_minutes where minute >= $1 and minute < $2 group by destination_key", hour, hour.Add(time.Hour))
	return err
}

// late adds those hours up anew of which a minute came late. Others than the covered ones need no note. It returns how many there were.
func (r *roll) late(ctx context.Context, tx pgx.Tx, from, to time.Time) (n int, err error) {
	rows, err := tx.Query(ctx, `delete from health_hours_late where (hour, destination_key) in
		(select hour, destination_key from health_hours_late order by 1, 2 limit $1 for update skip locked) returning hour, destination_key`,
		rollLate)
	if err != nil {
		return 0, err
	}
	var hours []time.Time
	var keys []int64
	var hour time.Time
	var key int64
	if _, err := pgx.ForEachRow(rows, []any{&hour, &key}, func() error {
		if n++; !hour.Before(from) && hour.Before(to) {
			hours, keys = append(hours, hour), append(keys, key)
		}
		return nil
	}); err != nil || len(keys) == 0 {
		return n, err
	}
	r.hours += len(keys)
	const late = "unnest($1::timestamptz[], $2::bigint[]) l (hour, key)"
	if _, err := tx.Exec(ctx, "delete from health_hours x using "+late+" where x.destination_key = l.key and x.hour = l.hour", hours,
		keys); err != nil {
		return n, err
	}
	_, err = tx.Exec(ctx, insertHours+"select l.key, l.hour, m.* from "+late+" cross join lateral (select "+addedUp+` from health_minutes
		where destination_key = l.key and minute >= l.hour and minute < l.hour + interval '1 hour' having count(*) > 0) m`, hours, keys)
	return n, err
}

// leaveHours takes the hours before a day out of the covered span.
func leaveHours(ctx context.Context, db execer, day time.Time) error {
	_, err := db.Exec(ctx, `update health_hours_span set covered_from = $1, covered_to = greatest(covered_to, $1)
		where covered_from < $1`, day)
	return err
}
