package models

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// healthMinute is a row of health_minutes: what happened to a destination in a minute.
type healthMinute struct {
	destination int64
	minute      time.Time
}

type minuteCounts struct {
	tenant                            int64
	deliveries, failedDeliveries      int32
	attempts, failedAttempts, givenUp int32
	peak, atEnd, filterFailures       int32
	lag                               time.Duration
}

// takeDeltas takes what the recording transactions have found out since it was called last. Together with what is made
// of it, it commits or does not.
func takeDeltas(ctx context.Context, tx pgx.Tx) ([]*healthDelta, error) {
	rows, err := tx.Query(ctx,
		`delete from health_deltas returning destination_key, tenant_key, minute, deliveries, failed_deliveries, attempts,
		failed_attempts, lag_ms, outcomes, code, coalesce(error_class, ''), coalesce(error, ''), coalesce(advice, ''), filter_failures,
			coalesce(filter_error, ''), certificate_ends, certificate_at`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*healthDelta, error) {
		d := &healthDelta{}
		var lag int64
		var packed []byte
		var ends, seen *time.Time
		err := row.Scan(&d.destination, &d.tenant, &d.minute, &d.deliveries, &d.failedDeliveries, &d.attempts, &d.failedAttempts, &lag,
			&packed,
			&d.code, &d.errorClass, &d.err, &d.advice, &d.filterFailures, &d.filterFail, &ends, &seen)
		if ends != nil {
			d.certificate = certificate{*ends, *seen}
		}
		d.lag = time.Duration(lag) * time.Millisecond
		d.results = unpackResults(packed)
		for _, r := range d.results {
			if !r.OK && r.At.After(d.lastFailure) {
				d.lastFailure = r.At
			}
		}
		return d, err
	})
}

// foldHealth folds the deltas into the destinations' health and minutes, and returns the health of the destinations that
// they were about.
func foldHealth(ctx context.Context, tx pgx.Tx, deltas []*healthDelta) (map[int64]*Health, error) {
	byDestination := map[int64][]*healthDelta{}
	var keys []int64
	for _, d := range deltas {
		if byDestination[d.destination] == nil {
			keys = append(keys, d.destination)
		}
		byDestination[d.destination] = append(byDestination[d.destination], d)
	}
	health, err := lockHealth(ctx, tx, keys)
	if err != nil {
		return nil, err
	}
	minutes := map[healthMinute]*minuteCounts{}
	for _, k := range keys {
		h := health[k]
		if h == nil {
			h = &Health{Destination: k, TenantKey: byDestination[k][0].tenant}
			health[k] = h
		}
		h.before = h.Failures
		h.take(byDestination[k], minutes)
	}
	b := &pgx.Batch{}
	for _, k := range keys {
		health[k].queue(b)
	}
	for m, c := range minutes {
		c.queue(b, m)
	}
	return health, tx.SendBatch(ctx, b).Close()
}

// take folds the deltas of the destination in, and adds them to the minutes.
func (h *Health) take(deltas []*healthDelta, minutes map[healthMinute]*minuteCounts) {
	var all []result
	var last *healthDelta // with the last failure
	latest := deltas[0].minute
	givenUp := map[time.Time]int32{}
	for _, d := range deltas {
		all = append(all, d.results...)
		if !d.lastFailure.IsZero() && (last == nil || d.lastFailure.After(last.lastFailure)) {
			last = d
		}
		if d.minute.After(latest) {
			latest = d.minute
		}
		for _, r := range d.results {
			if r.GivenUp {
				givenUp[d.minute]++
			}
		}
	}
	before := h.LastFailure
	h.Fold(all)
	if last != nil && (before == nil || !last.lastFailure.Before(*before)) {
		h.Code, h.ErrorClass, h.Error, h.Advice = int(last.code), last.errorClass, last.err, last.advice
	}
	h.Lag, h.LagAt = 0, nil
	for _, d := range deltas {
		h.showed(d.certificate)
		if d.deliveries > 0 {
			h.Lag = max(h.Lag, d.lag)
			if at := d.minute; h.LagAt == nil || at.After(*h.LagAt) {
				h.LagAt = &at
			}
		}
		if d.filterFailures > 0 {
			at := d.minute
			h.FilterFailures += int(d.filterFailures)
			h.FilterError, h.FilterFailedAt = d.filterFail, &at
		}
		m := healthMinute{h.Destination, d.minute}
		c := minutes[m]
		if c == nil {
			c = &minuteCounts{tenant: h.TenantKey, givenUp: givenUp[d.minute]}
			minutes[m] = c
		}
		c.deliveries += d.deliveries
		c.failedDeliveries += d.failedDeliveries
		c.attempts += d.attempts
		c.failedAttempts += d.failedAttempts
		c.filterFailures += d.filterFailures
		c.lag = max(c.lag, d.lag)
	}
	// What was in between is put into the last minute.
	c := minutes[healthMinute{h.Destination, latest}]
	c.peak, c.atEnd = int32(h.Peak), int32(h.Failures)
}

