package api

import (
	"net/http"
	"reflect"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/internal/openapi"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/alertrule"
	"github.com/waybill-dev/waybill/models/filter"
)

// apiIntroduction is what openapi.json says before it comes to single operations, in Markdown with ~ as the mark for code.
const apiIntroduction = `You publish an event once; Waybill delivers it to every destination that your customers configured, at least once.

Requests and answers are JSON. Every request carries ~Authorization: Bearer <key>~ with an API key or a tenant's token; ~x-scope~ names what the key must be allowed to do. What belongs to another tenant is 404, never 403. An unknown query parameter is an error.

Lists come in pages: give ~pagination.next~ as ~next~ for the page after, with the same conditions. Several values are written ~k=a&k=b~, ~k[]=a~ or ~k=a,b~. Times are RFC 3339.`

// APITags are the headings of the API, in order, with what they are about.
var APITags = [][2]string{
	{"Publishing", "Events come in here. 202 means: committed, and it will be delivered."},
	{"Tenants", "The platform's customers, whose destinations events go to."},
	{"Destinations", "Where a tenant's events go."},
	{"Destination types", "The systems that events can be delivered to, with their fields."},
	{"Topics", "The catalogue of what events are about."},
	{"Events", "What was published."},
	{"Deliveries", "One for every event and destination, with its state and the reason."},
	{"Retries", "Trying again by hand: one delivery, or many at once."},
	{"Erasures", "Erasing what events carried, and what attempts keep of it."},
	{"Attempts", "What was sent, and what was answered."},
	{"Saved views", "Lists with conditions that have a name."},
	{"Finding", "What a text leads to."},
	{"Numbers", "Events and attempts, counted over time."},
	{"Filters and transforms", "Which events a destination gets, and in which form."},
	{"Alerts", "What has gone wrong with a destination, while it lasts."},
	{"Alert rules", "When an alert is opened, and who is told."},
	{"Channels", "Where notices go: mail, Slack, PagerDuty, SMS, webhooks."},
	{"Notifications", "Notices that were sent, or suppressed and why."},
	{"Changes", "What has changed, for those who keep a copy of their own."},
	{"Audit log", "Who did what, from where."},
	{"Users", "Who may use the dashboard, with which role."},
	{"API keys", "Who may call this API."},
	{"Server", "The server itself."},
}

var bearers = []openapi.Security{{"apiKey": {}}, {"tenantToken": {}}}

var securitySchemes = map[string]*openapi.SecurityScheme{
	"apiKey": {Type: "http", Scheme: "bearer",
		Description: "An API key (`wb_…`). It may do what its scopes say: `publish`, `read`, `write`, `retry`, or with `admin` everything; for all tenants or one."},
	"tenantToken": {Type: "http", Scheme: "bearer", BearerFormat: "JWT",
		Description: "A tenant's token from `GET /tenants/{tenant}/token`. It may `read`, `write` and `retry`, of that tenant."},
}

