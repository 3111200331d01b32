package models

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// FuzzIDs: an id that is read is the id of what it names, to the letter, so that nothing has two names.
func FuzzIDs(f *testing.F) {
	key := DeliveryKey{uuid.MustParse("0197f3a0-0000-7000-8000-000000000001"), 35}
	for _, s := range []string{eventID(key.EventKey), key.ID(), key.AttemptID(3), "att_" + key.ID()[4:] + "_+3", "dlv_", "evt_zz", "att_x_1",
		strings.ToUpper(key.ID()), "dlv_ffffffffffffffffffffffffffffffffzzzzzzzzzzzzzz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := parseEventID(s); ok && eventID(id) != strings.ToLower(s) {
			t.Errorf("%q is read as %s", s, eventID(id))
		}
		if k, ok := parseDeliveryID(s); ok && k.ID() != s {
			t.Errorf("%q is read as %s", s, k.ID())
		}
		if k, n, ok := parseAttemptID(s); ok && k.AttemptID(n) != s {
			t.Errorf("%q is read as %s", s, k.AttemptID(n))
		}
	})
}

// FuzzTopicPattern holds patterns of topics against regular expressions.
func FuzzTopicPattern(f *testing.F) {
	for _, s := range [][2]string{{"order.*", "order.created"}, {"*", ""}, {"a*a", "a"}, {"*a*b*", "xaxbx"}, {"**", "x"}, {"*.*", "a"}, {"a",
		"a*"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, topic string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(topic) {
			return // topics are letters
		}
		want := pattern == topic && topic != ""
		if isPattern(pattern) {
			want = topic != "" && regexp.MustCompile(`(?s)\A`+strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*")+`\z`).MatchString(topic)
		}
		if got := Subscribes([]string{pattern}, topic); got != (want || pattern == AllTopics) {
			t.Errorf("%q takes %q: %t", pattern, topic, got)
		}
	})
}

// FuzzCursor: a cursor that is none of the list's is refused in words, and one that is leads where it did.
func FuzzCursor(f *testing.F) {
	query := EventQuery{Topics: []string{"a"}}
	first, err := PageQuery{}.keyset("acme", query)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(first.cursor(uuid.Nil), `"x"`)
	f.Add("", `null`)
	f.Add("eyJwIjoiXHUwMDAwIn0", `{"a":[1e999]}`)
	f.Fuzz(func(t *testing.T, raw, position string) {
		k, err := PageQuery{Next: raw}.keyset("acme", query)
		switch {
		case err == nil && raw != "" && k.hash != first.hash:
			t.Errorf("%q is taken for a cursor of this list", raw)
		case err != nil && !IsKind(err, KindMalformed) && !IsKind(err, KindInvalid):
			t.Errorf("%q: %v", raw, err)
		}
		if !json.Valid([]byte(position)) {
			return
		}
		again, err := PageQuery{Prev: first.cursor(json.RawMessage(position))}.keyset("acme", query)
		var want bytes.Buffer
		if err != nil || json.Compact(&want, []byte(position)) != nil {
			t.Fatalf("%s: %v", position, err)
		}
		// A position of null is none: no row has such a key.
		if string(again.position) != escaped(want.String()) && want.String() != "null" {
			t.Errorf("%s comes back as %s", position, again.position)
		}
		var id uuid.UUID
		again.decode(&id) // of another list's rows
	})
}

// escaped is JSON as encoding/json writes it, which escapes what HTML means something by.
func escaped(text string) string {
	var b bytes.Buffer
	json.HTMLEscape(&b, []byte(text))
	return b.String()
}

// FuzzTailCursor: a cursor of the live tail is the moment that it names.
func FuzzTailCursor(f *testing.F) {
	f.Add(moment{at: time.UnixMilli(1), xmax: 12, open: []int64{3, 4}}.cursor(), "10:20:11,12")
	f.Add(moment{}.cursor(), "::")
	f.Add("Ojo", "1:9223372036854775808:")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, cursor, snapshot string) {
		if m, ok := parseMoment(cursor); ok {
			again, ok := parseMoment(m.cursor())
			if !ok || !again.at.Equal(m.at) || again.xmax != m.xmax || !slices.Equal(again.open, m.open) {
				t.Errorf("%q is %+v, and then %+v", cursor, m, again)
			}
			m.after(newQuery(), "1")
		}
		if xmax, open, err := parseSnapshot(snapshot); err == nil && (xmax < 0 || slices.ContainsFunc(open,
			func(x int64) bool { return x < 0 })) {
			t.Errorf("%q: %d %v", snapshot, xmax, open)
		}
	})
}

