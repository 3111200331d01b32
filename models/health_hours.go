package models

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// healthCounters are the columns that health_minutes and health_hours have in common.
const healthCounters = "deliveries, failed_deliveries, attempts, failed_attempts, given_up, peak, filter_failures"

// rateSums are the fields of Rates over rows of healthRows.
const rateSums = `coalesce(sum(deliveries), 0), coalesce(sum(failed_deliveries), 0), coalesce(sum(attempts), 0),
	coalesce(sum(failed_attempts), 0), coalesce(sum(given_up), 0), coalesce(sum(filter_failures), 0)`

// fields are where rateSums are scanned to.
func (r *Rates) fields() []any {
	return []any{&r.Deliveries, &r.Failed, &r.Attempts, &r.FailedAttempts, &r.GivenUp, &r.FilterFailures}
}

// healthBuckets are spans of one length, one of which begins at origin. The zero value is one span for all.
type healthBuckets struct {
	origin time.Time
	length time.Duration
}

// ofHours reports whether no bucket begins within an hour.
func (b healthBuckets) ofHours() bool {
	return b.length%time.Hour == 0 && b.origin.Equal(b.origin.Truncate(time.Hour))
}

// hoursFrom is for how long a span must reach back before hours are looked for: of what is shorter hardly any is added up.
const hoursFrom = 4 * time.Hour

// healthRows is what happened to destinations since a time, by whole minutes, as a table h (destination_key, at, healthCounters), for
// the statement of q: all destinations where keys is nil. Hours that are added up are a row each, at their beginning, as far as they lie
// within buckets; all else is minutes. So the sums, and the highest peak, are those of the minutes alone.
func healthRows(ctx context.Context, db querier, q *query, keys []int64, since time.Time, by healthBuckets) (string, error) {
	since = since.UTC().Truncate(time.Minute)
	from, to, late := since, since, false // of the hours
	if by.ofHours() && time.Since(since) >= hoursFrom {
		if err := db.QueryRow(ctx, "select covered_from, covered_to, exists (select 1 from health_hours_late) from health_hours_span").
			Scan(&from, &to, &late); err != nil {
			return "", fmt.Errorf("find out which hours are added up: %w", err)
		}
		from = later(from, since.Add(time.Hour-time.Minute).Truncate(time.Hour))
	}
	of := func(table, cond string, args ...any) string {
		if keys != nil {
			cond, args = table+".destination_key = any(?) and "+cond, append([]any{keys}, args...)
		}
		return q.bind(cond, args...)
	}
	const minutes = "select destination_key, minute as at, " + healthCounters + " from health_minutes m where "
	if !from.Before(to) {
		return "(" + minutes + of("m", "minute >= ?", since) + ") h", nil
	}
	parts := []string{minutes + of("m", "minute >= ?", to)}
	if since.Before(from) {
		parts = append(parts, minutes+of("m", "minute >= ? and minute < ?", since, from))
	}
	hours := "select destination_key, hour, " + healthCounters + " from health_hours x where " + of("x", "hour >= ? and hour < ?", from, to)
	if late { // hardly ever, and it takes the planner longer than all else
		hours += " and not exists (select 1 from health_hours_late l where l.hour = x.hour and l.destination_key = x.destination_key)"
		// Found by their key, however many the planner expects.
		parts = append(parts, "select m.destination_key, at, "+healthCounters+" from health_hours_late l cross join lateral ("+minutes+
			"m.destination_key = l.destination_key and m.minute >= l.hour and m.minute < l.hour + interval '1 hour' offset 0) m where "+
			of("l", "l.hour >= ? and l.hour < ?", from, to))
	}
	return "(" + strings.Join(append(parts, hours), " union all ") + ") h", nil
}
