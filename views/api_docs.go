package views

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/internal/openapi"
)

// APIDocs is a page of the API's documentation, drawn from its description.
type APIDocs struct {
	Page
	Document *openapi.Document
	Tag      openapi.Tag // whose operations the page shows
}

// APIDocsURL is the start of the API's documentation, or the page of a part of it: the slug of a tag, or APISchemas.
func APIDocsURL(part ...string) string { return "/docs/api" + path(part...) }

// APISchemas is the part of the API's documentation with the types of requests and answers.
const APISchemas = "schemas"

// APISlug is a tag in an address: "Audit log" is "audit-log".
func APISlug(tag string) string { return strings.ReplaceAll(strings.ToLower(tag), " ", "-") }

// apiOperation is an operation where it belongs.
type apiOperation struct {
	*openapi.Operation
	method, path string
}

// operations lists those of a tag.
func (v APIDocs) operations(tag string) (out []apiOperation) {
	for _, p := range v.Document.Paths.Keys() {
		methods := v.Document.Paths.Get(p)
		for _, m := range methods.Keys() {
			if op := methods.Get(m); op.Tags[0] == tag {
				out = append(out, apiOperation{op, strings.ToUpper(m), p})
			}
		}
	}
	return out
}

func (v APIDocs) base() string { return v.Document.Servers[0].URL }

// basePath is the part of every operation's address that comes after the server's name.
func (v APIDocs) basePath() string { return strings.TrimPrefix(v.base(), v.BaseURL) }

// who says in words who may call an operation.
func (o apiOperation) who() string {
	if o.Scope == "" {
		return "Anybody may call it; no key is needed."
	}
	return "Needs a key that may `" + o.Scope + "`."
}

func (o apiOperation) methodTone() Tone {
	switch o.method {
	case "GET":
		return ToneInfo
	case "DELETE":
		return ToneBad
	}
	return ToneOK
}

// curl is a call of the operation that can be pasted into a shell, with examples for what it is about.
func (v APIDocs) curl(o apiOperation) string {
	call := APICall{Method: o.method, Path: o.path, Anybody: o.Scope == ""}
	var query []string
	for _, p := range v.parameters(o) {
		switch {
		case p.In == "path":
			call.Path = strings.ReplaceAll(call.Path, "{"+p.Name+"}", fmt.Sprint(p.Example))
		case p.In == "query" && p.Required:
			value := p.Example
			if list, ok := value.([]any); ok {
				value = list[0]
			}
			query = append(query, strings.NewReplacer("[", "%5B", "]", "%5D").Replace(p.Name)+"="+fmt.Sprint(value))
		}
	}
	if len(query) > 0 {
		call.Path += "?" + strings.Join(query, "&")
	}
	if o.RequestBody != nil {
		call.Body = exampleBody(o.RequestBody)
	}
	return call.Curl(v.base())
}

func exampleBody(b *openapi.RequestBody) string {
	text, ok := b.Content.Get("application/json").Example.(json.RawMessage)
	if !ok {
		return ""
	}
	const short = 90
	if len(text) <= short {
		return string(text)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		return string(text)
	}
	return pretty.String()
}

// parameters are those of an operation, with references followed.
func (v APIDocs) parameters(o apiOperation) []*openapi.Parameter {
	out := make([]*openapi.Parameter, len(o.Parameters))
	for i, p := range o.Parameters {
		if out[i] = p; p.Ref != "" {
			out[i] = v.Document.Components.Parameters[openapi.RefName(p.Ref)]
		}
	}
	return out
}

// apiAnswer is one kind of answer.
type apiAnswer struct {
	status, description string
	body                []typePart
	headers             []string
}

// failed reports whether an answer is an error. What these mean is the same everywhere.
func (a apiAnswer) failed() bool { return a.status[0] != '2' && a.status[0] != '3' }

func (v APIDocs) answers(o apiOperation) []apiAnswer {
	var out []apiAnswer
	for _, status := range o.Responses.Keys() {
		r := o.Responses.Get(status)
		if r.Ref != "" {
			r = v.Document.Components.Responses[openapi.RefName(r.Ref)]
		}
		a := apiAnswer{status: status, description: r.Description}
		if status == "default" {
			a.status = "other"
		}
		if r.Content != nil {
			for i, media := range r.Content.Keys() {
				if i > 0 {
					a.body = append(a.body, typePart{text: ", or "})
				}
				if media != "application/json" {
					a.body = append(a.body, typePart{text: media + ": "})
				}
				a.body = append(a.body, typeOf(r.Content.Get(media).Schema)...)
			}
		}
		for _, name := range []string{"ETag", "Location", "Link", "Preference-Applied", "Retry-After"} {
			if r.Headers[name] != nil {
				a.headers = append(a.headers, name)
			}
		}
		out = append(out, a)
	}
	return out
}

// bodyFields is the object that a request's body holds, or nil where the body has no fields of its own.
func (v APIDocs) bodyFields(o apiOperation) *openapi.Schema {
	s := v.follow(o.RequestBody.Content.Get("application/json").Schema)
	if s.Items != nil {
		s = v.follow(s.Items)
	}
	if len(s.OneOf) > 0 { // a destination of one of the types
		if alternative := v.follow(s.OneOf[0]); len(alternative.AllOf) > 0 {
			s = v.follow(alternative.AllOf[0])
		}
	}
	return s
}