// FuzzRedaction: what a rule names is gone from JSON of any shape, and what it leaves is JSON still.
func FuzzRedaction(f *testing.F) {
	for _, s := range []string{`{"email":"a","items":[{"name":1},{"Name":{"x":2}}],"a":{"token":[1]}}`, `{"\u0065mail":"a","email":1}`,
		`[{"token":1}]`,
		` {"a":{"token":1,"token":2}} `, `{"email":`, `[[{"token":1}]]`, `{"items":{"name":1}}`, "\xff", `{"email":"\ud800"}`} {
		f.Add([]byte(s))
	}
	fields := []string{"email", "items[*].name", "*.token"}
	rules := (&TenantSettings{RedactFields: &fields}).redaction()
	f.Fuzz(func(t *testing.T, body []byte) {
		out := rules.body(bytes.Clone(body))
		text := bytes.TrimSpace(body)
		if len(text) == 0 || text[0] != '{' && text[0] != '[' {
			return
		}
		var v any
		switch err := json.Unmarshal(out, &v); {
		case err != nil && string(out) != BodyNotKept:
			t.Fatalf("%q became %q: %v", body, out, err)
		case err != nil:
			return
		}
		if again := rules.body(bytes.Clone(out)); !bytes.Equal(again, out) {
			t.Errorf("%q became %q, and then %q", body, out, again)
		}
		for _, path := range rules.fields {
			checkGone(t, v, path, body)
		}
	})
}

func checkGone(t *testing.T, v any, path []string, body []byte) {
	t.Helper()
	each := func(name string, inner any) {
		if path[0] != anyStep && !strings.EqualFold(path[0], name) {
			return
		}
		if len(path) > 1 {
			checkGone(t, inner, path[1:], body)
		} else if inner != hidden {
			t.Errorf("%q keeps %v at %s", body, inner, name)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			each(name, inner)
		}
	case []any:
		for _, inner := range v {
			if path[0] == anyStep {
				each(anyStep, inner)
			}
		}
	}
}

// FuzzRedactionOfHeaders: a value that a rule names is in no text that is kept of an attempt.
func FuzzRedactionOfHeaders(f *testing.F) {
	f.Add("X-Other", "plain", "a=1&b=2")
	f.Add("x-user", "two words", "user=x&%75ser=y&user")
	f.Add("A: b\nX-User", "", "#user=1")
	headers, query := []string{"X-User"}, []string{"user"}
	rules := (&TenantSettings{RedactHeaders: &headers, RedactQuery: &query}).redaction()
	f.Fuzz(func(t *testing.T, name, value, rawQuery string) {
		const secret = "4711-planted-secret"
		if strings.Contains(name+value+rawQuery, secret[:4]) || strings.ContainsAny(rawQuery, "#\r\n") {
			return
		}
		a := &Attempt{URL: "https://h.example/?" + rawQuery + "&user=" + url.QueryEscape(secret) + "&z=1",
			RequestHeader:  strings.NewReplacer("\n", "", "\r", "").Replace(name+": "+value) + "\nx-USER:  " + secret + "\nZ: 1\n",
			ResponseHeader: "X-User: " + secret + "\n", Error: "refused " + secret, Log: []string{"sent " + secret}}
		rules.Apply(a)
		for _, kept := range append([]string{a.URL, a.RequestHeader, a.ResponseHeader, a.Error}, a.Log...) {
			if strings.Contains(kept, secret) {
				t.Errorf("%q keeps the secret", kept)
			}
		}
		if !strings.HasSuffix(a.RequestHeader, "Z: 1\n") || !strings.HasSuffix(a.URL, "&z=1") {
			t.Errorf("%q %q: what no rule names is gone, too", a.RequestHeader, a.URL)
		}
	})
}

