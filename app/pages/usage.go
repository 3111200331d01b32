package pages

import (
	"context"
	"net/url"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/views"
)

// usageRequest is what the page asks for: days of its tenant, or one row for each tenant.
func (p *pageCtx) usageRequest() *api.UsageRequest {
	q := p.query()
	return &api.UsageRequest{From: q.Get("from"), To: q.Get("to"), Sum: p.tenant == nil}
}

func (a *Pages) usagePage(ctx context.Context, p *pageCtx) error {
	section := views.SectionUsage
	if p.tenant == nil {
		section = views.SectionServer
	}
	req := p.usageRequest()
	v := views.Usage{Page: p.frame("Usage", section), From: req.From, To: req.To}
	q, rows, err := a.Usage(ctx, p.call, req)
	if err == nil {
		v.Rows, v.From, v.To = rows, q.From.Format(time.DateOnly), q.To.Format(time.DateOnly)
		v.Query = url.Values{"from": {v.From}, "to": {v.To}}
		call := url.Values{"from": {v.From}, "to": {v.To}}
		if p.tenant != nil {
			call.Set("tenant_id", p.tenant.ID)
		} else {
			call.Set("sum", "true")
		}
		v.API = apiCallOf("GET", "", "/usage", "?"+call.Encode())
	}
	now := time.Now().UTC()
	for i := range 3 {
		first := time.Date(now.Year(), now.Month()-time.Month(i), 1, 0, 0, 0, 0, time.UTC)
		last := first.AddDate(0, 1, -1)
		v.Months = append(v.Months, views.UsageMonth{Label: first.Format("January"),
			Query: url.Values{"from": {first.Format(time.DateOnly)}, "to": {last.Format(time.DateOnly)}}})
	}
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.UsagePage(v)) })
}

// usageExport sends what the page shows as a file; of the server, each tenant's days.
func (a *Pages) usageExport(ctx context.Context, p *pageCtx) error {
	req := p.usageRequest()
	req.Sum = false
	q, rows, err := a.Usage(ctx, p.call, req)
	if err != nil {
		return err
	}
	return api.SendUsageCSV(p.Ctx, q, rows)
}
