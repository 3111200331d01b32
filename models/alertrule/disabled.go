package alertrule

import "time"

func init() {
	Register(Kind{
		Name: "disabled", Position: 40, Label: "The destination is disabled",
		Fields:   on("disabled", "The destination is disabled, by whomever."),
		Data:     Disabling,
		Decided:  true,
		Sentence: func(Condition) string { return "the destination is disabled" },
		Met: func(_ Condition, d *Subject) (Finding, bool) {
			if d.DisabledAt == nil {
				return Finding{}, false
			}
			f := Finding{Severity: SeverityInfo, Summary: "Disabled by " + d.DisabledBy}
			if d.DisabledBy == "" {
				f = Finding{Severity: SeverityCritical, Summary: "Disabled by Waybill"}
			}
			if d.DisabledReason != "" {
				f.Summary += ": " + d.DisabledReason
			}
			f.Summary += Ended(f.Summary) + " New events are held."
			return f, true
		},
		Over: func(_ Condition, d *Subject, _ time.Time) (string, bool) {
			return "The destination was enabled.", d.DisabledAt == nil
		},
		Replay: func(_ Condition, _ *Subject, past *Past) []time.Time { return past.Disabled },
	})
}
