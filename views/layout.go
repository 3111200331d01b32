package views

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/static"
)

// Page is what the frame around every page needs to know.
type Page struct {
	Title   string // the page's heading, and the first part of the document's title
	Context string // what else tells this page from others in a browser's tabs: a destination's name; may be empty
	Tenant  string // id of the tenant that the page is about; empty for pages about the whole server

	TenantName string   // what people see of it
	Section    Section  // the current entry of the navigation; empty for none
	Crumbs     []Crumb  // the way from the tenant to this page, which comes last and by itself
	Viewer     Viewer   // who is signed in
	Cells      bool     // there are further databases that hold tenants; see docs/scaling.md
	Missing    []string // databases that do not answer, whose tenants are missing on the page; see docs/scaling.md
	Flash      *Flash   // what the request before this one has done; nil for nothing
	API        *APICall // the call of the API that does the same; nil for none
	Alerts     int      // open ones that nobody takes care of, at most MaxAlerts; shown in the navigation
	Invalid    bool     // a refused form: the document's title says so
	Here       string   // path and query of the page, to come back to after a change of preferences
	Refresh    bool     // parts of the page refresh themselves, for which htmx is needed
	Chrome
}

// Chrome is the part of Page that is the same for every page of a session.
type Chrome struct {
	Theme     string // "light" or "dark"; empty for the system's
	Zone      string // of the viewer's browser, by its IANA name; empty while it has not told
	UTC       bool   // times are in UTC by choice
	Reread    bool   // nothing is lost when the browser reads the page again, once it has told its zone
	Shortcuts bool   // single-key shortcuts are on
	BaseURL   string // of this server, without a slash at the end
	Version   string
}

// Viewer is who looks at the page, and what they may do. Pages leave out what the viewer may not do.
type Viewer struct {
	Name      string      // empty for nobody, who gets no navigation
	OneTenant bool        // sees single tenants only, and nothing about the whole server
	Tenants   int         // that the viewer is a member of
	User      bool        // has an account
	Role      models.Role // here; empty for who is no user
	Catalogue bool        // may change what all tenants share: topics, and their limits
	Write     bool        // may change destinations
	Retry     bool        // may retry and cancel deliveries
	Admin     bool        // may manage keys and topics, and see secrets
}

// Section is an entry of the navigation.
type Section string

// The entries of the navigation.
const (
	SectionOverview     Section = "overview"
	SectionEvents       Section = "events"
	SectionDestinations Section = "destinations"
	SectionTopics       Section = "topics"
	SectionKeys         Section = "api-keys"
	SectionRetries      Section = "retries"
	SectionAlerts       Section = "alerts"
	SectionAudit        Section = "audit"
	SectionSettings     Section = "settings"
	SectionTenants      Section = "tenants"
	SectionServer       Section = "server"
	SectionUsage        Section = "usage"
	SectionUsers        Section = "users"
	SectionMembers      Section = "members"
	SectionAccount      Section = "account"
)

// Crumb is one step on the way to a page.
type Crumb struct {
	Label string
	URL   string // empty for a step without a page
}

// Flash says what a request has done, on the page that follows it.
type Flash struct {
	Tone     Tone
	Text     string // one sentence that is true at once: "Retry queued", not "Delivered"
	LinkText string // where to go on; may be empty
	LinkURL  string
}

// DocumentTitle is the text of <title>. It holds the tenant, so that tabs of two tenants can be told apart.
func (p Page) DocumentTitle() string {
	parts := []string{p.Title}
	if p.Context != "" {
		parts = append(parts, p.Context)
	}
	if p.Tenant != "" {
		parts = append(parts, p.Tenant)
	}
	title := strings.Join(append(parts, "Waybill"), " – ")
	if p.Invalid {
		return "Error: " + title
	}
	return title
}

type navGroup struct {
	title   string
	entries []navEntry
}

type navEntry struct {
	section Section
	label   string
	icon    string
	url     string
}

// operators reports whether the page is about the operators' own destinations, to which nobody can publish.
func (p Page) tenantName() string { return cmp.Or(p.TenantName, p.Tenant) }

func (p Page) operators() bool { return p.Tenant == models.OperatorTenant }

