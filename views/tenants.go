package views

import (
	"net/url"
	"strings"
	"time"

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

// TenantSorts are what the list of tenants can be ordered by, as choices. The first is what the page begins with.
var TenantSorts = []Option{{Value: "", Label: "Trouble"}, {Value: models.SortName, Label: "Name"},
	{Value: models.SortVolume, Label: "Events"}, {Value: models.SortLastEvent, Label: "Last event"},
	{Value: models.SortCreated, Label: "Creation"}}

func (v Tenants) sorts() Sorts {
	return Sorts{Base: TenantsURL(), Query: v.Query, Default: models.SortTrouble}
}

func (v Tenants) pager() Pager {
	c := CursorsOf(v.List, time.Time{})
	c.Sorted = v.List.OrderBy != models.SortCreated
	p := newPager(TenantsURL(), v.Query, len(v.List.Items), "tenant", c)
	if p.Older != "" || p.Newer != "" {
		p.All = count(len(v.List.Items)) + " of " + plural(v.Count, "tenant") + " shown"
	}
	return p
}

// tenantLook is how the worst state of a tenant is shown, with how many destinations it is about.
func tenantLook(t models.TenantSummary) Look {
	n := t.Numbers
	var trouble []string
	if n.Failing > 0 {
		trouble = append(trouble, count(n.Failing)+" failing")
	}
	if n.Disabled > 0 {
		trouble = append(trouble, count(n.Disabled)+" disabled")
	}
	words := strings.Join(trouble, ", ")
	switch n.State() {
	case models.TenantFailing:
		return Look{ToneBad, "", words}
	case models.TenantDisabled:
		return Look{ToneHold, "", words}
	case models.TenantHeld:
		return Look{ToneHold, "", "Held"}
	case models.TenantRetrying:
		return Look{ToneWarn, "", "Retrying"}
	case models.TenantUnknown:
		return Look{ToneMute, "", "Not known"}
	case models.TenantHealthy:
		return Look{ToneOK, "", "Healthy"}
	}
	if t.Destinations == 0 {
		return Look{ToneMute, "", "No destination"}
	}
	return Look{ToneMute, "", "Quiet"}
}

// tenantWaits says how many deliveries of a tenant wait; empty when none does.
func tenantWaits(n *models.TenantNumbers) string {
	if n.Waiting == nil {
		return "Too many to count"
	}
	var parts []string
	if n.Waiting.Held > 0 {
		parts = append(parts, count(n.Waiting.Held)+" held")
	}
	if n.Waiting.Retrying > 0 {
		parts = append(parts, count(n.Waiting.Retrying)+" retrying")
	}
	return strings.Join(parts, ", ")
}

// tenantSpark is when the events of a tenant came.
func tenantSpark(n *models.TenantNumbers) Spark {
	s := Spark{}
	switch {
	case n.Failing > 0:
		s.Tone = ToneBad
	case n.Disabled > 0:
		s.Tone = ToneHold
	}
	if n.Sum.Received > 0 {
		for _, p := range n.Points {
			s.Values = append(s.Values, float64(p.Received))
		}
	}
	return s
}

func tenantSuccess(n *models.TenantNumbers) string {
	if p, ok := n.Sum.SuccessPercent(); ok {
		return percent(p)
	}
	return "–"
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
