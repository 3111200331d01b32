package api

import (
	"context"
	"net/http"
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
	Problem    string     `json:"problem,omitempty" doc:"Why not."`
}

// CellStates tells of all databases that hold tenants, home first.
func (a *API) CellStates(ctx context.Context, c *Call) ([]tenantCellJSON, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	n, err := a.Store.CellTenants(ctx)
	if err != nil {
		return nil, err
	}
	draining, err := a.Store.HomeDraining(ctx)
	if err != nil {
		return nil, err
	}
	out := []tenantCellJSON{{Name: models.HomeCell, Tenants: n[models.HomeCell], DrainingAt: draining,
		Served:    a.Cfg.Serves(models.HomeCell),
		Reachable: true}}
	states := map[string]error{}
	names := []string{models.HomeCell}
	for _, x := range a.Cells() {
		names = append(names, x.Name)
	}
	missing, err := a.eachCell(ctx, names, func(ctx context.Context, i int, x *API) error {
		if i == 0 {
			return nil
		}
		return x.named(readyOr(x.Store.Ready(ctx)))
	})
	if err != nil {
		return nil, err
	}
	for _, name := range missing {
		states[name] = cellAway(name, nil)
	}
	for _, x := range a.Cells() {
		j := tenantCellJSON{Name: x.Name, Address: x.MaskedAddress(), Tenants: n[x.Name], DrainingAt: x.DrainingAt, Served: x.Served(),
			Reachable: states[x.Name] == nil}
		switch {
		case !x.Served():
			j.Reachable, j.Problem = false, "This process does not serve it (CELLS)."
		case x.Open() == nil && x.Why() != "":
			j.Problem = x.Why()
		case states[x.Name] != nil:
			j.Problem = "It does not answer."
		}
		out = append(out, j)
	}
	return out, nil
}

// readyOr makes any reason why a database is not ready one of unavailability.
func readyOr(err error) error {
	if err == nil {
		return nil
	}
	return &models.Error{Kind: models.KindUnavailable, Message: "The database does not answer.", Err: err}
}

func (a *API) listCells(ctx context.Context, c *Call, _ *noRequest) (*Reply, error) {
	list, err := a.CellStates(ctx, c)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: listJSON[tenantCellJSON]{list}}, nil
}

// ChangeCellRequest drains a cell, or no longer.
type ChangeCellRequest struct {
	Cell string `path:"cell"`
	Body struct {
		Draining bool `json:"draining" api:"required" doc:"Whether new tenants go elsewhere."`
	} `body:"json"`
}

func (a *API) changeCell(ctx context.Context, c *Call, req *ChangeCellRequest) (*Reply, error) {
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
		if x.Name != models.HomeCell { // this process follows within a moment, and this is what holds already
			for _, known := range a.Store.Cells() {
				if known.Name == x.Name {
					x.DrainingAt = known.DrainingAt
				}
			}
		}
		return &Reply{Body: x}, nil
	}
	return nil, &models.Error{Kind: models.KindNotFound, Message: "The cell was removed meanwhile."}
}

func (a *API) cellRoutes() []route {
	return under("Server",
		on(a, http.MethodGet, "/cells", models.MayAdmin, a.listCells, "listCells", "Lists the databases that hold tenants; for operators.",
			ok[listJSON[tenantCellJSON]](),
			says("They are added and removed at the command line (`waybill cells`), which takes their addresses.")),
		on(a, http.MethodPatch, "/cells/:cell", models.MayAdmin, a.changeCell, "updateCell",
			"Has new tenants go to other databases, or no longer; for operators.", ok[tenantCellJSON](), example(`{"draining": true}`)))
}
