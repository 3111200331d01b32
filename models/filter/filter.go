// Package filter is the language that decides which events of the subscribed topics go to a destination.
//
// One canonical tree has three notations: JSON, search and expression. [Parse] reads the stored value of a
// destination's filter in any of them and compiles it; [Filter.Match] then evaluates it against a [Doc]
// without parsing anything again. [Filter.Explain] says in a sentence which rule decided and why, and
// [Convert] turns one notation into another. docs/filters.md is the language's description for users.
//
// Nothing here fails open: what cannot be understood is refused with an [*Error] when it is parsed, and an
// evaluation that cannot be finished is never a match. The package is pure; it does no I/O and reads no
// clock, save to stop an expression that runs away.
package filter

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of a filter. Whatever exceeds one is refused when the filter is parsed.
const (
	// MaxBytes is the size of the stored value, in bytes.
	MaxBytes = 16 << 10
	// MaxConditions is the number of comparisons in one filter. "One of" a list is one comparison.
	MaxConditions = 200
	// MaxRegexLength is the length of one pattern, in characters.
	MaxRegexLength = 1000
	// maxNesting is how deep fields and groups may be nested. Each key of a path and each group counts one.
	maxNesting = 20
)

// Notation is one of the ways to write a filter.
type Notation string

// The notations. Rules is the list of plain-language rows; it is never stored.
const (
	NotationJSON       Notation = "json"
	NotationSearch     Notation = "search"
	NotationExpression Notation = "expression"
	NotationRules      Notation = "rules"
)

// Error says why a filter is refused, and what would be right. Line and Column, or Path, say where. A mistake
// in an expression has both: the position counts in the text of $expr.
type Error struct {
	// Message is a sentence for the person who wrote the filter. It holds none of our internals.
	Message string `json:"message"`
	// Line counts from 1; 0 means that Path says where.
	Line int `json:"line,omitempty"`
	// Column counts characters from 1, in Line.
	Column int `json:"column,omitempty"`
	// Path leads to the mistake in the JSON notation, such as "variants.price.$gte" or "$or[1].status". It is
	// empty for the filter as a whole.
	Path string `json:"path,omitempty"`
}

// Error returns the message with its position in front.
func (e *Error) Error() string {
	switch {
	case e.Line > 0:
		return "line " + strconv.Itoa(e.Line) + ", column " + strconv.Itoa(e.Column) + ": " + e.Message
	case e.Path != "":
		return e.Path + ": " + e.Message
	}
	return e.Message
}

// Filter is a compiled filter. It is immutable and safe for concurrent use. A nil *Filter is the empty
// filter, which every event matches.
type Filter struct {
	notation   Notation
	tree       Node // nil for the empty filter and for an expression
	program    *program
	expression *expression // nil unless the notation is the expression
	doubt      *Error      // see ParseNew
}

// Parse reads the stored value of a destination's filter: an object in the JSON notation, an object with the
// one key $expr, or a string in the search notation. null, {}, "" and no bytes at all are the empty filter.
// The error is always an [*Error].
func Parse(raw []byte) (*Filter, error) {
	text := string(raw)
	if err := checkText(text); err != nil {
		return nil, err
	}
	if strings.TrimLeft(text, " \t\r\n") == "" {
		return &Filter{notation: NotationJSON}, nil
	}
	var t tape
	root, decodeErr := t.parse(text)
	if decodeErr != nil {
		return nil, decodeErr.positioned(text)
	}
	switch it := &t.items[root]; it.kind {
	case kindNull:
		return &Filter{notation: NotationJSON}, nil
	case kindText:
		return ParseSearch(it.text)
	case kindObject:
		if it.bits == 0 {
			return &Filter{notation: NotationJSON}, nil
		}
		if source := t.get(root, "$expr"); source != missing {
			return parseStoredExpression(&t, root, source)
		}
		tree, err := parseJSON(&t, root)
		if err != nil {
			return nil, err
		}
		return build(tree, NotationJSON)
	}
	return nil, &Error{Message: "a filter is an object such as {\"status\": \"paid\"}, or a text in search notation such as \"status:paid\""}
}

