package filter

import (
	"encoding/json"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"
)

// naive is the language's description turned into code as directly as possible, without any of the
// machinery: it walks the filter's JSON and the document's, both as encoding/json decodes them. The property
// tests hold the compiled form against it. It does not know [$index].
type naive struct{ document map[string]any }

type absent struct{}

func naiveMatch(filter any, document map[string]any) bool {
	n := &naive{document: document}
	return n.top(filter.(map[string]any))
}

func (n *naive) top(filter map[string]any) bool {
	for key, pattern := range filter {
		var ok bool
		switch key {
		case "$and":
			ok = every(pattern.([]any), func(p any) bool { return n.top(p.(map[string]any)) })
		case "$or":
			ok = some(pattern.([]any), func(p any) bool { return n.top(p.(map[string]any)) })
		case "$not":
			ok = !n.top(pattern.(map[string]any))
		default:
			path := []string{key}
			if !isRoot(key) {
				path = []string{"data", key}
			}
			var value any = n.document
			for _, part := range path {
				value = child(value, part)
			}
			ok = n.pattern(pattern, value)
		}
		if !ok {
			return false
		}
	}
	return true
}

func every(patterns []any, f func(any) bool) bool {
	return !slices.ContainsFunc(patterns, func(p any) bool { return !f(p) })
}

func some(patterns []any, f func(any) bool) bool { return slices.ContainsFunc(patterns, f) }

func child(value any, key string) any {
	if object, ok := value.(map[string]any); ok {
		if v, ok := object[key]; ok {
			return v
		}
	}
	return absent{}
}

// pattern matches one value. In a list, one element satisfies all of the pattern, save for what speaks of
// the whole list.
func (n *naive) pattern(pattern, value any) bool {
	list, ok := value.([]any)
	if !ok {
		return n.one(pattern, value, value)
	}
	elements := flat(list)
	if len(elements) == 0 {
		return n.one(pattern, nil, value) // nil: there is no element
	}
	return some(elements, func(element any) bool { return n.one(pattern, element, value) })
}

// flat returns the elements of a list and of the lists in it.
func flat(list []any) (elements []any) {
	for _, e := range list {
		if inner, ok := e.([]any); ok {
			elements = append(elements, flat(inner)...)
		} else {
			elements = append(elements, e)
		}
	}
	return elements
}

// null tells a JSON null from the nil that stands for no element.
type null struct{}

func (n *naive) one(pattern, element, whole any) bool {
	switch p := pattern.(type) {
	case map[string]any:
		for key, operand := range p {
			if !n.key(key, operand, element, whole) {
				return false
			}
		}
		return true
	case []any:
		list, ok := whole.([]any)
		return ok && every(p, func(p any) bool {
			return some(list, func(e any) bool { return n.pattern(p, e) })
		})
	}
	return element != nil && naiveEqual(element, pattern)
}

func (n *naive) key(key string, operand, element, whole any) bool {
	_, missing := whole.(absent)
	switch key {
	case "$and":
		return every(operand.([]any), func(p any) bool { return n.one(p, element, whole) })
	case "$or":
		return some(operand.([]any), func(p any) bool { return n.one(p, element, whole) })
	case "$not":
		return !n.pattern(operand, whole)
	case "$neq":
		return !n.pattern(map[string]any{"$eq": operand}, whole)
	case "$nin":
		return !n.pattern(map[string]any{"$in": operand}, whole)
	case "$exist":
		return operand.(bool) != missing
	case "$empty":
		if operand.(bool) {
			return !n.pattern(map[string]any{"$empty": false}, whole)
		}
		switch v := element.(type) {
		case nil, null, absent:
			return false
		case string:
			return v != ""
		case map[string]any:
			return len(v) > 0
		}
		return true
	case "$ref":
		return n.compare("$eq", map[string]any{"$ref": operand}, element, whole)
	}
	if strings.HasPrefix(key, "$") {
		return n.compare(key, operand, element, whole)
	}
	if element == nil {
		return false
	}
	return n.pattern(operand, child(element, key))
}

func (n *naive) compare(op string, operand, element, whole any) bool {
	if ref, ok := operand.(map[string]any); ok && ref["$ref"] != nil {
		if _, missing := whole.(absent); missing {
			return false
		}
		steps, _ := parseReference(ref["$ref"].(string))
		for _, other := range n.follow(steps, n.document) {
			if n.compareValue(op, other, element, whole, false) {
				return true
			}
		}
		return false
	}
	return n.compareValue(op, operand, element, whole, true)
}

