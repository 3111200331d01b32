package alertrule_test

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models/alertrule"
)

func TestFailureRate(t *testing.T) {
	t.Parallel()
	tried := func(r alertrule.TriedSince) alertrule.Subject {
		return alertrule.Subject{Tried: map[time.Duration]alertrule.TriedSince{15 * time.Minute: r}}
	}
	judge(t, map[string]verdict{
		"met": {`{"failure_rate": 20}`, tried(alertrule.TriedSince{Deliveries: 20, Failed: 4}), true, 0, "warning",
			"4 of 20 deliveries (20 %) failed within 15m."},
		"of too few":    {when: `{"failure_rate": 20, "min_attempts": 21}`, d: tried(alertrule.TriedSince{Deliveries: 20, Failed: 20})},
		"lower":         {when: `{"failure_rate": 20}`, d: tried(alertrule.TriedSince{Deliveries: 100, Failed: 19})},
		"nothing tried": {when: `{"failure_rate": 20}`, d: alertrule.Subject{}},
		"of attempts": {`{"failure_rate": 50, "count": "attempts"}`,
			tried(alertrule.TriedSince{Deliveries: 20, Failed: 4, Attempts: 40, FailedAttempts: 20}), true, 0, "warning",
			"20 of 40 attempts"},
	})
	end(t, map[string]ending{
		"still": {when: `{"failure_rate": 20}`, d: tried(alertrule.TriedSince{Deliveries: 20, Failed: 4})},
		"lower": {`{"failure_rate": 20}`, tried(alertrule.TriedSince{Deliveries: 20, Failed: 3}), true,
			"The failure rate is below 20 % again."},
	})
	minute := func(m, all, failed int) alertrule.Minute {
		return alertrule.Minute{At: at(m), TriedSince: alertrule.TriedSince{Deliveries: all, Failed: failed}}
	}
	replay(t, `{"failure_rate": 50, "window": "5m", "min_attempts": 10}`, alertrule.Subject{}, alertrule.Past{Minutes: []alertrule.Minute{
		minute(1, 5, 5), minute(2, 5, 0), minute(3, 5, 0), minute(9, 10, 0), minute(20, 10, 10)}}, at(2), at(20))
}

func TestDisabled(t *testing.T) {
	t.Parallel()
	judge(t, map[string]verdict{
		"by itself": {`{"disabled": true}`, alertrule.Subject{DisabledAt: ago(time.Minute), DisabledReason: "100 failures"}, true, 0,
			"critical", "Disabled by Waybill: 100 failures. New events are held."},
		"by somebody": {`{"disabled": true}`, alertrule.Subject{DisabledAt: ago(time.Minute), DisabledBy: "kim@example.com"}, true, 0,
			"info", "Disabled by kim@example.com. New events are held."},
		"enabled": {when: `{"disabled": true}`, d: alertrule.Subject{Health: failing}},
	})
	end(t, map[string]ending{
		"still":   {when: `{"disabled": true}`, d: alertrule.Subject{DisabledAt: ago(time.Minute)}},
		"enabled": {`{"disabled": true}`, alertrule.Subject{}, true, "The destination was enabled."},
	})
	replay(t, `{"disabled": true}`, alertrule.Subject{}, alertrule.Past{Disabled: []time.Time{at(3), at(8)}}, at(3), at(8))
}

func TestBacklogAge(t *testing.T) {
	t.Parallel()
	judge(t, map[string]verdict{
		"met": {`{"backlog_age": "10m"}`, alertrule.Subject{Waited: 10 * time.Minute}, true, 0, "warning",
			"The oldest event has waited for 10m."},
		"not met": {when: `{"backlog_age": "10m"}`, d: alertrule.Subject{Waited: 9 * time.Minute}},
	})
	end(t, map[string]ending{
		"still": {when: `{"backlog_age": "10m"}`, d: alertrule.Subject{Waited: 10 * time.Minute}},
		"over":  {`{"backlog_age": "10m"}`, alertrule.Subject{Waited: time.Minute}, true, "No event waits for longer than 10m any more."},
	})
	replay(t, `{"backlog_age": "1m"}`, alertrule.Subject{}, alertrule.Past{Minutes: []alertrule.Minute{
		{At: at(1), Wait: time.Second}, {At: at(2), Wait: time.Minute}, {At: at(3), Wait: time.Hour}, {At: at(4)},
		{At: at(5), Wait: time.Minute}}}, at(2), at(5))
}

func TestCertificateExpires(t *testing.T) {
	t.Parallel()
	const text = `{"certificate_expires": "14d"}`
	ends := func(in time.Duration) alertrule.Subject {
		return alertrule.Subject{Health: alertrule.Health{CertificateEnds: ago(-in)}}
	}
	const day = 24 * time.Hour
	judge(t, map[string]verdict{
		"soon":          {text, ends(14 * day), true, 0, "warning", "Its TLS certificate ends on 16 March 2026, 12:00 UTC, in 14 days."},
		"in three days": {text, ends(3 * day), true, 0, "error", "in 3 days."},
		"today":         {text, ends(time.Hour), true, 0, "error", "in less than a day."},
		"ended":         {text, ends(-time.Hour), true, 0, "critical", "Its TLS certificate ended on 2 March 2026, 11:00 UTC"},
		"later":         {when: text, d: ends(15 * day)},
		"none":          {when: text, d: alertrule.Subject{}},
	})
	end(t, map[string]ending{
		"still":   {when: text, d: ends(14 * day)},
		"renewed": {text, ends(90 * day), true, "A certificate was seen that is valid until 31 May 2026, 12:00 UTC."},
		"changed": {text, alertrule.Subject{}, true,
			"The destination was changed. What is known of its new certificate is told with the next connection."},
	})
	week := alertrule.Past{Since: start.Add(-7 * day)}
	replay(t, text, ends(10*day), week, start.Add(-4*day))
	replay(t, text, ends(day), week, week.Since)
	replay(t, text, ends(15*day), week)
	if every := when(t, text).Every(); every != day || when(t, `{"disabled": true}`).Every() != time.Hour {
		t.Errorf("told every %v", every)
	}
}
