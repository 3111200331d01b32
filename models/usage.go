package models

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Usage is what a tenant has used on a day, or on several.
type Usage struct {
	Day       time.Time // midnight UTC, when it begins; zero for a sum
	TenantID  string    // empty for all
	Events    int64     // accepted
	Bytes     int64     // of their payloads
	Attempted int64     // deliveries, when their first attempt was made
	Attempts  int64     // all of them
	Delivered int64     // deliveries that were acknowledged
	Failed    int64     // deliveries that were given up
}

// Add adds what another day or tenant has used.
func (u *Usage) Add(o Usage) {
	u.Events += o.Events
	u.Bytes += o.Bytes
	u.Attempted += o.Attempted
	u.Attempts += o.Attempts
	u.Delivered += o.Delivered
	u.Failed += o.Failed
}

const (
	oneDay = 24 * time.Hour
	// UsageKept is for how many days usage is kept, and how many can be asked for at once.
	UsageKept = 400
	// usageGrace is how long after its end a day is counted to be over: until then outcomes of attempts that began on it come in.
	usageGrace = 2 * time.Hour
	// MaxUsageRows is how many rows are told at most.
	MaxUsageRows = 50_000
	// usageCountedTo is the setting with the first day that is not in usage_days yet.
	usageCountedTo = "usage_counted_to"
)

// startOfDay is the day (UTC) of a time.
func startOfDay(t time.Time) time.Time { return t.UTC().Truncate(oneDay) }

// countUsage adds up the days that are over since it was done last, out of the half hours of traffic, and forgets days that are past
// UsageKept.
func (s *Store) countUsage(ctx context.Context, now time.Time) error {
	end := startOfDay(now.Add(-usageGrace))
	return s.InTx(ctx, func(tx *Tx) error {
		// One process at a time, and each day once.
		if _, err := tx.Exec(ctx, "insert into settings (key, value) values ($1, '\"0001-01-01\"') on conflict do nothing",
			usageCountedTo); err != nil {
			return err
		}
		var from time.Time
		if err := tx.QueryRow(ctx, "select (value #>> '{}')::date from settings where key = $1 for update",
			usageCountedTo).Scan(&from); err != nil {
			return err
		}
		if !from.Before(end) {
			return nil
		}
		if _, err := tx.Exec(ctx, `insert into usage_days (tenant_key, day, received, bytes, first, attempts, delivered, failed)
			select tenant_key, (start at time zone 'UTC')::date, sum(received), sum(bytes), sum(first), sum(attempts), sum(delivered),
				sum(failed)
			from traffic where tenant_key <> 0 and grain = $1 and start >= $2 and start < $3 group by 1, 2
			on conflict do nothing`, int32(grainHalfHour/time.Second), from, end); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "update settings set value = to_jsonb($2::text) where key = $1", usageCountedTo,
			end.Format(time.DateOnly)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "delete from usage_days where day < $1", end.AddDate(0, 0, -UsageKept))
		return err
	})
}

// UsageQuery selects usage: days from From to To, both included, of some tenants or of all.
type UsageQuery struct {
	From, To time.Time // midnight UTC
	Sum      bool      // one row for each tenant rather than one for each of its days
}

// Usage returns what the scope's tenants have used, by day and tenant, the newest day first. Days and tenants without traffic have no
// row. Deleted tenants are among them.
func (s *Store) Usage(ctx context.Context, scope Scope, uq UsageQuery) ([]Usage, error) {
	if uq.To.Before(uq.From) {
		return nil, Invalid("to", "must not be before from")
	}
	if uq.To.Sub(uq.From) >= UsageKept*oneDay {
		return nil, Invalid("from", fmt.Sprintf("must be at most %d days before to", UsageKept-1))
	}
	dayColumn, order := "u.day", "1 desc, 2"
	if uq.Sum {
		dayColumn, order = "null::date", "2"
	}
	var out []Usage
	err := s.within(ctx, measureTimeout, func(tx pgx.Tx) error {
		var counted time.Time
		err := tx.QueryRow(ctx, "select coalesce((select (value #>> '{}')::date from settings where key = $1), '0001-01-01')",
			usageCountedTo).Scan(&counted)
		if err != nil {
			return err
		}
		live := uq.From // days that are not added up yet
		if counted.After(live) {
			live = counted
		}
		end := uq.To.Add(oneDay)
		const numbers = "received, bytes, first, attempts, delivered, failed"
		rows, err := tx.Query(ctx, `select `+dayColumn+`, t.id, sum(u.received)::bigint, sum(u.bytes)::bigint, sum(u.first)::bigint,
				sum(u.attempts)::bigint, sum(u.delivered)::bigint, sum(u.failed)::bigint
			from (
				select tenant_key, day, `+numbers+` from usage_days where ($1 or tenant_key = any($2)) and day >= $3 and day < $4
				union all select tenant_key, (start at time zone 'UTC')::date, `+numbers+` from traffic
					where tenant_key <> 0 and ($1 or tenant_key = any($2)) and grain = $7 and start >= $5 and start < $6
				union all select tenant_key, (minute at time zone 'UTC')::date, `+numbers+` from traffic_deltas
					where ($1 or tenant_key = any($2)) and minute >= $5 and minute < $6
			) u join tenants t on t.key = u.tenant_key group by 1, 2 order by `+order+` limit $8`,
			scope.all, scope.keys(), uq.From, minTime(live, end), live, end, int32(grainHalfHour/time.Second), MaxUsageRows+1)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (u Usage, err error) {
			var at *time.Time
			err = r.Scan(&at, &u.TenantID, &u.Events, &u.Bytes, &u.Attempted, &u.Attempts, &u.Delivered, &u.Failed)
			if at != nil {
				u.Day = *at
			}
			return u, err
		})
		return err
	})
	if err == nil && len(out) > MaxUsageRows {
		return nil, Invalid("from", fmt.Sprintf("leads to more than %d rows; ask for fewer days or tenants, or with sum", MaxUsageRows))
	}
	return out, err
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
