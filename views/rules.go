package views

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/models"
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

var ruleLabels = []Label{{"when", "When"}, {"when.disable_steps", "Steps"}, {"when.consecutive_failures", "Failures in a row"}, {"when.failure_rate", "Failure rate"},
	{"when.window", "Window"}, {"when.min_attempts", "Least number"}, {"when.count", "Count"}, {"when.backlog_age", "Wait"}, {"when.certificate_expires", "Expires within"}, {"destination_ids", "Destinations"},
	{"topics", "Topics"}, {"channel_ids", "Channels"}, {"every", "At most every"}, {"name", "Name"}}

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
	return map[string][]string{"when": {models.RuleFailures}, "when.disable_steps": {"50, 70, 90, 100"}, "when.consecutive_failures": {"10"}, "when.failure_rate": {"20"},
		"when.window": {"15m"}, "when.min_attempts": {"20"}, "when.backlog_age": {"10m"}, "when.certificate_expires": {"14d"}, "when.count": {models.CountDeliveries}, "scope_mode": {ScopeAll},
		"channels_mode": {ChannelsAll}, "resolve": {"true"}, "when.failures_count": {models.CountDeliveries}}
}

// RuleValues are what the form of an existing rule starts with.
func RuleValues(r *models.AlertRule) map[string][]string {
	values := NewRuleValues()
	c := r.Condition
	values["name"], values["when"], values["every"] = []string{r.Name}, []string{r.Kind}, []string{models.Duration(r.Every()).String()}
	switch r.Kind {
	case models.RuleSteps:
		var steps []string
		for _, s := range c.DisableSteps {
			steps = append(steps, strconv.Itoa(s))
		}
		values["when.disable_steps"] = []string{strings.Join(steps, ", ")}
	case models.RuleFailures:
		values["when.consecutive_failures"] = []string{strconv.Itoa(c.ConsecutiveFailures)}
		if c.Count != "" {
			values["when.failures_count"] = []string{c.Count}
		}
	case models.RuleRate:
		values["when.failure_rate"], values["when.window"], values["when.min_attempts"] = []string{number(c.FailureRate)}, []string{c.Window.String()}, []string{strconv.Itoa(c.MinAttempts)}
		if c.Count != "" {
			values["when.count"] = []string{c.Count}
		}
	case models.RuleBacklog:
		values["when.backlog_age"] = []string{c.BacklogAge.String()}
	case models.RuleCertificate:
		values["when.certificate_expires"] = []string{c.CertificateExpires.String()}
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

// conditionFields are the inputs of each kind of condition.
var conditionFields = map[string][]string{models.RuleSteps: {"when.disable_steps"}, models.RuleFailures: {"when.consecutive_failures"},
	models.RuleRate: {"when.failure_rate", "when.window", "when.min_attempts", "when.count"}, models.RuleBacklog: {"when.backlog_age"},
	models.RuleCertificate: {"when.certificate_expires"}}

func conditionLabel(kind string) string {
	return map[string]string{models.RuleSteps: "Steps towards being disabled", models.RuleFailures: "Failures in a row", models.RuleRate: "Failure rate",
		models.RuleDisabled: "The destination is disabled", models.RuleExhausted: "A delivery has used up its retries", models.RuleBacklog: "Events wait",
		models.RuleFilter: "The filter fails on an event", models.RuleCertificate: "A TLS certificate expires"}[kind]
}

func labelOf(labels []Label, name string) string {
	for _, l := range labels {
		if l.Name == name {
			return l.Text
		}
	}
	return name
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
