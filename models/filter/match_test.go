package filter

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// matchCases are filters against one document, by theme. They go beyond the vectors where the description
// leaves room for misreading.
var matchCases = []struct {
	theme string
	data  string
	yes   []string // filters that match
	no    []string // filters that do not
}{
	{
		theme: "numbers by value, exactly",
		data:  `{"big":9007199254740993,"huge":123456789012345678901234567890,"price":"29.990","e":1e3,"zero":-0.0,"tiny":1e-400,"text":"007","plus":"+5","space":" 5"}`,
		yes: []string{
			`{"big":9007199254740993}`, `{"big":{"$gt":9007199254740992}}`, `{"huge":123456789012345678901234567890}`,
			`{"huge":{"$gt":123456789012345678901234567889}}`, `{"e":1000}`, `{"e":{"$in":[1000.0]}}`, `{"zero":0}`,
			`{"tiny":{"$gt":0}}`, `{"price":{"$gte":29.99,"$lte":29.99}}`, `"price:29.99"`, `"e:1000"`, `"big:9007199254740993"`,
		},
		no: []string{
			`{"big":9007199254740992}`, `{"huge":123456789012345678901234567891}`, `{"price":29.99}`, `{"text":{"$gte":7}}`,
			`{"plus":{"$gte":5}}`, `{"space":{"$gte":5}}`, `"text:7"`, `{"tiny":0}`, `"big:9007199254740992"`,
		},
	},
	{
		theme: "types are not mixed",
		data:  `{"n":1,"s":"1","t":true,"z":null,"o":{"a":1},"l":[1],"twice":{"a":1,"a":2}}`,
		yes: []string{`"s:\\1"`, `{"twice":{"$eq":{"a":2}}}`, `{"n":1}`, `{"s":"1"}`, `{"t":true}`, `{"z":null}`,
			`{"o":{"$eq":{"a":1.0}}}`, `{"l":1}`, `{"z":{"$exist":true}}`, `"s:1"`, `"n:1"`, `"z:null"`, `"t:true"`},
		no: []string{
			`"n:\\1"`, `{"twice":{"$eq":{"a":1}}}`, `{"n":"1"}`, `{"s":1}`, `{"t":1}`, `{"t":"true"}`, `{"z":false}`, `{"z":""}`, `{"z":0}`,
			`{"o":{"$eq":{"a":1,"b":2}}}`, `{"n":{"$gt":"0"}}`,
			`{"z":{"$lt":5}}`, `{"t":{"$gt":0}}`, `{"o":{"$gt":0}}`, `{"n":{"$contains":"1"}}`, `{"n":{"$regex":"1"}}`, `"n:\"1\""`,
			`"t:\"true\""`,
		},
	},
	{
		theme: "times by instant",
		data:  `{"at":"2026-01-02T00:00:00+02:00","nano":"2026-01-01T22:00:00.000000001Z","day":"2026-01-01","lower":"2026-01-01t22:00:00z"}`,
		yes: []string{
			`{"at":"2026-01-01T22:00:00Z"}`, `{"at":{"$in":["x","2026-01-01T22:00:00Z"]}}`, `{"at":{"$lt":"2026-01-01T22:00:01Z"}}`,
			`{"nano":{"$gt":{"$ref":"at"}}}`,
			`{"at":{"$eq":{"$ref":"lower"}}}`, `{"day":{"$lt":"2026-01-01T00:00:00Z"}}`, `{"at":{"$startsWith":"2026-01-02"}}`,
			`"at:\"2026-01-01T22:00:00Z\""`,
			`"time:>=\"2026-03-01T12:00:00Z\""`, `{"time":"2026-03-01T13:00:00+01:00"}`, `{"time":{"$startsWith":"2026-03-01T12"}}`,
		},
		no: []string{`{"at":{"$neq":"2026-01-01T22:00:00Z"}}`, `{"at":{"$gt":"2026-01-01T22:00:00Z"}}`, `{"day":"2026-01-01T00:00:00Z"}`,
			`{"time":{"$lt":"2026-03-01T12:00:00Z"}}`},
	},
	{
		theme: "missing fields",
		data:  `{"a":{"b":1},"s":"x","n":null}`,
		yes: []string{
			`{"q":{"$exist":false}}`, `{"q":{"r":{"s":{"$exist":false}}}}`, `{"s":{"x":{"$exist":false}}}`, `{"n":{"x":{"$exist":false}}}`,
			`{"q":{"$neq":1}}`, `{"q":{"r":{"$neq":1}}}`, `{"q":{"$nin":["x"]}}`, `{"q":{"$nin":"x"}}`, `{"q":{"$not":{"$gt":1}}}`,
			`{"q":{"$not":{"r":1}}}`,
			`{"$not":{"q":1}}`, `{"q":{"$neq":{"$ref":"also_missing"}}}`, `{"q":{"$empty":true}}`, `"-q:*"`, `"NOT q:>5"`,
			`{"q":{"$exist":false,"$neq":3}}`,
			`{"q":{"$or":[1,{"$exist":false}]}}`, `{"a":{"b":1,"c":{"$exist":false}}}`,
		},
		no: []string{
			`{"q":null}`, `{"q":{"$exist":true}}`, `{"q":{"$eq":null}}`, `{"q":{"$in":[null]}}`, `{"q":{"$gt":1}}`, `{"q":{"$lt":1}}`,
			`{"q":{"$regex":""}}`,
			`{"q":{"$contains":""}}`, `{"q":{"$eq":{"$ref":"also_missing"}}}`, `{"q":["x"]}`, `{"q":{"$empty":false}}`,
			`{"a":{"$exist":false}}`, `{"n":{"$exist":false}}`,
			`"q:*"`, `{"q":{"$neq":1,"$exist":true}}`,
		},
	},
	{
		theme: "lists of values",
		data:  `{"tags":["gift","new"],"n":[3,9],"empty":[],"one":["gift"],"m":[[1,2],[3]],"mixed":["a",1,null,{"k":"v"},["deep"]]}`,
		yes: []string{
			`{"tags":"gift"}`, `{"tags":{"$in":["x","new"]}}`, `{"n":{"$gt":5}}`, `{"n":{"$or":[{"$gt":8},{"$lt":1}]}}`,
			`{"tags":["gift"]}`, `{"tags":["new","gift","new"]}`,
			`{"tags":[{"$startsWith":"g"},{"$startsWith":"n"}]}`, `{"tags":{"$eq":["gift","new"]}}`, `{"tags":{"$neq":["new","gift"]}}`,
			`{"tags":{"$neq":"x"}}`,
			`{"tags":{"$not":{"$startsWith":"x"}}}`, `{"tags":[{"$neq":"gift"}]}`, `{"empty":{"$neq":"x"}}`, `{"empty":{"$nin":["x"]}}`,
			`{"empty":{"$eq":[]}}`, `{"empty":{"$exist":true}}`,
			`{"m":3}`, `{"m":[[3]]}`, `{"m":[[1,2],3]}`, `{"m":{"$in":[[[1,2],[3]]]}}`, `{"m":{"$neq":7}}`, `{"mixed":null}`,
			`{"mixed":{"k":"v"}}`, `{"mixed":"deep"}`,
			`{"n":{"$gt":1,"$neq":5}}`, `{"tags":{"$or":["x",{"$neq":"y"}]}}`, `{"empty":{"$or":["x",{"$neq":"y"}]}}`,
			`{"n":{"$not":{"$not":{"$gt":8}}}}`,
			`"tags:*"`, `"-empty:*"`, `"n:>5 n:<5"`, `{"tags":{"$contains":"if"}}`, `{"n":{"$in":[9]}}`, `{"one":{"$nin":["new"]}}`,
		},
		no: []string{
			`{"tags":["gift","old"]}`, `{"tags":{"$neq":"gift"}}`, `{"tags":{"$not":"gift"}}`, `{"tags":{"$nin":["gift"]}}`,
			`{"tags":{"$nin":"if"}}`, `{"n":{"$gt":3,"$lt":9}}`,
			`{"n":{"$and":[{"$gt":3},{"$lt":9}]}}`, `{"n":{"$gt":1,"$neq":3}}`, `{"tags":{"$or":["x",{"$neq":"gift"}]}}`, `{"empty":"x"}`,
			`{"empty":[null]}`, `{"empty":{"$gt":0}}`,
			`{"tags":{"$eq":["gift"]}}`, `{"tags":{"$neq":["gift","new"]}}`, `{"m":{"$neq":3}}`, `{"m":{"$eq":[3]}}`,
			`{"m":{"$not":{"$gt":2}}}`, `"empty:*"`, `"NOT tags:new"`,
			`{"tags":{"$exist":false}}`, `{"tags":{"$and":["gift","new"]}}`, `{"one":["gift","new"]}`, `{"tags":{"x":1}}`,
		},
	},
	{
		theme: "lists of objects",
		data:  `{"lines":[{"sku":"a","qty":1,"tags":["x"]},{"sku":"b","qty":7,"tags":["y","z"]}],"none":[],"single":{"sku":"a","qty":1},"groups":[{"lines":[{"sku":"c"}]},{"lines":[{"sku":"d"}]}]}`,
		yes: []string{
			`{"lines":{"sku":"b","qty":7}}`, `{"lines":{"sku":"a"}}`, `{"lines":[{"sku":"a"},{"qty":7}]}`, `{"single":{"sku":"a","qty":1}}`,
			`{"lines":{"sku":{"$neq":"a"}}}`,
			`{"lines":{"sku":"b","$or":[{"qty":1},{"qty":7}]}}`, `{"lines":{"$not":{"sku":"c"}}}`, `{"lines":{"tags":"z","qty":7}}`,
			`{"lines":{"tags":{"$eq":["y","z"]}}}`,
			`{"groups":{"lines":{"sku":"d"}}}`, `{"none":{"$not":{"sku":"a"}}}`, `{"lines":{"color":{"$exist":false}}}`,
			`"lines.sku:a lines.qty:7"`, `"groups.lines.sku:c"`,
			`"NOT lines.sku:c"`, `{"$not":{"lines":{"color":"red"}}}`, `{"lines":{"sku":"a","$not":{"sku":"c"}}}`,
			`{"lines":{"$exist":true,"sku":"a"}}`,
		},
		no: []string{
			`{"lines":{"sku":"a","qty":7}}`, `{"lines":{"sku":"b","$or":[{"qty":1},{"qty":2}]}}`, `{"lines":{"$not":{"sku":"a"}}}`,
			`{"$not":{"lines":{"sku":"a"}}}`, `{"none":{"sku":"a"}}`,
			`{"none":{"sku":{"$neq":"a"}}}`, `{"lines":[{"sku":"a"},{"sku":"c"}]}`, `"NOT lines.sku:a"`,
			`{"lines":{"color":{"$exist":true}}}`, `{"lines":{"sku":"a","$not":{"sku":"b"}}}`, `{"single":[{"sku":"a"}]}`,
		},
	},
	{
		theme: "references",
		data: `{"a":4,"b":5,"s":"abc","p":"b","list":["x","abc"],"price":"29.99","limit":10,"old":["x","y"],"new":["x","y"],"lines":[{"at":5,"min":3},{"at":2,"min":3}],` +
			`"limits":[1,9],"orders":[{"max":2,"lines":[{"q":1},{"q":9}]},{"max":20,"lines":[{"q":2},{"q":21}]}],"mat":[[{"v":3,"w":9},{"v":1,"w":9}],[{"v":4,"w":1}]]}`,
		yes: []string{
			`{"a":{"$lt":{"$ref":"b"}}}`, `{"a":{"$lt":{"$ref":"data.b"}}}`, `{"s":{"$contains":{"$ref":"p"}}}`,
			`{"s":{"$in":{"$ref":"list"}}}`, `{"p":{"$nin":{"$ref":"list"}}}`,
			`{"price":{"$gt":{"$ref":"limit"}}}`, `{"limit":{"$lt":{"$ref":"price"}}}`, `{"new":{"$eq":{"$ref":"old"}}}`,
			`{"new":{"$ref":"old"}}`, `{"lines":{"at":{"$lt":{"$ref":"lines[$index].min"}}}}`,
			`{"lines":{"at":{"$gt":{"$ref":"limits[$index]"}}}}`, `{"a":{"$eq":{"$ref":"a"}}}`, `{"s":{"$eq":{"$ref":"list[1]"}}}`,
			`{"lines":{"at":{"$lt":{"$ref":"lines.min"}}}}`,
			`{"orders":{"lines":{"q":{"$gt":{"$ref":"orders[$index].max"}}}}}`, `{"data":{"a":{"$neq":{"$ref":"id"}}}}`,
			`{"s":{"$startsWith":{"$ref":"s"}}}`, `{"lines":{"$not":{"at":{"$eq":{"$ref":"lines[$index].min"}}}}}`,
			`{"orders":{"lines":{"q":{"$eq":{"$ref":"orders[1].lines[0].q"}}}}}`, `{"mat":{"w":{"$eq":{"$ref":"mat[$index].w"}}}}`,
			`{"list":{"$eq":{"$ref":"s"}}}`,
		},
		no: []string{
			`{"a":{"$gt":{"$ref":"b"}}}`, `{"a":{"$lt":{"$ref":"gone"}}}`, `{"gone":{"$lt":{"$ref":"a"}}}`,
			`{"new":{"$neq":{"$ref":"old"}}}`, `{"s":{"$nin":{"$ref":"list"}}}`,
			`{"lines":{"at":{"$eq":{"$ref":"lines[$index].min"}}}}`, `{"a":{"$eq":{"$ref":"lines[$index].min"}}}`,
			`{"s":{"$eq":{"$ref":"list[9]"}}}`, `{"a":{"$eq":{"$ref":"b[0]"}}}`, `{"a":{"$contains":{"$ref":"b"}}}`,
			`{"orders":{"lines":{"q":{"$eq":{"$ref":"orders[$index].lines[$index].max"}}}}}`,
			// the place of the line is not that of the order
			`{"mat":{"v":{"$eq":{"$ref":"mat[$index].w"}}}}`, `{"orders":{"lines":{"q":{"$eq":{"$ref":"orders[$index].max"}}}}}`,
		},
	},
	{
		theme: "groups beside fields and operators",
		data:  `{"status":"paid","total":10,"customer":{"vip":true,"tier":"gold"}}`,
		yes: []string{
			`{"status":"paid","$or":[{"total":1},{"total":10}]}`, `{"customer":{"vip":true,"$or":[{"tier":"silver"},{"tier":"gold"}]}}`,
			`{"total":{"$gte":5,"$not":{"$gt":50}}}`,
			`{"$and":[{"$or":[{"status":"x"},{"total":10}]},{"$not":{"status":"x"}}]}`, `{"data":{"$not":{"status":"x"},"total":10}}`,
			`{"total":{"$or":[{"$lt":1},{"$and":[{"$gt":9},{"$lt":11}]}]}}`,
			`{"$not":{"$not":{"status":"paid"}}}`, `{"data":{"status":"paid","customer":{"vip":true}}}`,
			`"(status:paid OR total:1) AND -customer.tier:silver"`, `"-(status:x OR total:1)"`, `"NOT NOT status:paid"`,
		},
		no: []string{
			`{"status":"paid","$or":[{"total":1},{"total":2}]}`, `{"customer":{"vip":true,"$not":{"tier":"gold"}}}`,
			`{"total":{"$or":[1,10],"$gt":100}}`, `{"$not":{"status":"paid","total":10}}`,
			`"NOT (status:paid total:10)"`, `"status:paid AND NOT total:10"`,
		},
	},
	{
		theme: "texts, escapes and odd keys",
		data:  `{"a.b":1,"":2,"k k":"x","esc":"a\u0062\n\"\\","star":"a*b","uni":"ä€😀","colon:key":"v","empty":"","$d":7,"dup":1,"dup":2,"a":{"b":3}}`,
		yes: []string{
			`{"a.b":1}`, `{"":2}`, `{"k k":"x"}`, `{"esc":"ab\n\"\\"}`, `{"uni":{"$startsWith":"ä€"}}`,
			`{"uni":"\u00e4\u20ac\ud83d\ude00"}`, `"a\\.b:1"`, `"a.b:3"`, `"k\\ k:x"`,
			`"star:a\\*b"`, `"star:\"a*b\""`, `"star:a\\**"`, `"uni:ä*"`, `"colon\\:key:v"`, `"empty:\"\""`, `{"empty":""}`, `"$d:7"`,
			`"dup:2"`, `{"dup":{"$neq":1}}`, `{"uni":{"$regex":"^.{3}$"}}`, `{"empty":{"$contains":""}}`,
		},
		no: []string{`{"dup":1}`, `{"a":{"b":1}}`, `{"uni":"Ä€😀"}`, `"uni:a*"`},
	},
	{
		theme: "roots",
		data:  `{"id":77,"topic":"inner","metadata":{"k":"payload"},"time":"never","data":{"x":1}}`,
		yes: []string{
			`{"id":"evt_1"}`, `{"data":{"id":77}}`, `{"metadata":{"env":"prod"}}`, `"metadata.env:prod"`,
			`{"data":{"metadata":{"k":"payload"}}}`, `"data.data.x:1"`, `{"data":{"data":{"x":1}}}`,
			`{"metadata":{"count":{"$gt":5}}}`, `"metadata.count:10"`, `{"metadata":{"gone":{"$exist":false}}}`,
			`{"topic":{"$regex":"^order\\."}}`, `"topic:order.*"`, `{"data":{"time":"never"}}`, `{"id":{"$exist":true}}`,
			`{"data":{"$exist":true}}`,
		},
		no: []string{`{"id":77}`, `{"metadata":{"k":"payload"}}`, `{"data":{"x":1}}`, `{"time":"never"}`, `{"topic":{"x":1}}`,
			`"data.x:1"`},
	},
	{
		theme: "a payload that is a list",
		data:  `[{"status":"paid","n":1},{"status":"open","n":2}]`,
		yes: []string{`{"status":"paid"}`, `"status:paid n:2"`, `{"status":"paid","n":2}`, `{"n":{"$gt":1}}`, `{"gone":{"$exist":false}}`,
			`{"data":[{"status":"paid","n":1}]}`, `{"status":{"$neq":"x"}}`},
		no: []string{`{"status":"x"}`, `{"status":{"$neq":"paid"}}`, `"NOT status:paid"`, `{"n":{"$gt":1,"$lt":2}}`,
			`{"data":[{"status":"paid","n":2}]}`},
	},
	{
		theme: "a payload that is a number",
		data:  `42`,
		yes:   []string{`{"data":42}`, `"data:42"`, `{"data":{"$gt":1}}`, `{"x":{"$exist":false}}`, `{"topic":"order.created"}`},
		no:    []string{`{"x":42}`, `{"data":"42"}`, `{"data":{"x":{"$exist":true}}}`},
	},
	{
		theme: "no payload",
		data:  ``,
		yes:   []string{`{"x":{"$exist":false}}`, `{"data":{"$exist":false}}`, `{"topic":"order.created"}`, `"NOT x:1"`},
		no:    []string{`{"x":1}`, `{"data":null}`, `{"data":{"$exist":true}}`},
	},
}

