package views

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/waybill-dev/waybill/docs"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/filter"
)

// FilterRow is one row of the filter builder as it was typed, finished or not.
type FilterRow struct {
	Group     string // how a group joins its rows; empty for a rule
	Field     string // of a rule, or the list of a group about one element
	Condition string
	As        string // the type that the value is meant to have, see filterTypes; empty to go by how it looks
	Value     string // one value a line where the condition takes a list
	Rows      []FilterRow
}

// The views of a filter, in the order in which they are offered.
var filterViews = []Option{
	{Value: string(filter.NotationRules), Label: "Rules"}, {Value: string(filter.NotationJSON), Label: "JSON"},
	{Value: string(filter.NotationSearch), Label: "Search"}, {Value: string(filter.NotationExpression), Label: "Expression"},
}

// The types that a row's value can be said to have.
const (
	AsText   = "text"
	AsNumber = "number"
	AsBool   = "bool"
	AsNull   = "null"
	AsField  = "field" // another field, to compare with
	AsJSON   = "json"
)

var filterTypes = []Option{
	{Value: "", Label: "As it looks"}, {Value: AsText, Label: "Text"}, {Value: AsNumber, Label: "Number"},
	{Value: AsBool, Label: "True/false"},
	{Value: AsNull, Label: "Nothing (null)"}, {Value: AsField, Label: "Another field"}, {Value: AsJSON, Label: "JSON"},
}

// How the rows at the top, and those of a group, are joined.
var (
	matchOptions = []Option{
		{Value: string(filter.GroupAll), Label: "all"}, {Value: string(filter.GroupAny), Label: "any"},
		{Value: string(filter.GroupNone), Label: "none"},
	}
	groupOptions = []Option{
		{Value: string(filter.GroupAny), Label: "any of these are true"}, {Value: string(filter.GroupAll), Label: "all of these are true"},
		{Value: string(filter.GroupNone), Label: "none of these are true"},
		{Value: string(filter.GroupOne), Label: "one element of a list meets all of these"},
	}
)

// FilterBuilder is the page on which a destination's filter is looked at, changed and tried.
type FilterBuilder struct {
	Page
	Destination *models.Destination
	View        string // of filterViews
	Match       string // how the rows are joined
	Rows        []FilterRow
	Form        Form   // has filter in the views of text; what was refused
	Keep        string // the filter as it would be stored, where the view is read-only
	ReadOnly    string // why the view cannot change the filter; empty when it can
	Words       []filter.Rule
	Fields      []models.SuggestedField
	Seen        int // events among which the fields were seen
	Trial       FilterTrial
	Counts      *models.FilterCounts
	SavedRules  []filter.Rule // of the filter in force
	Pinned      string        // an event to try on besides the recent ones
	Sample      string        // somebody's own event, as JSON
	Version     string
	Focus       string // name of the control to begin at
}

// FilterTrial is what a filter would have done to events.
type FilterTrial struct {
	Problem        string   // why it was not tried
	Notes          []string // what was left out
	Total, Matched int      // of recent events
	Compared       bool     // with the filter in force
	Stopped        int      // events of those that would not be delivered any more
	Started        int      // events of those that would be delivered now
	Items          []TrialItem
}

// TrialItem is a filter's verdict on one event.
type TrialItem struct {
	Event   *models.Event // without a key when it is somebody's own
	Label   string        // what is special about the event; empty for a recent one
	Problem string        // why it is no event
	Verdict filter.Verdict
	Changed bool // the filter in force says otherwise
}

func (v FilterBuilder) self() string { return DestinationURL(v.Tenant, v.Destination.ID, "filter") }

// textual reports whether the view is a text.
func (v FilterBuilder) textual() bool { return v.View != string(filter.NotationRules) }

func (v FilterBuilder) viewName() string { return optionLabel(filterViews, v.View) }

