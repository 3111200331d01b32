package api

import (
	"net/http"
	"slices"

	"github.com/waybill-dev/waybill/models"
)

// APIRoutes lists the API, in the order in which its documentation shows it. What is said here is what openapi.json and
// /docs/api say; tests hold every answer against it. A change here belongs into docs/api.md too.
func (a *API) APIRoutes() []route {
	const (
		tenant      = "/tenants/:tenant"
		destination = tenant + "/destinations/:destination"
	)
	get, put, post, patch, del := http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete
	publish, read, write, retry, admin := models.MayPublish, models.MayRead, models.MayWrite, models.MayRetry, models.MayAdmin
	return slices.Concat(
		under("Publishing",
			by[publishRequest](post, "/publish", publish, a.publish, "publishEvent", "Accepts an event.", payload,
				accepted[PublishJSON](), waits[PublishJSON](), located, linked,
				says("The answer is sent after the event and the jobs that deliver it are committed. Publishing the same `id` again sends nothing and answers with `duplicate`."),
				example(`{"tenant_id": "acme", "topic": "order.created", "data": {"order": 17, "total": 29.95}}`)),
			by[publishBatchRequest](post, "/publish/batch", publish, a.publishBatch, "publishEvents", "Accepts up to 1,000 events.", payload,
				accepted[batchJSON](), waits[batchJSON](), ndjson(maxBatchPublish), says("One event that is refused does not spoil the others: each has its own result."),
				example(`[{"tenant_id": "acme", "topic": "order.created", "data": {"order": 18}}, {"tenant_id": "acme", "topic": "order.created", "data": {"order": 19}}]`))),
		under("Tenants",
			on(a, get, "/tenants", read, a.listTenants, "listTenants", "Lists tenants; for a caller of one tenant, that one.", ok[pageJSON[tenantJSON]](), limits(20, 100)),
			on(a, put, tenant, write, a.PutTenant, "putTenant", "Creates a tenant, or changes its metadata.", ok[tenantJSON](), created[tenantJSON](),
				example(`{"metadata": {"plan": "pro"}}`)),
			on(a, get, tenant, read, a.getTenant, "getTenant", "Shows a tenant.", ok[tenantJSON]()),
			on(a, del, tenant, write, a.deleteTenant, "deleteTenant", "Deletes a tenant with its destinations, and cancels what waits.", ok[successJSON](), conflicts),
			on(a, get, tenant+"/token", admin, a.getTenantToken, "getTenantToken", "Makes a token for the tenant's developers.", ok[tokenJSON](), secret),
			on(a, get, tenant+"/portal", admin, a.getPortal, "getPortalLink", "Makes a link that opens the tenant's dashboard once.", ok[portalJSON](), secret),
			on(a, post, tenant+"/portal-links", admin, a.createPortalLink, "createPortalLink", "Makes a link that opens the tenant's dashboard.", created[newPortalLinkJSON](), secret,
				example(`{"expires_in": "1h", "single_use": false}`)),
			on(a, get, tenant+"/portal-links", admin, a.listPortalLinks, "listPortalLinks", "Lists the links that can still be opened.", ok[listJSON[portalLinkJSON]]()),
			on(a, del, tenant+"/portal-links/:link", admin, a.revokePortalLink, "revokePortalLink", "Revokes a link; sessions that it started go on.", ok[successJSON]()),
			on(a, get, tenant+"/settings", read, a.getTenantSettings, "getTenantSettings", "Shows the tenant's own limits and defaults, and what is in force.", ok[settingsJSON]()),
			on(a, patch, tenant+"/settings", admin, a.UpdateTenantSettings, "updateTenantSettings", "Changes the tenant's own limits and defaults.", ok[settingsJSON](),
				says("A merge patch (RFC 7396): what is absent stays as it is, and null gives the server's default back."),
				example(`{"manual_retry_limit": 3, "enable_backlog": "keep"}`))),
		under("Destinations",
			on(a, get, tenant+"/destinations", read, a.listDestinations, "listDestinations", "Lists a tenant's destinations.", ok[[]DestinationJSON]()),
			on(a, post, tenant+"/destinations", write, a.CreateDestination, "createDestination", "Creates a destination.", created[DestinationJSON](), located, versioned, takes("DestinationCreate"),
				says("The answer shows the secret that was made for it in full, this once."),
				example(`{"type": "webhook", "topics": ["order.created"], "config": {"url": "https://example.com/hooks"}, "filter": {"total": {"$gte": 10}}}`)),
			on(a, get, destination, read, a.getDestination, "getDestination", "Shows a destination.", ok[DestinationJSON](), versioned),
			on(a, patch, destination, write, a.UpdateDestination, "updateDestination", "Changes a destination.", ok[DestinationJSON](), versioned,
				says("A merge patch (RFC 7396): what is absent stays as it is. `topics`, `filter` and `retry` are replaced as a whole."),
				example(`{"name": "Billing", "timeout": "5s"}`)),
			on(a, del, destination, write, a.DeleteDestination, "deleteDestination", "Deletes a destination, and cancels what waits for it.", ok[successJSON](), versioned),
			on(a, put, destination+"/enable", write, a.EnableDestination, "enableDestination", "Enables a destination.", ok[DestinationJSON](), linked, shown, accepted[DestinationJSON](), versioned, conflicts,
				example(`{"backlog": "deliver"}`)),
			on(a, put, destination+"/disable", write, a.DisableDestination, "disableDestination", "Disables a destination; its events are held from now on.", ok[DestinationJSON](), versioned,
				example(`{"reason": "Maintenance"}`)),
			on(a, get, destination+"/health", read, a.getHealth, "getDestinationHealth", "Tells how a destination does.", ok[destinationHealthJSON]()),
			on(a, post, destination+"/backlog", write, a.actOnBacklog, "actOnBacklog", "Sends or drops events that were held.", accepted[countJSON](), linked, conflicts,
				example(`{"action": "deliver"}`)),
			on(a, get, destination+"/filter", read, a.getDestinationFilter, "getDestinationFilter", "Tells a destination's filter in words, with what each rule held back.", ok[destinationFilterJSON]()),
			on(a, post, destination+"/filtered", retry, a.SendFiltered, "sendFiltered", "Sends events that the filter held back after all, or with `plan` says what that would be.",
				ok[FilteredJSON](), linked, accepted[FilteredJSON](), conflicts, example(`{"plan": true}`)),
			on(a, post, destination+"/secrets/rotate", write, a.RotateSecret, "rotateSecret", "Makes a new secret; the old one stays valid for a while.", ok[DestinationJSON](), versioned, conflicts,
				says("There is one previous secret at a time: while one is still valid, this is 409 unless `force` is true."),
				example(`{"overlap": "24h"}`)),
			on(a, post, destination+"/secrets/previous/end", write, a.EndOverlap, "endPreviousSecret", "Ends the previous secret before its time.", ok[DestinationJSON](), versioned, conflicts),
			on(a, post, destination+"/secrets/reveal", write, a.RevealSecret, "revealSecret", "Shows the secret in full.", ok[credentialsJSON]()),
			on(a, get, destination+"/samples", read, a.getSamples, "getVerificationSamples", "Shows code that verifies a destination's signatures, in eight languages.", ok[verificationJSON]()),
			on(a, post, destination+"/test", write, a.SendTest, "sendTestEvent", "Sends a test event and answers with the attempt.", accepted[PublishJSON](), waits[AttemptJSON](), located, linked, conflicts, payload,
				says("The answer is held for 20 seconds unless the caller prefers another time. When there is no attempt by then, it is 202."),
				example(`{"topic": "order.created", "data": {"order": 17}}`)),
			on(a, post, destination+"/check", write, a.checkDestination, "checkDestination", "Tests the connection stage by stage.", ok[checkJSON]())),
		under("Destination types",
			on(a, get, "/destination-types", read, a.listTypes, "listDestinationTypes", "Lists the types of destinations with their fields.", ok[[]typeJSON]()),
			on(a, get, "/destination-types/:type", read, a.getType, "getDestinationType", "Shows a type of destinations.", ok[typeJSON]())),
		under("Topics",
			on(a, get, "/topics", read, a.listTopics, "listTopics", "Lists the names of the catalogue's topics; none means any.", ok[[]string]()),
			on(a, get, "/topics/:topic", read, a.getTopic, "getTopic", "Shows a topic of the catalogue.", ok[topicJSON]()),
			on(a, put, "/topics/:topic", write, a.PutTopic, "putTopic", "Adds a topic to the catalogue, or changes it.", ok[topicJSON](), payload,
				says("All that is said of it is replaced: what is absent is taken away."),
				example(`{"description": "A customer placed an order.", "example": {"order": 17}, "schema": {"type": "object", "required": ["order"], "properties": {"order": {"type": "integer"}}}, "enforce": "reject"}`)),
			on(a, del, "/topics/:topic", write, a.DeleteTopic, "deleteTopic", "Takes a topic out of the catalogue.", ok[successJSON](), conflicts)),
		under("Events",
			on(a, get, "/events", read, a.listEvents, "listEvents", "Lists events.", ok[pageJSON[eventJSON]](), limits(100, 1000), chooses("order_by", models.EventSorts)),
			on(a, get, "/events/:event", read, a.getEvent, "getEvent", "Shows an event.", ok[eventJSON](), related, polled),
			by[eventRequest](get, "/events/:event/data", read, a.eventData, "getEventData", "Shows the payload of an event alone, byte for byte, as a file.", ok[map[string]any](), cached),
			on(a, get, "/events/:event/deliveries", read, a.listEventDeliveries, "listEventDeliveries", "Lists every destination that was considered for an event, with what became of it.", ok[eventDeliveriesJSON](), polled, related)),
		under("Deliveries",
			on(a, get, "/deliveries", read, a.listDeliveries, "listDeliveries", "Lists deliveries.", ok[pageJSON[deliveryJSON]](), limits(100, 1000), chooses("order_by", models.DeliverySorts), chooses("sort", models.DeliverySorts)),
			on(a, get, "/deliveries/:delivery", read, a.getDelivery, "getDelivery", "Shows a delivery.", ok[deliveryJSON](), related, polled),
			on(a, post, "/deliveries/:delivery/cancel", retry, a.CancelDelivery, "cancelDelivery", "Calls off a delivery that is pending, retrying or held.", ok[deliveryJSON](), conflicts)),
		under("Retries",
			on(a, post, "/retry", retry, a.Retry, "retryDelivery", "Queues one attempt now.", accepted[retriedJSON](), waits[retriedJSON](), located, linked, conflicts,
				example(`{"event_id": "evt_…", "destination_id": "des_…"}`)),
			on(a, post, "/retries/plan", retry, a.planRetry, "planBulkRetry", "Says what a bulk retry would do.", ok[planJSON](),
				example(`{"tenant_id": "acme", "filter": {"status": ["failed"], "since": "2026-01-31T12:00:00Z"}}`)),
			on(a, post, "/retries", retry, a.StartRetry, "startBulkRetry", "Starts a bulk retry.", accepted[BulkRetryJSON](), shown, waits[BulkRetryJSON](), located, linked, conflicts,
				example(`{"tenant_id": "acme", "filter": {"status": ["failed"], "since": "2026-01-31T12:00:00Z"}, "rate": 50}`)),
			on(a, get, "/retries", read, a.listRetries, "listBulkRetries", "Lists bulk retries.", ok[pageJSON[BulkRetryJSON]](), limits(100, 1000)),
			on(a, get, "/retries/:retry", read, a.getRetry, "getBulkRetry", "Shows how a bulk retry goes on.", ok[BulkRetryJSON](), polled),
			on(a, post, "/retries/:retry/pause", retry, a.PauseRetry, "pauseBulkRetry", "Pauses a bulk retry.", ok[BulkRetryJSON](), conflicts),
			on(a, post, "/retries/:retry/resume", retry, a.ResumeRetry, "resumeBulkRetry", "Resumes a bulk retry.", ok[BulkRetryJSON](), conflicts),
			on(a, post, "/retries/:retry/cancel", retry, a.CancelRetry, "cancelBulkRetry", "Cancels a bulk retry, and takes back what was not sent yet.", ok[BulkRetryJSON](), conflicts)),
		under("Attempts",
			on(a, get, "/attempts", read, a.listAttempts, "listAttempts", "Lists attempts.", ok[pageJSON[AttemptJSON]](), limits(100, 1000)),
			on(a, get, "/attempts/:attempt", read, a.getAttempt, "getAttempt", "Shows an attempt.", ok[AttemptJSON](), related),
			on(a, get, destination+"/attempts", read, a.listAttempts, "listDestinationAttempts", "Lists a destination's attempts.", ok[pageJSON[AttemptJSON]](), limits(100, 1000)),
			on(a, get, destination+"/attempts/:attempt", read, a.getAttempt, "getDestinationAttempt", "Shows an attempt of a destination.", ok[AttemptJSON](), related)),
		under("Numbers",
			on(a, get, "/metrics/events", read, a.measureEvents, "measureEvents", "Counts events over time.", ok[measuredJSON](),
				chooses("measures", models.EventMeasures), chooses("dimensions", models.EventDimensions)),
			on(a, get, "/metrics/attempts", read, a.measureAttempts, "measureAttempts", "Counts attempts over time.", ok[measuredJSON](),
				chooses("measures", models.AttemptMeasures), chooses("dimensions", models.AttemptDimensions))),
		under("Filters and transforms",
			on(a, post, "/filters/test", read, a.testFilter, "testFilter", "Tells what a filter would do: to an event of the request, or to recent events.", ok[verdictJSON](), ok[filterTrialJSON](), payload,
				example(`{"filter": "total:>=10", "event": {"data": {"total": 12.5}}}`)),
			on(a, post, "/filters/convert", read, a.convertFilter, "convertFilter", "Writes a filter in another notation.", ok[convertedJSON](),
				example(`{"filter": {"total": {"$gte": 10}}, "to": "search"}`)),
			on(a, post, "/transforms/test", read, a.testTransform, "testTransform", "Shows the bodies that a transform would make: of an event of the request, or of recent events.", ok[transformedJSON](), ok[transformTrialJSON](), payload,
				example(`{"transform": "{number: data.order}", "event": {"data": {"order": 17}}}`))),
		a.alertRoutes(tenant, "", "a tenant"),
		a.alertRoutes("", "Operator", "the operators"),
		under("Channels", on(a, get, "/channel-types", read, a.listChannelTypes, "listChannelTypes", "Lists the types of channels with their fields.", ok[[]channelTypeJSON]())),
		under("Changes",
			by[listChangesRequest](get, "/changes", read, a.changes, "listChanges", "Tells what has changed, for those who keep a copy.", ok[ChangesJSON](), streamed[models.FeedEntry](), past, cached,
				says("With `Prefer: wait=30` the answer is held until there is a change. With `Accept: text/event-stream` changes come as server-sent events, `data` being one change each; `Last-Event-ID` goes on where a stream was cut off."))),
		under("Audit log",
			on(a, get, "/audit", read, a.listAudit, "listAuditEntries", "Lists who did what.", ok[pageJSON[AuditJSON]](), limits(100, 1000)),
			by[ExportAuditRequest](get, "/audit/export", read, a.exportAudit, "exportAuditLog", "Exports all entries that match.", exported[AuditJSON]()),
			on(a, get, "/audit/:entry", read, a.getAuditEntry, "getAuditEntry", "Shows an entry of the audit log.", ok[AuditJSON]())),
		under("API keys",
			on(a, get, "/api-keys", admin, a.listAPIKeys, "listAPIKeys", "Lists API keys.", ok[listJSON[apiKeyJSON]]()),
			on(a, post, "/api-keys", admin, a.createAPIKey, "createAPIKey", "Creates an API key. It is shown this once.", created[apiKeyJSON](), located,
				example(`{"name": "Shop", "scopes": ["publish", "read"]}`)),
			on(a, del, "/api-keys/:key", admin, a.RevokeAPIKey, "revokeAPIKey", "Revokes an API key.", ok[successJSON]())),
		under("Server",
			by[noRequest](get, "/healthz", "", a.Healthz, "getServerHealth", "Tells whether the server works, and which workers are alive.", ok[healthJSON](), answers[healthJSON](http.StatusServiceUnavailable, "The database does not answer.")),
			by[noRequest](get, "/openapi.json", "", a.OpenAPI, "getOpenAPI", "This description (OpenAPI 3.1); also at the root.", ok[map[string]any](), versioned)),
	)
}

