package pages

import (
	"context"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) settingsPage(ctx context.Context, p *pageCtx) error {
	v := views.Settings{Page: p.frame("Settings", views.SectionSettings), Policy: a.Cfg.Retry, Settings: a.serverSettings()}
	return p.render(ctx, http.StatusOK, views.SettingsPage(v))
}

// serverSettings lists what the environment says, or the defaults where it says nothing. Secrets and addresses of other
// systems are not among them.
func (a *Pages) serverSettings() []views.Setting {
	plain, err := config.ReadConfig(a.Cfg.Role, func(name string) string {
		if name == "DATABASE_URL" || name == "SECRET_KEY" {
			return map[string]string{"DATABASE_URL": "postgres://localhost/waybill", "SECRET_KEY": strings.Repeat("x", 64)}[name]
		}
		return ""
	})
	if err != nil {
		plain = &config.Config{} // the defaults are not valid, which a test finds; every value then counts as set
	}
	duration := func(d time.Duration) string { return models.Duration(d).String() }
	var out []views.Setting
	add := func(label, variable, value string, set, dflt any) {
		out = append(out, views.Setting{Label: label, Value: value, Variable: variable, FromEnv: !reflect.DeepEqual(set, dflt)})
	}
	c := a.Cfg
	add("Timeout of an attempt", "DELIVERY_TIMEOUT", duration(c.Timeout), c.Timeout, plain.Timeout)
	add("Concurrency for each destination", "MAX_IN_FLIGHT_PER_DESTINATION", strconv.Itoa(c.PerDest), c.PerDest, plain.PerDest)
	if len(c.Retry.Schedule) > 0 {
		waits := make([]string, len(c.Retry.Schedule))
		for i, w := range c.Retry.Schedule {
			waits[i] = w.String()
		}
		add("Waits between attempts", "RETRY_SCHEDULE", strings.Join(waits, ", "), true, false)
	} else {
		add("First delay", "RETRY_INITIAL", c.Retry.Initial.String(), c.Retry.Initial, plain.Retry.Initial)
		add("Backoff factor", "RETRY_MULTIPLIER", strconv.FormatFloat(c.Retry.Multiplier, 'g', -1, 64),
			c.Retry.Multiplier, plain.Retry.Multiplier)
		add("Attempts, the first included", "RETRY_MAX_ATTEMPTS", strconv.Itoa(c.Retry.MaxAttempts), c.Retry.MaxAttempts,
			plain.Retry.MaxAttempts)
	}
	add("Longest wait", "RETRY_MAX_INTERVAL", c.Retry.MaxInterval.String(), c.Retry.MaxInterval, plain.Retry.MaxInterval)
	limit := strconv.Itoa(c.ManualLimit)
	if c.ManualLimit == 0 {
		limit = "No limit"
	}
	add("Manual retries of a delivery", "MANUAL_RETRY_LIMIT", limit, c.ManualLimit, plain.ManualLimit)
	add("Deliveries of a bulk retry", "BULK_RETRY_LIMIT", strconv.Itoa(c.BulkLimit), c.BulkLimit, plain.BulkLimit)
	hourly := strconv.Itoa(c.HourlyLimit)
	if c.HourlyLimit == 0 {
		hourly = "No limit"
	}
	add("Manual retries of a tenant in an hour", "MANUAL_RETRIES_PER_HOUR", hourly, c.HourlyLimit, plain.HourlyLimit)
	destinations := strconv.Itoa(c.DestLimit)
	if c.DestLimit == 0 {
		destinations = "No limit"
	}
	add("Destinations of a tenant", "DESTINATION_LIMIT", destinations, c.DestLimit, plain.DestLimit)
	for _, l := range []struct {
		label, variable string
		set, dflt       int
	}{{"Requests of a tenant in a second", "TENANT_REQUESTS_PER_SECOND", c.Intake.Requests, plain.Intake.Requests},
		{"Events of a tenant in a second", "TENANT_EVENTS_PER_SECOND", c.Intake.Events, plain.Intake.Events},
		{"Bytes of a tenant's events in a second", "TENANT_BYTES_PER_SECOND", c.Intake.Bytes, plain.Intake.Bytes}} {
		value := strconv.Itoa(l.set)
		if l.set == 0 {
			value = "No limit"
		}
		add(l.label, l.variable, value, l.set, l.dflt)
	}
	add("Events are kept, in days", "RETENTION_DAYS", strconv.Itoa(int(c.Retention.Hours()/24)), c.Retention, plain.Retention)
	add("Maximum payload size, in bytes", "MAX_PAYLOAD", strconv.Itoa(c.MaxPayload), c.MaxPayload, plain.MaxPayload)
	topics := "Any, unless the catalogue has some"
	if len(c.Topics) > 0 {
		topics = strings.Join(c.Topics, ", ")
	}
	add("Topics", "TOPICS", topics, len(c.Topics), 0)
	return out
}