func eventDoc(data string) *Doc {
	return NewDoc("evt_1", "order.created", time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), map[string]string{"env": "prod", "count": "10"},
		[]byte(data))
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range matchCases {
		t.Run(c.theme, func(t *testing.T) {
			t.Parallel()
			doc := eventDoc(c.data) // one for all, as in routing
			for want, raws := range map[bool][]string{true: c.yes, false: c.no} {
				for _, raw := range raws {
					f := mustParse(t, raw)
					if got := f.Match(doc); got.Match != want || got.Failed != nil {
						t.Errorf("%s: %+v, want %v\ntree: %s", raw, got, want, show(f.Tree()))
					}
				}
			}
		})
	}
}

// The time of an event reads as UTC, whatever the zone of the value that it came in.
func TestTimeIsUTC(t *testing.T) {
	t.Parallel()
	doc := NewDoc("evt_1", "t", time.Date(2026, 3, 1, 1, 0, 0, 5, time.FixedZone("", 7200)), nil, nil)
	for _, raw := range []string{`{"time":{"$startsWith":"2026-02-28T23:00:00.000000005Z"}}`,
		`{"time":"2026-03-01T01:00:00.000000005+02:00"}`, `{"$expr":"time.Hour() == 23 and time.Day() == 28"}`} {
		if verdict := mustParse(t, raw).Explain(doc); !verdict.Match {
			t.Errorf("%s: %s", raw, verdict.Reason)
		}
	}
}

