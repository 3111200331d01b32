package models

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// FieldKind is how a plain field is entered.
type FieldKind string

// The kinds of plain fields. CompoundField is every other field.
const (
	CompoundField FieldKind = ""
	NumberField   FieldKind = "number"  // *int
	DecimalField  FieldKind = "decimal" // *float64
	DurationField FieldKind = "duration"
	TextField     FieldKind = "text"
	ChoiceField   FieldKind = "choice" // a text out of Options
	BooleanField  FieldKind = "boolean"
	WordsField    FieldKind = "words" // []string
)

// Field describes a field of a struct from its tags; see DestinationFields.
type Field struct {
	Name, Label, Help string
	Kind              FieldKind
	Options           []adapters.Option
	Main              bool // not one of the delivery settings

	index     int
	low, high string // of limits; empty for none
	or, must  string
	parts     bool
}

// destinationFields describes DestinationFields, in order.
var destinationFields = fieldsOf(reflect.TypeFor[DestinationFields]())

// DestinationFieldList describes the fields of destinations, in their order.
func DestinationFieldList() []Field { return destinationFields }

func fieldsOf(t reflect.Type) (out []Field) {
	for i := range t.NumField() {
		sf := t.Field(i)
		f := Field{Name: sf.Tag.Get("json"), Label: sf.Tag.Get("label"), Help: sf.Tag.Get("help"), Main: sf.Tag.Get("form") == "main",
			index: i,
			or:    sf.Tag.Get("or"), must: sf.Tag.Get("must"), parts: sf.Tag.Get("audit") == "parts"}
		f.low, f.high, _ = strings.Cut(sf.Tag.Get("limits"), "..")
		if options := sf.Tag.Get("options"); options != "" {
			for _, o := range strings.Split(options, "|") {
				value, label, _ := strings.Cut(o, "=")
				f.Options = append(f.Options, adapters.Option{Value: value, Label: label})
			}
		}
		if f.Label != "" {
			f.Kind = kindOf(sf.Type, f.Options != nil)
		}
		out = append(out, f)
	}
	return out
}

func kindOf(t reflect.Type, choice bool) FieldKind {
	switch t {
	case reflect.TypeFor[*int]():
		return NumberField
	case reflect.TypeFor[*float64]():
		return DecimalField
	case reflect.TypeFor[*Duration]():
		return DurationField
	case reflect.TypeFor[string]():
		if choice {
			return ChoiceField
		}
		return TextField
	case reflect.TypeFor[bool]():
		return BooleanField
	case reflect.TypeFor[[]string]():
		return WordsField
	}
	return CompoundField
}

// in is the field of a struct that fieldsOf has described.
func (f Field) in(v reflect.Value) reflect.Value { return v.Field(f.index) }

// Entered is what is in the control of a plain field of a destination.
func (f Field) Entered(d *Destination) []string {
	return f.entered(reflect.ValueOf(d.DestinationFields))
}

func (f Field) entered(of reflect.Value) []string {
	v := f.in(of)
	if v.IsZero() && v.Kind() != reflect.String {
		return nil
	}
	switch x := v.Interface().(type) {
	case *int:
		return []string{strconv.Itoa(*x)}
	case *float64:
		return []string{strconv.FormatFloat(*x, 'g', -1, 64)}
	case *Duration:
		return []string{x.String()}
	case []string:
		return []string{strings.Join(x, ", ")}
	case bool:
		return []string{strconv.FormatBool(x)}
	}
	return []string{v.String()}
}

// Adjusted reports whether one of a destination's delivery settings is not the default.
func (d *Destination) Adjusted() bool {
	v := reflect.ValueOf(d.DestinationFields)
	return slices.ContainsFunc(destinationFields, func(f Field) bool {
		x := f.in(v)
		return !f.Main && !x.IsZero() && (x.Kind() != reflect.Map || x.Len() > 0)
	})
}

