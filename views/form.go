package views

import (
	"sort"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/waybill-dev/waybill/models"
)

// Form holds what is in a form's controls and what was wrong with it, so that a refused form comes back as it was typed.
// Controls are named like the fields of the API ("config.url"), so that the API's messages find their control.
type Form struct {
	Values map[string][]string
	Err    *models.Error // nil for a form that was not refused
}

// Value is what is in the control; empty when there is nothing.
func (f Form) Value(name string) string {
	if v := f.Values[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Has reports whether value is among those of the control: a checked box, the chosen option.
func (f Form) Has(name, value string) bool {
	for _, v := range f.Values[name] {
		if v == value {
			return true
		}
	}
	return false
}

// Problem is what is wrong with a control, in the words of the API; empty when nothing is. A problem of a part of its
// value ("topics[2]", "metadata.owner") is a problem of the control.
func (f Form) Problem(name string) string {
	if f.Err == nil {
		return ""
	}
	if m := f.Err.Fields[name]; m != "" {
		return m
	}
	for _, field := range f.fields() {
		if rest, ok := strings.CutPrefix(field, name); ok && (rest[0] == '[' || rest[0] == '.') {
			return f.Err.Fields[field]
		}
	}
	return ""
}

// ProblemOf is what is wrong with the field itself, and not with a part of it.
func (f Form) ProblemOf(name string) string {
	if f.Err == nil {
		return ""
	}
	return f.Err.Fields[name]
}

func (f Form) fields() []string {
	out := make([]string, 0, len(f.Err.Fields))
	for field := range f.Err.Fields {
		out = append(out, field)
	}
	sort.Strings(out)
	return out
}

// Label names a control of a form, for the error summary.
type Label struct{ Name, Text string }

// summaryLine is one problem of a refused form.
type summaryLine struct {
	text string
	id   string // of the control; empty when the form has none for it
}

// summary lists all problems in the order of the labels; what no control stands for comes last, under the field's own name.
func (f Form) summary(labels []Label) []summaryLine {
	var out []summaryLine
	seen, named := map[string]bool{}, map[string]bool{}
	for _, l := range labels {
		named[l.Name] = true
	}
	for _, l := range labels {
		for _, field := range f.fields() {
			rest, ok := strings.CutPrefix(field, l.Name)
			if ok && !seen[field] && (rest == "" || !named[field]) && (rest == "" || rest[0] == '[' || rest[0] == '.') {
				seen[field] = true
				out = append(out, summaryLine{sentence(l.Text, f.Err.Fields[field]), controlID(l.Name)})
			}
		}
	}
	for _, field := range f.fields() {
		if !seen[field] {
			out = append(out, summaryLine{text: sentence(field, f.Err.Fields[field])})
		}
	}
	return out
}

// predicates are the words that messages about a field begin with when they go on from its name.
var predicates = map[string]bool{"is": true, "are": true, "was": true, "must": true, "may": true, "cannot": true, "has": true,
	"have": true, "could": true, "does": true, "needs": true}

// sentence joins a control's label and a message about its field: "URL" and "is required" make "URL is required".
func sentence(label, message string) string {
	first, _, _ := strings.Cut(message, " ")
	if label != "" && predicates[strings.TrimRight(first, ",.;:")] {
		return label + " " + message
	}
	if message == "" {
		return message
	}
	return strings.ToUpper(message[:1]) + message[1:]
}

// MaxChoices is up to how many things a form lists to choose among. For more it asks for an id.
const MaxChoices = 200

// Control is one labelled control of a form.
type Control struct {
	Name         string // of the field in the API
	Label        string
	Hint         string // format, and where to find the value
	Type         string // of the input: "text" when empty, "password", "email", "number", "search", "datetime-local"
	Placeholder  string
	Autocomplete string // "off" when empty
	InputMode    string
	Required     bool
	Mono         bool // for machines: an id, an address, JSON
	Rows         int  // more than 0 for several lines
	Suffix       string
	List         string // id of a datalist
	Narrow       bool   // a short value
	Options      []Option
	Hidden       bool // the label is for screen readers only
	Unmarked     bool // may be left empty, and to say so would be noise: filters, choices with a default
	Focus        bool
}

// Option is one choice.
type Option struct {
	Value string
	Label string
	Hint  string // a line below the label, with cards and boxes
	Needs string // with cards: what one must have at hand
	Icon  templ.Component
}

func (c Control) inputType() string {
	if c.Type == "" {
		return "text"
	}
	return c.Type
}

func (c Control) autocomplete() string {
	if c.Autocomplete == "" {
		return "off"
	}
	return c.Autocomplete
}

// controlID is the id of the control for a field: "f-config-url".
func controlID(name string) string {
	return "f-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
}

func hintID(name string) string    { return controlID(name) + "-hint" }
func problemID(name string) string { return controlID(name) + "-problem" }

// described lists the ids of what describes a control; empty for nothing.
func described(f Form, c Control) string {
	var ids []string
	if f.Problem(c.Name) != "" {
		ids = append(ids, problemID(c.Name))
	}
	if c.Hint != "" {
		ids = append(ids, hintID(c.Name))
	}
	return strings.Join(ids, " ")
}

// inputAttributes are the attributes that inputs, selects and text areas have in common.
func inputAttributes(f Form, c Control) templ.OrderedAttributes {
	a := templ.OrderedAttributes{
		{Key: "id", Value: controlID(c.Name)},
		{Key: "name", Value: c.Name},
	}
	if d := described(f, c); d != "" {
		a = append(a, templ.KeyValue[string, any]{Key: "aria-describedby", Value: d})
	}
	if f.Problem(c.Name) != "" {
		a = append(a, templ.KeyValue[string, any]{Key: "aria-invalid", Value: "true"})
	}
	if c.Required {
		a = append(a, templ.KeyValue[string, any]{Key: "required", Value: true})
	}
	if c.Focus && f.Err == nil {
		a = append(a, templ.KeyValue[string, any]{Key: "autofocus", Value: true})
	}
	return a
}

// KeyValues is a control for a list of keys and values. Its inputs are named Name+"[key]" and Name+"[value]" and come in
// pairs, so that the n-th key belongs to the n-th value; pairs without a key are left out.
type KeyValues struct {
	Name       string
	Label      string
	Hint       string
	KeyLabel   string // "Header" when keys are header names; "Key" when empty
	ValueLabel string
	Required   bool
}

// KeyName and ValueName are the names of a KeyValues control's inputs.
func KeyName(field string) string   { return field + "[key]" }
func ValueName(field string) string { return field + "[value]" }

// spareRows is how many empty rows a list of keys and values ends with, for readers whose browser cannot add any.
const spareRows = 2

type keyValueRow struct{ key, value string }

func (f Form) rows(kv KeyValues) []keyValueRow {
	keys, values := f.Values[KeyName(kv.Name)], f.Values[ValueName(kv.Name)]
	var out []keyValueRow
	for i, k := range keys {
		r := keyValueRow{key: k}
		if i < len(values) {
			r.value = values[i]
		}
		if r.key != "" || r.value != "" {
			out = append(out, r)
		}
	}
	return append(out, make([]keyValueRow, spareRows)...)
}

func (kv KeyValues) keyLabel() string {
	if kv.KeyLabel == "" {
		return "Key"
	}
	return kv.KeyLabel
}

func (kv KeyValues) valueLabel() string {
	if kv.ValueLabel == "" {
		return "Value"
	}
	return kv.ValueLabel
}

func rowLabel(label string, i int) string { return label + " " + strconv.Itoa(i+1) }

// Secret is a control for a credential that is never shown again once it was saved.
type Secret struct {
	Control
	Saved  string // the masked value in force; empty when there is none
	Remove bool   // the value may be removed, since the field is not required
}

// RemoveName is the name of the box that removes a saved credential.
func RemoveName(field string) string { return field + "[remove]" }

// Actions are the buttons at the end of a form.
type Actions struct {
	Submit string
	Tone   Tone // ToneBad for what destroys something
	Cancel string
	More   []Option // further buttons: their value goes as "then"
}

// themes are the choices of the theme, as they are stored.
var themes = []Option{{Value: "system", Label: "System"}, {Value: "light", Label: "Light"}, {Value: "dark", Label: "Dark"}}

// timesChoices are the choices of the zone that times are in.
func (c Chrome) timesChoices() []Option {
	local := "Your time zone"
	if c.Zone != "" {
		local += ": " + c.Zone
	}
	return []Option{{Value: "local", Label: local, Hint: "As your browser tells it. UTC is shown beside, or by pointing at a time."},
		{Value: "utc", Label: "UTC"}}
}

func (c Chrome) timesChoice() string {
	if c.UTC {
		return "utc"
	}
	return "local"
}

func (c Chrome) themeChoice() string {
	if c.Theme == "light" || c.Theme == "dark" {
		return c.Theme
	}
	return "system"
}

func themeAttributes(c Chrome) templ.OrderedAttributes {
	var a templ.OrderedAttributes
	if t := c.themeChoice(); t != "system" {
		a = append(a, templ.KeyValue[string, any]{Key: "data-theme", Value: t})
	}
	if c.Zone != "" {
		a = append(a, templ.KeyValue[string, any]{Key: "data-zone", Value: c.Zone})
	}
	if c.Reread {
		a = append(a, templ.KeyValue[string, any]{Key: "data-reread", Value: true})
	}
	if !c.Shortcuts {
		a = append(a, templ.KeyValue[string, any]{Key: "data-shortcuts", Value: "off"})
	}
	return a
}

func pressed(on bool) string { return strconv.FormatBool(on) }

// secretControl is the control with a hint that says what leaving it empty does.
func (s Secret) secretControl() Control {
	c := s.Control
	c.Mono = true
	if s.Saved != "" {
		c.Required = false
		keep := "Saved as " + s.Saved + ". Leave empty to keep it."
		if c.Hint == "" {
			c.Hint = keep
		} else {
			c.Hint += " " + keep
		}
	}
	return c
}

func submitClass(t Tone) string {
	if t == ToneBad {
		return "btn-danger"
	}
	return "btn-primary"
}
