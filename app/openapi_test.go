package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/internal/openapi"
	"github.com/waybill-dev/waybill/models"
)

// apiContract holds what the API answers against what openapi.json says. Every test of the API uses it, through
// testApp.do.
type apiContract struct {
	document *openapi.Document
	text     []byte

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
	seen     map[string]bool // operations that answered with success
}

var contract = sync.OnceValue(func() *apiContract {
	a := &api.API{Cfg: &config.Config{BaseURL: "http://localhost"}}
	d, err := a.Describe()
	if err != nil {
		panic(err)
	}
	c := &apiContract{document: d.Document, text: d.JSON, schemas: map[string]*jsonschema.Schema{}, seen: map[string]bool{}}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(d.JSON))
	if err != nil {
		panic(err)
	}
	// For these tests, what is not described may not be there.
	for _, s := range doc.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any) {
		s := s.(map[string]any)
		if _, open := s["additionalProperties"]; !open && s["properties"] != nil {
			s["additionalProperties"] = false
		}
	}
	c.compiler = jsonschema.NewCompiler()
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource("openapi.json", doc); err != nil {
		panic(err)
	}
	return c
})

// schema returns the schema at a place of the document ("paths", "/events", …).
func (c *apiContract) schema(place ...string) (*jsonschema.Schema, error) {
	for i, p := range place {
		place[i] = strings.ReplaceAll(strings.ReplaceAll(p, "~", "~0"), "/", "~1")
	}
	at := "openapi.json#/" + strings.Join(place, "/")
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.schemas[at]; s != nil {
		return s, nil
	}
	s, err := c.compiler.Compile(at)
	c.schemas[at] = s
	return s, err
}

// operation finds the operation that a request is for, or nil.
func (c *apiContract) operation(method, path string) (string, *openapi.Operation) {
	path, _, _ = strings.Cut(path, "?")
	var found string
	var op *openapi.Operation
	for _, p := range c.document.Paths.Keys() {
		if o := c.document.Paths.Get(p).Get(strings.ToLower(method)); o != nil && pathMatches(p, path) &&
			(op == nil || !strings.HasSuffix(p, "}")) {
			found, op = p, o
		}
	}
	return found, op
}

func pathMatches(template, path string) bool {
	want, have := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return false
	}
	for i, w := range want {
		if w != have[i] && (!strings.HasPrefix(w, "{") || have[i] == "") {
			return false
		}
	}
	return true
}

// headersTold are the headers of answers that are described where they may come.
var headersTold = []string{"ETag", "Location", "Content-Location", "Link", "Preference-Applied", "Retry-After", "X-Request-Id"}

// check says what an answer has that the description does not tell.
func (c *apiContract) check(method, path string, out answer) error {
	if method == http.MethodHead {
		return nil // GET without the body
	}
	template, op := c.operation(method, path)
	if op == nil {
		if out.status == http.StatusNotFound {
			return nil // an address that there is not
		}
		return fmt.Errorf("%s %s is not described", method, path)
	}
	status := strconv.Itoa(out.status)
	place := []string{"paths", template, strings.ToLower(method), "responses", status}
	resp := op.Responses.Get(status)
	if resp == nil {
		if _, usual := api.APIErrors[out.status]; usual || out.status < 400 {
			return fmt.Errorf("%s does not tell of status %d", op.ID, out.status)
		}
		place[4], resp = "default", op.Responses.Get("default")
	}
	if resp.Ref != "" {
		name := openapi.RefName(resp.Ref)
		place, resp = []string{"components", "responses", name}, c.document.Components.Responses[name]
	}
	for _, h := range headersTold {
		if out.header.Get(h) != "" && resp.Headers[h] == nil {
			return fmt.Errorf("%s does not tell of the header %s with status %d", op.ID, h, out.status)
		}
	}
	if out.status < 300 {
		c.mu.Lock()
		c.seen[op.ID] = true
		c.mu.Unlock()
	}
	media, _, _ := strings.Cut(out.header.Get("Content-Type"), ";")
	switch {
	case resp.Content == nil:
		if out.raw != "" {
			return fmt.Errorf("%s answers %d with a body that is not described", op.ID, out.status)
		}
		return nil
	case out.raw == "" && strings.Contains(out.header.Get("Preference-Applied"), "return=minimal"):
		return nil
	case resp.Content.Get(media) == nil:
		return fmt.Errorf("%s answers %d as %q, which is not described", op.ID, out.status, media)
	}
	bodies := []string{out.raw}
	switch media {
	case "text/csv", "application/zip":
		return nil
	case "application/x-ndjson":
		if bodies = nil; out.raw != "" {
			bodies = strings.Split(strings.TrimSpace(out.raw), "\n")
		}
	}
	s, err := c.schema(append(place, "content", media, "schema")...)
	if err != nil {
		return err
	}
	for _, b := range bodies {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(b))
		if err != nil {
			return err
		}
		if err := s.Validate(v); err != nil {
			return fmt.Errorf("%s, status %d: %w\nin %s", op.ID, out.status, err, b)
		}
	}
	return nil
}

