package filter

import "slices"

// normalize brings a tree into the canonical form, so that notations that say the same thing in the same
// way also give the same tree. It changes no meaning. What it does:
//
//   - And in And, Or in Or and groups of one are dissolved.
//   - A field below a field becomes one field with a longer path.
//   - At the top, boolean groups stand outside fields wherever lists allow it: alternatives always do, negations
//     and their neighbours do when no list can stand above the last key, and the keys of a root always do.
//   - Alternatives for the same field become one test with a list: equality becomes OpIn.
//   - "At least 10 and at most 10" becomes OpSame, which is how the JSON notation writes it.
//
// It is idempotent. The tree handed in is not changed.
func normalize(n Node) Node {
	switch n := n.(type) {
	case And:
		return and(mapNodes(n, normalize))
	case Or:
		return or(mapNodes(n, normalize))
	case Not:
		return not(normalize(n.Node))
	case Field:
		return hoist(rooted(n.Path), normalizePattern(n.Node))
	}
	return n
}

// hoist builds a Field at the top of the tree, with the groups that may stand outside it outside. body is
// normalized already.
func hoist(path []string, body Node) Node {
	switch body := body.(type) {
	case Field:
		return hoist(joinPath(path, body.Path), body.Node)
	case Or:
		alternatives := make([]Node, len(body))
		for i, child := range body {
			alternatives[i] = hoist(path, child)
		}
		return or(alternatives)
	case Not:
		if plain(path) {
			return not(hoist(path, body.Node))
		}
	case And:
		if plain(path) {
			return hoistAnd(path, body)
		}
	}
	return Field{path, body}
}

// hoistAnd takes out of an And what need not hold for the same element as the rest. That is every negation,
// since it speaks of the whole list, and at a root every key, since a document is not an element of a list.
func hoistAnd(path []string, body And) Node {
	var parts, together []Node
	first := -1
	for _, child := range body {
		joint := true
		switch child.(type) {
		case Not:
			joint = false
		case Field, And, Or:
			joint = len(path) > 1
		}
		if !joint {
			parts = append(parts, hoist(path, child))
			continue
		}
		if first < 0 {
			first = len(parts)
			parts = append(parts, nil) // a place for all of them, filled in below
		}
		together = append(together, child)
	}
	if first >= 0 {
		if joined := and(together); len(together) == len(body) {
			parts[first] = Field{path, joined}
		} else {
			parts[first] = hoist(path, joined)
		}
	}
	return and(parts)
}

// normalizePattern is normalize below a field, where a list may be met and nothing can move outwards.
func normalizePattern(n Node) Node {
	switch n := n.(type) {
	case And:
		return and(mapNodes(n, normalizePattern))
	case Or:
		return or(mapNodes(n, normalizePattern))
	case List:
		return List(mapNodes(n, normalizePattern))
	case Not:
		return Not{normalizePattern(n.Node)}
	case Field:
		body := normalizePattern(n.Node)
		if inner, ok := body.(Field); ok {
			return Field{joinPath(n.Path, inner.Path), inner.Node}
		}
		return Field{n.Path, body}
	case Test:
		return simplest(n)
	}
	return n
}

// simplest writes a list of one alternative without the list.
func simplest(t Test) Test {
	switch t.Op {
	case OpIn, OpContains, OpStartsWith, OpEndsWith:
		if items := t.Value.Items(); len(items) == 1 && items[0].scalar() {
			t.Value = items[0]
			if t.Op == OpIn {
				t.Op = OpEq
			}
		}
	}
	return t
}

func mapNodes(nodes []Node, f func(Node) Node) []Node {
	mapped := make([]Node, len(nodes))
	for i, n := range nodes {
		mapped[i] = f(n)
	}
	return mapped
}

// not negates a normalized node at the top of the tree. Below a field a double negation has to stay: it says
// that some element of the whole list does, and no longer that this one does.
func not(n Node) Node {
	if twice, ok := n.(Not); ok {
		return twice.Node
	}
	return Not{n}
}

// and joins normalized nodes.
func and(nodes []Node) Node {
	var flat And
	for _, n := range nodes {
		if inner, ok := n.(And); ok {
			flat = append(flat, inner...)
		} else {
			flat = append(flat, n)
		}
	}
	flat = same(flat)
	if len(flat) == 1 {
		return flat[0]
	}
	return flat
}

// same replaces each pair of "at least n" and "at most n" with OpSame.
func same(nodes And) And {
	for i := 0; i < len(nodes); i++ {
		low, ok := nodes[i].(Test)
		if !ok || low.Op != OpGte && low.Op != OpLte || low.Value.Kind() != KindNumber {
			continue
		}
		wanted := Test{Op: OpLte, Value: low.Value}
		if low.Op == OpLte {
			wanted.Op = OpGte
		}
		for j := i + 1; j < len(nodes); j++ {
			if high, ok := nodes[j].(Test); ok && high == wanted {
				nodes[i] = Test{Op: OpSame, Value: low.Value}
				nodes = append(nodes[:j], nodes[j+1:]...)
				break
			}
		}
	}
	return nodes
}

// or joins normalized nodes.
func or(nodes []Node) Node {
	var flat Or
	for _, n := range nodes {
		if inner, ok := n.(Or); ok {
			flat = append(flat, inner...)
		} else {
			flat = append(flat, n)
		}
	}
	if len(flat) == 1 {
		return flat[0]
	}
	if merged, ok := merge(flat); ok {
		return merged
	}
	return flat
}

// merge makes one test of alternatives that ask the same of the same field. All of them have to take part,
// so that no alternative changes its place.
func merge(nodes Or) (Node, bool) {
	var path []string
	var op Op
	var values []Value
	for i, n := range nodes {
		field, isField := n.(Field)
		if isField {
			n = field.Node
		}
		t, ok := n.(Test)
		if !ok || t.Ref != "" {
			return nil, false
		}
		alternatives, mergeable := alternativesOf(t)
		if t.Op == OpEq {
			t.Op = OpIn
		}
		if i == 0 {
			path, op = field.Path, t.Op
		}
		if !mergeable || t.Op != op || !slices.Equal(path, field.Path) {
			return nil, false
		}
		values = append(values, alternatives...)
	}
	var merged Node = simplest(Test{Op: op, Value: Values(values...)})
	if path != nil {
		merged = Field{path, merged}
	}
	return merged, true
}

// alternativesOf returns the values of a test that is met by any one of them.
func alternativesOf(t Test) ([]Value, bool) {
	switch t.Op {
	case OpEq:
		return []Value{t.Value}, t.Value.scalar()
	case OpIn:
		return t.Value.Items(), t.Value.Kind() == KindList
	case OpContains, OpStartsWith, OpEndsWith:
		if t.Value.Kind() == KindList {
			return t.Value.Items(), true
		}
		return []Value{t.Value}, true
	}
	return nil, false
}
