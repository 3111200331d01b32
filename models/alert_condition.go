package models

import (
	"fmt"
	"time"
)

// How bad an alert is. The words are those of PagerDuty's Events API v2.
const (
	SeverityCritical = "critical"
	SeverityError    = "error"
	SeverityWarning  = "warning"
	SeverityInfo     = "info"
)

// subject is a destination as rules look at it.
type subject struct {
	key, tenant    int64
	id, tenantID   string
	topics         []string
	limit          int // failing deliveries in a row at which it is disabled; 0 for never
	disabledAt     *time.Time
	disabledBy     string
	disabledReason string
	filtered       bool // it has a filter
	gone           bool // it, or its tenant, was deleted
	health         *Health
	backlog        time.Duration // how long the oldest event has waited
	rates          map[Duration]Rates
	now            time.Time // of the pass
}

// finding is what a condition finds out about a destination.
type finding struct {
	step     int // percent of the limit, with steps
	severity string
	summary  string
}

// stepsBase is what the steps are percentages of where a destination is never disabled by itself.
const stepsBase = 100

// met reports whether the condition is met, or was in between, and what it found.
func (c Condition) met(d *subject) (finding, bool) {
	h := d.health
	streak := func(n int) string {
		s := fmt.Sprintf("%s in a row failed (%s)", countOf(n, "delivery", "deliveries"), countOf(h.Attempts, "attempt", "attempts"))
		if h.Failures < n {
			s = countOf(n, "delivery", "deliveries") + " in a row failed" // it has recovered meanwhile
		}
		return s + lastError(h)
	}
	switch c.Kind() {
	case RuleSteps:
		limit := d.limit
		if limit == 0 {
			limit = stepsBase
		}
		peak := max(h.Peak, h.Failures)
		step := 0
		for _, p := range c.DisableSteps {
			if peak*100 >= p*limit {
				step = p
			}
		}
		f := finding{step: step, severity: stepSeverity(step), summary: streak(peak)}
		if d.limit > 0 {
			f.summary = fmt.Sprintf("%s It is disabled after %d.", f.summary, d.limit)
		}
		return f, step > 0
	case RuleFailures:
		n := max(h.Peak, h.Failures)
		if c.counted() == CountAttempts {
			return finding{severity: SeverityError, summary: fmt.Sprintf("%s in a row failed%s", countOf(h.Attempts, "attempt", "attempts"), lastError(h))}, h.Attempts >= c.ConsecutiveFailures
		}
		return finding{severity: SeverityError, summary: streak(n)}, n >= c.ConsecutiveFailures
	case RuleRate:
		return c.rateMet(d.rates[c.Window])
	case RuleDisabled:
		if d.disabledAt == nil {
			return finding{}, false
		}
		f := finding{severity: SeverityInfo, summary: "It was disabled by " + actorName(d.disabledBy)}
		if d.disabledBy == "" || d.disabledBy == disabler {
			f = finding{severity: SeverityCritical, summary: "It was disabled automatically"}
		}
		if d.disabledReason != "" {
			f.summary += ": " + d.disabledReason
		}
		f.summary += ended(f.summary) + " Its events are held."
		return f, true
	case RuleExhausted:
		return finding{severity: SeverityError, summary: fmt.Sprintf("%s failed for good%s", countOf(max(h.GivenUp, h.GaveUp), "delivery", "deliveries"), lastError(h))}, h.GivenUp+h.GaveUp > 0
	case RuleBacklog:
		return finding{severity: SeverityWarning, summary: fmt.Sprintf("The oldest event has waited for %s.", Duration(d.backlog.Truncate(time.Second)))}, d.backlog >= time.Duration(c.BacklogAge)
	case RuleFilter:
		return finding{severity: SeverityError, summary: fmt.Sprintf("%s could not be filtered, and failed. %s", countOf(h.FilterFailures, "event", "events"), h.FilterError)},
			d.filtered && filterFails(h, time.Now())
	case RuleCertificate:
		if h.CertificateEnds == nil {
			return finding{}, false
		}
		left := h.CertificateEnds.Sub(d.now)
		return finding{severity: certificateSeverity(left), summary: certificateSummary(*h.CertificateEnds, left)}, left <= time.Duration(c.CertificateExpires)
	}
	return finding{}, false
}

