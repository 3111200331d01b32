package views

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
	if p.Tenant == "" && p.Viewer.Write {
		out = append(out, Hit{Label: "Add tenant", Note: "Action", Icon: "plus", URL: NewTenantURL()})
	}
	return append(out, Hit{Label: "API reference", Note: "Docs", Icon: "terminal", URL: APIDocsURL()},
		Hit{Label: "Help and shortcuts", Note: "Docs", Icon: "info", URL: HelpURL(p.Tenant)})
}
