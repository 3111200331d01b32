package pages

import (
	"context"
	"net/url"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// attemptNames are the parameters of lists of attempts that the page and the API have in common.
var attemptNames = []string{"tenant_id", "event_id", "destination_id", "destination_type", "topic", "status", "trigger", "manual", "actor", "code", "error_class", "since", "until",
	"time[gte]", "time[gt]", "time[lte]", "time[lt]", "dir", "limit"}

// attemptsPage lists attempts, such as those that somebody asked for.
func (a *Pages) attemptsPage(ctx context.Context, p *pageCtx) error {
	v := views.Attempts{Page: p.frame("Attempts", views.SectionEvents), Query: p.query()}
	q, since := rangeStart(v.Query, time.Now())
	v.Since = since
	q.Set("tenant_id", p.tenant.ID)
	v.API = apiCallOf("GET", "", "/attempts", queryOf(q, attemptNames...))
	var err error
	if v.Destinations, err = a.destinationOptions(ctx, p); err != nil {
		return err
	}
	var stale bool
	if v.List, stale, err = paged(ctx, p, q, a.attemptList); stale {
		v.Notice = FirstPageNote
	}
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.AttemptsPage(v)) })
}

// attemptList reads attempts by the API's parameters.
func (a *Pages) attemptList(ctx context.Context, p *pageCtx, q url.Values) (*models.Page[*models.Attempt], error) {
	var req api.ListAttemptsRequest
	if err := bindQuery(q, &req); err != nil {
		return nil, err
	}
	aq, err := req.Query(pageSize, 100)
	if err != nil {
		return nil, err
	}
	return a.Store.Attempts(ctx, p.call.Scope(), aq)
}
