package pages

import (
	"context"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// form is what somebody typed into a form and sent.
func (p *pageCtx) form() views.Form {
	values := map[string][]string{}
	for k, v := range p.Request().PostArgs().All() {
		values[string(k)] = append(values[string(k)], string(v))
	}
	return views.Form{Values: values}
}

// query is the state of a list as it is in the address.
func (p *pageCtx) query() url.Values {
	q := url.Values{}
	for k, v := range p.Context().QueryArgs().All() {
		q.Add(string(k), string(v))
	}
	return q
}

// bindQuery fills a request of the API from the query, by the API's rules. Unlike there, an unknown parameter is no
// error and left out: pages have a few of their own, and an address may have been typed.
func bindQuery[Req any](q url.Values, req *Req) error {
	v := reflect.ValueOf(req).Elem()
	for _, f := range api.BinderOf[Req]().Fields {
		if values := q[f.Name]; f.Kind == "query" && len(values) > 0 {
			if err := api.SetParam(v.FieldByIndex(f.Index), values); err != nil {
				return models.Invalid(f.Name, err.Error())
			}
		}
	}
	return nil
}

// refused is the frame of a page with a refused form.
func refused(f views.Page) views.Page {
	f.Invalid = true
	return f
}

// said is a flash message about something that went well.
func said(text string) *views.Flash { return &views.Flash{Tone: views.ToneOK, Text: text} }

// words cuts a list that somebody typed, by commas, spaces or lines.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' })
}

// ranges are the spans of time of views.Ranges.
var ranges = map[string]time.Duration{"1h": time.Hour, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "30d": 30 * 24 * time.Hour}

// rangeStart resolves the range in a list's query: it becomes a since for the API's parser. With a cursor the beginning
// that came along with it counts, so that the list does not move under whoever pages through it. Explicit times win over
// a range. The query that the page shows is changed accordingly.
func rangeStart(q url.Values, now time.Time) (forAPI url.Values, start time.Time) {
	forAPI = url.Values{}
	for k, v := range q {
		forAPI[k] = v
	}
	span, known := ranges[q.Get("range")]
	paging := q.Get("next") != "" || q.Get("prev") != ""
	switch explicit := q.Get("since") != "" || q.Get("until") != ""; {
	case !known, explicit && !paging:
		delete(q, "range")
		return forAPI, time.Time{}
	case explicit:
		start, _ = api.ParseTime(q.Get("since"))
	default:
		start = now.UTC().Truncate(time.Second).Add(-span)
	}
	forAPI.Set("since", start.Format(time.RFC3339))
	return forAPI, start
}

// pageSize is how many rows a page shows unless its address says otherwise.
const pageSize = 50

// FirstPageNote is shown when a cursor does not fit its list any more.
const FirstPageNote = "The list has changed since you looked at it. This is its first page."

// paged reads a list by its parameters. A cursor that does not fit the list any more is stale: it is taken out of q, and the
// first page is read.
func paged[T any](ctx context.Context, p *pageCtx, q url.Values, read func(context.Context, *pageCtx, url.Values) (*models.Page[T], error)) (list *models.Page[T], stale bool, err error) {
	list, err = read(ctx, p, q)
	if models.IsKind(err, models.KindMalformed) && (q.Get("next") != "" || q.Get("prev") != "") {
		q.Del("next")
		q.Del("prev")
		stale = true
		list, err = read(ctx, p, q)
	}
	return list, stale, err
}