// newReflector knows the types of the API that print themselves, and the words that the API uses.
func newReflector() *openapi.Reflector {
	r := &openapi.Reflector{Types: map[reflect.Type]func(openapi.Side) *openapi.Schema{}, Names: map[reflect.Type]string{
		reflect.TypeFor[errorJSON]():            "DeliveryError",
		reflect.TypeFor[destinationStatus]():    "DestinationStatus",
		reflect.TypeFor[requestJSON]():          "AttemptRequest",
		reflect.TypeFor[responseJSON]():         "AttemptResponse",
		reflect.TypeFor[responseData]():         "AttemptResponseData",
		reflect.TypeFor[timingJSON]():           "AttemptTiming",
		reflect.TypeFor[healthJSON]():           "ServerHealth",
		reflect.TypeFor[notify.FailedEvent]():   "AlertFailedEvents",
		reflect.TypeFor[typeJSON]():             "DestinationTypeInfo",
		reflect.TypeFor[channelTypeJSON]():      "ChannelTypeInfo",
		reflect.TypeFor[filter.Rules]():         "FilterRows",
		reflect.TypeFor[filter.Row]():           "FilterRow",
		reflect.TypeFor[models.Change]():        "AuditChange",
		reflect.TypeFor[PublishJSON]():          "PublishResult",
		reflect.TypeFor[models.PublishResult](): "AcceptedEvent",
		reflect.TypeFor[linksJSON]():            "Links",
		reflect.TypeFor[verdictJSON]():          "FilterVerdict",
		reflect.TypeFor[stageJSON]():            "CheckStage",
		reflect.TypeFor[checkJSON]():            "ConnectionCheck",
		reflect.TypeFor[planJSON]():             "RetryPlan",
		reflect.TypeFor[planLimitsJSON]():       "RetryPlanLimits",
		reflect.TypeFor[tokenJSON]():            "TenantToken",
		reflect.TypeFor[portalJSON]():           "PortalRedirect",
		reflect.TypeFor[portalLinkJSON]():       "PortalLink",
		reflect.TypeFor[newPortalLinkJSON]():    "NewPortalLink",
		reflect.TypeFor[setupLinkJSON]():        "SetupLink",
		reflect.TypeFor[mismatchesJSON]():       "SchemaMismatches",
		reflect.TypeFor[settingsJSON]():         "TenantSettingsInForce",
		reflect.TypeFor[effectiveJSON]():        "EffectiveTenantSettings",
		reflect.TypeFor[models.Position]():      "TextPosition",
	}}
	r.Schemas = map[string]*openapi.Schema{
		"DestinationState": enum("active", "disabled"),
		"DeliveryStatus":   enum(models.Statuses...),
		"Enforcement": openapi.Described(enum(models.Enforcements...),
			"What happens to an event that is not as its topic's schema asks: nothing, a warning and a count, or a refusal (422)."),
		"BacklogAction":  enum(models.BacklogDeliver, models.BacklogDrop, models.BacklogKeep),
		"AttemptInclude": enum(knownIncludes...),
		"ErasureStatus":  enum(models.ErasureStatuses...),
		"ErasureScope":   enum(models.ErasureScopes...),
		"MoveStatus":     enum(models.MoveStatuses...),
		"MovePhase": openapi.Described(enum(models.MovePhases...),
			"`prepare`, `copy` and `catch_up` while the tenant goes on, `switch` while it is held, `release` lets it go on where it goes to, `clean` deletes what it left behind, `undo` what was copied by a move that was cancelled."),
		"BulkRetryStatus": enum(models.BulkRunning, models.BulkPaused, models.BulkDone, models.BulkCancelled),
		"SkipReason":      enum(models.SkipDisabled, models.SkipDeleted, models.SkipLimit, models.SkipChanged, models.SkipUnsent),
		"RetryOutcome": openapi.Described(enum(models.RetryOutcomes...),
			"What became of an attempt that was asked for: `not_made` when the delivery was held, cancelled or delivered before its turn, `forgotten` past its retention."),
		"Trigger": enum(models.TriggerAutomatic, models.TriggerManual, models.TriggerBulk, models.TriggerTest,
			models.TriggerProbe),
		"ActorType": enum(models.ActorUser, models.ActorKey, models.ActorToken, models.ActorPortal, models.ActorRecipient,
			models.ActorVisitor, models.ActorServer),
		"ChangeType": enum(models.FeedTypes...),
		"EntryActorType": {Description: "Empty in older entries.",
			AnyOf: []*openapi.Schema{openapi.RefTo("ActorType"), {Type: "string", Const: ""}}},
		"AlertStatus":      enum(models.AlertOpen, models.AlertAcknowledged, models.AlertResolved),
		"Severity":         enum(models.SeverityCritical, models.SeverityError, models.SeverityWarning, models.SeverityInfo),
		"NotificationKind": enum(notify.Opened, notify.Repeated, notify.Resolved, notify.Acknowledged, notify.Test),
		"NotificationStatus": enum(models.NotificationWaiting, models.NotificationQueued, models.NotificationSent,
			models.NotificationFailed, models.NotificationSuppressed),
		"ErrorClass": openapi.Described(enum(texts(adapters.Classes)...), "Why an attempt failed, the same words everywhere."),
		"ErrorCode":  openapi.Described(enum(models.Codes()...), "Why a request failed, for programs."),
		"Format":     openapi.Described(enum(adapters.Formats...), "How messages look; empty for the payload as it was published."),
		"WorkStatus": openapi.Described(enum(workAccepted, workDone),
			"Of what was asked for: `accepted`, it is committed and goes on; `done`, its outcome is known."),
		"OnExhausted": enum(models.ExhaustedSkip, models.ExhaustedBlock),
		"Code": {Type: []string{"string", "integer"},
			Description: "A status such as `503`, or where there was no answer the class of the error, such as `connect`.",
			Examples:    []any{503, "connect"}},
		"StringList": {Type: []string{"array", "null"}, Items: &openapi.Schema{Type: "string"}},
		"Payload": {Type: "object", Description: "The event itself: any JSON object, kept and delivered byte for byte.",
			Additional: true},
		"Filter": {Type: []string{"object", "string", "null"}, Additional: true,
			Description: "On the payload: an object in JSON notation, a string in search notation, or `{\"$expr\": \"…\"}`; `{\"$search\": \"…\"}` is the search notation, too; nothing lets everything through.",
			Examples:    []any{map[string]any{"total": map[string]any{"$gte": 10}}, "total:>=10 AND currency:EUR"}},
	}
	for _, f := range adapters.Beside() {
		if f.Options != nil {
			r.Schemas[models.BesideSchema(f)] = openapi.Described(enum(append([]string{""}, f.Values()...)...), f.Doc)
		}
	}
	var types, channels []string
	for _, t := range adapters.All() {
		types = append(types, t.Spec.Name)
	}
	for _, t := range notify.Types() {
		channels = append(channels, t.Name)
	}
	r.Schemas["DestinationType"], r.Schemas["ChannelType"] = enum(types...), enum(channels...)

	named := func(t reflect.Type, name string, s *openapi.Schema) {
		r.Schemas[name] = s
		r.Types[t] = func(openapi.Side) *openapi.Schema { return openapi.RefTo(name) }
	}
	// What is read in more ways than it is printed in has a schema for each side.
	sided := func(t reflect.Type, name string, answer, request *openapi.Schema) {
		r.Schemas[name], r.Schemas[name+"Input"] = answer, request
		r.Types[t] = func(side openapi.Side) *openapi.Schema {
			if side == openapi.Request {
				return openapi.RefTo(name + "Input")
			}
			return openapi.RefTo(name)
		}
	}
	r.Types[reflect.TypeFor[models.Code]()] = func(openapi.Side) *openapi.Schema { return openapi.RefTo("Code") }
	named(reflect.TypeFor[models.Permission](), "Permission", enum(texts(models.Permissions)...))
	named(reflect.TypeFor[filter.Notation](), "FilterNotation", enum(texts([]filter.Notation{filter.NotationJSON, filter.NotationSearch,
		filter.NotationExpression, filter.NotationRules})...))
	named(reflect.TypeFor[filter.Group](), "FilterGroup", enum(texts([]filter.Group{filter.GroupAll, filter.GroupAny, filter.GroupNone,
		filter.GroupOne})...))
	var conditions []string
	for _, c := range filter.Conditions() {
		conditions = append(conditions, string(c.Name))
	}
	named(reflect.TypeFor[filter.Condition](), "FilterCondition", enum(conditions...))
	r.Types[reflect.TypeFor[filter.Value]()] = func(openapi.Side) *openapi.Schema { return &openapi.Schema{} }
	named(reflect.TypeFor[models.Counts](), "DeliveryCounts", &openapi.Schema{Type: "object",
		Description: "By state of a delivery; states with none are absent.", Additional: &openapi.Schema{Type: "integer"}})
	duration := &openapi.Schema{Type: "string", Description: "A duration, such as `10s`, `5m` or `6h`.", Examples: []any{"10s"}}
	either := &openapi.Schema{Type: []string{"string", "number"},
		Description: "A duration, such as `10s`, `5m`, `6h` or `2d`, or a number of seconds.", Examples: []any{"10s"}}
	sided(reflect.TypeFor[models.Duration](), "Duration", duration, either)
	r.Types[reflect.TypeFor[models.Days]()] = r.Types[reflect.TypeFor[models.Duration]()]
	sided(reflect.TypeFor[models.Condition](), "AlertCondition", conditionSchema(r, openapi.Answer), conditionSchema(r, openapi.Request))
	list, all := &openapi.Schema{Type: "array", Items: &openapi.Schema{Type: "string"}}, &openapi.Schema{Type: "string", Const: "*"}
	sided(reflect.TypeFor[models.Topics](), "Topics",
		&openapi.Schema{Description: "`*` for all, or topics and patterns (`order.*`).", OneOf: []*openapi.Schema{all, list}},
		&openapi.Schema{Description: "`*` for all, one topic or pattern (`order.*`), or a list of them.",
			OneOf: []*openapi.Schema{{Type: "string"}, list}})
	shape := models.DestinationShape(reflect.TypeFor[DestinationJSON]())
	r.Types[reflect.TypeFor[DestinationJSON]()] = func(openapi.Side) *openapi.Schema { return r.Of(shape, openapi.Answer, "Destination") }
	r.Types[reflect.TypeFor[models.DestinationPatch]()] = func(openapi.Side) *openapi.Schema {
		return r.Of(models.DestinationPatch{}.Shape(), openapi.Request, "DestinationInput")
	}
	r.Types[reflect.TypeFor[models.Metadata]()] = func(side openapi.Side) *openapi.Schema {
		if side == openapi.Request {
			return r.Of(reflect.TypeFor[models.StringPatch](), side, "")
		}
		return r.Of(reflect.TypeFor[map[string]string](), side, "")
	}
	r.Types[reflect.TypeFor[models.TypeSettings]()] = func(side openapi.Side) *openapi.Schema {
		if side == openapi.Request {
			return r.Of(reflect.TypeFor[models.Values](), side, "")
		}
		return r.Of(reflect.TypeFor[map[string]string](), side, "")
	}
	text := []string{"string", "number", "boolean", "null"}
	r.Types[reflect.TypeFor[models.StringPatch]()] = func(openapi.Side) *openapi.Schema {
		return &openapi.Schema{Type: []string{"object", "null"}, Additional: &openapi.Schema{Type: text}}
	}
	r.Types[reflect.TypeFor[models.Texts]()] = r.Types[reflect.TypeFor[models.StringPatch]()]
	named(reflect.TypeFor[models.Values](), "Settings", &openapi.Schema{Type: "object",
		Additional:  &openapi.Schema{Type: []string{"string", "boolean", "number", "array", "object", "null"}},
		Description: "By key, as the type's fields say: strings; JSON's own booleans, numbers, lists and objects are taken where they are meant."})
	return r
}

