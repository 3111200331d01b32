package api

import (
	"context"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// liveSettingsJSON are the server's defaults that can be changed while it runs.
type liveSettingsJSON struct {
	Version   int64                 `json:"version" doc:"Rises with each change; it is the ETag, too."`
	Settings  models.ServerSettings `json:"settings" doc:"What was set by page or API; the environment's values are in force for what is absent."`
	Effective models.ServerSettings `json:"effective" doc:"All settings as the process that answers applies them, those of the environment included."`
	Details   []settingJSON         `json:"details" doc:"Each setting, with where its value comes from."`
}

type settingJSON struct {
	Name      string     `json:"name"`
	Variable  string     `json:"variable" doc:"Of the environment, which gives the start value."`
	Value     string     `json:"value" doc:"In force, written as in the environment."`
	Source    string     `json:"source" api:"enum=stored|environment|file|credential|default" doc:"'stored' is what was set by page or API."`
	Default   string     `json:"default" doc:"What is in force when nobody says anything."`
	Start     string     `json:"start" doc:"What is in force without a stored value: the environment's, or the default."`
	Unit      string     `json:"unit" doc:"Of a plain number; empty where there is none."`
	Help      string     `json:"help" doc:"What it is."`
	Locked    bool       `json:"locked" doc:"The environment has the last word (SETTINGS_LOCKED)."`
	PerTenant bool       `json:"per_tenant" doc:"A tenant may have its own, under the same name in 'PATCH /tenants/{tenant}/settings'."`
	ChangedBy string     `json:"changed_by" doc:"Who set it or took it back last; empty for nobody."`
	ChangedAt *time.Time `json:"changed_at" api:"null"`
}

// SettingsView is how the settings are in this process.
type SettingsView struct {
	*models.SettingsState
	List []SettingView
}

// SettingView is a setting with the source of its value, SourceStored or one of config.Sources.
type SettingView struct {
	models.SettingState
	Source     string
	StartSaid  string // in words, where Base comes from
	SourceSaid string // in words, where Value comes from
}

// LiveSettings reads the server's settings for its operators.
func (a *API) LiveSettings(ctx context.Context, c *Call) (*SettingsView, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	state, err := a.Store.ServerSettings(ctx)
	if err != nil {
		return nil, err
	}
	return a.settingsView(state), nil
}

func (a *API) settingsView(state *models.SettingsState) *SettingsView {
	start := map[string]config.Setting{}
	for _, s := range a.Cfg.Settings() {
		start[s.Name] = s
	}
	v := &SettingsView{SettingsState: state}
	for _, x := range a.Store.SettingsOf(state) {
		given := start[x.Variable]
		s := SettingView{SettingState: x, Source: given.Source, StartSaid: given.SourceText()}
		if s.SourceSaid = s.StartSaid; x.InForce() {
			s.Source, s.SourceSaid = config.SourceStored, config.StoredText
		}
		v.List = append(v.List, s)
	}
	return v
}

func (a *API) settingsReply(v *SettingsView) *Reply {
	out := liveSettingsJSON{Version: v.Version, Settings: v.Stored, Effective: *a.Store.Effective(v.SettingsState)}
	for _, x := range v.List {
		s := settingJSON{Name: x.Name, Variable: x.Variable, Value: x.Value, Source: x.Source, Default: x.Default, Start: x.Base,
			Unit: x.Unit, Help: x.Help, Locked: x.Locked, PerTenant: x.Shared, ChangedBy: x.Changed.By, ChangedAt: timeOrNull(x.Changed.At)}
		out.Details = append(out.Details, s)
	}
	return &Reply{Body: out, ETag: strconv.FormatInt(v.Version, 10)}
}

func (a *API) getSettings(ctx context.Context, c *Call, _ *noRequest) (*Reply, error) {
	v, err := a.LiveSettings(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.settingsReply(v), nil
}

// LiveSettingsRequest changes the server's settings.
type LiveSettingsRequest struct {
	Body models.ServerSettings `body:"json"`
}

// UpdateSettings changes the server's settings for all processes.
func (a *API) UpdateSettings(ctx context.Context, c *Call, req *LiveSettingsRequest) (*Reply, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	version, err := c.version()
	if err != nil {
		return nil, err
	}
	state, err := a.Store.UpdateServerSettings(ctx, &req.Body, version)
	if err != nil {
		return nil, err
	}
	return a.settingsReply(a.settingsView(state)), nil
}
