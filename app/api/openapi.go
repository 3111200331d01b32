package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/internal/openapi"
)

// apiDescription is the description of the API, made once: it depends on nothing but the build and BASE_URL.
type apiDescription struct {
	once     sync.Once
	Document *openapi.Document
	JSON     []byte
	etag     string
}

// Describe makes the description, or returns the one that there is.
func (a *API) Describe() (*apiDescription, error) {
	var err error
	d := &a.description
	d.once.Do(func() {
		d.Document = describeAPI(a.Cfg.BaseURL+APIPrefix, a.APIRoutes())
		d.JSON, err = json.MarshalIndent(d.Document, "", "  ")
		sum := sha256.Sum256(d.JSON)
		d.etag = `"` + hex.EncodeToString(sum[:12]) + `"`
	})
	return d, err
}

// OpenAPI answers with the description of the API. It holds no secret, so that anybody may read it, from pages of others too.
func (a *API) OpenAPI(c *fiber.Ctx) error {
	d, err := a.Describe()
	if err != nil {
		return fmt.Errorf("print the description of the API: %w", err)
	}
	c.Set(fiber.HeaderETag, d.etag)
	c.Set(fiber.HeaderCacheControl, "no-cache")
	c.Set(fiber.HeaderAccessControlAllowOrigin, "*")
	if etagMatches(c.Get(fiber.HeaderIfNoneMatch), d.etag) {
		return c.SendStatus(http.StatusNotModified)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSONCharsetUTF8)
	return c.Send(d.JSON)
}

// PrintAPI prints the description of the API for the BASE_URL of the environment. It needs no database.
func PrintAPI(getenv func(string) string, stdout io.Writer) error {
	cfg, err := config.ReadConfig("serve", getenv)
	if err != nil {
		return fmt.Errorf("the configuration has problems:\n%w", err)
	}
	d, err := (&API{Cfg: cfg}).Describe()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\n", d.JSON)
	return err
}

// describeAPI makes the description of these routes below base.
func describeAPI(base string, routes []route) *openapi.Document {
	b := &describer{reflector: newReflector()}
	doc := &openapi.Document{OpenAPI: openapi.Version, Servers: []openapi.Server{{URL: base}}, Security: bearers,
		Info: openapi.Info{Title: "Waybill", Version: "1", Summary: "Event destinations for API platforms.",
			Description: strings.ReplaceAll(apiIntroduction, "~", "`"),
			License:     &openapi.License{Name: "Apache License 2.0", Identifier: "Apache-2.0"}}}
	for _, t := range APITags {
		doc.Tags = append(doc.Tags, openapi.Tag{Name: t[0], Description: t[1]})
	}
	// All answers come before all requests: what both have in common is named after the answers.
	operations := make([]*openapi.Operation, len(routes))
	for i, r := range routes {
		operations[i] = b.operation(r)
	}
	for i, r := range routes {
		b.request(operations[i], r)
		path := OpenAPIPath(r.Path)
		methods := doc.Paths.Get(path)
		if methods == nil {
			methods = &openapi.Map[*openapi.Operation]{}
			doc.Paths.Set(path, methods)
		}
		methods.Set(strings.ToLower(r.Method), operations[i])
	}
	b.reflector.Of(reflect.TypeFor[Problem](), openapi.Answer, "")
	b.destinationTypes()
	doc.Components = openapi.Components{Schemas: b.reflector.Schemas, Responses: errorResponses(), Parameters: commonParameters(),
		Headers: commonHeaders(), SecuritySchemes: securitySchemes}
	return doc
}

type describer struct {
	reflector *openapi.Reflector
}

