package models

import (
	"time"

	"github.com/waybill-dev/waybill/models/alertrule"
)

// How bad an alert is.
const (
	SeverityCritical = alertrule.SeverityCritical
	SeverityError    = alertrule.SeverityError
	SeverityWarning  = alertrule.SeverityWarning
	SeverityInfo     = alertrule.SeverityInfo
)

// Condition is when a rule fires; its kinds are in models/alertrule.
type Condition = alertrule.Condition

// subject is a destination as rules look at it.
type subject struct {
	alertrule.Subject // what conditions look at
	key, tenant       int64
	id, tenantID      string
	topics            []string
	disabledBy        string
	gone              bool // it, or its tenant, was deleted
	health            *Health
}

// facts hands over to conditions what was loaded.
func (d *subject) facts(now time.Time) {
	h := d.health
	d.Now = now
	if d.disabledBy != disabler {
		d.DisabledBy = d.disabledBy
	}
	d.Health = alertrule.Health{Failures: h.Failures, Attempts: h.Attempts, GivenUp: h.GivenUp, Peak: h.Peak, GaveUp: h.GaveUp,
		Since: h.Since, Error: h.Error,
		LastSuccess: h.LastSuccess, ResetAt: h.ResetAt, FilterFailures: h.FilterFailures, FilterError: h.FilterError,
		FilterFailedAt:  h.FilterFailedAt,
		CertificateEnds: h.CertificateEnds}
}

// over reports whether an alert of the rule is over, and why.
func (r *AlertRule) over(d *subject, openedAt time.Time) (resolution string, over bool) {
	if d.gone {
		return "The destination was deleted.", true
	}
	return r.Condition.Over(&d.Subject, openedAt)
}
