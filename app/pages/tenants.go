package pages

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) tenantsPage(ctx context.Context, p *pageCtx) error {
	v := views.Tenants{Page: p.frame("Tenants", views.SectionTenants), Query: p.query()}
	v.API = apiCallOf("GET", "", "/tenants", queryOf(v.Query, "q", "dir", "limit"))
	var req api.ListTenantsRequest
	err := bindQuery(v.Query, &req)
	if err == nil {
		var page models.PageQuery
		if page, err = req.Query(pageSize, 100); err == nil {
			v.List, v.Count, err = a.Store.Tenants(ctx, p.call.Scope(), models.TenantQuery{IDs: req.IDs, Text: strings.TrimSpace(req.Text), Page: page})
		}
	}
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.TenantsPage(v)) })
}

// list ends a page with a list: one that was refused is shown with the reason, and its filter stays.
func (p *pageCtx) list(err error, shown **models.Error, frame *views.Page, render func() error) error {
	if err != nil {
		if *shown = api.Refusal(err); *shown == nil {
			return err
		}
		frame.Invalid = true
	}
	return render()
}

func listStatus(e *models.Error) int {
	if e != nil {
		return e.Status()
	}
	return http.StatusOK
}

// queryOf is the part of a query that the API understands as well, with its question mark.
func queryOf(q url.Values, names ...string) string {
	out := url.Values{}
	for _, n := range names {
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

func (a *Pages) newTenantFrame(p *pageCtx) views.Page {
	f := p.frame("Create tenant", views.SectionTenants)
	f.Crumbs = []views.Crumb{{Label: "Tenants", URL: views.TenantsURL()}}
	f.API = apiCallOf("PUT", "", "/tenants/acme")
	return f
}

func (a *Pages) newTenantPage(ctx context.Context, p *pageCtx) error {
	return p.render(ctx, http.StatusOK, views.NewTenantPage(views.NewTenant{Page: a.newTenantFrame(p)}))
}

func (a *Pages) createTenant(ctx context.Context, p *pageCtx) error {
	form := p.form()
	id := strings.TrimSpace(form.Value("tenant_id"))
	reply, err := a.PutTenant(ctx, p.call, &api.PutTenantRequest{Tenant: id})
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		return p.render(ctx, form.Err.Status(), views.NewTenantPage(views.NewTenant{Page: refused(a.newTenantFrame(p)), Form: form}))
	}
	flash := said("The tenant was created.")
	if reply.Status != http.StatusCreated {
		flash = &views.Flash{Tone: views.ToneInfo, Text: "There is a tenant of this ID already. This is it."}
	}
	return p.done(views.OverviewURL(id), flash)
}
