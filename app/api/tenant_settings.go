package api

import (
	"cmp"
	"context"
	"slices"

	"github.com/waybill-dev/waybill/models"
)

type TenantSettingsRequest struct {
	Tenant string                `path:"tenant"`
	Body   models.TenantSettings `body:"json"`
}

// settingsJSON are a tenant's settings: what was set, and what is in force.
type settingsJSON struct {
	TenantID  string                `json:"tenant_id"`
	Settings  models.TenantSettings `json:"settings" doc:"What was set for the tenant; the server's defaults are in force for what is absent."`
	Effective effectiveJSON         `json:"effective"`
}

// effectiveJSON are all of a tenant's settings as they are in force.
type effectiveJSON struct {
	Name                 string   `json:"name"`
	ManualRetryLimit     int      `json:"manual_retry_limit"`
	ManualRetriesPerHour int      `json:"manual_retries_per_hour"`
	BulkRetryLimit       int      `json:"bulk_retry_limit"`
	DestinationLimit     int      `json:"destination_limit"`
	Signature            string   `json:"signature" api:"schema=Signature"`
	HeaderPrefix         string   `json:"header_prefix"`
	RetryOn              []string `json:"retry_on" doc:"Empty for what is retried anyway."`
	EnableBacklog        string   `json:"enable_backlog" api:"schema=BacklogAction"`

	RetentionDays  int                     `json:"retention_days"`
	TopicRetention []models.TopicRetention `json:"topic_retention" doc:"The server's rules and the tenant's. Of all that hold for an event, and 'retention_days', the shortest counts."`
	EraseDelivered bool                    `json:"erase_delivered"`

	RedactFields  []string `json:"redact_fields"`
	RedactHeaders []string `json:"redact_headers"`
	RedactQuery   []string `json:"redact_query"`

	RequestsPerSecond int             `json:"requests_per_second" doc:"0 for no limit."`
	EventsPerSecond   int             `json:"events_per_second" doc:"0 for no limit."`
	BytesPerSecond    int             `json:"bytes_per_second" doc:"0 for no limit."`
	LimitBurst        models.Duration `json:"limit_burst"`
}

// SettingsOf are a tenant's settings. rules are the server's for topics.
func (a *API) SettingsOf(tenant string, s *models.TenantSettings, rules []models.TopicRetention) settingsJSON {
	if s.TopicRetention != nil {
		rules = slices.Concat(rules, *s.TopicRetention)
	}
	or := func(own *int, dflt int) int {
		if own != nil {
			return *own
		}
		return dflt
	}
	list := func(l *[]string) []string {
		if l == nil {
			return []string{}
		}
		return append([]string{}, *l...)
	}
	retryOn := a.Cfg.Retry.RetryOn
	if s.RetryOn != nil {
		retryOn = *s.RetryOn
	}
	name := tenant
	if s.Name != nil {
		name = cmp.Or(*s.Name, tenant)
	}
	t := &models.Tenant{Settings: *s}
	intake := s.IntakeLimits().Over(a.Store.Intake)
	webhooks := a.Store.WebhookDefaults(t)
	return settingsJSON{TenantID: tenant, Settings: *s, Effective: effectiveJSON{Name: name,
		ManualRetryLimit:     or(s.ManualRetryLimit, a.Cfg.ManualLimit),
		ManualRetriesPerHour: or(s.ManualRetriesPerHour, a.Cfg.HourlyLimit), BulkRetryLimit: or(s.BulkRetryLimit, a.Cfg.BulkLimit),
		DestinationLimit: or(s.DestinationLimit, a.Cfg.DestLimit),
		Signature:        cmp.Or(webhooks.Signature, "standard"), HeaderPrefix: webhooks.Config["header_prefix"],
		RetryOn:       append([]string{}, retryOn...),
		RetentionDays: or(s.RetentionDays, a.Store.RetentionDays()), TopicRetention: append([]models.TopicRetention{}, rules...),
		EraseDelivered: s.EraseDelivered != nil && *s.EraseDelivered,
		RedactFields:   list(s.RedactFields), RedactHeaders: list(s.RedactHeaders), RedactQuery: list(s.RedactQuery),
		EnableBacklog: a.Store.EnableAction(t), RequestsPerSecond: intake.Requests, EventsPerSecond: intake.Events,
		BytesPerSecond: intake.Bytes, LimitBurst: models.Duration(intake.Burst)}}
}

func (a *API) getTenantSettings(ctx context.Context, c *Call, req *tenantRequest) (*Reply, error) {
	s, err := a.Store.TenantSettings(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	rules, err := a.Store.TopicRetention(ctx)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: a.SettingsOf(req.Tenant, s, rules)}, nil
}

// UpdateTenantSettings is for the platform: limits that a tenant could lift itself would be none.
func (a *API) UpdateTenantSettings(ctx context.Context, c *Call, req *TenantSettingsRequest) (*Reply, error) {
	t, err := a.Store.Tenant(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	s, err := a.Store.UpdateTenantSettings(ctx, c.Scope(), req.Tenant, req.Body)
	if err != nil {
		return nil, err
	}
	rules, err := a.Store.TopicRetention(ctx)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: a.SettingsOf(t.ID, s, rules)}, nil
}
