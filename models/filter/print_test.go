package filter

import (
	"encoding/json"
	"strings"
	"testing"
)

// printed is what a filter looks like in each notation. An empty search text is one that cannot be said.
var printed = []struct {
	raw      string
	json     string
	search   string
	lossless bool   // of the search text
	reason   string // a part of the reason, if it is not lossless
}{
	{`{"a":"x"}`, `{"a":"x"}`, `a:x`, true, ``},
	{`{"data":{"a":"x","b":{"$gt":1}}}`, `{"a":"x","b":{"$gt":1}}`, `a:x AND b:>1`, true, ``},
	{`{"$and":[{"a":{"$gt":1}},{"a":{"$lt":5}}]}`, `{"$and":[{"a":{"$gt":1}},{"a":{"$lt":5}}]}`, `a:>1 AND a:<5`, true, ``},
	{`{"a":{"$gt":1,"$lt":5}}`, `{"a":{"$gt":1,"$lt":5}}`, `a:>1 AND a:<5`, false, "different elements"},
	{`{"a":{"$gt":1,"$neq":5,"$nin":["x"]}}`, `{"a":{"$and":[{"$gt":1},{"$neq":5},{"$neq":"x"}]}}`, ``, false, ``},
	{`{"a":{"b":"x","c":"y"}}`, `{"a":{"b":"x","c":"y"}}`, `a.b:x AND a.c:y`, false, "different elements"},
	{`{"a":{"b":{"$neq":"x"}}}`, `{"a":{"b":{"$neq":"x"}}}`, `NOT a.b:x`, false, "NOT speaks of all elements"},
	{`{"$not":{"a":{"b":"x"}}}`, `{"$not":{"a":{"b":"x"}}}`, `NOT a.b:x`, true, ``},
	{`{"$not":{"a":"x"}}`, `{"a":{"$neq":"x"}}`, `NOT a:x`, true, ``},
	{`{"a":5}`, `{"a":5}`, `a:5`, false, "also matches a text"},
	{`"a:5"`, `{"a":{"$gte":5,"$lte":5}}`, `a:5`, true, ``},
	{`"a:*"`, `{"a":{"$empty":false}}`, `a:*`, true, ``},
	{`"-a:*"`, `{"a":{"$empty":true}}`, `NOT a:*`, true, ``},
	{`{"a":{"$exist":true}}`, `{"a":{"$exist":true}}`, `a:*`, false, "not empty"},
	{`{"a":{"$in":["x","y"]}}`, `{"a":{"$in":["x","y"]}}`, `a:x OR a:y`, true, ``},
	{`"a:x OR a:y"`, `{"a":{"$in":["x","y"]}}`, `a:x OR a:y`, true, ``},
	{`"b:z (a:x OR a:y)"`, `{"b":"z","a":{"$in":["x","y"]}}`, `b:z AND (a:x OR a:y)`, true, ``},
	{`{"a":{"$or":["x",{"$startsWith":"y"}]}}`, `{"$or":[{"a":"x"},{"a":{"$startsWith":"y"}}]}`, `a:x OR a:y*`, true, ``},
	{`"a:x* OR a:y*"`, `{"a":{"$startsWith":["x","y"]}}`, `a:x* OR a:y*`, true, ``},
	{`{"a":{"$in":"x"}}`, `{"a":{"$contains":"x"}}`, ``, false, "contains a text"},
	{`{"a":{"$endsWith":"x"}}`, `{"a":{"$endsWith":"x"}}`, ``, false, "ends with"},
	{`{"a":{"$regex":"x"}}`, `{"a":{"$regex":"x"}}`, ``, false, "pattern"},
	{`{"a":{"$gt":{"$ref":"data.b"}}}`, `{"a":{"$gt":{"$ref":"b"}}}`, ``, false, "another field"},
	{`{"a":{"$gt":{"$ref":"data.topic"}}}`, `{"a":{"$gt":{"$ref":"data.topic"}}}`, ``, false, "another field"},
	{`{"a":{"$ref":"lines[$index].x[0]"}}`, `{"a":{"$eq":{"$ref":"lines[$index].x[0]"}}}`, ``, false, "another field"},
	{`{"a":["x","y"]}`, `{"a":["x","y"]}`, `a:x AND a:y`, false, "cannot ask for a list"},
	{`{"a":{"$eq":["x"]}}`, `{"a":{"$eq":["x"]}}`, ``, false, "whole list"},
	{`{"data":{"topic":"x"},"topic":"y"}`, `{"data":{"topic":"x"},"topic":"y"}`, `data.topic:x AND topic:y`, true, ``},
	{`{"a.b":"x","c d":"y","":"z"}`, `{"a.b":"x","c d":"y","":"z"}`, ``, false, "empty key"},
	{`{"a.b":"x","c d":"y","-e":"z"}`, `{"a.b":"x","c d":"y","-e":"z"}`, `a\.b:x AND c\ d:y AND \-e:z`, true, ``},
	{`{"a":"10","b":"true","c":"null","d":"","e":"x y","f":"a:b","g":"!x","h":"'q'","i":"\"q\\"}`,
		`{"a":"10","b":"true","c":"null","d":"","e":"x y","f":"a:b","g":"!x","h":"'q'","i":"\"q\\"}`,
		`a:"10" AND b:"true" AND c:"null" AND d:"" AND e:"x y" AND f:"a:b" AND g:"!x" AND h:"'q'" AND i:"\"q\\"`, true, ``},
	{`{"a":true,"b":null}`, `{"a":true,"b":null}`, `a:true AND b:null`, true, ``},
	{`{"a":{"$startsWith":"x y*"}}`, `{"a":{"$startsWith":"x y*"}}`, `a:x\ y\**`, true, ``},
	{`{"a":{"$gt":"x"},"b":{"$lte":"10"}}`, `{"a":{"$gt":"x"},"b":{"$lte":"10"}}`, `a:>"x" AND b:<="10"`, true, ``},
	{`"NOT (a:x OR b:y) AND (c:z OR (d:1 e:2))"`,
		`{"$not":{"$or":[{"a":"x"},{"b":"y"}]},"$or":[{"c":"z"},{"d":{"$gte":1,"$lte":1},"e":{"$gte":2,"$lte":2}}]}`,
		`NOT (a:x OR b:y) AND (c:z OR (d:1 AND e:2))`, true, ``},
	{`{"$or":[{"a":1},{"b":1}],"$and":[{"$or":[{"c":1},{"d":1}]}]}`, `{"$and":[{"$or":[{"a":1},{"b":1}]},{"$or":[{"c":1},{"d":1}]}]}`,
		`(a:1 OR b:1) AND (c:1 OR d:1)`, false, "also matches a text"},
	{`{"a":{"b":{"$and":[["x"],{"$neq":"y"}]}}}`, `{"a":{"b":{"$and":[["x"],{"$neq":"y"}]}}}`, `a.b:x AND NOT a.b:y`, false,
		"different elements"},
}

