package pages

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models/units"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) settingsPage(ctx context.Context, p *pageCtx) error {
	v := views.Settings{Page: p.frame("Settings", views.SectionSettings), Policy: a.Cfg.Retry, Settings: a.serverSettings()}
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
	limit := func(n int) string {
		if n == 0 {
			return "No limit"
		}
		return units.Thousands(n)
	}
	c := a.Cfg
	add("Timeout of an attempt", "DELIVERY_TIMEOUT", views.Lasts(c.Timeout))
	add("Concurrency for each destination", "MAX_IN_FLIGHT_PER_DESTINATION", units.Thousands(c.PerDest))
	if len(c.Retry.Schedule) > 0 {
		waits := make([]string, len(c.Retry.Schedule))
		for i, w := range c.Retry.Schedule {
			waits[i] = views.Lasts(time.Duration(w))
		}
		add("Waits between attempts", "RETRY_SCHEDULE", strings.Join(waits, ", "))
	} else {
		add("First delay", "RETRY_INITIAL", views.Lasts(time.Duration(c.Retry.Initial)))
		add("Backoff factor", "RETRY_MULTIPLIER", strconv.FormatFloat(c.Retry.Multiplier, 'g', -1, 64))
		add("Attempts, the first included", "RETRY_MAX_ATTEMPTS", units.Thousands(c.Retry.MaxAttempts))
	}
	add("Longest wait", "RETRY_MAX_INTERVAL", views.Lasts(time.Duration(c.Retry.MaxInterval)))
	add("Manual retries of a delivery", "MANUAL_RETRY_LIMIT", limit(c.ManualLimit))
	add("Deliveries of a bulk retry", "BULK_RETRY_LIMIT", units.Thousands(c.BulkLimit))
	add("Manual retries of a tenant in an hour", "MANUAL_RETRIES_PER_HOUR", limit(c.HourlyLimit))
	add("Destinations of a tenant", "DESTINATION_LIMIT", limit(c.DestLimit))
	add("Requests of a tenant in a second", "TENANT_REQUESTS_PER_SECOND", limit(c.Intake.Requests))
	add("Events of a tenant in a second", "TENANT_EVENTS_PER_SECOND", limit(c.Intake.Events))
	add("Bytes of a tenant's events in a second", "TENANT_BYTES_PER_SECOND", limit(c.Intake.Bytes))
	add("Events are kept", "RETENTION_DAYS", views.Lasts(c.Retention))
	add("Maximum payload size", "MAX_PAYLOAD", views.Size(c.MaxPayload))
	topics := "Any, unless the catalogue has some"
	if len(c.Topics) > 0 {
		topics = strings.Join(c.Topics, ", ")
	}
	add("Topics", "TOPICS", topics)
	return out
}
