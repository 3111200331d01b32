package alertrule_test

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models/alertrule"
)

func TestDisableSteps(t *testing.T) {
	t.Parallel()
	judge(t, map[string]verdict{
		"met": {`{"disable_steps": [50, 70, 90, 100]}`, alertrule.Subject{Limit: 100, Health: failing}, true, 70, "warning",
			"70 deliveries in a row have failed since 11:20 UTC. At 100 it is disabled and new events are held. Last error: connection refused."},
		"error": {`{"disable_steps": [50, 90]}`, alertrule.Subject{Limit: 75, Health: failing}, true, 90, "error", ""},
		"of a small limit": {`{"disable_steps": [50, 100]}`, alertrule.Subject{Limit: 70, Least: 10 * time.Minute, Health: failing}, true, 100,
			"critical", "Once they have failed for 10 min, it is disabled and new events are held."},
		"never disabled": {`{"disable_steps": [50, 90]}`, alertrule.Subject{Health: failing}, true, 50, "warning", "refused."},
		"only in between": {`{"disable_steps": [50]}`, alertrule.Subject{Limit: 100, Health: alertrule.Health{Peak: 50}}, true, 50,
			"warning", "50 deliveries in a row failed."},
		"not reached":        {when: `{"disable_steps": [90]}`, d: alertrule.Subject{Limit: 100, Health: failing}},
		"nothing has failed": {when: `{"disable_steps": [1]}`, d: alertrule.Subject{Limit: 100}},
	})
	replay(t, `{"disable_steps": [50, 90]}`, alertrule.Subject{Limit: 10}, alertrule.Past{Minutes: []alertrule.Minute{
		{At: at(1), Peak: 4, End: 4}, {At: at(2), Peak: 5, End: 5}, {At: at(3), Peak: 9, End: 0}, {At: at(4), Peak: 6, End: 6}}}, at(2),
		at(4))
}

func TestConsecutiveFailures(t *testing.T) {
	t.Parallel()
	judge(t, map[string]verdict{
		"met": {`{"consecutive_failures": 70}`, alertrule.Subject{Health: failing}, true, 0, "error",
			"70 deliveries in a row have failed since 11:20 UTC. Last error: connection refused."},
		"one too few": {when: `{"consecutive_failures": 71}`, d: alertrule.Subject{Health: failing}},
		"attempts": {`{"consecutive_failures": 140, "count": "attempts"}`, alertrule.Subject{Health: failing}, true, 0, "error",
			"140 attempts in a row have failed."},
		"too few attempts": {when: `{"consecutive_failures": 141, "count": "attempts"}`, d: alertrule.Subject{Health: failing}},
	})
	replay(t, `{"consecutive_failures": 3}`, alertrule.Subject{}, alertrule.Past{Minutes: []alertrule.Minute{
		{At: at(1), Peak: 2, End: 2}, {At: at(2), Peak: 3, End: 3}, {At: at(3), Peak: 5, End: 0}, {At: at(9), Peak: 3, End: 3}}}, at(2),
		at(9))
	if when(t, `{"consecutive_failures": 3, "count": "attempts"}`).Unknown() == "" ||
		when(t, `{"consecutive_failures": 3}`).Unknown() != "" {
		t.Error("a preview of attempts says what it counts, and one of deliveries has nothing to say")
	}
}

func TestRetriesExhausted(t *testing.T) {
	t.Parallel()
	judge(t, map[string]verdict{
		"met": {`{"retries_exhausted": true}`, alertrule.Subject{Health: alertrule.Health{GivenUp: 1, Failures: 1}}, true, 0,
			"error", "1 delivery failed, with no retry left."},
		"in between": {`{"retries_exhausted": true}`, alertrule.Subject{Health: alertrule.Health{GaveUp: 2}}, true, 0, "error",
			"2 deliveries failed, with no retry left."},
		"not met": {when: `{"retries_exhausted": true}`, d: alertrule.Subject{Health: failing}},
	})
	replay(t, `{"retries_exhausted": true}`, alertrule.Subject{}, alertrule.Past{Minutes: []alertrule.Minute{{At: at(1), Peak: 2, End: 2},
		{At: at(2), GivenUp: 1, End: 1}, {At: at(3), GivenUp: 1, End: 0}}}, at(2))
}

// TestRecovery ends the alerts about failures.
func TestRecovery(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"consecutive_failures": 3}`, `{"disable_steps": [50]}`, `{"retries_exhausted": true}`} {
		end(t, map[string]ending{
			text + " fails": {when: text, d: alertrule.Subject{Health: failing}},
			text + " delivered": {text, alertrule.Subject{Health: alertrule.Health{LastSuccess: ago(time.Minute)}}, true,
				"Events are delivered again since 2026-03-02 11:59:00 UTC."},
			text + " enabled": {text, alertrule.Subject{Health: alertrule.Health{LastSuccess: ago(time.Hour), ResetAt: ago(time.Minute)}},
				true, "The destination was enabled, and counting starts anew."},
			text + " unknown": {text, alertrule.Subject{}, true, "Events are delivered again."},
		})
	}
}

func TestFilterFailing(t *testing.T) {
	t.Parallel()
	const text = `{"filter_failing": true}`
	h := alertrule.Health{FilterFailures: 2, FilterError: "No such field.", FilterFailedAt: ago(time.Minute)}
	calm := h
	calm.FilterFailedAt = ago(15 * time.Minute)
	judge(t, map[string]verdict{
		"met": {text, alertrule.Subject{Filtered: true, Health: h}, true, 0, "error",
			"2 events could not be filtered, and failed. No such field."},
		"without a filter": {when: text, d: alertrule.Subject{Health: h}},
		"long ago":         {when: text, d: alertrule.Subject{Filtered: true, Health: calm}},
	})
	end(t, map[string]ending{
		"still":   {when: text, d: alertrule.Subject{Filtered: true, Health: h}},
		"calm":    {text, alertrule.Subject{Filtered: true, Health: calm}, true, "The filter works again, or was removed."},
		"removed": {text, alertrule.Subject{Health: h}, true, "The filter works again, or was removed."},
	})
	replay(t, text, alertrule.Subject{}, alertrule.Past{Minutes: []alertrule.Minute{{At: at(1), FilterFailures: 1}, {At: at(5), Peak: 1},
		{At: at(15), FilterFailures: 1}, {At: at(30), FilterFailures: 1}}}, at(1), at(30))
}