const healthColumns = `destination_key, tenant_key, failures, attempts, given_up, since, last_failure_at, last_success_at, code,
	error_class, error,
	advice, lag_ms, lag_at, filter_failures, filter_error, filter_failed_at, reset_at, probes, probe_at, certificate_ends, certificate_at`

func scanHealth(row pgx.CollectableRow) (*Health, error) {
	h := &Health{}
	var lag int64
	err := row.Scan(&h.Destination, &h.TenantKey, &h.Failures, &h.Attempts, &h.GivenUp, &h.Since, &h.LastFailure, &h.LastSuccess, &h.Code,
		&h.ErrorClass,
		&h.Error, &h.Advice, &lag, &h.LagAt, &h.FilterFailures, &h.FilterError, &h.FilterFailedAt, &h.ResetAt, &h.Probes, &h.ProbeAt,
		&h.CertificateEnds, &h.CertificateAt)
	h.Lag = time.Duration(lag) * time.Millisecond
	return h, err
}

// lockHealth reads the health of destinations and keeps others from changing it until the transaction ends.
func lockHealth(ctx context.Context, tx pgx.Tx, keys []int64) (map[int64]*Health, error) {
	rows, err := tx.Query(ctx,
		"select "+healthColumns+" from destination_health where destination_key = any($1) order by destination_key for update", keys)
	if err != nil {
		return nil, err
	}
	return collectHealth(rows)
}

func collectHealth(rows pgx.Rows) (map[int64]*Health, error) {
	list, err := pgx.CollectRows(rows, scanHealth)
	out := make(map[int64]*Health, len(list))
	for _, h := range list {
		out[h.Destination] = h
	}
	return out, err
}

// queue adds the statement that saves the health to a batch.
func (h *Health) queue(b *pgx.Batch) {
	b.Queue(`insert into destination_health (`+healthColumns+`)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
		on conflict (destination_key) do update set failures = excluded.failures, attempts = excluded.attempts,
			given_up = excluded.given_up,
			since = excluded.since, last_failure_at = excluded.last_failure_at, last_success_at = excluded.last_success_at,
				code = excluded.code,
			error_class = excluded.error_class, error = excluded.error, advice = excluded.advice, lag_ms = excluded.lag_ms,
				lag_at = excluded.lag_at,
			filter_failures = excluded.filter_failures, filter_error = excluded.filter_error, filter_failed_at = excluded.filter_failed_at,
			reset_at = excluded.reset_at, probes = excluded.probes, probe_at = excluded.probe_at,
			certificate_ends = excluded.certificate_ends, certificate_at = excluded.certificate_at`,
		h.Destination, h.TenantKey, h.Failures, h.Attempts, h.GivenUp, h.Since, h.LastFailure, h.LastSuccess, h.Code, h.ErrorClass, h.Error,
		h.Advice,
		h.Lag.Milliseconds(), h.LagAt, h.FilterFailures, h.FilterError, h.FilterFailedAt, h.ResetAt, h.Probes, h.ProbeAt, h.CertificateEnds,
		h.CertificateAt)
}

func (c *minuteCounts) queue(b *pgx.Batch, m healthMinute) {
	b.Queue(`insert into health_minutes as m (destination_key, minute, tenant_key, deliveries, failed_deliveries, attempts, failed_attempts,
		given_up,
			peak, at_end, filter_failures, lag_ms)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		on conflict (destination_key, minute) do update set deliveries = m.deliveries + excluded.deliveries,
			failed_deliveries = m.failed_deliveries + excluded.failed_deliveries, attempts = m.attempts + excluded.attempts,
			failed_attempts = m.failed_attempts + excluded.failed_attempts, given_up = m.given_up + excluded.given_up,
			peak = greatest(m.peak, excluded.peak), at_end = excluded.at_end,
			filter_failures = m.filter_failures + excluded.filter_failures,
			lag_ms = greatest(m.lag_ms, excluded.lag_ms)`,
		m.destination, m.minute, c.tenant, c.deliveries, c.failedDeliveries, c.attempts, c.failedAttempts, c.givenUp, c.peak, c.atEnd,
		c.filterFailures,
		c.lag.Milliseconds())
}