// follow returns all the values that a reference leads to.
func (n *naive) follow(steps []step, value any) []any {
	if _, missing := value.(absent); missing {
		return nil
	}
	if len(steps) == 0 {
		return []any{value}
	}
	s := steps[0]
	list, isList := value.([]any)
	switch {
	case s.list && isList:
		if s.index < len(list) {
			return n.follow(steps[1:], list[s.index])
		}
		return nil
	case s.list:
		return nil
	case isList:
		var all []any
		for _, e := range list {
			all = append(all, n.follow(steps, e)...)
		}
		return all
	}
	return n.follow(steps[1:], child(value, s.key))
}

// compareValue compares with a literal of the filter or with another value of the document. A text in a filter
// is a text; only the texts of the document may stand for numbers.
func (n *naive) compareValue(op string, operand, element, whole any, literal bool) bool {
	switch op {
	case "$eq":
		if _, ok := operand.([]any); ok {
			return naiveEqual(whole, operand)
		}
		return element != nil && naiveEqual(element, operand)
	case "$in":
		list, ok := operand.([]any)
		if !ok {
			return n.compareValue("$contains", operand, element, whole, literal)
		}
		return some(list, func(member any) bool {
			if _, ok := member.([]any); ok {
				return naiveEqual(whole, member)
			}
			return element != nil && naiveEqual(element, member)
		})
	case "$gt", "$gte", "$lt", "$lte":
		if _, text := operand.(string); text && literal {
			if _, number := element.(json.Number); number {
				return false
			}
		}
		order, ok := naiveOrder(element, operand)
		return ok && holds(opcodes[Op(op)], order)
	}
	text, ok := element.(string)
	if !ok {
		return false
	}
	alternatives, ok := operand.([]any)
	if !ok {
		alternatives = []any{operand}
	}
	return some(alternatives, func(alternative any) bool {
		part, ok := alternative.(string)
		if !ok {
			return false
		}
		switch op {
		case "$startsWith":
			return strings.HasPrefix(text, part)
		case "$endsWith":
			return strings.HasSuffix(text, part)
		case "$regex":
			return regexp.MustCompile(part).MatchString(text)
		}
		return strings.Contains(text, part)
	})
}

func naiveNumber(v any, coerce bool) (*big.Rat, bool) {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string:
		if !coerce || !regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`).MatchString(v) {
			return nil, false
		}
		text = v
	default:
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

func naiveOrder(a, b any) (int, bool) {
	_, aNumber := a.(json.Number)
	_, bNumber := b.(json.Number)
	if aNumber || bNumber {
		x, ok1 := naiveNumber(a, true)
		y, ok2 := naiveNumber(b, true)
		if !ok1 || !ok2 {
			return 0, false
		}
		return x.Cmp(y), true
	}
	x, ok1 := a.(string)
	y, ok2 := b.(string)
	if !ok1 || !ok2 {
		return 0, false
	}
	s, err1 := time.Parse(time.RFC3339, x)
	u, err2 := time.Parse(time.RFC3339, y)
	if err1 == nil && err2 == nil {
		return s.Compare(u), true
	}
	return strings.Compare(x, y), true
}

func naiveEqual(a, b any) bool {
	switch x := a.(type) {
	case json.Number:
		if _, ok := b.(json.Number); !ok {
			return false
		}
		order, _ := naiveOrder(a, b)
		return order == 0
	case string:
		if _, ok := b.(string); !ok {
			return false
		}
		order, _ := naiveOrder(a, b)
		return order == 0
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, naiveEqual)
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for key, v := range x {
			if w, ok := y[key]; !ok || !naiveEqual(v, w) {
				return false
			}
		}
		return true
	}
	return a == b
}

// naiveDecode decodes JSON for the naive evaluation, with null as a value of its own.
func naiveDecode(text string) any {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		panic(err)
	}
	return withNull(v)
}

func withNull(v any) any {
	switch v := v.(type) {
	case nil:
		return null{}
	case []any:
		for i := range v {
			v[i] = withNull(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = withNull(v[key])
		}
	}
	return v
}
