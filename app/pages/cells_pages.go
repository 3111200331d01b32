package pages

import (
	"context"
	"net/http"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// shownMoves is how many moves under way the page of cells shows.
const shownMoves = 50

func (a *Pages) cellsPage(ctx context.Context, p *pageCtx) (err error) {
	v := views.Cells{Page: p.frame("Cells", views.SectionServer)}
	v.API = apiCallOf("GET", "", "/cells")
	if v.List, err = a.CellStates(ctx, p.call); err != nil {
		return err
	}
	moves, err := a.FindMoves(ctx, p.call, &api.ListMovesRequest{MoveQuery: models.MoveQuery{Statuses: []string{models.MoveRunning}}},
		shownMoves, shownMoves)
	if err != nil {
		return err
	}
	v.Moves = moves.Items
	return p.render(ctx, http.StatusOK, views.CellsPage(v))
}

func (a *Pages) drainCell(ctx context.Context, p *pageCtx) error {
	return a.changeCell(ctx, p, true, "New tenants go to other cells.")
}

func (a *Pages) undrainCell(ctx context.Context, p *pageCtx) error {
	return a.changeCell(ctx, p, false, "New tenants come again.")
}

func (a *Pages) changeCell(ctx context.Context, p *pageCtx, drain bool, text string) error {
	req := &api.ChangeCellRequest{Cell: p.Params("cell")}
	req.Body.Draining = drain
	if _, err := a.ChangeCell(ctx, p.call, req); err != nil {
		return p.failed(views.CellsURL(), err)
	}
	return p.done(views.CellsURL(), said(text))
}
