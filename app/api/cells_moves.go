package api

import (
	"context"
	"net/http"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// MoveJSON is a tenant on its way from one database to another.
type MoveJSON struct {
	ID          string           `json:"id"`
	TenantID    string           `json:"tenant_id"`
	From        string           `json:"from" doc:"The database where the tenant was; 'main' is that of DATABASE_URL."`
	To          string           `json:"to"`
	Status      string           `json:"status" api:"schema=MoveStatus"`
	Phase       string           `json:"phase" api:"schema=MovePhase"`
	Cancellable bool             `json:"cancellable" doc:"Until the switch begins."`
	Progress    moveProgressJSON `json:"progress"`
	HeldMs      int64            `json:"held_ms" doc:"For how long the tenant was held last: publishing waited, and nothing was sent."`
	Holds       int              `json:"holds" doc:"That were begun; one that would last too long is given up and tried again."`
	CutOff      int              `json:"cut_off" doc:"Jobs that were under way at the switch, and are done again."`
	Error       string           `json:"error" doc:"Why the last try did not get on; it is tried again. Empty for none."`
	Actor       string           `json:"actor" doc:"Who started it."`
	CreatedAt   time.Time        `json:"created_at"`
	SwitchedAt  *time.Time       `json:"switched_at" doc:"Since when the tenant is where it goes to; null until then."`
	FinishedAt  *time.Time       `json:"finished_at" doc:"null until what was left behind is deleted."`
	Links       linksJSON        `json:"links"`
}

type moveProgressJSON struct {
	Events  int64 `json:"events" doc:"Copied."`
	Total   int64 `json:"events_total" doc:"That there were when the copy began; 0 before."`
	Rows    int64 `json:"rows" doc:"Of all tables, copied; those that were copied again are counted again."`
	Left    int64 `json:"changes_left" doc:"Changes meanwhile that are not copied yet, as far as was looked."`
	Deleted int64 `json:"events_deleted" doc:"Where the tenant was."`
}

func movePath(m *models.Move) string { return APIPrefix + "/moves/" + m.ID() }

func (a *API) moveToJSON(m *models.Move) MoveJSON {
	p := m.Progress
	return MoveJSON{ID: m.ID(), TenantID: m.TenantID, From: m.Source, To: m.Target, Status: m.Status(), Phase: m.Phase,
		Cancellable: m.Cancellable(), Progress: moveProgressJSON{p.Events, p.Total, p.Rows, p.Left, p.Deleted}, HeldMs: p.HeldMs,
		Holds: p.Tries, CutOff: p.Running, Error: m.Error, Actor: m.Actor, CreatedAt: m.CreatedAt.UTC(), SwitchedAt: m.SwitchedAt,
		FinishedAt: m.FinishedAt, Links: linksJSON{Self: movePath(m)}.under(a.Base)}
}

// MoveRequest names a tenant, and where it is to be.
type MoveRequest struct {
	Body struct {
		Tenant string `json:"tenant_id" api:"required"`
		Cell   string `json:"cell" api:"required" doc:"Where it is to be: a name of 'GET /cells'."`
	} `body:"json"`
}

// StartMove begins to move a tenant to another database.
func (a *API) StartMove(ctx context.Context, c *Call, req *MoveRequest) (*Reply, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	m, err := a.Store.StartMove(ctx, req.Body.Tenant, req.Body.Cell, c.Actor.Name)
	if err != nil {
		a.AuditFailure(ctx, c, models.AllTenants(), "move.start", "", err)
		return nil, err
	}
	return &Reply{Body: a.moveToJSON(m), Monitor: movePath(m), Shown: true}, nil
}

// ListMovesRequest selects moves.
type ListMovesRequest struct {
	models.MoveQuery
	pageParams
}

// FindMoves lists moves.
func (a *API) FindMoves(ctx context.Context, c *Call, req *ListMovesRequest, limit, most int) (list *models.Page[*models.Move], err error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	if req.Page, err = req.part(limit, most); err != nil {
		return nil, err
	}
	return a.Store.Moves(ctx, req.MoveQuery)
}

func (a *API) listMoves(ctx context.Context, c *Call, req *ListMovesRequest) (*Reply, error) {
	list, err := a.FindMoves(ctx, c, req, 100, 1000)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: pageToJSON(list, a.moveToJSON)}, nil
}

// OneMoveRequest names a move.
type OneMoveRequest struct {
	Move string `path:"move"`
}

// Move reads a move.
func (a *API) Move(ctx context.Context, c *Call, id string) (*models.Move, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	return a.Store.Move(ctx, id)
}

func (a *API) getMove(ctx context.Context, c *Call, req *OneMoveRequest) (*Reply, error) {
	m, err := a.Move(ctx, c, req.Move)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: a.moveToJSON(m)}, nil
}

// CancelMove cancels a move whose tenant is not being switched yet.
func (a *API) CancelMove(ctx context.Context, c *Call, req *OneMoveRequest) (*Reply, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	m, err := a.Store.CancelMove(ctx, req.Move)
	if err != nil {
		a.AuditFailure(ctx, c, models.AllTenants(), "move.cancel", req.Move, err)
		return nil, err
	}
	return &Reply{Body: a.moveToJSON(m), Monitor: movePath(m), Shown: true}, nil
}

func (a *API) moveRoutes() []route {
	return under("Server",
		on(a, http.MethodPost, "/moves", models.MayAdmin, a.StartMove, "startMove",
			"Moves a tenant to another database while it goes on; for operators.", accepted[MoveJSON](), shown, located, linked, conflicts,
			says("A worker does it, step by step. Publishing to the tenant waits for about a second at the switch, and no accepted event is lost. A tenant has one move at a time."),
			example(`{"tenant_id": "acme", "cell": "eu1"}`)),
		on(a, http.MethodGet, "/moves", models.MayAdmin, a.listMoves, "listMoves", "Lists moves of tenants; for operators.",
			ok[pageJSON[MoveJSON]](), limits(100, 1000)),
		on(a, http.MethodGet, "/moves/:move", models.MayAdmin, a.getMove, "getMove", "Shows how a move goes on; for operators.", ok[MoveJSON]()),
		on(a, http.MethodPost, "/moves/:move/cancel", models.MayAdmin, a.CancelMove, "cancelMove",
			"Cancels a move whose tenant is not being switched yet; for operators.", accepted[MoveJSON](), shown, located, linked, conflicts,
			says("The tenant stays where it is, and what was copied is deleted.")))
}
