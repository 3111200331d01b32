package models

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// kinds has a plain field of each kind.
type kinds struct {
	Count *int      `json:"count" limits:"1..10" or:"null for none" label:"Count"`
	Zero  *int      `json:"zero" limits:"0..10" must:"must be from 0 to 10" label:"Zero"`
	Rate  *float64  `json:"rate" limits:"0.5..2.5" label:"Rate"`
	Wait  *Duration `json:"wait" limits:"100ms..2m" label:"Wait"`
	Text  string    `json:"text" limits:"..5" label:"Text"`
	Word  string    `json:"word" options:"=None|a=A|b=B" must:"must be a or b" label:"Word"`
	Yes   bool      `json:"yes" label:"Yes"`
	Words []string  `json:"words" label:"Words"`
	Raw   *int      `json:"raw"`
}

func TestPlainFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ field, json, entered, problem string }{
		{"count", "3", "3", ""}, {"count", "0", "", ""}, {"count", "null", "", ""},
		{"count", "11", "", "must be between 1 and 10, or null for none"},
		{"count", "-1", "", "must be between 1 and 10, or null for none"},
		{"zero", "0", "0", ""}, {"zero", "11", "", "must be from 0 to 10"},
		{"rate", "2.5", "2.5", ""}, {"rate", "2.6", "", "must be between 0.5 and 2.5"}, {"rate", "0", "", ""},
		{"wait", `"3s"`, "3s", ""}, {"wait", `"0.1009s"`, "100ms", ""}, {"wait", `"99ms"`, "", "must be between 100ms and 2m"},
		{"wait", `0`, "", ""},
		{"text", `" abcde "`, "abcde", ""}, {"text", `"abcdef"`, "", "must be at most 5 characters long"}, {"text", "null", "", ""},
		{"word", `"b"`, "b", ""}, {"word", `""`, "", ""}, {"word", `"c"`, "", "must be a or b"},
		{"yes", "true", "true", ""}, {"yes", "false", "", ""}, {"words", `["x","y z"]`, "x, y z", ""},
	} {
		var k kinds
		of, bad := reflect.ValueOf(&k).Elem(), problems{}
		for _, f := range fieldsOf(of.Type()) {
			if (f.Kind == CompoundField) != (f.Name == "raw") {
				t.Errorf("%s is of kind %q", f.Name, f.Kind)
			}
			if f.Name != c.field {
				continue
			}
			if err := f.patch(of, json.RawMessage(c.json)); err != nil {
				t.Fatal(err)
			}
			f.check(of, bad)
			if got := strings.Join(f.entered(of), "|"); c.problem == "" && got != c.entered {
				t.Errorf("%s %s: the control has %q, want %q", c.field, c.json, got, c.entered)
			}
		}
		if bad[c.field] != c.problem {
			t.Errorf("%s %s: %q, want %q", c.field, c.json, bad[c.field], c.problem)
		}
	}
}
