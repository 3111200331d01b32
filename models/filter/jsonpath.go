package filter

import (
	"strings"
)

// JSONPath returns a predicate in the path language of SQL/JSON (as PostgreSQL's jsonb_path_match takes it, in lax mode)
// that holds for the payload of every event that the filter matches. It holds for others, too: which event matches is
// for Match to say, and the predicate only spares it most of those that do not. ok is false when there is nothing that a
// payload must have.
//
// The predicate takes lists one level deep, as lax mode does. A payload with lists directly inside of lists has to be
// looked at whatever the predicate says.
func (f *Filter) JSONPath() (predicate string, ok bool) {
	if f.IsEmpty() || f.expression != nil {
		return "", false
	}
	predicate = necessary(nil, f.tree)
	return predicate, predicate != ""
}

// necessary returns what must hold for a node below a path, or nothing when that is not known.
func necessary(path []string, n Node) string {
	switch n := n.(type) {
	case And:
		return joinPredicates(path, n, " && ", false)
	case List:
		return joinPredicates(path, n, " && ", false)
	case Or:
		return joinPredicates(path, n, " || ", true)
	case Field:
		return necessary(joinPath(path, n.Path), n.Node)
	case Test:
		if len(path) < 2 || path[0] != rootData {
			return ""
		}
		var b strings.Builder
		b.WriteString("exists($")
		for _, key := range path[1:] {
			b.WriteByte('.')
			b.WriteString(String(key).json)
		}
		if condition := necessaryOf(n); condition != "" {
			b.WriteString(" ? (" + condition + ")")
		}
		b.WriteByte(')')
		return b.String()
	}
	return "" // a negation is true of what is not there
}

// joinPredicates joins what is known of the nodes. all tells that nothing is known unless all of them are.
func joinPredicates[N ~[]Node](path []string, nodes N, operator string, all bool) string {
	var parts []string
	for _, n := range nodes {
		part := necessary(path, n)
		switch {
		case part != "":
			parts = append(parts, part)
		case all:
			return ""
		}
	}
	switch len(parts) {
	case 0:
		return ""
	case 1:
		return parts[0]
	}
	return "(" + strings.Join(parts, operator) + ")"
}

const isText = `@.type() == "string"`

// necessaryOf is what must hold for a value that satisfies a comparison; nothing when it only has to be there.
func necessaryOf(t Test) string {
	if t.Ref != "" || t.Op == OpExist || t.Op == OpFilled {
		return ""
	}
	switch t.Op {
	case OpEq:
		return equalTo(t.Value)
	case OpIn:
		var parts []string
		for _, item := range t.Value.Items() {
			part := equalTo(item)
			if part == "" {
				return ""
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, " || ")
	case OpSame, OpGt, OpGte, OpLt, OpLte:
		if t.Value.Kind() != KindNumber {
			return isText
		}
		operator := map[Op]string{OpSame: "==", OpGt: ">", OpGte: ">=", OpLt: "<", OpLte: "<="}[t.Op]
		return "@ " + operator + " " + t.Value.json + " || " + isText
	case OpStartsWith:
		if t.Value.Kind() == KindString {
			return "@ starts with " + t.Value.json
		}
	}
	return isText
}

// equalTo is what must hold for a value that equals a literal.
func equalTo(v Value) string {
	switch v.Kind() {
	case KindString:
		if _, ok := parseInstant(v.Text()); ok {
			return isText // the same instant can be written in many ways
		}
		return "@ == " + v.json
	case KindNumber, KindBool, KindNull:
		return "@ == " + v.json
	}
	return ""
}