// OpenAPIPath writes a route's path as OpenAPI does: "/events/:event" is "/events/{event}".
func OpenAPIPath(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if name, ok := strings.CutPrefix(p, ":"); ok {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}

// operation describes a route, but for what it takes.
func (b *describer) operation(r route) *openapi.Operation {
	d := &r.About
	op := &openapi.Operation{ID: d.ID, Summary: d.summary, Description: d.details, Tags: []string{d.Tag}, Scope: string(r.Perm)}
	if r.Perm == "" {
		op.Security = &[]openapi.Security{}
	}
	get := r.Method == http.MethodGet
	slices.SortStableFunc(d.answers, func(x, y described) int { return x.status - y.status })
	for _, an := range d.answers {
		status := strconv.Itoa(an.status)
		resp := op.Responses.Get(status)
		if resp == nil {
			resp = &openapi.Response{Description: an.note, Headers: b.headers(d, r.Method, an.status),
				Content: &openapi.Map[*openapi.Media]{}}
			if r.Perm != "" {
				for _, name := range []string{headerPolicy, headerRateLimit} {
					resp.Headers[name] = &openapi.Header{Ref: "#/components/headers/" + name}
				}
			}
			if resp.Description == "" {
				resp.Description = http.StatusText(an.status) + "."
			}
			op.Responses.Set(status, resp)
		}
		if an.media == nil {
			an.media = []string{fiber.MIMEApplicationJSON}
		}
		for _, m := range an.media {
			schema := b.reflector.Of(an.body, openapi.Answer, "")
			switch m {
			case "text/csv":
				schema = &openapi.Schema{Type: "string"}
			case "application/zip":
				schema = &openapi.Schema{Type: "string", Format: "binary"}
			}
			if old := resp.Content.Get(m); old != nil {
				schema = &openapi.Schema{AnyOf: []*openapi.Schema{old.Schema, schema}}
			}
			resp.Content.Set(m, &openapi.Media{Schema: schema, Example: exampleAnswer(d.ID, an.status, m)})
		}
	}
	if !get && op.Responses.Get("200") != nil {
		op.Responses.Set("204", &openapi.Response{Ref: "#/components/responses/Minimal"})
	}
	if get && (d.cached || d.versioned) {
		op.Responses.Set("304", &openapi.Response{Ref: "#/components/responses/NotModified"})
	}
	for _, e := range errorsOf(r) {
		op.Responses.Set(strconv.Itoa(e), &openapi.Response{Ref: "#/components/responses/" + responseName(e)})
	}
	op.Responses.Set("default", &openapi.Response{Ref: "#/components/responses/Error"})
	return op
}

// headers are those of an answer that succeeded.
func (b *describer) headers(d *description, method string, status int) map[string]*openapi.Header {
	out := map[string]*openapi.Header{}
	add := func(when bool, names ...string) {
		for _, n := range names {
			if when {
				out[n] = &openapi.Header{Ref: "#/components/headers/" + n}
			}
		}
	}
	add(true, "X-Request-Id")
	add(d.cached || d.versioned && method != http.MethodDelete, "ETag")
	add(true, "Cache-Control")
	add(d.polled, "Retry-After")
	add((d.located || d.linked) && (status != http.StatusOK || d.waits), "Location")
	add(d.shown, "Content-Location")
	add(d.linked || d.related || d.limit > 0, "Link")
	add(d.linked || d.cached || d.streamed || d.resumed, "Vary")
	add(method == http.MethodPost, "Idempotent-Replayed")
	add(method != http.MethodGet || d.polled || d.streamed, "Preference-Applied")
	return out
}

// errorsOf lists the errors that a caller of a route has to expect. Every other one is told by the default response.
func errorsOf(r route) []int {
	if r.Perm == "" {
		return nil
	}
	d := &r.About
	out := []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden}
	add := func(when bool, status int) {
		if when {
			out = append(out, status)
		}
	}
	changes := r.Method != http.MethodGet
	add(strings.Contains(r.Path, ":") || names(d.request, "tenant_id") || names(d.request, "alert_id"), http.StatusNotFound)
	add(changes, http.StatusRequestTimeout)
	add(d.conflicts || r.Method == http.MethodPost, http.StatusConflict)
	add(d.past, http.StatusGone)
	add(d.versioned && (r.Method == http.MethodPatch || r.Method == http.MethodDelete), http.StatusPreconditionFailed)
	add(changes, http.StatusRequestEntityTooLarge)
	add(hasFields(d.request) || r.Method == http.MethodPost, http.StatusUnprocessableEntity)
	return append(out, http.StatusTooManyRequests, http.StatusServiceUnavailable)
}

