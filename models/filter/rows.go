package filter

import (
	"slices"
	"strconv"
)

// Rules is a filter as a list of rows in plain language, as the filter builder edits it. Groups may stand in
// the list, but not in each other.
type Rules struct {
	// Match says how the rows are joined: GroupAll, GroupAny or GroupNone.
	Match Group `json:"match" doc:"How the rows are joined."`
	// Rules are the rows, in order. No rows at all are the empty filter.
	Rules []Row `json:"rules" doc:"No rows at all are the empty filter."`
}

// Row is one rule, or a group of rules when Group is set.
type Row struct {
	// Group makes the row a group: GroupAll, GroupAny, GroupNone or GroupOne. It is empty for a rule.
	Group Group `json:"group,omitempty" doc:"Makes the row a group."`
	// Field is the path of a field, such as "variants.price" or "topic"; dots and brackets in a key are escaped
	// with a backslash. In a group it is set for GroupOne only, and leads to the list. Inside that group fields
	// are those of the element, and an empty one is the element itself.
	Field string `json:"field,omitempty" doc:"Path of a field, such as 'variants.price'."`
	// Condition is the comparison of a rule.
	Condition Condition `json:"condition,omitempty"`
	// Value is what to compare with, of the type that the condition takes.
	Value Value `json:"value,omitzero" doc:"What to compare with."`
	// Ref is the path of another field to compare with, instead of Value.
	Ref string `json:"ref,omitempty" doc:"Path of another field to compare with, instead of 'value'."`
	// Rules are the rows of a group. None of them is a group.
	Rules []Row `json:"rules,omitempty" doc:"The rows of a group; none of them is a group."`
}

// Group is how the rules of a group are joined.
type Group string

// The groups. In GroupOne, one single element of the list at Field satisfies all the rules.
const (
	GroupAll  Group = "all"
	GroupAny  Group = "any"
	GroupNone Group = "none"
	GroupOne  Group = "one"
)

// Condition is the comparison of a row.
type Condition string

// ConditionInfo describes a condition for the page that offers it.
type ConditionInfo struct {
	// Name is the condition as a Row holds it.
	Name Condition `json:"name"`
	// Words stand between the field and the value: "is at least".
	Words string `json:"words"`
	// Takes is the type of the value: "value" (any scalar), "number", "text", "number or text", "text or list",
	// "list", or "" for none.
	Takes string `json:"takes"`
	// Advanced marks what most people never need.
	Advanced bool `json:"advanced,omitempty"`
	// Reference tells that the condition can also compare with another field.
	Reference bool `json:"reference,omitempty"`

	op      Op
	negated bool
}

// conditionTable lists the conditions. Several negations are left out because a group "none of" says them.
var conditionTable = []ConditionInfo{
	{Name: "equals", Words: "equals", Takes: "value", Reference: true, op: OpEq},
	{Name: "not_equals", Words: "does not equal", Takes: "value", Reference: true, op: OpEq, negated: true},
	{Name: "in", Words: "is one of", Takes: "list", Reference: true, op: OpIn},
	{Name: "not_in", Words: "is none of", Takes: "list", Reference: true, op: OpIn, negated: true},
	{Name: "gt", Words: "is more than", Takes: "number or text", Reference: true, op: OpGt},
	{Name: "gte", Words: "is at least", Takes: "number or text", Reference: true, op: OpGte},
	{Name: "lt", Words: "is less than", Takes: "number or text", Reference: true, op: OpLt},
	{Name: "lte", Words: "is at most", Takes: "number or text", Reference: true, op: OpLte},
	{Name: "same", Words: "is the number", Takes: "number", op: OpSame},
	{Name: "contains", Words: "contains", Takes: "text or list", Reference: true, op: OpContains},
	{Name: "not_contains", Words: "does not contain", Takes: "text or list", Reference: true, op: OpContains, negated: true},
	{Name: "starts_with", Words: "starts with", Takes: "text or list", Reference: true, op: OpStartsWith},
	{Name: "ends_with", Words: "ends with", Takes: "text or list", Reference: true, op: OpEndsWith},
	{Name: "regex", Words: "matches pattern", Takes: "text", Advanced: true, op: OpRegex},
	{Name: "exists", Words: "exists", op: OpExist},
	{Name: "not_exists", Words: "does not exist", op: OpExist, negated: true},
	{Name: "not_empty", Words: "is not empty", op: OpFilled},
	{Name: "empty", Words: "is missing or empty", op: OpFilled, negated: true},
	{Name: "has_all", Words: "has all of", Takes: "list", Advanced: true},
}

// Conditions lists the conditions in the order in which to offer them.
func Conditions() []ConditionInfo { return slices.Clone(conditionTable) }

// hasAll is the one condition that is no comparison of a single value.
const hasAll Condition = "has_all"

