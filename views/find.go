package views

import "github.com/waybill-dev/waybill/models"

// Find is what a name, an ID or a text leads to.
type Find struct {
	Page
	Query  string
	Groups []HitGroup
}

// HitGroup is what was found of one kind.
type HitGroup struct {
	Title string
	Hits  []Hit
}

// Hit is a page that was found.
type Hit struct {
	Label, Note, Icon, URL string
	Mono                   bool // Label is an ID
}

// Help is the page about keys and documents.
type Help struct{ Page }

// Shortcut is what one or several keys do.
type Shortcut struct {
	Keys []string
	Does string
}

// shortcuts lists the keys of the dashboard.
var shortcuts = []Shortcut{
	{[]string{"Ctrl K"}, "Find or jump to"},
	{[]string{"/"}, "Search this list"},
	{[]string{"j", "k"}, "Next and previous row"},
	{[]string{"Enter"}, "Open the row"},
	{[]string{"x"}, "Select the row"},
	{[]string{"r"}, "Retry the event that is shown"},
	{[]string{"g o", "g e", "g d", "g a"}, "Go to Overview, Events, Destinations, Alerts"},
	{[]string{"Esc"}, "Close"},
	{[]string{"?"}, "Show these keys"},
}

// Pages lists the pages of the navigation, to find them by name.
func (p Page) Pages() (out []Hit) {
	for _, g := range p.navigation() {
		for _, e := range g.entries {
			out = append(out, Hit{Label: e.label, Note: g.title, Icon: e.icon, URL: e.url})
		}
	}
	if p.Tenant != "" && p.Viewer.Write {
		out = append(out, Hit{Label: "Add destination", Note: "Action", Icon: "plus", URL: NewDestinationURL(p.Tenant)},
			Hit{Label: "Retry many deliveries", Note: "Action", Icon: "rotate-ccw", URL: NewRetryURL(p.Tenant, nil)})
	}
	if p.Tenant != "" && !p.Viewer.OneTenant {
		out = append(out, Hit{Label: "All tenants", Note: "Server", Icon: "building-2", URL: TenantsURL()},
			Hit{Label: "Events of all tenants", Note: "Server", Icon: "activity", URL: EventsURL("")})
	}
	if p.Tenant == "" && p.Viewer.Admin {
		out = append(out, Hit{Label: "Server settings", Note: "Server", Icon: "settings", URL: ServerSettingsURL()})
	}
	if p.Tenant == "" && p.Viewer.Write {
		out = append(out, Hit{Label: "Add tenant", Note: "Action", Icon: "plus", URL: NewTenantURL()})
	}
	return append(out, Hit{Label: "API reference", Note: "Docs", Icon: "terminal", URL: APIDocsURL()},
		Hit{Label: "Help and shortcuts", Note: "Docs", Icon: "info", URL: HelpURL(p.Tenant)})
}

// FoundGroup is a group of what a text leads to, as links.
// tenant is whose pages they are seen on; empty for the whole server's.
func FoundGroup(tenant string, g models.FoundGroup) HitGroup {
	titles := map[string]string{models.FoundByID: "ID", models.FoundTenants: "Tenants", models.FoundDests: "Destinations",
		models.FoundTopics: "Topics"}
	out := HitGroup{Title: titles[g.Group]}
	for _, f := range g.Items {
		h := Hit{Label: f.Title, Note: f.Detail, Mono: g.Group == models.FoundByID, Icon: "arrow-right"}
		switch f.Kind {
		case models.FoundTenant:
			h.URL, h.Icon = OverviewURL(f.ID), "building-2"
		case models.FoundDestination:
			h.URL, h.Icon = DestinationURL(f.TenantID, f.ID), "waypoints"
		case models.FoundTopic:
			if tenant == "" {
				continue // the catalogue is shown with a tenant
			}
			h.URL, h.Icon = TopicsURL(tenant), "tags"
		case models.FoundEvent:
			h.URL, h.Icon = EventURL(f.TenantID, f.ID), "activity"
		case models.FoundDelivery:
			h.URL, h.Icon = EventURL(f.TenantID, f.EventID), "send"
		case models.FoundAttempt:
			h.URL, h.Icon = AttemptURL(f.TenantID, f.ID), "send"
		case models.FoundRetry:
			h.URL, h.Icon = RetryURL(f.TenantID, f.ID), "rotate-ccw"
		case models.FoundAlert:
			h.URL, h.Icon = AlertURL(f.TenantID, f.ID), "bell"
		case models.FoundRule:
			h.URL, h.Icon = RuleURL(f.TenantID, f.ID), "bell"
		case models.FoundChannel:
			h.URL, h.Icon = ChannelURL(f.TenantID, f.ID), "bell"
		case models.FoundNotification:
			h.URL, h.Icon = NotificationURL(f.TenantID, f.ID), "bell"
		case models.FoundEntry:
			h.URL, h.Icon = AuditEntryURL(f.TenantID, f.ID), "scroll-text"
		default:
			continue
		}
		if h.Label == "" {
			h.Label = f.ID
		}
		out.Hits = append(out.Hits, h)
	}
	return out
}
