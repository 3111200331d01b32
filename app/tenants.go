package app

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/waybill-dev/waybill/models"
)

type tenantJSON struct {
	ID                string            `json:"id"`
	DestinationsCount int               `json:"destinations_count"`
	Topics            []string          `json:"topics"`
	Metadata          map[string]string `json:"metadata"`
	CreatedAt         time.Time         `json:"created_at"`
	UpdatedAt         time.Time         `json:"updated_at"`
}

func tenantToJSON(t *models.TenantSummary) tenantJSON {
	topics := t.Topics
	if topics == nil {
		topics = []string{}
	}
	return tenantJSON{t.ID, t.Destinations, topics, t.Metadata, t.CreatedAt, t.UpdatedAt}
}

// pageJSON is a list in the API.
type pageJSON[T any] struct {
	Models     []T            `json:"models"`
	Pagination paginationJSON `json:"pagination"`
	Count      *int           `json:"count,omitempty"`
	Searched   *searchedJSON  `json:"searched,omitempty"`
}

// searchedJSON says how far a search among payloads got. The next page goes on where it ended.
type searchedJSON struct {
	As       string `json:"as"` // text or filter
	Note     string `json:"note,omitempty"`
	Events   int    `json:"events"`
	Complete bool   `json:"complete"`
	Stopped  bool   `json:"stopped"`
}

type paginationJSON struct {
	OrderBy string  `json:"order_by"`
	Dir     string  `json:"dir"`
	Limit   int     `json:"limit"`
	Next    *string `json:"next"`
	Prev    *string `json:"prev"`
}

func pageToJSON[T, U any](p *models.Page[T], f func(T) U) pageJSON[U] {
	out := pageJSON[U]{Models: make([]U, len(p.Items)), Pagination: paginationJSON{OrderBy: p.OrderBy, Dir: p.Dir, Limit: p.Limit}}
	for i, it := range p.Items {
		out.Models[i] = f(it)
	}
	if s := p.Searched; s != nil {
		out.Searched = &searchedJSON{s.As, s.Note, s.Events, s.Complete, s.Stopped}
	}
	if p.Next != "" {
		out.Pagination.Next = &p.Next
	}
	if p.Prev != "" {
		out.Pagination.Prev = &p.Prev
	}
	return out
}

// cursors are what leads to the pages after and before.
func (p pageJSON[T]) cursors() paginationJSON { return p.Pagination }

// pageParams are the parameters of every list.
type pageParams struct {
	Limit int    `query:"limit"`
	Dir   string `query:"dir"`
	Next  string `query:"next"`
	Prev  string `query:"prev"`
	Order string `query:"order_by"` // accepted for compatibility; each list has one order
}

func (p pageParams) query(dflt, most int) (models.PageQuery, error) {
	if p.Dir != "" && p.Dir != "asc" && p.Dir != "desc" {
		return models.PageQuery{}, models.Invalid("dir", "must be asc or desc")
	}
	if p.Limit == 0 {
		p.Limit = dflt
	} else if p.Limit < 0 {
		p.Limit = most + 1 // refused with the limits in the message
	}
	return models.PageQuery{Limit: p.Limit, Max: most, Asc: p.Dir == "asc", Next: p.Next, Prev: p.Prev}, nil
}

type tenantRequest struct {
	Tenant string `path:"tenant"`
}

type putTenantRequest struct {
	Tenant string `path:"tenant"`
	Body   struct {
		Metadata map[string]string `json:"metadata"`
	} `body:"json"`
}

func (a *App) putTenant(ctx context.Context, c *Call, req *putTenantRequest) (*Reply, error) {
	// A tenant's own token may change it, but not create others.
	if c.Actor.TenantID != "" && c.Actor.TenantID != req.Tenant {
		return nil, &models.Error{Kind: models.KindNotFound, Message: "There is no tenant of this id."}
	}
	put, created, err := a.store.PutTenant(ctx, req.Tenant, req.Body.Metadata)
	if err != nil {
		return nil, err
	}
	t, err := a.store.TenantSummary(ctx, models.AllTenants(), req.Tenant)
	if err != nil {
		return nil, err
	}
	r := &Reply{Body: tenantToJSON(t)}
	if created {
		r.Status = http.StatusCreated
		a.auditChanges(ctx, c, t.Scope(), "tenant.create", t.ID, put.Changes, nil)
	} else if len(put.Changes) > 0 { // platforms put their tenants again and again
		a.auditChanges(ctx, c, t.Scope(), "tenant.update", t.ID, put.Changes, nil)
	}
	return r, nil
}

func (a *App) getTenant(ctx context.Context, c *Call, req *tenantRequest) (*Reply, error) {
	t, err := a.store.TenantSummary(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: tenantToJSON(t)}, nil
}

type listTenantsRequest struct {
	IDs  []string `query:"id"`
	Text string   `query:"q"`
	pageParams
}

func (a *App) listTenants(ctx context.Context, c *Call, req *listTenantsRequest) (*Reply, error) {
	page, err := req.query(20, 100)
	if err != nil {
		return nil, err
	}
	list, count, err := a.store.Tenants(ctx, c.Scope(), models.TenantQuery{IDs: req.IDs, Text: req.Text, Page: page})
	if err != nil {
		return nil, err
	}
	body := pageToJSON(list, func(t models.TenantSummary) tenantJSON { return tenantToJSON(&t) })
	body.Count = &count
	return &Reply{Body: body}, nil
}

var success = map[string]bool{"success": true}

func (a *App) deleteTenant(ctx context.Context, c *Call, req *tenantRequest) (*Reply, error) {
	t, err := a.store.Tenant(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	if err := a.store.DeleteTenant(ctx, c.Scope(), req.Tenant); err != nil {
		return nil, err
	}
	a.audit(ctx, c, t.Scope(), "tenant.delete", t.ID, nil)
	return &Reply{Body: success}, nil
}

func (a *App) getTenantToken(ctx context.Context, c *Call, req *tenantRequest) (*Reply, error) {
	t, err := a.store.Tenant(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	token, err := a.tenantToken(t.ID, time.Now())
	if err != nil {
		return nil, err
	}
	return &Reply{Body: map[string]string{"token": token, "tenant_id": t.ID}}, nil
}

type portalRequest struct {
	Tenant string `path:"tenant"`
	Theme  string `query:"theme"`
}

func (a *App) getPortal(ctx context.Context, c *Call, req *portalRequest) (*Reply, error) {
	token, err := a.store.CreatePortalLink(ctx, c.Scope(), req.Tenant, req.Theme)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: map[string]string{"redirect_url": a.cfg.BaseURL + "/p/" + url.PathEscape(token), "tenant_id": req.Tenant}}, nil
}
