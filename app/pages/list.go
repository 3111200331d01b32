package pages

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// A page with a list takes the parameters of the API's list, by the same request: what is declared there can be asked for in
// the page's address, and is in the call of the API that the page shows.

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

// namesOf lists the parameters of a request of the API, but for the cursors.
func namesOf[Req any]() []string {
	var out []string
	for _, f := range api.BinderOf[Req]().Fields {
		if f.Kind == "query" && f.Name != "next" && f.Name != "prev" {
			out = append(out, f.Name)
		}
	}
	return out
}

// queryOf is the part of a query that a request of the API understands as well, with its question mark. It is the first page.
func queryOf[Req any](q url.Values) string {
	out := url.Values{}
	for _, n := range namesOf[Req]() {
		for _, v := range q[n] {
			if v != "" {
				out.Add(n, v)
			}
		}
	}
	if len(out) == 0 {
		return ""
	}
	return "?" + out.Encode()
}

// finder is how the API finds the rows of a list.
type finder[Req, T any] = func(ctx context.Context, c *api.Call, req *Req, limit, most int) (*models.Page[T], error)

// found reads a list by the parameters of its address. req has what is not among them.
func found[Req, T any](ctx context.Context, p *pageCtx, q url.Values, req Req, find finder[Req, T]) (*models.Page[T], error) {
	if err := bindQuery(q, &req); err != nil {
		return nil, err
	}
	return find(ctx, p.call, &req, pageSize, mostRows)
}

// paged is found, where a cursor may not fit the list any more: it is stale then and taken out of q, and the first page is read.
func paged[Req, T any](ctx context.Context, p *pageCtx, q url.Values, find finder[Req, T]) (list *models.Page[T], stale bool, err error) {
	var req Req
	list, err = found(ctx, p, q, req, find)
	if models.IsKind(err, models.KindMalformed) && (q.Get("next") != "" || q.Get("prev") != "") {
		q.Del("next")
		q.Del("prev")
		stale = true
		list, err = found(ctx, p, q, req, find)
	}
	return list, stale, err
}

// pageSize is how many rows a page shows unless its address says otherwise, and mostRows how many it may say.
const (
	pageSize = 50
	mostRows = 100
)

// FirstPageNote is shown when a cursor does not fit its list any more.
const FirstPageNote = "The list has changed since you looked at it. This is its first page."

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

// list ends a page with a list: one that was refused is shown with the reason, and its filter stays.
func (p *pageCtx) list(err error, shown **models.Error, frame *views.Page, render func() error) error {
	if err != nil {
		if *shown = api.Refusal(err); *shown == nil {
			return err
		}
		frame.Invalid = true
	}
	frame.Missing = p.call.Missing
	return render()
}

func listStatus(e *models.Error) int {
	if e != nil {
		return e.Status()
	}
	return http.StatusOK
}