// conditionSchema has the fields of all kinds of conditions of alert rules.
func conditionSchema(r *openapi.Reflector, side openapi.Side) *openapi.Schema {
	s := &openapi.Schema{Type: "object", Properties: &openapi.Map[*openapi.Schema]{}}
	for _, f := range alertrule.Fields() {
		field := r.Of(f.Type.Go(), side, "")
		if f.Type == alertrule.Choice {
			field = enum(f.Options...)
		}
		s.Properties.Set(f.Key, openapi.Described(field, f.Doc))
	}
	return s
}

// enum is a word out of these.
func enum(values ...string) *openapi.Schema {
	s := &openapi.Schema{Type: "string"}
	for _, v := range values {
		s.Enum = append(s.Enum, v)
	}
	return s
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}

// pathParameters says what the parts of addresses are that stand for something.
var pathParameters = map[string][2]string{ // description, example
	"tenant":       {"Id of the tenant.", "acme"},
	"destination":  {"Id of the destination.", "des_…"},
	"event":        {"Id of the event.", "evt_…"},
	"delivery":     {"Id of the delivery.", "dlv_…"},
	"attempt":      {"Id of the attempt.", "att_…"},
	"retry":        {"Id of the bulk retry.", "rty_…"},
	"erasure":      {"Id of the erasure.", "era_…"},
	"move":         {"Id of the move.", "mov_…"},
	"type":         {"Name of the type.", "webhook"},
	"topic":        {"Name of the topic.", "order.created"},
	"cell":         {"Name of the database.", "eu1"},
	"entry":        {"Id of the entry.", "aud_…"},
	"link":         {"Id of the portal link.", "plk_…"},
	"key":          {"Id of the key.", "0198…"},
	"alert":        {"Id of the alert.", "alt_…"},
	"rule":         {"Id of the rule.", "rule_…"},
	"channel":      {"Id of the channel.", "chn_…"},
	"notification": {"Id of the notification.", "ntf_…"},
	"view":         {"Id of the saved view.", "viw_…"},
	"user":         {"Id of the user.", "usr_…"},
	"session":      {"Id of the session.", "ses_…"},
	"invitation":   {"Id of the invitation.", "inv_…"},
	"passkey":      {"Id of the passkey.", "psk_…"},
	"identity":     {"Id of the connection with a login provider.", "idn_…"},
}