// navigation lists the entries that work for the page's viewer.
func (p Page) navigation() []navGroup {
	switch {
	case p.Tenant == "" && p.Viewer.OneTenant:
		return nil
	case p.Tenant == "":
		server := []navEntry{
			{SectionTenants, "Tenants", "building-2", TenantsURL()},
			{SectionEvents, "Events", "activity", EventsURL("")},
			{SectionAlerts, "Alerts", "bell", AlertsURL("")},
			{SectionDestinations, "Operator events", "waypoints", DestinationsURL(models.OperatorTenant)},
		}
		if p.Viewer.Admin {
			server = append(server, navEntry{SectionUsers, "Users", "users", UsersURL()}, navEntry{SectionKeys, "API keys", "key-round", KeysURL("")},
				navEntry{SectionAudit, "Audit log", "scroll-text", AuditURL("")})
		}
		return []navGroup{{"Server", append(server, navEntry{SectionServer, "Server health", "gauge", ServerURL()})}}
	}
	manage := navGroup{"Manage", []navEntry{{SectionAudit, "Audit log", "scroll-text", AuditURL(p.Tenant)},
		{SectionUsage, "Usage", "inbox", UsageURL(p.Tenant, nil)}, {SectionSettings, "Settings", "settings", SettingsURL(p.Tenant)}}}
	if p.Viewer.Admin {
		manage.entries = append([]navEntry{{SectionKeys, "API keys", "key-round", KeysURL(p.Tenant)},
			{SectionMembers, "Members", "users", MembersURL(p.Tenant)}}, manage.entries...)
	}
	return []navGroup{
		{"Monitor", []navEntry{
			{SectionOverview, "Overview", "gauge", OverviewURL(p.Tenant)},
			{SectionEvents, "Events", "activity", EventsURL(p.Tenant)},
			{SectionRetries, "Retries", "rotate-ccw", RetriesURL(p.Tenant)},
			{SectionAlerts, "Alerts", "bell", AlertsURL(p.Tenant)},
		}},
		{"Configure", []navEntry{
			{SectionDestinations, "Destinations", "waypoints", DestinationsURL(p.Tenant)},
			{SectionTopics, "Topics", "tags", TopicsURL(p.Tenant)},
		}},
		manage,
	}
}

// MaxAlerts is how far open alerts are counted for the navigation.
const MaxAlerts = 99

// alertsText says how many alerts are open.
func (p Page) alertsText() string {
	if p.Alerts > MaxAlerts {
		return count(MaxAlerts) + "+ open"
	}
	return count(p.Alerts) + " open"
}

// place is what the pages are about: a tenant, or the whole server.
func (p Page) place() string {
	switch {
	case p.Tenant == "":
		return "All tenants"
	case p.operators():
		return "Operator events"
	}
	return p.tenantName()
}

// initial is the letter that stands for a name.
func initial(name string) string {
	for _, r := range name {
		return strings.ToUpper(string(r))
	}
	return ""
}

// crumbs is the way to the page, without itself.
func (p Page) crumbs() []Crumb {
	var out []Crumb
	if p.Tenant != "" {
		out = append(out, Crumb{p.Tenant, OverviewURL(p.Tenant)})
	}
	return append(out, p.Crumbs...)
}

// asset is the address of a file of package static.
func asset(name string) string { return static.URL(name) }

// iconURL is the address of an icon within the sprite.
func iconURL(name string) string { return static.URL("icons.svg") + "#" + name }

// The addresses of pages. Ids are escaped, for callers choose them.

