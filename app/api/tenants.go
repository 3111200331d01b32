package api

import (
	"context"
	"net/http"
	"time"

	"github.com/waybill-dev/waybill/models"
)

type tenantJSON struct {
	ID                string            `json:"id" doc:"Chosen by the platform."`
	Name              string            `json:"name" doc:"What people see of it; the id unless its settings say otherwise."`
	DestinationsCount int               `json:"destinations_count" doc:"How many destinations the tenant has."`
	Topics            []string          `json:"topics" doc:"Topics to which its destinations subscribe; '*' for all."`
	Metadata          map[string]string `json:"metadata" api:"null" doc:"For the platform's own use; never sent."`
	CreatedAt         time.Time         `json:"created_at"`
	UpdatedAt         time.Time         `json:"updated_at"`

	Cell    string             `json:"cell,omitempty" doc:"The database that it is in; absent while there is only one."`
	Numbers *tenantNumbersJSON `json:"numbers,omitempty" doc:"In lists with 'include=numbers': how it does."`
}

func tenantToJSON(t *models.TenantSummary) tenantJSON {
	topics := t.Topics
	if topics == nil {
		topics = []string{}
	}
	cell := ""
	if t.Cell != nil {
		cell = *t.Cell
	}
	return tenantJSON{t.ID, t.Name(), t.Destinations, topics, t.Metadata, t.CreatedAt, t.UpdatedAt, cell, tenantNumbersToJSON(t.Numbers)}
}

// pageJSON is a list in the API.
type pageJSON[T any] struct {
	Models     []T            `json:"models" doc:"The rows of this page."`
	Pagination paginationJSON `json:"pagination"`
	Count      *int           `json:"count,omitempty" doc:"How many there are in all."`
	Searched   *searchedJSON  `json:"searched,omitempty" doc:"With 'q': how far the search got."`
	Looked     *lookedJSON    `json:"looked,omitempty" doc:"Of a list that stopped looking before the page was full: 'pagination.next' goes on there."`
	Sorted     *sortedJSON    `json:"sorted,omitempty" doc:"In an order that no index gives: how far it reaches."`
}

// lookedJSON says how far a list looked whose conditions few rows meet and no index finds.
type lookedJSON struct {
	Events int       `json:"events" doc:"Events, or attempts, that were looked at."`
	Until  time.Time `json:"until" doc:"Those that were received, or started, up to there."`
}

// sortedJSON says how far an order reaches that no index gives.
type sortedJSON struct {
	Within   int  `json:"within" doc:"Rows that match are sorted in portions of so many, as they were received; the pages go through one after the other."`
	Complete bool `json:"complete" doc:"Whether one portion holds all that match: then the order is that of the whole list."`
}

// searchedJSON says how far a search among payloads got. The next page goes on where it ended.
type searchedJSON struct {
	As       string `json:"as" api:"enum=text|filter" doc:"How 'q' was understood."`
	Note     string `json:"note,omitempty" doc:"What a reader should know of that."`
	Events   int    `json:"events" doc:"Events whose payloads were looked at."`
	Complete bool   `json:"complete" doc:"Whether every event that the other conditions choose was looked at."`
	Stopped  bool   `json:"stopped" doc:"Whether the search gave up for this page; the next page goes on where it ended."`
}

type paginationJSON struct {
	OrderBy string  `json:"order_by" doc:"What the list is sorted by."`
	Dir     string  `json:"dir" api:"enum=asc|desc"`
	Limit   int     `json:"limit"`
	Next    *string `json:"next" api:"null" doc:"Cursor of the page after this one; null at the end."`
	Prev    *string `json:"prev" api:"null" doc:"Cursor of the page before this one; null at the start."`
}

