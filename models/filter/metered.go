package filter

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm/runtime"
)

// The expression language can be asked to do an unbounded amount of work by a short text: loops over loops,
// texts that double at every +, lists that hold themselves many times over and are then compared. metered
// rewrites a program so that each turn of a loop, and each operation whose cost is not bounded by the size of
// the payload, is charged to the clock of the run.

// The names of the functions that replace operations. Nobody can write a name with a space in it.
const (
	meteredTick    = " tick"
	meteredAdd     = " add"
	meteredEqual   = " equal"
	meteredIn      = " in"
	meteredMatches = " matches"
	meteredString  = " string"
	meteredNumbers = " numbers"
	meteredKeys    = " keys"
	meteredValues  = " values"
)

// pattern is a compiled pattern with what it costs to look at one byte.
type pattern struct {
	*regexp.Regexp
	size int
}

// metered returns the options that make a program charge its work.
func metered() []expr.Option {
	two := new(func(*clock, any, any) bool)
	return []expr.Option{
		expr.Patch(meteringVisitor{}),
		expr.Function(meteredTick, tick, new(func(*clock) bool)),
		expr.Function(meteredAdd, add, new(func(*clock, any, any) any)),
		expr.Function(meteredEqual, equalAny, two),
		expr.Function(meteredIn, inAny, two),
		expr.Function(meteredMatches, matches, two),
		expr.Function(meteredString, text, new(func(*clock, any) string)),
		expr.Function(meteredNumbers, numbers, new(func(*clock, string, ...any) any)),
		expr.Function(meteredKeys, keysOf, new(func(*clock, any) []any)),
		expr.Function(meteredValues, valuesOf, new(func(*clock, any) []any)),
	}
}

// meteringVisitor replaces nodes from the leaves upwards.
type meteringVisitor struct{}

// Visit implements [ast.Visitor].
func (meteringVisitor) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.PredicateNode:
		n.Node = &ast.SequenceNode{Nodes: []ast.Node{call(meteredTick), n.Node}}
	case *ast.BinaryNode:
		switch n.Operator {
		case "+":
			if !isNumber(n.Left) || !isNumber(n.Right) {
				ast.Patch(node, call(meteredAdd, n.Left, n.Right))
			}
		case "==", "!=":
			if isScalar(n.Left) || isScalar(n.Right) {
				return
			}
			var compared ast.Node = call(meteredEqual, n.Left, n.Right)
			if n.Operator == "!=" {
				compared = &ast.UnaryNode{Operator: "!", Node: compared}
			}
			ast.Patch(node, compared)
		case "in":
			if !isLiteralList(n.Right) {
				ast.Patch(node, call(meteredIn, n.Left, n.Right))
			}
		case "matches":
			source, ok := n.Right.(*ast.StringNode)
			if !ok {
				return // the guard has refused it
			}
			re, size, _ := compileRegex(source.Value)
			ast.Patch(node, call(meteredMatches, n.Left, &ast.ConstantNode{Value: &pattern{re, size}}))
		}
	case *ast.BuiltinNode:
		switch n.Name {
		case "string":
			ast.Patch(node, call(meteredString, n.Arguments...))
		case "keys":
			ast.Patch(node, call(meteredKeys, n.Arguments...))
		case "values":
			ast.Patch(node, call(meteredValues, n.Arguments...))
		case "sum", "min", "max", "mean":
			arguments := n.Arguments
			if len(arguments) == 2 {
				if _, ok := arguments[1].(*ast.PredicateNode); ok {
					arguments = []ast.Node{&ast.BuiltinNode{Name: "map", Arguments: arguments}}
				}
			}
			ast.Patch(node, call(meteredNumbers, append([]ast.Node{&ast.StringNode{Value: n.Name}}, arguments...)...))
		}
	}
}

// call makes a call of one of our functions, with the clock as its first argument.
func call(name string, arguments ...ast.Node) ast.Node {
	return &ast.CallNode{
		Callee:    &ast.IdentifierNode{Value: name},
		Arguments: append([]ast.Node{&ast.IdentifierNode{Value: clockName}}, arguments...),
	}
}

// isNumber and isScalar go by the type that is known before the run; what comes out of data is not.
func isNumber(n ast.Node) bool {
	switch n.Type().Kind() {
	case reflect.Int, reflect.Float64:
		return true
	}
	return false
}

func isScalar(n ast.Node) bool {
	switch n.(type) {
	case *ast.NilNode, *ast.BoolNode, *ast.StringNode, *ast.IntegerNode, *ast.FloatNode:
		return true
	}
	switch n.Type().Kind() {
	case reflect.Int, reflect.Float64, reflect.String, reflect.Bool:
		return true
	}
	return false
}

// isLiteralList recognizes a list of scalars, and a range, for which membership is cheap.
func isLiteralList(n ast.Node) bool {
	if list, ok := n.(*ast.ArrayNode); ok {
		for _, element := range list.Nodes {
			if !isScalar(element) {
				return false
			}
		}
		return true
	}
	binary, ok := n.(*ast.BinaryNode)
	return ok && binary.Operator == ".."
}

