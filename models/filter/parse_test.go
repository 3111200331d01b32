package filter

import (
	"errors"
	"strings"
	"testing"
)

// refused asserts that a filter is refused with an error of our type, and returns it.
func refused(t *testing.T, f *Filter, err error) *Error {
	t.Helper()
	var wrong *Error
	if err == nil {
		t.Fatalf("accepted: %s", show(f.Tree()))
	}
	if !errors.As(err, &wrong) {
		t.Fatalf("%T is not an *Error: %v", err, err)
	}
	if f != nil {
		t.Error("a filter is returned beside the error")
	}
	return wrong
}

func TestJSONErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ raw, path, says string }{
		{`{"a":{"$gtt":1}}`, "a.$gtt", "no operator `$gtt`; there are $eq"},
		{`{"a":{"$gte":1,"$foo":1}}`, "a.$foo", "no operator"},
		{`{"a":1,"$foo":1}`, "$foo", "no operator"},
		{`{"a":{"$ne":1}}`, "a.$ne", "did you mean `$neq`?"},
		{`{"a":{"$exists":true}}`, "a.$exists", "did you mean `$exist`?"},
		{`{"a":{"$starts_with":"x"}}`, "a.$starts_with", "did you mean `$startsWith`?"},
		{`{"a":{"b":{"c":{"$GT":1}}}}`, "a.b.c.$GT", "did you mean `$gt`?"},
		{`{"$or":[{"a":1},{"b":{"$x":1}}]}`, "$or.[1].b.$x", "no operator"},
		{`{"$gt":1}`, "$gt", "needs a field"},
		{`{"$exist":true}`, "$exist", "needs a field"},
		{`{"$or":["a"]}`, "$or.[0]", "an object with fields"},
		{`{"$or":{"a":1}}`, "$or", "needs a list"},
		{`{"$or":[]}`, "$or", "at least one condition"},
		{`{"$and":[]}`, "$and", "at least one condition"},
		{`{"a":{"$and":[]}}`, "a.$and", "at least one condition"},
		{`{"$not":[{"a":1}]}`, "$not", "an object with fields"},
		{`{"$not":{}}`, "$not", "empty object"},
		{`{"a":{}}`, "a", "empty object"},
		{`{"a":[]}`, "a", "empty list"},
		{`{"a":[{}]}`, "a.[0]", "empty object"},
		{`{"a":{"$in":[]}}`, "a.$in", "at least one value"},
		{`{"a":{"$nin":[]}}`, "a.$nin", "`$nin` needs at least one value"},
		{`{"a":{"$in":5}}`, "a.$in", "needs a list"},
		{`{"a":{"$nin":{"b":1}}}`, "a.$nin", "`$nin` needs a list"},
		{`{"a":{"$gt":true}}`, "a.$gt", "needs a number"},
		{`{"a":{"$lt":null}}`, "a.$lt", "needs a number"},
		{`{"a":{"$lte":[1]}}`, "a.$lte", "needs a number"},
		{`{"a":{"$contains":5}}`, "a.$contains", "needs a text"},
		{`{"a":{"$startsWith":["x",1]}}`, "a.$startsWith", "needs a text"},
		{`{"a":{"$endsWith":[]}}`, "a.$endsWith", "needs a text"},
		{`{"a":{"$exist":"yes"}}`, "a.$exist", "true or false"},
		{`{"a":{"$empty":1}}`, "a.$empty", "true or false"},
		{`{"a":{"$regex":"("}}`, "a.$regex", "missing closing )"},
		{`{"a":{"$regex":"(?=x)"}}`, "a.$regex", "no look-around"},
		{`{"a":{"$regex":5}}`, "a.$regex", "pattern as a text"},
		{`{"a":{"$regex":"` + strings.Repeat("x", 1001) + `"}}`, "a.$regex", "longer than 1000"},
		{`{"a":{"$regex":"` + strings.Repeat(".{0,999}", 100) + `"}}`, "a.$regex", "too large"},
		{`{"a":{"$regex":"((a{9}){9}){11}((a{9}){9}){11}((a{9}){9}){11}((a{9}){9}){11}((a{9}){9}){11}((a{9}){9}){11}((a{9}){9}){11}"}}`,
			"a.$regex", "too large"},
		{`{"a":{"$ref":5}}`, "a.$ref", "path of a field"},
		{`{"a":{"$gt":{"$ref":""}}}`, "a.$gt.$ref", "names a field"},
		{`{"a":{"$gt":{"$ref":"a..b"}}}`, "a.$gt.$ref", "each side of a dot"},
		{`{"a":{"$gt":{"$ref":"a[x]"}}}`, "a.$gt.$ref", "$index"},
		{`{"a":{"$gt":{"$ref":"a[0"}}}`, "a.$gt.$ref", "no `]`"},
		{`{"a":{"$gt":{"$ref":"b","x":1}}}`, "a.$gt", "stands alone"},
		{`{"a":{"$regex":{"$ref":"b"}}}`, "a.$regex.$ref", "cannot compare with another field"},
		{`{"a":{"$exist":{"$ref":"b"}}}`, "a.$exist", "true or false"},
		{`{"a":{"$eq":{"x":{"$gt":1}}}}`, "a.$eq", "`$gt` cannot stand inside"},
		{`{"a":{"$in":[{"$ref":"b"}]}}`, "a.$in", "`$ref` cannot stand inside"},
		{`{"a":1,"b":2,"a":3}`, "a", "twice"},
		{`{"a":{"$gt":1,"$gt":2}}`, "a.$gt", "twice"},
		{`{"$expr":"true","a":1}`, "$expr", "whole filter"},
		{`{"a":{"$expr":"true"}}`, "a.$expr", "whole filter"},
		{`{"$expr":5}`, "$expr", "is a text"},
		{`[{"a":1}]`, "", "a filter is an object"},
		{`5`, "", "a filter is an object"},
		{`true`, "", "a filter is an object"},
	} {
		t.Run(c.raw[:min(len(c.raw), 40)], func(t *testing.T) {
			t.Parallel()
			f, err := Parse([]byte(c.raw))
			wrong := refused(t, f, err)
			if got := strings.ReplaceAll(c.path, ".[", "["); wrong.Path != got || !strings.Contains(wrong.Message, c.says) {
				t.Errorf("%q at %q, want %q at %q", wrong.Message, wrong.Path, c.says, got)
			}
		})
	}
}

func TestPositionedErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		raw          string
		line, column int
		says         string
	}{
		{"{\n  \"a\": ,\n}", 2, 8, "a value should be here"},
		{`{"a":1`, 1, 7, "comma or `}`"},
		{`{"ä":tru}`, 1, 6, "without quotes"},
		{`{"a":1} {"b":2}`, 1, 9, "follows the end"},
		{`{'a':1}`, 1, 2, "key in double quotes"},
		{`{"a":01}`, 1, 6, "not a number"},
		{`{"a":"\x"}`, 1, 8, "no escape"},
		{"\"a:1\xff\"", 1, 5, "UTF-8"},
		// Search notation counts in the text itself.
		{`"status:active foo"`, 1, 15, "`foo` has no field"},
		{`"foo"`, 1, 1, "has no field"},
		{`"a:1 and b:2"`, 1, 5, "capitals: AND"},
		{`"a:1 || b:2"`, 1, 5, "write OR"},
		{`"a:1 AND"`, 1, 5, "second one is not there"},
		{`"OR a:1"`, 1, 1, "first one is not there"},
		{`"a:1 OR OR b:2"`, 1, 8, "first one is not there"},
		{`"(a:1"`, 1, 1, "no `)`"},
		{`"a:1)"`, 1, 4, "no `(`"},
		{`"()"`, 1, 1, "empty"},
		{`"NOT"`, 1, 1, "negation needs a term"},
		{`"a:1 -"`, 1, 5, "has no field"},
		{`"a:"`, 1, 3, "value must follow"},
		{`"a: b"`, 1, 3, "value must follow"},
		{`"a:>"`, 1, 4, "value must follow"},
		{`"a:>=*"`, 1, 3, "cannot be compared"},
		{`"a:>true"`, 1, 3, "cannot be compared"},
		{`"a:=>5"`, 1, 3, "equality needs no sign"},
		{`"a:>>5"`, 1, 4, "no such comparison"},
		{`"a:!x"`, 1, 3, "NOT status:paid"},
		{`"a:b:c"`, 1, 4, "written `\\:`"},
		{`"a:b*c"`, 1, 4, "only at the end"},
		{`"a:*b"`, 1, 3, "only at the end"},
		{`"a:\"x"`, 1, 3, "not closed"},
		{`"a:\"x\"*"`, 1, 6, "has no meaning behind quotes"},
		{`"a:\"x\"y"`, 1, 6, "must follow a closing quote"},
		{`"a:x(y)"`, 1, 4, "written `\\(`"},
		{`":x"`, 1, 1, "field is needed"},
		{`"a..b:x"`, 1, 1, "each side of a dot"},
		{`".a:x"`, 1, 1, "each side of a dot"},
		{`"a*:x"`, 1, 2, "in the name of a field"},
		{`"a:x\\"`, 1, 4, "backslash"},
		{`"a:1\nb:2\n  c"`, 3, 3, "has no field"},
		{`"ä:1 ö"`, 1, 5, "has no field"},
		// Both readings are spelled out.
		{`"a:1 AND b:2 OR c:3"`, 1, 13, "either `(a:1 AND b:2) OR c:3` or `a:1 AND (b:2 OR c:3)`"},
		{`"a:1 b:2 OR c:3 d:4"`, 1, 9, "either `(a:1 AND b:2) OR (c:3 AND d:4)` or `a:1 AND (b:2 OR c:3) AND d:4`"},
		{`"a:1 OR b:2 c:3"`, 1, 12, "either `a:1 OR (b:2 AND c:3)` or `(a:1 OR b:2) AND c:3`"},
		{`"x:1 (a:1 OR b:2 c:3)"`, 1, 17, "either `a:1 OR (b:2 AND c:3)`"},
		// Expressions count in the text of $expr.
		{`{"$expr":"data.total >"}`, 1, 12, "unexpected"},
		{`{"$expr":"status == 1"}`, 1, 1, "data.status"},
		{`{"$expr":"true and\nnow() > time"}`, 2, 1, "cannot call `now`"},
	} {
		t.Run(c.raw, func(t *testing.T) {
			t.Parallel()
			f, err := Parse([]byte(c.raw))
			wrong := refused(t, f, err)
			if wrong.Line != c.line || wrong.Column != c.column || !strings.Contains(wrong.Message, c.says) {
				t.Errorf("%d:%d %q, want %d:%d %q", wrong.Line, wrong.Column, wrong.Message, c.line, c.column, c.says)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for name, c := range map[string]struct {
		raw  string
		says string // empty: accepted
	}{
		"20 keys deep":            {nested(20), ""},
		"21 keys deep":            {nested(21), "more than 20 levels"},
		"20 keys deep in data":    {`{"data":` + nested(20) + `}`, ""},
		"20 keys deep, search":    {`"` + strings.Repeat("a.", 19) + `a:1"`, ""},
		"21 keys deep, search":    {`"` + strings.Repeat("a.", 20) + `a:1"`, "more than 20 levels"},
		"22 keys deep, search":    {`"` + strings.Repeat("a.", 21) + `a:1"`, "too many parts"},
		"19 negations":            {strings.Repeat(`{"$not":`, 19) + nested(1) + strings.Repeat("}", 19), ""},
		"20 negations":            {strings.Repeat(`{"$not":`, 20) + nested(1) + strings.Repeat("}", 20), "more than 20 levels"},
		"a thousand negations":    {strings.Repeat(`{"$not":`, 1000) + nested(1) + strings.Repeat("}", 1000), "nested too deep"},
		"a thousand parentheses":  {`"` + strings.Repeat("(", 1000) + "a:1" + strings.Repeat(")", 1000) + `"`, "nested too deep"},
		"a thousand minus signs":  {`"` + strings.Repeat("-", 1000) + `a:1"`, "nested too deep"},
		"a deep literal":          {`{"a":{"$eq":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}}`, ""},
		"a too deep literal":      {`{"a":{"$eq":` + strings.Repeat("[", 21) + strings.Repeat("]", 21) + `}}`, "levels deep"},
		"200 conditions":          {`{"$or":[` + strings.Repeat(`{"a":{"$gt":1}},`, 199) + `{"a":1}]}`, ""},
		"201 conditions":          {`{"$or":[` + strings.Repeat(`{"a":{"$gt":1}},`, 200) + `{"a":1}]}`, "more than 200 conditions"},
		"300 words of one field":  {`"` + strings.Repeat("a:x OR ", 299) + `a:y"`, ""},
		"201 terms":               {`"` + strings.Repeat("a:>1 ", 201) + `"`, "more than 200 conditions"},
		"16 KiB":                  {`{"a":"` + strings.Repeat("x", MaxBytes-8) + `"}`, ""},
		"more than 16 KiB":        {`{"a":"` + strings.Repeat("x", MaxBytes-7) + `"}`, "at most 16384"},
		"a pattern of 1000":       {`{"a":{"$regex":"` + strings.Repeat("ä", 1000) + `"}}`, ""},
		"a long reference":        {`{"a":{"$ref":"` + strings.Repeat("a.", 19) + `a"}}`, ""},
		"a too long reference":    {`{"a":{"$ref":"` + strings.Repeat("a.", 20) + `a"}}`, "at most 20 parts"},
		"a large but fair regex":  {`{"a":{"$regex":"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}}`, ""},
		"an expression too large": {`{"$expr":"` + strings.Repeat("1 + ", 300) + `1 > 2"}`, "more than 500 parts"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := Parse([]byte(c.raw))
			if c.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				if text, lossless, reason := f.JSON(); lossless && len(text) < MaxBytes {
					if _, err := Parse([]byte(text)); err != nil {
						t.Errorf("printed, it is refused: %v", err)
					}
				} else if reason != "" {
					t.Error(reason)
				}
				return
			}
			if wrong := refused(t, f, err); !strings.Contains(wrong.Message, c.says) {
				t.Errorf("%q, want %q", wrong.Message, c.says)
			}
		})
	}
}

// A tree made by a program is checked like one that was parsed.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	one := Test{Op: OpEq, Value: String("x")}
	for name, tree := range map[string]Node{
		"a test without a field":    one,
		"a list without a field":    List{one},
		"an empty group":            And{},
		"an empty alternative":      Or{},
		"an empty list of patterns": Field{[]string{"a"}, List{}},
		"no path":                   Field{nil, one},
		"nothing below a field":     Field{[]string{"a"}, nil},
		"nothing in a negation":     Not{},
		"no value":                  Field{[]string{"a"}, Test{Op: OpEq}},
		"an unknown comparison":     Field{[]string{"a"}, Test{Op: "$like", Value: String("x")}},
		"a value and a reference":   Field{[]string{"a"}, Test{Op: OpEq, Value: String("x"), Ref: "b"}},
		"a broken reference":        Field{[]string{"a"}, Test{Op: OpEq, Ref: "b..c"}},
		"presence with a value":     Field{[]string{"a"}, Test{Op: OpExist, Value: Bool(true)}},
		"a broken pattern":          Field{[]string{"a"}, Test{Op: OpRegex, Value: String("(")}},
		"a text for a number":       Field{[]string{"a"}, Test{Op: OpSame, Value: String("1")}},
	} {
		f, err := New(tree)
		if wrong := refused(t, f, err); wrong.Message == "" {
			t.Errorf("%s: no message", name)
		}
	}
	f, err := New(Field{[]string{"status"}, one})
	if err != nil || !f.Match(eventDoc(`{"status":"x"}`)).Match {
		t.Errorf("a path without a root: %v", err)
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]*Error{
		"line 2, column 3: no": {Message: "no", Line: 2, Column: 3, Path: "$expr"},
		"a.$gt: no":            {Message: "no", Path: "a.$gt"},
		"no":                   {Message: "no"},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err.Error(), want)
		}
	}
}

func TestNotation(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]Notation{`{"a":1}`: NotationJSON, `"a:1"`: NotationSearch, `{"$expr":"true"}`: NotationExpression} {
		if got := mustParse(t, raw).Notation(); got != want {
			t.Errorf("%s is %s, want %s", raw, got, want)
		}
	}
}
