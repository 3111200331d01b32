package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// Call is one request as use cases see it: who calls, and what they asked for beside the request itself.
type Call struct {
	Actor     *models.Actor
	RequestID string
	IP        string
	Prefer    prefer
	IfMatch   string // version of a resource that the caller read; empty for any
	Page      bool   // from the dashboard, not from the API

	IdempotencyKey string // of the request; empty for none

	Trace, TraceState string // the caller's checked traceparent and tracestate; empty for none
}

// Scope is whose rows the caller may see.
func (c *Call) Scope() models.Scope { return c.Actor.Scope }

// Reply is what a use case answers. The zero Status means 200.
type Reply struct {
	Status   int
	Body     any
	Location string   // of a created or followed resource
	ETag     string   // without quotes; empty for none
	Link     []string // values of Link headers
	Final    *bool    // whether polling is over; nil where there is nothing to poll
	Applied  []string // preferences that were honoured
}

// useCase is one thing that a caller can do. There is no HTTP in it: the same one serves the API and the dashboard.
type useCase[Req any] func(ctx context.Context, c *Call, req *Req) (*Reply, error)

// requestTimeout bounds everything below the HTTP layer.
const requestTimeout = 30 * time.Second

// callContext is the context of a request's work. It does not end when the caller goes away: what was asked for is
// done all the same, and done once.
func callContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), requestTimeout)
}

// asJSON mounts a use case in the API.
func asJSON[Req any](a *App, perm models.Permission, run useCase[Req]) fiber.Handler {
	bind := binderOf[Req]()
	return func(c *fiber.Ctx) error {
		ctx, cancel := callContext()
		defer cancel()
		call, err := a.apiCall(ctx, c, perm)
		if err != nil {
			return err
		}
		var req Req
		if err := bind.fill(c, &req, call.Prefer.strict); err != nil {
			return err
		}
		ctx, cancelWait := withWait(ctx, call)
		defer cancelWait()
		reply, err := run(ctx, call, &req)
		if err != nil {
			return err
		}
		return sendJSON(c, call, reply)
	}
}

// withWait gives a caller that waits (Prefer: wait) the time it asked for beside that of the work.
func withWait(ctx context.Context, call *Call) (context.Context, context.CancelFunc) {
	if call.Prefer.wait == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), requestTimeout+call.Prefer.wait)
}

func sendJSON(c *fiber.Ctx, call *Call, r *Reply) error {
	if r.Location != "" {
		c.Set(fiber.HeaderLocation, r.Location)
	}
	if len(r.Link) > 0 {
		c.Set(fiber.HeaderLink, strings.Join(r.Link, ", "))
	}
	if len(r.Applied) > 0 {
		c.Set("Preference-Applied", strings.Join(r.Applied, ", "))
	}
	if r.Final != nil {
		if *r.Final {
			c.Set(fiber.HeaderCacheControl, "private, max-age=60")
		} else {
			c.Set(fiber.HeaderCacheControl, "private, no-cache")
			c.Set(fiber.HeaderRetryAfter, "1")
		}
	}
	status := r.Status
	if status == 0 {
		status = fiber.StatusOK
	}
	if call.Prefer.minimal && status < 300 && c.Method() != fiber.MethodGet {
		c.Append("Preference-Applied", "return=minimal")
		if status == fiber.StatusOK {
			status = fiber.StatusNoContent
		}
		c.Status(status)
		return nil
	}
	if r.ETag != "" {
		tag := `"` + r.ETag + `"`
		c.Set(fiber.HeaderETag, tag)
		if c.Method() == fiber.MethodGet && etagMatches(c.Get(fiber.HeaderIfNoneMatch), tag) {
			return c.SendStatus(fiber.StatusNotModified)
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // payloads and filters are shown as they were written; nothing takes this for HTML
	if err := e.Encode(r.Body); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSONCharsetUTF8)
	return c.Status(status).Send(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// etagMatches reads If-None-Match (RFC 9110, section 13.1.2).
func etagMatches(header, tag string) bool {
	if header == "" {
		return false
	}
	for _, t := range strings.Split(header, ",") {
		t = strings.TrimPrefix(strings.TrimSpace(t), "W/")
		if t == tag || t == "*" {
			return true
		}
	}
	return false
}

// binder fills a request's struct from the path, the query and the body, as its tags say:
//
//	path:"tenant"     a part of the path
//	query:"limit"     a parameter of the query; lists as k=a&k=b, k[]=a or k[0]=a (k itself may be like filters[topic])
//	body:"json"       the whole body
type binder struct {
	fields []boundField
	known  map[string]bool // names of query parameters
}

type boundField struct {
	index []int
	kind  string // path, query or body
	name  string
}

func binderOf[Req any]() *binder {
	b := &binder{known: map[string]bool{}}
	b.collect(reflect.TypeFor[Req](), nil)
	return b
}

func (b *binder) collect(t reflect.Type, prefix []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(append([]int(nil), prefix...), i)
		if f.Anonymous {
			b.collect(f.Type, index)
			continue
		}
		for _, kind := range []string{"path", "query", "body"} {
			if name, ok := f.Tag.Lookup(kind); ok {
				b.fields = append(b.fields, boundField{index, kind, name})
				if kind == "query" {
					b.known[name] = true
				}
			}
		}
	}
}

func (b *binder) fill(c *fiber.Ctx, req any, strict bool) error {
	v := reflect.ValueOf(req).Elem()
	params, err := b.query(c)
	if err != nil {
		return err
	}
	for _, f := range b.fields {
		dst := v.FieldByIndex(f.index)
		switch f.kind {
		case "path":
			dst.SetString(pathParam(c, f.name))
		case "query":
			if values, ok := params[f.name]; ok {
				if err := setParam(dst, values); err != nil {
					return models.Invalid(f.name, err.Error())
				}
			}
		case "body":
			if err := decodeBody(c, dst, strict); err != nil {
				return err
			}
		}
	}
	return nil
}

// query reads the query's parameters. An unknown one is an error: it is a typing mistake, and leaving it out would
// answer another question than was asked.
func (b *binder) query(c *fiber.Ctx) (map[string][]string, error) {
	params := map[string][]string{}
	var unknown []string
	for k, v := range c.Context().QueryArgs().All() {
		name := string(k)
		if !b.known[name] {
			if i := strings.LastIndexByte(name, '['); i > 0 && strings.HasSuffix(name, "]") {
				if inner := name[i+1 : len(name)-1]; inner == "" || isDigits(inner) {
					name = name[:i]
				}
			}
		}
		if !b.known[name] {
			unknown = append(unknown, name)
			continue
		}
		params[name] = append(params[name], string(v))
	}
	if len(unknown) > 0 {
		return nil, &models.Error{Kind: models.KindMalformed, Message: fmt.Sprintf("Unknown query parameter %q.", unknown[0]),
			Fields: map[string]string{unknown[0]: "is not a parameter of this request"}}
	}
	return params, nil
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }
