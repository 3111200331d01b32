package filter

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// Limits of an expression. The language itself bounds only memory; what keeps the time in bounds is the
// guard, which see.
const (
	// maxNodes bounds the parts of an expression.
	maxNodes = 500
	// maxLoops is how many loops may stand inside each other.
	maxLoops = 2
	// maxMemory bounds the elements of the lists that a run makes.
	maxMemory = 100_000
	// maxTime stops a run that the count of its steps did not stop. Running into it depends on the machine, so
	// that it is set far above what the steps allow.
	maxTime = 250 * time.Millisecond
)

// expression is a compiled {"$expr": "..."}. It is immutable.
type expression struct {
	source  string
	program *vm.Program
	// usesData tells whether the payload has to be decoded for it.
	usesData bool
}

// environment is what one document offers to expressions. It lives as long as the document.
type environment struct {
	values map[string]any
	vm     vm.VM
	clock  clock
}

// clock bounds one run of an expression, in steps and, as a last resort, in time.
type clock struct {
	meter
	ticks    int
	deadline time.Time
}

// clockName is the name of the clock among the values. Nobody can write a name with a space in it.
const clockName = " clock"

func expressionTypes() types.Map {
	return types.Map{
		rootID:       types.String,
		rootTopic:    types.String,
		rootTime:     types.TypeOf(time.Time{}),
		rootMetadata: types.TypeOf(map[string]string{}),
		rootData:     types.Any,
		clockName:    types.TypeOf((*clock)(nil)),
	}
}

// ParseExpression reads the text of an expression. The error is an [*Error] whose line and column count in
// the text. An expression is never empty; use [Parse] for a filter that may be.
func ParseExpression(source string) (*Filter, error) {
	if err := checkText(source); err != nil {
		return nil, err
	}
	if strings.TrimSpace(source) == "" {
		return nil, &Error{Message: "the expression is empty; it has to be true or false, as in `data.total >= 10`"}
	}
	compiled, err := compileExpression(source, false, expr.AsBool())
	if err != nil {
		return nil, err
	}
	return &Filter{notation: NotationExpression, expression: compiled}, nil
}

// compileExpression reads an expression; more says what it has to give. objects allows it to make objects.
func compileExpression(source string, objects bool, more ...expr.Option) (*expression, error) {
	options := append([]expr.Option{expr.Env(expressionTypes()), expr.MaxNodes(maxNodes)}, more...)
	config := conf.CreateNew()
	for _, option := range options {
		option(config)
	}
	tree, err := parser.ParseWithConfig(source, config)
	if err != nil {
		return nil, expressionError(err)
	}
	refused, usesData := guard(tree.Node, objects)
	if refused != nil {
		line, column := position(source, byteOffset(source, refused.offset))
		return nil, &Error{Message: refused.message, Line: line, Column: column}
	}
	// Two compilations: the first one its type errors, which speak of the expression as it was written.
	if _, err := expr.Compile(source, options...); err != nil {
		return nil, expressionError(err)
	}
	program, err := expr.Compile(source, append(options, metered()...)...)
	if err != nil {
		return nil, expressionError(err)
	}
	return &expression{source: source, program: program, usesData: usesData}, nil
}

// Expression returns the text of an expression, and nothing for the other notations.
func (f *Filter) Expression() string {
	if f == nil || f.expression == nil {
		return ""
	}
	return f.expression.source
}

func parseStoredExpression(t *tape, root, source at) (*Filter, error) {
	switch {
	case t.items[root].bits > 1:
		return nil, &Error{Message: "an expression cannot be mixed with other rules; it is the whole filter: {\"$expr\": \"...\"}",
			Path: "$expr"}
	case t.items[source].kind != kindText:
		return nil, &Error{Message: "an expression is a text, as in {\"$expr\": \"data.total >= 10\"}", Path: "$expr"}
	}
	f, err := ParseExpression(t.items[source].text)
	var wrong *Error
	if errors.As(err, &wrong) {
		wrong.Path = "$expr"
	}
	return f, err
}

