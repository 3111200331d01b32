package adapters

import (
	"fmt"
	"sort"
)

// Spec describes a destination type to people and programs.
type Spec struct {
	Name         string  // stable identifier: webhook, aws_sqs …
	Label        string  // what people call it: "Webhook"
	Description  string  // one sentence: what it is for
	Needs        string  // what one must have at hand: "an HTTPS URL"
	Icon         string  // SVG source, 24 by 24, drawn with currentColor, without scripts or styles
	Instructions string  // Markdown: how to set it up, where to find each value
	SetupURL     string  // page of the other side that sets it up and gives the values; empty for none
	SetupLabel   string  // what the link there says
	Config       []Field // shown and stored in clear text
	Credentials  []Field // sealed at rest
	Beside       []Field // settings that the API has beside config, as fields of the destination; see BesideField
	FieldOrder   int     // position among the types in pickers, low first
	// Window is how many times as many attempts as for others may be under way at once, unless the destination says how
	// many: for systems that write many messages to disk together and confirm them together. 0 means 1.
	Window int
}

// FieldType is how a field is entered.
type FieldType string

// The kinds of form controls. The words are those of the API.
const (
	FieldText     FieldType = "text"
	FieldSelect   FieldType = "select"
	FieldCheckbox FieldType = "checkbox"
	FieldMap      FieldType = "key_value_map" // a JSON object of strings
)

// Field is one setting of a destination type.
type Field struct {
	Key         string
	Beside      bool   // of config: the API has the field beside config as well; see BesideField
	Doc         string // of fields beside config: what the API's description says, in Markdown
	Alias       string // another key for the same value, in config: the API takes it and shows it besides. What another system calls it
	Label       string
	Help        string // format, and where to find the value
	Placeholder string
	Type        FieldType
	Required    bool
	Default     string
	Sensitive   bool   // masked in every answer and sealed at rest, in credentials and config alike
	Shared      bool   // a secret the owner needs in full (to verify signatures): may be revealed to who may see secrets
	Pattern     string // RE2, matches the whole value; empty for any
	PatternHelp string // the message when Pattern does not match, or the value is no option: "must be an https:// or http:// URL"
	MinLength   int
	MaxLength   int      // in bytes; 0 means 4096
	Options     []Option // with FieldSelect
	Advanced    bool     // few need it: forms show it under a fold
	Hidden      bool     // part of the API but not of the form (values that the server manages)
	Expression  bool     // the value is an expression over the event (id, topic, time, metadata, data); Message.Computed has what it gives
}

// Option is one choice of a select.
type Option struct {
	Value string `json:"value"`
	Label string `json:"label"`
}

// FieldError is one problem with one field. Key is "config.url" or "credentials.secret".
type FieldError struct {
	Key     string
	Message string // follows the field's name: "is required"
}

// Registration is a registered type with its prepared description.
type Registration struct {
	Type
	Spec Spec

	config, credentials *FieldSet
}

var registry = map[string]*Registration{}

// Register adds t under its Spec's name. It is called from init and panics on a defect: a name taken twice, a pattern
// that does not compile, a select without options.
func Register(t Type) {
	s := t.Spec()
	if _, dup := registry[s.Name]; dup || s.Name == "" {
		panic(fmt.Sprintf("adapters: destination type %q is registered twice or has no name", s.Name))
	}
	owner := s.Name + " destinations"
	registry[s.Name] = &Registration{Type: t, Spec: s, config: NewFieldSet("config", owner, s.Config),
		credentials: NewFieldSet("credentials", owner, s.Credentials)}
}

// BesideField is a field of a type that the API has among the fields of every destination, under its key. Destinations of
// other types take it, too, and it means nothing to them. It is how settings of one type are named that were asked for
// when no type had settings of its own; new ones belong into config.
type BesideField struct {
	Field
	Owner    string // label of the type whose field it is
	InConfig bool   // it is one of config, which the API has there as well; a checkbox
}

// Problem says what is wrong with a value of the field; empty for nothing.
func (f BesideField) Problem(v string) string {
	if v == "" {
		return ""
	}
	return (&FieldSet{}).checkValue(f.Field, v)
}

// Values are the options of the field.
func (f BesideField) Values() []string {
	out := make([]string, len(f.Options))
	for i, o := range f.Options {
		out[i] = o.Value
	}
	return out
}

// Beside returns the fields of all types that the API has beside config.
func Beside() (out []BesideField) {
	for _, r := range All() {
		for _, f := range r.Spec.Beside {
			out = append(out, BesideField{f, r.Spec.Label, false})
		}
		for _, f := range r.Spec.Config {
			if f.Beside {
				out = append(out, BesideField{f, r.Spec.Label, true})
			}
		}
	}
	return out
}

// Lookup returns a registered type, or nil.
func Lookup(name string) *Registration { return registry[name] }

// All returns the registered types in the order in which pickers show them.
func All() []*Registration {
	out := make([]*Registration, 0, len(registry))
	for _, r := range registry {
		out = append(out, r)
	}
	sort.Slice(out, func(i, j int) bool {
		if a, b := out[i].Spec.FieldOrder, out[j].Spec.FieldOrder; a != b {
			return a < b
		}
		return out[i].Spec.Name < out[j].Spec.Name
	})
	return out
}

// Fields returns the config fields followed by the credential fields.
func (r *Registration) Fields() []Field {
	return append(append([]Field(nil), r.Spec.Config...), r.Spec.Credentials...)
}

// RotateField is the credential that a caller sets to "true" to get a new secret. Types whose secret the server makes
// have it; their Validate acts upon it and takes it out.
const RotateField = "rotate_secret"

// Rotates reports whether the type has a secret that the server makes and can replace.
func (r *Registration) Rotates() bool {
	for _, f := range r.Spec.Credentials {
		if f.Key == RotateField {
			return true
		}
	}
	return false
}

// Check fills defaults into s and reports every problem with its values: unknown keys, missing required fields, wrong
// lengths, patterns and choices, then whatever the type's own Validate finds.
func (r *Registration) Check(s *Settings) []FieldError {
	var errs []FieldError
	errs = append(errs, r.config.Check(&s.Config)...)
	errs = append(errs, r.credentials.Check(&s.Credentials)...)
	if len(errs) == 0 {
		errs = r.Type.Validate(s)
	}
	return errs
}
