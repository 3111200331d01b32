package views

import (
	"bytes"
	"encoding/json"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/models"
)

// NewDestination is the first step to a destination: its type. Its form has type.
type NewDestination struct {
	Page
	Form  Form
	Types []*adapters.Registration
}

func (v NewDestination) options() []Option {
	out := make([]Option, len(v.Types))
	for i, r := range v.Types {
		out[i] = Option{Value: r.Spec.Name, Label: r.Spec.Label, Hint: r.Spec.Description, Needs: r.Spec.Needs, Icon: typeIcon(r)}
	}
	return out
}

// DestinationForm is the second step to a destination, and the form that changes one. Its controls are named like the
// API's fields, those of models.DestinationFieldList; compound ones have config.*, credentials.*, topics_mode and topics,
// rate_limit.per_second, order, retry.initial, retry.multiplier, retry.max_interval, retry.max_attempts, retry.schedule, retry.retry_on.
type DestinationForm struct {
	Page
	Type        *adapters.Registration
	Destination *models.Destination // nil for a new one
	Form        Form
	Topics      []models.Topic // the catalogue; none for any topic
	Defaults    models.Rules
	Limits      models.AppliedLimits // of manual retries, of the tenant
	Preview     *models.RetryPolicy  // whose times were asked for; nil for the destination's own
	Open        bool                 // the delivery settings are unfolded
	Transformed *Transformed         // what the transform makes of an event; nil when it was not asked for
}

// Transformed is what a transform makes of an event.
type Transformed struct {
	EventID string // empty when there is none to show it on
	Body    []byte
	Problem string // why an attempt would fail; a sentence
}

// transforms reports whether the expression for another body is shown.
func (v DestinationForm) transforms() bool {
	return v.Form.Value("transform") != "" || v.Form.Problem("transform") != "" || v.Transformed != nil
}

// orderOptions are how a destination keeps order: the values of on_exhausted, or none.
var orderOptions = []Option{{Value: "", Label: "As they come"},
	{Value: models.ExhaustedSkip, Label: "One after the other; what has failed is skipped"},
	{Value: models.ExhaustedBlock, Label: "One after the other; what has failed stops those behind it"}}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Values of topics_mode.
const (
	TopicsAll  = "all"
	TopicsSome = "some"
)

// Values of then, which say what to do after a destination was saved.
const (
	ThenTest     = "test"     // go on to a test event
	ThenDisabled = "disabled" // save without starting to deliver
	ThenPreview  = "preview"  // save nothing, show the times of the attempts
	// ThenTransform saves nothing and shows what the transform makes of the newest event.
	ThenTransform = "transform"
)

func (v DestinationForm) action() string {
	if v.Destination != nil {
		return DestinationURL(v.Tenant, v.Destination.ID, "settings")
	}
	return NewDestinationURL(v.Tenant) + "?type=" + v.Type.Spec.Name
}

func (v DestinationForm) actions() Actions {
	if v.Destination != nil {
		return Actions{Submit: "Save changes", Cancel: DestinationURL(v.Tenant, v.Destination.ID)}
	}
	return Actions{Submit: "Create destination", Cancel: DestinationsURL(v.Tenant),
		More: []Option{{Value: ThenTest, Label: "Create and send test event"}, {Value: ThenDisabled, Label: "Save as disabled"}}}
}

// visible are the fields that somebody fills in.
func visible(fields []adapters.Field) []adapters.Field {
	var out []adapters.Field
	for _, f := range fields {
		if !f.Hidden && !f.Advanced {
			out = append(out, f)
		}
	}
	return out
}

// advanced are the fields of the type that few need, with the part that they belong to.
func (v DestinationForm) advanced() (out []partField) {
	for _, part := range []struct {
		name   string
		fields []adapters.Field
	}{{"config", v.Type.Spec.Config}, {"credentials", v.Type.Spec.Credentials}} {
		for _, f := range part.fields {
			if f.Advanced && !f.Hidden {
				out = append(out, partField{part.name, f})
			}
		}
	}
	return out
}

type partField struct {
	part  string
	field adapters.Field
}

// adjusted reports whether the fields that few need are shown: one has a value, or was refused.
func (v DestinationForm) adjusted() bool {
	return slices.ContainsFunc(v.advanced(), func(f partField) bool {
		name := f.part + "." + f.field.Key
		return v.Form.Value(name) != "" || v.Form.Problem(name) != "" || f.part == "credentials" && v.Destination != nil &&
			v.Destination.Credentials[f.field.Key] != ""
	})
}