// alertRoutes lists what tenants have below their own address, and the operators at the root. kind is part of the
// operations' ids, and whose says in their summaries to whom these belong.
func (a *API) alertRoutes(owner, kind, whose string) []route {
	get, post, patch, del := http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	read, write := models.MayRead, models.MayWrite
	alerts, rules, channels, notifications := owner+"/alerts", owner+"/alert-rules", owner+"/channels", owner+"/notifications"
	of := " of " + whose + "."
	return slices.Concat(
		under("Alerts",
			on(a, get, alerts, read, a.listAlerts, "list"+kind+"Alerts", "Lists alerts"+of, ok[pageJSON[alertJSON]](), limits(100, 1000)),
			on(a, get, alerts+"/:alert", read, a.getAlert, "get"+kind+"Alert", "Shows an alert"+of, ok[alertJSON]()),
			on(a, post, alerts+"/:alert/acknowledge", write, a.AcknowledgeAlert, "acknowledge"+kind+"Alert", "Says that somebody takes care of an alert"+of, ok[alertJSON](), conflicts, example(`{"message": "On it"}`)),
			on(a, post, alerts+"/:alert/resolve", write, a.ResolveAlert, "resolve"+kind+"Alert", "Ends an alert"+of, ok[alertJSON](), conflicts, example(`{"message": "They are back"}`)),
			on(a, post, alerts+"/:alert/mute", write, a.MuteAlert, "mute"+kind+"Alert", "Sends no notices of an alert for a while.", ok[alertJSON](), conflicts, example(`{"for": "4h"}`))),
		under("Alert rules",
			on(a, get, rules, read, a.listRules, "list"+kind+"AlertRules", "Lists alert rules"+of, ok[listJSON[ruleJSON]]()),
			on(a, post, rules, write, a.CreateRule, "create"+kind+"AlertRule", "Creates an alert rule"+of, created[ruleJSON](), located, example(`{"name": "Failing", "when": {"consecutive_failures": 10}}`)),
			on(a, post, rules+"/preview", write, a.previewRule, "preview"+kind+"AlertRule", "Says how often a rule would have fired. Nothing is stored.", ok[rulePreviewJSON](), example(`{"when": {"consecutive_failures": 10}}`)),
			on(a, get, rules+"/:rule", read, a.getRule, "get"+kind+"AlertRule", "Shows an alert rule"+of, ok[ruleJSON]()),
			on(a, patch, rules+"/:rule", write, a.UpdateRule, "update"+kind+"AlertRule", "Changes an alert rule"+of, ok[ruleJSON](), says("What is absent stays as it is."), example(`{"every": "30m"}`)),
			on(a, del, rules+"/:rule", write, a.DeleteRule, "delete"+kind+"AlertRule", "Deletes an alert rule"+of, ok[successJSON]())),
		under("Channels",
			on(a, get, channels, read, a.listChannels, "list"+kind+"Channels", "Lists channels"+of, ok[listJSON[ChannelJSON]]()),
			on(a, post, channels, write, a.CreateChannel, "create"+kind+"Channel", "Creates a channel"+of, created[ChannelJSON](), located, example(`{"name": "On call", "type": "slack", "config": {"url": "https://hooks.slack.com/services/T0/B0/x"}}`)),
			on(a, get, channels+"/:channel", read, a.getChannel, "get"+kind+"Channel", "Shows a channel"+of, ok[ChannelJSON]()),
			on(a, patch, channels+"/:channel", write, a.UpdateChannel, "update"+kind+"Channel", "Changes a channel"+of, ok[ChannelJSON](), says("What is absent stays as it is."), example(`{"name": "On call"}`)),
			on(a, del, channels+"/:channel", write, a.DeleteChannel, "delete"+kind+"Channel", "Deletes a channel"+of, ok[successJSON]()),
			on(a, post, channels+"/:channel/subscribe", write, a.Subscribe, "subscribe"+kind+"Address", "Sends mails again to somebody who had unsubscribed.", ok[ChannelJSON](), example(`{"address": "ann@example.com"}`)),
			on(a, post, channels+"/:channel/test", write, a.TestChannel, "test"+kind+"Channel", "Sends a test notice, and answers with what the other side said.", ok[ChannelTestJSON]())),
		under("Notifications",
			on(a, get, notifications, read, a.listNotifications, "list"+kind+"Notifications", "Lists what was sent, or suppressed and why, over channels"+of, ok[pageJSON[NotificationJSON]](), limits(100, 1000)),
			on(a, get, notifications+"/:notification", read, a.getNotification, "get"+kind+"Notification", "Shows a notification"+of, ok[NotificationJSON]()),
			on(a, post, notifications+"/:notification/resend", write, a.Resend, "resend"+kind+"Notification", "Sends a notification once more, as a new one.", accepted[NotificationJSON](), linked, shown, conflicts)))
}

// APIPrefix is where the JSON API lives.
const APIPrefix = "/api/v1"
