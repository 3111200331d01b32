package models

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// SettingField describes a setting that can be changed while the server runs; see SharedSettings, whose tags it is read from. Its
// values are texts as in the environment: "10s", "100", "1m,1h".
type SettingField struct {
	Name     string // in the API and on forms
	Variable string // of the environment
	Group    string // heading
	Label    string
	Help     string // a line without a capital at its beginning
	Unit     string // of a plain number; empty where there is none
	Zero     string // what 0 stands for; empty where it is a number like others
	Default  string
	Options  []adapters.Option // of a choice
	Shared   bool              // tenants may have their own, under the same name

	typ       reflect.Type // of the value, without the pointer
	index     []int        // in ServerSettings
	low, high string
	rule      string // path in Rules
}

// settingFields describes ServerSettings, by group.
var settingFields = func() (out []SettingField) {
	t := reflect.TypeFor[ServerSettings]()
	group, order := "", []string{}
	for _, sf := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if sf.Anonymous || name == "" {
			continue
		}
		group = cmp.Or(sf.Tag.Get("group"), group)
		if !slices.Contains(order, group) {
			order = append(order, group)
		}
		f := SettingField{Name: name, Variable: strings.ToUpper(name), Group: group, Label: sf.Tag.Get("label"), Help: sf.Tag.Get("help"),
			Unit: sf.Tag.Get("unit"), Zero: sf.Tag.Get("zero"), Default: sf.Tag.Get("default"), Shared: len(sf.Index) > 1,
			typ: sf.Type.Elem(), index: sf.Index, rule: sf.Tag.Get("rule")}
		f.low, f.high, _ = strings.Cut(sf.Tag.Get("limits"), "..")
		if options := sf.Tag.Get("options"); options != "" {
			for _, o := range strings.Split(options, "|") {
				value, label, _ := strings.Cut(o, "=")
				f.Options = append(f.Options, adapters.Option{Value: value, Label: label})
			}
		}
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b SettingField) int {
		return slices.Index(order, a.Group) - slices.Index(order, b.Group)
	})
	return out
}()

// sharedFields are those that tenants may have of their own, too.
var sharedFields = func() (out []*SettingField) {
	for i := range settingFields {
		if settingFields[i].Shared {
			out = append(out, &settingFields[i])
		}
	}
	return out
}()

// SharedFields lists the settings that tenants may have of their own, too.
func SharedFields() []*SettingField { return sharedFields }

// SettingFields lists the settings that can be changed while the server runs, by group.
func SettingFields() []SettingField { return settingFields }

// LookUpSetting finds a setting by its name or its variable, in any case of its letters; nil when there is none.
func LookUpSetting(name string) *SettingField {
	for i := range settingFields {
		if strings.EqualFold(settingFields[i].Name, name) {
			return &settingFields[i]
		}
	}
	return nil
}

// List reports whether the value is a list, which may be empty.
func (f *SettingField) List() bool { return f.typ.Kind() == reflect.Slice }

// Number reports whether the value is a plain number.
func (f *SettingField) Number() bool { return f.typ.Kind() == reflect.Int }

// Lasts reports whether the value is a duration.
func (f *SettingField) Lasts() bool { return f.typ == reflect.TypeFor[Duration]() }

// NoneWord stands for an empty list on forms and in the environment, where nothing stands for what is not set.
const NoneWord = "none"

// parse reads a value. Its error is a sentence without a subject.
func (f *SettingField) parse(text string) (reflect.Value, error) {
	v := reflect.New(f.typ).Elem()
	text = strings.TrimSpace(text)
	if f.List() {
		if strings.EqualFold(text, NoneWord) {
			text = ""
		}
		v.Set(reflect.MakeSlice(f.typ, 0, 0))
		for _, s := range strings.Split(text, ",") {
			if s = strings.TrimSpace(s); s == "" {
				continue
			}
			part := reflect.New(f.typ.Elem()).Elem()
			if err := f.parsePart(part, s); err != nil {
				return v, &partError{v.Len(), err}
			}
			v.Set(reflect.Append(v, part))
		}
		return v, f.checkWhole(v)
	}
	if err := f.parsePart(v, text); err != nil {
		return v, err
	}
	return v, f.checkWhole(v)
}

