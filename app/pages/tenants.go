package pages

import (
	"context"
	"maps"
	"net/http"
	"strings"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// tenantsPage lists the tenants, those in trouble first, with numbers.
func (a *Pages) tenantsPage(ctx context.Context, p *pageCtx) error {
	v := views.Tenants{Page: p.frame("Tenants", views.SectionTenants), Query: p.query()}
	q := maps.Clone(v.Query)
	if q.Get("order_by") == "" {
		q.Set("order_by", models.SortTrouble)
	}
	q.Set("include", "numbers")
	v.API = apiCallOf("GET", "", "/tenants", queryOf[api.ListTenantsRequest](q))
	var req api.ListTenantsRequest
	err := bindQuery(q, &req)
	if err == nil {
		req.Text = strings.TrimSpace(req.Text)
		v.List, v.Count, err = a.FindTenants(ctx, p.call, &req, pageSize, mostRows)
	}
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.TenantsPage(v)) })
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
