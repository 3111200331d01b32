package pages

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/filter"
	"github.com/waybill-dev/waybill/views"
)

// rowForm is what a browser sends of rows.
func rowForm(form map[string][]string, parent string, rows []views.FilterRow) {
	for i, r := range rows {
		name := views.RowName(parent, i)
		form[name+".field"] = []string{r.Field}
		if r.Group != "" {
			form[name+".group"] = []string{r.Group}
		} else {
			form[name+".condition"], form[name+".as"] = []string{r.Condition}, []string{r.As}
			form[name+".value"] = []string{strings.ReplaceAll(r.Value, "\n", "\r\n")}
		}
		rowForm(form, name, r.Rows)
	}
}

// Every filter that rows can show goes through the form and comes back as it was, in every view that can say it.
func TestFiltersSurviveTheBuilder(t *testing.T) {
	t.Parallel()
	file, err := os.Open("../../models/filter/testdata/vectors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sources := []string{`{"a":""}`, `{"a":" x "}`, `{"a":"1"}`, `{"a":1}`, `{"a":"true"}`, `{"a":null}`, `{"a":{"$in":["1",1,null]}}`,
		`{"a":{"$in":["a b","c,d"]}}`, `{"a":"x\ny"}`,
		`{"a":{"$contains":["x","y"]}}`, `{"a":{"$contains":"10"}}`, `{"a":{"$eq":[1,2]}}`, `{"a":{"$eq":{"b":1}}}`, `{"a":{"$ref":"b"}}`,
		`{"a":{"$gte":"2026-01-01T00:00:00Z"}}`,
		`{"a":["x","y"]}`, `{"a":{"$regex":"^\\d+$"}}`, `{"lines":{"sku":{"$neq":"x"},"qty":{"$gt":{"$ref":"lines[$index].min"}}}}`,
		`{"$or":[{"a":1},{"b":{"$exist":false}}]}`,
		`{"a":1,"$or":[{"b":1},{"c":{"$in":["x","y"]}}],"$not":{"$or":[{"d":1},{"e":2}]}}`, `"a:10 b:*"`}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var c struct{ Filter json.RawMessage }
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		sources = append(sources, string(c.Filter))
	}
	shown := map[filter.Notation]int{}
	for _, source := range sources {
		f, err := filter.Parse([]byte(source))
		if err != nil || f.IsEmpty() {
			continue
		}
		for _, view := range []filter.Notation{filter.NotationRules, filter.NotationJSON, filter.NotationSearch,
			filter.NotationExpression} {
			st := &filterState{}
			form := map[string][]string{"view": {string(view)}}
			if reason := st.show(parsed{filter: f, stored: json.RawMessage(source)}, view); reason != "" {
				if st.keep == nil {
					t.Errorf("%s as %s is not kept", source, view)
				}
				form["keep"] = []string{string(st.keep)}
			} else {
				shown[view]++
			}
			form["match"], form["filter"] = []string{st.match}, []string{st.text}
			rowForm(form, "", st.rows)
			again := readFilterState(views.Form{Values: form}).parse(nil, false)
			if again.err != nil {
				t.Errorf("%s as %s: %v", source, view, again.err)
				continue
			}
			stored, err := filter.Parse(again.stored)
			if st.view == filter.NotationExpression && st.keep == nil && f.Expression() == "" {
				if stored.Expression() != st.text {
					t.Errorf("%s as an expression comes back as %s", source, again.stored)
				}
				continue
			}
			if err != nil || stored.Expression() != f.Expression() || !filter.Equal(stored.Tree(), f.Tree()) {
				t.Errorf("%s as %s comes back as %s (%v)", source, view, again.stored, err)
			}
		}
	}
	if shown[filter.NotationRules] < 50 || shown[filter.NotationSearch] < 30 || shown[filter.NotationJSON] < 60 {
		t.Errorf("little was tried: %v", shown)
	}
}

