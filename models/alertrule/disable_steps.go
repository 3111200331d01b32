package alertrule

import "time"

const disableSteps = "disable_steps"

// stepsBase is what the steps are percentages of where a destination is never disabled by itself.
const stepsBase = 100

func init() {
	Register(Kind{
		Name: disableSteps, Position: 20, Label: "Steps towards being disabled",
		Phrase: "{disable_steps} % of the deliveries in a row have failed at which the destination is disabled",
		Fields: []Field{{Key: disableSteps, Type: Ints, Label: "Steps", Input: "Steps in percent",
			Min: 1, Max: 100, Most: 10, Initial: "50, 70, 90, 100",
			Problem: "must be up to 10 percentages between 1 and 100",
			Doc:     "Failing deliveries in a row, in percent of the limit at which the destination is disabled."}},
		Data: Failures,
		Sentence: func(c Condition) string {
			return Find(disableSteps).Fields[0].Text(steps(c)) +
				" % of the deliveries in a row have failed at which the destination is disabled"
		},
		Met: func(c Condition, d *Subject) (Finding, bool) {
			peak := max(d.Health.Peak, d.Health.Failures)
			step := stepAt(c, d, peak)
			return Finding{Step: step, Severity: stepSeverity(step), Summary: recent(d, peak)}, step > 0
		},
		Over: recovered,
		Replay: func(c Condition, d *Subject, past *Past) []time.Time {
			return began(past.Minutes, func(m Minute) (met, over bool) { return stepAt(c, d, m.Peak) > 0, m.End == 0 })
		},
	})
}

func steps(c Condition) []int {
	list, _ := c[disableSteps].([]int)
	return list
}

// stepAt is the highest step that so many failures in a row reach; 0 for none.
func stepAt(c Condition, d *Subject, failures int) (step int) {
	limit := d.Limit
	if limit == 0 {
		limit = stepsBase
	}
	for _, p := range steps(c) {
		if failures*100 >= p*limit {
			step = p
		}
	}
	return step
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
