package views

import (
	"net/url"

	"github.com/waybill-dev/waybill/models"
)

// Tenants is the list of tenants.
type Tenants struct {
	Page
	Query url.Values // q, limit, dir, next, prev
	List  *models.Page[models.TenantSummary]
	Count int // of all that match
	Err   *models.Error
}

// NewTenant is the form for a tenant. It has tenant_id.
type NewTenant struct {
	Page
	Form Form
}

var tenantLabels = []Label{{"tenant_id", "Tenant ID"}}

// subscriptions says in short which topics something takes.
func subscriptions(topics []string) string {
	switch {
	case len(topics) == 0:
		return "None"
	case topics[0] == models.AllTopics:
		return "All, including future"
	case len(topics) == 1:
		return topics[0]
	}
	return plural(len(topics), "topic")
}