// What somebody types as a value becomes of the type that the field has, or that they chose.
func TestTypedValues(t *testing.T) {
	t.Parallel()
	fields := []models.SuggestedField{{SeenField: filter.SeenField{Path: "total", Type: "number"}},
		{SeenField: filter.SeenField{Path: "zip", Type: "text"}},
		{SeenField: filter.SeenField{Path: "vip", Type: "true or false"}},
		{SeenField: filter.SeenField{Path: "lines.sku", Type: "text", List: true}}}
	for _, c := range []struct {
		row  views.FilterRow
		want string // the filter, or what is wrong
	}{
		{views.FilterRow{Field: "total", Condition: "equals", Value: "10"}, `{"total":10}`},
		{views.FilterRow{Field: "zip", Condition: "equals", Value: "10"}, `{"zip":"10"}`},
		{views.FilterRow{Field: "data.zip", Condition: "equals", Value: "10"}, `{"zip":"10"}`},
		{views.FilterRow{Field: "zip", Condition: "gte", Value: "10"}, `{"zip":{"$gte":10}}`},
		{views.FilterRow{Field: "other", Condition: "equals", Value: "10\n"}, `{"other":10}`},
		{views.FilterRow{Field: "other", Condition: "equals", Value: "ten"}, `{"other":"ten"}`},
		{views.FilterRow{Field: "vip", Condition: "equals", Value: "true"}, `{"vip":true}`},
		{views.FilterRow{Field: "zip", Condition: "equals", Value: "true"}, `{"zip":"true"}`},
		{views.FilterRow{Field: "zip", Condition: "in", Value: "1\n\n2\n"}, `{"zip":{"$in":["1","2"]}}`},
		{views.FilterRow{Field: "total", Condition: "in", Value: "1\n2"}, `{"total":{"$in":[1,2]}}`},
		{views.FilterRow{Field: "zip", Condition: "contains", Value: "1\n2"}, `{"zip":{"$contains":["1","2"]}}`},
		{views.FilterRow{Field: "zip", Condition: "exists", Value: "left over"}, `{"zip":{"$exist":true}}`},
		{views.FilterRow{Field: "a", Condition: "equals", As: "json", Value: `{"b": [1]}`}, `{"a":{"$eq":{"b":[1]}}}`},
		{views.FilterRow{Field: "a", Condition: "equals", As: "field", Value: "b"}, `{"a":{"$eq":{"$ref":"b"}}}`},
		{views.FilterRow{Field: "a", Condition: "equals", As: "null"}, `{"a":null}`},
		{views.FilterRow{Group: "one", Field: "lines", Rows: []views.FilterRow{{Field: "sku", Condition: "equals", Value: "10"}}},
			`{"lines":{"sku":"10"}}`},
		{views.FilterRow{Field: "a", Condition: "equals"}, "rules[0].value is required"},
		{views.FilterRow{Field: "a", Condition: "equals", As: "number", Value: "x"}, "rules[0].value must be a number"},
		{views.FilterRow{Field: "a", Condition: "equals", As: "bool", Value: "x"}, "rules[0].value must be true or false"},
		{views.FilterRow{Field: "a", Condition: "equals", As: "json", Value: "x"}, "rules[0].value must be JSON"},
		{views.FilterRow{Field: "a", Condition: "equals", As: "field"}, "rules[0].value needs the path"},
		{views.FilterRow{Field: "a[0]", Condition: "equals", Value: "x"}, "rules[0].field choose a field"},
		{views.FilterRow{Field: "a", Condition: "regex", Value: "("}, "rules[0].value"},
		{views.FilterRow{Field: "a", Condition: "in", Value: " \n"}, "rules[0].value needs at least one"},
		{views.FilterRow{}, "rules[0].condition choose a condition; rules[0].field choose a field"},
		{views.FilterRow{Group: "any"}, "rules[0].group the group has no rules"},
		{views.FilterRow{Group: "one", Rows: []views.FilterRow{{Field: "sku", Condition: "exists"}}}, "rules[0].field choose the list"},
		{views.FilterRow{Group: "any", Rows: []views.FilterRow{{Field: "a", Condition: "exists"}, {Field: "b"}}},
			"rules[0].rules[1].condition choose"},
	} {
		st := &filterState{view: filter.NotationRules, match: "all", rows: []views.FilterRow{c.row}}
		p := st.parse(fields, false)
		got := string(p.stored)
		if p.err != nil {
			got = strings.Join(p.err.Problems(), "; ")
		}
		if got != c.want && (p.err == nil || !strings.Contains(got, c.want) && !containsAll(got, c.want)) {
			t.Errorf("%+v: %s, want %s", c.row, got, c.want)
		}
		// What is refused when it is saved is left out of a trial, with a note.
		if lenient := st.parse(fields, true); lenient.err != nil || (p.err != nil) != (len(lenient.notes) > 0) {
			t.Errorf("%+v: leniently %v, notes %v", c.row, lenient.err, lenient.notes)
		}
	}
}

func containsAll(text, parts string) bool {
	for _, p := range strings.Split(parts, "; ") {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}
