package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// Call is one request as use cases see it: who calls, and what they asked for beside the request itself.
type Call struct {
	Actor       *models.Actor
	RequestID   string
	IP          string
	Prefer      prefer
	IfMatch     string    // version of a resource that the caller read; empty for any
	IfNoneMatch string    // states of a resource that the caller knows; empty for none
	Page        bool      // from the dashboard, not from the API
	Browser     string    // User-Agent of a page's viewer; empty for the API
	Schema      schema    // what the caller's client can read of destinations
	Wrote       time.Time // when the caller wrote last, for what is read from a replica; zero for not lately

	Missing []string // cells that did not answer, of a list over several: the answer lacks what is there

	cells []string // in which a list over all tenants is read; nil for this one alone

	IdempotencyKey string        // of a form, so that sending it twice does nothing twice; empty for none
	gone           func() bool   // whether the caller has gone away; nil where that cannot be told
	claim          *models.Claim // of a request's Idempotency-Key; nil for none

	Trace, TraceState string // the caller's checked traceparent and tracestate; empty for none
}

// Scope is whose rows the caller may see.
func (c *Call) Scope() models.Scope { return c.Actor.Scope }

// Asker is the caller as the audit log names them.
func (c *Call) Asker() models.Asker {
	return models.Asker{Actor: c.Actor.Name, ActorKind: c.Actor.Kind, IP: c.IP, RequestID: c.RequestID, Browser: c.Browser}
}

// Reply is what a use case answers. The zero Status means 200.
type Reply struct {
	Status   int
	Body     any
	Location string        // of a created resource
	Monitor  string        // where the caller sees how what was asked for goes on; the status is 202 then, unless another is set
	Shown    bool          // the body is what a GET of Monitor would answer
	Links    string        // values of the Link header; that of Monitor is added where there are none
	ETag     string        // without quotes; empty for that of the body, where something is read
	Final    *bool         // whether polling is over; nil where there is nothing to poll
	Fresh    time.Duration // how long what is read may be used without asking again; 0 for not at all
	Secret   bool          // no cache may keep it, and it is sent in full each time
	NoStore  bool          // no cache may keep it, but whoever names its ETag is told that it has not changed
	Applied  []string      // preferences that were honoured
	Latest   bool          // it tells of the state of now, which no later answer may fall behind
	Omitted  []string      // types of destinations that were left out, since the caller's client cannot read them
}

// UseCase is one thing that a caller can do. There is no HTTP in it: the same one serves the API and the dashboard.
type UseCase[Req any] func(ctx context.Context, c *Call, req *Req) (*Reply, error)

// requestTimeout bounds everything below the HTTP layer.
const requestTimeout = 30 * time.Second

// CallContext is the context of a request's work. It does not end when the caller goes away: what was asked for is
// done all the same, and done once.
func CallContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), requestTimeout)
}

// WhileAnswering does what a request is for. One that only reads is given up soon when the database does not answer: whoever
// waits for a page or polls may try again, and nothing is lost.
func (a *API) WhileAnswering(ctx context.Context, c *fiber.Ctx, run func(ctx context.Context) error) error {
	if c.Method() != fiber.MethodGet && c.Method() != fiber.MethodHead {
		return run(ctx)
	}
	ctx, stop := a.Store.WhileAnswering(ctx)
	defer stop()
	return models.Because(ctx, run(ctx))
}

// asJSON mounts a use case in the API.
func asJSON[Req any](a *API, perm models.Permission, run UseCase[Req]) fiber.Handler {
	bind := BinderOf[Req]()
	return func(c *fiber.Ctx) error {
		ctx, cancel := CallContext()
		defer cancel()
		var call *Call
		err := a.WhileAnswering(ctx, c, func(ctx context.Context) (err error) {
			call, err = a.APICall(ctx, c, perm)
			return err
		})
		if err != nil {
			return err
		}
		var req Req
		if err := bind.fill(c, &req, call.Prefer.strict); err != nil {
			return err
		}
		ctx = models.WithAsker(ctx, call.Asker())
		if tenant, ok := c.Locals(guardLocal).(string); ok {
			ctx = a.Store.Guard(ctx, tenant)
		}
		ctx, cancelWait := call.within(ctx)
		defer cancelWait()
		var reply *Reply
		answer := func(ctx context.Context) (err error) {
			reply, err = run(ctx, call, &req)
			return err
		}
		err = a.WhileAnswering(ctx, c, func(ctx context.Context) error {
			if perm == models.MayRead && safe(c) && call.Prefer.wait == 0 {
				return a.Store.Read(ctx, call.Wrote, answer)
			}
			return answer(ctx)
		})
		if !safe(c) && perm != models.MayPublish { // publishers are many, and what they publish is found by its id; see docs/replica.md
			a.Store.Wrote(call.callerName())
		}
		if err != nil {
			return err
		}
		if reply.Latest {
			a.sawLatest(c, call)
		}
		return sendJSON(c, call, reply)
	}
}

// within is the context of the call's work: a caller that waits (Prefer: wait) gets the time it asked for beside that of the
// work, and what is committed is noted with the Idempotency-Key.
func (c *Call) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.claim != nil {
		ctx = models.WithClaim(ctx, c.claim)
	}
	if c.Prefer.wait == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), requestTimeout+c.Prefer.wait)
}

