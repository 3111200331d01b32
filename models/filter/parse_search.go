package filter

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// parseSearch reads the search notation. A text without any term gives no tree. doubt says what can be read and is hardly
// what was meant; nil for nothing.
func parseSearch(text string) (tree Node, doubt *Error, err error) {
	p := searchParser{s: text}
	if p.space(); p.i == len(p.s) {
		return nil, nil, nil
	}
	tree = p.group(0)
	if p.err == nil && p.i < len(p.s) {
		p.fail(p.i, "this `)` has no `(`")
	}
	if p.err != nil {
		return nil, nil, p.err
	}
	return tree, p.doubt, nil
}

// maxParentheses bounds the parser's recursion. The tree may be nested less deep; a printed one has up to
// three levels of parentheses and negations for each level of its own.
const maxParentheses = 3*maxNesting + 2

type searchParser struct {
	s     string
	i     int
	err   *Error
	doubt *Error
}

// fail records the first mistake, and stops the reading.
func (p *searchParser) fail(offset int, message string) {
	if p.err == nil {
		line, column := position(p.s, offset)
		p.err = &Error{Message: message, Line: line, Column: column}
	}
}

func (p *searchParser) space() {
	for p.i < len(p.s) {
		r, size := utf8.DecodeRuneInString(p.s[p.i:])
		if !unicode.IsSpace(r) {
			return
		}
		p.i += size
	}
}

// term is one part of a group with the text that it was read from.
type term struct {
	node Node
	text string
}

// group reads terms up to a closing parenthesis or the end. It reads AND and OR in the same group as a
// mistake: people disagree about which of the two binds closer, so that the writer has to say.
func (p *searchParser) group(depth int) Node {
	if depth > maxParentheses {
		p.fail(p.i, "parentheses are nested too deep")
		return nil
	}
	var terms []term
	var joins []string // what stands between the terms
	for p.err == nil {
		p.space()
		start := p.i
		node := p.term(depth)
		if p.err != nil {
			return nil
		}
		terms = append(terms, term{node, p.s[start:p.i]})
		p.space()
		if p.i == len(p.s) || p.s[p.i] == ')' {
			break
		}
		start = p.i
		join := "AND" // also between terms that just stand side by side
		switch {
		case p.keyword("OR"):
			join = "OR"
		case p.keyword("AND"):
		}
		joins = append(joins, join)
		if joins[0] != join {
			p.mixed(start, terms, joins, depth)
			return nil
		}
		if p.space(); p.i == len(p.s) || p.s[p.i] == ')' {
			p.fail(start, "`"+join+"` stands between two terms, and the second one is not there")
		}
	}
	nodes := make([]Node, len(terms))
	for i, t := range terms {
		nodes[i] = t.node
	}
	switch {
	case len(nodes) == 1:
		return nodes[0]
	case joins[0] == "OR":
		return Or(nodes)
	}
	return And(nodes)
}

// mixed refuses AND and OR side by side and spells out both readings, with the rest of the group.
func (p *searchParser) mixed(offset int, terms []term, joins []string, depth int) {
	for p.err == nil && len(terms) < 8 {
		p.space()
		start := p.i
		node := p.term(depth)
		if p.err != nil {
			break
		}
		terms = append(terms, term{node, p.s[start:p.i]})
		if p.space(); p.i == len(p.s) || p.s[p.i] == ')' {
			break
		}
		join := "AND"
		if p.keyword("OR") {
			join = "OR"
		} else {
			p.keyword("AND")
		}
		joins = append(joins, join)
	}
	p.err = nil // a mistake further on is for later
	p.fail(offset, "AND and OR stand side by side, which can be read in two ways; write either "+
		reading(terms, joins, "AND")+" or "+reading(terms, joins, "OR"))
}

// reading writes the terms with parentheses around those that the closer join holds together.
func reading(terms []term, joins []string, closer string) string {
	var b strings.Builder
	b.WriteByte('`')
	for i, t := range terms {
		before := i > 0 && i-1 < len(joins) && joins[i-1] == closer
		after := i < len(joins) && i+1 < len(terms) && joins[i] == closer
		if i > 0 {
			b.WriteString(" " + joins[i-1] + " ")
		}
		if after && !before {
			b.WriteByte('(')
		}
		b.WriteString(shorten(t.text))
		if before && !after {
			b.WriteByte(')')
		}
	}
	b.WriteByte('`')
	return b.String()
}

// keyword passes a keyword if it stands here as a word of its own. AND:x is a field called AND.
func (p *searchParser) keyword(word string) bool {
	rest, ok := strings.CutPrefix(p.s[p.i:], word)
	if !ok {
		return false
	}
	if rest != "" {
		r, _ := utf8.DecodeRuneInString(rest)
		if !unicode.IsSpace(r) && r != '(' && r != ')' {
			return false
		}
	}
	p.i += len(word)
	return true
}

