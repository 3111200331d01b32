package pages

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/views"
)

// attemptsPage lists attempts, such as those that somebody asked for.
func (a *Pages) attemptsPage(ctx context.Context, p *pageCtx) error {
	v := views.Attempts{Page: p.frame("Attempts", views.SectionEvents), Query: p.query()}
	q, since := rangeStart(v.Query, time.Now())
	v.Since = since
	q.Set("tenant_id", p.tenant.ID)
	v.API = apiCallOf("GET", "", "/attempts", queryOf[api.ListAttemptsRequest](q))
	var err error
	if v.Destinations, err = a.destinationOptions(ctx, p); err != nil {
		return err
	}
	var stale bool
	if v.List, stale, err = paged(ctx, p, q, a.FindAttempts); stale {
		v.Notice = FirstPageNote
	}
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.AttemptsPage(v)) })
}
