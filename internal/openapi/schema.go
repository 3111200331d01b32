package openapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Schema is a JSON Schema, as far as it is needed.
type Schema struct {
	Ref           string         `json:"$ref,omitempty"`
	Type          any            `json:"type,omitempty"` // a string or a list of them; nil for anything
	Format        string         `json:"format,omitempty"`
	Description   string         `json:"description,omitempty"`
	Const         any            `json:"const,omitempty"`
	Enum          []any          `json:"enum,omitempty"`
	Default       any            `json:"default,omitempty"`
	Examples      []any          `json:"examples,omitempty"`
	Pattern       string         `json:"pattern,omitempty"`
	MinLength     int            `json:"minLength,omitempty"`
	MaxLength     int            `json:"maxLength,omitempty"`
	Minimum       *float64       `json:"minimum,omitempty"`
	Maximum       *float64       `json:"maximum,omitempty"`
	MinItems      int            `json:"minItems,omitempty"`
	MaxItems      int            `json:"maxItems,omitempty"`
	Items         *Schema        `json:"items,omitempty"`
	Properties    *Map[*Schema]  `json:"properties,omitempty"`
	Required      []string       `json:"required,omitempty"`
	Additional    any            `json:"additionalProperties,omitempty"` // a *Schema or a bool
	OneOf         []*Schema      `json:"oneOf,omitempty"`
	AnyOf         []*Schema      `json:"anyOf,omitempty"`
	AllOf         []*Schema      `json:"allOf,omitempty"`
	Discriminator *Discriminator `json:"discriminator,omitempty"`
}

// Discriminator says which of several schemas a value has, by one of its properties.
type Discriminator struct {
	Property string            `json:"propertyName"`
	Mapping  map[string]string `json:"mapping,omitempty"`
}

// Side says for whom a schema is: what a server answers is told exactly, what it takes is told with what may be missing.
type Side int

// The sides of an exchange.
const (
	Answer Side = iota
	Request
)

const schemaRef = "#/components/schemas/"

// RefTo refers to a schema of the components.
func RefTo(name string) *Schema { return &Schema{Ref: schemaRef + name} }