// term reads one term, or a group in parentheses, with any negations in front of it.
func (p *searchParser) term(depth int) Node {
	if depth > maxParentheses {
		p.fail(p.i, "negations are nested too deep")
		return nil
	}
	start := p.i
	switch {
	case p.i == len(p.s):
		p.fail(p.i, "a term such as `status:paid` should be here")
		return nil
	case p.keyword("NOT"), p.dash():
		if p.space(); p.i == len(p.s) || p.s[p.i] == ')' {
			p.fail(start, "a negation needs a term behind it, such as `NOT status:paid`")
			return nil
		}
		return Not{p.term(depth + 1)}
	case p.keyword("AND"), p.keyword("OR"):
		p.fail(start, "`"+p.s[start:p.i]+"` stands between two terms, and the first one is not there")
		return nil
	case p.s[p.i] == '(':
		p.i++
		if p.space(); p.i < len(p.s) && p.s[p.i] == ')' {
			p.fail(start, "the parentheses are empty")
			return nil
		}
		node := p.group(depth + 1)
		if p.err == nil && p.i == len(p.s) {
			p.fail(start, "this `(` has no `)`")
		}
		p.i++
		return node
	case p.s[p.i] == ')':
		p.fail(start, "a term such as `status:paid` should be here")
		return nil
	}
	if m := looksLikeTime.FindStringSubmatch(p.s[p.i:]); m != nil {
		clock := m[1]
		p.doubts(p.i, "`"+shorten(clock)+"` is a time, and has no field: each term needs one, such as `created_at:>=\""+shorten(clock)+"\"`; a field of this name is written `data."+shorten(clock)+"`")
	}
	path := p.field()
	if p.err != nil {
		return nil
	}
	test := p.value(start)
	if p.err != nil {
		return nil
	}
	if len(path) > maxNesting+1 {
		p.fail(start, "the path has too many parts")
		return nil
	}
	return Field{rooted(path), test}
}

// dash passes the minus sign of a negation, which stands directly before its term.
func (p *searchParser) dash() bool {
	if p.s[p.i] != '-' || p.i+1 == len(p.s) || p.s[p.i+1] == ' ' {
		return false
	}
	p.i++
	return true
}

// field reads the path in front of the colon, and the colon.
func (p *searchParser) field() []string {
	start := p.i
	var path []string
	var key strings.Builder
	endKey := func() bool {
		if key.Len() == 0 {
			p.fail(start, "a field has a name on each side of a dot, such as `customer.email`")
			return false
		}
		path = append(path, key.String())
		key.Reset()
		return true
	}
	for p.i < len(p.s) {
		r, size := utf8.DecodeRuneInString(p.s[p.i:])
		switch {
		case r == '\\':
			if r, ok := p.escape(); ok {
				key.WriteRune(r)
				continue
			}
			return nil
		case r == ':':
			if p.i == start {
				p.fail(start, "a field is needed in front of the colon, such as `status:paid`")
				return nil
			}
			p.i++
			if !endKey() {
				return nil
			}
			return path
		case r == '.':
			if !endKey() {
				return nil
			}
		case unicode.IsSpace(r) || r == '(' || r == ')':
			p.noField(start)
			return nil
		case r == '*' || r == '"':
			p.fail(p.i, "`"+string(r)+"` in the name of a field is written `\\"+string(r)+"`; a value stands behind a field and a colon, such as `status:paid`")
			return nil
		default:
			key.WriteRune(r)
		}
		p.i += size
	}
	p.noField(start)
	return nil
}

func (p *searchParser) noField(start int) {
	word := p.s[start:p.i]
	switch strings.ToUpper(word) {
	case "AND", "OR", "NOT":
		p.fail(start, "`"+word+"` is written in capitals: "+strings.ToUpper(word))
		return
	case "&&", "&":
		p.fail(start, "write AND instead of `"+word+"`")
		return
	case "||", "|":
		p.fail(start, "write OR instead of `"+word+"`")
		return
	}
	if m := comparedLike.FindStringSubmatch(p.s[start:]); m != nil {
		right := m[1] + ":" + strings.TrimLeft(m[2], "=") + m[3]
		if m[2] == "!=" {
			right = "NOT " + m[1] + ":" + m[3]
		}
		p.fail(start, "a comparison is written `"+shorten(right)+"`, with a colon and without spaces")
		return
	}
	p.fail(start, "`"+shorten(word)+"` has no field: each term needs one, such as `status:"+shorten(word)+"`; a value with spaces is written in quotes")
}

// escape passes a backslash and the character behind it, which stands for itself.
func (p *searchParser) escape() (rune, bool) {
	if p.i+1 == len(p.s) {
		p.fail(p.i, "a backslash stands before the character that it escapes; write `\\\\` for a backslash")
		return 0, false
	}
	r, size := utf8.DecodeRuneInString(p.s[p.i+1:])
	p.i += 1 + size
	return r, true
}

