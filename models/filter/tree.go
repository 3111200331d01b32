package filter

import (
	"slices"
	"strings"
)

// Node is one node of a filter's canonical tree, the common form behind every notation. The types that
// implement it are [And], [Or], [Not], [Field], [List] and [Test]; there are no others.
//
// A tree taken from a [Filter] is normalized: its top consists of And, Or and Not over Fields whose path
// starts with one of the five roots. Each such Field is one numbered rule. Trees are values: nobody may
// change one after it was handed over.
type Node interface{ node() }

// And is true when every child is true. Directly below a [Field] that leads to a list, one single element
// must satisfy all the children.
type And []Node

// Or is true when at least one child is true.
type Or []Node

// Not is true when its child is not. Against a list it speaks of the whole list: no element satisfies the
// child.
type Not struct{ Node Node }

// Field leads to a field of the current object and asks its value to satisfy Node. Where the path meets a
// list, one element has to satisfy the rest.
type Field struct {
	// Path holds the keys from the outside in, at least one, unescaped.
	Path []string
	// Node is what the value at the path must satisfy.
	Node Node
}

// List is true for a list in which every pattern is met by some element, in any order. It is false for
// everything that is not a list.
type List []Node

// Test compares one value. Its comparison is with Value, unless Ref names another field.
type Test struct {
	// Op says how to compare.
	Op Op
	// Value is the operand. It is the zero Value when Ref is set, and for OpExist and OpFilled.
	Value Value
	// Ref is the full path of the field to compare with, such as "data.created_at" or
	// "data.lines[$index].min". Empty, the usual case, means that Value is the operand.
	Ref string
}

func (And) node()   {}
func (Or) node()    {}
func (Not) node()   {}
func (Field) node() {}
func (List) node()  {}
func (Test) node()  {}

// Op is the comparison of a [Test]. Its text is the operator of the JSON notation, where it has one.
type Op string

// The comparisons. The negations of the JSON notation ($neq, $nin, $exist:false) are a [Not] around one of these.
const (
	// OpEq is equality, strict about the type. A list or an object is compared as a whole.
	OpEq Op = "$eq"
	// OpGt is "more than". With a number it accepts a numeric string in the document.
	OpGt Op = "$gt"
	// OpGte is "at least".
	OpGte Op = "$gte"
	// OpLt is "less than".
	OpLt Op = "$lt"
	// OpLte is "at most".
	OpLte Op = "$lte"
	// OpIn is membership of the list in Value.
	OpIn Op = "$in"
	// OpContains asks for a substring, or for one of a list of substrings.
	OpContains Op = "$contains"
	// OpStartsWith asks for a prefix, or for one of a list.
	OpStartsWith Op = "$startsWith"
	// OpEndsWith asks for a suffix, or for one of a list.
	OpEndsWith Op = "$endsWith"
	// OpRegex asks for a match of an RE2 pattern anywhere in the string.
	OpRegex Op = "$regex"
	// OpExist asks for the field to be there; null counts.
	OpExist Op = "$exist"
	// OpFilled asks for the field to be there and to be neither null nor an empty string, list or object.
	// It is `field:*` in the search notation and `{"$empty": false}` in the JSON notation.
	OpFilled Op = "filled"
	// OpSame asks for a number or a numeric string of the same value. It is `field:10` in the search
	// notation and `{"$gte": 10, "$lte": 10}` in the JSON notation.
	OpSame Op = "same"
)

// Equal reports whether two trees are the same: same shape, same order, same values as they were written.
func Equal(a, b Node) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case And:
		b, ok := b.(And)
		return ok && slices.EqualFunc(a, b, Equal)
	case Or:
		b, ok := b.(Or)
		return ok && slices.EqualFunc(a, b, Equal)
	case List:
		b, ok := b.(List)
		return ok && slices.EqualFunc(a, b, Equal)
	case Not:
		b, ok := b.(Not)
		return ok && Equal(a.Node, b.Node)
	case Field:
		b, ok := b.(Field)
		return ok && slices.Equal(a.Path, b.Path) && Equal(a.Node, b.Node)
	case Test:
		b, ok := b.(Test)
		return ok && a == b
	}
	return false
}

// ValueKind is the JSON type of a [Value].
type ValueKind uint8

// The JSON types. KindNone is the zero Value, which is no value at all.
const (
	KindNone ValueKind = iota
	KindNull
	KindBool
	KindNumber
	KindString
	KindList
	KindObject
)

// Value is a literal in a filter: one JSON value, kept as compact JSON text so that numbers stay exactly as
// they were written. Values compare with ==. The zero Value is no value.
type Value struct{ json string }

// Null returns the literal for the JSON null.
func Null() Value { return Value{"null"} }

// String returns the literal for a string.
func String(s string) Value { return Value{string(appendQuoted(nil, s))} }

// Bool returns the literal for true or false.
func Bool(b bool) Value {
	if b {
		return Value{"true"}
	}
	return Value{"false"}
}

// Number returns the literal for a number written as in JSON, such as "10", "-0.5" or "1e6". ok is false
// when the text is not a JSON number.
func Number(text string) (v Value, ok bool) {
	if _, ok := parseNumber(text); !ok {
		return Value{}, false
	}
	return Value{text}, true
}

// Values returns the literal for a list.
func Values(items ...Value) Value {
	var b strings.Builder
	b.WriteByte('[')
	for i, item := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(item.json)
	}
	b.WriteByte(']')
	return Value{b.String()}
}

// Kind returns the JSON type of the literal.
func (v Value) Kind() ValueKind {
	if v.json == "" {
		return KindNone
	}
	switch v.json[0] {
	case 'n':
		return KindNull
	case 't', 'f':
		return KindBool
	case '"':
		return KindString
	case '[':
		return KindList
	case '{':
		return KindObject
	}
	return KindNumber
}

// JSON returns the literal as compact JSON. It is empty for the zero Value.
func (v Value) JSON() string { return v.json }

// MarshalJSON writes the literal itself; the zero Value is written as null.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.json == "" {
		return []byte("null"), nil
	}
	return []byte(v.json), nil
}

// UnmarshalJSON reads any JSON value. The error is an [*Error] with line and column.
func (v *Value) UnmarshalJSON(data []byte) error {
	var t tape
	root, err := t.parse(string(data))
	if err != nil {
		return err.positioned(string(data))
	}
	*v = t.value(root)
	return nil
}

// Text returns the characters of a string literal, and the JSON text of every other one.
func (v Value) Text() string {
	if v.Kind() != KindString {
		return v.json
	}
	t, root := v.tape()
	return t.items[root].text
}

// Items returns the members of a list literal, and nothing for every other one.
func (v Value) Items() []Value {
	if v.Kind() != KindList {
		return nil
	}
	t, root := v.tape()
	var items []Value
	for i := root + 1; i < t.items[root].end; i = t.items[i].end {
		items = append(items, t.value(i))
	}
	return items
}

// tape decodes the literal. A Value can only be made from valid JSON, so that decoding it cannot fail.
func (v Value) tape() (*tape, at) {
	t := new(tape)
	root, err := t.parse(v.json)
	if err != nil {
		panic("filter: a literal that is not JSON: " + v.json)
	}
	return t, root
}

// scalar reports whether the literal is neither a list nor an object.
func (v Value) scalar() bool {
	k := v.Kind()
	return k != KindNone && k != KindList && k != KindObject
}