// names reports whether a request names something of this kind in its query or body, which there may not be.
func names(t reflect.Type, field string) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := f.Type
		for inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		_, body := f.Tag.Lookup("body")
		if name == field || f.Tag.Get("query") == field || (f.Anonymous || body) && inner.Kind() == reflect.Struct && names(inner, field) {
			return true
		}
	}
	return false
}

func hasFields(t reflect.Type) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && hasFields(f.Type) || f.Tag.Get("query") != "" || f.Tag.Get("body") != "" {
			return true
		}
	}
	return false
}

// request describes what a route takes.
func (b *describer) request(op *openapi.Operation, r route) {
	d := &r.About
	var params []string
	for part := range strings.SplitSeq(r.Path, "/") {
		if name, ok := strings.CutPrefix(part, ":"); ok {
			params = append(params, name)
			op.Parameters = append(op.Parameters, pathParameter(name))
		}
	}
	b.fields(op, d, d.request, params)
	ref := func(name string) {
		op.Parameters = append(op.Parameters, &openapi.Parameter{Ref: "#/components/parameters/" + name})
	}
	if d.cached || d.versioned && r.Method == http.MethodGet {
		ref("IfNoneMatch")
	}
	if d.versioned && (r.Method == http.MethodPatch || r.Method == http.MethodDelete) {
		ref("IfMatch")
	}
	if r.Method == http.MethodPost {
		ref("IdempotencyKey")
	}
	switch {
	case d.waits:
		ref("PreferWait")
	case d.polled:
		ref("PreferChange")
	case d.streamed:
		ref("PreferMore")
		ref("LastEventID")
	case d.resumed:
		ref("LastEventID")
	case r.Method != http.MethodGet:
		ref("Prefer")
	}
}

func (b *describer) fields(op *openapi.Operation, d *description, t reflect.Type, inPath []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			b.fields(op, d, f.Type, inPath)
			continue
		}
		if _, ok := f.Tag.Lookup("body"); ok {
			b.body(op, d, f)
		}
		name := f.Tag.Get("query")
		if name == "" || slices.Contains(inPath, strings.TrimSuffix(name, "_id")) {
			continue
		}
		op.Parameters = append(op.Parameters, b.queryParameter(d, f, name))
	}
}

func (b *describer) queryParameter(d *description, f reflect.StructField, name string) *openapi.Parameter {
	tag := openapi.ParseTag(f.Tag.Get("api"))
	s := tag.Apply(b.reflector.Of(f.Type, openapi.Request, ""))
	p := &openapi.Parameter{Name: name, In: "query", Description: openapi.Described(s, f.Tag.Get("doc")).Description,
		Required: tag.Has("required"), Schema: s}
	if name == "limit" && d.most > 0 {
		least, most := 1.0, float64(d.most)
		s.Minimum, s.Maximum, s.Default = &least, &most, d.limit
	}
	if s.Items != nil {
		explode := true
		p.Style, p.Explode = "form", &explode
		if values := d.choices[name]; values != nil {
			s.Items = enum(values...)
		}
	}
	if s.Examples != nil {
		p.Example, s.Examples = s.Examples[0], nil
		if s.Items != nil {
			p.Example = []any{p.Example}
		}
	}
	return p
}

func (b *describer) body(op *openapi.Operation, d *description, f reflect.StructField) {
	name := strings.TrimSuffix(d.request.Name(), "Request")
	s := b.reflector.Of(f.Type, openapi.Request, strings.ToUpper(name[:1])+name[1:]+"Request")
	if d.takes != "" {
		s = openapi.RefTo(d.takes)
	}
	body := &openapi.RequestBody{}
	if schema := b.reflector.Schemas[openapi.RefName(s.Ref)]; d.takes != "" || s.Items != nil || schema != nil && len(schema.Required) > 0 {
		body.Required = true
	}
	if d.lines > 0 {
		s.MinItems, s.MaxItems = 1, d.lines
	}
	body.Content.Set(fiber.MIMEApplicationJSON, &openapi.Media{Schema: s, Example: d.Example})
	if d.lines > 0 {
		body.Content.Set("application/x-ndjson", &openapi.Media{Schema: &openapi.Schema{Type: "string",
			Description: "One object a line, at most " + strconv.Itoa(d.lines) + "."}})
	}
	op.RequestBody = body
}

