package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// route is one address of the API: what answers there, and what is told of it.
type route struct {
	Method, Path string
	Perm         models.Permission // empty for anybody
	Handler      fiber.Handler
	About        description
}

// description is what openapi.json tells of a route beside its address.
type description struct {
	Tag, ID, summary string
	details          string       // further sentences; may be empty
	request          reflect.Type // a struct whose tags say where its fields come from, see binder
	takes            string       // component that describes the body, where the request's type does not do
	Example          any          // body of a request; nil for none
	lines            int          // the body may also be NDJSON, of at most so many lines; 0 for no
	limit, most      int          // rows of a page: default and greatest
	choices          map[string][]string
	answers          []described

	waits, polled, versioned, located, linked, shown, related, cached, conflicts, past, streamed, resumed, payload bool
}

// described is one kind of answer.
type described struct {
	status int
	body   reflect.Type
	note   string   // empty for the status's usual words
	media  []string // application/json when empty
}

// fact is something that is told of a route.
type fact func(*description)

// on mounts a use case in the API. id is how clients call it (operationId), summary says in a sentence what it does, and
// facts say what it answers and which headers matter.
func on[Req any](a *API, method, path string, perm models.Permission, run UseCase[Req], id, summary string, facts ...fact) route {
	return by[Req](method, path, perm, asJSON(a, perm, run), id, summary,
		append([]fact{func(d *description) { d.cached = method == http.MethodGet }}, facts...)...)
}

// by is on for a handler of its own, which reads what Req describes.
func by[Req any](method, path string, perm models.Permission, handler fiber.Handler, id, summary string, facts ...fact) route {
	r := route{method, path, perm, handler, description{ID: id, summary: summary, request: reflect.TypeFor[Req]()}}
	for _, f := range facts {
		f(&r.About)
	}
	return r
}

// under puts routes under one heading.
func under(tag string, routes ...route) []route {
	for i := range routes {
		routes[i].About.Tag = tag
	}
	return routes
}

// answers says that a status comes with a body of this type. Two types with one status are alternatives.
func answers[T any](status int, note string) fact {
	return func(d *description) {
		d.answers = append(d.answers, described{status: status, body: reflect.TypeFor[T](), note: note})
	}
}

func ok[T any]() fact       { return answers[T](http.StatusOK, "") }
func created[T any]() fact  { return answers[T](http.StatusCreated, "") }
func accepted[T any]() fact { return answers[T](http.StatusAccepted, "") }

// waits says that the answer is held where the caller prefers to wait, and is then 200 with T.
func waits[T any]() fact {
	return func(d *description) {
		d.waits = true
		answers[T](http.StatusOK, "The outcome, for a caller that waited for it.")(d)
	}
}

// exported says that rows come as lines of JSON or as CSV.
func exported[T any]() fact {
	return func(d *description) {
		d.answers = append(d.answers, described{http.StatusOK, reflect.TypeFor[T](), "All that match, one a line.",
			[]string{"application/x-ndjson", "text/csv"}})
	}
}

// exportedOrBroken is exported where lines of JSON may end with one that says why there are no more.
func exportedOrBroken[T any]() fact {
	return func(d *description) {
		exported[T]()(d)
		answers[exportErrorJSON](http.StatusOK, "")(d)
		d.answers[len(d.answers)-1].media = []string{"application/x-ndjson"}
	}
}

// zipped says that the answer is a ZIP.
func zipped(d *description) {
	d.answers = append(d.answers, described{http.StatusOK, reflect.TypeFor[string](), "", []string{"application/zip"}})
}

// streamed says that a GET also answers with server-sent events, each of which holds a T.
func streamed[T any]() fact {
	return func(d *description) {
		d.streamed = true
		d.answers = append(d.answers, described{http.StatusOK, reflect.TypeFor[T](), "", []string{mediaEvents}})
	}
}

// sent says that an answer is always server-sent events, some of which hold a T.
func sent[T any]() fact {
	return func(d *description) {
		d.answers = append(d.answers, described{http.StatusOK, reflect.TypeFor[T](), "", []string{mediaEvents}})
	}
}

// Facts about headers and errors.
var (
	polled    fact = func(d *description) { d.polled = true }    // ETag, and Retry-After while something may still happen
	versioned fact = func(d *description) { d.versioned = true } // ETag, and If-Match where it is changed
	located   fact = func(d *description) { d.located = true }   // Location of what was made or goes on
	linked    fact = func(d *description) { d.linked = true }    // Link to where to look how it goes on
	shown     fact = func(d *description) { d.shown = true }     // a 202 that shows what is at that address: Content-Location
	related   fact = func(d *description) { d.related = true }   // Link to what belongs to it
	cached    fact = func(d *description) { d.cached = true }    // what is read has an ETag
	secret    fact = func(d *description) { d.cached = false }   // what is read is for no cache: no ETag
	conflicts fact = func(d *description) { d.conflicts = true } // 409 where the state does not permit it
	resumed   fact = func(d *description) { d.resumed = true }   // Last-Event-ID goes on where a stream was cut off
	payload   fact = func(d *description) { d.payload = true }   // the body holds payloads or batches, and may be large
	past      fact = func(d *description) { d.past = true }      // 410 for what is no longer kept
)

// says adds sentences to the summary, in Markdown.
func says(text string) fact { return func(d *description) { d.details = text } }

// takes names the component that describes the body.
func takes(component string) fact { return func(d *description) { d.takes = component } }

// ndjson says that the body may also be NDJSON.
func ndjson(most int) fact { return func(d *description) { d.lines = most } }

// limits says how many rows a page has by default and at most.
func limits(dflt, most int) fact { return func(d *description) { d.limit, d.most = dflt, most } }

// chooses lists the values that a parameter may have.
func chooses(parameter string, values []string) fact {
	return func(d *description) {
		if d.choices == nil {
			d.choices = map[string][]string{}
		}
		d.choices[parameter] = slices.Clone(values)
	}
}

// example is a body that the request may have. A test sends it.
func example(text string) fact {
	if !json.Valid([]byte(text)) {
		panic("the example is not JSON: " + text)
	}
	return func(d *description) { d.Example = json.RawMessage(text) }
}
