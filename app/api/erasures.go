package api

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/models"
)

type ErasureJSON struct {
	ID         string               `json:"id"`
	TenantID   string               `json:"tenant_id"`
	Status     string               `json:"status" api:"schema=ErasureStatus"`
	Scope      string               `json:"scope" api:"schema=ErasureScope" doc:"What it was asked for."`
	EventID    string               `json:"event_id,omitempty" doc:"With the scope 'event'; absent once the event is no longer kept."`
	Filter     models.ErasureFilter `json:"filter" doc:"What was chosen, fixed at the start."`
	Actor      string               `json:"actor" doc:"Who asked for it."`
	Why        string               `json:"why,omitempty" doc:"What they said."`
	Total      *int                 `json:"total" doc:"Events to look at; null until they are counted."`
	Looked     int                  `json:"looked" doc:"Events that it has looked at."`
	Erased     int                  `json:"erased" doc:"Events that it has erased."`
	Cancelled  int                  `json:"cancelled" doc:"Deliveries that were cancelled because of it."`
	Attempts   int                  `json:"attempts" doc:"Attempts of which headers and bodies were erased."`
	CreatedAt  time.Time            `json:"created_at"`
	FinishedAt *time.Time           `json:"finished_at" doc:"null until everything is erased, also what attempts that were under way have recorded."`
	Links      linksJSON            `json:"links"`
}

func erasurePath(e *models.Erasure) string { return APIPrefix + "/erasures/" + e.ID() }

func (a *API) erasureToJSON(e *models.Erasure) ErasureJSON {
	return ErasureJSON{ID: e.ID(), TenantID: e.TenantID, Status: e.Status(), Scope: e.Scope, EventID: e.EventID, Filter: e.Filter,
		Actor: e.Actor, Why: e.Why, Total: e.Total, Looked: e.Looked, Erased: e.Erased, Cancelled: e.Cancelled, Attempts: e.Attempts,
		CreatedAt: e.CreatedAt.UTC(), FinishedAt: e.FinishedAt, Links: linksJSON{Self: erasurePath(e)}.under(a.Base)}
}

// ErasureRequest names what is to be erased. Without a tenant it is that of the caller's key.
type ErasureRequest struct {
	Body struct {
		Tenant string               `json:"tenant_id" doc:"Needed unless the key is a tenant's, or an event_id is enough."`
		Event  string               `json:"event_id" doc:"One event. Instead of a filter."`
		Filter models.ErasureFilter `json:"filter"`
		All    bool                 `json:"all" doc:"Everything that the tenant has until now. Instead of a filter."`
		Why    string               `json:"why" doc:"Why, for the record; up to 500 characters. Those who see the event see it."`
	} `body:"json"`
}

func (r *ErasureRequest) input(actor string) models.ErasureInput {
	return models.ErasureInput{EventID: r.Body.Event, Filter: r.Body.Filter, All: r.Body.All, Why: r.Body.Why, Actor: actor}
}

type ErasurePlanJSON struct {
	Scope  string               `json:"scope" api:"schema=ErasureScope" doc:"What it was asked for."`
	Filter models.ErasureFilter `json:"filter" doc:"What was chosen, with times fixed: give it to the erasure, and it erases what was counted."`
	Count  int                  `json:"count" doc:"Events that would be erased; those that are erased already are not among them."`
	Looked int                  `json:"looked" doc:"Events that were looked at."`
	More   bool                 `json:"more" doc:"Whether there are more events than were looked at within three seconds, so that there may be more to erase than 'count'."`
}

// PlanErasure says how much an erasure would erase.
func (a *API) PlanErasure(ctx context.Context, c *Call, req *ErasureRequest) (*models.ErasurePlan, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Body.Tenant)
	if err != nil {
		return nil, err
	}
	return a.Store.PlanErasure(ctx, scope, req.input(c.Actor.Name))
}

func (a *API) planErasure(ctx context.Context, c *Call, req *ErasureRequest) (*Reply, error) {
	p, err := a.PlanErasure(ctx, c, req)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: ErasurePlanJSON{p.Scope, p.Filter, p.Count, p.Looked, p.More}}, nil
}

// StartErasure starts an erasure.
func (a *API) StartErasure(ctx context.Context, c *Call, req *ErasureRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Body.Tenant)
	if err != nil {
		return nil, err
	}
	e, err := a.Store.StartErasure(ctx, scope, req.input(c.Actor.Name))
	if err != nil {
		a.AuditFailure(ctx, c, scope, "erasure.start", "", err)
		return nil, err
	}
	return &Reply{Body: a.erasureToJSON(e), Monitor: erasurePath(e), Shown: true}, nil
}

type ListErasuresRequest struct {
	Tenants []string `query:"tenant_id" doc:"Only of these tenants."`
	models.ErasureQuery
	pageParams
}

func (a *API) FindErasures(ctx context.Context, c *Call, req *ListErasuresRequest, limit, most int) (*models.Page[*models.Erasure], error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenants...)
	if err != nil {
		return nil, err
	}
	if req.Page, err = req.part(limit, most); err != nil {
		return nil, err
	}
	return a.Store.Erasures(ctx, scope, req.ErasureQuery)
}

func (a *API) listErasures(ctx context.Context, c *Call, req *ListErasuresRequest) (*Reply, error) {
	list, err := a.FindErasures(ctx, c, req, 100, 1000)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: pageToJSON(list, a.erasureToJSON)}, nil
}

type oneErasureRequest struct {
	Erasure string `path:"erasure"`
}

func (a *API) getErasure(ctx context.Context, c *Call, req *oneErasureRequest) (*Reply, error) {
	e, err := a.Store.Erasure(ctx, c.Scope(), req.Erasure)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: a.erasureToJSON(e)}, nil
}
