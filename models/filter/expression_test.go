package filter

import (
	"strings"
	"testing"
	"time"
)

// expressionCases run against the document of the explanations.
var expressionCases = []struct {
	source string
	match  bool
	failed string // a part of the run-time error
}{
	{`data.total >= 4`, true, ""},
	{`data.total > 4`, false, ""},
	{`data.status == "paid" and topic startsWith "order." and id == "evt_1"`, true, ""},
	{`any(data.lines, .qty > 5)`, true, ""},
	{`all(data.lines, .qty > 5)`, false, ""},
	{`float(data.price) >= 29.99`, true, ""},
	{`"gift" in data.tags`, true, ""},
	{`"old" in data.tags`, false, ""},
	{`data.status in ["paid", "open"] and data.status not in ["sent"]`, true, ""},
	{`data.tags == ["gift", "new"] and data.tags != data.lines`, true, ""},
	{`data.lines[0] == data.lines[0] and data.lines[0] != data.lines[1]`, true, ""},
	{`data?.gone?.deeper == nil`, true, ""},
	{`(data.gone ?? 5) == 5`, true, ""},
	{`data.customer.email matches "^[a-z]+@"`, true, ""},
	{`data.gone matches "x"`, false, ""},
	{`data.total matches "x"`, false, "needs a text on its left, not a number"},
	{`metadata.env == "prod" and int(metadata.count) == 10 and metadata.gone == ""`, true, ""},
	{`time > date("2026-01-01T00:00:00Z") and time.Hour() == 12 and time.UTC().Year() == 2026`, true, ""},
	{`time - date(data.at) > duration("24h")`, true, ""},
	{`sum(data.lines, .qty) == 8 and sum(data.many) == 21 and mean(data.many) == 3.5 and min(data.many) == 1 and max(data.many, 9, 2.5) == 9`, true, "needs numbers, not a list"},
	{`sum(data.many) == 21 and mean(data.many) == 3.5 and min(data.many) == 1 and max(3, 9, 2.5) == 9 and sum([]) == 0 and sum(1..3) == 6`,
		true, ""},
	{`sum(data.tags) == "giftnew"`, false, "`sum` needs numbers, not a text"},
	{`min(data.empty) > 0`, false, "at least one number"},
	{`string(data.total) == "4" and string(data.customer.vip) == "false" and string(data.name) == "Ann"`, true, ""},
	{`string(data.tags) == ""`, false, "not a list"},
	{`data.name + "!" == "Ann!" and data.total + 1 == 5 and len(data.name + data.status) == 7`, true, ""},
	{`let n = len(data.lines); n > 1 ? n == 2 : false`, true, ""},
	{`count(data.lines, .qty > 1) == 1 and len(filter(data.lines, .sku in ["a"])) == 1`, true, ""},
	{`split(data.customer.email, "@")[1] == "example.org" and lower("ÄB") == "äb"`, true, ""},
	{`any(data.lines, let q = .qty; any(data.many, # == q))`, true, ""},
	{`data.gone.deeper == 1`, false, "the field before it is missing"},
	{`data.name > 5`, false, "invalid operation"},
	{`data.tags[7] == "x"`, false, "index out of range"},
	{`data.total`, false, "something else than true or false"},
	{`data.customer.vip`, false, ""},
	{`not data.customer.vip`, true, ""},
	{`data.many[1:3] == [2, 3]`, true, ""},
}

func TestExpressions(t *testing.T) {
	t.Parallel()
	doc := eventDoc(explained)
	for _, c := range expressionCases {
		f, err := ParseExpression(c.source)
		if err != nil {
			t.Errorf("%s: %v", c.source, err)
			continue
		}
		got := f.Match(doc)
		switch {
		case c.failed != "":
			if got.Match || got.Failed == nil || !strings.Contains(got.Failed.Error(), c.failed) || got.Rule != 1 {
				t.Errorf("%s: %+v, want a failure with %q", c.source, got, c.failed)
			}
		case got.Match != c.match || got.Failed != nil:
			t.Errorf("%s: %+v, want %v", c.source, got, c.match)
		}
	}
}

// Integers are compared as integers, also those that a float64 cannot tell apart.
func TestExpressionIntegers(t *testing.T) {
	t.Parallel()
	doc := eventDoc(`{"n":9007199254740993}`)
	for source, want := range map[string]bool{`data.n == 9007199254740993`: true, `data.n == 9007199254740992`: false,
		`data.n > 9007199254740992`: true} {
		f, err := ParseExpression(source)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Match(doc); got.Match != want || got.Failed != nil {
			t.Errorf("%s: %+v", source, got)
		}
	}
}