// TestOpenAPIIsValid holds the document against OpenAPI's own schema, and its schemas against JSON Schema.
func TestOpenAPIIsValid(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/openapi-3.1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("https://spec.openapis.org/oas/3.1/schema/2022-10-07", rules); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("https://spec.openapis.org/oas/3.1/schema/2022-10-07")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(contract().text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Error(err)
	}
	// What OpenAPI's schema leaves to others: references lead somewhere, schemas are schemas, names are unique.
	used := map[string]bool{}
	var walk func(at []string, v any)
	walk = func(at []string, v any) {
		switch v := v.(type) {
		case []any:
			for i, x := range v {
				walk(append(at, strconv.Itoa(i)), x)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				used[ref] = true
				if lookup(doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")) == nil {
					t.Errorf("%v: %s leads nowhere", at, ref)
				}
			}
			for k, x := range v {
				walk(append(slices.Clone(at), k), x)
			}
			if mapping, ok := v["mapping"].(map[string]any); ok {
				for _, ref := range mapping {
					used[ref.(string)] = true
				}
			}
			if s, ok := v["schema"]; ok && len(at) > 0 && at[len(at)-1] != "properties" && s != nil {
				if _, err := contract().schema(append(slices.Clone(at), "schema")...); err != nil {
					t.Errorf("%v: %v", at, err)
				}
			}
		}
	}
	walk(nil, doc)
	for kind, parts := range doc.(map[string]any)["components"].(map[string]any) {
		for name := range parts.(map[string]any) {
			if kind != "securitySchemes" && !used["#/components/"+kind+"/"+name] {
				t.Errorf("the component %s/%s is not used", kind, name)
			}
		}
	}
	ids := map[string]bool{}
	for _, r := range (&api.API{Cfg: &config.Config{}}).APIRoutes() {
		if id := r.About.ID; ids[id] || id == "" {
			t.Errorf("%s %s: the operationId %q is taken", r.Method, r.Path, id)
		}
		ids[r.About.ID] = true
		if !slices.ContainsFunc(api.APITags, func(t [2]string) bool { return t[0] == r.About.Tag }) {
			t.Errorf("%s: there is no heading %q", r.About.ID, r.About.Tag)
		}
	}
}

func lookup(v any, path []string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~")]
	}
	return v
}

// TestOpenAPIHasEveryRoute compares the document that the server hands out with the addresses that it answers at.
func TestOpenAPIHasEveryRoute(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.BaseURL = "https://events.example.com" })
	told := map[string]bool{}
	out := a.as("").want(200, "GET", "/openapi.json", nil)
	for path, methods := range out.body["paths"].(map[string]any) {
		for method := range methods.(map[string]any) {
			told[strings.ToUpper(method)+" "+api.APIPrefix+path] = true
		}
	}
	there := map[string]bool{}
	for _, r := range a.http.GetRoutes(true) {
		if path, ok := strings.CutPrefix(r.Path, api.APIPrefix); ok && r.Method != http.MethodHead { // HEAD comes with GET
			there[r.Method+" "+api.APIPrefix+api.OpenAPIPath(path)] = true
		}
	}
	for r := range there {
		if !told[r] {
			t.Errorf("%s is not described", r)
		}
	}
	for r := range told {
		if !there[r] {
			t.Errorf("%s is described, and there is nothing", r)
		}
	}
	if out.str("servers", "0", "url") != "https://events.example.com/api/v1" {
		t.Errorf("servers: %v", out.body["servers"])
	}
	tag := out.header.Get("ETag")
	if again := a.do("GET", "/openapi.json", nil, "If-None-Match", tag); again.status != 304 || again.raw != "" || tag == "" {
		t.Errorf("with the ETag %q: %d %s", tag, again.status, again.raw)
	}
	root, err := http.Get(a.base + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Body.Close()
	var same map[string]any
	if err := json.NewDecoder(root.Body).Decode(&same); err != nil || root.StatusCode != 200 || same["openapi"] != "3.1.0" {
		t.Errorf("at the root: %d %v", root.StatusCode, err)
	}
}

