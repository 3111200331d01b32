package pages

import (
	"context"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) defaultsPage(ctx context.Context, p *pageCtx) error {
	s, err := a.LiveSettings(ctx, p.call)
	if err != nil {
		return err
	}
	form := views.Form{Values: map[string][]string{}}
	for _, x := range s.List {
		if x.Has {
			form.Values[x.Name] = []string{x.Entered(x.Stored)}
		}
	}
	return a.showDefaults(ctx, p, s, form)
}

func (a *Pages) showDefaults(ctx context.Context, p *pageCtx, s *api.SettingsView, form views.Form) error {
	v := views.Defaults{Page: p.frame("Defaults", views.SectionServer), Form: form, Version: s.Version}
	v.API = apiCallOf("PATCH", `{"retry_max_attempts": 8, "retention_days": 14}`, "/settings")
	for _, x := range s.List {
		v.List = append(v.List, views.DefaultSetting{SettingState: x.SettingState, SourceSaid: x.SourceSaid, StartSaid: x.StartSaid})
	}
	status := p.status(&v.Page, form.Err)
	return p.render(ctx, status, views.DefaultsPage(v))
}

// saveDefaults saves the whole form: a field that is empty, or whose button for it was pressed, is what the environment says.
func (a *Pages) saveDefaults(ctx context.Context, p *pageCtx) error {
	s, err := a.LiveSettings(ctx, p.call)
	if err != nil {
		return err
	}
	form := p.form()
	if reset := form.Value("reset"); reset != "" {
		form.Values[reset] = nil
	}
	var in models.ServerSettings
	bad := map[string]string{}
	for _, x := range s.List {
		text := strings.TrimSpace(form.Value(x.Name))
		switch {
		case x.Locked:
		case text == "":
			in.Remove(x.Name)
		default:
			if err := x.Enter(&in, text); err != nil {
				bad[x.Name] = err.Error()
			}
		}
	}
	if len(bad) > 0 {
		err = &models.Error{Kind: models.KindInvalid, Message: "validation error", Fields: bad}
	} else {
		p.call.IfMatch = form.Value("version")
		_, err = a.UpdateSettings(ctx, p.call, &api.LiveSettingsRequest{Body: in})
	}
	if err == nil {
		return p.done(views.DefaultsURL(), said("The settings were saved. Every process follows within a second."))
	}
	e := api.Refusal(err)
	if e == nil {
		return err
	}
	if e.Kind == models.KindStale {
		// What was typed stays, and may be saved over what somebody else has saved meanwhile.
		form.Values["version"] = []string{strconv.FormatInt(s.Version, 10)}
		e = &models.Error{Kind: e.Kind, Message: "Somebody else has changed the settings meanwhile: what is in force now stands below each. " +
			"Save again to have yours instead."}
	}
	form.Err = e
	return a.showDefaults(ctx, p, s, form)
}
