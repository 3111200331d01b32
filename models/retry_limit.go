package models

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// hourlyUsed counts a tenant's manual retries within the last hour.
func hourlyUsed(ctx context.Context, db querier, tenant int64) (int, error) {
	rows, err := db.Query(ctx, "select coalesce(sum(retries), 0) from retry_minutes where tenant_key = $1 and minute > now() - interval '1 hour'", tenant)
	if err != nil {
		return 0, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
}

// takeHourly takes up to n manual retries off what the tenant may make in an hour, and returns how many there were.
func (s *Store) takeHourly(ctx context.Context, tx pgx.Tx, tenant int64, n int) (int, error) {
	if s.HourlyRetryLimit == 0 || n == 0 {
		return n, nil
	}
	// The row of the minute is locked first, so that two at the same time do not both take what is left.
	if _, err := tx.Exec(ctx, `insert into retry_minutes (tenant_key, minute, retries) values ($1, date_trunc('minute', clock_timestamp()), 0)
		on conflict (tenant_key, minute) do update set retries = retry_minutes.retries`, tenant); err != nil {
		return 0, err
	}
	used, err := hourlyUsed(ctx, tx, tenant)
	if err != nil {
		return 0, err
	}
	n = min(n, max(s.HourlyRetryLimit-used, 0))
	_, err = tx.Exec(ctx, `update retry_minutes set retries = retries + $2 where tenant_key = $1
		and minute = (select max(minute) from retry_minutes where tenant_key = $1)`, tenant, n)
	return n, err
}