// check reports what is wrong with the value of a field, as its tags say, and makes null of what stands for it.
func (f Field) check(of reflect.Value, bad problems) {
	v := f.in(of)
	say := func(message string) {
		message = f.mustOr(message)
		if f.or != "" {
			message += ", or " + f.or
		}
		bad.add(f.Name, message)
	}
	switch x := v.Interface().(type) {
	case *int:
		if x != nil && !f.within(float64(*x), number) && !f.none(v) {
			say(fmt.Sprintf("must be between %s and %s", f.low, f.high))
		}
	case *float64:
		if x != nil && !f.within(*x, number) && !f.none(v) {
			say(fmt.Sprintf("must be between %s and %s", f.low, f.high))
		}
	case *Duration:
		if x == nil {
			return
		}
		*x = Duration(time.Duration(*x).Truncate(time.Millisecond)) // what columns keep
		if !f.within(float64(*x), duration) && !f.none(v) {
			say(fmt.Sprintf("must be between %s and %s", f.low, f.high))
		}
	case string:
		if f.Options != nil && !slices.ContainsFunc(f.Options, func(o adapters.Option) bool { return o.Value == x }) {
			say("must be one of the choices")
		} else if f.Kind == TextField {
			x = strings.TrimSpace(x)
			v.SetString(x)
			checkText(f.Name, x, int(number(cmp.Or(f.high, "4096"))), bad)
		}
	case []string:
		for i, w := range x {
			checkText(fmt.Sprintf("%s[%d]", f.Name, i), w, maxNameLength, bad)
		}
	default:
		// An object that says nothing is as good as none.
		if v.Kind() == reflect.Pointer && !v.IsNil() && v.Type().Elem().Kind() == reflect.Struct {
			if b, _ := json.Marshal(x); string(b) == "{}" || v.Elem().IsZero() {
				v.SetZero()
			}
		}
	}
}

// mustOr is what the field says of whatever is wrong with it, or else the message.
func (f Field) mustOr(message string) string { return cmp.Or(f.must, message) }

func (f Field) within(n float64, read func(string) float64) bool {
	return (f.low == "" || n >= read(f.low)) && (f.high == "" || n <= read(f.high))
}

// none makes null of a 0 that the limits do not allow.
func (Field) none(v reflect.Value) bool {
	if !v.Elem().IsZero() {
		return false
	}
	v.SetZero()
	return true
}

// The limits are constants of this program.
func number(s string) float64   { n, _ := strconv.ParseFloat(s, 64); return n }
func duration(s string) float64 { d, _ := ParseDuration(s); return float64(d) }

// snapshotFields notes the fields of a destination for the audit log.
func (d *Destination) snapshotFields(s *snapshot) {
	of, known := reflect.ValueOf(d.DestinationFields), d.settings()
	for _, f := range destinationFields {
		switch x := f.in(of).Interface().(type) {
		case TypeSettings:
			s.fields(f.Name, map[string][]adapters.Field{"config": known.config, "credentials": known.credentials}[f.Name], x)
		case BesideSettings:
			for _, b := range adapters.Beside() {
				if !b.InConfig {
					s.set(b.Key, x[b.Key])
				}
			}
		case Metadata:
			s.each(f.Name, x)
		default:
			f.snapshot(s, f.Name, f.in(of))
		}
	}
}

// snapshot notes a value: the text of those that print as one, and of structs the JSON or each part.
func (f Field) snapshot(s *snapshot, name string, v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	switch x := v.Interface().(type) {
	case json.RawMessage:
		s.set(name, string(x))
		return
	case Duration:
		s.set(name, x.String())
		return
	}
	switch v.Kind() {
	case reflect.String:
		s.set(name, v.String())
	case reflect.Slice:
		s.set(name, slices.Clone(v.Convert(reflect.TypeFor[[]string]()).Interface().([]string)))
	case reflect.Struct:
		if !f.parts {
			b, _ := json.Marshal(v.Interface()) // made of numbers and texts
			s.set(name, string(b))
			return
		}
		for i := range v.NumField() {
			f.snapshot(s, name+"."+v.Type().Field(i).Tag.Get("json"), v.Field(i))
		}
	default:
		s.set(name, v.Interface())
	}
}

// PrintWith prints a struct as JSON with more fields.
func PrintWith(v any, more map[string]any) ([]byte, error) {
	b, err := plainJSON(v)
	if err != nil || len(more) == 0 {
		return b, err
	}
	rest, err := plainJSON(more)
	return slices.Concat(bytes.TrimSuffix(b, []byte("}")), []byte(","), rest[1:]), err
}
