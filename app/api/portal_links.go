package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

type portalLinkRequest struct {
	Tenant string `path:"tenant"`
	Body   struct {
		Theme     string           `json:"theme" api:"enum=light|dark" doc:"Look of the dashboard; the visitor's system decides when missing."`
		ExpiresIn *models.Duration `json:"expires_in" doc:"How long the link can be opened: '1m' to '168h', 5 minutes when missing."`
		SingleUse *bool            `json:"single_use" doc:"Whether it can be opened once only, which is the default."`
	} `body:"json"`
}

// portalLinkJSON is a link to a tenant's dashboard, as lists show it.
type portalLinkJSON struct {
	ID        string    `json:"id"`
	TenantID  string    `json:"tenant_id"`
	Theme     string    `json:"theme"`
	SingleUse bool      `json:"single_use"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

type newPortalLinkJSON struct {
	portalLinkJSON
	URL string `json:"url" api:"format=uri" doc:"Opens the tenant's dashboard. It is shown this once."`
}

func portalLinkToJSON(tenant string, l *models.PortalLink) portalLinkJSON {
	return portalLinkJSON{l.ID, tenant, l.Theme, l.SingleUse, l.CreatedBy, l.CreatedAt, l.ExpiresAt}
}

func (a *API) portalURL(token string) string {
	return a.Cfg.BaseURL + views.PortalURL(url.PathEscape(token))
}

func (a *API) createPortalLink(ctx context.Context, c *Call, req *portalLinkRequest) (*Reply, error) {
	in := models.PortalLinkInput{Theme: req.Body.Theme, SingleUse: req.Body.SingleUse == nil || *req.Body.SingleUse, Actor: c.Actor.Name,
		For: models.PortalLinkLength}
	if req.Body.ExpiresIn != nil {
		in.For = time.Duration(*req.Body.ExpiresIn)
	}
	l, token, err := a.Store.CreatePortalLink(ctx, c.Scope(), req.Tenant, in)
	if err != nil {
		return nil, err
	}
	return &Reply{Status: http.StatusCreated, Secret: true, Body: newPortalLinkJSON{portalLinkToJSON(req.Tenant, l), a.portalURL(token)}},
		nil
}

func (a *API) listPortalLinks(ctx context.Context, c *Call, req *tenantRequest) (*Reply, error) {
	list, err := a.Store.PortalLinks(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	out := listJSON[portalLinkJSON]{Models: make([]portalLinkJSON, len(list))}
	for i, l := range list {
		out.Models[i] = portalLinkToJSON(req.Tenant, l)
	}
	return &Reply{Body: out}, nil
}

type oneLinkRequest struct {
	Tenant string `path:"tenant"`
	Link   string `path:"link"`
}

func (a *API) revokePortalLink(ctx context.Context, c *Call, req *oneLinkRequest) (*Reply, error) {
	if err := a.Store.RevokePortalLink(ctx, c.Scope(), req.Tenant, req.Link); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}
