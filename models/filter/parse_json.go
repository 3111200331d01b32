package filter

import (
	"strconv"
	"strings"
)

// parseJSON reads an object in the JSON notation.
func parseJSON(t *tape, root at) (Node, error) {
	p := jsonParser{tape: t}
	tree := p.object(root, true)
	if p.err != nil {
		return nil, p.err
	}
	return tree, nil
}

type jsonParser struct {
	*tape
	path []string
	err  *Error
}

// fail records the first mistake. It returns a nil Node for the caller to return.
func (p *jsonParser) fail(message string) Node {
	if p.err == nil {
		p.err = &Error{Message: message, Path: joinJSONPath(p.path)}
	}
	return nil
}

// joinJSONPath writes where in the JSON a mistake is: keys with dots between them, places in lists in brackets.
func joinJSONPath(parts []string) string {
	var b strings.Builder
	for i, part := range parts {
		if i > 0 && part[0] != '[' {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}

func (p *jsonParser) in(key string, read func() Node) Node {
	if len(p.path) > 10*maxNesting {
		return p.fail("the filter is nested too deep")
	}
	if key == "" {
		key = `""`
	}
	p.path = append(p.path, key)
	n := read()
	p.path = p.path[:len(p.path)-1]
	return n
}

// pattern reads what a value has to satisfy: a literal, a list of patterns, or an object.
func (p *jsonParser) pattern(i at) Node {
	switch p.items[i].kind {
	case kindObject:
		return p.object(i, false)
	case kindList:
		return List(p.list(i, "an empty list matches nothing in particular; write {\"$eq\": []} for an empty list, or {\"$exist\": true}",
			p.pattern))
	}
	return Test{Op: OpEq, Value: p.value(i)}
}

func (p *jsonParser) list(i at, whenEmpty string, read func(at) Node) []Node {
	if p.items[i].bits == 0 {
		p.fail(whenEmpty)
		return nil
	}
	var nodes []Node
	for e := i + 1; e < p.items[i].end && p.err == nil; e = p.items[e].end {
		nodes = append(nodes, p.in("["+strconv.Itoa(len(nodes))+"]", func() Node { return read(e) }))
	}
	return nodes
}

// object reads an object of fields and operators, all of which must hold. top is set for the outermost one
// and for its $and, $or and $not, where keys are the first parts of paths and nothing is compared yet.
func (p *jsonParser) object(i at, top bool) Node {
	if p.items[i].kind != kindObject {
		return p.fail("an object with fields is needed here, such as {\"status\": \"paid\"}")
	}
	if p.items[i].bits == 0 {
		return p.fail("an empty object says nothing; write {\"$exist\": true} to ask that the field is there")
	}
	var all And
	for k := i + 1; k < p.items[i].end && p.err == nil; k = p.items[k+1].end {
		key := p.items[k].text
		all = append(all, p.in(key, func() Node {
			if p.get(i, key) != k+1 {
				return p.fail("the key stands twice in the same object, and one of the two would be ignored; put both into $and")
			}
			switch {
			case strings.HasPrefix(key, "$"):
				return p.operator(key, k+1, top)
			case top:
				return Field{rooted([]string{key}), p.pattern(k + 1)}
			}
			return Field{[]string{key}, p.pattern(k + 1)}
		}))
	}
	if len(all) == 1 {
		return all[0]
	}
	return all
}

func (p *jsonParser) operator(key string, i at, top bool) Node {
	group := p.pattern
	if top {
		group = func(i at) Node { return p.object(i, true) }
	}
	switch key {
	case "$and", "$or":
		if p.items[i].kind != kindList {
			return p.fail("`" + key + "` needs a list, such as [{\"status\": \"paid\"}, {\"total\": {\"$gte\": 10}}]")
		}
		nodes := p.list(i, "`"+key+"` needs at least one condition in its list", group)
		if key == "$and" {
			return And(nodes)
		}
		return Or(nodes)
	case "$not":
		return Not{group(i)}
	case "$expr":
		return p.fail("an expression cannot be mixed with other rules; it is the whole filter: {\"$expr\": \"...\"}")
	}
	if !isOperator(key) {
		return p.fail(unknownOperator(key))
	}
	if top {
		return p.fail(needsField)
	}
	return p.comparison(key, i)
}

func (p *jsonParser) comparison(key string, i at) Node {
	switch key {
	case "$neq":
		return Not{p.operand(key, OpEq, i)}
	case "$in":
		return p.membership(key, i)
	case "$nin":
		return Not{p.membership(key, i)}
	case "$exist", "$empty":
		asked := p.items[i].kind
		if asked != kindTrue && asked != kindFalse {
			return p.fail("`" + key + "` needs true or false")
		}
		switch {
		case key == "$exist" && asked == kindTrue:
			return Test{Op: OpExist}
		case key == "$exist":
			return Not{Test{Op: OpExist}}
		case asked == kindFalse:
			return Test{Op: OpFilled}
		}
		return Not{Test{Op: OpFilled}}
	case "$ref":
		return p.reference(OpEq, i)
	}
	return p.operand(key, Op(key), i)
}

// membership reads $in and $nin. With a text they look for a substring, kept for compatibility.
func (p *jsonParser) membership(key string, i at) Node {
	if p.items[i].kind == kindText {
		return Test{Op: OpContains, Value: p.value(i)}
	}
	return p.operand(key, OpIn, i)
}

// operand reads the right side of a comparison: a literal, or {"$ref": "path"}.
func (p *jsonParser) operand(key string, op Op, i at) Node {
	if p.items[i].kind == kindObject {
		if ref := p.get(i, "$ref"); ref != missing {
			if p.items[i].bits > 1 {
				return p.fail("{\"$ref\": \"...\"} stands alone")
			}
			return p.in("$ref", func() Node { return p.reference(op, ref) })
		}
	}
	if dollar := p.dollarKey(i); dollar != "" {
		return p.fail("`" + dollar + "` cannot stand inside the value of `" + key +
			"`; only {\"$ref\": \"other_field\"} can, as the whole value")
	}
	test := Test{Op: op, Value: p.value(i)}
	if message := checkTest(test); message != "" {
		if key == "$nin" {
			message = strings.Replace(message, "`$in`", "`$nin`", 1)
		}
		return p.fail(message)
	}
	return test
}

func (p *jsonParser) reference(op Op, i at) Node {
	if p.items[i].kind != kindText {
		return p.fail("`$ref` needs the path of a field as a text, such as \"created_at\"")
	}
	steps, message := parseReference(p.items[i].text)
	if message != "" {
		return p.fail(message)
	}
	test := Test{Op: op, Ref: formatReference(steps, false)}
	if message := checkReference(test, "`"+string(op)+"`"); message != "" {
		return p.fail(message)
	}
	return test
}

// dollarKey returns the first key that starts with a dollar sign in a literal. Such a key is a mistake: the
// writer meant an operator, and comparing with it as text would quietly never match.
func (p *jsonParser) dollarKey(i at) string {
	end := p.items[i].end
	for ; i < end; i++ {
		if p.items[i].kind != kindObject {
			continue
		}
		for k := p.items[i].last; k >= 0; k = p.items[k].last {
			if key := p.items[k].text; strings.HasPrefix(key, "$") {
				return key
			}
		}
	}
	return ""
}

// operators are those of the JSON notation, in the order in which error messages list them.
var operators = []string{
	"$eq", "$neq", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$contains", "$startsWith", "$endsWith",
	"$regex", "$exist", "$empty", "$ref", "$and", "$or", "$not",
}

func isOperator(key string) bool {
	for _, known := range operators {
		if key == known {
			return true
		}
	}
	return false
}

// meant are operators of other filter languages, with ours.
var meant = map[string]string{
	"$ne": "$neq", "$equals": "$eq", "$exists": "$exist", "$regexp": "$regex", "$match": "$regex", "$matches": "$regex",
	"$like": "$contains", "$includes": "$contains", "$substring": "$contains", "$notin": "$nin",
	"$prefix": "$startsWith", "$beginsWith": "$startsWith", "$suffix": "$endsWith", "$any": "$or", "$nor": "$not",
}

func unknownOperator(key string) string {
	message := "there is no operator `" + key + "`"
	suggestion := meant[key]
	for _, known := range operators {
		if suggestion == "" && strings.EqualFold(strings.ReplaceAll(key, "_", ""), known) {
			suggestion = known
		}
	}
	if suggestion != "" {
		return message + "; did you mean `" + suggestion + "`?"
	}
	return message + "; there are " + strings.Join(operators, " ")
}
