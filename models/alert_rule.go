package models

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The kinds of conditions. Each is also the field of Condition that says so.
const (
	RuleSteps     = "disable_steps"
	RuleFailures  = "consecutive_failures"
	RuleRate      = "failure_rate"
	RuleDisabled  = "disabled"
	RuleExhausted = "retries_exhausted"
	RuleBacklog   = "backlog_age"
	RuleFilter    = "filter_failing"

	RuleCertificate = "certificate_expires"
)

// RuleKinds lists the kinds of conditions in the order in which forms show them.
var RuleKinds = []string{RuleSteps, RuleFailures, RuleRate, RuleDisabled, RuleExhausted, RuleBacklog, RuleFilter, RuleCertificate}

// What a rate counts.
const (
	CountDeliveries = "deliveries" // an event that is tried ten times counts once; the default
	CountAttempts   = "attempts"
)

// Condition is when a rule fires. Exactly one kind is given.
//
// A rule's topics choose destinations; health is not kept by topic. The fold would write two rows for each destination and
// topic: 0.1 s for 1,000 destinations became 1.6 to 2.4 s with 20 topics each, where a pass is due every second.
type Condition struct {
	DisableSteps        []int    `json:"disable_steps,omitempty" doc:"Failing deliveries in a row, in percent of the limit at which the destination is disabled."`
	ConsecutiveFailures int      `json:"consecutive_failures,omitempty" doc:"Failing deliveries in a row; with count 'attempts', attempts."`
	FailureRate         float64  `json:"failure_rate,omitempty" doc:"Percent of what was tried within the window."`
	Window              Duration `json:"window,omitempty" doc:"With 'failure_rate'; 15m when missing."`
	MinAttempts         int      `json:"min_attempts,omitempty" doc:"With 'failure_rate': fewer than that tell nothing; 20 when missing."`
	Count               string   `json:"count,omitempty" api:"enum=deliveries|attempts" doc:"With 'failure_rate' and 'consecutive_failures'."`
	Disabled            bool     `json:"disabled,omitempty" doc:"The destination is disabled, by whomever."`
	RetriesExhausted    bool     `json:"retries_exhausted,omitempty" doc:"A delivery failed for good."`
	BacklogAge          Duration `json:"backlog_age,omitempty" doc:"An event has waited for so long."`
	FilterFailing       bool     `json:"filter_failing,omitempty" doc:"The filter fails on events."`
	CertificateExpires  Days     `json:"certificate_expires,omitempty" doc:"The destination's TLS certificate ends within this time, or has ended."`
}

// Kind is the condition's kind; empty for none.
func (c Condition) Kind() string {
	if k := c.kinds(); len(k) > 0 {
		return k[0]
	}
	return ""
}

