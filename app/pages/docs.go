package pages

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/views"
)

// apiDocs is what the pages about the API have in common. They are for everybody; who has logged in keeps the navigation.
func (a *Pages) apiDocs(ctx context.Context, p *pageCtx, title string, crumbs ...views.Crumb) (views.APIDocs, error) {
	actor, err := a.viewer(ctx, p.Ctx)
	if err != nil {
		return views.APIDocs{}, err
	}
	if actor != nil {
		p.call.Actor, p.who = actor, actor
		if actor.TenantID != "" || !actor.Scope.All() && actor.Tenants() == 1 {
			if p.tenant, err = a.Store.TenantOf(ctx, actor.Scope); err != nil {
				return views.APIDocs{}, err
			}
			p.call.Actor = actor.In(p.tenant)
		}
	}
	d, err := a.Describe()
	if err != nil {
		return views.APIDocs{}, fmt.Errorf("describe the API: %w", err)
	}
	v := views.APIDocs{Page: p.frame(title, ""), Document: d.Document}
	v.Crumbs = crumbs
	return v, nil
}

const apiDocsTitle = "API reference"

func (a *Pages) apiDocsPage(ctx context.Context, p *pageCtx) error {
	v, err := a.apiDocs(ctx, p, apiDocsTitle)
	if err != nil {
		return err
	}
	return p.render(ctx, http.StatusOK, views.APIDocsPage(v))
}

// apiDocsPartPage shows one resource of the API, or the schemas.
func (a *Pages) apiDocsPartPage(ctx context.Context, p *pageCtx) error {
	crumb := views.Crumb{Label: apiDocsTitle, URL: views.APIDocsURL()}
	part := p.Params("part")
	if part == views.APISchemas {
		v, err := a.apiDocs(ctx, p, "Schemas of the API", crumb)
		if err != nil {
			return err
		}
		return p.render(ctx, http.StatusOK, views.APISchemasPage(v))
	}
	v, err := a.apiDocs(ctx, p, "", crumb)
	if err != nil {
		return err
	}
	for _, t := range v.Document.Tags {
		if views.APISlug(t.Name) == part {
			v.Tag, v.Title, v.Context = t, t.Name, apiDocsTitle
			return p.render(ctx, http.StatusOK, views.APIResourcePage(v))
		}
	}
	return fiber.ErrNotFound
}
