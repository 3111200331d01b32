package views

import (
	"strings"

	"github.com/waybill-dev/waybill/models"
)

// TenantSettings is the form of a tenant's own limits and defaults. Its fields are those of the API; an empty one stands for
// the server's default, which Defaults tells.
type TenantSettings struct {
	Page
	Form     Form
	Defaults map[string]string
}

var tenantSettingLabels = []Label{{"name", "Name"}, {"destination_limit", "Destinations at most"}, {"manual_retry_limit", "Manual retries of a delivery"},
	{"manual_retries_per_hour", "Manual retries in an hour"},
	{"bulk_retry_limit", "Deliveries of a bulk retry"}, {"signature", "Signature"}, {"header_prefix", "Prefix of headers"},
	{"retry_on", "Errors that are retried"}, {"enable_backlog", "When a destination is enabled"},
	{"requests_per_second", "Requests a second"}, {"events_per_second", "Events a second"}, {"bytes_per_second", "Bytes a second"},
	{"limit_burst", "Burst"}, {"retention_days", "Days that data is kept"}, {"topic_retention", "Days by topic"}, {"erase_delivered", "After success"},
	{"redact_fields", "Fields of answers"}, {"redact_headers", "Headers"}, {"redact_query", "Query parameters"}}

// hint says what an empty field stands for.
func (v TenantSettings) hint(name, more string) string {
	return more + "When empty: " + v.Defaults[name] + "."
}

// choices begins a list of choices with the server's default.
func (v TenantSettings) choices(name string, options ...Option) []Option {
	return append([]Option{{Value: "", Label: "The server's default: " + v.Defaults[name]}}, options...)
}

// SignatureWord and BacklogWord are the words for a signature scheme, and for what becomes of held events.
func SignatureWord(scheme string) string { return optionLabel(signatureOptions, scheme) }
func BacklogWord(action string) string {
	word := optionLabel(onEnableOptions, action)
	return strings.ToLower(word[:1]) + word[1:]
}

var (
	signatureOptions = []Option{{Value: "standard", Label: "Standard Webhooks"}, {Value: "v1a", Label: "Standard Webhooks, ed25519"},
		{Value: "outpost", Label: "Outpost"}}
	afterSuccessOptions = []Option{{Value: "true", Label: "Erase payload, headers and bodies"}, {Value: "false", Label: "Keep them"}}
	onEnableOptions     = []Option{{Value: models.BacklogDeliver, Label: "Deliver what was held"},
		{Value: models.BacklogKeep, Label: "Keep it held"}, {Value: models.BacklogDrop, Label: "Drop it"}}
)