// headline says how many of the recent events match.
func (t FilterTrial) headline() string {
	if t.Total == 0 {
		return "No event of its topics has been received yet."
	}
	match := "match"
	if t.Matched == 1 {
		match = "matches"
	}
	return fmt.Sprintf("%s of the last %s %s", count(t.Matched), plural(t.Total, "event"), match)
}

// change says what is different from the filter in force.
func (t FilterTrial) change() string {
	var parts []string
	if t.Stopped > 0 {
		parts = append(parts, count(t.Stopped)+" more would stop being delivered")
	}
	if t.Started > 0 {
		parts = append(parts, count(t.Started)+" more would be delivered")
	}
	if len(parts) == 0 {
		return "No change against the saved filter."
	}
	return "Against the saved filter: " + strings.Join(parts, ", ") + "."
}

// look is how a verdict is shown.
func (i TrialItem) look() Look {
	switch {
	case i.Verdict.Match:
		return Look{ToneOK, "check", "Match"}
	case i.Verdict.Failed:
		return Look{ToneBad, "triangle-alert", "Filter failed"}
	}
	return Look{ToneMute, "circle-slash", "No match"}
}

// RowName is the name of a row's controls, like the path in the messages about it.
func RowName(parent string, i int) string {
	if parent != "" {
		parent += "."
	}
	return parent + "rules[" + strconv.Itoa(i) + "]"
}

// rowTarget names a row in the value of a button: "2", "2.0".
func rowTarget(parent string, i int) string {
	if parent == "" {
		return strconv.Itoa(i)
	}
	return rowPlace(parent) + "." + strconv.Itoa(i)
}

// rowPlace is the place of a row at the top, by its name.
func rowPlace(name string) string {
	return strings.TrimSuffix(strings.TrimPrefix(name, "rules["), "]")
}

// RowTitles are what people call the rows, by their names: "Rule 2", "Group 1". Rules have the numbers that verdicts and
// counts give them, so that rules in groups are counted on, and one about an element of a list counts once.
func RowTitles(rows []FilterRow) map[string]string {
	titles := map[string]string{}
	rules, groups := 0, 0
	for i, r := range rows {
		name := RowName("", i)
		switch r.Group {
		case "", string(filter.GroupOne):
			rules++
			titles[name] = fmt.Sprintf("Rule %d", rules)
		default:
			groups++
			titles[name] = fmt.Sprintf("Group %d", groups)
		}
		for j := range r.Rows {
			if r.Group == string(filter.GroupOne) {
				titles[RowName(name, j)] = fmt.Sprintf("Rule %d.%d", rules, j+1)
				continue
			}
			rules++
			titles[RowName(name, j)] = fmt.Sprintf("Rule %d", rules)
		}
	}
	return titles
}

func (v FilterBuilder) titles() map[string]string { return RowTitles(v.Rows) }

// reason is why an event does not match, with the number of the rule unless rules were left out, which changes numbers.
func (v FilterBuilder) reason(d filter.Verdict) string {
	if d.Rule == 0 || d.Failed || len(v.Trial.Notes) > 0 {
		return d.Reason
	}
	return fmt.Sprintf("Rule %d: %s", d.Rule, d.Reason)
}

// labels name the controls of the page, for the summary of what is wrong.
func (v FilterBuilder) labels() []Label {
	switch {
	case v.ReadOnly != "":
		return nil
	case v.textual():
		return []Label{{"filter", "Filter"}}
	}
	titles := v.titles()
	var out []Label
	var add func(parent string, rows []FilterRow)
	add = func(parent string, rows []FilterRow) {
		for i, r := range rows {
			name := RowName(parent, i)
			title := titles[name]
			for _, part := range []string{"group", "field", "condition", "value"} {
				out = append(out, Label{name + "." + part, title})
			}
			add(name, r.Rows)
		}
	}
	add("", v.Rows)
	return out
}

