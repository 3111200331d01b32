package filter

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// phrase is a comparison in words. Exactly one of be and verb is set.
type phrase struct {
	be     string // what follows "is", "needs" and "needs not to be", such as: at least 10
	verb   string // what follows "needs to" and "does not", such as: contain "x"
	third  string // the same behind a name: contains "x"
	negate string // the opposite, where it has words of its own: missing
}

// phraseOf puts a comparison into words.
func phraseOf(t Test) phrase {
	operand := wordsFor(t)
	switch t.Op {
	case OpEq:
		if t.Value.Kind() == KindList {
			return phrase{be: "exactly " + operand}
		}
		return phrase{be: operand}
	case OpSame:
		return phrase{be: "the number " + operand}
	case OpGt:
		return phrase{be: ordinal(t, "more than ", "later than ") + operand}
	case OpGte:
		return phrase{be: ordinal(t, "at least ", "no earlier than ") + operand}
	case OpLt:
		return phrase{be: ordinal(t, "less than ", "earlier than ") + operand}
	case OpLte:
		return phrase{be: ordinal(t, "at most ", "no later than ") + operand}
	case OpIn:
		return phrase{be: "one of " + operand}
	case OpContains:
		return phrase{verb: "contain " + operand, third: "contains " + operand}
	case OpStartsWith:
		return phrase{verb: "start with " + operand, third: "starts with " + operand}
	case OpEndsWith:
		return phrase{verb: "end with " + operand, third: "ends with " + operand}
	case OpRegex:
		return phrase{verb: "match the pattern " + operand, third: "matches the pattern " + operand}
	case OpFilled:
		return phrase{verb: "be present and not empty", third: "is present and not empty", negate: "missing or empty"}
	}
	return phrase{verb: "be present", third: "is present", negate: "missing"}
}

func ordinal(t Test, number, moment string) string {
	if _, ok := parseInstant(t.Value.Text()); ok {
		return moment
	}
	return number
}

// wordsFor is the operand of a comparison: a literal, several of them, or the name of another field.
func wordsFor(t Test) string {
	if t.Ref != "" {
		return "`" + t.Ref + "`"
	}
	if t.Value.Kind() != KindList || t.Op == OpEq {
		return shorten(t.Value.JSON())
	}
	var words []string
	for _, item := range t.Value.Items() {
		words = append(words, shorten(item.JSON()))
	}
	if t.Op == OpIn {
		return enumerate(words, ", ")
	}
	return enumerate(words, " or ")
}

// needs says what is asked for.
func (p phrase) needs() string {
	if p.verb != "" {
		return "needs to " + p.verb
	}
	return "needs " + p.be
}

// needsNot says what must not be.
func (p phrase) needsNot() string {
	switch {
	case p.negate != "":
		return "needs to be " + p.negate
	case p.verb != "":
		return "needs not to " + p.verb
	}
	return "needs not to be " + p.be
}

// is states it of a field.
func (p phrase) is() string {
	if p.verb != "" {
		return p.third
	}
	return "is " + p.be
}

// isNot denies it of a field.
func (p phrase) isNot() string {
	switch {
	case p.negate != "":
		return "is " + p.negate
	case p.verb != "":
		return "does not " + p.verb
	}
	return "is not " + p.be
}

// clause says in words what a pattern asks of a field, to be put behind the field's name.
func clause(n Node) string {
	switch n := n.(type) {
	case Test:
		return phraseOf(n).is()
	case Not:
		if t, ok := n.Node.(Test); ok {
			return phraseOf(t).isNot()
		}
		return "does not fit (" + clause(n.Node) + ")"
	case And:
		return inWords(n, " and ")
	case Or:
		return "(" + inWords(n, " or ") + ")"
	case List:
		return "has " + elements(n)
	case Field:
		return "has `" + formatPath(n.Path) + "` that " + clause(n.Node)
	}
	return ""
}

// elements says what the elements of a list have to be.
func elements(patterns List) string {
	parts := make([]string, len(patterns))
	for i, pattern := range patterns {
		parts[i] = "an element that " + clause(pattern)
	}
	return enumerate(parts, " and ")
}

func inWords(nodes []Node, join string) string {
	parts := make([]string, len(nodes))
	for i, n := range nodes {
		parts[i] = clause(n)
	}
	return strings.Join(parts, join)
}

// Rule is one numbered rule of a filter, in words.
type Rule struct {
	// Number counts from 1 in the order of the filter.
	Number int `json:"number" doc:"From 1; the number that reasons name."`
	// Path is the field in full, such as "data.total". It is empty for an expression.
	Path string `json:"path,omitempty" doc:"Of the field that it is about."`
	// Words is the rule as a sentence: "`data.total` is at least 10".
	Words string `json:"words" doc:"The rule in plain language."`
}

// Rules lists the rules that [Result] and [Verdict] number. An expression is one rule. Conditions that one
// element of a list has to satisfy together are one rule. The order is that of the rows that [Filter.Rows]
// returns, where each row that is no group counts one, and each GroupOne counts one as a whole.
func (f *Filter) Rules() []Rule {
	switch {
	case f.IsEmpty():
		return nil
	case f.expression != nil:
		return []Rule{{Number: 1, Words: "the expression `" + shorten(f.expression.source) + "` is true"}}
	}
	rules := make([]Rule, len(f.program.rules))
	for i, field := range f.program.rules {
		path, asked := formatPath(field.Path), field.Node
		if f.program.negated[i] {
			asked = not(asked)
		}
		rules[i] = Rule{Number: i + 1, Path: path, Words: "`" + path + "` " + clause(asked)}
	}
	return rules
}

// maxShown is how many characters of a value a sentence shows.
const maxShown = 60

// shorten cuts a long value, so that a sentence stays one.
func shorten(s string) string {
	if utf8.RuneCountInString(s) <= maxShown {
		return s
	}
	runes := []rune(s)
	return string(runes[:maxShown-1]) + "…"
}

// enumerate writes "a, b and c", and the number of those left out when there are many.
func enumerate(parts []string, join string) string {
	const most = 4
	if len(parts) > most {
		left := strconv.Itoa(len(parts)-most+1) + " more"
		parts, join = append(parts[:most-1:most-1], left), " and "
	}
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + join + parts[len(parts)-1]
}
