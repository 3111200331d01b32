package filter

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// generator makes random filters and documents of a small vocabulary, so that they meet often.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 1))} }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

var words = []string{
	"a", "b", "ab", "abc", "10", "9.50", "1e1", "", "true", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00",
	"2026-01-02T00:00:00Z", "a b", `q"'*:(\)`, "ä", "=x", "-y",
}

func (g generator) scalar() Value {
	switch g.IntN(6) {
	case 0:
		return Null()
	case 1:
		return Bool(g.IntN(2) == 0)
	case 2, 3:
		return g.number()
	}
	return String(pick(g, words...))
}

func (g generator) number() Value {
	n, ok := Number(pick(g, "0", "1", "-1", "10", "10.0", "9.5", "1e1", "9007199254740993", "9007199254740992", "0.1"))
	if !ok {
		panic("not a number")
	}
	return n
}

// value is a scalar, or a small list or object.
func (g generator) value(depth int) Value {
	switch n := g.IntN(8); {
	case depth > 0 && n == 0:
		items := make([]Value, g.IntN(3))
		for i := range items {
			items[i] = g.value(depth - 1)
		}
		return Values(items...)
	case depth > 0 && n == 1:
		var v Value
		if err := v.UnmarshalJSON([]byte(`{"` + pick(g, "x", "y") + `":` + g.value(depth-1).JSON() + `}`)); err != nil {
			panic(err)
		}
		return v
	}
	return g.scalar()
}

func (g generator) texts() Value {
	if g.IntN(2) == 0 {
		return String(pick(g, words...))
	}
	return Values(String(pick(g, words...)), String(pick(g, words...)))
}

var keys = []string{"x", "y", "z", "list", "topic", "k k", "d.o"}

func (g generator) test() Test {
	if g.IntN(10) == 0 {
		op := pick(g, OpEq, OpGt, OpGte, OpLt, OpLte, OpIn, OpContains, OpStartsWith, OpEndsWith)
		return Test{Op: op, Ref: pick(g, "data.x", "data.list", "data.y.x", "topic", "data.list.x", "data.list[$index].x", "data.list[0]",
			"data.z[$index]")}
	}
	switch op := pick(g, OpEq, OpEq, OpEq, OpGt, OpGte, OpLt, OpLte, OpIn, OpContains, OpStartsWith, OpEndsWith, OpRegex, OpExist, OpFilled,
		OpSame); op {
	case OpEq:
		return Test{Op: op, Value: g.value(2)}
	case OpGt, OpGte, OpLt, OpLte:
		if g.IntN(2) == 0 {
			return Test{Op: op, Value: g.number()}
		}
		return Test{Op: op, Value: String(pick(g, words...))}
	case OpIn:
		items := []Value{g.value(1)}
		for g.IntN(2) == 0 {
			items = append(items, g.value(1))
		}
		return Test{Op: op, Value: Values(items...)}
	case OpContains, OpStartsWith, OpEndsWith:
		return Test{Op: op, Value: g.texts()}
	case OpRegex:
		return Test{Op: op, Value: String(pick(g, "^a", "b$", "[0-9]+", "", "a|c"))}
	case OpSame:
		return Test{Op: op, Value: g.number()}
	default:
		return Test{Op: op}
	}
}

// pattern is what may stand below a field.
func (g generator) pattern(depth int) Node {
	if depth == 0 {
		return g.test()
	}
	switch g.IntN(9) {
	case 0:
		return And(g.nodes(depth, g.pattern))
	case 1:
		return Or(g.nodes(depth, g.pattern))
	case 2:
		return Not{g.pattern(depth - 1)}
	case 3:
		return List(g.nodes(depth, g.pattern))
	case 4, 5:
		return Field{[]string{pick(g, keys...)}, g.pattern(depth - 1)}
	}
	return g.test()
}

func (g generator) nodes(depth int, one func(int) Node) []Node {
	nodes := []Node{one(depth - 1)}
	for len(nodes) < 3 && g.IntN(3) > 0 {
		nodes = append(nodes, one(depth-1))
	}
	return nodes
}

// tree is a whole filter.
func (g generator) tree(depth int) Node {
	if depth > 0 {
		switch g.IntN(6) {
		case 0:
			return And(g.nodes(depth, g.tree))
		case 1:
			return Or(g.nodes(depth, g.tree))
		case 2:
			return Not{g.tree(depth - 1)}
		}
	}
	path := []string{"data", pick(g, keys...)}
	switch g.IntN(8) {
	case 0:
		path = []string{pick(g, "topic", "id", "data")}
	case 1:
		path = []string{"metadata", pick(g, "k", "x")}
	}
	return Field{path, g.pattern(max(depth, 1))}
}

// data is a random payload. It is an object unless other types are asked for.
func (g generator) data(depth int) string {
	var b strings.Builder
	g.object(&b, depth)
	return b.String()
}