// ParseSearch reads the search notation, as it stands in a text field. A text without any term is the empty
// filter. The error is an [*Error] whose line and column count in text.
func ParseSearch(text string) (*Filter, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	tree, doubt, err := parseSearch(text)
	if err != nil {
		return nil, err
	}
	f, err := build(tree, NotationSearch)
	if err == nil {
		f.doubt = doubt
	}
	return f, err
}

// ParseNew is Parse for what somebody has just written. It also refuses what can be read and is hardly meant so, such as the
// time 12:30 as a condition on a field called 12. A filter that is stored already stays in force.
func ParseNew(raw []byte) (*Filter, error) { return undoubted(Parse(raw)) }

// ParseNewSearch is ParseNew for the search notation.
func ParseNewSearch(text string) (*Filter, error) { return undoubted(ParseSearch(text)) }

func undoubted(f *Filter, err error) (*Filter, error) {
	if err == nil && f != nil && f.doubt != nil {
		return nil, f.doubt
	}
	return f, err
}

// New compiles a tree made by a program. It refuses what Parse refuses; the error is an [*Error].
func New(tree Node) (*Filter, error) { return build(tree, NotationJSON) }

func checkText(text string) error {
	if len(text) > MaxBytes {
		return &Error{Message: "the filter is " + strconv.Itoa(len(text)) + " bytes long; at most " + strconv.Itoa(MaxBytes) +
			" are allowed"}
	}
	if !utf8.ValidString(text) {
		offset := 0
		for offset < len(text) {
			r, size := utf8.DecodeRuneInString(text[offset:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			offset += size
		}
		line, column := position(text, offset)
		return &Error{Message: "the filter is not valid UTF-8", Line: line, Column: column}
	}
	return nil
}

// build normalizes, checks and compiles a tree.
func build(tree Node, notation Notation) (*Filter, error) {
	f := &Filter{notation: notation}
	if tree == nil {
		return f, nil
	}
	if err := check(tree); err != nil {
		return nil, err
	}
	f.tree = normalize(tree)
	if conditions(f.tree) > MaxConditions {
		return nil, &Error{Message: "the filter has more than " + strconv.Itoa(MaxConditions) + " conditions"}
	}
	var err error
	f.program, err = compile(f.tree)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// IsEmpty reports whether every event matches because there is no filter.
func (f *Filter) IsEmpty() bool { return f == nil || f.tree == nil && f.expression == nil }

// Notation returns the notation that the filter was written in. The empty filter says json.
func (f *Filter) Notation() Notation {
	if f == nil {
		return NotationJSON
	}
	return f.notation
}

// Tree returns the normalized tree. It is nil for the empty filter and for an expression.
func (f *Filter) Tree() Node {
	if f == nil {
		return nil
	}
	return f.tree
}

// Result is the outcome of one evaluation. It is a plain value; making one allocates nothing.
type Result struct {
	// Match says whether the event goes to the destination.
	Match bool
	// Rule is the number of the rule that decided against the event, from 1, as in [Filter.Rules]. It is 0 for
	// a match.
	Rule int
	// Failed says why the evaluation could not be finished, and is nil when it could. Match is false then. The
	// text is fit for the person who wrote the filter.
	Failed error
}

// The ways in which an evaluation can fail, besides the run-time errors of an expression.
var (
	errTooMuchWork = errors.New("the event is too large for this filter: matching would take too long")
	errNoJSON      = errors.New("the payload is not valid JSON")
)

// Match evaluates the filter. The document may be used for any number of filters, one after the other.
func (f *Filter) Match(doc *Doc) Result {
	switch {
	case f.IsEmpty():
		return Result{Match: true}
	case f.expression != nil:
		return f.expression.match(doc)
	}
	return f.program.match(doc)
}
