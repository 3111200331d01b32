package models

// SharedSettings are defaults that the server has and that a tenant may have of its own. What is nil is not set: of a tenant, the
// server's are in force; of the server, what its environment says.
//
// A setting is declared once, by its line here or in ServerSettings. The environment variable, its check, .env.example, the form, the
// API with its description and its merge patches, the audit log and the precedence follow from it. The tags:
//
//	json     its name everywhere; in capitals, that of the environment variable
//	rule     the field of Rules that it sets, as a path; a few have their own way in ruleWays
//	default  the built-in default, written as in the environment
//	limits   "1..100", "1ms..168h", of lists those of each of their parts
//	options  the choices of a text, "value=Label|value=Label"
//	zero     what 0 stands for, in words
//	unit     of a plain number, in words
//	group    its heading on the page, on the first of a group; help is what it is, in a line
//	doc, api as in package openapi
type SharedSettings struct {
	RetryInitial         *Duration   `json:"retry_initial,omitempty" rule:"Retry.Initial" default:"10s" limits:"1ms..168h" group:"Retries" label:"First delay" help:"wait before the second attempt" doc:"Wait before the second attempt."`
	RetryMultiplier      *float64    `json:"retry_multiplier,omitempty" rule:"Retry.Multiplier" default:"2" limits:"1..100" label:"Backoff factor" help:"backoff factor: each delay is so many times the one before" doc:"Each delay is so many times the one before."`
	RetryMaxInterval     *Duration   `json:"retry_max_interval,omitempty" rule:"Retry.MaxInterval" default:"6h" limits:"1ms..168h" label:"Longest wait" help:"no wait is longer, also one that the receiver asks for" doc:"No wait is longer, also one that the receiver asks for."`
	RetryMaxAttempts     *int        `json:"retry_max_attempts,omitempty" rule:"Retry.MaxAttempts" default:"12" limits:"1..100" label:"Attempts, the first included" help:"attempts, the first included" doc:"Attempts, the first included."`
	RetrySchedule        *[]Duration `json:"retry_schedule,omitempty" rule:"Retry.Schedule" default:"" limits:"0s..168h" label:"Waits between attempts" help:"explicit waits, comma-separated, instead of the exponential ones: 10s,1m,1h" doc:"Explicit waits instead of the exponential ones; empty for these."`
	RetryOn              *[]string   `json:"retry_on,omitempty" rule:"Retry.RetryOn" default:"" label:"Errors that are retried" help:"statuses and error classes that are retried, comma-separated; usual stands for the usual ones: usual,400" doc:"Which errors are retried, of destinations that do not say so."`
	DeliveryTimeout      *Duration   `json:"delivery_timeout,omitempty" rule:"Timeout" default:"15s" limits:"100ms..2m" label:"Timeout of an attempt" help:"deadline of one attempt" doc:"Deadline of one attempt."`
	InFlight             *int        `json:"max_in_flight_per_destination,omitempty" rule:"MaxInFlight" default:"20" limits:"1..1000" label:"Concurrency for each destination" help:"attempts under way at once in one worker process to one destination; five times as many to RabbitMQ, which confirms many messages together" doc:"Attempts under way at once to one destination, in each worker process."`
	ManualRetryLimit     *int        `json:"manual_retry_limit,omitempty" rule:"ManualRetryLimit" default:"10" limits:"0..30000" zero:"no limit" label:"Manual retries of a delivery" help:"manual retries of one delivery; 0 for no limit" doc:"Manual retries of one delivery; 0 for no limit."`
	ManualRetriesPerHour *int        `json:"manual_retries_per_hour,omitempty" rule:"HourlyRetryLimit" default:"0" limits:"0..100000000" zero:"no limit" label:"Manual retries of a tenant in an hour" help:"manual retries of one tenant in an hour, single and in bulk; 0 for no limit" doc:"Manual retries in an hour, single and in bulk; 0 for no limit."`
	BulkRetryLimit       *int        `json:"bulk_retry_limit,omitempty" rule:"BulkRetryLimit" default:"100000" limits:"1..1000000" label:"Deliveries of a bulk retry" help:"deliveries of one bulk retry" doc:"Deliveries of one bulk retry."`
	DestinationLimit     *int        `json:"destination_limit,omitempty" rule:"DestinationLimit" default:"1000" limits:"0..1000000" zero:"no limit" group:"Limits" label:"Destinations of a tenant" help:"destinations of one tenant; 0 for no limit" doc:"Destinations that a tenant may have; 0 for no limit."`
	DisableAfterFailures *int        `json:"disable_after_failures,omitempty" rule:"DisableAfter" default:"100" limits:"0..1000000" zero:"never" group:"Disabling" label:"Disable after failures in a row" unit:"deliveries" help:"a destination is disabled after so many failing deliveries in a row; 0 for never" doc:"A destination is disabled after so many failing deliveries in a row; 0 for never."`
	DisableMinDuration   *Duration   `json:"disable_min_duration,omitempty" rule:"DisableLeast" default:"10m" limits:"0s..168h" label:"And only when they lasted" help:"and only when they lasted so long" doc:"And only when they lasted so long."`
	ProbeAfter           *Duration   `json:"probe_after,omitempty" rule:"ProbeAfter" default:"0s" limits:"0s..6h" zero:"never" label:"Probe after" help:"wait before a destination that was disabled by itself is probed with one held event, doubling up to 6h; 0s for never" doc:"Wait before a destination that was disabled by itself is probed with one held event, doubling up to 6h; 0s for never."`
	EnableBacklog        *string     `json:"enable_backlog,omitempty" rule:"EnableBacklog" default:"deliver" options:"deliver=Deliver what was held|keep=Keep it held|drop=Drop it" label:"When a destination is enabled" api:"schema=BacklogAction" help:"what enabling a destination does with the events held, when the caller does not say so: deliver, keep or drop" doc:"What enabling does with the events held, when the caller does not say so."`
}