func (g generator) object(b *strings.Builder, depth int) {
	b.WriteByte('{')
	comma := ""
	for _, key := range keys {
		if g.IntN(3) == 0 {
			continue
		}
		fmt.Fprintf(b, "%s%q:", comma, key)
		g.any(b, depth-1)
		comma = ","
	}
	b.WriteByte('}')
}

func (g generator) any(b *strings.Builder, depth int) {
	switch n := g.IntN(6); {
	case depth > 0 && n < 2:
		g.object(b, depth)
	case depth > 0 && n < 4:
		b.WriteByte('[')
		for i := range g.IntN(4) {
			if i > 0 {
				b.WriteByte(',')
			}
			g.any(b, depth-1)
		}
		b.WriteByte(']')
	default:
		b.WriteString(g.scalar().JSON())
	}
}

func (g generator) doc(data string) *Doc {
	return NewDoc("evt_1", pick(g, "a", "ab", "order.created"), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		map[string]string{"k": pick(g, words...)}, []byte(data))
}

// rounds is how many random cases each property is tried on. Twenty-five times as many pass as well.
const rounds = 4000

func eachTree(t *testing.T, seed uint64, try func(t *testing.T, g generator, f *Filter)) {
	t.Helper()
	t.Parallel()
	g := newGenerator(seed)
	for range rounds {
		f, err := New(g.tree(g.IntN(4)))
		if err != nil {
			t.Fatalf("a random tree is refused: %v", err)
		}
		if try(t, g, f); t.Failed() {
			return
		}
	}
}

func TestPropertyNormalizeIsIdempotent(t *testing.T) {
	eachTree(t, 1, func(t *testing.T, _ generator, f *Filter) {
		if again := normalize(f.Tree()); !Equal(again, f.Tree()) {
			t.Errorf("normalized once:  %s\nnormalized twice: %s", show(f.Tree()), show(again))
		}
	})
}

// Normalizing must change no verdict. Payloads are objects here: for a payload that is itself a list,
// normalizing is what defines the meaning.
func TestPropertyNormalizeKeepsTheMeaning(t *testing.T) {
	t.Parallel()
	g := newGenerator(2)
	for range rounds {
		tree := g.tree(g.IntN(4))
		raw, err := compile(tree)
		if err != nil {
			t.Fatal(err)
		}
		f, err := New(tree)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			data := g.data(3)
			doc := g.doc(data)
			if a, b := raw.match(doc), f.Match(doc); a.Match != b.Match {
				t.Fatalf("%v before and %v after normalizing\ntree: %s\nthen: %s\ndata: %s", a.Match, b.Match, show(tree), show(f.Tree()),
					data)
			}
		}
	}
}

func TestPropertyJSONRoundTrip(t *testing.T) {
	eachTree(t, 3, func(t *testing.T, _ generator, f *Filter) {
		text, lossless, reason := f.JSON()
		if !lossless {
			t.Fatalf("cannot be printed: %s", reason)
		}
		again, err := Parse([]byte(text))
		if err != nil {
			t.Fatalf("%s\nis refused: %v", text, err)
		}
		if !Equal(f.Tree(), again.Tree()) {
			t.Errorf("printed %s\nbefore %s\nafter  %s", text, show(f.Tree()), show(again.Tree()))
		}
	})
}

// What the search printer calls lossless must decide the same, and must survive being read and printed.
func TestPropertySearchRoundTrip(t *testing.T) {
	lossless := 0
	eachTree(t, 4, func(t *testing.T, g generator, f *Filter) {
		text, ok, reason := f.Search()
		if ok != (reason == "") {
			t.Fatalf("lossless %v with the reason %q", ok, reason)
		}
		if text == "" {
			return
		}
		again, err := ParseSearch(text)
		if err != nil {
			t.Fatalf("%s\nprinted for %s\nis refused: %v", text, show(f.Tree()), err)
		}
		second, stable, reason := again.Search()
		third, err := ParseSearch(second)
		if !stable || err != nil || !Equal(third.Tree(), again.Tree()) {
			t.Fatalf("%s\nis printed as %s (%s)\nbefore %s\nafter  %s", text, second, reason, show(again.Tree()), show(third.Tree()))
		}
		if !ok {
			return
		}
		lossless++
		for range 5 {
			data := g.data(3)
			doc := g.doc(data)
			if a, b := f.Match(doc), again.Match(doc); a.Match != b.Match {
				t.Fatalf("%v but %v as %s\ntree: %s\ndata: %s", a.Match, b.Match, text, show(f.Tree()), data)
			}
		}
	})
	if lossless < rounds/20 {
		t.Errorf("only %d of %d filters could be said in search notation", lossless, rounds)
	}
}

