package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/openapi"
)

// What no field is made for. Texts go into addresses, and into bodies as JSON.
var (
	hostileTexts = []string{"\x00", "a\x00b", "", " ", "x", "*", "null", "true", "-1", "0", "1", "1.5", "32768", "2147483648",
		"9223372036854775807", "9223372036854775808", "1e400", "NaN",
		"1969-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "0001-01-01", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59",
		"2026-02-30T00:00:00Z", "999999h", "-5m", "1s",
		strings.Repeat("long", 3000), "\u202e", "\ufeff", "é", "\U0010ffff", "'; --", "%", "../..", "a,b,,c", "[", "{}", `{"$regex":"("}`, "a:>=1e999", `a:"\u0000"`, "evt_ffffffffffffffffffffffffffffffff",
		"dlv_ffffffffffffffffffffffffffffffffzzzzzzzzzzzzzz", "att_00000000000000000000000000000000_99999999999",
		"rty_zzzzzzzzzzzzzzzzzzzzzzzzzz", "eyJwIjoiXHUwMDAwIn0", "\xff\xfe", "00000000-0000-0000-0000-000000000000"}
	hostileJSON = []string{`"\u0000"`, `"a\u0000b"`, `["\u0000"]`, `{"\u0000":"\u0000"}`, `{"a":"\u0000"}`, `{"a":{"b":["\u0000"]}}`,
		`"\ud800"`, `null`, `true`, `0`, `-1`, `1.5`, `1e400`, `1e15`, `32768`, `2147483648`, `9223372036854775807`,
		`9223372036854775808`, `[]`, `{}`, `""`, `[null]`, `[[]]`, `"1969-12-31T23:59:59Z"`, `"0000-01-01T00:00:00Z"`,
		`"9999-12-31T23:59:59-23:59"`, `"9999-12-31T23:59:59Z"`, `"*"`, `"-1s"`, `"999999h"`,
		`"` + strings.Repeat("long", 3000) + `"`, strings.Repeat("[", 200) + strings.Repeat("]", 200), `"\u202e"`,
		`{"$expr":"1/0 > len(data)"}`, `["a","a"]`, `{"a":1}`, `"\\"`}
	hostileBodies = []string{"", "null", "[]", `"x"`, "1", "{", "\xff\xfe{\x00}\x00", "\xef\xbb\xbf{}", `{"a":1`, `{"a":"` + "\xff" + `"}`,
		"\x00", `{"\u0000":1}`, strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000)}
)

// FuzzAPI asks for everything that openapi.json describes with values that nobody expects there. The answer is never a 5xx, and
// what is refused is refused in JSON with a request id. The numbers choose the requests: those below are tried with the other
// tests, `go test -fuzz FuzzAPI` goes on.
func FuzzAPI(f *testing.F) {
	for seed := range uint64(24) {
		f.Add(seed)
	}
	a := newTestApp(f, nil)
	a.tenant("acme")
	ids := everyID(a)
	ops := operations()
	f.Fuzz(func(t *testing.T, seed uint64) {
		in := *a
		in.TB = t
		in.old = true // which 4xx it is that nonsense gets is nobody's promise
		r := rand.New(rand.NewPCG(seed, 1))
		for range 120 {
			in.hostile(r, ops[r.IntN(len(ops))], ids)
		}
	})
}

type operationAt struct {
	method, path string
	*openapi.Operation
}

// hostile makes one request of an operation, of which one part is as nobody expects it.
func (a *testApp) hostile(r *rand.Rand, op operationAt, ids map[string]string) {
	a.Helper()
	var query []string
	var inPath []string
	for _, p := range op.Parameters {
		switch p.In {
		case "query":
			query = append(query, p.Name)
		case "path":
			inPath = append(inPath, p.Name)
		}
	}
	path, body := op.path, ""
	if op.RequestBody != nil {
		body = withIDs(string(exampleOf(op)), ids)
	}
	which := r.IntN(4)
	if op.method == "DELETE" && len(inPath) > 0 {
		which = 0 // the others need what is there
	}
	switch {
	case which == 0 && len(inPath) > 0:
		path = strings.ReplaceAll(path, "{"+inPath[r.IntN(len(inPath))]+"}", url.PathEscape(pick(r, hostileTexts)+"x"))
	case which == 1 && op.RequestBody != nil:
		body = pick(r, hostileBodies)
	case which < 3 && op.RequestBody != nil:
		body = a.spoil(r, op, body)
	case len(query) > 0:
		q := url.Values{}
		for range 1 + r.IntN(2) {
			q.Add(pick(r, query), pick(r, hostileTexts))
		}
		path += "?" + q.Encode()
	}
	path = withIDs(path, ids)
	a.refusedWell(op.method, path, body)
}