// partError is what is wrong with one of a list's parts.
type partError struct {
	at int
	error
}

// problem adds what is wrong with a value to the others.
func (f *SettingField) problem(bad problems, err error) {
	name := f.Name
	if part := (*partError)(nil); errors.As(err, &part) {
		name = fmt.Sprintf("%s[%d]", name, part.at)
	}
	bad.add(name, err.Error())
}

func (f *SettingField) parsePart(v reflect.Value, text string) error {
	switch p := v.Addr().Interface().(type) {
	case *int:
		n, err := strconv.Atoi(text)
		if low, high := number(f.low), number(f.high); err != nil || float64(n) < low || float64(n) > high {
			return fmt.Errorf("must be a whole number between %s and %s, not %q", f.low, f.high, cut(text, 40))
		}
		*p = n
	case *float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || n < number(f.low) || n > number(f.high) {
			return fmt.Errorf("must be a number between %s and %s", f.low, f.high)
		}
		*p = n
	case *Duration:
		d, err := ParseDuration(text)
		if err != nil {
			return err
		}
		if float64(d) < duration(f.low) || float64(d) > duration(f.high) {
			return fmt.Errorf("must be between %s and %s, not %q", f.low, f.high, cut(text, 40))
		}
		*p = d
	case *string:
		if f.Options != nil && !slices.ContainsFunc(f.Options, func(o adapters.Option) bool { return o.Value == text }) {
			values := make([]string, len(f.Options))
			for i, o := range f.Options {
				values[i] = o.Value
			}
			last := len(values) - 1
			return fmt.Errorf("must be %s or %s", strings.Join(values[:last], ", "), values[last])
		}
		*p = text
	case *map[string]string:
		*p = map[string]string{}
		if text != "" && (json.Unmarshal([]byte(text), p) != nil || *p == nil) {
			return errors.New(`must be a JSON object of strings, like {"signature_header":"X-Acme-Signature"}`)
		}
	}
	return nil
}

// checkWhole checks what the tags cannot say.
func (f *SettingField) checkWhole(v reflect.Value) error {
	switch x := v.Interface().(type) {
	case []string:
		if len(x) > maxListed {
			return fmt.Errorf("must list at most %d", maxListed)
		}
		for i, word := range x {
			if err := (RetryPolicy{RetryOn: []string{word}}).CheckRetryOn(); err != nil {
				return &partError{i, err}
			}
		}
	case []Duration:
		if len(x) >= maxAttempts {
			return fmt.Errorf("must list fewer than %d waits", maxAttempts)
		}
	case []int:
		if len(x) == 0 {
			return nil
		}
		_, wrong := Condition{"disable_steps": x}.Check()
		for _, message := range wrong {
			return errors.New(message)
		}
	case int:
		if f.Name == "tenant_bytes_per_second" && x != 0 && x < LeastBytesPerSecond {
			return fmt.Errorf("must be at least %d, or 0 for no limit", LeastBytesPerSecond)
		}
	case Duration:
		if f.Name == "tenant_limit_burst" && time.Duration(x)%time.Second != 0 {
			return errors.New("must be whole seconds between 1s and 1h")
		}
	case string:
		if f.Options == nil {
			bad := problems{}
			checkText(f.Name, x, maxNameLength, bad)
			if message := bad[f.Name]; message != "" {
				return errors.New(message)
			}
		}
	}
	return nil
}

// maxListed is how many words a list may have.
const maxListed = 200

// text is parse's other way.
func (f *SettingField) text(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case int:
		return strconv.Itoa(x)
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	case string:
		return x
	case map[string]string:
		if len(x) == 0 {
			return ""
		}
		b, _ := json.Marshal(x) // texts
		return string(b)
	case Duration:
		return x.String()
	}
	parts := make([]string, v.Len())
	for i := range parts {
		parts[i] = f.textOfPart(v.Index(i).Interface())
	}
	return strings.Join(parts, ",")
}

