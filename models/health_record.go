package models

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// healthDelta is what one transaction found out about a destination. Transactions add these to a table of their own;
// Store.Watch folds them into the destinations' health. So recording never waits for another transaction, whatever number
// of workers deliver to the same destination, and what is committed counts exactly once.
type healthDelta struct {
	destination, tenant                 int64
	minute                              time.Time
	deliveries, failedDeliveries        int32
	attempts, failedAttempts            int32
	lag                                 time.Duration
	results                             []result
	lastFailure                         time.Time
	code, filterFailures                int32
	errorClass, err, advice, filterFail string
	certificate                         certificate
}

// healthDeltas are those of one transaction, by destination.
type healthDeltas map[int64]*healthDelta

func (h *healthDeltas) of(destination, tenant int64, at time.Time) *healthDelta {
	if *h == nil {
		*h = healthDeltas{}
	}
	d := (*h)[destination]
	if d == nil {
		d = &healthDelta{destination: destination, tenant: tenant}
		(*h)[destination] = d
	}
	if m := at.UTC().Truncate(time.Minute); m.After(d.minute) {
		d.minute = m
	}
	return d
}

// attempt takes note of an attempt and of what follows from it.
func (h *healthDeltas) attempt(o *Outcome) {
	a := o.Attempt
	if a == nil {
		return
	}
	if !a.CertificateEnds.IsZero() {
		// Whatever became of the attempt, and of tests too.
		d := h.of(o.DeliveryKey.Destination, o.TenantKey, a.StartedAt)
		if !a.StartedAt.Before(d.certificate.seen) {
			d.certificate = certificate{a.CertificateEnds, a.StartedAt}
		}
	}
	if !counts(a) {
		return
	}
	d := h.of(o.DeliveryKey.Destination, o.TenantKey, a.StartedAt)
	d.results = append(d.results, result{At: a.StartedAt, Previous: o.Previous, OK: a.OK, GivenUp: !a.OK && o.Status == StatusFailed})
	d.attempts++
	if a.Number == 1 {
		d.deliveries++
		if a.Trigger == TriggerAutomatic {
			d.lag = max(d.lag, a.StartedAt.Sub(eventTime(o.EventKey)))
		}
	}
	if a.OK {
		return
	}
	d.failedAttempts++
	if a.Number == 1 {
		d.failedDeliveries++
	}
	if !a.StartedAt.Before(d.lastFailure) {
		d.lastFailure = a.StartedAt
		d.code, d.errorClass, d.err, d.advice = int32(a.Code), a.ErrorClass, a.Error, a.Advice
	}
}

// filterFailed takes note that a destination's filter failed on an event.
func (h *healthDeltas) filterFailed(destination, tenant int64, at time.Time, why string) {
	d := h.of(destination, tenant, at)
	d.filterFailures++
	d.filterFail = why
}

// eventTime is when an event was received, to the millisecond in its id.
func eventTime(id uuid.UUID) time.Time {
	sec, nsec := id.Time().UnixTime()
	return time.Unix(sec, nsec)
}

// queue adds the statement that writes the deltas to a batch.
func (h healthDeltas) queue(b *pgx.Batch) {
	if len(h) == 0 {
		return
	}
	n := len(h)
	destination, tenant, minute := make([]int64, 0, n), make([]int64, 0, n), make([]time.Time, 0, n)
	deliveries, failedDeliveries, attempts, failedAttempts := make([]int32, 0, n), make([]int32, 0, n), make([]int32, 0, n),
		make([]int32, 0, n)
	lag, packed, code, filterFailures := make([]int64, 0, n), make([][]byte, 0, n), make([]int32, 0, n), make([]int32, 0, n)
	class, err, advice, filterError := make([]*string, 0, n), make([]*string, 0, n), make([]*string, 0, n), make([]*string, 0, n)
	ends, seen := make([]*time.Time, 0, n), make([]*time.Time, 0, n)
	for _, d := range h {
		destination, tenant, minute = append(destination, d.destination), append(tenant, d.tenant), append(minute, d.minute)
		deliveries, failedDeliveries = append(deliveries, d.deliveries), append(failedDeliveries, d.failedDeliveries)
		attempts, failedAttempts = append(attempts, d.attempts), append(failedAttempts, d.failedAttempts)
		lag, packed, code = append(lag, d.lag.Milliseconds()), append(packed, packResults(d.results)), append(code, d.code)
		class, err, advice = append(class, textOrNil(d.errorClass)), append(err, textOrNil(d.err)), append(advice, textOrNil(d.advice))
		filterFailures, filterError = append(filterFailures, d.filterFailures), append(filterError, textOrNil(d.filterFail))
		ends, seen = append(ends, timeOrNil(d.certificate.ends)), append(seen, timeOrNil(d.certificate.seen))
	}
	b.Queue(`insert into health_deltas (destination_key, tenant_key, minute, deliveries, failed_deliveries, attempts, failed_attempts,
			lag_ms, outcomes, code, error_class, error, advice, filter_failures, filter_error, certificate_ends, certificate_at)
		select d, t, m, n, nf, a, af, l, o, c, ec, e, ad, ff, fe, ce, ca from unnest($1::bigint[], $2::bigint[], $3::timestamptz[],
			$4::integer[], $5::integer[], $6::integer[], $7::integer[],
			$8::bigint[], $9::bytea[], $10::integer[], $11::text[], $12::text[], $13::text[], $14::integer[], $15::text[],
				$16::timestamptz[], $17::timestamptz[])
			x (d, t, m, n, nf, a, af, l, o, c, ec, e, ad, ff, fe, ce, ca)`,
		destination, tenant, minute, deliveries, failedDeliveries, attempts, failedAttempts, lag, packed, code, class, err, advice,
		filterFailures, filterError, ends, seen)
}