// FuzzMergePatch holds patches of settings and metadata against RFC 7396.
func FuzzMergePatch(f *testing.F) {
	for _, s := range []string{`{"a":null,"b":"x","c":"\u0000"}`, `null`, `[]`, `{"a":{"b":1}}`, `{"a":["x","y"]}`, `{"a":1,"a":null}`,
		`{"":""}`, `{"b":tru`} {
		f.Add([]byte(s))
	}
	before := map[string]string{"a": "1", "b": "2"}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var patch StringPatch
		var values Values
		read := json.Unmarshal(raw, &patch) == nil
		if json.Unmarshal(raw, &values) == nil {
			if once := values.apply(before); !maps.Equal(once, values.apply(once)) {
				t.Errorf("%q changes more the second time", raw)
			}
		}
		if !read {
			return
		}
		var want map[string]any
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("%q was read: %v", raw, err)
		}
		after := patch.apply(before)
		for k, v := range want {
			got, has := after[k]
			if text, is := v.(string); v == nil && has || v != nil && !has || is && got != text {
				t.Errorf("%q makes %q of %q", raw, got, k)
			}
		}
		for k, v := range before {
			if _, named := want[k]; !named && after[k] != v {
				t.Errorf("%q changes %q, which it does not name", raw, k)
			}
		}
	})
}

// FuzzTopicSchema: a schema is refused in words, asks nobody for what it refers to, and an event is held against it without harm.
func FuzzTopicSchema(f *testing.F) {
	for _, s := range [][2]string{{`{"type":"object","required":["a"]}`, `{}`}, {`true`, `1`}, {`{"$ref":"http://127.0.0.1/x"}`, `{}`},
		{`{"$ref":"#"}`, `{}`},
		{`{"pattern":"("}`, `"x"`}, {`{"$schema":"x:y"}`, `{}`}, {`{"multipleOf":0}`, `1`},
		{`{"$defs":{"a":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}`, `1`},
		{`{"minLength":1e400}`, `"a"`}, {`{"const":1e400}`, `1e400`}} {
		f.Add([]byte(s[0]), []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, schema, data []byte) {
		if len(schema) > 4096 || !json.Valid(schema) {
			return
		}
		bad := problems{}
		topic := Topic{Schema: schema, Example: data}
		topic.checkSchema(bad)
		if _, told := bad["schema"]; told {
			return
		}
		compiled, err := compileSchema(schema)
		if err != nil {
			t.Fatalf("%q: %v", schema, err)
		}
		if json.Valid(data) {
			validate(compiled, data)
		}
	})
}

// FuzzSearch: whatever is typed into the search of events is a text or a filter, or is refused by the name of its parameter.
func FuzzSearch(f *testing.F) {
	for _, s := range []string{`"a"`, `"`, `a:1`, `{"a":`, "https://x/y?z=1", `(((`, "a==1", "\x00", `""""`, `total > 3`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		what, err := parseSearch(text)
		if err != nil {
			if e := AsError(err); e.Fields["q"] == "" {
				t.Errorf("%q: %v %v", text, err, e.Fields)
			}
			return
		}
		if what.filter == nil && what.text == "" && strings.TrimSpace(text) != "" && strings.Trim(text, `" `) != "" {
			t.Errorf("%q looks for nothing", text)
		}
	})
}

// FuzzWords reads what conditions, policies and figures are chosen by: what is taken is taken in one form.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"5xx", "503", "usual", "connect", "1h", "-1h", "0s", "P1D", "15m", "9999999h", "", "429-431", "1d", "month",
		"1e9s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		bad := problems{}
		RetryPolicy{RetryOn: []string{s}}.check("retry", bad)
		if err := (RetryPolicy{RetryOn: []string{s}}).CheckRetryOn(); (err == nil) != (len(bad) == 0) {
			t.Errorf("%q is %v, and %v", s, err, bad)
		}
		if c := Code(s); c.problem() == "" {
			b, err := json.Marshal(c)
			var again Code
			if err != nil || json.Unmarshal(b, &again) != nil || again.number() != c.number() {
				t.Errorf("%q is printed as %s and read as %q", s, b, again)
			}
		}
		if g, err := ParseGranularity(s); err == nil && s != "" { // which stands for none
			now := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
			if at := g.floor(now); at.After(now) || !g.next(at).After(at) {
				t.Errorf("%q: %v is floored to %v, and goes on at %v", s, now, at, g.next(at))
			}
		}
	})
}