// value reads what stands behind the colon. term is where the term starts.
func (p *searchParser) value(term int) Node {
	start := p.i
	op := p.operator()
	if p.err != nil {
		return nil
	}
	if p.i == len(p.s) || p.s[p.i] == ')' || p.spaceHere() {
		what := p.s[term:p.i]
		p.fail(p.i, "a value must follow `"+shorten(what)+"` without a space; an empty text is written `"+shorten(what)+"\"\"`")
		return nil
	}
	if quote := p.s[p.i]; quote == '"' || quote == '\'' {
		text, ok := p.quoted(quote)
		if !ok {
			return nil
		}
		if op == "" {
			op = OpEq
		}
		return Test{Op: op, Value: String(text)}
	}
	text, star, literal, ok := p.bare()
	switch {
	case !ok:
		return nil
	case star && op != "":
		p.fail(start, "`*` cannot be compared; `>`, `>=`, `<` and `<=` need a number, a text or a time")
		return nil
	case star && text == "":
		return Test{Op: OpFilled}
	case star:
		return Test{Op: OpStartsWith, Value: String(text)}
	}
	value := String(text)
	if !literal {
		if message := hardlyMeant(text); message != "" {
			p.doubts(start, message)
		}
		value = bareValue(text)
	}
	switch {
	case op == "" && value.Kind() == KindNumber:
		op = OpSame
	case op == "":
		op = OpEq
	case value.Kind() == KindBool || value.Kind() == KindNull:
		p.fail(start, "`"+text+"` cannot be compared; `>`, `>=`, `<` and `<=` need a number, a text or a time")
		return nil
	}
	return Test{Op: op, Value: value}
}

// bareValue gives a word without quotes its type.
func bareValue(text string) Value {
	switch text {
	case "true", "false":
		return Bool(text == "true")
	case "null":
		return Null()
	}
	if n, ok := Number(text); ok {
		return n
	}
	return String(text)
}

func (p *searchParser) spaceHere() bool {
	r, _ := utf8.DecodeRuneInString(p.s[p.i:])
	return unicode.IsSpace(r)
}

// operator passes a comparison in front of a value.
func (p *searchParser) operator() Op {
	rest := p.s[p.i:]
	for _, known := range []struct {
		sign string
		op   Op
	}{{">=", OpGte}, {"<=", OpLte}, {">", OpGt}, {"<", OpLt}} {
		if strings.HasPrefix(rest, known.sign) {
			p.i += len(known.sign)
			if strings.HasPrefix(p.s[p.i:], "=") || strings.HasPrefix(p.s[p.i:], ">") || strings.HasPrefix(p.s[p.i:], "<") {
				p.fail(p.i, "there is no such comparison; there are `>`, `>=`, `<` and `<=`")
			}
			return known.op
		}
	}
	switch {
	case strings.HasPrefix(rest, "!"):
		p.fail(p.i, "\"is not\" is written in front of the field, as in `NOT status:paid`; a `!` in a value is written `\\!` or in quotes")
	case strings.HasPrefix(rest, "="):
		p.fail(p.i, "equality needs no sign, as in `status:paid`; a `=` at the start of a value is written `\\=` or in quotes")
	}
	return ""
}

// quoted reads a value in quotes.
func (p *searchParser) quoted(quote byte) (string, bool) {
	start := p.i
	p.i++
	var b strings.Builder
	for p.i < len(p.s) {
		switch c := p.s[p.i]; c {
		case '\\':
			r, ok := p.escape()
			if !ok {
				return "", false
			}
			b.WriteRune(r)
		case quote:
			p.i++
			if p.i < len(p.s) && p.s[p.i] != ')' && !p.spaceHere() {
				message := "a space or `)` must follow a closing quote"
				if p.s[p.i] == '*' {
					message = "`*` has no meaning behind quotes; for \"starts with\" write the value without them, with a backslash before each space, as in `title:Album\\ A*`"
				}
				p.fail(p.i, message)
				return "", false
			}
			return b.String(), true
		default:
			b.WriteByte(c)
			p.i++
		}
	}
	p.fail(start, "this quote is not closed")
	return "", false
}

// bare reads a value without quotes. star tells that it ends with `*`, literal that a character of it was
// escaped, which makes it a text whatever it looks like.
func (p *searchParser) bare() (text string, star, literal, ok bool) {
	var b strings.Builder
	for p.i < len(p.s) {
		r, size := utf8.DecodeRuneInString(p.s[p.i:])
		if unicode.IsSpace(r) || r == ')' {
			break
		}
		switch {
		case star:
			p.fail(p.i-1, "`*` can stand only at the end of a value; a star in a value is written `\\*` or in quotes")
			return "", false, false, false
		case r == '\\':
			escaped, ok := p.escape()
			if !ok {
				return "", false, false, false
			}
			b.WriteRune(escaped)
			literal = true
			continue
		case r == '*':
			star = true
		case r == ':' || r == '(' || r == '"':
			p.fail(p.i, "`"+string(r)+"` in a value is written `\\"+string(r)+"`, or the whole value in quotes")
			return "", false, false, false
		default:
			b.WriteRune(r)
		}
		p.i += size
	}
	return b.String(), star, literal, true
}