// ServerSettings are the defaults of the server that can be changed while it runs. Those that tenants have under another name, or in
// their own way, say so in their doc.
type ServerSettings struct {
	SharedSettings
	TenantRequests *int      `json:"tenant_requests_per_second,omitempty" rule:"Intake.Requests" default:"0" limits:"0..1000000" zero:"no limit" group:"Limits" label:"Requests of a tenant in a second" help:"requests to the API in a second with the keys and tokens of one tenant, in all processes together; 0 for no limit" doc:"Requests to the API in a second with the keys and tokens of one tenant, in all processes together; 0 for no limit. A tenant's own is 'requests_per_second'."`
	TenantEvents   *int      `json:"tenant_events_per_second,omitempty" rule:"Intake.Events" default:"0" limits:"0..10000000" zero:"no limit" label:"Events of a tenant in a second" help:"events that are published for one tenant in a second, in all processes together; 0 for no limit" doc:"Events that are published for one tenant in a second, in all processes together; 0 for no limit. A tenant's own is 'events_per_second'."`
	TenantBytes    *int      `json:"tenant_bytes_per_second,omitempty" rule:"Intake.Bytes" default:"0" limits:"0..10000000000" zero:"no limit" label:"Bytes of a tenant's events in a second" help:"bytes of such events in a second, in all processes together; 0 for no limit" doc:"Bytes of such events in a second, in all processes together; 0 for no limit, else at least 1024. A tenant's own is 'bytes_per_second'."`
	TenantBurst    *Duration `json:"tenant_limit_burst,omitempty" rule:"Intake.Burst" default:"10s" limits:"1s..1h" label:"Burst" help:"how many seconds' worth of these three may come at once" doc:"How many seconds' worth of these three may come at once. A tenant's own is 'limit_burst'."`
	MaxPayload     *int      `json:"max_payload,omitempty" rule:"MaxPayload" default:"262144" limits:"1024..16777216" label:"Maximum payload size" unit:"bytes" help:"bytes of an event's data" doc:"Bytes of an event's data."`

	RetentionDays *int `json:"retention_days,omitempty" rule:"Retention" default:"30" limits:"1..3650" group:"Retention" label:"Events are kept" unit:"days" help:"how long events, deliveries and attempts are kept" doc:"How many days events, deliveries and attempts are kept. What is older is dropped within the hour, for good. A tenant's own erases earlier."`

	AlertEvery           *Duration `json:"alert_every,omitempty" rule:"AlertEvery" default:"1h" limits:"1m..720h" group:"Alerts" label:"Told again every" help:"how often reminders of an open alert are sent, of rules that are created without a time of their own" doc:"How often an open alert is told again, of rules that are created without 'every'. Rules for certificates have a day."`
	AlertDisableSteps    *[]int    `json:"alert_disable_steps,omitempty" rule:"AlertSteps" default:"50,70,90,100" limits:"1..100" label:"Steps of failures" unit:"percent" help:"at which percentages of DISABLE_AFTER_FAILURES the rule tells that each new tenant gets" doc:"At which percentages of 'disable_after_failures' the rule tells that each new tenant gets; empty for no such rule."`
	AlertCertificateDays *int      `json:"alert_certificate_days,omitempty" rule:"AlertCertificate" default:"14" limits:"0..90" zero:"no such rule" label:"Certificate expires" unit:"days before" help:"how many days before a certificate ends the rule tells that each new tenant gets; 0 for no such rule" doc:"How many days before a certificate ends the rule tells that each new tenant gets; 0 for no such rule."`

	WebhookSignature    *string            `json:"webhook_signature,omitempty" default:"standard" options:"standard=Standard Webhooks|v1a=Standard Webhooks, ed25519|outpost=Outpost|custom=Custom" group:"New webhooks" label:"Signature" api:"schema=Signature" help:"signature of webhooks that are created without one: standard, v1a, outpost or custom" doc:"Of webhooks that are created without one. A tenant's own is 'signature'."`
	WebhookHeaderPrefix *string            `json:"webhook_header_prefix,omitempty" default:"" label:"Prefix of headers" help:"what headers begin with, of webhooks that are created without a signature: x-acme-" doc:"Of webhooks that are created without a 'signature', like 'x-acme-'. A tenant's own is 'header_prefix'."`
	WebhookConfig       *map[string]string `json:"webhook_config,omitempty" default:"" label:"Further config" help:"further config of webhooks that are created without a signature, in JSON: {\"signature_header\":\"X-Acme-Signature\"}" doc:"Further config of webhooks that are created without a 'signature'. Replaced as a whole."`

	removed []string // fields that were given as null
}

// Remove notes that a field was given as null: what the environment says is in force again.
func (x *ServerSettings) Remove(field string) { x.removed = append(x.removed, field) }

// MostPayload is the most that max_payload can be, in bytes.
const MostPayload = 16 << 20
