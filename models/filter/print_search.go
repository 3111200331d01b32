package filter

import (
	"strings"
	"unicode"
)

// Search writes the filter in the search notation. lossless is false when the text does not say the same as
// the filter in every case; reason then says what differs. The text is empty when the filter cannot be said
// at all, even roughly, and for the empty filter.
func (f *Filter) Search() (text string, lossless bool, reason string) {
	switch {
	case f.IsEmpty():
		return "", true, ""
	case f.expression != nil:
		return "", false, reasonExpression
	}
	p := searchPrinter{}
	printed := p.node(f.tree)
	if p.impossible {
		return "", false, p.reason
	}
	return printed.render(searchTop), p.reason == "", p.reason
}

const reasonExpression = "an expression is a formula and cannot be shown as separate rules"

// searchPrinter remembers the first reason for which the text says less, or something else, than the tree.
type searchPrinter struct {
	reason     string
	impossible bool
}

// roughly notes a difference. The text is still worth showing.
func (p *searchPrinter) roughly(reason string) {
	if p.reason == "" {
		p.reason = reason
	}
}

// cannot notes what the notation has no words for.
func (p *searchPrinter) cannot(reason string) searchText {
	if !p.impossible {
		p.reason, p.impossible = reason, true
	}
	return searchText{}
}

// searchText is a piece of search notation: a term, or pieces joined by AND or OR, or a negated piece.
type searchText struct {
	term  string
	join  string // "AND" or "OR" for several parts, "NOT" for one
	parts []searchText
}

// Where a piece of text stands decides whether it needs parentheses.
const (
	searchTop = iota
	searchPart
)

func (t searchText) render(where int) string {
	switch t.join {
	case "":
		return t.term
	case "NOT":
		return "NOT " + t.parts[0].render(searchPart)
	}
	rendered := make([]string, len(t.parts))
	for i, part := range t.parts {
		rendered[i] = part.render(searchPart)
	}
	text := strings.Join(rendered, " "+t.join+" ")
	if where == searchPart {
		return "(" + text + ")"
	}
	return text
}

func joined(join string, parts []searchText) searchText {
	if len(parts) == 1 {
		return parts[0]
	}
	return searchText{join: join, parts: parts}
}

// node prints the top of a tree.
func (p *searchPrinter) node(n Node) searchText {
	switch n := n.(type) {
	case And:
		return joined("AND", p.nodes(n))
	case Or:
		return joined("OR", p.nodes(n))
	case Not:
		return searchText{join: "NOT", parts: p.nodes([]Node{n.Node})}
	case Field:
		return p.pattern(n.Path, n.Node)
	}
	return p.cannot("this filter compares without a field")
}

func (p *searchPrinter) nodes(nodes []Node) []searchText {
	printed := make([]searchText, len(nodes))
	for i, n := range nodes {
		printed[i] = p.node(n)
	}
	return printed
}

// pattern prints what is asked of a field. In the search notation each term looks at the field anew.
func (p *searchPrinter) pattern(path []string, n Node) searchText {
	name := "`" + formatPath(path) + "`"
	switch n := n.(type) {
	case Test:
		return p.test(path, n)
	case Not:
		p.roughly("in search notation NOT speaks of all elements: if " + name +
			" is reached through a list, one element without the value is not enough")
		return searchText{join: "NOT", parts: []searchText{p.pattern(path, n.Node)}}
	case Field:
		return p.pattern(joinPath(path, n.Path), n.Node)
	case Or:
		return joined("OR", p.patterns(path, n))
	case List:
		p.roughly("search notation cannot ask for a list: these terms also match if " + name + " is a single value")
	case And:
		p.roughly("search notation tests each condition on its own: if " + name +
			" is or stands in a list, different elements may meet them")
	}
	var parts []Node
	if list, ok := n.(List); ok {
		parts = list
	} else {
		parts = n.(And)
	}
	return joined("AND", p.patterns(path, parts))
}

func (p *searchPrinter) patterns(path []string, nodes []Node) []searchText {
	printed := make([]searchText, len(nodes))
	for i, n := range nodes {
		printed[i] = p.pattern(path, n)
	}
	return printed
}