// control is the control that a field of the type is entered with.
func (v DestinationForm) control(part string, f adapters.Field) Control {
	c := Control{Name: part + "." + f.Key, Label: f.Label, Hint: f.Help, Placeholder: f.Placeholder, Required: f.Required &&
		f.Default == "",
		Mono: f.Type == adapters.FieldText}
	if f.Type == adapters.FieldSelect && !f.Required && f.Default == "" {
		c.Options = append(c.Options, Option{Label: orElse(f.Placeholder, "Default")})
	}
	for _, o := range f.Options {
		c.Options = append(c.Options, Option{Value: o.Value, Label: o.Label})
	}
	if f.MaxLength > 4096 {
		c.Rows = 6 // a document, such as a service account's
	}
	return c
}

func (v DestinationForm) secret(part string, f adapters.Field) Secret {
	s := Secret{Control: v.control(part, f), Remove: !f.Required}
	if v.Destination == nil {
		return s
	}
	if part == "credentials" {
		s.Saved = v.Destination.Masked(false)[f.Key]
	} else {
		s.Saved = v.Destination.MaskedConfig()[f.Key]
	}
	return s
}

func (v DestinationForm) keyValues(part string, f adapters.Field) KeyValues {
	kv := KeyValues{Name: part + "." + f.Key, Label: f.Label, Hint: f.Help, Required: f.Required}
	if f.Sensitive && v.Destination != nil && v.Destination.Config[f.Key] != "" {
		kv.Hint += " Saved values are masked; what you leave as it is stays."
	}
	return kv
}

// topicOptions are the groups of topics that share what stands before their first dot, then the topics of the
// catalogue, and those that the destination takes although they are not in it. A group takes its future topics as well.
func (v DestinationForm) topicOptions() []Option {
	if v.operators() {
		return v.withChosen(operatorTopicOptions())
	}
	var groups, out []Option
	members := map[string]int{}
	known := map[string]bool{}
	for _, t := range v.Topics {
		known[t.Name] = true
		out = append(out, Option{Value: t.Name, Label: t.Name})
		group, _, dotted := strings.Cut(t.Name, ".")
		if group += ".*"; dotted {
			if members[group]++; members[group] == 2 {
				known[group] = true
				groups = append(groups, Option{Value: group, Label: group, Hint: "All of these, also future ones"})
			}
		}
	}
	if !known[notify.Topic] {
		out = append(out, Option{Value: notify.Topic, Label: notify.Topic,
			Hint: "Notices of alerts, from channels of the kind Own destinations"})
	}
	return v.withChosen(slices.Concat(groups, out, changeTopicOptions()))
}

// withChosen adds the topics that the destination takes although they are not offered.
func (v DestinationForm) withChosen(options []Option) []Option {
	for _, t := range v.Form.Values["topics"] {
		if t != "" && !slices.ContainsFunc(options, func(o Option) bool { return o.Value == t }) {
			options = append(options, Option{Value: t, Label: t})
		}
	}
	return options
}

// changeTopicOptions are the topics of the server's own events that tell of changes, in groups.
func changeTopicOptions() (out []Option) {
	for _, t := range models.FeedTypes {
		name := strings.ReplaceAll(t, "_", " ")
		out = append(out, Option{Value: "waybill." + t + ".*", Label: "waybill." + t + ".*", Hint: "Changes of each " + name})
	}
	out[len(out)-1].Hint = "Deliveries that were delivered, have failed or were cancelled"
	return out
}

// operatorTopicOptions are the topics of the operators' own destinations.
func operatorTopicOptions() (out []Option) {
	for _, t := range models.OperatorTopics {
		o := Option{Value: t, Label: t}
		if strings.HasPrefix(t, "attempt.") {
			o.Hint = "One event for each attempt of all tenants"
		}
		out = append(out, o)
	}
	return append(out, changeTopicOptions()...)
}

// everyTopic is what a destination takes that takes all topics.
func (v DestinationForm) everyTopic() string {
	if v.operators() {
		return "All alerts, attempts and subscriptions of all tenants"
	}
	return "All topics, also future ones"
}

// typedTopics are topics for a text area, where there is no catalogue to choose from.
func (v DestinationForm) typedTopics() Form {
	f := v.Form
	f.Values = map[string][]string{"topics": {strings.Join(v.Form.Values["topics"], "\n")}}
	return f
}

// policy is the retry policy whose times are shown.
func (v DestinationForm) policy() models.RetryPolicy {
	if v.Preview != nil {
		return v.Preview.Or(v.Defaults.Retry)
	}
	if v.Destination != nil && v.Destination.Retry != nil {
		return v.Destination.Retry.Or(v.Defaults.Retry)
	}
	return v.Defaults.Retry
}

// unfolded reports whether the delivery settings are shown: when they were asked for, or one of them was refused.
func (v DestinationForm) unfolded() bool {
	for _, f := range models.DestinationFieldList() {
		if !f.Main && v.Form.Problem(f.Name) != "" {
			return true
		}
	}
	for _, f := range v.Type.Spec.Beside {
		if v.Form.Problem(f.Key) != "" {
			return true
		}
	}
	return v.Open || v.Preview != nil || v.adjusted()
}

