package filter

import "strings"

// JSON writes the filter as compact JSON notation. An expression is written as {"$expr": "..."}, and the
// empty filter as {}. lossless is false, and the text empty, for the one thing that the notation cannot say:
// a field whose key starts with a dollar sign.
func (f *Filter) JSON() (text string, lossless bool, reason string) {
	switch {
	case f.IsEmpty():
		return "{}", true, ""
	case f.expression != nil:
		return string(append(appendQuoted([]byte(`{"$expr":`), f.expression.source), '}')), true, ""
	}
	p := jsonPrinter{}
	text = writeObject(p.top(f.tree))
	if p.reason != "" {
		return "", false, p.reason
	}
	return text, true, ""
}

type jsonPrinter struct{ reason string }

// pair is one key of an object with its value as JSON.
type pair struct{ key, value string }

func writeObject(pairs []pair) string {
	b := []byte{'{'}
	for i, p := range pairs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, p.key)
		b = append(b, ':')
		b = append(b, p.value...)
	}
	return string(append(b, '}'))
}

func writeList(values []string) string { return "[" + strings.Join(values, ",") + "]" }

// distinct reports whether the pairs can stand in one object.
func distinct(pairs []pair) bool {
	seen := make(map[string]bool, len(pairs))
	for _, p := range pairs {
		if seen[p.key] {
			return false
		}
		seen[p.key] = true
	}
	return true
}

// top prints a node at the top of a tree as the keys of an object.
func (p *jsonPrinter) top(n Node) []pair {
	switch n := n.(type) {
	case And:
		return p.topAnd(n)
	case Or:
		return []pair{{"$or", p.topList(n)}}
	case Not:
		if field, ok := n.Node.(Field); ok && plain(field.Path) {
			return p.field(field.Path, Not{field.Node})
		}
		return []pair{{"$not", writeObject(p.top(n.Node))}}
	case Field:
		return p.field(n.Path, n.Node)
	}
	return nil
}

func (p *jsonPrinter) topList(nodes []Node) string {
	values := make([]string, len(nodes))
	for i, n := range nodes {
		values[i] = writeObject(p.top(n))
	}
	return writeList(values)
}

// topAnd prints the rules of an object. Neighbours that speak of the same field are written as one key if
// they are read as the same rules again: several negations, and one positive condition.
func (p *jsonPrinter) topAnd(nodes And) []pair {
	var pairs []pair
	for i := 0; i < len(nodes); {
		path, together, next := neighbours(nodes, i)
		if len(together) > 1 {
			pairs = append(pairs, p.field(path, and(together))...)
		} else {
			pairs = append(pairs, p.top(nodes[i])...)
		}
		i = next
	}
	if distinct(pairs) {
		return pairs
	}
	return []pair{{"$and", p.topList(nodes)}}
}

// neighbours collects the comparisons from the i-th node on that can be written behind one key.
func neighbours(nodes And, i int) (path []string, together []Node, next int) {
	positive := false
	for next = i; next < len(nodes); next++ {
		n, negated := nodes[next], false
		if negation, ok := n.(Not); ok {
			n, negated = negation.Node, true
		}
		field, ok := n.(Field)
		if !ok || !plain(field.Path) || !onlyTests(field.Node) || !negated && positive ||
			next > i && formatPath(field.Path) != formatPath(path) {
			break
		}
		path = field.Path
		if negated {
			together = append(together, Not{field.Node})
		} else {
			positive = true
			together = append(together, field.Node)
		}
	}
	return path, together, max(next, i+1)
}

func onlyTests(n Node) bool {
	if group, ok := n.(And); ok {
		for _, child := range group {
			if _, ok := child.(Test); !ok {
				return false
			}
		}
		return true
	}
	_, ok := n.(Test)
	return ok
}

// field prints a path and what is asked at its end.
func (p *jsonPrinter) field(path []string, n Node) []pair {
	return []pair{p.nested(shortened(path), n)}
}

func (p *jsonPrinter) nested(path []string, n Node) pair {
	value := p.pattern(n)
	for i := len(path) - 1; i >= 0; i-- {
		if strings.HasPrefix(path[i], "$") {
			p.reason = "the JSON notation cannot name the field `" + formatPath(path) + "`, since `" + path[i] +
				"` would be read as an operator"
		}
		if i > 0 {
			value = writeObject([]pair{{path[i], value}})
		}
	}
	return pair{path[0], value}
}

// pattern prints what a value has to satisfy.
func (p *jsonPrinter) pattern(n Node) string {
	switch n := n.(type) {
	case List:
		return writeList(p.patterns(n))
	case And:
		var pairs []pair
		for _, child := range n {
			if _, ok := child.(List); ok {
				return writeObject([]pair{{"$and", writeList(p.patterns(n))}})
			}
			pairs = append(pairs, p.pairs(child)...)
		}
		if distinct(pairs) {
			return writeObject(pairs)
		}
		return writeObject([]pair{{"$and", writeList(p.patterns(n))}})
	case Test:
		if n.Op == OpEq && n.Ref == "" && n.Value.scalar() {
			return n.Value.JSON()
		}
	}
	return writeObject(p.pairs(n))
}

func (p *jsonPrinter) patterns(nodes []Node) []string {
	values := make([]string, len(nodes))
	for i, n := range nodes {
		values[i] = p.pattern(n)
	}
	return values
}

// pairs prints a pattern as keys that can stand beside others in an object.
func (p *jsonPrinter) pairs(n Node) []pair {
	switch n := n.(type) {
	case Field:
		return []pair{p.nested(n.Path, n.Node)}
	case Or:
		return []pair{{"$or", writeList(p.patterns(n))}}
	case Not:
		return []pair{p.negation(n.Node)}
	case Test:
		operand := n.Value.JSON()
		if n.Ref != "" {
			operand = writeObject([]pair{{"$ref", String(shortReference(n.Ref)).JSON()}})
		}
		switch n.Op {
		case OpExist:
			return []pair{{"$exist", "true"}}
		case OpFilled:
			return []pair{{"$empty", "false"}}
		case OpSame:
			return []pair{{"$gte", operand}, {"$lte", operand}}
		}
		return []pair{{string(n.Op), operand}}
	}
	return nil
}

func (p *jsonPrinter) negation(n Node) pair {
	if t, ok := n.(Test); ok {
		operand := p.pairs(t)[0]
		switch t.Op {
		case OpEq:
			return pair{"$neq", operand.value}
		case OpIn:
			return pair{"$nin", operand.value}
		case OpExist:
			return pair{"$exist", "false"}
		case OpFilled:
			return pair{"$empty", "true"}
		}
	}
	return pair{"$not", p.pattern(n)}
}
