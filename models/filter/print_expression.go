package filter

import (
	"strconv"
	"strings"
)

// AsExpression writes the filter as an expression, as a starting point for writing one. An expression takes
// each field for a single value of one type, so that lossless is false, with the reason, for nearly
// everything but comparisons of the id and the topic. The text is empty when nothing similar can be said,
// and for the empty filter.
func (f *Filter) AsExpression() (text string, lossless bool, reason string) {
	switch {
	case f.IsEmpty():
		return "", true, ""
	case f.expression != nil:
		return f.expression.source, true, ""
	}
	p := expressionPrinter{}
	text = p.node(nil, f.tree, false)
	if p.impossible == "" {
		if _, err := ParseExpression(text); err != nil {
			p.impossible = "this filter is too large, or has a number that is too large, for an expression"
		}
	}
	if p.impossible != "" {
		return "", false, p.impossible
	}
	return text, p.reason == "", p.reason
}

// expressionPrinter remembers why the expression differs from the tree.
type expressionPrinter struct {
	reason     string
	impossible string
}

const reasonSingleValues = "an expression takes a field for one value of one type: it does not look into lists, " +
	"fails where a text meets a number, and compares times only as `date(...)`"

// cannot notes what an expression has no words for.
func (p *expressionPrinter) cannot(reason string) string {
	if p.impossible == "" {
		p.impossible = reason
	}
	return "false"
}

// node prints a tree or a pattern for the field at path. grouped asks for parentheses around several parts.
func (p *expressionPrinter) node(path []string, n Node, grouped bool) string {
	switch n := n.(type) {
	case And:
		return p.join(path, n, " && ", grouped)
	case Or:
		return p.join(path, n, " || ", grouped)
	case Not:
		return "not (" + p.node(path, n.Node, false) + ")"
	case Field:
		return p.node(joinPath(path, n.Path), n.Node, grouped)
	case Test:
		return p.test(path, n, grouped)
	}
	return p.cannot("an expression for a list of patterns has to be written by hand, with `any` for each of them")
}

func (p *expressionPrinter) join(path []string, nodes []Node, operator string, grouped bool) string {
	parts := make([]string, len(nodes))
	for i, n := range nodes {
		parts[i] = p.node(path, n, true)
	}
	return grouping(strings.Join(parts, operator), grouped)
}

func grouping(text string, grouped bool) string {
	if grouped {
		return "(" + text + ")"
	}
	return text
}

// test prints one comparison.
func (p *expressionPrinter) test(path []string, t Test, grouped bool) string {
	field := expressionField(path)
	text := path[0] == rootID || path[0] == rootTopic
	if !text || t.Value.Kind() != KindString && t.Value.Kind() != KindList || t.Ref != "" || t.Op == OpFilled || hasInstant(t.Value) {
		p.reason = reasonSingleValues
	}
	operand := t.Value.JSON()
	present := ""
	if !text && path[0] != rootTime {
		present = field + " != nil && "
	}
	if t.Ref != "" {
		operand = p.reference(t.Ref)
	}
	switch t.Op {
	case OpEq:
		if k := t.Value.Kind(); k == KindList || k == KindObject {
			return p.cannot("an expression cannot compare with a whole list or object")
		}
		if path[0] == rootTime {
			operand = "date(" + operand + ")"
		}
		return field + " == " + expressionLiteral(operand)
	case OpSame:
		return field + " == " + operand
	case OpGt, OpGte, OpLt, OpLte:
		left := field
		switch {
		case path[0] == rootTime:
			operand = "date(" + operand + ")"
		case hasInstant(t.Value):
			left, operand = "date("+field+")", "date("+operand+")"
		case t.Value.Kind() == KindNumber:
			left = "float(" + field + ")"
		}
		return grouping(present+left+" "+searchSigns[t.Op]+" "+operand, grouped && present != "")
	case OpIn:
		return field + " in " + expressionLiteral(operand)
	case OpContains, OpStartsWith, OpEndsWith:
		return p.affix(field, t, operand, grouped)
	case OpRegex:
		return field + " matches " + operand
	case OpExist:
		return field + " != nil"
	case OpFilled:
		return grouping(field+" != nil && "+field+` != ""`, grouped)
	}
	return p.cannot("an expression cannot say `" + string(t.Op) + "`")
}

// affix prints a comparison with a part of a text, or with several parts of which one is enough.
func (p *expressionPrinter) affix(field string, t Test, operand string, grouped bool) string {
	operator := map[Op]string{OpContains: " contains ", OpStartsWith: " startsWith ", OpEndsWith: " endsWith "}[t.Op]
	if t.Ref != "" {
		return field + operator + operand
	}
	values, _ := alternativesOf(t)
	var parts []string
	for _, value := range values {
		parts = append(parts, field+operator+value.JSON())
	}
	return grouping(strings.Join(parts, " || "), grouped && len(parts) > 1)
}

func (p *expressionPrinter) reference(ref string) string {
	steps, _ := parseReference(ref)
	var b strings.Builder
	b.WriteString(steps[0].key)
	for _, s := range steps[1:] {
		switch {
		case s.here:
			return p.cannot("an expression for `$index` has to be written by hand, with `#index` inside `any`")
		case s.list:
			b.WriteString("?.[" + strconv.Itoa(s.index) + "]")
		default:
			writeMember(&b, s.key)
		}
	}
	return b.String()
}

// hasInstant reports whether a literal is an RFC 3339 time, which filters compare by instant.
func hasInstant(v Value) bool {
	if v.Kind() == KindList {
		for _, item := range v.Items() {
			if hasInstant(item) {
				return true
			}
		}
		return false
	}
	_, ok := parseInstant(v.Text())
	return ok
}

// expressionLiteral writes a JSON literal as the expression language does; only null has another name there.
func expressionLiteral(json string) string {
	if json == "null" {
		return "nil"
	}
	if strings.HasPrefix(json, "[") {
		var parts []string
		for _, item := range (Value{json}).Items() {
			parts = append(parts, expressionLiteral(item.json))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return json
}

// expressionField writes a path so that a missing field on the way gives nil.
func expressionField(path []string) string {
	var b strings.Builder
	b.WriteString(path[0])
	for _, key := range path[1:] {
		writeMember(&b, key)
	}
	return b.String()
}

func writeMember(b *strings.Builder, key string) {
	if isName(key) {
		b.WriteString("?." + key)
		return
	}
	b.WriteString("?.[" + string(appendQuoted(nil, key)) + "]")
}

// isName reports whether a key can be written without quotes.
func isName(key string) bool {
	for i := 0; i < len(key); i++ {
		c := key[i]
		letter := c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	switch key {
	case "", "in", "not", "and", "or", "matches", "contains", "startsWith", "endsWith", "true", "false", "nil", "let", "if", "else":
		return false
	}
	return true
}
