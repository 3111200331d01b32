package alertrule

import (
	"fmt"
	"time"
)

const consecutiveFailures = "consecutive_failures"

func init() {
	Register(Kind{
		Name: consecutiveFailures, Position: 10, Label: "Failures in a row",
		Phrase: "{consecutive_failures} {count} in a row failed",
		Fields: []Field{
			{Key: consecutiveFailures, Type: Int, Label: "Failures in a row", Input: "How many in a row", Min: 1, Max: 1_000_000,
				Initial: "10",
				Problem: "must be between 1 and 1000000", Doc: "Failing deliveries in a row; with count 'attempts', attempts."},
			countField("What is counted in a row"),
		},
		Data: Failures,
		Sentence: func(c Condition) string {
			switch n := c.int(consecutiveFailures); {
			case c.Counted() == CountAttempts:
				return fmt.Sprintf("%d attempts in a row failed", n)
			case n == 1:
				return "a delivery failed"
			default:
				return fmt.Sprintf("%d deliveries in a row failed", n)
			}
		},
		Met: func(c Condition, d *Subject) (Finding, bool) {
			h, least := d.Health, c.int(consecutiveFailures)
			if c.Counted() == CountAttempts {
				return Finding{Severity: SeverityError, Summary: attempts(h.Attempts) + " in a row have failed." + lastError(h)},
					h.Attempts >= least
			}
			n := max(h.Peak, h.Failures)
			return Finding{Severity: SeverityError, Summary: recent(d, n)}, n >= least
		},
		Over: recovered,
		Replay: func(c Condition, _ *Subject, past *Past) []time.Time {
			return began(past.Minutes, func(m Minute) (met, over bool) { return m.Peak >= c.int(consecutiveFailures), m.End == 0 })
		},
		Unknown: func(c Condition) string {
			if c.Counted() == CountAttempts {
				return "Of the past, deliveries in a row are known and attempts are not, so that this counts deliveries."
			}
			return ""
		},
	})
}
