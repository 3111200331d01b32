package api

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// parts are the files of an export, in their order: first what is short, then events and what became of them.
func (x *tenantExport) parts(tenant string, until time.Time) []exportPart {
	a, c := x.api, x.call
	only := tenantParams{Tenants: []string{tenant}}
	oldest := func(next string) cursorParams { return cursorParams{Dir: "asc", Next: next} }
	listed := func(next string) pageParams { return pageParams{cursorParams: oldest(next)} }
	scoped := func(ctx context.Context) (models.Scope, error) { return a.Store.Of(ctx, c.Scope(), tenant) }

	events := paged(200, func(ctx context.Context, limit int, next string) (*models.Page[*models.Event], error) {
		req := &ListEventsRequest{tenantParams: only, cursorParams: oldest(next)}
		req.Until = until
		return a.FindEvents(ctx, c, req, limit, models.MaxLimit)
	}, func(e *models.Event) any { return a.eventToJSON(e) })
	// What filters held back has no rows among deliveries, and is not in their list unless it is asked for. Both in one list would
	// be looked for from the start for each page.
	deliveries := func(status ...string) rows[*models.Delivery] {
		return paged(models.MaxLimit, func(ctx context.Context, limit int, next string) (*models.Page[*models.Delivery], error) {
			req := &ListDeliveriesRequest{tenantParams: only, cursorParams: oldest(next)}
			req.Until, req.Statuses = until, status
			return a.FindDeliveries(ctx, c, req, limit, models.MaxLimit)
		}, func(d *models.Delivery) any { return a.deliveryToJSON(d) })
	}
	attempts := paged(200, func(ctx context.Context, limit int, next string) (*models.Page[*models.Attempt], error) {
		req := &ListAttemptsRequest{tenantParams: only, cursorParams: oldest(next)}
		req.Until = until
		return a.FindAttempts(ctx, c, req, limit, models.MaxLimit)
	}, func(at *models.Attempt) any { return a.attemptToJSON(at, includes{}) })

	return []exportPart{
		partOf[*models.TenantSummary]{"tenant.jsonl", "The tenant.", "Tenant", []rows[*models.TenantSummary]{
			whole(func(ctx context.Context) ([]*models.TenantSummary, error) {
				t, err := a.Store.TenantSummary(ctx, c.Scope(), tenant)
				return []*models.TenantSummary{t}, err
			}, func(t *models.TenantSummary) any { return tenantToJSON(t) })}},
		partOf[settingsJSON]{"settings.jsonl", "Its limits and defaults.", "Settings", []rows[settingsJSON]{
			whole(func(ctx context.Context) ([]settingsJSON, error) {
				s, err := a.Store.TenantSettings(ctx, c.Scope(), tenant)
				if err != nil {
					return nil, err
				}
				rules, err := a.Store.TopicRetention(ctx)
				return []settingsJSON{a.SettingsOf(tenant, s, rules)}, err
			}, asIs)}},
		partOf[*models.Destination]{"destinations.jsonl", "Destinations with the topics that they subscribe to; secrets are masked.", "Destination",
			[]rows[*models.Destination]{whole(func(ctx context.Context) ([]*models.Destination, error) {
				return a.Store.Destinations(ctx, c.Scope(), tenant, models.DestinationQuery{})
			}, func(d *models.Destination) any { return destinationToJSON(d, false) })}},
		partOf[models.Topic]{"topics.jsonl", "The catalogue of topics, which all tenants of the server share.", "Topic", []rows[models.Topic]{
			whole(a.Store.TopicCatalogue, func(t models.Topic) any { return topicToJSON(&t) })}},
		partOf[*models.User]{"members.jsonl", "Users with a role in the tenant.", "Member", []rows[*models.User]{
			whole(func(ctx context.Context) ([]*models.User, error) { return a.Store.Members(ctx, c.Scope(), tenant) },
				func(u *models.User) any { return memberToJSON(u, tenant) })}},
		partOf[*models.Invitation]{"invitations.jsonl", "Invitations that can be accepted.", "Invitation", []rows[*models.Invitation]{
			whole(func(ctx context.Context) ([]*models.Invitation, error) {
				scope, err := scoped(ctx)
				if err != nil {
					return nil, err
				}
				return a.Store.Invitations(ctx, scope)
			}, func(i *models.Invitation) any { return invitationToJSON(i) })}},
		partOf[*models.APIKey]{"api_keys.jsonl", "API keys of the tenant, without the keys themselves.", "ApiKey", []rows[*models.APIKey]{
			whole(func(ctx context.Context) ([]*models.APIKey, error) {
				scope, err := scoped(ctx)
				if err != nil {
					return nil, err
				}
				return a.Store.APIKeys(ctx, scope)
			}, func(k *models.APIKey) any { return apiKeyToJSON(k) })}},
		partOf[*models.PortalLink]{"portal_links.jsonl", "Links to the tenant's dashboard that can be opened, without the links themselves.",
			"PortalLink", []rows[*models.PortalLink]{
				whole(func(ctx context.Context) ([]*models.PortalLink, error) {
					return a.Store.PortalLinks(ctx, c.Scope(), tenant)
				},
					func(l *models.PortalLink) any { return portalLinkToJSON(tenant, l) })}},
		partOf[*models.AlertRule]{"alert_rules.jsonl", "Alert rules.", "Rule", []rows[*models.AlertRule]{
			whole(func(ctx context.Context) ([]*models.AlertRule, error) {
				return a.Store.AlertRules(ctx, c.Scope(), tenant)
			},
				func(r *models.AlertRule) any { return ruleToJSON(tenant, r) })}},
		partOf[*models.Channel]{"channels.jsonl", "Channels of notices; secrets are masked.", "Channel", []rows[*models.Channel]{
			whole(func(ctx context.Context) ([]*models.Channel, error) { return a.Store.Channels(ctx, c.Scope(), tenant) },
				func(x *models.Channel) any { return a.channelToJSON(x, false) })}},
		partOf[*models.Alert]{"alerts.jsonl", "Alerts, open and resolved.", "Alert", []rows[*models.Alert]{
			paged(models.MaxLimit, func(ctx context.Context, limit int, next string) (*models.Page[*models.Alert], error) {
				return a.FindAlerts(ctx, c, &ListAlertsRequest{Tenant: tenant, pageParams: listed(next)}, limit, models.MaxLimit)
			}, func(al *models.Alert) any { return alertToJSON(al) })}},
		partOf[*models.Notification]{"notifications.jsonl", "What channels were told.", "Notification", []rows[*models.Notification]{
			paged(models.MaxLimit, func(ctx context.Context, limit int, next string) (*models.Page[*models.Notification], error) {
				req := &ListNotificationsRequest{Tenant: tenant, pageParams: listed(next)}
				return a.FindNotifications(ctx, c, req, limit, models.MaxLimit)
			}, func(n *models.Notification) any { return notificationToJSON(n) })}},
		partOf[*models.BulkRetry]{"retries.jsonl", "Bulk retries.", "BulkRetry", []rows[*models.BulkRetry]{
			paged(models.MaxLimit, func(ctx context.Context, limit int, next string) (*models.Page[*models.BulkRetry], error) {
				return a.FindRetries(ctx, c, &ListRetriesRequest{Tenants: only.Tenants, pageParams: listed(next)}, limit, models.MaxLimit)
			}, func(b *models.BulkRetry) any { return a.bulkRetryToJSON(b) })}},
		partOf[*models.Erasure]{"erasures.jsonl", "What was erased, without what was searched for.", "Erasure", []rows[*models.Erasure]{
			paged(models.MaxLimit, func(ctx context.Context, limit int, next string) (*models.Page[*models.Erasure], error) {
				return a.FindErasures(ctx, c, &ListErasuresRequest{Tenants: only.Tenants, pageParams: listed(next)}, limit, models.MaxLimit)
			}, func(e *models.Erasure) any {
				e.Filter.Text = "" // which may be what was erased
				return a.erasureToJSON(e)
			})}},
		partOf[usageRowJSON]{"usage.jsonl", "What was used, by day.", "UsageRow", []rows[usageRowJSON]{
			whole(func(ctx context.Context) ([]usageRowJSON, error) { return a.usageRows(ctx, c, tenant, until) }, asIs)}},
		partOf[*models.Event]{"events.jsonl", "Events that are kept, with their payloads.", "Event", []rows[*models.Event]{events}},
		partOf[*models.Delivery]{"deliveries.jsonl", "Deliveries; after them, what filters held back.", "Delivery",
			[]rows[*models.Delivery]{deliveries(), deliveries(models.StatusFilteredOut)}},
		partOf[*models.Attempt]{"attempts.jsonl", "Attempts, with headers and bodies as they are kept.", "Attempt", []rows[*models.Attempt]{attempts}},
		partOf[*models.AuditEntry]{"audit.jsonl", "The audit log of the tenant.", "Audit", []rows[*models.AuditEntry]{
			paged(models.MaxLimit, func(ctx context.Context, limit int, next string) (*models.Page[*models.AuditEntry], error) {
				req := &ListAuditRequest{auditTenant: auditTenant{tenant}, pageParams: listed(next)}
				return a.FindAudit(ctx, c, req, limit, models.MaxLimit)
			}, func(e *models.AuditEntry) any { return auditToJSON(e) })}},
	}
}

// usageRows are the days of which a tenant's usage is kept.
func (a *API) usageRows(ctx context.Context, c *Call, tenant string, now time.Time) ([]usageRowJSON, error) {
	to := now.UTC()
	req := &UsageRequest{tenantParams: tenantParams{Tenants: []string{tenant}}, From: to.AddDate(0, 0, -399).Format(time.DateOnly),
		To: to.Format(time.DateOnly)}
	_, list, err := a.Usage(ctx, c, req)
	out := make([]usageRowJSON, len(list))
	for i, u := range list {
		out[i] = usageRowJSON{u.Day.Format(time.DateOnly), u.TenantID, usageNumbers(u)}
	}
	return out, err
}
