package alertrule

import (
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/models/units"
)

const backlogAge = "backlog_age"

func init() {
	Register(Kind{
		Name: backlogAge, Position: 60, Label: "Events wait",
		Phrase: "an event has waited for longer than {backlog_age}",
		Fields: []Field{{Key: backlogAge, Type: Duration, Label: "Wait",
			Min: float64(time.Minute), Max: float64(30 * 24 * time.Hour), Initial: "10m",
			Problem: "must be between 1m and 720h", Doc: "An event has waited for so long."}},
		Data: Waits, Span: backlogAge,
		Sentence: func(c Condition) string {
			return fmt.Sprintf("an event has waited for longer than %s", units.Duration(c.duration(backlogAge)))
		},
		Met: func(c Condition, d *Subject) (Finding, bool) {
			summary := fmt.Sprintf("The oldest event has waited for %s.", units.Duration(d.Waited.Truncate(time.Second)))
			return Finding{Severity: SeverityWarning, Summary: summary}, d.Waited >= c.duration(backlogAge)
		},
		Over: func(c Condition, d *Subject, _ time.Time) (string, bool) {
			age := c.duration(backlogAge)
			return fmt.Sprintf("No event waits for longer than %s any more.", units.Duration(age)), d.Waited < age
		},
		Replay: func(c Condition, _ *Subject, past *Past) []time.Time {
			return began(past.Minutes, func(m Minute) (met, over bool) {
				met = m.Wait >= c.duration(backlogAge)
				return met, !met
			})
		},
		Unknown: func(Condition) string {
			return "Of the past, only waits for first attempts are known; events that were held or retried are not among them."
		},
	})
}
