package models

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// hourOf is the table in which manual retries of an hour are counted by minute, for tenants or for destinations.
type hourOf struct{ table, key string }

var (
	hourOfTenant      = hourOf{"retry_minutes", "tenant_key"}
	hourOfDestination = hourOf{"destination_retry_minutes", "destination_key"}
)

// used counts the manual retries within the last hour.
func (h hourOf) used(ctx context.Context, db querier, key int64) (int, error) {
	rows, err := db.Query(ctx,
		"select coalesce(sum(retries), 0) from "+h.table+" where "+h.key+" = $1 and minute > now() - interval '1 hour'", key)
	if err != nil {
		return 0, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
}

// left says how many more there may be in this hour. It locks the minute first, so that two at the same time do not both take what
// is left.
func (h hourOf) left(ctx context.Context, tx pgx.Tx, key int64, most int) (int, error) {
	if _, err := tx.Exec(ctx, "insert into "+h.table+" ("+h.key+`, minute, retries) values ($1, date_trunc('minute', clock_timestamp()), 0)
		on conflict (`+h.key+", minute) do update set retries = "+h.table+".retries", key); err != nil {
		return 0, err
	}
	used, err := h.used(ctx, tx, key)
	return max(most-used, 0), err
}

// take counts n more.
func (h hourOf) take(ctx context.Context, tx pgx.Tx, key int64, n int) error {
	_, err := tx.Exec(ctx,
		"update "+h.table+" set retries = retries + $2 where "+h.key+" = $1 and minute = (select max(minute) from "+h.table+" where "+h.key+" = $1)", key, n)
	return err
}

// takeHourly takes as many of a tenant's deliveries, from the first on, as the limits of an hour allow: the tenant's and those of
// the destinations. It returns how many these are, and the limit that stopped it.
func (s *Store) takeHourly(ctx context.Context, tx pgx.Tx, tenant int64, limit Limit,
	list []DeliveryKey) (n int, stoppedBy Limit, err error) {
	if n = len(list); n == 0 {
		return 0, limit, nil
	}
	own, err := hourlyOfDestinations(ctx, tx, list)
	if err != nil {
		return 0, limit, err
	}
	left := map[int64]int{}
	for _, d := range own {
		if left[d.key], err = hourOfDestination.left(ctx, tx, d.key, d.most); err != nil {
			return 0, limit, err
		}
	}
	ofTenant := n
	if limit.Most > 0 {
		if ofTenant, err = hourOfTenant.left(ctx, tx, tenant, limit.Most); err != nil {
			return 0, limit, err
		}
	}
	taken := map[int64]int{}
	for i, k := range list {
		if i >= ofTenant {
			n, stoppedBy = i, limit
			break
		}
		if most, ok := left[k.Destination]; ok && taken[k.Destination] >= most {
			d := own[slices.IndexFunc(own, func(d hourlyDestination) bool { return d.key == k.Destination })]
			n, stoppedBy = i, Limit{name: limitPerHour}.Below(&d.most, d.id)
			break
		}
		taken[k.Destination]++
	}
	if limit.Most > 0 {
		err = hourOfTenant.take(ctx, tx, tenant, n)
	}
	for _, d := range own {
		if err == nil && taken[d.key] > 0 {
			err = hourOfDestination.take(ctx, tx, d.key, taken[d.key])
		}
	}
	return n, stoppedBy, err
}

// hourlyDestination is a destination with a limit of its own.
type hourlyDestination struct {
	key  int64
	id   string
	most int
}

// hourlyOfDestinations are those of the deliveries' destinations that have a limit of their own, in the order in which they are
// locked.
func hourlyOfDestinations(ctx context.Context, tx pgx.Tx, list []DeliveryKey) ([]hourlyDestination, error) {
	keys := make([]int64, len(list))
	for i, k := range list {
		keys[i] = k.Destination
	}
	slices.Sort(keys)
	rows, err := tx.Query(ctx,
		"select key, id, manual_retries_per_hour from destinations where key = any($1) and manual_retries_per_hour is not null order by key", slices.Compact(keys))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d hourlyDestination, err error) {
		err = row.Scan(&d.key, &d.id, &d.most)
		return d, err
	})
}