// A payload that is not JSON decides nothing: filters that look at it fail, also those that would match a
// missing field; filters that do not look at it work.
func TestBrokenPayload(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`{"a":`, `hello`, `{"a":1} x`, "\x00"} {
		doc := eventDoc(data)
		for _, raw := range []string{`{"a":1}`, `{"a":{"$exist":false}}`, `"NOT a:1"`, `{"$not":{"a":1}}`, `{"$expr":"data.a == 1"}`,
			`{"id":{"$neq":{"$ref":"a"}}}`, `{"$or":[{"a":1},{"topic":"order.created"}]}`} {
			got := mustParse(t, raw).Match(doc)
			if got.Match || got.Failed == nil || got.Rule != 1 {
				t.Errorf("%s against %q: %+v, want a failure of rule 1", raw, data, got)
			}
		}
		for _, raw := range []string{`{"topic":"order.created"}`, `"metadata.env:prod"`, `{"$expr":"topic == 'order.created'"}`} {
			if got := mustParse(t, raw).Match(doc); !got.Match || got.Failed != nil {
				t.Errorf("%s, which does not look at the payload, against %q: %+v", raw, data, got)
			}
		}
		verdict := mustParse(t, `{"a":1}`).Explain(doc)
		if verdict.Reason != "the filter failed: the payload is not valid JSON" {
			t.Errorf("reason %q", verdict.Reason)
		}
	}
}

