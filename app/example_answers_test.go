package app

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models/modelstest"
)

var update = flag.Bool("update", false, "record app/api/examples.json anew")

// unanswered are the operations without an example, and why.
var unanswered = map[string]string{
	"getOpenAPI": "is the description itself",
}

// TestExampleAnswers calls every operation, and holds the answers that the reference shows against what the server says now: each
// has the fields that the description asks for, which are those that the server sends. With -update it records them.
func TestExampleAnswers(t *testing.T) {
	t.Parallel()
	another := modelstest.Empty(t)
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("gone")
	w := &walker{testApp: a, alerts: map[string][]string{}}
	const alerts = 4 // for each owner: shown, acknowledged, muted and resolved
	for range alerts {
		w.want(200, "PUT", "/tenants/acme/destinations/"+w.id("destination", "")+"/disable", nil)
	}
	for _, owner := range []string{"", "/tenants/acme"} {
		for _, x := range w.eventually(owner+"/alerts?status=open", func(o answer) bool { return len(o.list()) == alerts }).list() {
			w.alerts[owner] = append(w.alerts[owner], x.(map[string]any)["id"].(string))
		}
	}
	ids := everyID(a)
	a.want(200, "PUT", "/topics/order.created", `{"description":"A customer placed an order.","example":{"order":17}}`)
	a.want(200, "PUT", "/topics/walk", `{}`)
	a.want(200, "PUT", "/topics/gone", `{}`)
	ids["{event}"] = a.want(200, "POST", "/publish",
		`{"tenant_id":"acme","topic":"order.created","data":{"order":17,"total":29.95},"metadata":{"source":"shop"}}`, "Prefer", "wait=60").str("id")
	recorded := map[string]api.ExampleAnswer{}
	var said []string
	call := func(method, path, id string, example any) {
		if unanswered[id] != "" || !answersJSON(t, method, path) {
			return
		}
		out := w.exampleCall(method, path, example, ids)
		if out.status >= 300 {
			t.Errorf("%s: %d %s: the test does not know how it succeeds", id, out.status, out.raw)
			return
		}
		said = append(said, id)
		if !*update {
			holdExample(t, id, method, path, out.status)
			return
		}
		var v any
		if err := json.Unmarshal([]byte(a.madeUp(out.raw)), &v); err != nil {
			t.Fatal(err)
		}
		body, _ := json.Marshal(shortExample(v))
		recorded[id] = api.ExampleAnswer{Status: out.status, Body: body}
	}
	for _, r := range a.APIRoutes() {
		if !needsCells(r.Path) {
			call(r.Method, r.Path, r.About.ID, r.About.Example)
		}
	}
	w.addCells(another)
	ids["{move}"] = w.id("move", "")
	for _, r := range a.APIRoutes() {
		if needsCells(r.Path) {
			call(r.Method, r.Path, r.About.ID, r.About.Example)
		}
	}
	if *update {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(recorded); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("api", "examples.json"), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for id := range api.ExampleAnswers() {
		if !slices.Contains(said, id) {
			t.Errorf("app/api/examples.json has %s, and there is no such operation", id)
		}
	}
}

// answersJSON reports whether an operation answers with JSON when it succeeds.
func answersJSON(t *testing.T, method, path string) bool {
	_, op := contract().operation(method, api.OpenAPIPath(path))
	if op == nil {
		t.Fatalf("%s %s is not described", method, path)
	}
	for _, status := range op.Responses.Keys() {
		if resp := op.Responses.Get(status); status < "300" && resp.Content != nil && resp.Content.Get("application/json") != nil {
			return true
		}
	}
	return false
}

const exampleMeasures = "?measures=count&time[start]=2026-01-01T00:00:00Z&time[end]=2036-01-01T00:00:00Z"

// exampleCall calls an operation as its example says, or as the walk over everything that writes does.
func (w *walker) exampleCall(method, path string, example any, ids map[string]string) answer {
	w.Helper()
	body := writing[method+" "+api.APIPrefix+path]
	if example != nil {
		text, _ := json.Marshal(example)
		body = withIDs(string(text), ids)
	}
	at := api.OpenAPIPath(path)
	for _, m := range pathPart.FindAllStringSubmatch(path, -1) {
		part := "{" + m[1] + "}"
		switch {
		case method == "DELETE" && path == "/tenants/:tenant":
			at = strings.ReplaceAll(at, part, "gone")
		case m[1] == "topic" && method == "GET":
			at = strings.ReplaceAll(at, part, "order.created")
		case m[1] == "tenant", method == "GET" && !slices.Contains([]string{"alert", "notification", "rule", "channel"}, m[1]):
			at = withIDs(at, map[string]string{part: ids[part]})
		case m[1] == "topic":
			at = strings.ReplaceAll(at, part, map[string]string{"PUT": "order.created", "DELETE": "gone"}[method])
		default:
			at = strings.ReplaceAll(at, part, w.id(m[1], path))
		}
	}
	for _, part := range []string{"event", "moving"} {
		if strings.Contains(body, ":"+part) {
			body = strings.ReplaceAll(body, ":"+part, w.id(part, path))
		}
	}
	at += map[string]string{"/metrics/events": exampleMeasures, "/metrics/attempts": exampleMeasures, "/changes": "?since=start",
		"/find": "?q=inbox", "/tenants": "?include=numbers&order_by=trouble", "/events/new": "?after=now"}[path]
	body = strings.ReplaceAll(body, "ann@example.com", "ops@example.com") // whose channel the walk makes
	if body == "" {
		return w.do(method, at, nil)
	}
	return w.do(method, at, body)
}

// shortExample leaves one element of each list of objects, three of the others, and the beginning of long texts.
func shortExample(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = shortExample(x)
		}
	case []any:
		most := 3
		if len(v) > 0 {
			if _, object := v[0].(map[string]any); object {
				most = 1
			}
		}
		v = v[:min(len(v), most)]
		for i, x := range v {
			v[i] = shortExample(x)
		}
		return v
	case string:
		if r := []rune(v); len(r) > 200 {
			return string(r[:200]) + "…"
		}
	}
	return v
}

