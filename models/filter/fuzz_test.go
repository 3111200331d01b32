package filter

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// The fuzz targets run only their seeds in an ordinary test. With -fuzz they look for texts that a parser
// panics on or takes long for, and for filters that do not survive being printed and read again.

// maxFuzzTime is far more than any filter and event of the allowed size may take.
const maxFuzzTime = 20 * time.Second

// checkFilter asserts what holds for every filter that was accepted.
func checkFilter(t *testing.T, f *Filter, err error, doc *Doc) {
	t.Helper()
	if err != nil {
		var wrong *Error
		if !errors.As(err, &wrong) || wrong.Message == "" || f != nil {
			t.Fatalf("%T %v", err, err)
		}
		return
	}
	result, verdict := f.Match(doc), f.Explain(doc)
	if result.Match != verdict.Match || result.Rule != verdict.Rule || verdict.Reason == "" || result.Match && result.Failed != nil {
		t.Fatalf("matched %+v, explained %+v", result, verdict)
	}
	f.Rules()
	for _, to := range []Notation{NotationJSON, NotationSearch, NotationExpression, NotationRules} {
		out, lossless, reason, err := f.Convert(to)
		if err != nil || lossless != (reason == "") {
			t.Fatalf("to %s: lossless %v, reason %q, %v", to, lossless, reason, err)
		}
		if !lossless {
			continue
		}
		if to == NotationRules {
			var rules Rules
			if err := json.Unmarshal(out, &rules); err != nil {
				t.Fatal(err)
			}
			again, err := FromRules(rules)
			if err != nil || !Equal(again.Tree(), f.Tree()) {
				t.Fatalf("rules %s: %v\nbefore %s\nafter  %s", out, err, show(f.Tree()), show(again.Tree()))
			}
			continue
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatalf("%s is printed as %s: %v", show(f.Tree()), out, err)
		}
		if to == NotationJSON && !Equal(again.Tree(), f.Tree()) {
			t.Fatalf("printed %s\nbefore %s\nafter  %s", out, show(f.Tree()), show(again.Tree()))
		}
		if got := again.Match(doc); got.Match != result.Match {
			t.Fatalf("%+v, but %+v as %s", result, got, out)
		}
	}
}

func timed(t *testing.T, run func()) {
	t.Helper()
	started := time.Now()
	run()
	if took := time.Since(started); took > maxFuzzTime {
		t.Fatalf("took %v", took)
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(v.Filter), []byte(v.Event.Data))
	}
	for _, c := range matchCases {
		for _, raw := range c.yes {
			f.Add([]byte(raw), []byte(c.data))
		}
	}
	for _, raw := range decodeSeeds {
		f.Add([]byte(raw), []byte(`{}`))
	}
	f.Fuzz(func(t *testing.T, raw, data []byte) {
		timed(t, func() {
			filter, err := Parse(raw)
			checkFilter(t, filter, err, NewDoc("evt_1", "order.created", benchTime, map[string]string{"k": "v"}, data))
		})
	})
}

func FuzzSearch(f *testing.F) {
	for _, v := range vectors(f) {
		var text string
		if json.Unmarshal(v.Filter, &text) == nil {
			f.Add(text)
		}
	}
	for _, c := range printed {
		f.Add(c.search)
	}
	for _, text := range []string{"a:1 OR b:2 AND c:3", "((((", "NOT -NOT a:b", `a:"\`, `\:\.:\*`, "-:-", "a:>=<=1", "a:b*c OR", "AND:OR OR NOT:NOT", "a:'x' b:\u00a0c", "ä.ö:ü*", "a:\x00"} {
		f.Add(text)
	}
	doc := eventDoc(explained)
	f.Fuzz(func(t *testing.T, text string) {
		timed(t, func() {
			filter, err := ParseSearch(text)
			checkFilter(t, filter, err, doc)
			if err != nil || filter.IsEmpty() {
				return
			}
			// What was read from search notation can always be said in it.
			if printed, lossless, reason := filter.Search(); !lossless {
				t.Fatalf("%q is printed as %q: %s", text, printed, reason)
			}
		})
	})
}

func FuzzExpression(f *testing.F) {
	for _, c := range expressionCases {
		f.Add(c.source)
	}
	for _, source := range append(refusedExpressions, runawayExpressions...) {
		f.Add(source)
	}
	doc := eventDoc(explained)
	f.Fuzz(func(t *testing.T, source string) {
		timed(t, func() {
			filter, err := ParseExpression(source)
			checkFilter(t, filter, err, doc)
		})
	})
}

func FuzzReference(f *testing.F) {
	for _, text := range []string{"a", "data.a", "a.b[0].c", "lines[$index].min", `a\.b.c\[`, "a[", "a]", "[0]", ".", "a.", `\`, "topic",
		"a[00]", "a[-1]", "data", "data[0]", "data[0].topic"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		steps, message := parseReference(text)
		if message != "" {
			return
		}
		for _, short := range []bool{true, false} {
			printed := formatReference(steps, short)
			again, message := parseReference(printed)
			if message != "" || formatReference(again, false) != formatReference(steps, false) {
				t.Fatalf("%q is printed as %q: %s", text, printed, message)
			}
		}
		if strings.Contains(text, "[") && len(steps) == 1 {
			t.Fatalf("%q has one part", text)
		}
	})
}

// FuzzProjection: an expression that computes a value ends in time with one, or with a sentence, and the same each time.
func FuzzProjection(f *testing.F) {
	for _, c := range expressionCases {
		f.Add(c.source)
	}
	for _, source := range append([]string{`{"id": id, "total": data.total}`, `data`, `[data, data]`, `1/0`,
		`{"a": {"b": repeat("x", 100)}}`, `nil`, `"a" + 1`, `date("x")`, `metadata.k`},
		runawayExpressions...) {
		f.Add(source)
	}
	doc := eventDoc(explained)
	f.Fuzz(func(t *testing.T, source string) {
		timed(t, func() {
			p, err := ParseProjection(source)
			if err != nil {
				return
			}
			if p.Source() != source {
				t.Errorf("%q is kept as %q", source, p.Source())
			}
			text, err := p.Text(doc)
			if err != nil && err.Error() == "" {
				t.Errorf("%q fails without a word", source)
			}
			if again, err2 := p.Text(doc); again != text || (err == nil) != (err2 == nil) {
				t.Errorf("%q gives %q and then %q (%v, %v)", source, text, again, err, err2)
			}
		})
	})
}