// refusedWell sends a request whose answer may be anything but a 5xx, and JSON with a message and a request id where it is
// refused.
func (a *testApp) refusedWell(method, path, body string) {
	a.Helper()
	out := a.do(method, path, body)
	if out.status < 500 && (out.status < 400 || json.Valid([]byte(out.raw)) && out.str("request_id") != "" && out.str("message") != "" ||
		method == "HEAD") {
		return
	}
	a.Errorf("%s %.300s\n%.1000q\n%d %.500s", method, path, body, out.status, out.raw)
}

// TestHostileValuesEverywhere puts what has been a 5xx once into every field and every parameter of openapi.json.
func TestHostileValuesEverywhere(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.old = true // which 4xx it is that nonsense gets is nobody's promise
	a.tenant("acme")
	ids := everyID(a)
	texts := []string{"a\x00b", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "2147483648", "9223372036854775807"}
	values := []string{`"a\u0000b"`, `["a\u0000b"]`, `{"a\u0000b":"a\u0000b"}`, `"1969-12-31T23:59:59Z"`, `"9999-12-31T23:59:59-23:59"`,
		`9223372036854775807`}
	for _, op := range operations() {
		if op.method == "DELETE" {
			continue // of what the others need
		}
		path := withIDs(op.path, ids)
		for _, p := range op.Parameters {
			for _, v := range texts {
				switch p.In {
				case "query":
					a.refusedWell(op.method, path+"?"+url.Values{p.Name: {v}}.Encode(), "")
				case "path":
					a.refusedWell(op.method, withIDs(strings.ReplaceAll(op.path, "{"+p.Name+"}", url.PathEscape(v)), ids), "")
				}
			}
		}
		if op.RequestBody == nil {
			continue
		}
		for _, field := range fieldsOf(op) {
			for _, v := range values {
				a.refusedWell(op.method, path, a.put(withIDs(string(exampleOf(op)), ids), field, v))
			}
		}
	}
}

// operations are those that are described, in order.
func operations() (ops []operationAt) {
	for _, path := range contract().document.Paths.Keys() {
		methods := contract().document.Paths.Get(path)
		for _, method := range methods.Keys() {
			ops = append(ops, operationAt{strings.ToUpper(method), path, methods.Get(method)})
		}
	}
	return ops
}

// fieldsOf lists the fields of an operation's body, each once.
func fieldsOf(op operationAt) [][]string {
	var fields [][]string
	listFields(op.RequestBody.Content.Get("application/json").Schema, nil, &fields)
	slices.SortFunc(fields, slices.Compare)
	return slices.CompactFunc(fields, slices.Equal)
}

// spoil puts a value that nobody expects into one field of a body.
func (a *testApp) spoil(r *rand.Rand, op operationAt, body string) string {
	fields := fieldsOf(op)
	if len(fields) == 0 {
		return pick(r, hostileBodies)
	}
	return a.put(body, pick(r, fields), pick(r, hostileJSON))
}

// put puts a value into a field of a body, or of the first object of a list.
func (a *testApp) put(body string, at []string, value string) string {
	a.Helper()
	var whole any
	_ = json.Unmarshal([]byte(body), &whole)
	object, _ := whole.(map[string]any)
	if list, is := whole.([]any); is && len(list) > 0 {
		object, _ = list[0].(map[string]any)
	}
	if object == nil {
		object = map[string]any{}
		whole = object
	}
	for _, part := range at[:len(at)-1] {
		next, _ := object[part].(map[string]any)
		next = maps.Clone(next)
		if next == nil {
			next = map[string]any{}
		}
		object[part] = next
		object = next
	}
	object[at[len(at)-1]] = "spoilt"
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(whole); err != nil {
		a.Fatal(err)
	}
	return strings.Replace(b.String(), `"spoilt"`, value, 1)
}

// listFields lists the fields of a schema, with those of objects in it.
func listFields(s *openapi.Schema, at []string, out *[][]string) {
	if s.Ref != "" {
		s = contract().document.Components.Schemas[openapi.RefName(s.Ref)]
	}
	if s.Items != nil {
		listFields(s.Items, at, out)
	}
	for _, more := range slices.Concat(s.OneOf, s.AnyOf, s.AllOf) {
		listFields(more, at, out)
	}
	if s.Properties == nil || len(at) > 2 {
		return
	}
	for _, name := range s.Properties.Keys() {
		to := append(slices.Clone(at), name)
		*out = append(*out, to)
		listFields(s.Properties.Get(name), to, out)
	}
}

func exampleOf(op operationAt) []byte {
	media := op.RequestBody.Content.Get("application/json")
	if media.Example == nil {
		return []byte(`{}`)
	}
	b, err := json.Marshal(media.Example)
	if err != nil {
		panic(fmt.Sprintf("the example of %s: %v", op.ID, err))
	}
	return b
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }
