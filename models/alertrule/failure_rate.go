package alertrule

import (
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/models/units"
)

const failureRate = "failure_rate"

func init() {
	Register(Kind{
		Name: failureRate, Position: 30, Label: "Failure rate",
		Phrase: "at least {failure_rate} % of {count} failed within {window} and there were at least {min_attempts}",
		Fields: []Field{
			{Key: failureRate, Type: Number, Label: "Failure rate", Input: "Percent", Min: 0, Max: 100, Initial: "20",
				Problem: "must be a percentage above 0, at most 100", Doc: "Percent of what was tried within the window."},
			{Key: "window", Type: Duration, Label: "Window", Min: float64(time.Minute), Max: float64(24 * time.Hour),
				Default: units.Duration(15 * time.Minute), Initial: "15m",
				Problem: "must be between 1m and 24h", Doc: "With 'failure_rate'; 15m when missing."},
			{Key: "min_attempts", Type: Int, Label: "Least number", Min: 1, Default: 20, Initial: "20",
				Problem: "must be at least 1", Doc: "With 'failure_rate': fewer than that tell nothing; 20 when missing."},
			countField("What is counted for the rate"),
		},
		Data: Rates, Span: "window",
		Sentence: func(c Condition) string {
			return fmt.Sprintf("at least %g %% of %s failed within %s (at least %d)",
				c.number(failureRate), c.Counted(), units.Duration(c.duration("window")), c.int("min_attempts"))
		},
		Met: func(c Condition, d *Subject) (Finding, bool) { return rateMet(c, d.Tried[c.duration("window")]) },
		Over: func(c Condition, d *Subject, _ time.Time) (string, bool) {
			_, still := rateMet(c, d.Tried[c.duration("window")])
			return fmt.Sprintf("The failure rate is below %g %% again.", c.number(failureRate)), !still
		},
		Replay: func(c Condition, _ *Subject, past *Past) []time.Time {
			var sum TriedSince
			within := past.Minutes
			return began(past.Minutes, func(m Minute) (met, over bool) {
				sum.add(m.TriedSince, 1)
				for ; m.At.Sub(within[0].At) >= c.duration("window"); within = within[1:] {
					sum.add(within[0].TriedSince, -1)
				}
				_, met = rateMet(c, sum)
				return met, !met
			})
		},
	})
}

func rateMet(c Condition, r TriedSince) (Finding, bool) {
	all, failed := r.Deliveries, r.Failed
	if c.Counted() == CountAttempts {
		all, failed = r.Attempts, r.FailedAttempts
	}
	if all == 0 {
		return Finding{}, false
	}
	percent := 100 * float64(failed) / float64(all)
	summary := fmt.Sprintf("%d of %d %s (%.3g %%) failed within %s.", failed, all, c.Counted(), percent,
		units.Duration(c.duration("window")))
	return Finding{Severity: SeverityWarning, Summary: summary}, all >= c.int("min_attempts") && percent >= c.number(failureRate)
}

func (t *TriedSince) add(m TriedSince, sign int) {
	t.Deliveries += sign * m.Deliveries
	t.Failed += sign * m.Failed
	t.Attempts += sign * m.Attempts
	t.FailedAttempts += sign * m.FailedAttempts
}
