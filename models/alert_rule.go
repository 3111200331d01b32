package models

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// AlertRule says when to notify people about a destination, and how often.
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

// defaultRules are the rules that every new tenant has from the first day. They go to all of the tenant's channels. The
// migration that made the tables has them too, for the owners of that day.
func (r *Rules) defaultRules(owner int64) []*AlertRule {
	var out []*AlertRule
	if len(r.AlertSteps) > 0 {
		out = append(out, &AlertRule{OwnerKey: owner, Name: "Failures in a row", Condition: Condition{"disable_steps": r.AlertSteps}})
	}
	out = append(out, &AlertRule{OwnerKey: owner, Name: "Destination disabled", Condition: Condition{"disabled": true}})
	if r.AlertCertificate > 0 {
		out = append(out, &AlertRule{OwnerKey: owner, Name: "Certificate expiring",
			Condition: Condition{"certificate_expires": Days(24 * time.Hour * time.Duration(r.AlertCertificate))}})
	}
	return out
}

// every is how often a new rule tells an open alert again, where nobody says so.
func (r *Rules) every(c Condition) time.Duration { return c.EveryOr(cmp.Or(r.AlertEvery, time.Hour)) }

// AlertRuleInput are the fields of a rule that a caller may set; as a merge patch (RFC 7396), nil fields stay as they are.
type AlertRuleInput struct {
	Name           *string         `json:"name"`
	When           *Condition      `json:"when" doc:"Exactly one condition."`
	DestinationIDs json.RawMessage `json:"destination_ids" api:"schema=StringList" doc:"null or absent for all."`
	Topics         json.RawMessage `json:"topics" api:"schema=StringList" doc:"null or absent for all."`
	ChannelIDs     json.RawMessage `json:"channel_ids" api:"schema=StringList" doc:"null or absent for all channels, empty for none."`
	Every          *Duration       `json:"every" doc:"How often reminders of an open alert are sent."`
	Resolve        *bool           `json:"resolve" doc:"Whether its end is notified, too."`
	Disabled       *bool           `json:"disabled"`
}

// merge writes the input into the rule and reports what is wrong with the result.
func (r *AlertRule) merge(in *AlertRuleInput, rules *Rules) error {
	bad := problems{}
	if in.Name != nil {
		r.Name = strings.TrimSpace(*in.Name)
	}
	checkText("name", r.Name, maxNameLength, bad)
	if in.When != nil {
		r.Condition = *in.When
	}
	var wrong map[string]string
	r.Condition, wrong = r.Condition.Check()
	for field, message := range wrong {
		bad.add(strings.TrimSuffix("when."+field, "."), message)
	}
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
		r.EverySeconds = int64(rules.every(r.Condition) / time.Second)
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
