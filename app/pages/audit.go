package pages

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// auditQuery is the query of the API for what the page's address asks; the page's own is changed as rangeStart does.
func (p *pageCtx) auditQuery(q url.Values) (forAPI url.Values, since time.Time) {
	forAPI, since = rangeStart(q, time.Now())
	forAPI.Del("tenant_id")
	if id := p.tenantID(); id != "" {
		forAPI.Set("tenant_id", id)
	}
	return forAPI, since
}

func (a *Pages) auditLogPage(ctx context.Context, p *pageCtx) error {
	v := views.Audit{Page: p.frame("Audit log", views.SectionAudit), Query: p.query()}
	q, since := p.auditQuery(v.Query)
	v.Since = since
	v.API = apiCallOf("GET", "", "/audit", queryOf[api.ListAuditRequest](q))
	v.Export = url.Values{}
	for _, n := range append(namesOf[api.ExportAuditRequest](), "range") {
		if n != "tenant_id" && n != "format" && len(v.Query[n]) > 0 {
			v.Export[n] = v.Query[n]
		}
	}
	scope, err := a.AuditScope(ctx, p.call, p.tenantID())
	if err != nil {
		return err
	}
	if v.Actors, err = a.Store.AuditActors(ctx, scope); err != nil {
		return err
	}
	var stale bool
	if v.List, stale, err = paged(ctx, p, q, a.FindAudit); stale {
		v.Notice = FirstPageNote
	}
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.AuditPage(v)) })
}

func (a *Pages) auditEntryPage(ctx context.Context, p *pageCtx) error {
	scope, err := a.AuditScope(ctx, p.call, p.tenantID())
	if err != nil {
		return err
	}
	e, err := a.Store.AuditEntry(ctx, scope, p.Params("entry"))
	if err != nil {
		return err
	}
	v := views.AuditEntry{Page: p.frame(views.ActionWord(e.Action), views.SectionAudit), Entry: e}
	v.Context = e.Object
	v.Crumbs = []views.Crumb{{Label: "Audit log", URL: views.AuditURL(p.tenantID())}}
	tail := ""
	if id := p.tenantID(); id != "" {
		tail = "?tenant_id=" + url.QueryEscape(id)
	}
	v.API = apiCallOf("GET", "", "/audit/", e.ID(), tail)
	return p.render(ctx, http.StatusOK, views.AuditEntryPage(v))
}

// exportAuditPage sends what the page shows, and all pages after it, as a file.
func (a *Pages) exportAuditPage(ctx context.Context, p *pageCtx) error {
	format := p.Query("format")
	q, _ := p.auditQuery(p.query())
	var req api.ExportAuditRequest
	if err := bindQuery(q, &req); err != nil {
		return err
	}
	req.Format = format
	return a.SendAudit(ctx, p.Ctx, p.call, &req)
}

// activityPage tells what was done to a destination.
func (a *Pages) activityPage(ctx context.Context, p *pageCtx) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	v := views.Activity{Page: p.destinationFrame(d, "Activity"), Destination: d, Query: p.query()}
	q := url.Values{"tenant_id": {p.tenant.ID}, "object": {d.ID}, "action": {"destination.*"}}
	v.API = apiCallOf("GET", "", "/audit", queryOf[api.ListAuditRequest](q))
	for _, n := range []string{"limit", "next", "prev"} {
		q[n] = v.Query[n]
	}
	var stale bool
	if v.List, stale, err = paged(ctx, p, q, a.FindAudit); stale {
		v.Flash = &views.Flash{Tone: views.ToneInfo, Text: FirstPageNote}
	}
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.ActivityPage(v)) })
}

// auditPageRoutes lists the pages of the audit log, of tenants and of the whole server.
func (a *Pages) auditPageRoutes(page string) []pageRoute {
	get, read := http.MethodGet, models.MayRead
	return []pageRoute{
		{get, page + "/audit", read, []string{"GET /audit"}, a.auditLogPage},
		{get, page + "/audit/export", read, []string{"GET /audit/export"}, a.exportAuditPage},
		{get, page + "/audit/:entry", read, []string{"GET /audit/:entry"}, a.auditEntryPage},
	}
}