// ConditionInfo is what is known of a condition; the zero value for none.
func ConditionInfo(name string) filter.ConditionInfo {
	for _, c := range filter.Conditions() {
		if string(c.Name) == name {
			return c
		}
	}
	return filter.ConditionInfo{}
}

func conditionOptions() []Option {
	out := []Option{{Label: "Choose …"}}
	for _, c := range filter.Conditions() {
		label := c.Words
		if c.Advanced {
			label += " (advanced)"
		}
		out = append(out, Option{Value: string(c.Name), Label: label})
	}
	return out
}

// typeOptions are the types that a value of the condition can have.
func (r FilterRow) typeOptions() []Option {
	c := ConditionInfo(r.Condition)
	var out []Option
	for _, o := range filterTypes {
		switch o.Value {
		case AsField:
			if !c.Reference && r.Condition != "" {
				continue
			}
		case AsBool, AsNull:
			if c.Takes != "value" && c.Takes != "list" && r.Condition != "" {
				continue
			}
		}
		out = append(out, o)
	}
	return out
}

// typed reports whether a row has a choice of types: not where the condition leaves none.
func (r FilterRow) typed() bool {
	takes := ConditionInfo(r.Condition).Takes
	return r.Condition == "" || takes != "" && r.Condition != "regex" && r.Condition != "same"
}

// takesValue reports whether a row has a value.
func (r FilterRow) takesValue() bool {
	return r.As != AsNull && (r.Condition == "" || ConditionInfo(r.Condition).Takes != "")
}

// boolean reports whether the value is chosen between true and false.
func (v FilterBuilder) boolean(r FilterRow, path string) bool {
	return ConditionInfo(r.Condition).Takes == "value" && (r.As == AsBool || r.As == "" && v.field(path).Type == "true or false")
}

// valueHint says how to write the value.
func (r FilterRow) valueHint() string {
	c := ConditionInfo(r.Condition)
	switch {
	case r.As == AsField:
		return "The path of another field."
	case c.Takes == "list":
		return "One value a line."
	case c.Takes == "text or list":
		return "Several lines: one is enough."
	case r.Condition == "regex":
		return "RE2, found anywhere in the text."
	}
	return ""
}

// full is the path of a row's field in full, for a row of a group about elements of a list too.
func full(parent FilterRow, r FilterRow) string {
	if parent.Group != string(filter.GroupOne) {
		return r.Field
	}
	return strings.Trim(parent.Field+"."+r.Field, ".")
}

// field is what was seen of a field; the zero value for nothing.
func (v FilterBuilder) field(path string) models.SuggestedField {
	path = strings.TrimPrefix(path, "data.")
	for _, f := range v.Fields {
		if f.Path == path || strings.TrimPrefix(f.Path, "data.") == path {
			return f
		}
	}
	return models.SuggestedField{}
}

// seenText says what was seen of a field: its type, an example, and in how many events.
func (v FilterBuilder) seenText(f models.SuggestedField) string {
	kind := f.Type
	if f.Numeric {
		kind = "text that is compared as a number"
	}
	s := fmt.Sprintf("%s, for example %s, in %d of the last %d", kind, f.Example, f.Events, v.Seen)
	if f.List {
		s += "; in a list, where any element counts"
	}
	return s
}

// fieldHint is what is known of the field that somebody typed.
func (v FilterBuilder) fieldHint(path string) string {
	if path == "" || v.Seen == 0 {
		return ""
	}
	if f := v.field(path); f.Path != "" {
		s := v.seenText(f)
		return strings.ToUpper(s[:1]) + s[1:] + "."
	}
	for _, f := range v.Fields {
		if rest, ok := strings.CutPrefix(f.Path, strings.TrimPrefix(path, "data.")); ok && rest[0] == '.' {
			return "Has fields of its own, such as " + f.Path + "."
		}
	}
	return fmt.Sprintf("In none of the last %s.", plural(v.Seen, "event"))
}

