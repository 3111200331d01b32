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
	models.SharedSettings
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

// SettingsOf are a tenant's settings. topics are the server's rules for topics.
func (a *API) SettingsOf(tenant string, s *models.TenantSettings, topics []models.TopicRetention) settingsJSON {
	if s.TopicRetention != nil {
		topics = slices.Concat(topics, *s.TopicRetention)
	}
	list := func(l *[]string) []string {
		if l == nil {
			return []string{}
		}
		return append([]string{}, *l...)
	}
	name := tenant
	if s.Name != nil {
		name = cmp.Or(*s.Name, tenant)
	}
	t := &models.Tenant{Settings: *s}
	rules := a.Store.RulesOf(t)
	intake := s.IntakeLimits().Over(rules.Intake)
	days := int(rules.Retention.Hours() / 24)
	if s.RetentionDays != nil {
		days = min(days, *s.RetentionDays)
	}
	webhooks := a.Store.WebhookDefaults(t)
	return settingsJSON{TenantID: tenant, Settings: *s, Effective: effectiveJSON{Name: name,
		SharedSettings: models.SharedOf(rules), ManualRetryLimit: rules.ManualRetryLimit,
		ManualRetriesPerHour: rules.HourlyRetryLimit, BulkRetryLimit: rules.BulkRetryLimit, DestinationLimit: rules.DestinationLimit,
		Signature: cmp.Or(webhooks.Signature, "standard"), HeaderPrefix: webhooks.Config["header_prefix"],
		RetryOn:       append([]string{}, rules.Retry.RetryOn...),
		RetentionDays: days, TopicRetention: append([]models.TopicRetention{}, topics...),
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
