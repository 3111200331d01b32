package alertrule

import (
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/models/units"
)

const certificateExpires = "certificate_expires"

func init() {
	Register(Kind{
		Name: certificateExpires, Position: 80, Label: "A TLS certificate expires",
		Phrase: "the destination's certificate ends within {certificate_expires}",
		Fields: []Field{{Key: certificateExpires, Type: Days, Label: "Expires within",
			Min: float64(time.Hour), Max: float64(365 * 24 * time.Hour), Initial: "14d",
			Problem: "must be between 1h and 365d", Doc: "The destination's TLS certificate ends within this time, or has ended."}},
		Data: Certificate, Span: certificateExpires,
		Every:     24 * time.Hour, // it takes days to be renewed
		Countdown: true,
		Sentence: func(c Condition) string {
			return "the certificate expires within " + units.Days(c.duration(certificateExpires)).Words()
		},
		Met: func(c Condition, d *Subject) (Finding, bool) {
			ends := d.Health.CertificateEnds
			if ends == nil {
				return Finding{}, false
			}
			left := ends.Sub(d.Now)
			return Finding{Severity: certificateSeverity(left), Summary: certificateSummary(*ends, left)},
				left <= c.duration(certificateExpires)
		},
		Over: func(c Condition, d *Subject, _ time.Time) (string, bool) {
			ends := d.Health.CertificateEnds
			if ends == nil {
				return "The destination was changed. What is known of its new certificate is told with the next connection.", true
			}
			return "A certificate was seen that is valid until " + ends.UTC().Format("2 January 2006, 15:04 UTC") + ".",
				ends.Sub(d.Now) > c.duration(certificateExpires)
		},
		Replay: func(c Condition, d *Subject, past *Past) []time.Time {
			ends := d.Health.CertificateEnds
			if ends == nil || ends.Sub(d.Now) > c.duration(certificateExpires) {
				return nil
			}
			at := ends.Add(-c.duration(certificateExpires))
			if at.Before(past.Since) {
				at = past.Since
			}
			return []time.Time{at}
		},
		Unknown: func(Condition) string {
			return "Only the certificates that were seen last are known, and not those that were renewed meanwhile. " +
				"What began to be met earlier counts as of the first of the 7 days."
		},
	})
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
		return fmt.Sprintf("Its TLS certificate ends on %s, in %s. New connections fail from then on.", at,
			units.Count(days, "day", "days"))
	}
}
