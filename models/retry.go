package models

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models/units"
)

// RetryPolicy says when a failed delivery is tried again. It is exponential, or an explicit list of waits.
type RetryPolicy struct {
	Initial     Duration   `json:"initial,omitempty" doc:"Wait before the second attempt; 10s when missing."`
	Multiplier  float64    `json:"multiplier,omitempty" doc:"Backoff factor: each delay is so many times the one before; 2 when missing."`
	MaxInterval Duration   `json:"max_interval,omitempty" doc:"No wait is longer, also one the receiver asks for; 6h when missing. A destination that keeps failing, or has a rate limit, may have more deliveries due than it is sent: then they wait their turn, and say so."`
	MaxAttempts int        `json:"max_attempts,omitempty" doc:"Including the first; 12 when missing."`
	Schedule    []Duration `json:"schedule,omitempty" doc:"Explicit waits instead."`
	RetryOn     []string   `json:"retry_on,omitempty" doc:"Statuses ('500', '5xx') and error classes that are retried; 'usual' adds the usual ones; empty for the default, which is those unless the tenant or the server says otherwise."`
}

// DefaultRetryPolicy is the policy of a server whose environment says nothing.
func DefaultRetryPolicy() RetryPolicy {
	return RetryPolicy{Initial: Duration(10 * time.Second), Multiplier: 2, MaxInterval: Duration(6 * time.Hour), MaxAttempts: 12}
}

// Jitter is by how much a wait varies to either side, as a fraction, so that retries of many deliveries spread.
const Jitter = 0.2

// Limits of what a policy may say.
const (
	maxAttempts = 100
	maxWait     = 7 * 24 * time.Hour
)

// Or returns p with what it leaves open taken from d.
func (p RetryPolicy) Or(d RetryPolicy) RetryPolicy {
	if len(p.Schedule) == 0 && p.Initial == 0 && p.Multiplier == 0 && p.MaxAttempts == 0 {
		p.Schedule = d.Schedule
	}
	if p.Initial == 0 {
		p.Initial = d.Initial
	}
	if p.Multiplier == 0 {
		p.Multiplier = d.Multiplier
	}
	if p.MaxInterval == 0 {
		p.MaxInterval = d.MaxInterval
	}
	if p.MaxAttempts == 0 {
		p.MaxAttempts = d.MaxAttempts
	}
	if len(p.RetryOn) == 0 {
		p.RetryOn = d.RetryOn
	}
	return p
}

// Attempts is how many attempts the policy allows, the first included.
func (p RetryPolicy) Attempts() int {
	if len(p.Schedule) > 0 {
		return len(p.Schedule) + 1
	}
	return p.MaxAttempts
}

// Wait is the time between attempt n (from 1) and the next one, without jitter.
func (p RetryPolicy) Wait(n int) time.Duration {
	if len(p.Schedule) > 0 {
		return time.Duration(p.Schedule[min(n, len(p.Schedule))-1])
	}
	w := float64(p.Initial) * math.Pow(p.Multiplier, float64(n-1))
	return time.Duration(math.Min(w, float64(p.MaxInterval)))
}

// Next is the wait after attempt n (from 1) with jitter; rnd is a random number in [0, 1). asked is the wait that the
// receiver asked for (Retry-After); it is honoured in full, up to MaxInterval, and the wait is never shorter than it.
func (p RetryPolicy) Next(n int, asked time.Duration, rnd float64) time.Duration {
	w := time.Duration(float64(p.Wait(n)) * (1 - Jitter + 2*Jitter*rnd))
	if asked > 0 {
		w = max(w, min(asked, time.Duration(p.MaxInterval)))
	}
	return w
}

// Waits lists all waits of the policy, without jitter.
func (p RetryPolicy) Waits() []time.Duration {
	out := make([]time.Duration, 0, p.Attempts())
	for n := 1; n < p.Attempts(); n++ {
		out = append(out, p.Wait(n))
	}
	return out
}

// RetryUsual in RetryOn stands for what is retried without one, so that more can be added.
const RetryUsual = "usual"

// Retries reports whether RetryOn names the status or class; ok is false when that does not decide: RetryOn is empty, or has
// the usual ones, too.
func (p RetryPolicy) Retries(code int, class string) (retry, ok bool) {
	if len(p.RetryOn) == 0 {
		return false, false
	}
	for _, r := range p.RetryOn {
		if r == class || code > 0 && (r == strconv.Itoa(code) || len(r) == 3 && r[1:] == "xx" && int(r[0]-'0') == code/100) {
			return true, true
		}
	}
	return false, !slices.Contains(p.RetryOn, RetryUsual)
}

// CheckRetryOn says what is wrong with RetryOn, or nil.
func (p RetryPolicy) CheckRetryOn() error {
	for _, r := range p.RetryOn {
		if !isRetryOn(r) {
			return fmt.Errorf("%q %s", cut(r, 40), retryOnHelp)
		}
	}
	return nil
}

const retryOnHelp = `must be a status ("500"), a group of statuses ("5xx"), an error class ("timeout"), or "usual" for the usual ones`

// check reports what is wrong with the policy under the given field name.
func (p RetryPolicy) check(field string, bad problems) {
	wait := func(name string, d Duration) {
		if d < 0 || time.Duration(d) > maxWait {
			bad.add(field+"."+name, "must be between 0s and 168h")
		}
	}
	wait("initial", p.Initial)
	wait("max_interval", p.MaxInterval)
	if p.Multiplier != 0 && (p.Multiplier < 1 || p.Multiplier > 100 || math.IsNaN(p.Multiplier)) {
		bad.add(field+".multiplier", "must be between 1 and 100")
	}
	if p.MaxAttempts < 0 || p.MaxAttempts > maxAttempts {
		bad.add(field+".max_attempts", fmt.Sprintf("must be between 1 and %d", maxAttempts))
	}
	if len(p.Schedule) >= maxAttempts {
		bad.add(field+".schedule", fmt.Sprintf("must list fewer than %d waits", maxAttempts))
	}
	for i, d := range p.Schedule {
		wait(fmt.Sprintf("schedule[%d]", i), d)
	}
	for i, r := range p.RetryOn {
		if !isRetryOn(r) {
			bad.add(fmt.Sprintf("%s.retry_on[%d]", field, i), retryOnHelp)
		}
	}
}

// errorClasses are the words of adapters.Class that can be named in retry_on and in searches.
var errorClasses = strings.Fields("dns connect tls timeout redirect auth not_found gone too_large rejected throttled server blocked config protocol aborted internal")

func isRetryOn(r string) bool {
	if len(r) == 3 && r[0] >= '1' && r[0] <= '5' {
		if _, err := strconv.Atoi(r); err == nil || r[1:] == "xx" {
			return true
		}
	}
	return r == RetryUsual || slices.Contains(errorClasses, r)
}

// Duration and Days are how the API writes durations.
type (
	Duration = units.Duration
	Days     = units.Days
)

// ParseDuration reads "10s", "6h", "2d" (days) or a bare number of seconds.
func ParseDuration(s string) (Duration, error) { return units.ParseDuration(s) }
