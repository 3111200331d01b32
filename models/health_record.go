package models

import (
	"time"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/models/pgcopy"
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

const intoHealth = "health_deltas (destination_key, tenant_key, minute, deliveries, failed_deliveries, attempts, failed_attempts, lag_ms, " +
	"outcomes, code, error_class, error, advice, filter_failures, filter_error, certificate_ends, certificate_at)"

// copyTo adds the rows to what a transaction writes when it commits.
func (h healthDeltas) copyTo(copies []pgcopy.Copy, c *pgcopy.Rows) []pgcopy.Copy {
	if len(h) == 0 {
		return copies
	}
	c.Reset()
	for _, d := range h {
		c.Row(17)
		c.Int8(d.destination)
		c.Int8(d.tenant)
		c.Time(d.minute)
		for _, n := range []int32{d.deliveries, d.failedDeliveries, d.attempts, d.failedAttempts} {
			c.Int4(n)
		}
		c.Int8(d.lag.Milliseconds())
		c.Bytes(packResults(d.results))
		c.Int4(d.code)
		for _, t := range []string{d.errorClass, d.err, d.advice} {
			c.TextOrNull(text(t))
		}
		c.Int4(d.filterFailures)
		c.TextOrNull(text(d.filterFail))
		c.TimeOrNull(d.certificate.ends)
		c.TimeOrNull(d.certificate.seen)
	}
	return append(copies, pgcopy.Copy{Into: intoHealth, Rows: c})
}