// NewDestinationValues are what the form of a new destination starts with. config and beside are the type's defaults of the
// tenant; see models.Store.TypeDefaults.
func NewDestinationValues(r *adapters.Registration, config, beside map[string]string) map[string][]string {
	values := map[string][]string{"topics_mode": {TopicsAll}}
	for part, fields := range map[string][]adapters.Field{"config": r.Spec.Config, "credentials": r.Spec.Credentials} {
		for _, f := range fields {
			if f.Default != "" && !f.Hidden {
				values[part+"."+f.Key] = []string{f.Default}
			}
		}
	}
	fillFields(values, "config", r.Spec.Config, config)
	for key, value := range beside {
		values[key] = []string{value}
	}
	return values
}

// DestinationValues are what the form of an existing destination starts with. Sensitive values are left
// out, or masked where the store takes a masked value for the one that is stored.
func DestinationValues(d *models.Destination) map[string][]string {
	values := map[string][]string{"filter": {filterText(d)}, "transform": {string(d.Transform)},
		"version": {strconv.FormatInt(d.Version, 10)}}
	for _, f := range models.DestinationFieldList() {
		if f.Kind != models.CompoundField {
			values[f.Name] = f.Entered(d)
		}
	}
	if d.TakesAll() {
		values["topics_mode"] = []string{TopicsAll}
	} else {
		values["topics_mode"], values["topics"] = []string{TopicsSome}, d.Topics
	}
	if r := d.Registration(); r != nil {
		fillFields(values, "config", r.Spec.Config, d.MaskedConfig())
		fillFields(values, "credentials", r.Spec.Credentials, d.Credentials)
		for _, f := range r.Spec.Beside {
			values[f.Key] = []string{d.Beside[f.Key]}
		}
	}
	fillPairs(values, "delivery_metadata", d.DeliveryMetadata)
	fillPairs(values, "metadata", d.Metadata)
	if d.Ordered {
		values["order"] = []string{orElse(string(d.OnExhausted), models.ExhaustedSkip)}
	}
	if d.RateLimit != nil {
		values["rate_limit.per_second"] = []string{number(*d.RateLimit.PerSecond)}
	}
	if d.Retry != nil {
		fillRetry(values, *d.Retry)
	}
	return values
}

func fillFields(values map[string][]string, part string, fields []adapters.Field, from map[string]string) {
	for _, f := range fields {
		name := part + "." + f.Key
		switch v := from[f.Key]; {
		case f.Hidden || f.Sensitive && f.Type != adapters.FieldMap || v == "":
		case f.Type == adapters.FieldMap:
			var m map[string]string
			if json.Unmarshal([]byte(v), &m) == nil {
				fillPairs(values, name, m)
			}
		default:
			values[name] = []string{v}
		}
	}
}

func fillPairs(values map[string][]string, name string, m map[string]string) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		values[KeyName(name)] = append(values[KeyName(name)], k)
		values[ValueName(name)] = append(values[ValueName(name)], m[k])
	}
}

func fillRetry(values map[string][]string, p models.RetryPolicy) {
	set := func(name, v string, given bool) {
		if given {
			values["retry."+name] = []string{v}
		}
	}
	set("initial", p.Initial.String(), p.Initial != 0)
	set("multiplier", strconv.FormatFloat(p.Multiplier, 'g', -1, 64), p.Multiplier != 0)
	set("max_interval", p.MaxInterval.String(), p.MaxInterval != 0)
	set("max_attempts", strconv.Itoa(p.MaxAttempts), p.MaxAttempts != 0)
	waits := make([]string, len(p.Schedule))
	for i, w := range p.Schedule {
		waits[i] = w.String()
	}
	set("schedule", strings.Join(waits, ", "), len(waits) > 0)
	set("retry_on", strings.Join(p.RetryOn, ", "), len(p.RetryOn) > 0)
}

// HasFilter reports whether a destination's filter holds anything back: none, null, {} and "" do not.
func HasFilter(d *models.Destination) bool {
	text := filterInput(d.Filter)
	return text != "" && text != "{}"
}

// filterInput is stored JSON as somebody would type it: a string's text, an object as indented JSON.
func filterInput(raw json.RawMessage) string {
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

// durationText is a duration as one would type it: "15s".
func durationText(d time.Duration) string { return models.Duration(d).String() }

// number is a number as one would type it: "2", "1.5".
func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// limitText is a limit in a few words.
func limitText(l models.Limit) string {
	if l.Most == 0 {
		return "No limit"
	}
	return count(l.Most)
}
