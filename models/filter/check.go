package filter

import (
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"
)

// check refuses a tree that could not be understood. The notations' parsers have found most mistakes before,
// with a better position; this is where a tree made by a program is held to the same.
func check(tree Node) error {
	if message := checkNode(tree, 0, true); message != "" {
		return &Error{Message: message}
	}
	return nil
}

// checkNode returns what is wrong, or nothing. top is set where a field is needed before anything is compared.
func checkNode(n Node, depth int, top bool) string {
	if depth > maxNesting {
		return "the filter is nested more than " + strconv.Itoa(maxNesting) + " levels deep; each key of a path and each group counts one"
	}
	switch n := n.(type) {
	case And:
		return checkNodes(n, depth, top, "and")
	case Or:
		return checkNodes(n, depth+1, top, "or")
	case List:
		if top {
			return needsField
		}
		return checkNodes(n, depth+1, false, "list")
	case Not:
		return checkNode(n.Node, depth+1, top)
	case Field:
		path := n.Path
		if len(path) == 0 {
			return needsField
		}
		if top {
			path = rooted(path)[1:]
		}
		return checkNode(n.Node, depth+len(path), false)
	case Test:
		if top {
			return needsField
		}
		return checkTest(n)
	}
	return "a part of the filter is empty"
}

// conditions counts the comparisons in a tree.
func conditions(n Node) int {
	var nodes []Node
	switch n := n.(type) {
	case And:
		nodes = n
	case Or:
		nodes = n
	case List:
		nodes = n
	case Not:
		return conditions(n.Node)
	case Field:
		return conditions(n.Node)
	default:
		return 1
	}
	count := 0
	for _, child := range nodes {
		count += conditions(child)
	}
	return count
}

const needsField = "a condition needs a field in front of it, such as {\"status\": \"paid\"}"

func checkNodes(nodes []Node, depth int, top bool, what string) string {
	if len(nodes) == 0 {
		return "an empty group (" + what + ") says nothing; put at least one condition in it"
	}
	for _, n := range nodes {
		if message := checkNode(n, depth, top); message != "" {
			return message
		}
	}
	return ""
}

// checkTest returns what is wrong with the operand of a test, or nothing.
func checkTest(t Test) string {
	name := "`" + string(t.Op) + "`"
	if t.Ref != "" {
		return checkReference(t, name)
	}
	if depthOf(t.Value) > maxNesting {
		return name + " has a value that is nested more than " + strconv.Itoa(maxNesting) + " levels deep"
	}
	k := t.Value.Kind()
	switch t.Op {
	case OpEq:
		if k == KindNone {
			return name + " needs a value"
		}
	case OpGt, OpGte, OpLt, OpLte:
		if k != KindNumber && k != KindString {
			return name + " needs a number, a text or a time, such as 10 or \"2026-01-31T00:00:00Z\""
		}
	case OpSame:
		if k != KindNumber {
			return "a comparison with a number needs a number"
		}
	case OpIn:
		if k != KindList {
			return name + " needs a list, such as [\"paid\", \"shipped\"], or a text to look for"
		}
		if len(t.Value.Items()) == 0 {
			return name + " needs at least one value in its list"
		}
	case OpContains, OpStartsWith, OpEndsWith:
		return checkTexts(name, t.Value)
	case OpRegex:
		if k != KindString {
			return name + " needs a pattern as a text, such as \"^order-[0-9]+$\""
		}
		_, _, message := compileRegex(t.Value.Text())
		return message
	case OpExist, OpFilled:
		if k != KindNone {
			return "presence is asked for without a value"
		}
	default:
		return "there is no comparison called " + name
	}
	return ""
}

func checkTexts(name string, v Value) string {
	message := name + " needs a text, or a list of texts of which one is enough"
	switch v.Kind() {
	case KindString:
		return ""
	case KindList:
		items := v.Items()
		for _, item := range items {
			if item.Kind() != KindString {
				return message
			}
		}
		if len(items) > 0 {
			return ""
		}
	}
	return message
}

func checkReference(t Test, name string) string {
	if t.Value.Kind() != KindNone {
		return name + " compares either with a value or with another field"
	}
	switch t.Op {
	case OpEq, OpGt, OpGte, OpLt, OpLte, OpIn, OpContains, OpStartsWith, OpEndsWith:
	default:
		return name + " cannot compare with another field; $eq, $gt, $gte, $lt, $lte, $in, $contains, $startsWith and $endsWith can"
	}
	_, message := parseReference(t.Ref)
	return message
}

// depthOf counts how deep a literal is nested, without decoding it. Brackets in strings do not count.
func depthOf(v Value) int {
	depth, deepest, quoted := 0, 0, false
	for i := 0; i < len(v.json); i++ {
		switch c := v.json[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
			deepest = max(deepest, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return deepest
}

// maxRegexSize bounds the instructions of a compiled pattern. A short pattern with nested repetitions can
// expand to megabytes, and matching takes time in proportion.
const maxRegexSize = 10000

// compileRegex compiles a pattern. size is what it costs to look at one byte with it, at worst. The message
// says what is wrong, and is empty when nothing is.
func compileRegex(pattern string) (re *regexp.Regexp, size int, message string) {
	if utf8.RuneCountInString(pattern) > MaxRegexLength {
		return nil, 0, "the pattern is longer than " + strconv.Itoa(MaxRegexLength) + " characters"
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		reason := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		return nil, 0, "the pattern is not valid RE2 (which has no look-around and no back-references): " + reason
	}
	if size = regexSize(parsed); size > maxRegexSize {
		return nil, 0, "the pattern is too large once its repetitions are written out; use smaller ones, or `*` and `+`"
	}
	re, err = regexp.Compile(pattern)
	if err != nil {
		return nil, 0, "the pattern is not valid RE2: " + err.Error()
	}
	return re, size, ""
}

// regexSize estimates the number of instructions that a pattern compiles to.
func regexSize(re *syntax.Regexp) int {
	size := 1
	for _, sub := range re.Sub {
		size += regexSize(sub)
	}
	switch re.Op {
	case syntax.OpLiteral:
		size += len(re.Rune)
	case syntax.OpRepeat:
		size *= max(re.Min, re.Max, 1)
	}
	return min(size, maxRegexSize*1000) // so that nested repetitions cannot overflow
}