func (f *SettingField) textOfPart(x any) string {
	if d, ok := x.(Duration); ok {
		return d.String()
	}
	return fmt.Sprint(x)
}

// SetRule checks a value and sets what it stands for.
func (f *SettingField) SetRule(r *Rules, text string) error {
	v, err := f.parse(text)
	if err != nil {
		return err
	}
	f.apply(r, v)
	return nil
}

// ruleWay is how a setting is kept in Rules that has no field of its own there.
type ruleWay struct {
	set func(r *Rules, v reflect.Value)
	get func(r *Rules) any
}

const prefixField = "header_prefix"

var ruleWays = map[string]ruleWay{
	"retention_days": {func(r *Rules, v reflect.Value) { r.Retention = time.Duration(v.Int()) * 24 * time.Hour },
		func(r *Rules) any { return int(r.Retention.Hours() / 24) }},
	"webhook_signature": {func(r *Rules, v reflect.Value) {
		if r.Webhook.Signature = v.String(); r.Webhook.Signature == standardSignature {
			r.Webhook.Signature = ""
		}
	}, func(r *Rules) any { return cmp.Or(r.Webhook.Signature, standardSignature) }},
	"webhook_header_prefix": {func(r *Rules, v reflect.Value) {
		r.Webhook.Config = withPrefix(maps.Clone(r.Webhook.Config), v.String())
	}, func(r *Rules) any { return r.Webhook.Config[prefixField] }},
	"webhook_config": {func(r *Rules, v reflect.Value) {
		given := v.Interface().(map[string]string)
		r.Webhook.Config = withPrefix(maps.Clone(given), cmp.Or(given[prefixField], r.Webhook.Config[prefixField]))
	}, func(r *Rules) any {
		out := maps.Clone(r.Webhook.Config)
		delete(out, prefixField)
		return out
	}},
}

// standardSignature is the word for the signature that webhooks have anyway.
const standardSignature = "standard"

func withPrefix(config map[string]string, prefix string) map[string]string {
	if prefix == "" {
		if delete(config, prefixField); len(config) == 0 {
			return nil
		}
		return config
	}
	if config == nil {
		config = map[string]string{}
	}
	config[prefixField] = prefix
	return config
}

func (f *SettingField) apply(r *Rules, v reflect.Value) {
	if way, has := ruleWays[f.Name]; has {
		way.set(r, v)
		return
	}
	dst := f.ruleOf(r)
	if f.List() && v.Len() == 0 {
		dst.SetZero()
		return
	}
	dst.Set(v.Convert(dst.Type()))
}

// ruleOf is the field of Rules that the setting sets.
func (f *SettingField) ruleOf(r *Rules) reflect.Value {
	dst := reflect.ValueOf(r).Elem()
	for _, name := range strings.Split(f.rule, ".") {
		dst = dst.FieldByName(name)
	}
	return dst
}

// value is what Rules say, as a value of the setting.
func (f *SettingField) value(r *Rules) reflect.Value {
	if way, has := ruleWays[f.Name]; has {
		v := reflect.New(f.typ).Elem()
		if x := reflect.ValueOf(way.get(r)); !x.IsZero() {
			v.Set(x)
		}
		return v
	}
	return f.ruleOf(r).Convert(f.typ)
}

// Rule is what Rules say of the setting, as a text.
func (f *SettingField) Rule(r *Rules) string { return f.text(f.value(r)) }

// in is the setting's pointer in a ServerSettings or SharedSettings.
func (f *SettingField) in(of reflect.Value) reflect.Value {
	if of.Type() == reflect.TypeFor[SharedSettings]() {
		return of.FieldByIndex(f.index[1:])
	}
	return of.FieldByIndex(f.index)
}

