package api

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// tenantCellJSON is a database that holds tenants.
type tenantCellJSON struct {
	Name       string     `json:"name" doc:"'main' is the database of DATABASE_URL."`
	Address    string     `json:"address,omitempty" doc:"Without passwords; absent for 'main'."`
	Tenants    int        `json:"tenants" doc:"How many are in it."`
	DrainingAt *time.Time `json:"draining_at" api:"null" doc:"Since when new tenants go elsewhere; null for not at all."`
	Served     bool       `json:"served" doc:"Whether the process that answers serves it (CELLS)."`
	Reachable  bool       `json:"reachable" doc:"Whether it answers that process."`
	Since      *time.Time `json:"since" api:"null" doc:"Since when it does, or does not, as that process knows; null for 'main'."`
	Problem    string     `json:"problem,omitempty" doc:"Why not."`
	Schema     *int64     `json:"schema_version" api:"null" doc:"That it was migrated to; null, as the next three, where it does not answer."`
	Workers    *int       `json:"workers" api:"null" doc:"That are alive and work off its jobs."`
	Due        *int       `json:"jobs_due" api:"null" doc:"That a worker could take now; null also when they could not be counted within 2 s."`
	OldestDue  *float64   `json:"oldest_due_seconds" api:"null" doc:"How long the oldest of them has been waiting."`
}

func cellToJSON(s models.CellState) tenantCellJSON {
	j := tenantCellJSON{Name: s.Name, Address: s.Address, Tenants: s.Tenants, DrainingAt: s.DrainingAt, Served: s.Served,
		Reachable: s.Reachable, Since: s.Since, Problem: s.Problem}
	if h := s.Health; h != nil {
		oldest := h.OldestDue.Seconds()
		j.Schema, j.Workers, j.Due, j.OldestDue = &h.Schema, &h.Workers, h.Due, &oldest
	}
	return j
}

// CellStates tells of all databases that hold tenants, home first.
func (a *API) CellStates(ctx context.Context, c *Call) ([]models.CellState, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	return a.cellStates(ctx)
}

func (a *API) cellStates(ctx context.Context) ([]models.CellState, error) {
	n, err := a.Store.CellTenants(ctx)
	if err != nil {
		return nil, err
	}
	draining, err := a.Store.HomeDraining(ctx)
	if err != nil {
		return nil, err
	}
	cells, now := a.Cells(), a.drained()
	out := []models.CellState{{Name: models.HomeCell, Tenants: n[models.HomeCell], DrainingAt: draining,
		Served: a.Cfg.Serves(models.HomeCell), Reachable: true}}
	names := []string{models.HomeCell}
	for _, x := range cells {
		out = append(out, models.CellState{Name: x.Name, Address: x.MaskedAddress(), Tenants: n[x.Name], DrainingAt: now[x.Name],
			Served: x.Served(), Reachable: true})
		names = append(names, x.Name)
	}
	health := make([]atomic.Pointer[models.CellHealth], len(names)) // of one that is late somebody still writes
	missing, err := a.eachCell(ctx, names, func(ctx context.Context, i int, x *API) error {
		if i > 0 {
			if err := x.Store.Ready(ctx); err != nil {
				return x.named(readyOr(err))
			}
		}
		h, err := x.Store.CellHealth(ctx)
		if err == nil {
			health[i].Store(h)
		}
		return x.named(err)
	})
	if err != nil {
		return nil, err
	}
	for i := range out {
		s := &out[i]
		if s.Health = health[i].Load(); i == 0 {
			continue
		}
		x := cells[i-1]
		s.Reachable = !slices.Contains(missing, s.Name)
		switch {
		case !s.Served:
			s.Reachable, s.Problem = false, "This process does not serve it (CELLS)."
			continue
		case s.Reachable:
		case x.Open() == nil && x.Why() != "":
			s.Problem = x.Why()
		default:
			s.Problem = "It does not answer."
		}
		x.Saw(s.Reachable)
		s.Since = x.Since()
	}
	return out, nil
}

// drained is since when new tenants go elsewhere than to the cells, as this process knows it: Cells follows a moment later.
func (a *API) drained() map[string]*time.Time {
	since := map[string]*time.Time{}
	for _, known := range a.Store.Cells() {
		since[known.Name] = known.DrainingAt
	}
	return since
}

// readyOr makes any reason why a database is not ready one of unavailability.
func readyOr(err error) error {
	if err == nil {
		return nil
	}
	return &models.Error{Kind: models.KindUnavailable, Message: "The database does not answer.", Err: err}
}

func cellsToJSON(list []models.CellState) []tenantCellJSON {
	out := make([]tenantCellJSON, len(list))
	for i, s := range list {
		out[i] = cellToJSON(s)
	}
	return out
}

func (a *API) listCells(ctx context.Context, c *Call, _ *noRequest) (*Reply, error) {
	list, err := a.CellStates(ctx, c)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: listJSON[tenantCellJSON]{cellsToJSON(list)}}, nil
}

// ChangeCellRequest drains a cell, or no longer.
type ChangeCellRequest struct {
	Cell string `path:"cell"`
	Body struct {
		Draining bool `json:"draining" api:"required" doc:"Whether new tenants go elsewhere."`
	} `body:"json"`
}

// ChangeCell drains a cell, or no longer.
func (a *API) ChangeCell(ctx context.Context, c *Call, req *ChangeCellRequest) (*Reply, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	if err := a.Store.DrainCell(ctx, req.Cell, req.Body.Draining); err != nil {
		return nil, err
	}
	if err := a.Store.KnowCells(ctx); err != nil {
		return nil, err
	}
	list, err := a.CellStates(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, x := range list {
		if x.Name != req.Cell {
			continue
		}
		return &Reply{Body: cellToJSON(x)}, nil
	}
	return nil, &models.Error{Kind: models.KindNotFound, Message: "The cell was removed meanwhile."}
}

func (a *API) cellRoutes() []route {
	return under("Server",
		on(a, http.MethodGet, "/cells", models.MayAdmin, a.listCells, "listCells", "Lists the databases that hold tenants; for operators.",
			ok[listJSON[tenantCellJSON]](),
			says("They are added and removed at the command line (`waybill cells`), which takes their addresses.")),
		on(a, http.MethodPatch, "/cells/:cell", models.MayAdmin, a.ChangeCell, "updateCell",
			"Has new tenants go to other databases, or no longer; for operators.", ok[tenantCellJSON](), example(`{"draining": true}`)))
}