// Rows shows the filter as rows. lossless is false when rows cannot show it; reason then says what is in the
// way, and the rows are empty. The empty filter has no rows.
func (f *Filter) Rows() (rules Rules, lossless bool, reason string) {
	none := Rules{Match: GroupAll, Rules: []Row{}}
	switch {
	case f.IsEmpty():
		return none, true, ""
	case f.expression != nil:
		return none, false, reasonExpression
	}
	p := rowPrinter{}
	if rules = p.rules(f.tree); p.reason != "" {
		return none, false, p.reason
	}
	return rules, true, ""
}

type rowPrinter struct{ reason string }

func (p *rowPrinter) cannot(reason string) Row {
	if p.reason == "" {
		p.reason = reason
	}
	return Row{}
}

func (p *rowPrinter) rules(n Node) Rules {
	switch n := n.(type) {
	case And:
		return Rules{GroupAll, p.rows(n)}
	case Or:
		return Rules{GroupAny, p.rows(n)}
	case Not:
		if group, ok := n.Node.(Or); ok {
			return Rules{GroupNone, p.rows(group)}
		}
	}
	return Rules{GroupAll, p.rows([]Node{n})}
}

func (p *rowPrinter) rows(nodes []Node) []Row {
	rows := make([]Row, len(nodes))
	for i, n := range nodes {
		rows[i] = p.row(n)
	}
	return rows
}

// row prints a node that stands in the list.
func (p *rowPrinter) row(n Node) Row {
	switch n := n.(type) {
	case And:
		return Row{Group: GroupAll, Rules: p.simple(n)}
	case Or:
		return Row{Group: GroupAny, Rules: p.simple(n)}
	case Not:
		switch inner := n.Node.(type) {
		case Or:
			return Row{Group: GroupNone, Rules: p.simple(inner)}
		case Field:
			if t, ok := inner.Node.(Test); ok {
				if c := conditionOf(t.Op, true); c != "" {
					return p.rule(shortened(inner.Path), t, c)
				}
			}
			return Row{Group: GroupNone, Rules: p.simple([]Node{inner})}
		}
		return p.cannot("rows cannot show rules that must not all hold at once; they have only \"none of\"")
	case Field:
		return p.field(n)
	}
	return p.cannot("rows cannot show this filter")
}

// simple prints the rows of a group, which may not be groups.
func (p *rowPrinter) simple(nodes []Node) []Row {
	rows := p.rows(nodes)
	for _, row := range rows {
		if row.Group != "" {
			p.cannot("rows cannot show a group inside a group")
		}
	}
	return rows
}

// field prints a rule, or the rules that one element has to satisfy together.
func (p *rowPrinter) field(f Field) Row {
	path := shortened(f.Path)
	switch n := f.Node.(type) {
	case Test:
		return p.rule(path, n, conditionOf(n.Op, false))
	case List:
		return p.hasAll(path, n)
	case And:
		rows := make([]Row, len(n))
		for i, child := range n {
			rows[i] = p.element(child)
		}
		return Row{Group: GroupOne, Field: p.name(path), Rules: rows}
	case Not: // of a field below another one; a list may stand between them
		last := len(f.Path) - 1
		row := p.element(Field{f.Path[last:], n})
		return Row{Group: GroupOne, Field: p.name(shortened(f.Path[:last])), Rules: []Row{row}}
	}
	return p.cannot("rows cannot show what is asked of `" + formatPath(f.Path) + "`")
}

// element prints a rule about an element of a list: about one of its fields, or about itself.
func (p *rowPrinter) element(n Node) Row {
	var path []string
	if field, ok := n.(Field); ok {
		path, n = field.Path, field.Node
	}
	switch n := n.(type) {
	case Test:
		return p.rule(path, n, conditionOf(n.Op, false))
	case List:
		if path != nil {
			return p.hasAll(path, n)
		}
	case Not:
		if t, ok := n.Node.(Test); ok {
			if c := conditionOf(t.Op, true); c != "" {
				return p.rule(path, t, c)
			}
		}
	}
	return p.cannot("rows cannot show a group inside the rules for one element")
}

func (p *rowPrinter) rule(path []string, t Test, c Condition) Row {
	row := Row{Field: p.name(path), Condition: c, Value: t.Value}
	if t.Ref != "" {
		row.Ref = shortReference(t.Ref)
	}
	return row
}

func (p *rowPrinter) hasAll(path []string, patterns List) Row {
	var values []Value
	for _, pattern := range patterns {
		t, ok := pattern.(Test)
		if !ok || t.Op != OpEq || t.Ref != "" || !t.Value.scalar() {
			return p.cannot("rows can show \"has all of\" only for plain values")
		}
		values = append(values, t.Value)
	}
	return Row{Field: p.name(path), Condition: hasAll, Value: Values(values...)}
}

// name writes a path so that it can be read again.
func (p *rowPrinter) name(path []string) string {
	text := formatPath(path)
	if again, message := parsePath(text); len(path) > 0 && (message != "" || !slices.Equal(again, path)) {
		p.cannot("rows cannot name a field with an empty key")
	}
	return text
}