func TestPropertyRowsRoundTrip(t *testing.T) {
	lossless := 0
	eachTree(t, 5, func(t *testing.T, _ generator, f *Filter) {
		rules, ok, reason := f.Rows()
		if ok != (reason == "") {
			t.Fatalf("lossless %v with the reason %q", ok, reason)
		}
		if !ok {
			return
		}
		lossless++
		encoded, err := json.Marshal(rules)
		if err != nil {
			t.Fatal(err)
		}
		var decoded Rules
		if err := json.Unmarshal(encoded, &decoded); err != nil {
			t.Fatal(err)
		}
		again, err := FromRules(decoded)
		if err != nil {
			t.Fatalf("%s\nis refused: %v", encoded, err)
		}
		// A row is a rule, and so is a group for one element, so that a page can number its rows itself.
		if rows := countRows(rules.Rules); rows != len(f.Rules()) {
			t.Errorf("%d rows in %s, but %d rules", rows, encoded, len(f.Rules()))
		}
		if !Equal(f.Tree(), again.Tree()) {
			t.Errorf("rows   %s\nbefore %s\nafter  %s", encoded, show(f.Tree()), show(again.Tree()))
		}
	})
	if lossless < rounds/5 {
		t.Errorf("only %d of %d filters could be shown as rows", lossless, rounds)
	}
}

func countRows(rows []Row) int {
	count := 0
	for _, row := range rows {
		if row.Group == "" || row.Group == GroupOne {
			count++
		} else {
			count += countRows(row.Rules)
		}
	}
	return count
}

func TestPropertyExpressionDecidesTheSame(t *testing.T) {
	lossless := 0
	eachTree(t, 6, func(t *testing.T, g generator, f *Filter) {
		text, ok, _ := f.AsExpression()
		if !ok {
			return
		}
		lossless++
		again, err := ParseExpression(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for range 5 {
			data := g.data(2)
			doc := g.doc(data)
			if a, b := f.Match(doc), again.Match(doc); a.Match != b.Match || b.Failed != nil {
				t.Fatalf("%v but %+v as %s\ndata: %s", a.Match, b, text, data)
			}
		}
	})
	if lossless < rounds/100 {
		t.Errorf("only %d of %d filters could be said as an expression", lossless, rounds)
	}
}

func TestPropertyExplainAgreesWithMatch(t *testing.T) {
	eachTree(t, 7, func(t *testing.T, g generator, f *Filter) {
		data := g.data(3)
		doc := g.doc(data)
		result := f.Match(doc)
		verdict := f.Explain(doc)
		rules := f.Rules()
		switch {
		case result.Failed != nil:
			t.Errorf("failed: %v", result.Failed)
		case verdict.Match != result.Match || verdict.Rule != result.Rule:
			t.Errorf("matched %+v, explained %+v", result, verdict)
		case result.Match != (result.Rule == 0) || result.Rule > len(rules):
			t.Errorf("%+v with %d rules", result, len(rules))
		case !result.Match && verdict.Path != rules[result.Rule-1].Path:
			t.Errorf("rule %d is %+v, but the verdict %+v", result.Rule, rules[result.Rule-1], verdict)
		case len(verdict.Reason) < 5 || strings.HasSuffix(verdict.Reason, " ") || strings.Contains(verdict.Reason, ", ;"):
			t.Errorf("reason %q for %s\ndata: %s", verdict.Reason, show(f.Tree()), data)
		}
	})
}

// The compiled form must decide like the naive one, which shares no code with it but the reading of a reference.
func TestPropertyDecidesLikeTheDescription(t *testing.T) {
	matched, tried := 0, 0
	eachTree(t, 8, func(t *testing.T, g generator, f *Filter) {
		text, _, _ := f.JSON()
		if strings.Contains(text, "$index") {
			return // the meaning without a list around it is for a test of its own
		}
		for range 3 {
			data := g.data(3)
			doc := g.doc(data)
			document := map[string]any{"id": doc.id, "topic": doc.topic, "metadata": map[string]any{"k": doc.metadata["k"]},
				"data": naiveDecode(data)}
			want := naiveMatch(naiveDecode(text), document)
			tried++
			if want {
				matched++
			}
			if got := f.Match(doc); got.Match != want || got.Failed != nil {
				t.Fatalf("%+v, want %v\nfilter: %s\ndata: %s\ntopic: %s metadata: %v", got, want, text, data, doc.topic, doc.metadata)
			}
		}
	})
	if matched < tried/10 || matched > tried*9/10 {
		t.Errorf("%d of %d random cases matched; they should be mixed better", matched, tried)
	}
}

// show writes a tree for a failure message.
func show(n Node) string {
	switch n := n.(type) {
	case And:
		return "and(" + showAll(n) + ")"
	case Or:
		return "or(" + showAll(n) + ")"
	case List:
		return "list(" + showAll(n) + ")"
	case Not:
		return "not(" + show(n.Node) + ")"
	case Field:
		return formatPath(n.Path) + ":" + show(n.Node)
	case Test:
		return string(n.Op) + " " + n.Value.JSON() + n.Ref
	}
	return "nil"
}

func showAll(nodes []Node) string {
	parts := make([]string, len(nodes))
	for i, n := range nodes {
		parts[i] = show(n)
	}
	return strings.Join(parts, ", ")
}