// refusedExpressions do what a filter may not.
var refusedExpressions = []string{
	``, `  `, `1`, `"x"`, `data.total >`, `status == "paid"`, `foo(1)`, `data.foo(1)`,
	`now() > time`, `toJSON(data) != ""`, `repeat("x", 1000000000) != ""`, `len(sort(data.tags)) > 0`, `reduce(data.many, #acc + #, 0) > 0`,
	`len(flatten(data.tags)) > 0`, `groupBy(data.lines, .sku) != nil`, `timezone("UTC") != nil`, `date("x", "y", "Europe/Berlin") > time`,
	`fromJSON("[]") == nil`,
	`all(data.a, all(data.b, all(data.c, # > 0)))`, `data.a | filter(any(data.b, any(data.c, true))) | len() > 0`,
	`data.name matches data.name`, `data.name matches "("`, `data.name matches "` + strings.Repeat(".{0,999}", 50) + `"`,
	`len(1..100000) > 0`, `len(1..data.total) > 0`, `len((0-500000)..(0+500000)) > 0`, `$env.data == nil`, `keys($env) == []`,
	`{"a": 1}.a == 1`,
	`time.In(data.a) == time`, `time.GobEncode() == nil`, `time[data.name]() == 1`, `1; true`,
	`topic > 5`, `topic + 1 == "x"`, `metadata.a.b == "x"`, `time.Month() == 3`,
}

func TestExpressionsRefused(t *testing.T) {
	t.Parallel()
	for _, source := range refusedExpressions {
		f, err := ParseExpression(source)
		wrong := refused(t, f, err)
		if strings.TrimSpace(source) != "" && wrong.Line == 0 && !strings.Contains(wrong.Message, "bool") {
			t.Errorf("%s: %q has no position", source, wrong.Message)
		}
	}
}

// runawayExpressions are short, are accepted, and would use up the processor or the memory if let.
var runawayExpressions = []string{
	`let a = 1..1000; all(a, all(a, # >= 0))`,
	`let a = map(1..99, data); let b = map(1..99, a); let c = map(1..99, b); let d = map(1..99, c); d == d`,
	`let a = map(1..99, data); let b = map(1..99, a); let c = map(1..99, b); let d = map(1..99, c); d in [d]`,
	`let a = data.long; let b = a+a+a+a+a+a+a+a; let c = b+b+b+b+b+b+b+b; let d = c+c+c+c+c+c+c+c; let e = d+d+d+d+d+d+d+d; let f = e+e+e+e+e+e+e+e; let g = f+f+f+f+f+f+f+f; let h = g+g+g+g+g+g+g+g; len(h) > 0`,
	`let a = data.long; len(map(1..1000, map(1..1000, a))) > 0`,
	`len(map(1..1000, 1..1000)) > 0`,
	`any(1..1000, any(1..1000, data.long matches "(a|b|[0-9]|x)*(c|d|[0-9])*y"))`,
	`let a = [data]; let b = [a,a,a,a,a,a,a,a]; let c = [b,b,b,b,b,b,b,b]; let d = [c,c,c,c,c,c,c,c]; let e = [d,d,d,d,d,d,d,d]; let f = [e,e,e,e,e,e,e,e]; let g = [f,f,f,f,f,f,f,f]; g == g`,
	`any(1..1000, any(1..1000, len(lower(upper(data.long))) < 5))`,
}

func TestRunawayExpressionsFail(t *testing.T) {
	t.Parallel()
	doc := eventDoc(explained)
	for _, source := range runawayExpressions {
		f, err := ParseExpression(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		started := time.Now()
		if got := f.Match(doc); got.Match || got.Failed != errTooMuchWork {
			t.Errorf("%s: %+v, want to be stopped", source, got)
		}
		if took := time.Since(started); took > time.Minute {
			t.Errorf("%s: took %v", source, took)
		}
	}
	// The clock starts again with each run.
	if got := mustParse(t, `{"$expr":"all(data.many, # > 0)"}`).Match(doc); !got.Match {
		t.Errorf("after the runaways: %+v", got)
	}
}

// What stops a loop is the count of its turns, so that the outcome is the same on every machine.
func TestLoopsAreCounted(t *testing.T) {
	t.Parallel()
	c := &clock{meter: meter{left: 10 * tickUnits}, deadline: time.Now().Add(time.Hour)}
	turns := 0
	for ; turns < 100; turns++ {
		if _, err := tick(c); err != nil {
			break
		}
	}
	if turns != 10 {
		t.Errorf("%d turns, want 10", turns)
	}
}

// The clock on the wall is the last resort: it stops turns of a loop that are few and slow.
func TestExpressionDeadline(t *testing.T) {
	t.Parallel()
	doc := eventDoc(`{"long":"` + strings.Repeat("Ä", 500_000) + `"}`)
	f, err := ParseExpression(`any(1..1000, any(1..20, len(lower(upper(lower(upper(data.long))))) < 5))`)
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if got := f.Match(doc); got.Match || got.Failed != errTooMuchWork {
		t.Errorf("%+v, want to be stopped", got)
	}
	if took := time.Since(started); took > time.Minute {
		t.Errorf("took %v", took)
	}
}
