package alertrule

import "time"

func init() {
	Register(Kind{
		Name: "retries_exhausted", Position: 50, Label: "A delivery has used up its retries",
		Fields:   on("retries_exhausted", "A delivery has failed: no retry is left."),
		Data:     Failures,
		Sentence: func(Condition) string { return "a delivery has used up its retries" },
		Met: func(_ Condition, d *Subject) (Finding, bool) {
			h := d.Health
			summary := deliveries(max(h.GivenUp, h.GaveUp)) + " failed, with no retry left." + lastError(h)
			return Finding{Severity: SeverityError, Summary: summary}, h.GivenUp+h.GaveUp > 0
		},
		Over: recovered,
		Replay: func(_ Condition, _ *Subject, past *Past) []time.Time {
			return began(past.Minutes, func(m Minute) (met, over bool) { return m.GivenUp > 0, m.End == 0 })
		},
	})
}