// byteOffset turns a count of characters into one of bytes.
func byteOffset(s string, characters int) int {
	for i := range s {
		if characters == 0 {
			return i
		}
		characters--
	}
	return len(s)
}

// expressionError turns an error of the expression language into ours.
func expressionError(err error) *Error {
	var at *file.Error
	if !errors.As(err, &at) {
		return &Error{Message: "the expression cannot be understood: " + err.Error()}
	}
	message := at.Message
	if name, ok := strings.CutPrefix(message, "unknown name "); ok {
		message += "; there are id, topic, time, metadata and data, and a field of the payload is written data." + name
	}
	if message == `unexpected token Operator(":")` {
		message = "`:` cannot stand here; an object inside of map() and its like has two pairs of braces, as in `map(data.lines, {{\"sku\": .sku}})`"
	}
	if strings.Contains(message, "maximum allowed nodes") {
		message = "the expression has more than " + strconv.Itoa(maxNodes) + " parts"
	}
	if at.Line == 0 {
		return &Error{Message: message}
	}
	return &Error{Message: message, Line: at.Line, Column: at.Column + 1}
}

// match runs the expression against a document.
func (e *expression) match(d *Doc) Result {
	out, err := e.run(d)
	if err != nil {
		return Result{Rule: 1, Failed: err}
	}
	if verdict, _ := out.(bool); !verdict { // the program ends with a conversion, so that it is a bool
		return Result{Rule: 1}
	}
	return Result{Match: true}
}

// run returns what the expression gives for a document. The error is a sentence for whoever wrote it.
func (e *expression) run(d *Doc) (any, error) {
	env, err := d.environment(e.usesData)
	if err != nil {
		return nil, err
	}
	env.clock = clock{meter: meter{left: maxWork}, deadline: time.Now().Add(maxTime)}
	out, err := env.vm.Run(e.program, env.values)
	if err != nil {
		return nil, runError(err)
	}
	return out, nil
}

// environment offers the document to an expression. The payload is converted once, for the first expression
// that looks at it.
func (d *Doc) environment(withData bool) (*environment, error) {
	if d.env == nil {
		metadata := d.metadata
		if metadata == nil {
			metadata = map[string]string{}
		}
		env := &environment{vm: vm.VM{MemoryBudget: maxMemory}}
		env.values = map[string]any{
			rootID: d.id, rootTopic: d.topic, rootTime: d.time.UTC(), rootMetadata: metadata, clockName: &env.clock,
		}
		d.env = env
	}
	if _, converted := d.env.values[rootData]; withData && !converted {
		switch root := d.root(atData); root {
		case broken:
			return nil, errNoJSON
		case missing:
			d.env.values[rootData] = nil
		default:
			d.env.values[rootData] = d.tape.any(root)
		}
	}
	return d.env, nil
}

// runError turns a run-time error into a sentence with its position.
func runError(err error) error {
	if errors.Is(err, errTooMuchWork) {
		return errTooMuchWork
	}
	var at *file.Error
	if !errors.As(err, &at) {
		return err
	}
	message := strings.ReplaceAll(at.Message, "<nil>", "nothing")
	switch {
	case strings.Contains(message, "memory budget exceeded"):
		return errTooMuchWork
	case strings.HasPrefix(message, "reflect") || strings.HasPrefix(message, "runtime error") ||
		strings.HasPrefix(message, "interface conversion"):
		message = "a value has a type that the expression cannot work with here"
	case strings.HasPrefix(message, "invalid operation: bool("):
		return errors.New("the expression gave something else than true or false")
	case strings.HasPrefix(message, "cannot fetch") && strings.HasSuffix(message, "from nothing"):
		message += ": the field before it is missing; `?.` instead of `.` allows for that"
	}
	return fmt.Errorf("%s (line %d, column %d)", message, at.Line, at.Column+1)
}

// typeWord names the type of a value as JSON does.
func typeWord(v any) string {
	switch reflect.ValueOf(v).Kind() {
	case reflect.Invalid:
		return "nothing"
	case reflect.String:
		return "a text"
	case reflect.Int, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Map:
		return "an object"
	}
	return "something else"
}
