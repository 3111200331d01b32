package pages

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) settingsPage(ctx context.Context, p *pageCtx) error {
	v := views.Settings{Page: p.frame("Settings", views.SectionSettings), Policy: a.Store.RulesOf(p.tenant).Retry, Settings: a.serverSettings()}
	return p.render(ctx, http.StatusOK, views.SettingsPage(v))
}

// serverSettings lists the settings that matter to a tenant, as they are in force, and where each comes from. Secrets and addresses of
// other systems are not among them.
func (a *Pages) serverSettings() []views.Setting {
	given := map[string]config.Setting{}
	for _, s := range a.Cfg.Settings() {
		given[s.Name] = s
	}
	var out []views.Setting
	add := func(label, variable, value string) {
		out = append(out, views.Setting{Label: label, Value: value, Variable: variable, Raw: given[variable].Value,
			Source: cmp.Or(given[variable].Source, config.SourceDefault)})
	}
	live := a.Store.ChangedSettings()
	for _, f := range models.SettingFields() {
		if f.Group == "Alerts" || f.Group == "New webhooks" {
			continue
		}
		add(f.Label, f.Variable, views.Capital(views.SettingWords(&f, f.Rule(a.Store.Rules()))))
		if _, changed := live[f.Variable]; changed {
			last := &out[len(out)-1]
			last.Source, last.Raw = config.SourceStored, f.Rule(a.Store.Rules())
		}
	}
	topics := "Any, unless the catalogue has some"
	if len(a.Cfg.Topics) > 0 {
		topics = strings.Join(a.Cfg.Topics, ", ")
	}
	add("Topics", "TOPICS", topics)
	return out
}