// TestOpenAPIExamples sends every example of the description: none is refused as it is written.
func TestOpenAPIExamples(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	ids := exampleIDs(a)
	a.silentCell("eu1")
	for _, r := range a.APIRoutes() {
		if r.About.Example == nil {
			continue
		}
		text, _ := json.Marshal(r.About.Example)
		template := api.OpenAPIPath(r.Path)
		s, err := contract().schema("paths", template, strings.ToLower(r.Method), "requestBody", "content", "application/json", "schema")
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("the example of %s: %v", r.About.ID, err)
		}
		path, body := withIDs(template, ids), withIDs(string(text), ids)
		// What is about an alert, a notification or an address needs one that there is; what is asked is understood all the same.
		if out := a.do(r.Method, path, body); out.status >= 300 && out.status != 404 && out.status != 409 {
			t.Errorf("the example of %s: %d %s", r.About.ID, out.status, out.raw)
		}
	}
}

// exampleIDs makes what the examples are about, and says which ids stand for the parts of the addresses.
func exampleIDs(a *testApp) map[string]string {
	ids := map[string]string{"{tenant}": "acme", "{destination}": "hook", "des_…": "inbox", "{topic}": "order.created"}
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"hook","type":"webhook","topics":["none"],"config":{"url":"`+a.base+`/healthz"}}`)
	ids["evt_…"] = a.want(200, "POST", "/publish", `{"tenant_id":"acme","data":{}}`, "Prefer", "wait=10").str("id")
	ids["{event}"] = ids["evt_…"]
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"bad","type":"echo","topics":["bad"],"config":{"answer":"500"}}`)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"bad","data":{}}`)
	a.eventually("/deliveries?status=failed", func(o answer) bool { return len(o.body["models"].([]any)) > 0 })
	ids["{retry}"] = a.want(202, "POST", "/retries", `{"tenant_id":"acme","filter":{"status":["delivered"]}}`).str("id")
	ids["{rule}"] = a.want(201, "POST", "/tenants/acme/alert-rules", `{"name":"x","when":{"disabled":true}}`).str("id")
	ids["{view}"] = a.want(201, "POST", "/views", `{"tenant_id":"acme","name":"All"}`).str("id")
	u := a.addUser("Bo", models.RoleDeveloper)
	ids["{user}"] = u.ID()
	ids["{session}"] = a.session(u)
	ids["{invitation}"] = a.want(201, "POST", "/invitations", `{"email":"cy@example.com","role":"viewer"}`).str("id")
	ids["{channel}"] = a.want(201, "POST", "/tenants/acme/channels",
		`{"name":"Mail","type":"email","config":{"to":"ann@example.com"}}`).str("id")
	return ids
}

// everyID is exampleIDs with an id for each part of an address.
func everyID(a *testApp) map[string]string {
	ids := exampleIDs(a)
	ids["{delivery}"] = a.want(200, "GET", "/deliveries?status=failed", nil).str("models", "0", "id")
	ids["{attempt}"] = a.want(200, "POST", "/tenants/acme/destinations/hook/test", `{}`).str("id")
	ids["{entry}"] = a.want(200, "GET", "/audit", nil).str("models", "0", "id")
	ids["{key}"] = a.want(201, "POST", "/api-keys", `{"name":"x","scopes":["read"]}`).str("id")
	ids["{erasure}"] = a.want(202, "POST", "/erasures", `{"tenant_id":"acme","filter":{"until":"2026-01-01T00:00:00Z"},"why":"Its time is over"}`).str("id")
	ids["{type}"], ids["{cell}"] = "webhook", "main"
	a.exec(`insert into tenant_moves (id, tenant_key, source, target, phase, created_by, finished_at)
		select '01a225ab-0000-7000-8000-000000000001', key, 'eu1', null, 'done', 'Ann', now() from tenants where id = 'acme'`)
	ids["{move}"] = "mov_01a225ab000070008000000000000001"
	ids["{alert}"] = "alt_00000000000000000000000001"
	ids["{notification}"] = a.want(200, "POST", "/tenants/acme/channels/"+ids["{channel}"]+"/test", nil).str("notification_id")
	return ids
}

// withIDs puts ids into an address of the description, or into a body.
func withIDs(text string, ids map[string]string) string {
	for k, v := range ids {
		text = strings.ReplaceAll(text, k, v)
	}
	return text
}