func pageToJSON[T, U any](p *models.Page[T], f func(T) U) pageJSON[U] {
	out := pageJSON[U]{Models: make([]U, len(p.Items)), Pagination: paginationJSON{OrderBy: p.OrderBy, Dir: p.Dir, Limit: p.Limit}}
	for i, it := range p.Items {
		out.Models[i] = f(it)
	}
	if s := p.Searched; s != nil {
		out.Searched = &searchedJSON{s.As, s.Note, s.Events, s.Complete, s.Stopped}
	}
	if l := p.Looked; l != nil {
		out.Looked = &lookedJSON{l.Events, l.Until}
	}
	if s := p.Sorted; s != nil {
		out.Sorted = &sortedJSON{s.Within, s.Complete}
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

// listJSON is a list that is short enough to come as a whole.
type listJSON[T any] struct {
	Models []T `json:"models"`
}

type tenantRequest struct {
	Tenant string `path:"tenant"`
}

type PutTenantRequest struct {
	Tenant string `path:"tenant"`
	Body   struct {
		Metadata  models.Texts `json:"metadata" doc:"Strings for the platform's own use. They are replaced as a whole; absent leaves them as they are. Numbers and booleans become strings."`
		CreatedAt *time.Time   `json:"created_at" doc:"When creating, for operators: since when there is the tenant; now when missing."`
		UpdatedAt *time.Time   `json:"updated_at" doc:"When creating, for operators: as 'created_at' when missing."`
		Cell      string       `json:"cell" doc:"When creating, for operators: the database that it is to be in; the one with the fewest tenants when missing."`
	} `body:"json"`
}

func (a *API) PutTenant(ctx context.Context, c *Call, req *PutTenantRequest) (*Reply, error) {
	// A tenant's own token may change it, but not create others.
	if c.Actor.TenantID != "" && c.Actor.TenantID != req.Tenant {
		return nil, &models.Error{Kind: models.KindNotFound, Message: "There is no tenant of this id."}
	}
	since := models.Since{CreatedAt: req.Body.CreatedAt, UpdatedAt: req.Body.UpdatedAt}
	if err := sinceByOperators(c, since); err != nil {
		return nil, err
	}
	x, created, err := a.putTenant(ctx, c, req, since)
	if err != nil {
		return nil, err
	}
	t, err := x.Store.TenantSummary(ctx, models.AllTenants(), req.Tenant)
	if err != nil {
		return nil, err
	}
	x.tellCell(c, t)
	r := &Reply{Body: tenantToJSON(t)}
	if created {
		r.Status = http.StatusCreated
	}
	return r, nil
}

func (a *API) getTenant(ctx context.Context, c *Call, req *tenantRequest) (*Reply, error) {
	t, err := a.Store.TenantSummary(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	a.tellCell(c, t)
	return &Reply{Body: tenantToJSON(t)}, nil
}

func (a *API) listTenants(ctx context.Context, c *Call, req *ListTenantsRequest) (*Reply, error) {
	list, count, err := a.FindTenants(ctx, c, req, 20, 100)
	if err != nil {
		return nil, err
	}
	body := pageToJSON(list, func(t models.TenantSummary) tenantJSON { return tenantToJSON(&t) })
	body.Count = &count
	return &Reply{Body: body}, nil
}

// successJSON is the answer where there is nothing else to tell.
type successJSON struct {
	Success bool `json:"success"`
}

var success = successJSON{true}

func (a *API) deleteTenant(ctx context.Context, c *Call, req *tenantRequest) (*Reply, error) {
	if a.Cells() != nil {
		if err := a.deletePlaced(ctx, c, req.Tenant); err != nil {
			return nil, err
		}
		return &Reply{Body: success}, nil
	}
	if err := a.Store.DeleteTenant(ctx, c.Scope(), req.Tenant); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}

type tokenJSON struct {
	Token    string `json:"token" doc:"A JWT that is valid for 24 hours."`
	TenantID string `json:"tenant_id"`
}

func (a *API) getTenantToken(ctx context.Context, c *Call, req *tenantRequest) (*Reply, error) {
	t, err := a.Store.Tenant(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	token, err := a.tenantToken(t.ID, time.Now())
	if err != nil {
		return nil, err
	}
	return &Reply{Body: tokenJSON{token, t.ID}, Secret: true}, nil
}

type portalRequest struct {
	Tenant string `path:"tenant"`
	Theme  string `query:"theme" api:"enum=light|dark" doc:"Look of the dashboard; the visitor's system decides when missing."`
}

type portalJSON struct {
	RedirectURL string `json:"redirect_url" api:"format=uri" doc:"Opens the tenant's dashboard once, within 5 minutes."`
	TenantID    string `json:"tenant_id"`
}

func (a *API) getPortal(ctx context.Context, c *Call, req *portalRequest) (*Reply, error) {
	// Platforms ask for one with each visit; the audit log tells when it is used.
	_, token, err := a.Store.CreatePortalLink(models.WithoutAudit(ctx), c.Scope(), req.Tenant,
		models.PortalLinkInput{Theme: req.Theme, SingleUse: true, For: models.PortalLinkLength, Actor: c.Actor.Name})
	if err != nil {
		return nil, err
	}
	return &Reply{Body: portalJSON{a.portalURL(token), req.Tenant}, Secret: true}, nil
}

// DemoTenant is the tenant that a fresh server starts with, so that the first event needs no preparation.
const DemoTenant = "demo"
