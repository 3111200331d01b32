package alertrule

import (
	"time"

	"github.com/waybill-dev/waybill/models/units"
)

// FilterQuiet is after how long without a failure a filter counts as mended.
const FilterQuiet = 15 * time.Minute

func init() {
	Register(Kind{
		Name: "filter_failing", Position: 70, Label: "The filter fails on an event",
		Fields:   on("filter_failing", "The filter fails on events."),
		Data:     Failures,
		Sentence: func(Condition) string { return "the filter fails" },
		Met: func(_ Condition, d *Subject) (Finding, bool) {
			h := d.Health
			summary := units.Count(h.FilterFailures, "event", "events") + " could not be filtered, and failed. " + h.FilterError
			return Finding{Severity: SeverityError, Summary: summary}, filterFails(d)
		},
		Over: func(_ Condition, d *Subject, _ time.Time) (string, bool) {
			return "The filter works again, or was removed.", !filterFails(d)
		},
		Replay: func(_ Condition, _ *Subject, past *Past) (at []time.Time) {
			var last time.Time
			for _, m := range past.Minutes {
				if m.FilterFailures == 0 {
					continue
				}
				if m.At.Sub(last) >= FilterQuiet {
					at = append(at, m.At)
				}
				last = m.At
			}
			return at
		},
	})
}

func filterFails(d *Subject) bool {
	failed := d.Health.FilterFailedAt
	return d.Filtered && failed != nil && d.Now.Sub(*failed) < FilterQuiet
}