// RefName is the name of the component that a reference leads to ("#/components/schemas/Event" → "Event").
func RefName(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

// Nullable is a schema that also takes null.
func Nullable(s *Schema) *Schema {
	switch t := s.Type.(type) {
	case string:
		c := *s
		c.Type = []string{t, "null"}
		if c.Enum != nil {
			c.Enum = append(append([]any(nil), c.Enum...), nil)
		}
		return &c
	case []string:
		return s
	}
	if s.Ref == "" && s.Type == nil && s.OneOf == nil && s.AnyOf == nil {
		return s // anything
	}
	return &Schema{AnyOf: []*Schema{s, {Type: "null"}}}
}

// Reflector makes schemas of Go types. Structs become components, named like their types without "JSON" at the end.
// Fields say more about themselves in two tags:
//
//	doc:"What it is, in a sentence with 'code' between apostrophes."
//	api:"required,null,min=1,max=1000,default=100,enum=a|b,schema=Name,type=string,format=uri,example=x"
//
// Of fields that are in answers and requests alike, indoc and in are the same for requests only, where that is something else, and
// limits:"1..1000" is the least and the most that requests may say.
//
// In requests, fields with "required" must be there. In answers, fields without omitempty are always there; pointers
// among them, and fields with "null", may be null. The parts of the api tag are separated by commas, so values have none.
type Reflector struct {
	// Schemas are the components.
	Schemas map[string]*Schema
	// Types are schemas of types that print themselves.
	Types map[reflect.Type]func(Side) *Schema
	// Names are names of components, where that of the type does not do.
	Names map[reflect.Type]string

	made map[madeKey]string
}

type madeKey struct {
	t    reflect.Type
	side Side
}

// Of is the schema of a type: a reference for structs, and itself for others. name is that of a struct without one.
func (r *Reflector) Of(t reflect.Type, side Side, name string) *Schema {
	if make := r.Types[t]; make != nil {
		return make(side)
	}
	switch t {
	case reflect.TypeFor[time.Time]():
		return &Schema{Type: "string", Format: "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return &Schema{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return r.Of(t.Elem(), side, name)
	case reflect.String:
		return &Schema{Type: "string"}
	case reflect.Bool:
		return &Schema{Type: "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return &Schema{Type: "integer"}
	case reflect.Float64:
		return &Schema{Type: "number"}
	case reflect.Slice:
		return &Schema{Type: "array", Items: r.Of(t.Elem(), side, name)}
	case reflect.Map:
		value := r.Of(t.Elem(), side, name)
		if t.Elem().Kind() == reflect.Pointer {
			value = Nullable(value)
		}
		return &Schema{Type: "object", Additional: value}
	case reflect.Interface:
		return &Schema{}
	case reflect.Struct:
		return r.component(t, side, name)
	}
	panic("openapi: no schema for " + t.String())
}

func (r *Reflector) component(t reflect.Type, side Side, name string) *Schema {
	key := madeKey{t, side}
	if made, ok := r.made[key]; ok {
		return RefTo(made)
	}
	if t.Name() != "" {
		name = r.nameOf(t)
	}
	if side == Request && r.differs(t, map[reflect.Type]bool{}) && r.made[madeKey{t, Answer}] != "" {
		name += "Input"
	}
	if r.made == nil {
		r.made = map[madeKey]string{}
	}
	r.made[key] = name
	s := &Schema{Type: "object", Properties: &Map[*Schema]{}}
	if old := r.Schemas[name]; old != nil && r.made[madeKey{t, Answer}] != name {
		panic(fmt.Sprintf("openapi: two schemas are called %s; name %s otherwise", name, t))
	}
	r.Schemas[name] = s // before its fields, which may be of the same type
	r.fields(s, t, side, name, map[string]bool{})
	return RefTo(name)
}

// differs reports whether a struct looks different in answers and in requests.
func (r *Reflector) differs(t reflect.Type, seen map[reflect.Type]bool) bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		if r.Types[t] != nil {
			break
		}
		t = t.Elem()
	}
	if make := r.Types[t]; make != nil {
		return make(Answer).Ref != make(Request).Ref
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() || seen[t] {
		return false
	}
	seen[t] = true
	for i := range t.NumField() {
		f := t.Field(i)
		name, omit := jsonName(f)
		if f.Anonymous || name != "" && (!omit || r.differs(f.Type, seen)) {
			return true
		}
	}
	return false
}

// fields adds the fields of a struct to a schema. Those of embedded structs come first, but for those that the outer struct
// has itself (shadow), as in encoding/json.
func (r *Reflector) fields(s *Schema, t reflect.Type, side Side, parent string, shadow map[string]bool) {
	own := maps.Clone(shadow)
	for i := range t.NumField() {
		if f := t.Field(i); !embedded(f) {
			name, _ := jsonName(f)
			own[name] = true
		}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if embedded(f) {
			r.fields(s, f.Type, side, parent, own)
			continue
		}
		name, omit := jsonName(f)
		if name == "" || shadow[name] {
			continue
		}
		tag, doc := ParseTag(f.Tag.Get("api")), f.Tag.Get("doc")
		if side == Request {
			maps.Copy(tag, requestTag(f))
			doc = cmp.Or(f.Tag.Get("indoc"), doc)
		}
		field := tag.Apply(r.Of(f.Type, side, parent+upper(name)))
		if side == Request && tag.Has("required") || side == Answer && !omit {
			s.Required = append(s.Required, name)
		}
		if tag.Has("null") || side == Answer && !omit && f.Type.Kind() == reflect.Pointer {
			field = Nullable(field)
		}
		field = Described(field, doc)
		if side == Request && field.Default != nil {
			field = DefaultInWords(field)
		}
		s.Properties.Set(name, field)
	}
}

// requestTag is what holds for a field in requests only: its in tag, and the limits of numbers.
func requestTag(f reflect.StructField) FieldTag {
	tag := ParseTag(f.Tag.Get("in"))
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if low, high, ok := strings.Cut(f.Tag.Get("limits"), ".."); ok && (t.Kind() == reflect.Int || t.Kind() == reflect.Float64) {
		tag["min"], tag["max"] = low, high
	}
	return tag
}

func embedded(f reflect.StructField) bool { return f.Anonymous && f.Tag.Get("json") == "" }

// Described is a copy of a schema with a description.
func Described(s *Schema, text string) *Schema {
	if text == "" {
		return s
	}
	c := *s
	c.Description = quoted.ReplaceAllString(text, "$1`$2`")
	return &c
}

// DefaultInWords is a copy of a schema that tells its default in the description. Generators of clients take a field of a
// body that has a default for one that is always there, and would make callers give it.
func DefaultInWords(s *Schema) *Schema {
	c := *s
	c.Description = strings.TrimSpace(fmt.Sprintf("%s Default: `%v`.", s.Description, s.Default))
	c.Default = nil
	return &c
}

// quoted finds words of the API in a doc tag. They stand between apostrophes there, for a tag cannot hold the mark for code
// of Markdown, which descriptions are written in (CommonMark).
var quoted = regexp.MustCompile(`(^|[\s(])'([^' ]+(?: [^' ]+)?)'`)

func jsonName(f reflect.StructField) (name string, omit bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" || !f.IsExported() {
		return "", false
	}
	return name, options == "omitempty" || options == "omitzero"
}

// nameOf makes the name of a component from that of a type: pageJSON[…eventJSON] becomes EventPage.
func (r *Reflector) nameOf(t reflect.Type) string {
	if name := r.Names[t]; name != "" {
		return name
	}
	name, arg, generic := strings.Cut(t.Name(), "[")
	name = upper(strings.TrimSuffix(name, "JSON"))
	if generic {
		arg = strings.TrimSuffix(arg, "]")
		arg = arg[strings.LastIndexByte(arg, '.')+1:]
		name = upper(strings.TrimSuffix(arg, "JSON")) + name
	}
	return name
}

func upper(s string) string {
	var b strings.Builder
	for _, part := range strings.Split(s, "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

// FieldTag is what an api tag says.
type FieldTag map[string]string

// ParseTag reads an api tag.
func ParseTag(text string) FieldTag {
	t := FieldTag{}
	for _, part := range strings.Split(text, ",") {
		if key, value, _ := strings.Cut(part, "="); key != "" {
			t[key] = value
		}
	}
	return t
}

// Has reports whether the tag has a part of this name.
func (t FieldTag) Has(key string) bool { _, ok := t[key]; return ok }

// Apply is a copy of a schema with what the tag says of it. A list's choices and schema are those of its elements.
func (t FieldTag) Apply(s *Schema) *Schema {
	if len(t) == 0 {
		return s
	}
	if s.Items != nil && (t.Has("enum") || t.Has("schema")) {
		c := *s
		c.Items = FieldTag{"enum": t["enum"], "schema": t["schema"]}.Apply(s.Items)
		return &c
	}
	if name := t["schema"]; name != "" {
		s = RefTo(name)
	}
	c := *s
	if choices := t["enum"]; choices != "" {
		for _, v := range strings.Split(choices, "|") {
			c.Enum = append(c.Enum, v)
		}
	}
	if kind := t["type"]; kind != "" {
		c.Type = kind
	}
	if f := t["format"]; f != "" {
		c.Format = f
	}
	c.Minimum, c.Maximum = number(t["min"]), number(t["max"])
	if v, ok := t["default"]; ok {
		c.Default = t.value(v, c.Type)
	}
	if v, ok := t["example"]; ok {
		c.Examples = []any{t.value(v, c.Type)}
	}
	return &c
}

func (FieldTag) value(v string, kind any) any {
	switch kind {
	case "integer", "number":
		return *number(v)
	case "boolean":
		return v == "true"
	}
	return v
}

func number(text string) *float64 {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic("openapi: " + err.Error())
	}
	return &n
}