var (
	exampleID     = regexp.MustCompile(`\b(evt|mov|des|dlv|att|era|rty|aud|key|alt|alr|ntf|not|cha|chn|rul|plk|rty|usr|ses|inv)_[0-9a-z]{16,}`)
	exampleUUID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	exampleTime   = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`)
	exampleSecret = regexp.MustCompile(`whsec_[A-Za-z0-9+/=]{20,}`)
	exampleJWT    = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`)
	exampleKey    = regexp.MustCompile(`\b(wb|wbk|waybill)_[A-Za-z0-9_-]{20,}`)
	exampleToken  = regexp.MustCompile(`/(p|invite)/[A-Za-z0-9_-]{16,}`)
	exampleUser   = regexp.MustCompile(`\buser\d+@example\.com`)
	exampleHex    = regexp.MustCompile(`"[0-9a-f]{24}"`)
	exampleLocal  = regexp.MustCompile(`127\.0\.0\.1(:\d+)?`)
)

// madeUp writes an answer with ids that count, times of one day, and no secret.
func (a *testApp) madeUp(body string) string {
	text := strings.ReplaceAll(body, a.base, "https://waybill.example.com")
	seen := map[string]string{}
	text = exampleID.ReplaceAllStringFunc(text, func(id string) string {
		if seen[id] == "" {
			kind, _, _ := strings.Cut(id, "_")
			seen[id] = fmt.Sprintf("%s_01a225ab%0*d", kind, len(id)-len(kind)-9, len(seen)+1)
		}
		return seen[id]
	})
	second := 0
	text = exampleTime.ReplaceAllStringFunc(text, func(string) string {
		second++
		return "2026-01-31T12:00:" + fmt.Sprintf("%02d", min(second, 59)) + "Z"
	})
	text = exampleUUID.ReplaceAllString(text, "01a225ab-0000-7000-8000-000000000001")
	text = exampleSecret.ReplaceAllString(text, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	text = exampleJWT.ReplaceAllString(text, "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl")
	text = exampleKey.ReplaceAllString(text, "${1}_0123456789abcdef0123456789abcdef")
	text = exampleToken.ReplaceAllString(text, "/${1}/0123456789abcdef0123456789abcdef")
	text = exampleUser.ReplaceAllString(text, "bo@example.com")
	text = exampleHex.ReplaceAllString(text, `"0123456789abcdef01234567"`)
	return exampleLocal.ReplaceAllString(text, "192.0.2.1")
}

// holdExample holds the recorded answer against the description: in these tests that names every field, and says which are always
// there. The answer that came just now was held against the same.
func holdExample(t *testing.T, id, method, path string, now int) {
	example, ok := api.ExampleAnswers()[id]
	if !ok || example.Status != now {
		t.Errorf("%s has no example of a %d: go test ./app -run ExampleAnswers -args -update records it", id, now)
		return
	}
	s, err := contract().schema("paths", api.OpenAPIPath(path), strings.ToLower(method), "responses", strconv.Itoa(example.Status),
		"content", "application/json", "schema")
	if err != nil {
		t.Errorf("%s: %v", id, err)
		return
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(example.Body))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		t.Errorf("the example answer of %s is stale: %v", id, err)
	}
}
