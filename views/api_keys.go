package views

import (
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// Keys is the list of API keys that work for a tenant.
type Keys struct {
	Page
	List []*models.APIKey
	Now  time.Time
}

// NewKey is the form for an API key. It has name, scopes, tenant_id, expires_in, addresses and limits.
type NewKey struct {
	Page
	Form Form
}

// EditKey is the form that changes an API key.
type EditKey struct {
	Page
	Key  *models.APIKey
	Form Form
}

var keyBoundLabels = []Label{{"addresses", "Addresses"}, {"requests_per_second", "Requests a second"},
	{"events_per_second", "Events a second"}, {"bytes_per_second", "Bytes a second"}, {"limit_burst", "Burst"}}

func (v EditKey) labels() []Label {
	return append([]Label{{"name", "Name"}, {"scopes", "Permissions"}, {"expires_at", "Expires (UTC)"}}, keyBoundLabels...)
}

// keyBounds say in words from where a key may be used, and how much.
func keyBounds(k *models.APIKey) (lines []string) {
	if len(k.Addresses) > 0 {
		lines = append(lines, "From "+strings.Join(k.AddressTexts(), ", "))
	}
	for _, l := range []struct {
		n    *int
		what string
	}{{k.Limits.RequestsPerSecond, "requests"}, {k.Limits.EventsPerSecond, "events"}, {k.Limits.BytesPerSecond, "bytes"}} {
		if l.n != nil && *l.n > 0 {
			lines = append(lines, "At most "+strconv.Itoa(*l.n)+" "+l.what+" a second")
		}
	}
	return lines
}

// expiresIn says how long a key is still valid.
func expiresIn(k *models.APIKey, now time.Time) string {
	left := k.ExpiresAt.Sub(now)
	if days := int(left.Hours() / 24); days > 0 {
		return "In " + plurals(days, "day", "days")
	}
	return "In less than a day"
}

// KeyCreated shows a new API key, this once.
type KeyCreated struct {
	Page
	Key    *models.APIKey
	Secret string
	Next   string  // where to go on
	Try    APICall // a first call
}

func (v NewKey) labels() []Label {
	out := append([]Label{{"name", "Name"}, {"scopes", "Permissions"}, {"expires_in", "Expires"}}, keyBoundLabels...)
	if v.Tenant == "" {
		out = append(out, Label{"tenant_id", "Tenant ID"})
	}
	return out
}

var permissionOptions = []Option{
	{Value: string(models.MayPublish), Label: "Publish", Hint: "Publish events."},
	{Value: string(models.MayRead), Label: "Read", Hint: "See events, deliveries and destinations, secrets masked."},
	{Value: string(models.MayWrite), Label: "Write", Hint: "Create, change and delete destinations."},
	{Value: string(models.MayRetry), Label: "Retry", Hint: "Retry and cancel deliveries."},
	{Value: string(models.MayAdmin), Label: "Admin", Hint: "All of these, and keys, topics and secrets."},
}

var expiries = []Option{{Value: "2160h", Label: "In 90 days"}, {Value: "720h", Label: "In 30 days"}, {Value: "8760h", Label: "In a year"},
	{Value: "0", Label: "Never"}}

func permissionWords(scopes []models.Permission) string {
	words := make([]string, len(scopes))
	for i, s := range scopes {
		words[i] = optionLabel(permissionOptions, string(s))
	}
	return strings.Join(words, ", ")
}

// unused is after how long without use a key is pointed out.
const unused = 90 * 24 * time.Hour

// stale reports whether an active key has not been used for long.
func stale(k *models.APIKey, now time.Time) bool {
	last := k.CreatedAt
	if k.LastUsedAt != nil {
		last = *k.LastUsedAt
	}
	return k.State(now) == "active" && now.Sub(last) > unused
}

func tenantWord(id string) string {
	if id == "" {
		return "All tenants"
	}
	return id
}

func expiryWord(z Zone, k *models.APIKey) string {
	if k.ExpiresAt == nil {
		return "Never"
	}
	return z.full(*k.ExpiresAt)
}

func (v Keys) note() string {
	if v.Tenant == "" {
		return "Keys for the API. A key itself is shown once, when it is created."
	}
	return "Keys that work for " + v.Tenant + " only. Those for all tenants are listed with the tenants."
}

func (v NewKey) note() string {
	if v.Tenant == "" {
		return ""
	}
	return "It works for " + v.Tenant + " only."
}