// below lists the fields of a list's elements.
func (v FilterBuilder) below(path string) []models.SuggestedField {
	var out []models.SuggestedField
	for _, f := range v.Fields {
		if rest, ok := strings.CutPrefix(f.Path, strings.TrimPrefix(path, "data.")+"."); ok {
			f.Path = rest
			out = append(out, f)
		}
	}
	return out
}

// hints are the elements of the page that are refreshed together with the trial.
func (v FilterBuilder) hints() string {
	var ids []string
	var add func(parent string, rows []FilterRow)
	add = func(parent string, rows []FilterRow) {
		for i, r := range rows {
			name := RowName(parent, i)
			if r.Group == "" || r.Group == string(filter.GroupOne) {
				ids = append(ids, "#"+hintID(name+".field"))
			}
			add(name, r.Rows)
		}
	}
	add("", v.Rows)
	return strings.Join(ids, ",")
}

// filteredURL lists the events that the destination's filter held back within a day.
func (v FilterBuilder) filteredURL() string {
	return with(EventsURL(v.Tenant), url.Values{"status": {models.StatusFilteredOut}, "destination_id": {v.Destination.ID},
		"range": {"24h"}})
}

// FilterURL is the page of a destination's filter, to try it on an event.
func FilterURL(tenant, destination, event string) string {
	return with(DestinationURL(tenant, destination, "filter"), url.Values{"event": {event}})
}

// FilterExamples are filters to start from, by name.
func FilterExamples(fields []models.SuggestedField) []FilterExample {
	find := func(otherwise, example string, fits func(models.SuggestedField) bool) (path, value string) {
		for _, f := range fields {
			root, _, _ := strings.Cut(f.Path, ".")
			if !fits(f) || slices.Contains([]string{"id", "topic", "time", "metadata"}, root) {
				continue
			}
			var text string
			if json.Unmarshal([]byte(f.Example), &text) != nil {
				text = f.Example
			}
			return f.Path, text
		}
		return otherwise, example
	}
	amount, least := find("total", "100", func(f models.SuggestedField) bool { return f.Type == "number" || f.Numeric })
	email, address := find("customer.email", "@example.com", func(f models.SuggestedField) bool {
		return strings.Contains(f.Path, "email") && strings.Contains(f.Example, "@")
	})
	status, one := find("status", "paid", func(f models.SuggestedField) bool {
		return f.Type == "text" && !f.Numeric && (strings.HasSuffix(f.Path, "status") || strings.HasSuffix(f.Path, "state") ||
			strings.HasSuffix(f.Path, "type"))
	})
	if i := strings.IndexByte(address, '@'); i >= 0 {
		address = address[i:]
	}
	return []FilterExample{
		{"amount", "An amount is at least …", FilterRow{Field: amount, Condition: "gte", Value: least}},
		{"email", "An address ends with …", FilterRow{Field: email, Condition: "ends_with", Value: address}},
		{"status", "A status is one of …", FilterRow{Field: status, Condition: "in", Value: one}},
	}
}

// FilterExample is a filter to start from.
type FilterExample struct {
	Name, Label string
	Row         FilterRow
}

// FilterImpact asks before a filter is saved that would stop many events.
type FilterImpact struct {
	Page
	Destination *models.Destination
	Events      int    // of the last 24 hours that were looked at
	Dropped     int    // of these, that the new filter holds back
	Before      int    // of these, that the filter in force holds back
	Filter      string // as it is to be stored
	View        string
	Version     string
}

func (v FilterImpact) question() string {
	return fmt.Sprintf("Of the %s of its topics in the last 24 hours, this filter would have filtered out %s (%d%%).",
		plural(v.Events, "event"), count(v.Dropped), 100*v.Dropped/v.Events)
}