func sendJSON(c *fiber.Ctx, call *Call, r *Reply) error {
	get := c.Method() == fiber.MethodGet || c.Method() == fiber.MethodHead
	if p, ok := r.Body.(interface{ cursors() paginationJSON }); ok && get {
		r.Links = joined(r.Links, pageLinks(c.OriginalURL(), p.cursors()))
	}
	if len(call.Missing) > 0 {
		c.Set(MissingCellsHeader, strings.Join(call.Missing, ", "))
	}
	status, body, err := r.write(call, get, c.Set)
	if err != nil {
		return err
	}
	if get && !r.Secret && r.unchanged(c, body) {
		c.Response().Header.Del(fiber.HeaderContentType)
		return c.SendStatus(fiber.StatusNotModified)
	}
	if call.claim != nil {
		if err := keepWhole(c, call, r); err != nil {
			return err
		}
	}
	return c.Status(status).Send(body)
}

// joined puts values of one header together.
func joined(values ...string) string {
	return strings.Join(slices.DeleteFunc(values, func(s string) bool { return s == "" }), ", ")
}

// write sets the headers of an answer and returns the rest of it.
func (r *Reply) write(call *Call, get bool, set func(name, value string)) (status int, body []byte, err error) {
	if r.Location != "" {
		set(fiber.HeaderLocation, r.Location)
	}
	links := r.Links
	if r.Monitor != "" {
		set(fiber.HeaderLocation, r.Monitor)
		if r.Shown {
			set(fiber.HeaderContentLocation, r.Monitor)
		}
		if links == "" {
			links = "<" + r.Monitor + `>; rel="monitor"`
		}
	}
	if links != "" {
		set(fiber.HeaderLink, links)
	}
	r.cache(get, set)
	if status = r.Status; status == 0 {
		status = fiber.StatusOK
		if r.Monitor != "" {
			status = fiber.StatusAccepted
		}
	}
	applied := slices.Clone(r.Applied)
	if status != fiber.StatusAccepted {
		applied = slices.DeleteFunc(applied, func(s string) bool { return s == respondAsync })
	}
	minimal := call.Prefer.minimal && status < 300 && !get
	if minimal {
		applied = append(applied, returnMinimal)
		status = withoutBody(status)
	}
	if len(applied) > 0 {
		set(headerApplied, strings.Join(applied, ", "))
	}
	if r.ETag != "" {
		set(fiber.HeaderETag, quoted(r.ETag))
	}
	if len(r.Omitted) > 0 {
		set(OmittedHeader, strings.Join(r.Omitted, ", "))
	}
	if minimal {
		return status, nil, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // payloads and filters are shown as they were written; nothing takes this for HTML
	if err := e.Encode(r.Body); err != nil {
		return 0, nil, fmt.Errorf("print the answer: %w", err)
	}
	set(fiber.HeaderContentType, fiber.MIMEApplicationJSONCharsetUTF8)
	return status, bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// pageLinks are the values of a Link header (RFC 8288) for the pages after and before the one at this address.
func pageLinks(address string, p paginationJSON) string {
	path, query, _ := strings.Cut(address, "?")
	var links []string
	add := func(rel string, cursor *string) {
		if cursor == nil {
			return
		}
		// What is neither cursor stays as it was written.
		params := slices.DeleteFunc(strings.Split(query, "&"), func(s string) bool {
			return s == "" || strings.HasPrefix(s, "next=") || strings.HasPrefix(s, "prev=")
		})
		links = append(links, "<"+path+"?"+strings.Join(append(params, rel+"="+url.QueryEscape(*cursor)), "&")+`>; rel="`+rel+`"`)
	}
	add("next", p.Next)
	add("prev", p.Prev)
	return strings.Join(links, ", ")
}

// binder fills a request's struct from the path, the query and the body, as its tags say:
//
//	path:"tenant"     a part of the path
//	query:"limit"     a parameter of the query; lists as k=a&k=b, k[]=a or k[0]=a (k itself may be like filters[topic])
//	body:"json"       the whole body
type binder struct {
	Fields []boundField
	known  map[string]bool // names of query parameters
}

type boundField struct {
	Index []int
	Kind  string // path, query or body
	Name  string
}

func BinderOf[Req any]() *binder {
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
				b.Fields = append(b.Fields, boundField{index, kind, name})
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
	for _, f := range b.Fields {
		dst := v.FieldByIndex(f.Index)
		switch f.Kind {
		case "path":
			dst.SetString(PathParam(c, f.Name))
		case "query":
			if values, ok := params[f.Name]; ok {
				if err := SetParam(dst, values); err != nil {
					return models.Invalid(f.Name, err.Error())
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

// Readable reports whether a text can be looked up in the database.
func Readable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func Unescaped(query []byte) string {
	s, err := url.QueryUnescape(string(query))
	if err != nil {
		return string(query)
	}
	return s
}

func UnescapedPath(path string) string {
	s, err := url.PathUnescape(path)
	if err != nil {
		return path
	}
	return s
}

// PathParam is a part of the address that stands for an id, unescaped. (Fiber's own unescaping is that of forms, which
// reads a plus as a space.)
func PathParam(c *fiber.Ctx, name string) string { return UnescapedPath(c.Params(name)) }