// HealthOf returns the health of destinations; those to which nothing was sent yet have none.
func (s *Store) HealthOf(ctx context.Context, destinations ...int64) (map[int64]*Health, error) {
	rows, err := s.pool.Query(ctx, "select "+healthColumns+" from destination_health where destination_key = any($1)", destinations)
	if err != nil {
		return nil, err
	}
	return collectHealth(rows)
}

// Rates are a destination's deliveries within a window of time. A delivery counts in the minute of its first attempt, and
// as failed when that attempt failed, so that retries of old events do not blur how new ones fare.
type Rates struct {
	Deliveries, Failed       int
	Attempts, FailedAttempts int
	GivenUp                  int // deliveries that failed for good
	FilterFailures           int
}

// DeliveredPercent is the share of deliveries whose first attempt succeeded, 0 to 100.
func (r Rates) DeliveredPercent() float64 {
	if r.Deliveries == 0 {
		return 0
	}
	return 100 * float64(r.Deliveries-r.Failed) / float64(r.Deliveries)
}

// RatesOf returns a destination's rates since a time, by whole minutes.
func (s *Store) RatesOf(ctx context.Context, destination int64, since time.Time) (r Rates, err error) {
	q := newQuery()
	from, err := healthRows(ctx, s.pool, q, []int64{destination}, since, healthBuckets{})
	if err != nil {
		return r, err
	}
	return r, s.pool.QueryRow(ctx, "select "+rateSums+" from "+from, q.args...).Scan(r.fields()...)
}

// RatesOfEach returns the rates of destinations since a time, by whole minutes and by their keys. Those to which nothing
// was sent are missing.
func (s *Store) RatesOfEach(ctx context.Context, list []*Destination, since time.Time) (map[int64]Rates, error) {
	out := map[int64]Rates{}
	if len(list) == 0 {
		return out, nil
	}
	keys := make([]int64, len(list))
	for i, d := range list {
		keys[i] = d.Key
	}
	q := newQuery()
	from, err := healthRows(ctx, s.pool, q, keys, since, healthBuckets{})
	if err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, "select destination_key, "+rateSums+" from "+from+" group by destination_key", q.args...)
	if err != nil {
		return nil, err
	}
	var key int64
	var r Rates
	_, err = pgx.ForEachRow(rows, append([]any{&key}, r.fields()...), func() error {
		out[key] = r
		return nil
	})
	return out, err
}

// HealthBucket is a span of a destination's past.
type HealthBucket struct {
	Start time.Time
	Rates
	Peak int // most deliveries in a row that had failed
}

// HealthHistory returns the past of destinations together, since a time, in buckets of a length of whole minutes and without
// the empty ones. Peak is the highest of any of them.
func (s *Store) HealthHistory(ctx context.Context, since time.Time, bucket time.Duration, destinations ...int64) ([]HealthBucket, error) {
	if bucket < time.Minute {
		return nil, fmt.Errorf("a bucket of %v", bucket)
	}
	if len(destinations) == 0 {
		return nil, nil
	}
	by := healthBuckets{origin: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), length: bucket}
	q := newQuery()
	from, err := healthRows(ctx, s.pool, q, destinations, since, by)
	if err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, "select "+q.bind("date_bin(?, at, ?)", by.length, by.origin)+" as start, "+rateSums+", max(peak) from "+
		from+" group by start order by start", q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (b HealthBucket, err error) {
		return b, row.Scan(append(append([]any{&b.Start}, b.fields()...), &b.Peak)...)
	})
}

// Sum are the rates of buckets together.
func Sum(list []HealthBucket) (r Rates) {
	for _, b := range list {
		r.Deliveries += b.Deliveries
		r.Failed += b.Failed
		r.Attempts += b.Attempts
		r.FailedAttempts += b.FailedAttempts
		r.GivenUp += b.GivenUp
		r.FilterFailures += b.FilterFailures
	}
	return r
}
