package pages

import (
	"context"
	"net/http"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) movesPage(ctx context.Context, p *pageCtx) error {
	v := views.Moves{Page: p.frame("Moves", views.SectionServer), Query: p.query()}
	v.Crumbs = cellCrumbs()
	v.API = apiCallOf("GET", "", "/moves", queryOf[api.ListMovesRequest](v.Query))
	var err error
	v.List, err = found(ctx, p, v.Query, api.ListMovesRequest{}, a.FindMoves)
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.MovesPage(v)) })
}

// cellCrumbs lead to the page of cells.
func cellCrumbs(more ...views.Crumb) []views.Crumb {
	return append([]views.Crumb{{Label: "Cells", URL: views.CellsURL()}}, more...)
}

func (a *Pages) newMovePage(ctx context.Context, p *pageCtx) error {
	return a.showNewMove(ctx, p, views.Form{Values: p.query()}, p.query().Get("tenant_id"))
}

// showNewMove shows the form that moves a tenant, or one that is named there.
func (a *Pages) showNewMove(ctx context.Context, p *pageCtx, form views.Form, tenant string) error {
	if err := api.OperatorsOnly(p.call); err != nil {
		return err
	}
	v := views.NewMove{Page: p.frame("Move a tenant", views.SectionServer), Form: form}
	v.Invalid = form.Err != nil
	v.Crumbs = cellCrumbs(views.Crumb{Label: "Moves", URL: views.MovesURL()})
	if tenant != "" {
		at, _, exists, err := a.Store.PlaceNow(ctx, tenant)
		if err != nil {
			return err
		}
		if exists {
			v.Of, v.At = tenant, models.NameOfCell(at)
		}
	}
	cells := append([]models.Cell{{Name: models.HomeCell}}, a.Store.Cells()...)
	for _, c := range cells {
		if c.Name != v.At && c.DrainingAt == nil && len(cells) > 1 {
			v.Cells = append(v.Cells, views.Option{Value: c.Name, Label: c.Name})
		}
	}
	example := models.HomeCell
	if len(v.Cells) > 0 {
		example = v.Cells[len(v.Cells)-1].Value
	}
	v.API = apiCallOf("POST", indented(map[string]any{"tenant_id": tenant, "cell": example}), "/moves")
	return p.render(ctx, listStatus(form.Err), views.NewMovePage(v))
}

func (a *Pages) startMove(ctx context.Context, p *pageCtx) error {
	form := p.form()
	req := &api.MoveRequest{}
	req.Body.Tenant, req.Body.Cell = form.Value("tenant_id"), form.Value("cell")
	reply, err := a.StartMove(ctx, p.call, req)
	if err == nil {
		return p.done(views.MoveURL(reply.Body.(api.MoveJSON).ID), said("The move has started."))
	}
	if form.Err = named(api.Refusal(err)); form.Err == nil {
		return err
	}
	return a.showNewMove(ctx, p, form, "")
}

func (a *Pages) movePage(ctx context.Context, p *pageCtx) error {
	m, err := a.Move(ctx, p.call, p.Params("move"))
	if err != nil {
		return err
	}
	v := views.Move{Page: p.frame("Move of "+m.TenantID, views.SectionServer), Move: m}
	v.Context = m.ID()
	v.Crumbs = cellCrumbs(views.Crumb{Label: "Moves", URL: views.MovesURL()})
	v.API = apiCallOf("GET", "", "/moves/", m.ID())
	v.Refresh = m.Open()
	return p.render(ctx, http.StatusOK, views.MovePage(v))
}

func (a *Pages) cancelMove(ctx context.Context, p *pageCtx) error {
	to := views.MoveURL(p.Params("move"))
	if _, err := a.CancelMove(ctx, p.call, &api.OneMoveRequest{Move: p.Params("move")}); err != nil {
		return p.failed(to, err)
	}
	return p.done(to, said("The move is cancelled."))
}
