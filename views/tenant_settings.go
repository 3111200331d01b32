package views

import (
	"github.com/waybill-dev/waybill/models"
)

// TenantSettings is the form of a tenant's own limits and defaults. Its fields are those of the API; an empty one stands for
// the server's default, which Defaults tells.
type TenantSettings struct {
	Page
	Form     Form
	Defaults map[string]string
}

var tenantSettingLabels = append(sharedLabels(), []Label{{"name", "Name"}, {"signature", "Signature"}, {"header_prefix", "Prefix of headers"},
	{"requests_per_second", "Requests a second"}, {"events_per_second", "Events a second"}, {"bytes_per_second", "Bytes a second"},
	{"limit_burst", "Burst"}, {"retention_days", "Days that data is kept"}, {"topic_retention", "Days by topic"}, {"erase_delivered", "After success"},
	{"redact_fields", "Fields of answers"}, {"redact_headers", "Headers"}, {"redact_query", "Query parameters"}}...)

// sharedLabels name the settings that the server has, too.
func sharedLabels() (out []Label) {
	for _, f := range models.SharedFields() {
		out = append(out, Label{f.Name, f.Label})
	}
	return out
}

// shared are the settings of a group that the server has, too.
func (TenantSettings) shared(group string) (out []*models.SettingField) {
	for _, f := range models.SharedFields() {
		if f.Group == group {
			out = append(out, f)
		}
	}
	return out
}

// sharedControl is the control of one of them.
func (v TenantSettings) sharedControl(f *models.SettingField) Control {
	c := settingControl(f)
	if len(f.Options) > 0 {
		c.Options = v.choices(f.Name, c.Options...)
		return c
	}
	c.Hint = v.hint(f.Name, c.Hint+" ")
	return c
}

// hint says what an empty field stands for.
func (v TenantSettings) hint(name, more string) string {
	return more + "When empty: " + v.Defaults[name] + "."
}

// choices begins a list of choices with the server's default.
func (v TenantSettings) choices(name string, options ...Option) []Option {
	return append([]Option{{Value: "", Label: "The server's default: " + v.Defaults[name]}}, options...)
}

// SignatureWord is the word for a signature scheme.
func SignatureWord(scheme string) string { return optionLabel(signatureOptions, scheme) }

var (
	signatureOptions = []Option{{Value: "standard", Label: "Standard Webhooks"}, {Value: "v1a", Label: "Standard Webhooks, ed25519"},
		{Value: "outpost", Label: "Outpost"}}
	afterSuccessOptions = []Option{{Value: "true", Label: "Erase payload, headers and bodies"}, {Value: "false", Label: "Keep them"}}
)
