package api

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// tenantNumbersJSON are the numbers that docs/monitoring.md defines, of a tenant in a list.
type tenantNumbersJSON struct {
	State     string     `json:"state" api:"enum=failing|disabled|held|retrying|unknown|healthy|quiet" doc:"The worst that is so now: destinations fail, or are disabled; deliveries are held, or tried again; 'unknown' when those could not be counted. Otherwise 'healthy', or 'quiet' when no event was received since 'since'."`
	Failing   int        `json:"failing" doc:"Destinations that fail, now. Disabled ones are not among them."`
	Disabled  int        `json:"disabled" doc:"Destinations that are disabled, now."`
	Retrying  *int       `json:"retrying" api:"null" doc:"Deliveries that have failed and are due again, now; null when there are too many on the server to be counted in time."`
	Held      *int       `json:"held" api:"null" doc:"Deliveries that are kept for a destination that is or was disabled, now; null as above."`
	WaitingAt time.Time  `json:"waiting_counted_at" doc:"When these two were counted: a moment ago where there are many."`
	LastEvent *time.Time `json:"last_event_at" api:"null" doc:"When the last event was received; null when none is kept."`

	Since        time.Time         `json:"since" doc:"Start of the last 24 hours: of their first half hour. What follows is counted from then on."`
	Received     int64             `json:"received" doc:"Events accepted."`
	Delivered    int64             `json:"delivered" doc:"Deliveries that were acknowledged."`
	GivenUp      int64             `json:"failed" doc:"Deliveries that were given up."`
	SuccessRate  *float64          `json:"success_rate" api:"null" doc:"Share of first attempts that succeeded, in percent; null when there was none."`
	PointSeconds int               `json:"point_seconds" doc:"Length of what one of 'points' stands for."`
	Points       []tenantPointJSON `json:"points" doc:"The 24 hours in 24 parts, in order; the last is not over."`
}

type tenantPointJSON struct {
	Start    time.Time `json:"start"`
	Received int64     `json:"received"`
}

func tenantNumbersToJSON(n *models.TenantNumbers) *tenantNumbersJSON {
	if n == nil {
		return nil
	}
	out := &tenantNumbersJSON{State: n.State(), Failing: n.Failing, Disabled: n.Disabled, WaitingAt: n.WaitingAt, LastEvent: n.LastEvent,
		Since: n.Since, Received: n.Sum.Received, Delivered: n.Sum.Delivered, GivenUp: n.Sum.Failed,
		SuccessRate: rounded(&n.Sum, (*models.Traffic).SuccessPercent), PointSeconds: int(n.Point.Seconds())}
	if n.Waiting != nil {
		out.Retrying, out.Held = &n.Waiting.Retrying, &n.Waiting.Held
	}
	for _, p := range n.Points {
		out.Points = append(out.Points, tenantPointJSON{p.Start, p.Received})
	}
	return out
}

type ListTenantsRequest struct {
	models.TenantQuery
	Include []string `query:"include" api:"enum=numbers" doc:"'numbers': how each tenant does, now and in the last 24 hours."`
	pageParams
}

// FindTenants also counts all that match.
func (a *API) FindTenants(ctx context.Context, c *Call, req *ListTenantsRequest, limit, most int) (_ *models.Page[models.TenantSummary],
	count int, err error) {
	if c.cells != nil {
		var all atomic.Int64
		page, err := merged(ctx, a, c, req.cursorParams, limit, most, func(ctx context.Context, x *API, c *Call,
			next string) (*models.Page[models.TenantSummary], error) {
			part := *req
			part.Next = next
			page, n, err := x.FindTenants(ctx, c, &part, limit, most)
			all.Add(int64(n))
			return page, err
		})
		return page, int(all.Load()), err
	}
	if req.Page, err = req.part(limit, most); err != nil {
		return nil, 0, err
	}
	for _, what := range req.Include {
		if what != "numbers" {
			return nil, 0, models.Invalid("include", "must be numbers")
		}
	}
	list, count, err := a.Store.Tenants(ctx, c.Scope(), req.TenantQuery)
	if err == nil {
		for i := range list.Items {
			a.tellCell(c, &list.Items[i])
		}
	}
	if err == nil && len(req.Include) > 0 {
		err = a.Store.AddNumbers(ctx, c.Scope(), list.Items, time.Now())
	}
	return list, count, err
}