// The time for one filter and one event is bounded, and running out of it is a failure, never a match.
func TestTooMuchWork(t *testing.T) {
	t.Parallel()
	numbers := "[" + strings.Repeat("1,", 120_000) + "1]"
	other := "[" + strings.Repeat("2,", 120_000) + "2]"
	objects := "[" + strings.Repeat(`{"x":1},`, 30_000) + `{"x":1}]`
	var keys strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&keys, `"k%d":1,`, i)
	}
	wide := "{" + keys.String() + `"z":1}`
	long := `"` + strings.Repeat("ab", 100_000) + `"`
	for name, c := range map[string]struct{ filter, data string }{
		"each with each":     {`{"a":{"$in":{"$ref":"b"}}}`, `{"a":` + numbers + `,"b":` + other + `}`},
		"a reference":        {`{"a":{"$gt":{"$ref":"c.x"}}}`, `{"a":` + numbers + `,"c":` + objects + `}`},
		"many rules":         {`{"$and":[` + strings.Repeat(`{"a":{"$neq":2}},`, 30) + `{"a":1}]}`, `{"a":` + numbers + `}`},
		"many patterns":      {`{"a":[` + strings.Repeat(`{"$lt":2},`, 30) + `{"$gt":5}]}`, `{"a":[` + objects + `,1]}`},
		"an expensive regex": {`{"a":{"$not":{"$regex":"(a|b|ab)*(a|b|ab)*(a|b|ab)*(a|b|ab)*c"}}}`, `{"a":` + long + `}`},
		"an expression":      {`{"$expr":"not (data.a matches \"(a|b|ab)*(a|b|ab)*(a|b|ab)*(a|b|ab)*c\")"}`, `{"a":` + long + `}`},
		"whole objects":      {`{"c":{"$not":{"$eq":{"$ref":"wide"}}}}`, `{"c":` + wide + `,"wide":` + wide + `}`},
		"negated":            {`{"$not":{"a":{"$in":{"$ref":"b"}}}}`, `{"a":` + numbers + `,"b":` + other + `}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := mustParse(t, c.filter)
			doc := eventDoc(c.data)
			got := f.Match(doc)
			if got.Match {
				t.Errorf("%+v, want no match", got)
			}
			if got.Failed != errTooMuchWork {
				t.Errorf("%+v, want a failure", got)
			}
		})
	}
	// What people do with the largest usual payload stays far below the bound.
	doc := eventDoc(`{"a":` + numbers + `}`)
	if got := mustParse(t, `{"a":{"$nin":[2,3]},"b":{"$exist":false},"$or":[{"a":{"$gt":5}},{"a":{"$lte":1}}]}`).Match(doc); !got.Match ||
		got.Failed != nil {
		t.Errorf("an ordinary filter against a long list: %+v", got)
	}
}

func TestEmptyFilterMatchesEverything(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{``, ` `, `null`, `{}`, ` {} `, `""`, `"  \n "`} {
		f := mustParse(t, raw)
		if !f.IsEmpty() || f.Tree() != nil || f.Rules() != nil {
			t.Errorf("%q is not the empty filter", raw)
		}
		if got := f.Match(eventDoc(`broken`)); !got.Match || got.Failed != nil {
			t.Errorf("%q: %+v", raw, got)
		}
	}
	var none *Filter
	if !none.IsEmpty() || !none.Match(eventDoc(`{}`)).Match || !none.Explain(eventDoc(`{}`)).Match || none.Notation() != NotationJSON {
		t.Error("a nil filter is not the empty filter")
	}
}

// A filter serves many goroutines, each with its own document. The race detector watches.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	filters := []*Filter{
		mustParse(t, `{"total":{"$gte":10.5},"lines":{"price":{"$in":["29.99",4.5,"x"]}},"created_at":{"$gt":"2026-01-01T00:00:00Z"},"customer":{"$neq":{"a":1.5}}}`),
		mustParse(t, `{"$expr":"any(data.lines, float(.price) > 10) and sum(data.lines, .qty) > 1"}`),
		mustParse(t, `"total:>=10 AND lines.sku:IPOD*"`),
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50 {
				doc := benchDoc()
				for i, f := range filters {
					if got := f.Match(doc); !got.Match {
						t.Errorf("filter %d: %+v, %s", i, got, f.Explain(doc).Reason)
					}
				}
			}
		})
	}
	group.Wait()
}