// tickUnits is the price of one turn of a loop.
const tickUnits = 20

// tick charges one turn of a loop.
func tick(params ...any) (any, error) {
	c := params[0].(*clock)
	if !c.charge(tickUnits) {
		return nil, c.failed
	}
	if c.ticks++; c.ticks%8 == 0 && time.Now().After(c.deadline) {
		return nil, errTooMuchWork
	}
	return true, nil
}

// add is +, with texts charged by their length.
func add(params ...any) (any, error) {
	c, a, b := params[0].(*clock), params[1], params[2]
	x, ok1 := a.(string)
	y, ok2 := b.(string)
	if !ok1 || !ok2 {
		return runtime.Add(a, b), nil
	}
	if !c.charge((len(x) + len(y)) / 8) {
		return nil, c.failed
	}
	return x + y, nil
}

// equalAny is == between values of unknown type.
func equalAny(params ...any) (any, error) {
	c := params[0].(*clock)
	same := c.equal(params[1], params[2])
	return same, c.failed
}

func (c *clock) equal(a, b any) bool {
	if !c.charge(1) {
		return false
	}
	switch x := a.(type) {
	case []any:
		y, ok := b.([]any)
		if !ok {
			return runtime.Equal(a, b)
		}
		if len(x) != len(y) {
			return false
		}
		for i := range x {
			if !c.equal(x[i], y[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for key := range x {
			other, ok := y[key]
			if !ok || !c.equal(x[key], other) {
				return false
			}
		}
		return true
	}
	return runtime.Equal(a, b)
}

// inAny is the operator in.
func inAny(params ...any) (any, error) {
	c := params[0].(*clock)
	list, ok := params[2].([]any)
	if !ok {
		return runtime.In(params[1], params[2]), nil
	}
	for _, element := range list {
		if c.equal(element, params[1]) {
			return true, nil
		}
	}
	return false, c.failed
}

// matches is the operator of that name.
func matches(params ...any) (any, error) {
	c, p := params[0].(*clock), params[2].(*pattern)
	s, ok := params[1].(string)
	if !ok {
		if params[1] == nil {
			return false, nil
		}
		return nil, errors.New("`matches` needs a text on its left, not " + typeWord(params[1]))
	}
	if !c.charge(p.size * len(s) / 2) {
		return nil, c.failed
	}
	return p.MatchString(s), nil
}

// text is string(), for everything but lists and objects.
func text(params ...any) (any, error) {
	switch reflect.ValueOf(params[1]).Kind() {
	case reflect.Slice, reflect.Map, reflect.Func:
		return nil, errors.New("`string` needs a text, a number, a time, true or false, not " + typeWord(params[1]))
	}
	if s, ok := params[1].(string); ok {
		return s, nil
	}
	return fmt.Sprint(params[1]), nil
}

// numbers is sum, min, max and mean of a list of numbers, or of several numbers.
func numbers(params ...any) (any, error) {
	c, name := params[0].(*clock), params[1].(string)
	list := params[2:]
	if len(list) == 1 {
		switch only := list[0].(type) {
		case []any:
			list = only
		case []int:
			list = make([]any, len(only))
			for i, n := range only {
				list[i] = n
			}
		}
	}
	if !c.charge(len(list)) {
		return nil, c.failed
	}
	var result any = 0
	if name != "sum" && len(list) == 0 {
		return nil, errors.New("`" + name + "` needs at least one number")
	}
	for i, n := range list {
		switch n.(type) {
		case int, float64:
		default:
			return nil, errors.New("`" + name + "` needs numbers, not " + typeWord(n))
		}
		switch {
		case i == 0:
			result = n
		case name == "min" && runtime.Less(n, result), name == "max" && runtime.More(n, result):
			result = n
		case name == "sum" || name == "mean":
			result = runtime.Add(result, n)
		}
	}
	if name == "mean" {
		return runtime.Divide(result, len(list)), nil
	}
	return result, nil
}

// keysOf lists the keys of an object in the order of the alphabet, so that an expression gives the same every time.
func keysOf(params ...any) (any, error) {
	c := params[0].(*clock)
	var names []string
	switch object := params[1].(type) {
	case map[string]any:
		names = slices.Sorted(maps.Keys(object))
	case map[string]string:
		names = slices.Sorted(maps.Keys(object))
	default:
		return nil, errors.New("`keys` and `values` need an object, not " + typeWord(params[1]))
	}
	if !c.charge(tickUnits * len(names)) {
		return nil, c.failed
	}
	list := make([]any, len(names))
	for i, name := range names {
		list[i] = name
	}
	return list, nil
}

// valuesOf lists the values of an object in the order of its keys.
func valuesOf(params ...any) (any, error) {
	list, err := keysOf(params...)
	if err != nil {
		return nil, err
	}
	names := list.([]any)
	for i, name := range names {
		switch object := params[1].(type) {
		case map[string]any:
			names[i] = object[name.(string)]
		case map[string]string:
			names[i] = object[name.(string)]
		}
	}
	return names, nil
}