// destinationTypes describes what each type of destinations takes, from the same fields that its form is drawn from.
func (b *describer) destinationTypes() {
	input := openapi.RefTo("DestinationInput")
	create := &openapi.Schema{Description: "A destination of one of the types of this server.",
		Discriminator: &openapi.Discriminator{Property: "type", Mapping: map[string]string{}}}
	for _, r := range adapters.All() {
		name := camel(r.Spec.Name)
		part := &openapi.Schema{Type: "object", Required: []string{"type", "topics"}, Properties: &openapi.Map[*openapi.Schema]{}}
		part.Properties.Set("type", &openapi.Schema{Type: "string", Const: r.Spec.Name})
		for _, half := range []struct {
			key    string
			fields []adapters.Field
		}{{"config", r.Spec.Config}, {"credentials", r.Spec.Credentials}} {
			s := settingsSchema(half.fields)
			b.reflector.Schemas[name+upperFirst(half.key)] = s
			part.Properties.Set(half.key, openapi.RefTo(name+upperFirst(half.key)))
			if len(s.Required) > 0 {
				part.Required = append(part.Required, half.key)
			}
		}
		b.reflector.Schemas[name+"Destination"] = &openapi.Schema{Description: r.Spec.Description, AllOf: []*openapi.Schema{input, part}}
		ref := openapi.RefTo(name + "Destination")
		create.OneOf = append(create.OneOf, ref)
		create.Discriminator.Mapping[r.Spec.Name] = ref.Ref
	}
	b.reflector.Schemas["DestinationCreate"] = create
}

// settingsSchema describes one half of a type's settings. Values are strings; JSON's own booleans, numbers, lists and
// objects are taken where they are meant.
func settingsSchema(fields []adapters.Field) *openapi.Schema {
	out := &openapi.Schema{Type: "object", Properties: &openapi.Map[*openapi.Schema]{}}
	for _, f := range fields {
		s := &openapi.Schema{Type: "string", Description: strings.TrimSpace(f.Label + ". " + f.Help)}
		switch f.Type {
		case adapters.FieldCheckbox:
			s.Type, s.Enum = []string{"string", "boolean"}, []any{"true", "false", true, false}
		case adapters.FieldMap:
			s = &openapi.Schema{Description: s.Description, OneOf: []*openapi.Schema{{Type: "object",
				Additional: &openapi.Schema{Type: "string"}}, {Type: "string", Description: "The object as a text."}}}
		case adapters.FieldSelect:
			for _, o := range f.Options {
				s.Enum = append(s.Enum, o.Value)
			}
		case adapters.FieldText:
			if f.Pattern != "" && !strings.Contains(f.Pattern, "(?") { // what RE2 has beyond ECMA 262
				s.Pattern = "^(?:" + f.Pattern + ")$"
			}
		}
		if f.Sensitive {
			s.Description += " Kept sealed, and masked in every answer."
		}
		if f.Default != "" {
			s.Default = f.Default
			s = openapi.DefaultInWords(s)
		}
		s.MinLength, s.MaxLength = f.MinLength, f.MaxLength
		if f.Required && f.Default == "" {
			out.Required = append(out.Required, f.Key)
		}
		out.Properties.Set(f.Key, s)
		if f.Alias != "" {
			out.Properties.Set(f.Alias, &openapi.Schema{Type: "string", Description: "Another name for `" + f.Key + "`, in answers too."})
		}
	}
	return out
}

// camel makes the name of a component from one with underscores: "aws_sqs" is "AwsSqs".
func camel(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		b.WriteString(upperFirst(part))
	}
	return b.String()
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
