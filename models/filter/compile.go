package filter

import (
	"regexp"
	"slices"
	"unique"
)

// program is a tree in the form in which it is evaluated. It is immutable.
type program struct {
	root  *matcher
	rules []Field // the rules in the order of their numbers, from 1
	// negated tells for each rule whether it counts against the event when it holds.
	negated []bool
	shared  []unique.Handle[string] // texts that it shares with other programs, see pack
}

// matcher is one node of a program.
type matcher struct {
	what matcherKind
	root uint8 // of a field at the top
	// rule is the number of the first rule in this node. Set only at the top, where rules are.
	rule int32
	// depth is the number of keys above this node, root included: where a list met here stands.
	depth int32
	test  *test
	// path holds the keys of a field. At the top, its first part is in root instead.
	path []string
	kids []*matcher
}

type matcherKind uint8

const (
	matchAnd matcherKind = iota
	matchOr
	matchNot
	matchField
	matchList
	matchTest
)

// test is a comparison with its operand prepared.
type test struct {
	op        opcode
	kind      kind // of the operand
	isInstant bool
	root      at
	text      string // of a text
	number    number // of a number
	literal   *tape  // the operand, at root
	ref       *reference
	instant   instant
	more      *operands // of comparisons with several values, and of patterns
}

// operands are what few comparisons need. They are kept apart, so that the others take less memory to look at.
type operands struct {
	texts    []string            // the alternatives of contains, startsWith, endsWith and in
	textSet  map[string]struct{} // the same, where there are many
	instants []instant           // those of the texts that are times
	others   []at                // the members of an in that are not texts
	lists    []at                // those of the others that are lists, which are compared as a whole

	regex     *regexp.Regexp
	regexSize int
}

// opcode is a comparison as a number, which is compared faster than its text.
type opcode uint8

const (
	codeEq opcode = iota
	codeSame
	codeGt
	codeGte
	codeLt
	codeLte
	codeIn
	codeContains
	codeStartsWith
	codeEndsWith
	codeRegex
	codeExist
	codeFilled
)

var opcodes = map[Op]opcode{OpEq: codeEq, OpSame: codeSame, OpGt: codeGt, OpGte: codeGte, OpLt: codeLt, OpLte: codeLte, OpIn: codeIn,
	OpContains:   codeContains,
	OpStartsWith: codeStartsWith, OpEndsWith: codeEndsWith, OpRegex: codeRegex, OpExist: codeExist, OpFilled: codeFilled}

// reference is a field to compare with.
type reference struct {
	root  int
	steps []step
	// loops tells for each step with [$index] at which depth the list stands whose element is meant, or -1 for
	// the innermost one.
	loops []int
}

// compile prepares a normalized tree. It can only fail for a tree that check refuses.
func compile(tree Node) (*program, error) {
	c := compiler{program: &program{}}
	c.program.root = c.top(tree)
	if c.err != "" {
		return nil, &Error{Message: c.err}
	}
	c.program.pack()
	return c.program, nil
}

type compiler struct {
	program *program
	negated bool // whether an odd number of negations stands above
	err     string
}

// top compiles the groups and fields of the top, and numbers the rules.
func (c *compiler) top(n Node) *matcher {
	m := &matcher{rule: int32(len(c.program.rules) + 1)}
	switch n := n.(type) {
	case And:
		m.what = matchAnd
		for _, child := range n {
			m.kids = append(m.kids, c.top(child))
		}
	case Or:
		m.what = matchOr
		for _, child := range n {
			m.kids = append(m.kids, c.top(child))
		}
	case Not:
		m.what = matchNot
		c.negated = !c.negated
		m.kids = []*matcher{c.top(n.Node)}
		c.negated = !c.negated
	case Field:
		c.program.rules = append(c.program.rules, n)
		c.program.negated = append(c.program.negated, c.negated)
		m.what, m.root, m.path, m.depth = matchField, uint8(rootNumber(n.Path[0])), n.Path[1:], 1
		m.kids = []*matcher{c.pattern(n.Node, n.Path)}
	}
	return m
}