var searchSigns = map[Op]string{OpGt: ">", OpGte: ">=", OpLt: "<", OpLte: "<="}

// test prints one comparison.
func (p *searchPrinter) test(path []string, t Test) searchText {
	field, ok := searchField(path)
	name := "`" + formatPath(path) + "`"
	switch {
	case !ok:
		return p.cannot("search notation cannot name a field with an empty key")
	case t.Ref != "":
		return p.cannot("search notation cannot compare " + name + " with another field")
	}
	switch t.Op {
	case OpEq:
		return p.equality(field, name, t.Value)
	case OpSame:
		return searchText{term: field + ":" + t.Value.Text()}
	case OpFilled:
		return searchText{term: field + ":*"}
	case OpExist:
		p.roughly("search notation can only ask that " + name + " is there and not empty")
		return searchText{term: field + ":*"}
	case OpGt, OpGte, OpLt, OpLte:
		if t.Value.Kind() == KindNumber {
			return searchText{term: field + ":" + searchSigns[t.Op] + t.Value.Text()}
		}
		return searchText{term: field + ":" + searchSigns[t.Op] + searchQuoted(t.Value.Text())}
	case OpIn:
		var alternatives []searchText
		for _, item := range t.Value.Items() {
			alternatives = append(alternatives, p.equality(field, name, item))
		}
		return joined("OR", alternatives)
	case OpStartsWith:
		values, _ := alternativesOf(t)
		var alternatives []searchText
		for _, value := range values {
			if value.Text() == "" {
				return p.cannot("search notation cannot say that " + name + " starts with nothing")
			}
			alternatives = append(alternatives, searchText{term: field + ":" + searchPrefix(value.Text()) + "*"})
		}
		return joined("OR", alternatives)
	case OpContains:
		return p.cannot("search notation cannot say that " + name + " contains a text")
	case OpEndsWith:
		return p.cannot("search notation cannot say that " + name + " ends with a text")
	case OpRegex:
		return p.cannot("search notation cannot say that " + name + " matches a pattern")
	}
	return p.cannot("search notation cannot say `" + string(t.Op) + "`")
}

func (p *searchPrinter) equality(field, name string, v Value) searchText {
	switch v.Kind() {
	case KindList, KindObject:
		return p.cannot("search notation cannot compare " + name + " with a whole list or object")
	case KindNumber:
		p.roughly("in search notation a number also matches a text: " + field + ":" + v.Text() + " is true for \"" + v.Text() + "\" too")
		return searchText{term: field + ":" + v.Text()}
	case KindString:
		return searchText{term: field + ":" + searchWord(v.Text())}
	}
	return searchText{term: field + ":" + v.JSON()}
}

// searchField writes a path; ok is false for one with an empty key.
func searchField(path []string) (text string, ok bool) {
	var b strings.Builder
	for i, key := range shortened(path) {
		if key == "" {
			return "", false
		}
		if i > 0 {
			b.WriteByte('.')
		}
		for j, r := range key {
			if strings.ContainsRune(`\.:()*"'`, r) || unicode.IsSpace(r) || i == 0 && j == 0 && r == '-' {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		}
	}
	if text = b.String(); looksLikeTime.MatchString(text + ":0") {
		text = "data." + text
	}
	return text, true
}

// searchWord writes a text, with quotes only where it would be read as something else without them.
func searchWord(s string) string {
	if s == "" || strings.ContainsRune(`'=!<>`, rune(s[0])) || strings.ContainsAny(s, `\:()*"`) ||
		strings.ContainsFunc(s, unicode.IsSpace) || bareValue(s).Kind() != KindString || hardlyMeant(s) != "" {
		return searchQuoted(s)
	}
	return s
}

func searchQuoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	writeEscaped(&b, s, `\"`)
	b.WriteByte('"')
	return b.String()
}

// searchPrefix writes a text in front of a star, where quotes cannot be used.
func searchPrefix(s string) string {
	var b strings.Builder
	for i, r := range s {
		if strings.ContainsRune(`\:()*"`, r) || unicode.IsSpace(r) || i == 0 && strings.ContainsRune(`'=!<>`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