// Stored is what settings say themselves, as a text; has is false when they say nothing.
func (f *SettingField) Stored(x *ServerSettings) (text string, has bool) {
	return f.stored(reflect.ValueOf(x).Elem())
}

func (f *SettingField) stored(of reflect.Value) (text string, has bool) {
	p := f.in(of)
	if p.IsNil() {
		return "", false
	}
	return f.text(p.Elem()), true
}

// StoredShared is Stored for what a tenant says.
func (f *SettingField) StoredShared(x *SharedSettings) (text string, has bool) {
	return f.stored(reflect.ValueOf(x).Elem())
}

// Enter reads a text as it was entered into a form.
func (f *SettingField) Enter(x *ServerSettings, text string) error {
	return f.enter(reflect.ValueOf(x).Elem(), text)
}

// EnterShared is Enter for what a tenant says.
func (f *SettingField) EnterShared(x *SharedSettings, text string) error {
	return f.enter(reflect.ValueOf(x).Elem(), text)
}

func (f *SettingField) enter(of reflect.Value, text string) error {
	v, err := f.parse(text)
	if err != nil {
		return err
	}
	p := reflect.New(f.typ)
	p.Elem().Set(v)
	f.in(of).Set(p)
	return nil
}

// Entered is a value as a form shows it: an empty list has a word of its own, since nothing is what is not set.
func (f *SettingField) Entered(text string) string {
	switch {
	case f.List() && text == "":
		return NoneWord
	case f.List():
		return strings.ReplaceAll(text, ",", ", ")
	}
	return text
}

// over returns rules with what the settings say in place of those below.
func (x *SharedSettings) over(below *Rules) *Rules {
	r := *below
	v := reflect.ValueOf(x).Elem()
	said := map[string]bool{}
	for _, f := range sharedFields {
		if p := f.in(v); !p.IsNil() {
			f.apply(&r, p.Elem())
			said[f.Name] = true
		}
	}
	r.withoutScheduleBelow(func(name string) bool { return said[name] })
	return &r
}

// withoutScheduleBelow has waits that a level says stand in the place of explicit ones that are said below it.
func (r *Rules) withoutScheduleBelow(said func(setting string) bool) {
	if !said("retry_schedule") && slices.ContainsFunc([]string{"retry_initial", "retry_multiplier", "retry_max_attempts"}, said) {
		r.Retry.Schedule = nil
	}
}

// SharedOf are the settings that tenants share with the server, all of them, as rules say.
func SharedOf(r *Rules) (x SharedSettings) {
	v := reflect.ValueOf(&x).Elem()
	for _, f := range sharedFields {
		p := reflect.New(f.typ)
		if p.Elem().Set(f.value(r)); f.List() && p.Elem().IsNil() {
			p.Elem().Set(reflect.MakeSlice(f.typ, 0, 0))
		}
		f.in(v).Set(p)
	}
	return x
}

// check reports what is wrong with the settings that a tenant shares with the server.
func (x *SharedSettings) check(bad problems) {
	v := reflect.ValueOf(x).Elem()
	for _, f := range sharedFields {
		if text, has := f.stored(v); has {
			if _, err := f.parse(text); err != nil {
				f.problem(bad, err)
			}
		}
	}
}

// set tells a snapshot for the audit log.
func (x *SharedSettings) set(s *snapshot) {
	v := reflect.ValueOf(x).Elem()
	for _, f := range sharedFields {
		if p := f.in(v); !p.IsNil() {
			s.set(f.Name, f.shown(p.Elem()))
		}
	}
}

// shown is a value as the audit log keeps it: a number, a text or a list of texts.
func (f *SettingField) shown(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case int, float64, []string:
		return x
	}
	if f.List() {
		out := make([]string, v.Len())
		for i := range out {
			out[i] = f.textOfPart(v.Index(i).Interface())
		}
		return out
	}
	return f.text(v)
}

// Bounds says what values are allowed; empty where that is not a matter of bounds.
func (f *SettingField) Bounds() string {
	if f.low == "" {
		return ""
	}
	return f.low + " to " + f.high
}
