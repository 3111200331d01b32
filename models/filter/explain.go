package filter

import (
	"strconv"
	"strings"
)

// Verdict is the outcome of a filter with the reason, for people.
type Verdict struct {
	// Match says whether the event goes to the destination.
	Match bool `json:"match"`
	// Rule is the number of the deciding rule, from 1, as in [Filter.Rules]; 0 for a match.
	Rule int `json:"rule,omitempty"`
	// Path is the field that the deciding rule looks at, such as "data.total". It is empty for a match, and for
	// an expression.
	Path string `json:"path,omitempty"`
	// Failed says that the evaluation could not be finished; the reason tells why. Match is false then.
	Failed bool `json:"failed,omitempty"`
	// Reason is a sentence without a full stop: "`data.total` is 4, needs at least 10". It quotes the event.
	Reason string `json:"reason"`
}

// Explain evaluates the filter like Match and says which rule decided, what it needed and what it found. It
// always agrees with Match. It allocates and is meant for one event at a time, not for routing.
func (f *Filter) Explain(doc *Doc) Verdict {
	if f.IsEmpty() {
		return Verdict{Match: true, Reason: "there is no filter"}
	}
	result := f.Match(doc)
	v := Verdict{Match: result.Match, Rule: result.Rule, Failed: result.Failed != nil}
	if f.expression == nil && result.Rule > 0 {
		v.Path = formatPath(f.program.rules[result.Rule-1].Path)
	}
	switch {
	case result.Failed != nil:
		v.Reason = "the filter failed: " + result.Failed.Error()
	case f.expression != nil && result.Match:
		v.Reason = "the expression is true"
	case f.expression != nil:
		v.Reason = "the expression is false"
	default:
		v.Reason = explainer{doc}.why(f.tree, result.Match)
	}
	return v
}

type explainer struct{ doc *Doc }

// holds evaluates a part of the top of a tree.
func (e explainer) holds(n Node) bool {
	part, err := compile(n)
	return err == nil && part.match(e.doc).Match
}

// why says why a node at the top came out as it did.
func (e explainer) why(n Node, held bool) string {
	switch n := n.(type) {
	case And:
		if held {
			return "all " + strconv.Itoa(len(n)) + " rules are met"
		}
		for _, child := range n {
			if !e.holds(child) {
				return e.why(child, false)
			}
		}
	case Or:
		if held {
			for _, child := range n {
				if e.holds(child) {
					return e.why(child, true)
				}
			}
		}
		var reasons []string
		for _, child := range n {
			reasons = append(reasons, e.why(child, false))
		}
		return "none of " + strconv.Itoa(len(n)) + " alternatives holds: " + semicolons(reasons)
	case Not:
		return e.whyNot(n.Node, !held)
	case Field:
		return e.field(n, held)
	}
	return ""
}

// whyNot says why a node at the top that must not hold came out as it did.
func (e explainer) whyNot(n Node, held bool) string {
	switch n := n.(type) {
	case Field:
		found := e.found(n)
		if found.missing && !held {
			return found.sentence
		}
		return found.sentence + ", " + needsNot(n.Node, found.list)
	case Not:
		return e.why(n.Node, !held)
	case Or:
		if held {
			for _, child := range n {
				if e.holds(child) {
					return e.whyNot(child, true)
				}
			}
		}
		return "none of " + strconv.Itoa(len(n)) + " rules that must not hold does"
	case And:
		if held {
			var reasons []string
			for _, child := range n {
				reasons = append(reasons, e.state(child))
			}
			return "these must not all hold, and do: " + semicolons(reasons)
		}
		return "not all of " + strconv.Itoa(len(n)) + " rules that must not hold together do"
	}
	return ""
}

// state says what a node found, without what it needs.
func (e explainer) state(n Node) string {
	switch n := n.(type) {
	case Field:
		return e.found(n).sentence
	case Not:
		return e.state(n.Node)
	case And:
		return e.state(n[0])
	case Or:
		for _, child := range n {
			if e.holds(child) {
				return e.state(child)
			}
		}
		return e.state(n[0])
	}
	return ""
}

func semicolons(reasons []string) string {
	const most = 4
	if len(reasons) > most {
		reasons = append(reasons[:most-1], strconv.Itoa(len(reasons)-most+1)+" more")
	}
	return strings.Join(reasons, "; ")
}

// field explains one rule. When the field is a single object, the part of the rule that failed is explained
// instead of the whole.
func (e explainer) field(f Field, held bool) string {
	found := e.found(f)
	if group, ok := f.Node.(And); ok && !held && !found.list {
		for _, child := range group {
			part := Field{f.Path, child}
			if inner, ok := child.(Field); ok {
				part = Field{joinPath(f.Path, inner.Path), inner.Node}
			}
			if !e.holds(part) {
				return e.field(part, false)
			}
		}
	}
	if _, negated := f.Node.(Not); found.missing && negated == held {
		return found.sentence
	}
	return found.sentence + ", " + needs(f.Node, found.list)
}

// needs says what a pattern asks of a field. list tells that it holds several values, of which one is enough.
func needs(n Node, list bool) string {
	switch n := n.(type) {
	case Not:
		return needsNot(n.Node, list)
	case List:
		if !list {
			return "needs to be a list that " + clause(n)
		}
		return "needs " + elements(n)
	case Test:
		if !list || concernsWhole(n) {
			return phraseOf(n).needs()
		}
	}
	if list {
		return "needs one that " + clause(n)
	}
	if limits, ok := bounds(n); ok {
		return "needs " + limits
	}
	return "needs to be something that " + clause(n)
}