func pathParameter(name string) *openapi.Parameter {
	p := pathParameters[name]
	if p[0] == "" {
		panic("a part of an address that is not described: " + name)
	}
	return &openapi.Parameter{Name: name, In: "path", Description: p[0], Required: true, Schema: &openapi.Schema{Type: "string"},
		Example: p[1]}
}

func commonParameters() map[string]*openapi.Parameter {
	header := func(name, description, example string) *openapi.Parameter {
		return &openapi.Parameter{Name: name, In: "header", Description: description, Schema: &openapi.Schema{Type: "string"},
			Example: example}
	}
	return map[string]*openapi.Parameter{
		"IfNoneMatch": header("If-None-Match", "The ETag of an answer that the caller has: 304 while it still holds.", `"1"`),
		"IfMatch":     header("If-Match", "The ETag of what the caller has read: 412 when it was changed meanwhile.", `"1"`),
		"IdempotencyKey": header("Idempotency-Key",
			"A text that is unique to this request, such as a UUID. Sent again within 24 hours, the request does nothing and is answered as it was the first time; another request with the same key is 422, and 409 while the first one is being answered.", "0b5d0c5e-9d5c-4a57-9d2a-6f0a6b1c7c11"),
		"Prefer": header("Prefer",
			"RFC 7240. `return=minimal`: no body, and 204 instead of 200. `handling=strict`: unknown fields of the body are errors.", "return=minimal"),
		"PreferWait": header("Prefer",
			"RFC 7240. `wait=10` (seconds, at most 60) holds the answer until the outcome is known; `respond-async` answers at once. "+
				"`return=minimal`: no body. `handling=strict`: unknown fields of the body are errors.", "wait=10"),
		"PreferMore": header("Prefer", "RFC 7240. `wait=30` (seconds, at most 60) holds the answer until there is a change, or the time is up.",
			"wait=30"),
		"LastEventID": header("Last-Event-ID",
			"With `Accept: text/event-stream`: the id of the last event that was received, instead of `since` or `after`. Clients send it by themselves.", "4711"),
		"PreferChange": header("Prefer",
			"RFC 7240. `wait=10` (seconds, at most 60), together with `If-None-Match`, holds the answer until what is shown is no longer as the caller knows it, or the time is up (304).", "wait=10"),
	}
}