// SendFiltered asks before events that a filter held back are sent after all.
type SendFiltered struct {
	Page
	Destination *models.Destination
	Form        Form
	Plan        *models.FilteredPlan // nil when the query was refused
	All         bool
}

func (v SendFiltered) planText() string {
	held := figure(v.Plan.Events, v.Plan.More) + " " + strings.TrimPrefix(plural(v.Plan.Events, "event"), count(v.Plan.Events)+" ")
	if v.All {
		return "All " + held + " that were filtered out would be sent."
	}
	return fmt.Sprintf("Of %s that were filtered out, %s would pass the filter as it is now, and be sent.", held,
		count(v.Plan.Matching))
}

// textControl is the control for the filter in a notation.
func (v FilterBuilder) textControl() Control {
	c := Control{Name: "filter", Label: "Filter", Hidden: true, Mono: true, Rows: 10}
	switch v.View {
	case string(filter.NotationJSON):
		c.Label, c.Hint, c.Placeholder = "Filter as JSON", "Every key must be true. Empty for no filter.",
			`{"status": "paid", "total": {"$gte": 10}}`
	case string(filter.NotationSearch):
		c.Label, c.Hint, c.Placeholder, c.Rows = "Filter as a search", "Terms side by side are all required. Empty for no filter.",
			"status:paid total:>=10", 4
	case string(filter.NotationExpression):
		c.Label, c.Hint, c.Placeholder, c.Rows = "Filter as an expression",
			"True or false, of id, topic, time, metadata and data. Empty for no filter.", `data.status == "paid" and data.total >= 10`, 6
	}
	return c
}

// better are the views that may be able to change what this one cannot.
func (v FilterBuilder) better() []Option {
	f, err := filter.Parse([]byte(v.Keep))
	if err != nil {
		return nil
	}
	var out []Option
	for _, o := range filterViews {
		if _, lossless, _, err := f.Convert(filter.Notation(o.Value)); err == nil && lossless && o.Value != v.View {
			out = append(out, o)
		}
	}
	return out
}

func fieldLabel(group FilterRow) string {
	if group.Group == string(filter.GroupOne) {
		return "Field of the element"
	}
	return "Field"
}

// datalist is the list of fields that a row suggests.
func (v FilterBuilder) datalist(name string, group FilterRow) string {
	if group.Group == string(filter.GroupOne) {
		return controlID(name[:strings.LastIndex(name, ".")]) + "-fields"
	}
	return "seen-fields"
}

// rowAttributes are the attributes that the controls of rows have in common.
func (v FilterBuilder) rowAttributes(name string) templ.OrderedAttributes {
	var ids []string
	if v.Form.ProblemOf(name) != "" {
		ids = append(ids, problemID(name))
	}
	if strings.HasSuffix(name, ".field") {
		ids = append(ids, hintID(name))
	}
	a := templ.OrderedAttributes{{Key: "id", Value: controlID(name)}, {Key: "name", Value: name}}
	if len(ids) > 0 {
		a = append(a, templ.KeyValue[string, any]{Key: "aria-describedby", Value: strings.Join(ids, " ")})
	}
	if v.Form.ProblemOf(name) != "" {
		a = append(a, templ.KeyValue[string, any]{Key: "aria-invalid", Value: "true"})
	}
	if name == v.Focus && v.Form.Err == nil {
		a = append(a, templ.KeyValue[string, any]{Key: "autofocus", Value: true})
	}
	return a
}

// SeenType is the type that a row's field has in recent events, in the words of the builder; empty for unknown.
func SeenType(fields []models.SuggestedField, group, r FilterRow) string {
	return FilterBuilder{Fields: fields}.field(full(group, r)).Type
}

// FilterHelpURL is the description of the filter language.
func FilterHelpURL(tenant string) string { return path("t", tenant, "docs", "filters") }

// filterHelp is the description without its title, which the page has itself.
func filterHelp() string {
	_, text, _ := strings.Cut(docs.Filters, "\n")
	return text
}