func path(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

// HomeURL, SetupURL and their like are the pages about the whole server.
func HomeURL() string        { return "/" }
func SetupURL() string       { return "/setup" }
func LoginURL() string       { return "/login" }
func LogoutURL() string      { return "/logout" }
func PreferencesURL() string { return "/preferences" }
func TenantsURL() string     { return "/tenants" }
func NewTenantURL() string   { return "/tenants/new" }

// OverviewURL and its like are the pages of a tenant.
func OverviewURL(tenant string) string       { return path("t", tenant) }
func DestinationsURL(tenant string) string   { return path("t", tenant, "destinations") }
func NewDestinationURL(tenant string) string { return path("t", tenant, "destinations", "new") }
func TopicsURL(tenant string) string         { return path("t", tenant, "topics") }
func SettingsURL(tenant string) string       { return path("t", tenant, "settings") }
func TenantSettingsURL(tenant string) string { return path("t", tenant, "settings", "tenant") }

// DestinationURL is the page of a destination, or with tail one of its other pages or actions: "deliveries", "secrets",
// "secrets/reveal", "secrets/rotate", "activity", "settings", "test", "check", "enable", "disable", "delete".
func DestinationURL(tenant, id string, tail ...string) string {
	u := path("t", tenant, "destinations", id)
	for _, t := range tail {
		u += "/" + t
	}
	return u
}

// EventsURL is the list of events: of a tenant, or without one of all.
func EventsURL(tenant string) string { return under(tenant, "events") }

// FindURL leads from an id, its parameter q, to the page of what it is the id of.
func FindURL(tenant string) string { return under(tenant, "find") }
func HelpURL(tenant string) string { return under(tenant, "help") }

// EventURL is the page of an event, or with tail an action on it: "retry". Parts of the list of events are there too: "export".
func EventURL(tenant, id string, tail ...string) string {
	return under(tenant, append([]string{"events", id}, tail...)...)
}

// ComparePath is the page that compares two attempts, CompareURL that of certain ones by their ids.
func ComparePath(tenant string) string { return path("t", tenant, "attempts", "compare") }

// CompareURL is a ComparePath with its parameters.
func CompareURL(tenant, a, b string) string {
	return with(ComparePath(tenant), url.Values{"a": {a}, "b": {b}})
}

// AttemptURL is the page of an attempt.
func AttemptURL(tenant, id string) string { return path("t", tenant, "attempts", id) }

// DeliveryURL is an action on a delivery: "retry" or "cancel".
func DeliveryURL(tenant, id, action string) string {
	return path("t", tenant, "deliveries", id, action)
}

// TopicURL is an action on a topic of the catalogue: "delete". The topic goes into the query, for its name may hold
// slashes.
func TopicURL(tenant, name, action string) string {
	return with(path("t", tenant, "topics", action), url.Values{"name": {name}})
}

// KeysURL is the list of API keys: of a tenant's, or without a tenant of all.
func KeysURL(tenant string) string { return keyPath(tenant) }

// NewKeyURL is the form for an API key.
func NewKeyURL(tenant string) string { return keyPath(tenant, "new") }

// KeyURL is an action on an API key, "revoke", or without one the page that changes it.
func KeyURL(tenant, id, action string) string {
	if action == "" {
		return keyPath(tenant, id)
	}
	return keyPath(tenant, id, action)
}

// AuditURL is the audit log: of a tenant, or without one of the whole server.
func AuditURL(tenant string) string { return auditPath(tenant) }

// AuditEntryURL is one entry of the audit log.
func AuditEntryURL(tenant, id string) string { return auditPath(tenant, id) }

// AuditExportURL is the audit log as a file, of what the query selects.
func AuditExportURL(tenant, format string, q url.Values) string {
	out := firstPage(q)
	out.Set("format", format)
	return with(auditPath(tenant, "export"), out)
}

func auditPath(tenant string, parts ...string) string {
	if tenant == "" {
		return path(append([]string{"audit"}, parts...)...)
	}
	return path(append([]string{"t", tenant, "audit"}, parts...)...)
}

func keyPath(tenant string, parts ...string) string {
	if tenant == "" {
		return path(append([]string{"api-keys"}, parts...)...)
	}
	return path(append([]string{"t", tenant, "api-keys"}, parts...)...)
}

// with appends a query to an address.
func with(u string, q url.Values) string {
	if s := q.Encode(); s != "" {
		return u + "?" + s
	}
	return u
}

// AlertsURL and its like are the pages about alerts: of a tenant, or without one of the operators.
func AlertsURL(tenant string) string { return alertPath(tenant) }

// AlertURL is the page of an alert, or with tail an action on it: "acknowledge" or "mute".
func AlertURL(tenant, id string, tail ...string) string {
	return alertPath(tenant, append([]string{id}, tail...)...)
}

// RulesURL is the list of alert rules. NewRuleURL is the form for one, RuleURL the form of an existing one, or with tail
// "delete".
func RulesURL(tenant string) string   { return alertPath(tenant, "rules") }
func NewRuleURL(tenant string) string { return alertPath(tenant, "rules", "new") }
func RuleURL(tenant, id string, tail ...string) string {
	return alertPath(tenant, append([]string{"rules", id}, tail...)...)
}

// ChannelsURL is the list of channels. NewChannelURL is the form for one, ChannelURL the form of an existing one, or with
// tail an action on it: "test" or "delete".
func ChannelsURL(tenant string) string   { return alertPath(tenant, "channels") }
func NewChannelURL(tenant string) string { return alertPath(tenant, "channels", "new") }
func ChannelURL(tenant, id string, tail ...string) string {
	return alertPath(tenant, append([]string{"channels", id}, tail...)...)
}

// UnsubscribeURL is the page on which an address ends a channel's notices to it. The token is a part of a URL already.
func UnsubscribeURL(token string) string { return "/unsubscribe/" + token }

// PortalURL is the page that a portal link leads to.
func PortalURL(token string) string { return "/p/" + token }

// NotificationsURL is the log of what channels were told; NotificationURL one entry of it, or with tail "resend".
func NotificationsURL(tenant string) string { return alertPath(tenant, "notifications") }
func NotificationURL(tenant, id string, tail ...string) string {
	return alertPath(tenant, append([]string{"notifications", id}, tail...)...)
}

func alertPath(tenant string, parts ...string) string {
	return under(tenant, append([]string{"alerts"}, parts...)...)
}

// under is the address of a page of a tenant, or of the same page about the whole server.
func under(tenant string, parts ...string) string {
	if tenant == "" {
		return path(parts...)
	}
	return path(append([]string{"t", tenant}, parts...)...)
}

// missing says that a list is not whole.
func (p Page) missing() Flash {
	return Flash{Tone: ToneWarn, Text: "Tenants of these databases are not shown, for they do not answer: " + strings.Join(p.Missing, ", ") + "."}
}