func TestPrint(t *testing.T) {
	t.Parallel()
	for _, c := range printed {
		t.Run(c.raw, func(t *testing.T) {
			t.Parallel()
			f := mustParse(t, c.raw)
			if text, lossless, reason := f.JSON(); text != c.json || !lossless {
				t.Errorf("JSON %s (%s)\nwant %s", text, reason, c.json)
			}
			if c.search == "" && c.reason == "" {
				return
			}
			text, lossless, reason := f.Search()
			if text != c.search || lossless != c.lossless || !strings.Contains(reason, c.reason) || lossless == (reason != "") {
				t.Errorf("search %s %v %s\nwant   %s %v %s", text, lossless, reason, c.search, c.lossless, c.reason)
			}
		})
	}
}

// The JSON notation reads a key that starts with a dollar sign as an operator, and can say everything else.
func TestJSONCannotNameDollar(t *testing.T) {
	t.Parallel()
	text, lossless, reason := mustParse(t, `"a.$x:1 b:2"`).JSON()
	if text != "" || lossless || !strings.Contains(reason, "`$x` would be read as an operator") {
		t.Errorf("%s %v %s", text, lossless, reason)
	}
}

func TestAsExpression(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{"topic":"a"}`: `topic == "a"`,
		`{"topic":{"$startsWith":["a","b"]},"id":{"$neq":"x"}}`:          `(topic startsWith "a" || topic startsWith "b") && not (id == "x")`,
		`{"a":{"b":"x"},"total":{"$gte":10}}`:                            `data?.a?.b == "x" && (data?.total != nil && float(data?.total) >= 10)`,
		`{"$or":[{"a":null},{"b":{"$in":["x",1,null]}}]}`:                `data?.a == nil || data?.b in ["x", 1, nil]`,
		`{"a-b":{"$contains":"x"},"in":true}`:                            `data?.["a-b"] contains "x" && data?.["in"] == true`,
		`{"at":{"$gt":"2026-01-01T00:00:00Z"}}`:                          `data?.at != nil && date(data?.at) > date("2026-01-01T00:00:00Z")`,
		`{"time":{"$gt":"2026-01-01T00:00:00Z"}}`:                        `time > date("2026-01-01T00:00:00Z")`,
		`{"a":{"$lt":{"$ref":"lines[0].b"}}}`:                            `data?.a != nil && data?.a < data?.lines?.[0]?.b`,
		`{"a":{"$regex":"^x"},"b":{"$exist":true},"c":{"$empty":false}}`: `data?.a matches "^x" && data?.b != nil && (data?.c != nil && data?.c != "")`,
		`{"a":["x"]}`:                        "",
		`{"a":{"$eq":{"b":1}}}`:              "",
		`{"a":{"$lt":{"$ref":"b[$index]"}}}`: "",
		`{"a":1e999}`:                        "",
	} {
		text, lossless, reason := mustParse(t, raw).AsExpression()
		if text != want {
			t.Errorf("%s\ngot  %s (%s)\nwant %s", raw, text, reason, want)
		}
		if lossless != (reason == "") || lossless && strings.Contains(text, "data") {
			t.Errorf("%s: lossless %v, reason %q", raw, lossless, reason)
		}
	}
}

func TestConvert(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		raw      string
		to       Notation
		want     string
		lossless bool
	}{
		{`"status:paid total:>10"`, NotationJSON, `{"status":"paid","total":{"$gt":10}}`, true},
		{`{"status":"paid","total":{"$gt":10}}`, NotationSearch, `"status:paid AND total:>10"`, true},
		{`{"a":{"$regex":"x"}}`, NotationSearch, ``, false},
		{`{"a":{"b":1,"c":2}}`, NotationSearch, `"a.b:1 AND a.c:2"`, false},
		{`{"b":1,"a":{"$in":["x"]}}`, NotationJSON, `{"b":1,"a":"x"}`, true},
		{`{}`, NotationSearch, `""`, true},
		{`""`, NotationJSON, `{}`, true},
		{`null`, NotationRules, `{"match":"all","rules":[]}`, true},
		{`null`, NotationExpression, `{}`, true},
		{`{"topic":"a"}`, NotationExpression, `{"$expr":"topic == \"a\""}`, true},
		{`{"$expr":"data.a == 1"}`, NotationExpression, `{"$expr":"data.a == 1"}`, true},
		{`{"$expr":"data.a == 1"}`, NotationJSON, ``, false},
		{`{"$expr":"data.a == 1"}`, NotationSearch, ``, false},
		{`{"$expr":"data.a == 1"}`, NotationRules, ``, false},
		{`{"total":{"$gte":10}}`, NotationRules, `{"match":"all","rules":[{"field":"total","condition":"gte","value":10}]}`, true},
		{`"a.$x:1"`, NotationJSON, ``, false},
		{`"NOT (a:1 b:2)"`, NotationRules, ``, false},
	} {
		out, lossless, reason, err := Convert([]byte(c.raw), c.to)
		if err != nil || string(out) != c.want || lossless != c.lossless || lossless != (reason == "") {
			t.Errorf("%s to %s: %s %v %q %v\nwant %s %v", c.raw, c.to, out, lossless, reason, err, c.want, c.lossless)
		}
	}
	if _, _, _, err := Convert([]byte(`{"a":{"$x":1}}`), NotationSearch); err == nil {
		t.Error("a broken filter is converted")
	}
	if _, _, _, err := Convert([]byte(`{"a":1}`), "xml"); err == nil {
		t.Error("an unknown notation is accepted")
	}
	// A result that is too long to be stored is shown, but must not be called lossless.
	long := `"` + strings.Repeat("long_name_of_a_field:1 OR b:2 OR ", 99) + `c:3"`
	values := `{"a":{"$in":[` + strings.Repeat(`"x",`, 4000) + `"y"]}}`
	for to, raw := range map[Notation]string{NotationJSON: long, NotationSearch: values} {
		out, lossless, reason, err := Convert([]byte(raw), to)
		if err != nil {
			t.Fatal(err)
		}
		if _, parseErr := Parse(out); lossless != (parseErr == nil) || !lossless && reason == "" {
			t.Errorf("%s: lossless %v (%s), but read again: %v", to, lossless, reason, parseErr)
		}
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{"status":"paid","total":{"$neq":5}}`:                        `{"match":"all","rules":[{"field":"status","condition":"equals","value":"paid"},{"field":"total","condition":"not_equals","value":5}]}`,
		`{"$or":[{"topic":"a"},{"data":{"topic":{"$exist":false}}}]}`: `{"match":"any","rules":[{"field":"topic","condition":"equals","value":"a"},{"field":"data.topic","condition":"not_exists"}]}`,
		`{"a":{"b":{"$neq":"x"}}}`:                                    `{"match":"all","rules":[{"group":"one","field":"a","rules":[{"field":"b","condition":"not_equals","value":"x"}]}]}`,
		`{"$not":{"a":{"b":"x"}}}`:                                    `{"match":"all","rules":[{"field":"a.b","condition":"not_equals","value":"x"}]}`,
		`{"lines":{"sku":"a","qty":{"$gt":1}}}`:                       `{"match":"all","rules":[{"group":"one","field":"lines","rules":[{"field":"sku","condition":"equals","value":"a"},{"field":"qty","condition":"gt","value":1}]}]}`,
		`{"total":{"$gt":1,"$lt":5}}`:                                 `{"match":"all","rules":[{"group":"one","field":"total","rules":[{"condition":"gt","value":1},{"condition":"lt","value":5}]}]}`,
		`"a:1 (b:x OR c:*)"`:                                          `{"match":"all","rules":[{"field":"a","condition":"same","value":1},{"group":"any","rules":[{"field":"b","condition":"equals","value":"x"},{"field":"c","condition":"not_empty"}]}]}`,
		`"NOT (a:x OR b:>1)"`:                                         `{"match":"none","rules":[{"field":"a","condition":"equals","value":"x"},{"field":"b","condition":"gt","value":1}]}`,
		`"NOT a:>1"`:                                                  `{"match":"all","rules":[{"group":"none","rules":[{"field":"a","condition":"gt","value":1}]}]}`,
		// A negation beside fields speaks of the whole list, so that it is a rule of its own.
		`{"lines":{"sku":"a","$not":{"qty":1}}}`:          `{"match":"all","rules":[{"field":"lines.sku","condition":"equals","value":"a"},{"field":"lines.qty","condition":"not_equals","value":1}]}`,
		`{"a":{"$nin":["x","y"]}}`:                        `{"match":"all","rules":[{"field":"a","condition":"not_in","value":["x","y"]}]}`,
		`{"a":["x",1]}`:                                   `{"match":"all","rules":[{"field":"a","condition":"has_all","value":["x",1]}]}`,
		`{"a":{"$gt":{"$ref":"b"}},"c.d":{"$regex":"x"}}`: `{"match":"all","rules":[{"field":"a","condition":"gt","ref":"b"},{"field":"c\\.d","condition":"regex","value":"x"}]}`,
		`{"$or":[{"a":1,"b":2},{"c":null}]}`:              `{"match":"any","rules":[{"group":"all","rules":[{"field":"a","condition":"equals","value":1},{"field":"b","condition":"equals","value":2}]},{"field":"c","condition":"equals","value":null}]}`,
	} {
		rules, lossless, reason := mustParse(t, raw).Rows()
		got, err := json.Marshal(rules)
		if err != nil || !lossless || string(got) != want {
			t.Errorf("%s\ngot  %s %s %v\nwant %s", raw, got, reason, err, want)
		}
	}
	for raw, want := range map[string]string{
		`"a:1 (b:1 OR (c:1 d:1))"`:                        "a group inside a group",
		`"(a:1 b:1) OR NOT (c:1 d:1)"`:                    "must not all hold at once",
		`{"lines":{"sku":"a","$or":[{"b":1},{"c":1}]}}`:   "a group inside the rules for one element",
		`{"lines":[{"sku":"a"}]}`:                         "only for plain values",
		`{"":1}`:                                          "empty key",
		`{"$or":[{"a":1},{"lines":{"b":1,"c":1},"d":1}]}`: "a group inside a group",
		`{"$expr":"true"}`:                                "cannot be shown as separate rules",
	} {
		rules, lossless, reason := mustParse(t, raw).Rows()
		if lossless || !strings.Contains(reason, want) || len(rules.Rules) > 0 {
			t.Errorf("%s: %v %q %+v, want %q", raw, lossless, reason, rules, want)
		}
	}
}