func commonHeaders() map[string]*openapi.Header {
	text := func(description string) *openapi.Header {
		return &openapi.Header{Description: description, Schema: &openapi.Schema{Type: "string"}}
	}
	return map[string]*openapi.Header{
		"X-Request-Id":        text("Of this request, as the server's log and the audit log have it."),
		"ETag":                text("Version of what is shown, for `If-None-Match` and `If-Match`."),
		"Location":            text("Address of what was made, or of what tells how it goes on."),
		"Content-Location":    text("Address of what the body shows."),
		"Link":                text("Where to look how it goes on (`rel=\"monitor\"`), what this is a part of (`up`), what belongs to it (`related`, with a title), or the pages beside this one (`next`, `prev`; RFC 8288)."),
		"Cache-Control":       text("Whether the caller's own cache may keep the answer, and for how long it may use it without asking again."),
		"Vary":                text("What the answer depends on beside the address: who asks, and what they prefer."),
		"Idempotent-Replayed": text("`true` where this is the answer to an earlier request with the same Idempotency-Key."),
		"Preference-Applied":  text("Which preferences were honoured (RFC 7240)."),
		"RateLimit-Policy": text("The limits of the caller's key and tenant, where there are some: the most at once (`q`), its unit (`qu`), and in how many seconds that comes back (`w`). " +
			"See draft-ietf-httpapi-ratelimit-headers."),
		"RateLimit":   text("What is left of them (`r`), and in how many seconds there is something again (`t`)."),
		"Retry-After": {Description: "Seconds after which to ask again.", Schema: &openapi.Schema{Type: "integer"}},
	}
}

