package pages

import (
	"context"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) tenantExportPage(ctx context.Context, p *pageCtx) error {
	v := views.TenantExport{Page: p.frame("Export", views.SectionSettings)}
	v.Crumbs = []views.Crumb{{Label: "Settings", URL: views.SettingsURL(p.tenant.ID)}}
	v.API = apiCallOf("GET", "", "/tenants/", p.tenant.ID, "/export")
	scope, err := a.Store.Of(ctx, p.call.Scope(), p.tenant.ID)
	if err != nil {
		return err
	}
	if v.Events, err = a.Store.CountEvents(ctx, scope, models.EventQuery{}); err != nil {
		return err
	}
	return p.render(ctx, 200, views.TenantExportPage(v))
}

// exportAddress is the page that offers the export of a tenant.
func exportAddress(p *pageCtx) string { return views.TenantExportURL(p.tenantID()) }

// downloadTenant sends all that a tenant has.
func (a *Pages) downloadTenant(ctx context.Context, p *pageCtx) error {
	token := p.Cookies(SessionCookie)
	return a.SendTenant(ctx, p.Ctx, p.call, &api.ExportTenantRequest{Tenant: p.tenant.ID},
		func() bool { return a.mayStill(token, p.tenant, models.MayAdmin) })
}
