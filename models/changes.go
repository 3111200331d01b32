package models

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
)

// Change is one field that a change has altered, as the audit log keeps it.
type Change struct {
	Field  string `json:"field" doc:"As the API calls it, such as 'config.url'."`
	From   any    `json:"from" doc:"A string, a list of strings, a number or a boolean; null when there was nothing."`
	To     any    `json:"to" doc:"Likewise."`
	Secret bool   `json:"secret,omitempty" doc:"The values are secrets and are not told."`
}

// hidden stands for a secret in a Change. Unlike elsewhere nothing of it is shown to recognise it by: the audit log is kept,
// exported and read by many.
const hidden = "••••••"

// maxChangeText is how much of a text a Change keeps, in bytes.
const maxChangeText = 8 << 10

// snapshot is what the audit log compares of a thing before and after a change. Sensitive fields, and those that a
// destination type does not know, are replaced as a whole.
type snapshot struct {
	names   []string
	values  map[string]any
	secrets map[string]bool
}

func newSnapshot() *snapshot { return &snapshot{values: map[string]any{}, secrets: map[string]bool{}} }

// set notes the value of a field; empty texts and lists count as nothing.
func (s *snapshot) set(field string, v any) {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return
	case reflect.String, reflect.Slice, reflect.Map:
		if r.Len() == 0 {
			return
		}
	case reflect.Pointer:
		if r.IsNil() {
			return
		}
		v = r.Elem().Interface()
	}
	s.names = append(s.names, field)
	s.values[field] = v
}

// each notes the values of a map, each as a field of its own.
func (s *snapshot) each(field string, m map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s.set(field+"."+k, m[k])
	}
}

// hide notes the value of a field that is secret.
func (s *snapshot) hide(field, v string) {
	s.set(field, v)
	s.secrets[field] = true
}

// changes lists what is different in after; s is nil for what did not exist before, of which only what was set is listed.
func (s *snapshot) changes(after *snapshot) []Change {
	out := []Change{}
	before := s
	if before == nil {
		before = newSnapshot()
	}
	names := slices.Clone(after.names)
	for _, n := range before.names {
		if _, still := after.values[n]; !still {
			names = append(names, n)
		}
	}
	for _, n := range names {
		from, to := before.values[n], after.values[n]
		if reflect.DeepEqual(from, to) || s == nil && to == false {
			continue
		}
		c := Change{Field: n, From: shownValue(from), To: shownValue(to), Secret: before.secrets[n] || after.secrets[n]}
		if c.Secret {
			c.From, c.To = hiddenValue(from), hiddenValue(to)
		}
		out = append(out, c)
	}
	return out
}

func hiddenValue(v any) any {
	if v == nil {
		return nil
	}
	return hidden
}

func shownValue(v any) any {
	if s, ok := v.(string); ok {
		return cut(s, maxChangeText)
	}
	return v
}

// fields notes settings of a type, those that are sensitive as secrets. What the type does not know is taken for a secret.
func (s *snapshot) fields(prefix string, known []adapters.Field, values map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(values)) {
		i := slices.IndexFunc(known, func(f adapters.Field) bool { return f.Key == k })
		name := prefix + "." + k
		switch {
		case i >= 0 && !known[i].Sensitive:
			s.set(name, values[k])
		case i >= 0 && known[i].Type == adapters.FieldMap:
			var m map[string]string
			if json.Unmarshal([]byte(values[k]), &m) != nil {
				s.hide(name, values[k])
				continue
			}
			for _, x := range slices.Sorted(maps.Keys(m)) {
				s.hide(name+"."+x, m[x])
			}
		default:
			s.hide(name, values[k])
		}
	}
}

// typeFields are the settings that a destination's type knows.
type typeFields struct{ config, credentials []adapters.Field }

func (d *Destination) settings() (f typeFields) {
	if r := d.Registration(); r != nil {
		f.config, f.credentials = r.Spec.Config, r.Spec.Credentials
	}
	return f
}

// withoutSecrets are settings with those replaced that fields takes for secrets.
func withoutSecrets(known []adapters.Field, values map[string]string) map[string]string {
	out := make(map[string]string, len(values))
	for k, v := range values {
		i := slices.IndexFunc(known, func(f adapters.Field) bool { return f.Key == k })
		if out[k] = v; v != "" && (i < 0 || known[i].Sensitive) {
			out[k] = hidden
		}
	}
	return out
}

// snapshot is what the audit log compares of a destination.
func (d *Destination) snapshot() *snapshot {
	s := newSnapshot()
	s.set("type", d.Type)
	d.snapshotFields(s)
	if d.DisabledAt != nil {
		s.set("disabled_at", d.DisabledAt.UTC().Format(time.RFC3339))
		s.set("disabled_reason", d.DisabledReason)
	}
	return s
}

// snapshot is what the audit log compares of a channel. Its secrets are part of config, as in the API.
func (c *Channel) snapshot() *snapshot {
	out := newSnapshot()
	out.set("type", c.Type)
	out.set("name", c.Name)
	if t := notify.Lookup(c.Type); t != nil {
		out.fields("config", t.Config, c.Config)
		out.fields("config", t.Secrets, c.Secrets)
	}
	return out
}

// snapshot is what the audit log compares of a rule.
func (r *AlertRule) snapshot() *snapshot {
	s := newSnapshot()
	s.set("name", r.Name)
	s.set("when", r.Condition.Sentence())
	list := func(field string, l []string) {
		switch {
		case l == nil:
			s.set(field, "all")
		case len(l) == 0:
			s.set(field, "none")
		default:
			s.set(field, slices.Clone(l))
		}
	}
	list("destination_ids", r.DestinationIDs)
	list("topics", r.Topics)
	list("channel_ids", r.ChannelIDs)
	s.set("every", Duration(r.Every()).String())
	s.set("resolve", r.Resolve)
	s.set("disabled", r.Disabled)
	return s
}

// snapshot is what the audit log compares of a tenant.
func (t *Tenant) snapshot() *snapshot {
	s := newSnapshot()
	s.each("metadata", t.Metadata)
	return s
}

// snapshot is what the audit log compares of a topic of the catalogue.
func (t *Topic) snapshot() *snapshot {
	s := newSnapshot()
	s.set("description", t.Description)
	s.set("example", strings.TrimSpace(string(t.Example)))
	if len(t.Schema) > 0 { // without one, what would happen does not matter
		s.set("schema", strings.TrimSpace(string(t.Schema)))
		s.set("enforce", t.Enforce)
	}
	return s
}

// ChangeText is a value of a Change as a text; empty for nil.
func ChangeText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i, x := range v {
			parts[i] = ChangeText(x)
		}
		return strings.Join(parts, ", ")
	case []string:
		return strings.Join(v, ", ")
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}