// APIErrors are the errors by status: names of the components and what they mean.
var APIErrors = map[int][2]string{
	http.StatusBadRequest:            {"Malformed", "The request cannot be read, or asks for something that cannot be."},
	http.StatusUnauthorized:          {"Unauthorized", "The key is missing or not valid."},
	http.StatusForbidden:             {"Forbidden", "The key may not do this."},
	http.StatusNotFound:              {"NotFound", "There is nothing of this id, or it belongs to another tenant."},
	http.StatusRequestTimeout:        {"Timeout", "The body did not come in time."},
	http.StatusConflict:              {"Conflict", "The state does not permit it."},
	http.StatusGone:                  {"Past", "It is no longer kept; the message says how to go on."},
	http.StatusPreconditionFailed:    {"Stale", "It was changed since the caller read it."},
	http.StatusRequestEntityTooLarge: {"TooLarge", "The body is too large."},
	http.StatusUnprocessableEntity:   {"Invalid", "The request can be read and is not acceptable; `fields` say why."},
	http.StatusTooManyRequests:       {"Limited", "Over a limit, or too many keys that are not valid came from the caller's network."},
	http.StatusServiceUnavailable:    {"Unavailable", "The database does not answer, or there is no room. Try again."},
}

func responseName(status int) string { return APIErrors[status][0] }

func errorResponses() map[string]*openapi.Response {
	id := map[string]*openapi.Header{"X-Request-Id": {Ref: "#/components/headers/X-Request-Id"}}
	out := map[string]*openapi.Response{
		"Minimal": {Description: "Done; the caller preferred no body.",
			Headers: map[string]*openapi.Header{"X-Request-Id": id["X-Request-Id"],
				"Preference-Applied": {Ref: "#/components/headers/Preference-Applied"}}},
		"NotModified": {Description: "What the caller has still holds.",
			Headers: map[string]*openapi.Header{"X-Request-Id": id["X-Request-Id"], "ETag": {Ref: "#/components/headers/ETag"},
				"Cache-Control": {Ref: "#/components/headers/Cache-Control"}, "Vary": {Ref: "#/components/headers/Vary"},
				"Link": {Ref: "#/components/headers/Link"}, "Retry-After": {Ref: "#/components/headers/Retry-After"},
				"Preference-Applied": {Ref: "#/components/headers/Preference-Applied"}}},
	}
	problem := func(description string, headers map[string]*openapi.Header) *openapi.Response {
		r := &openapi.Response{Description: description, Headers: headers, Content: &openapi.Map[*openapi.Media]{}}
		r.Content.Set(fiber.MIMEApplicationJSON, &openapi.Media{Schema: openapi.RefTo("Problem")})
		return r
	}
	out["Error"] = problem("Any other error.", id)
	for status, e := range APIErrors {
		headers := id
		if status == http.StatusConflict || status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
			headers = map[string]*openapi.Header{"X-Request-Id": id["X-Request-Id"],
				"Retry-After": {Ref: "#/components/headers/Retry-After"}}
		}
		if status == http.StatusTooManyRequests {
			for _, name := range []string{headerPolicy, headerRateLimit} {
				headers[name] = &openapi.Header{Ref: "#/components/headers/" + name}
			}
		}
		out[e[0]] = problem(e[1], headers)
	}
	return out
}
