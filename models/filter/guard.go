package filter

import (
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// allowedFunctions are the functions of the expression language that may be called. All of them are free
// of side effects, give the same answer every time, and take time in proportion to their argument at most.
// What makes or walks through large values (toJSON, repeat, sort, flatten, ...) and what looks at the
// outside (now, timezone) is left out.
var allowedFunctions = []string{
	"all", "any", "one", "none", "filter", "map", "count", "find", "findIndex", "findLast", "findLastIndex",
	"sum", "min", "max", "mean", "len", "first", "last", "get", "take", "keys", "values",
	"lower", "upper", "trim", "trimPrefix", "trimSuffix", "split", "hasPrefix", "hasSuffix", "indexOf", "lastIndexOf",
	"int", "float", "string", "abs", "ceil", "floor", "round", "date", "duration", "type",
}

// allowedMethods are the methods of a time or a duration that may be called.
var allowedMethods = []string{
	"Year", "Month", "Day", "Hour", "Minute", "Second", "YearDay", "Weekday", "Unix", "UnixMilli",
	"Before", "After", "Equal", "Sub", "Add", "UTC", "IsZero", "Hours", "Minutes", "Seconds", "Format",
}

// refusal says what an expression may not contain, and where, in characters from 0.
type refusal struct {
	message string
	offset  int
}

// guard refuses expressions whose cost or outcome nobody could foresee. usesData tells whether the expression
// looks at the payload. objects allows it to make objects.
func guard(root ast.Node, objects bool) (refused *refusal, usesData bool) {
	g := guardian{objects: objects}
	g.walk(root, 0)
	return g.refused, g.usesData
}

type guardian struct {
	objects  bool
	refused  *refusal
	usesData bool
}

func (g *guardian) refuse(n ast.Node, message string) {
	if g.refused == nil {
		g.refused = &refusal{message, n.Location().From}
	}
}

// walk checks a node and everything below it. loops counts the loops around it.
func (g *guardian) walk(n ast.Node, loops int) {
	switch x := n.(type) {
	case nil, *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode, *ast.PointerNode:
	case *ast.IdentifierNode:
		if strings.HasPrefix(x.Value, "$") {
			g.refuse(x, "there are id, topic, time, metadata and data, and no `"+x.Value+"`")
		}
		g.usesData = g.usesData || x.Value == rootData
	case *ast.UnaryNode:
		g.walk(x.Node, loops)
	case *ast.BinaryNode:
		g.binary(x)
		g.walk(x.Left, loops)
		g.walk(x.Right, loops)
	case *ast.ChainNode:
		g.walk(x.Node, loops)
	case *ast.MemberNode:
		g.walk(x.Node, loops)
		g.walk(x.Property, loops)
	case *ast.SliceNode:
		g.walk(x.Node, loops)
		g.walk(x.From, loops)
		g.walk(x.To, loops)
	case *ast.CallNode:
		g.call(x, loops)
	case *ast.BuiltinNode:
		g.function(x, loops)
	case *ast.PredicateNode:
		if loops == maxLoops {
			g.refuse(x, "loops may stand inside each other at most "+strconv.Itoa(maxLoops)+" deep")
		}
		g.walk(x.Node, loops+1)
	case *ast.ConditionalNode:
		g.walk(x.Cond, loops)
		g.walk(x.Exp1, loops)
		g.walk(x.Exp2, loops)
	case *ast.VariableDeclaratorNode:
		g.walk(x.Value, loops)
		g.walk(x.Expr, loops)
	case *ast.ArrayNode:
		for _, element := range x.Nodes {
			g.walk(element, loops)
		}
	case *ast.MapNode:
		if !g.objects {
			g.refuse(x, "a filter is true or false, and makes no objects")
		}
		for _, pair := range x.Pairs {
			g.walk(pair, loops)
		}
	case *ast.PairNode:
		g.walk(x.Key, loops)
		g.walk(x.Value, loops)
	default:
		g.refuse(n, "an expression cannot use this part of the expression language")
	}
}

func (g *guardian) function(x *ast.BuiltinNode, loops int) {
	switch {
	case !slices.Contains(allowedFunctions, x.Name):
		g.refuse(x, "an expression cannot call `"+x.Name+"`; it can call "+strings.Join(allowedFunctions, ", "))
	case x.Name == "date" && len(x.Arguments) > 2:
		g.refuse(x, "an expression calls `date` with a text and at most a layout")
	}
	for _, argument := range x.Arguments {
		g.walk(argument, loops)
	}
}

func (g *guardian) call(x *ast.CallNode, loops int) {
	member, ok := x.Callee.(*ast.MemberNode)
	if !ok {
		g.refuse(x, "there is no such function; an expression can call "+strings.Join(allowedFunctions, ", "))
		return
	}
	name, ok := member.Property.(*ast.StringNode)
	if !ok || !slices.Contains(allowedMethods, name.Value) {
		g.refuse(x, "an expression can call of a time or a duration only "+strings.Join(allowedMethods, ", "))
		return
	}
	if name.Value == "Format" && len(x.Arguments) == 1 {
		if _, written := x.Arguments[0].(*ast.StringNode); !written {
			g.refuse(x, "the layout of `Format` has to be a text in quotes, such as \"2006-01-02\"")
		}
	}
	g.walk(member.Node, loops)
	for _, argument := range x.Arguments {
		g.walk(argument, loops)
	}
}

// maxRange is the longest list that a..b may stand for.
const maxRange = 1000

func (g *guardian) binary(x *ast.BinaryNode) {
	switch x.Operator {
	case "matches":
		pattern, ok := x.Right.(*ast.StringNode)
		if !ok {
			g.refuse(x, "the pattern behind `matches` has to be a text in quotes")
			return
		}
		if _, _, message := compileRegex(pattern.Value); message != "" {
			g.refuse(x, message)
		}
	case "..":
		from, ok1 := wholeNumber(x.Left)
		to, ok2 := wholeNumber(x.Right)
		if !ok1 || !ok2 || to-from >= maxRange {
			g.refuse(x, "on both sides of `..` stands a whole number, and the list has at most "+strconv.Itoa(maxRange)+" elements")
		}
	}
}

// wholeNumber returns the value of an integer as it is written, perhaps with a minus sign.
func wholeNumber(n ast.Node) (int, bool) {
	sign := 1
	if unary, ok := n.(*ast.UnaryNode); ok && unary.Operator == "-" {
		sign, n = -1, unary.Node
	}
	literal, ok := n.(*ast.IntegerNode)
	if !ok || literal.Value > 1<<40 {
		return 0, false
	}
	return sign * literal.Value, true
}