// pattern compiles what stands below the keys of above.
func (c *compiler) pattern(n Node, above []string) *matcher {
	m := &matcher{depth: int32(len(above))}
	switch n := n.(type) {
	case And:
		m.what, m.kids = matchAnd, c.patterns(n, above)
	case Or:
		m.what, m.kids = matchOr, c.patterns(n, above)
	case List:
		m.what, m.kids = matchList, c.patterns(n, above)
	case Not:
		m.what, m.kids = matchNot, c.patterns([]Node{n.Node}, above)
	case Field:
		m.what, m.path = matchField, n.Path
		m.kids = c.patterns([]Node{n.Node}, joinPath(above, n.Path))
	case Test:
		m.what, m.test = matchTest, c.test(n, above)
	}
	return m
}

func (c *compiler) patterns(nodes []Node, above []string) []*matcher {
	compiled := make([]*matcher, len(nodes))
	for i, n := range nodes {
		compiled[i] = c.pattern(n, above)
	}
	return compiled
}

// manyTexts is from how many alternatives on a set is faster than comparing one by one.
const manyTexts = 9

func (c *compiler) test(n Test, above []string) *test {
	t := &test{op: opcodes[n.Op]}
	if n.Ref != "" {
		t.ref = c.reference(n.Ref, above)
		return t
	}
	if n.Value.Kind() == KindNone {
		return t
	}
	t.literal, t.root = n.Value.tape()
	t.kind = t.literal.items[t.root].kind
	switch t.kind {
	case kindNumber:
		t.number, _ = t.literal.number(t.root)
	case kindText:
		t.text = t.literal.items[t.root].text
		t.instant, t.isInstant = parseInstant(t.text)
		if n.Op == OpIn {
			t.more = &operands{texts: []string{t.text}}
		}
	case kindList:
		c.members(t)
	}
	c.readNumbers(t.literal)
	if n.Op == OpRegex {
		var message string
		t.more = &operands{}
		t.more.regex, t.more.regexSize, message = compileRegex(t.text)
		if message != "" {
			c.err = message
		}
	}
	return t
}

// readNumbers reads every number of a literal ahead, because a tape remembers what it reads and a compiled
// filter must not change while several goroutines use it.
func (c *compiler) readNumbers(t *tape) {
	for i := range t.items {
		t.number(at(i))
	}
}

func (c *compiler) members(t *test) {
	items, m := t.literal.items, &operands{}
	t.more = m
	for i := t.root + 1; i < items[t.root].end; i = items[i].end {
		switch items[i].kind {
		case kindText:
			m.texts = append(m.texts, items[i].text)
			if moment, ok := parseInstant(items[i].text); ok {
				m.instants = append(m.instants, moment)
			}
		case kindList:
			m.lists = append(m.lists, i)
		default:
			m.others = append(m.others, i)
		}
	}
	if len(m.texts) >= manyTexts {
		m.textSet = make(map[string]struct{}, len(m.texts))
		for _, text := range m.texts {
			m.textSet[text] = struct{}{}
		}
	}
}

// reference finds out which list each [$index] speaks of: the list at the same path if the rule stands
// inside it, so that lines[$index].min means the line at hand; else the innermost list, for a list that runs
// in parallel.
func (c *compiler) reference(text string, above []string) *reference {
	steps, message := parseReference(text)
	if message != "" {
		c.err = message
		return nil
	}
	r := &reference{root: rootNumber(steps[0].key), steps: steps[1:]}
	keys := []string{steps[0].key}
	for _, s := range r.steps {
		loop := -1
		switch {
		case s.here && len(keys) <= len(above) && slices.Equal(keys, above[:len(keys)]):
			loop = len(keys)
		case !s.list:
			keys = append(keys, s.key)
		}
		r.loops = append(r.loops, loop)
	}
	return r
}