// answerFields is what the usual answer holds: of a list, a row. Nil where that has no fields, or there is none.
func (v APIDocs) answerFields(o apiOperation) (name string, s *openapi.Schema) {
	for _, status := range o.Responses.Keys() {
		r := o.Responses.Get(status)
		if r.Content == nil || r.Content.Get("application/json") == nil {
			continue
		}
		s := r.Content.Get("application/json").Schema
		if len(s.AnyOf) > 0 {
			s = s.AnyOf[0]
		}
		if models := v.follow(s).Properties; models != nil && models.Get("models") != nil {
			s = models.Get("models")
		}
		if s.Items != nil {
			s = s.Items
		}
		if s.Ref == "" || v.follow(s).Properties == nil {
			return "", nil
		}
		return openapi.RefName(s.Ref), v.follow(s)
	}
	return "", nil
}

func (v APIDocs) follow(s *openapi.Schema) *openapi.Schema {
	if s.Ref != "" {
		return v.Document.Components.Schemas[openapi.RefName(s.Ref)]
	}
	return s
}

// errorMeanings are the errors that operations name, by status, with what they mean.
func (v APIDocs) errorMeanings() []apiAnswer {
	seen := map[string]apiAnswer{}
	for _, t := range v.Document.Tags {
		for _, o := range v.operations(t.Name) {
			for _, a := range v.answers(o) {
				if a.failed() && o.Scope != "" && a.status != "other" {
					seen[a.status] = a
				}
			}
		}
	}
	out := make([]apiAnswer, 0, len(seen))
	for _, status := range slices.Sorted(maps.Keys(seen)) {
		out = append(out, seen[status])
	}
	return out
}

// apiField is a field or a parameter.
type apiField struct {
	name     string
	typ      []typePart
	required bool
	doc      string
}

func (v APIDocs) fieldsOf(s *openapi.Schema) (out []apiField) {
	if s.Properties == nil {
		return nil
	}
	required := map[string]bool{}
	for _, r := range s.Required {
		required[r] = true
	}
	for _, name := range s.Properties.Keys() {
		f := s.Properties.Get(name)
		doc := f.Description
		if doc == "" {
			doc = v.follow(f).Description
		}
		out = append(out, apiField{name, typeOf(f), required[name], join(doc, bounds(f))})
	}
	return out
}

// parameterFields are parameters as rows.
func parameterFields(list []*openapi.Parameter) (out []apiField) {
	for _, p := range list {
		name := p.Name
		if p.In == "header" {
			name += ":"
		}
		out = append(out, apiField{name, typeOf(p.Schema), p.Required, join(p.Description, bounds(p.Schema))})
	}
	return out
}

func join(sentences ...string) string { return strings.TrimSpace(strings.Join(sentences, " ")) }

// bounds says in words what a schema demands beside its type.
func bounds(s *openapi.Schema) string {
	var out []string
	switch {
	case s.Minimum != nil && s.Maximum != nil:
		out = append(out, plainNumber(*s.Minimum)+" to "+plainNumber(*s.Maximum)+".")
	case s.Minimum != nil:
		out = append(out, "At least "+plainNumber(*s.Minimum)+".")
	}
	if s.Default != nil {
		out = append(out, fmt.Sprintf("Default: `%v`.", s.Default))
	}
	return strings.Join(out, " ")
}

func plainNumber(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// typePart is a piece of a type in words; a part with a name leads to the schema of that name.
type typePart struct{ text, name string }

// typeOf says in words what a value may be.
func typeOf(s *openapi.Schema) []typePart {
	text := func(t string) []typePart { return []typePart{{text: t}} }
	switch {
	case s.Ref != "":
		name := openapi.RefName(s.Ref)
		return []typePart{{name, name}}
	case s.Const != nil:
		return text(quotedJSON(s.Const))
	case len(s.Enum) > 0:
		words := make([]string, len(s.Enum))
		for i, e := range s.Enum {
			words[i] = quotedJSON(e)
		}
		return text(strings.Join(words, " | "))
	case len(s.OneOf) > 0:
		return alternatives(s.OneOf, " or ")
	case len(s.AnyOf) > 0:
		return alternatives(s.AnyOf, " or ")
	case len(s.AllOf) > 0:
		return alternatives(s.AllOf, " and ")
	}
	var kinds []string
	switch t := s.Type.(type) {
	case string:
		kinds = []string{t}
	case []string:
		kinds = t
	default:
		return text("any")
	}
	var out []typePart
	for i, k := range kinds {
		if i > 0 {
			out = append(out, typePart{text: " or "})
		}
		value, isMap := s.Additional.(*openapi.Schema)
		switch {
		case k == "array" && s.Items != nil:
			out = append(append(out, typePart{text: "array of "}), typeOf(s.Items)...)
		case k == "object" && isMap:
			out = append(append(out, typePart{text: "object of "}), typeOf(value)...)
		case k == "string" && s.Format != "":
			out = append(out, typePart{text: s.Format})
		default:
			out = append(out, typePart{text: k})
		}
	}
	return out
}

func alternatives(list []*openapi.Schema, between string) (out []typePart) {
	for i, s := range list {
		if i > 0 {
			out = append(out, typePart{text: between})
		}
		out = append(out, typeOf(s)...)
	}
	return out
}

func quotedJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// schemaURL leads to a schema of this name.
func schemaURL(name string) string { return APIDocsURL(APISchemas) + "#" + name }
