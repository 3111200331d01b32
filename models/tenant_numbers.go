package models

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// TenantNumbers say how a tenant does: what is so now, and what happened in the last 24 hours. docs/monitoring.md defines each
// number; those of the overview of the tenant are the same.
type TenantNumbers struct {
	Failing  int // destinations, now; see failingHealth
	Disabled int // destinations, now

	Waiting   *Waiting  // nil when there are too many on the server to be counted in time
	WaitingAt time.Time // when they were counted: a moment ago where there are many

	Since     time.Time // start of the 24 hours: of their first half hour
	Sum       Traffic
	Point     time.Duration
	Points    []TrafficBucket // 24 of the same length, in order; the last is not over
	LastEvent *time.Time      // when the last event that is kept was received; nil for none
}

// The states of tenants, the worst first.
const (
	TenantFailing  = "failing"  // a destination fails
	TenantDisabled = "disabled" // one is disabled
	TenantHeld     = "held"     // deliveries are held
	TenantRetrying = "retrying" // deliveries are tried again
	TenantUnknown  = "unknown"  // nothing of the first two, and what waits could not be counted
	TenantHealthy  = "healthy"  // nothing of these
	TenantQuiet    = "quiet"    // the same, and no event was received in the last 24 hours
)

// State is the worst that is so.
func (n *TenantNumbers) State() string {
	switch {
	case n.Failing > 0:
		return TenantFailing
	case n.Disabled > 0:
		return TenantDisabled
	case n.Waiting == nil:
		return TenantUnknown
	case n.Waiting.Held > 0:
		return TenantHeld
	case n.Waiting.Retrying > 0:
		return TenantRetrying
	case n.Sum.Received == 0:
		return TenantQuiet
	}
	return TenantHealthy
}

// waitingByTenant counts the deliveries that wait, by tenant; tenants without any are left out. It is nil where there are too many
// to be counted in time. As with waiting, at says from when the figures are.
func (s *Store) waitingByTenant(ctx context.Context, scope Scope) (by map[int64]Waiting, at time.Time, err error) {
	read := func(ctx context.Context) (map[int64]Waiting, error) {
		out := map[int64]Waiting{}
		q := newQuery()
		scope.where(q, "tenant_key")
		q.and("attention in ('retrying', 'held')")
		err := s.within(ctx, countTimeout, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, "select tenant_key, "+waitingCounts+" from deliveries"+q.sql()+" group by 1", q.args...)
			if err != nil {
				return err
			}
			var key int64
			var w Waiting
			_, err = pgx.ForEachRow(rows, []any{&key, &w.Retrying, &w.Held}, func() error {
				out[key] = w
				return nil
			})
			return err
		})
		return out, err
	}
	if scope.all {
		by, at, err = s.tenantWait.get(ctx, read)
	} else {
		at = time.Now().UTC()
		by, err = read(ctx)
	}
	if isCanceled(err) && ctx.Err() == nil {
		return nil, at, nil
	}
	return by, at, err
}

// AddNumbers reads the numbers of tenants that a list shows.
func (s *Store) AddNumbers(ctx context.Context, scope Scope, list []TenantSummary, now time.Time) error {
	if len(list) == 0 {
		return nil
	}
	waiting, at, err := s.waitingByTenant(ctx, scope)
	if err != nil {
		return err
	}
	r := overviewRanges["24h"]
	since := r.span(now)
	keys := make([]int64, len(list))
	of := map[int64]*TenantNumbers{}
	for i := range list {
		keys[i] = list[i].Key
		n := &TenantNumbers{WaitingAt: at, Since: since, Point: time.Duration(r.join) * r.bucket}
		if waiting != nil {
			w := waiting[list[i].Key]
			n.Waiting = &w
		}
		list[i].Numbers, of[list[i].Key] = n, n
	}
	return s.within(ctx, measureTimeout, func(tx pgx.Tx) error {
		if err := readTroubled(ctx, tx, keys, of); err != nil {
			return err
		}
		spans, err := readTenantTraffic(ctx, tx, keys, since)
		if err != nil {
			return err
		}
		for key, n := range of {
			o := &Overview{Since: since}
			o.fill(r, spans[key], now)
			n.Sum, n.Points = o.Sum, o.Points
		}
		return readLastEvents(ctx, tx, keys, of)
	})
}

// readTroubled counts the destinations of these tenants that fail, and those that are disabled.
func readTroubled(ctx context.Context, tx pgx.Tx, keys []int64, of map[int64]*TenantNumbers) error {
	rows, err := tx.Query(ctx, "select t.key, coalesce(failing.n, 0), coalesce(disabled.n, 0) from unnest($1::bigint[]) t (key)"+
		tenantFailing+tenantDisabled, keys)
	if err != nil {
		return err
	}
	var key int64
	var failing, disabled int
	_, err = pgx.ForEachRow(rows, []any{&key, &failing, &disabled}, func() error {
		of[key].Failing, of[key].Disabled = failing, disabled
		return nil
	})
	return err
}

// readTenantTraffic reads the half hours of these tenants, by tenant and start, with what is not folded yet. Latencies are left out.
func readTenantTraffic(ctx context.Context, tx pgx.Tx, keys []int64, since time.Time) (map[int64]map[time.Time]*Traffic, error) {
	const numbers = "received, delivered, failed, retrying, first, first_failed, null::bytea, attempts, bytes"
	rows, err := tx.Query(ctx, "select tenant_key, start, "+numbers+" from traffic where tenant_key = any($1) and grain = $2 and start >= $3"+
		" union all select tenant_key, minute, "+numbers+" from traffic_deltas where tenant_key = any($1) and minute >= $3",
		keys, int32(grainHalfHour/time.Second), since)
	if err != nil {
		return nil, err
	}
	out := map[int64]map[time.Time]*Traffic{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var key int64
		var start time.Time
		t, err := scanTraffic(row, &key, &start)
		start = start.UTC().Truncate(grainHalfHour)
		if out[key] == nil {
			out[key] = map[time.Time]*Traffic{}
		}
		if out[key][start] == nil {
			out[key][start] = &Traffic{}
		}
		out[key][start].add(t)
		return struct{}{}, err
	})
	return out, err
}

func readLastEvents(ctx context.Context, tx pgx.Tx, keys []int64, of map[int64]*TenantNumbers) error {
	rows, err := tx.Query(ctx, "select t.key, last.id from unnest($1::bigint[]) t (key)"+tenantLast+" where last.id is not null", keys)
	if err != nil {
		return err
	}
	var key int64
	var id uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&key, &id}, func() error {
		at := eventTime(id).UTC()
		of[key].LastEvent = &at
		return nil
	})
	return err
}
