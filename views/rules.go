package views

import (
	"fmt"
	"maps"
	"strings"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/alertrule"
)

// Rules is the list of alert rules.
type Rules struct {
	Page
	List     []*models.AlertRule
	Channels []*models.Channel
}

// Rule is the form for an alert rule. Its controls are named like the API's fields: name, when (the kind of condition) and
// when.*, scope_mode, destination_ids, topics, channels_mode, channel_ids, every, resolve, disabled.
type Rule struct {
	Page
	Rule         *models.AlertRule // nil for a new one
	Form         Form
	Destinations []Option
	Topics       []Option
	Channels     []*models.Channel
	Preview      *models.Preview // nil unless asked for
}

// Values of scope_mode and channels_mode.
const (
	ScopeAll          = "all"
	ScopeDestinations = "destinations"
	ScopeTopics       = "topics"
	ChannelsAll       = "all"
	ChannelsSome      = "some"
	ChannelsNone      = "none"
)

// ruleLabels names the controls of the form.
func ruleLabels() []Label {
	labels := []Label{{"when", "When"}, {"destination_ids", "Destinations"}, {"topics", "Topics"}, {"channel_ids", "Channels"},
		{"every", "At most every"}, {"name", "Name"}}
	for _, f := range alertrule.Fields() {
		labels = append(labels, Label{"when." + f.Key, f.Label})
	}
	return labels
}

func (v Rule) action() string {
	if v.Rule != nil {
		return RuleURL(v.Tenant, v.Rule.ID)
	}
	return NewRuleURL(v.Tenant)
}

func (v Rule) channelOptions() []Option {
	out := make([]Option, len(v.Channels))
	for i, c := range v.Channels {
		out[i] = Option{Value: c.ID, Label: c.Name}
	}
	return out
}

// NewRuleValues are what the form of a new rule starts with.
func NewRuleValues() map[string][]string {
	values := map[string][]string{"when": {alertrule.Kinds()[0].Name}, "scope_mode": {ScopeAll}, "channels_mode": {ChannelsAll},
		"resolve": {"true"}}
	for _, k := range alertrule.Kinds() {
		for _, f := range k.Fields {
			if f.Initial != "" {
				values[ConditionControl(k, f)] = []string{f.Initial}
			}
		}
	}
	return values
}

// RuleValues are what the form of an existing rule starts with.
func RuleValues(r *models.AlertRule) map[string][]string {
	values := NewRuleValues()
	values["name"], values["when"], values["every"] = []string{r.Name}, []string{r.Kind}, []string{models.Duration(r.Every()).String()}
	if k := alertrule.Find(r.Kind); k != nil {
		for _, f := range k.Fields {
			if v, given := r.Condition[f.Key]; given {
				values[ConditionControl(k, f)] = []string{f.Text(v)}
			}
		}
	}
	if r.DestinationIDs != nil {
		values["scope_mode"], values["destination_ids"] = []string{ScopeDestinations}, r.DestinationIDs
	} else if r.Topics != nil {
		values["scope_mode"], values["topics"] = []string{ScopeTopics}, []string{strings.Join(r.Topics, ", ")}
	}
	if r.ChannelIDs != nil {
		values["channels_mode"], values["channel_ids"] = []string{ChannelsSome}, r.ChannelIDs
		if len(r.ChannelIDs) == 0 {
			values["channels_mode"] = []string{ChannelsNone}
		}
	}
	if !r.Resolve {
		delete(values, "resolve")
	}
	if r.Disabled {
		values["disabled"] = []string{"true"}
	}
	return values
}

// ruleScope says which destinations a rule is about.
func ruleScope(p Page, r *models.AlertRule) string {
	switch {
	case r.DestinationIDs != nil:
		return plural(len(r.DestinationIDs), "destination")
	case r.Topics != nil:
		return "Destinations that take " + strings.Join(r.Topics, ", ")
	case p.Tenant == "":
		return "All destinations of all tenants"
	}
	return "All destinations"
}

// ruleChannels says whom a rule tells.
func ruleChannels(v Rules, r *models.AlertRule) string {
	switch {
	case len(v.Channels) == 0:
		return "Nobody yet: there is no channel"
	case r.ChannelIDs == nil:
		return "All channels"
	case len(r.ChannelIDs) == 0:
		return "Nobody: shown here only"
	}
	var names []string
	for _, c := range v.Channels {
		for _, id := range r.ChannelIDs {
			if c.ID == id {
				names = append(names, c.Name)
			}
		}
	}
	return strings.Join(names, ", ")
}