// conditionOf returns the condition for a comparison, or "" when there is none.
func conditionOf(op Op, negated bool) Condition {
	for _, c := range conditionTable {
		if c.op == op && c.negated == negated {
			return c.Name
		}
	}
	return ""
}

// FromRules makes a filter of rows. The error is an [*Error] whose path leads to the row and its part, such
// as "rules[0].rules[2].value".
func FromRules(rules Rules) (*Filter, error) {
	if len(rules.Rules) == 0 {
		return &Filter{notation: NotationJSON}, nil
	}
	tree, err := groupNode(rules.Match, rules.Rules, "", rowNode)
	if err != nil {
		return nil, err
	}
	return New(tree)
}

// Check returns what is wrong with a row by itself, or nil. It lets a page try the finished rows of a filter
// whose other rows are still being typed. The error is an [*Error] with a path below the row.
func (r Row) Check() error {
	_, err := FromRules(Rules{GroupAll, []Row{r}})
	return err
}

func groupNode(match Group, rows []Row, path string, read func(Row, string) (Node, error)) (Node, error) {
	if len(rows) == 0 {
		return nil, &Error{Message: "the group has no rules; add one, or remove the group", Path: path + "rules"}
	}
	nodes := make([]Node, len(rows))
	for i, row := range rows {
		var err error
		if nodes[i], err = read(row, path+"rules["+strconv.Itoa(i)+"]."); err != nil {
			return nil, err
		}
	}
	switch match {
	case GroupAll, GroupOne:
		return And(nodes), nil
	case GroupAny:
		return Or(nodes), nil
	case GroupNone:
		return Not{Or(nodes)}, nil
	}
	return nil, &Error{Message: "a group is joined by all, any or none", Path: path + "match"}
}

// rowNode reads a row of the list.
func rowNode(r Row, path string) (Node, error) {
	switch r.Group {
	case "":
		return ruleNode(r, path, false)
	case GroupOne:
		field, message := parsePath(r.Field)
		if message != "" {
			return nil, &Error{Message: "choose the list: " + message, Path: path + "field"}
		}
		group, err := groupNode(r.Group, r.Rules, path, func(r Row, path string) (Node, error) { return ruleNode(r, path, true) })
		return Field{rooted(field), group}, err
	}
	return groupNode(r.Group, r.Rules, path, func(r Row, path string) (Node, error) { return ruleNode(r, path, false) })
}

// ruleNode reads a rule. element tells that it speaks of an element of a list.
func ruleNode(r Row, path string, element bool) (Node, error) {
	if r.Group != "" {
		return nil, &Error{Message: "a group cannot stand inside another group", Path: path + "group"}
	}
	i := slices.IndexFunc(conditionTable, func(c ConditionInfo) bool { return c.Name == r.Condition })
	if i < 0 {
		return nil, &Error{Message: "choose a condition", Path: path + "condition"}
	}
	condition := conditionTable[i]
	var field []string
	if r.Field != "" || !element {
		var message string
		if field, message = parsePath(r.Field); message != "" {
			return nil, &Error{Message: "choose a field: " + message, Path: path + "field"}
		}
		if !element {
			field = rooted(field)
		}
	}
	test, err := rowTest(r, condition, path)
	switch {
	case err != nil:
		return nil, err
	case !condition.negated && field == nil:
		return test, nil
	case !condition.negated:
		return Field{field, test}, nil
	case field == nil:
		return Not{test}, nil
	case element:
		return Field{field, Not{test}}, nil
	}
	return Not{Field{field, test}}, nil // of the whole list, should the field be in one
}

// rowTest reads the comparison of a rule.
func rowTest(r Row, condition ConditionInfo, path string) (Node, error) {
	if condition.Name == hasAll {
		items := r.Value.Items()
		var patterns List
		for _, item := range items {
			if !item.scalar() {
				return nil, &Error{Message: "\"has all of\" takes plain values", Path: path + "value"}
			}
			patterns = append(patterns, Test{Op: OpEq, Value: item})
		}
		if len(patterns) == 0 {
			return nil, &Error{Message: "\"has all of\" needs a list of values", Path: path + "value"}
		}
		return patterns, nil
	}
	test := Test{Op: condition.op, Value: r.Value}
	if condition.Takes == "" {
		test.Value = Value{} // a form sends the value field of every row, also of one that takes none
	}
	if r.Ref != "" {
		steps, message := parseReference(r.Ref)
		if message != "" {
			return nil, &Error{Message: message, Path: path + "ref"}
		}
		test.Ref = formatReference(steps, false)
	}
	if message := checkTest(test); message != "" {
		return nil, &Error{Message: "\"" + condition.Words + "\": " + message, Path: path + "value"}
	}
	return test, nil
}