// certificateSeverity rises as the end comes nearer. Three days leave a weekend to renew it.
func certificateSeverity(left time.Duration) string {
	switch {
	case left <= 0:
		return SeverityCritical
	case left <= 3*24*time.Hour:
		return SeverityError
	}
	return SeverityWarning
}

// certificateSummary says when a certificate ends. What is left is told in whole days, so that it changes once a day.
func certificateSummary(ends time.Time, left time.Duration) string {
	at := ends.UTC().Format("2 January 2006, 15:04 UTC")
	switch days := int(left / (24 * time.Hour)); {
	case left <= 0:
		return "Its TLS certificate ended on " + at + ", and new connections fail."
	case days == 0:
		return "Its TLS certificate ends on " + at + ", in less than a day. New connections fail from then on."
	default:
		return fmt.Sprintf("Its TLS certificate ends on %s, in %s. New connections fail from then on.", at, countOf(days, "day", "days"))
	}
}

// filterQuiet is after how long without a failure a filter counts as mended.
const filterQuiet = 15 * time.Minute

func filterFails(h *Health, now time.Time) bool {
	return h.FilterFailedAt != nil && now.Sub(*h.FilterFailedAt) < filterQuiet
}

func (c Condition) rateMet(r Rates) (finding, bool) {
	all, failed := r.Deliveries, r.Failed
	if c.counted() == CountAttempts {
		all, failed = r.Attempts, r.FailedAttempts
	}
	if all == 0 {
		return finding{}, false
	}
	percent := 100 * float64(failed) / float64(all)
	return finding{severity: SeverityWarning, summary: fmt.Sprintf("%d of %d %s (%.3g %%) failed within %s.", failed, all, c.counted(), percent, c.Window)},
		all >= c.MinAttempts && percent >= c.FailureRate
}

// over reports whether an alert that was open is over, and why.
func (c Condition) over(d *subject, openedAt time.Time) (resolution string, yes bool) {
	if d.gone {
		return "The destination was deleted.", true
	}
	h := d.health
	switch c.Kind() {
	case RuleSteps, RuleFailures, RuleExhausted:
		if h.Failures > 0 {
			return "", false
		}
		switch {
		case h.ResetAt != nil && h.ResetAt.After(openedAt) && (h.LastSuccess == nil || h.LastSuccess.Before(*h.ResetAt)):
			return "The destination was enabled, and counting starts anew.", true
		case h.LastSuccess != nil:
			return "Events are delivered again since " + h.LastSuccess.UTC().Format("2006-01-02 15:04:05") + " UTC.", true
		}
		return "Events are delivered again.", true
	case RuleRate:
		_, still := c.rateMet(d.rates[c.Window])
		return fmt.Sprintf("The failure rate is below %g %% again.", c.FailureRate), !still
	case RuleDisabled:
		return "The destination was enabled.", d.disabledAt == nil
	case RuleBacklog:
		return fmt.Sprintf("No event waits for longer than %s any more.", c.BacklogAge), d.backlog < time.Duration(c.BacklogAge)
	case RuleFilter:
		return "The filter works again, or was removed.", !d.filtered || !filterFails(h, time.Now())
	case RuleCertificate:
		if h.CertificateEnds == nil {
			return "The destination was changed. What is known of its new certificate is told with the next connection.", true
		}
		return "A certificate was seen that is valid until " + h.CertificateEnds.UTC().Format("2 January 2006, 15:04 UTC") + ".",
			h.CertificateEnds.Sub(d.now) > time.Duration(c.CertificateExpires)
	}
	return "The rule was changed.", true
}

func stepSeverity(step int) string {
	switch {
	case step >= 100:
		return SeverityCritical
	case step >= 90:
		return SeverityError
	}
	return SeverityWarning
}

func lastError(h *Health) string {
	if h.Error == "" {
		return "."
	}
	return "; last error: " + h.Error + ended(h.Error)
}

// ended is the full stop that a text lacks.
func ended(s string) string {
	if s == "" || s[len(s)-1] == '.' {
		return ""
	}
	return "."
}