func TestFromRulesErrors(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{"match":"all","rules":[{"field":"a","condition":"equals","value":1},{"field":"","condition":"equals","value":1}]}`: "rules[1].field: choose a field",
		`{"match":"all","rules":[{"field":"a","condition":"equal","value":1}]}`:                                              "rules[0].condition: choose a condition",
		`{"match":"all","rules":[{"field":"a","condition":"gt","value":true}]}`:                                              `rules[0].value: "is more than": `,
		`{"match":"all","rules":[{"field":"a","condition":"equals"}]}`:                                                       `rules[0].value: "equals": `,
		`{"match":"all","rules":[{"field":"a","condition":"regex","value":"("}]}`:                                            "rules[0].value: ",
		`{"match":"all","rules":[{"field":"a","condition":"has_all","value":"x"}]}`:                                          "rules[0].value: ",
		`{"match":"all","rules":[{"field":"a[0]","condition":"exists"}]}`:                                                    "no brackets",
		`{"match":"all","rules":[{"field":"a","condition":"gt","ref":"b["}]}`:                                                "rules[0].ref: ",
		`{"match":"all","rules":[{"group":"any","rules":[]}]}`:                                                               "rules[0].rules: the group has no rules",
		`{"match":"all","rules":[{"group":"any","rules":[{"group":"all"}]}]}`:                                                "rules[0].rules[0].group: a group cannot stand inside",
		`{"match":"all","rules":[{"group":"one","rules":[{"field":"a","condition":"exists"}]}]}`:                             "rules[0].field: choose the list",
		`{"match":"some","rules":[{"field":"a","condition":"exists"}]}`:                                                      "match: a group is joined by",
	} {
		var rules Rules
		if err := json.Unmarshal([]byte(raw), &rules); err != nil {
			t.Fatal(err)
		}
		f, err := FromRules(rules)
		if wrong := refused(t, f, err); !strings.Contains(wrong.Error(), want) {
			t.Errorf("%s\n%q, want %q", raw, wrong, want)
		}
	}
	if f, err := FromRules(Rules{}); err != nil || !f.IsEmpty() {
		t.Errorf("no rows: %v", err)
	}
	if (Row{Field: "a", Condition: "gt"}).Check() == nil || (Row{Field: "a", Condition: "exists", Value: String("")}).Check() != nil {
		t.Error("a row by itself is not checked")
	}
	// Every condition that is offered can be used with a value of the type that it says it takes.
	samples := map[string]Value{
		"": {}, "value": String("x"), "number": {"10"}, "text": String("x"), "number or text": {"10"}, "text or list": String("x"),
		"list": Values(String("x")),
	}
	for _, c := range Conditions() {
		value, known := samples[c.Takes]
		if err := (Row{Field: "a", Condition: c.Name, Value: value}).Check(); err != nil || !known {
			t.Errorf("%s with %s: %v", c.Name, value.JSON(), err)
		}
		if err := (Row{Field: "a", Condition: c.Name, Ref: "b"}).Check(); (err == nil) != c.Reference {
			t.Errorf("%s with a reference: %v", c.Name, err)
		}
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	doc := eventDoc(`{"total":129.5,"lines":[{"sku":"a"},{"sku":"b","qty":"2"}],"empty":[],"n":null,"flags":{},"vip":true,"topic":"x","a.b":1,"":5}`)
	var got []string
	for _, f := range doc.Fields(100) {
		got = append(got, f.Path+" "+f.Type+" "+f.Example)
		if f.Numeric != (f.Path == "lines.qty" || f.Path == "metadata.count") {
			t.Errorf("%s: numeric %v", f.Path, f.Numeric)
		}
	}
	for _, want := range []string{"total number 129.5", `lines.sku text "a"`, `lines.qty text "2"`, "empty list []", "n null null",
		"flags object {}",
		"vip true or false true", `data.topic text "x"`, `a\.b number 1`, `topic text "order.created"`, `metadata.env text "prod"`} {
		if !strings.Contains(strings.Join(got, "\n")+"\n", want+"\n") {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if n := len(doc.Fields(3)); n != 3 {
		t.Errorf("%d fields, want 3", n)
	}
	if fields := eventDoc(`{`).Fields(100); len(fields) != 5 {
		t.Errorf("%+v for a broken payload, want id, topic, time and two of metadata", fields)
	}
}