func (c Condition) kinds() (kinds []string) {
	for kind, given := range map[string]bool{RuleSteps: len(c.DisableSteps) > 0, RuleFailures: c.ConsecutiveFailures != 0, RuleRate: c.FailureRate != 0,
		RuleDisabled: c.Disabled, RuleExhausted: c.RetriesExhausted, RuleBacklog: c.BacklogAge != 0, RuleFilter: c.FilterFailing, RuleCertificate: c.CertificateExpires != 0} {
		if given {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func (c *Condition) check(bad problems) {
	kinds := c.kinds()
	if len(kinds) != 1 {
		bad.add("when", "must name exactly one of "+strings.Join(RuleKinds, ", "))
		return
	}
	slices.Sort(c.DisableSteps)
	c.DisableSteps = slices.Compact(c.DisableSteps)
	for _, p := range c.DisableSteps {
		if p < 1 || p > 100 || len(c.DisableSteps) > 10 {
			bad.add("when.disable_steps", "must be up to 10 percentages between 1 and 100")
		}
	}
	if c.ConsecutiveFailures < 0 || c.ConsecutiveFailures > MaxDisableAfter {
		bad.add("when.consecutive_failures", fmt.Sprintf("must be between 1 and %d", MaxDisableAfter))
	}
	if kinds[0] == RuleRate {
		c.checkRate(bad)
	} else if c.Window != 0 || c.MinAttempts != 0 {
		bad.add("when", "takes window and min_attempts with failure_rate only")
	}
	if !slices.Contains([]string{"", CountDeliveries, CountAttempts}, c.Count) || c.Count != "" && kinds[0] != RuleRate && kinds[0] != RuleFailures {
		bad.add("when.count", `must be "deliveries" or "attempts", with failure_rate or consecutive_failures`)
	}
	if c.BacklogAge != 0 && (time.Duration(c.BacklogAge) < time.Minute || time.Duration(c.BacklogAge) > 30*24*time.Hour) {
		bad.add("when.backlog_age", "must be between 1m and 720h")
	}
	if c.CertificateExpires != 0 && (time.Duration(c.CertificateExpires) < time.Hour || time.Duration(c.CertificateExpires) > 365*24*time.Hour) {
		bad.add("when.certificate_expires", "must be between 1h and 365d")
	}
}

func (c *Condition) checkRate(bad problems) {
	if !(c.FailureRate > 0 && c.FailureRate <= 100) {
		bad.add("when.failure_rate", "must be a percentage above 0, at most 100")
	}
	if c.Window == 0 {
		c.Window = Duration(15 * time.Minute)
	}
	if time.Duration(c.Window) < time.Minute || time.Duration(c.Window) > 24*time.Hour {
		bad.add("when.window", "must be between 1m and 24h")
	}
	if c.MinAttempts == 0 {
		c.MinAttempts = 20
	}
	if c.MinAttempts < 1 {
		bad.add("when.min_attempts", "must be at least 1")
	}
}

// counted is what the condition counts.
func (c Condition) counted() string {
	if c.Count == CountAttempts {
		return CountAttempts
	}
	return CountDeliveries
}

// Sentence is the condition in words, to follow "When".
func (c Condition) Sentence() string {
	switch c.Kind() {
	case RuleSteps:
		steps := make([]string, len(c.DisableSteps))
		for i, p := range c.DisableSteps {
			steps[i] = fmt.Sprint(p)
		}
		return strings.Join(steps, ", ") + " % of the deliveries in a row have failed at which the destination is disabled"
	case RuleFailures:
		if c.counted() == CountAttempts {
			return fmt.Sprintf("%d attempts in a row failed", c.ConsecutiveFailures)
		}
		if c.ConsecutiveFailures == 1 {
			return "a delivery failed"
		}
		return fmt.Sprintf("%d deliveries in a row failed", c.ConsecutiveFailures)
	case RuleRate:
		return fmt.Sprintf("at least %g %% of %s failed within %s (at least %d)", c.FailureRate, c.counted(), c.Window, c.MinAttempts)
	case RuleDisabled:
		return "the destination is disabled"
	case RuleExhausted:
		return "a delivery has used up its retries"
	case RuleBacklog:
		return fmt.Sprintf("an event has waited for longer than %s", c.BacklogAge)
	case RuleFilter:
		return "the filter fails"
	case RuleCertificate:
		return "the certificate expires within " + c.CertificateExpires.Words()
	}
	return ""
}

// AlertRule says when somebody is to be told about a destination, and how often.
type AlertRule struct {
	Key            int64 `gorm:"primaryKey"`
	OwnerKey       int64 // a tenant's key; 0 for the operators, whose rules are about all tenants
	ID             string
	Name           string
	Condition      Condition `gorm:"serializer:json"`
	Kind           string    // of the condition
	DestinationIDs []string  `gorm:"column:destination_ids;serializer:json"` // nil for all; of operators' rules "tenant/destination"
	Topics         []string  `gorm:"serializer:json"`                        // destinations that take one of these; nil for all
	ChannelIDs     []string  `gorm:"column:channel_ids;serializer:json"`     // nil for all of the owner's; empty for none
	EverySeconds   int64     // at most one notice in this time for each destination; 0 for no limit, and no reminders
	Resolve        bool      // tell when it is over
	Disabled       bool
	CreatedAt      time.Time
	UpdatedAt      time.Time
	DeletedAt      *time.Time

	Changes []Change `gorm:"-"` // what the change that returned it has altered; nil otherwise
}

// defaultEvery is how often a rule tells at most unless it says otherwise. A certificate takes days to be renewed.
func (c Condition) defaultEvery() time.Duration {
	if c.Kind() == RuleCertificate {
		return 24 * time.Hour
	}
	return time.Hour
}

// minEvery and maxEvery are the shortest and the longest time between two notices that a rule can ask for. Reminders that
// come faster than a channel's share of a minute would end up in digests.
const (
	minEvery = time.Minute
	maxEvery = 30 * 24 * time.Hour
)

// Every is the least time between two notices about one destination.
func (r *AlertRule) Every() time.Duration { return time.Duration(r.EverySeconds) * time.Second }

// concerns reports whether the rule is about a destination.
func (r *AlertRule) concerns(d *subject) bool {
	if r.OwnerKey != 0 && r.OwnerKey != d.tenant {
		return false
	}
	if r.DestinationIDs != nil && !slices.Contains(r.DestinationIDs, d.id) && !slices.Contains(r.DestinationIDs, d.tenantID+"/"+d.id) {
		return false
	}
	return r.Topics == nil || slices.ContainsFunc(r.Topics, func(t string) bool { return Subscribes(d.topics, t) })
}

// DefaultRules are the rules that every owner has from the first day. They go to all of the owner's channels. The
// migration that made the tables has them too, for the owners of that day.
func defaultRules(owner int64) []*AlertRule {
	return []*AlertRule{
		{OwnerKey: owner, Name: "Failures in a row", Condition: Condition{DisableSteps: []int{50, 70, 90, 100}}},
		{OwnerKey: owner, Name: "Destination disabled", Condition: Condition{Disabled: true}},
		{OwnerKey: owner, Name: "Certificate expiring", Condition: Condition{CertificateExpires: Days(14 * 24 * time.Hour)}},
	}
}

// AlertRuleInput is what a caller may say of a rule; as a merge patch (RFC 7396), what is nil stays as it is.
type AlertRuleInput struct {
	Name           *string         `json:"name"`
	When           *Condition      `json:"when" doc:"Exactly one condition."`
	DestinationIDs json.RawMessage `json:"destination_ids" api:"schema=StringList" doc:"null or absent for all."`
	Topics         json.RawMessage `json:"topics" api:"schema=StringList" doc:"null or absent for all."`
	ChannelIDs     json.RawMessage `json:"channel_ids" api:"schema=StringList" doc:"null or absent for all channels, empty for none."`
	Every          *Duration       `json:"every" doc:"How often an open alert is told again."`
	Resolve        *bool           `json:"resolve" doc:"Whether its end is told."`
	Disabled       *bool           `json:"disabled"`
}

// merge writes the input into the rule and reports what is wrong with the result.
func (r *AlertRule) merge(in *AlertRuleInput) error {
	bad := problems{}
	if in.Name != nil {
		r.Name = strings.TrimSpace(*in.Name)
	}
	checkText("name", r.Name, maxNameLength, bad)
	if in.When != nil {
		r.Condition = *in.When
	}
	r.Condition.check(bad)
	r.Kind = r.Condition.Kind()
	if words := cut(r.Condition.Sentence(), 120); r.Name == "" && words != "" { // without a condition there are no words
		r.Name = strings.ToUpper(words[:1]) + words[1:]
	}
	list := func(field string, raw json.RawMessage, dst *[]string, emptyIsNone bool) {
		if raw == nil {
			return
		}
		var l []string
		if err := json.Unmarshal(raw, &l); err != nil {
			bad.add(field, "must be an array of strings, or null for all")
			return
		}
		if len(l) > 1000 {
			bad.add(field, "must name at most 1,000")
		}
		if l != nil && len(l) == 0 && !emptyIsNone {
			bad.add(field, "must name at least one, or be null for all")
		}
		*dst = l
	}
	list("destination_ids", in.DestinationIDs, &r.DestinationIDs, false)
	list("topics", in.Topics, &r.Topics, false)
	list("channel_ids", in.ChannelIDs, &r.ChannelIDs, true)
	if in.Every == nil && r.Key == 0 {
		r.EverySeconds = int64(r.Condition.defaultEvery() / time.Second)
	}
	if in.Every != nil {
		r.EverySeconds = int64(time.Duration(*in.Every) / time.Second)
		if every := time.Duration(*in.Every); every != 0 && (every < minEvery || every > maxEvery) {
			bad.add("every", "must be 0s for each time, or between 1m and 720h")
		}
	}
	if in.Resolve != nil {
		r.Resolve = *in.Resolve
	}
	if in.Disabled != nil {
		r.Disabled = *in.Disabled
	}
	return bad.err()
}