// bounds puts several comparisons of one value into words: more than 100 and less than 200.
func bounds(n Node) (string, bool) {
	group, ok := n.(And)
	var parts []string
	for _, child := range group {
		t, isTest := child.(Test)
		if !isTest || phraseOf(t).be == "" {
			return "", false
		}
		parts = append(parts, phraseOf(t).be)
	}
	return strings.Join(parts, " and "), ok
}

func needsNot(n Node, list bool) string {
	t, ok := n.(Test)
	switch {
	case ok && (!list || concernsWhole(n)):
		return phraseOf(t).needsNot()
	case list:
		return "needs none that " + clause(n)
	}
	return "needs to be nothing that " + clause(n)
}

// finding is what is at the path of a rule.
type finding struct {
	sentence string
	missing  bool
	list     bool // a list was met on the way or at the end
}

// found looks up what is at the path of a rule.
func (e explainer) found(f Field) finding {
	c := collector{doc: e.doc, whole: concernsWhole(f.Node)}
	if root := e.doc.root(rootNumber(f.Path[0])); root >= 0 {
		c.walk(f.Path[1:], root)
	}
	name := "`" + formatPath(f.Path) + "`"
	switch {
	case len(c.values) == 0 && c.emptyAt > 0:
		return finding{sentence: "`" + formatPath(f.Path[:len(f.Path)-c.emptyAt+1]) + "` is an empty list", list: true}
	case len(c.values) == 0:
		return finding{sentence: name + " is missing", missing: true, list: c.list}
	}
	sentence := name + e.values(c.values, comparesNumbers(f.Node))
	if t, ok := f.Node.(Test); ok && t.Ref != "" {
		sentence += e.referred(t)
	}
	return finding{sentence: sentence, list: c.list}
}

// values puts one or more values of the document into words.
func (e explainer) values(values []at, numeric bool) string {
	if len(values) == 1 {
		return " is " + e.describe(values[0], numeric)
	}
	objects, texts := 0, false
	var words []string
	for _, value := range values {
		switch e.doc.tape.items[value].kind {
		case kindObject:
			objects++
		case kindText:
			texts = texts || numeric
		}
		words = append(words, e.describe(value, false))
	}
	switch {
	case objects == len(values):
		return " holds " + strconv.Itoa(objects) + " objects"
	case texts:
		return " holds " + enumerate(words, " and ") + " (texts compared as numbers)"
	}
	return " holds " + enumerate(words, " and ")
}

// referred says what the field is that another one is compared with, unless that differs from element to element.
func (e explainer) referred(t Test) string {
	steps, message := parseReference(t.Ref)
	if message != "" {
		return ""
	}
	var path []string
	for _, s := range steps {
		if s.list {
			return ""
		}
		path = append(path, s.key)
	}
	return " and " + e.found(Field{path, Test{Op: OpExist}}).sentence
}

// describe puts a value of the document into words.
func (e explainer) describe(value at, numeric bool) string {
	it := &e.doc.tape.items[value]
	switch it.kind {
	case kindObject:
		return "an object"
	case kindList:
		return "the list " + shorten(string(e.doc.tape.append(nil, value)))
	case kindText:
		quoted := shorten(string(appendQuoted(nil, it.text)))
		if !numeric {
			return quoted
		}
		if _, ok := e.doc.tape.number(value); ok {
			return "the text " + quoted + " (compared as a number)"
		}
		return "the text " + quoted + " (not a number)"
	}
	return shorten(it.text)
}

// concernsWhole reports whether a pattern looks at a list as a whole, so that the list is what to show.
func concernsWhole(n Node) bool {
	switch n := n.(type) {
	case List:
		return true
	case Not:
		return concernsWhole(n.Node)
	case Test:
		return n.Op == OpExist || n.Op == OpEq && n.Value.Kind() == KindList
	}
	return false
}

// comparesNumbers reports whether a pattern compares with a number in the way that accepts numeric strings.
func comparesNumbers(n Node) bool {
	switch n := n.(type) {
	case Not:
		return comparesNumbers(n.Node)
	case And:
		for _, child := range n {
			if comparesNumbers(child) {
				return true
			}
		}
	case Test:
		return n.Value.Kind() == KindNumber && n.Op != OpEq
	}
	return false
}

// collector gathers what is at a path, through lists.
type collector struct {
	doc    *Doc
	whole  bool
	values []at
	list   bool
	// emptyAt is set by an empty list: how many keys were left, plus one.
	emptyAt int
}

// maxCollected bounds the values that are gathered; a sentence shows fewer.
const maxCollected = 1000

func (c *collector) walk(path []string, value at) {
	it := &c.doc.tape.items[value]
	switch {
	case len(c.values) >= maxCollected:
	case it.kind == kindList && (len(path) > 0 || !c.whole):
		c.list = true
		if it.bits == 0 {
			c.emptyAt = len(path) + 1
		}
		for e := value + 1; e < it.end; e = c.doc.tape.items[e].end {
			c.walk(path, e)
		}
	case len(path) == 0:
		c.list = c.list || it.kind == kindList
		c.values = append(c.values, value)
	case it.kind == kindObject:
		if next := c.doc.tape.get(value, path[0]); next != missing {
			c.walk(path[1:], next)
		}
	}
}
