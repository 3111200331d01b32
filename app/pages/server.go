package pages

import (
	"context"
	"net/http"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) serverPage(ctx context.Context, p *pageCtx) error {
	v := views.Server{Page: p.frame("Server health", views.SectionServer)}
	v.API = apiCallOf("GET", "", "/server")
	var err error
	if v.State, err = a.ServerState(ctx, p.call); err != nil {
		return err
	}
	return p.render(ctx, http.StatusOK, views.ServerPage(v))
}

func (a *Pages) serverSettingsPage(ctx context.Context, p *pageCtx) error {
	v := views.ServerSettings{Page: p.frame("Server settings", views.SectionServer), Query: p.query(), All: len(a.Cfg.Settings())}
	v.API = apiCallOf("GET", "", "/server/settings", queryOf[api.ServerSettingsRequest](v.Query))
	var req api.ServerSettingsRequest
	if err := bindQuery(v.Query, &req); err != nil {
		return err
	}
	list, err := a.ServerSettings(p.call, &req)
	if err != nil {
		return err
	}
	for _, s := range list {
		value := s.Shown()
		if value == "" {
			value = "–"
		}
		v.List = append(v.List, views.ServerSetting{Name: s.Name, Value: value, Plain: views.PlainValue(s.Name, s.Value),
			Source: s.SourceText(), Help: s.Help, Problem: s.Problem, Live: config.Live(s.Name), Missing: s.Value == "" && !s.Set})
	}
	return p.render(ctx, http.StatusOK, views.ServerSettingsPage(v))
}