func ruleLook(r *models.AlertRule) Look {
	if r.Disabled {
		return Look{ToneMute, "bell-off", "Off"}
	}
	return Look{ToneOK, "check", "On"}
}

// everyText says how often a rule tells.
func everyText(r *models.AlertRule) string {
	s := "Each time"
	if r.Every() > 0 {
		s = "At most every " + span(r.Every())
	}
	if r.Resolve {
		s += ", and when it is over"
	}
	return s
}

// previewText says how often a rule would have fired.
func previewText(p *models.Preview) string {
	switch p.Count {
	case 0:
		return "In the last 7 days this would not have fired."
	case 1:
		return "In the last 7 days this would have fired once:"
	}
	s := fmt.Sprintf("In the last 7 days this would have fired %s times", count(p.Count))
	if len(p.Times) < p.Count {
		return s + fmt.Sprintf(", the last %d of them:", len(p.Times))
	}
	return s + ":"
}

// previewName is the destination of one time of a preview.
func previewName(p Page, t models.PreviewTime) string {
	name := t.Name
	if name == "" {
		name = t.DestinationID
	}
	if p.Tenant == "" {
		name += " (" + t.TenantID + ")"
	}
	return name
}

// ConditionControl is the name of the control for a field of a kind of condition. Kinds that have the same field have a
// control each, since a form without JavaScript sends them all.
func ConditionControl(k *alertrule.Kind, f alertrule.Field) string {
	if alertrule.Shared(f.Key) {
		return "when." + k.Name + "." + f.Key
	}
	return "when." + f.Key
}

// phrasePart is a part of a condition's sentence: words, or the control of a field.
type phrasePart struct {
	words string
	field *alertrule.Field
}

func phraseOf(k *alertrule.Kind) (parts []phrasePart) {
	for i, s := range strings.Split(k.Phrase, "{") {
		key, words, ok := strings.Cut(s, "}")
		if i > 0 && ok {
			parts, s = append(parts, phrasePart{field: k.Field(key)}), words
		}
		if s = strings.TrimSpace(s); s != "" {
			parts = append(parts, phrasePart{words: s})
		}
	}
	return parts
}

// conditionProblem is what is wrong with a field of a kind of condition; empty for nothing.
func conditionProblem(f Form, k *alertrule.Kind, field alertrule.Field) string {
	if alertrule.Shared(field.Key) && !f.Has("when", k.Name) {
		return ""
	}
	return f.ProblemOf("when." + field.Key)
}

func inputLabel(f *alertrule.Field) string {
	if f.Input != "" {
		return f.Input
	}
	return f.Label
}

func inputWidth(f *alertrule.Field) string {
	switch f.Type {
	case alertrule.Ints:
		return "w-44"
	case alertrule.Number:
		return "w-16"
	}
	return "w-20"
}

// everyHint explains how often a rule tells, and what it is for conditions that do not say so.
func everyHint() string {
	s := "For each destination, like 10m or 1h; also how often it reminds of what is still open. 0s for each time, without reminders. Left empty, a new rule takes 1h"
	for _, k := range alertrule.Kinds() {
		if k.Every > 0 {
			s += fmt.Sprintf(", and %s with “%s”", models.Duration(k.Every), k.Label)
		}
	}
	return s + "."
}

func (v Rule) submit() string {
	if v.Rule != nil {
		return "Save changes"
	}
	return "Create rule"
}

func (v Rule) scopes() []Option {
	out := []Option{{Value: ScopeAll, Label: "All destinations, also future ones"}}
	if len(v.Destinations) > 0 || v.Tenant == "" {
		out = append(out, Option{Value: ScopeDestinations, Label: "Only these destinations:"})
	}
	return append(out, Option{Value: ScopeTopics, Label: "Destinations that take certain topics:"})
}

// joined is the form with the values of a control in one line, separated by commas.
func (v Rule) joined(name string) Form {
	f := v.Form
	f.Values = maps.Clone(f.Values)
	f.Values[name] = []string{strings.Join(v.Form.Values[name], ", ")}
	return f
}

func (v Rule) channelModes() []Option {
	out := []Option{{Value: ChannelsAll, Label: "All channels, also future ones"}}
	if len(v.Channels) > 0 {
		out = append(out, Option{Value: ChannelsSome, Label: "Only these:"})
	}
	return append(out, Option{Value: ChannelsNone, Label: "Nobody: show it here only"})
}
