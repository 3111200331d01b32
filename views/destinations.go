package views

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/filter"
)

// Destinations is the list of a tenant's destinations. Query holds type, topics, state, q and sort, as in the address.
type Destinations struct {
	Page
	Query  url.Values
	List   []*models.Destination  // those of the page
	First  int                    // how many come before them
	Total  int                    // how many there are on all pages
	Day    map[int64]models.Rates // of the last 24 hours, by the destination's key
	Types  []*adapters.Registration
	Err    *models.Error
	Any    bool   // the tenant has destinations at all
	Echo   bool   // this build has the built-in Echo inbox
	Notice string // why it is not the page that was asked for; empty otherwise
}

// destinationOrders are the orders of the list of destinations, as its sort parameter has them.
var destinationOrders = []Option{{Value: "", Label: "Oldest first"}, {Value: "-created", Label: "Newest first"},
	{Value: "name", Label: "By name"}, {Value: "-name", Label: "By name, Z to A"},
	{Value: "state", Label: "Most failures"}, {Value: "-state", Label: "Fewest failures"}, {Value: "-success", Label: "Last success first"},
	{Value: "success", Label: "Last success last"}}

// pager leads through the list, whose cursors are ids: the rows after that of next, or before that of prev.
func (v Destinations) pager() Pager {
	p := Pager{Shown: len(v.List), What: "destination", Back: "Previous", On: "Next"}
	if len(v.List) == 0 || v.Total == len(v.List) {
		return p
	}
	c := Cursors{}
	p.All = count(v.First+1) + " to " + count(v.First+len(v.List)) + " of " + plural(v.Total, "destination")
	if v.First > 0 {
		p.Newer = c.url(DestinationsURL(v.Tenant), v.Query, "prev", v.List[0].ID)
	}
	if v.First+len(v.List) < v.Total {
		p.Older = c.url(DestinationsURL(v.Tenant), v.Query, "next", v.List[len(v.List)-1].ID)
	}
	return p
}

// lastSuccess is when an attempt of a destination succeeded last; nil when none did yet.
func lastSuccess(d *models.Destination) *time.Time {
	if d.Health == nil {
		return nil
	}
	return d.Health.LastSuccess
}

// okShare is the share of deliveries whose first attempt succeeded, in per cent.
func okShare(r models.Rates) string { return strconv.FormatFloat(r.DeliveredPercent(), 'f', 1, 64) }

func (v Destinations) form() Form { return Form{Values: v.Query, Err: v.Err} }

var stateOptions = []Option{{Value: "active", Label: "Active"}, {Value: "disabled", Label: "Disabled"}}

func typeOptions(types []*adapters.Registration) []Option {
	out := make([]Option, len(types))
	for i, r := range types {
		out[i] = Option{Value: r.Spec.Name, Label: r.Spec.Label}
	}
	return out
}

func (v Destinations) chips() []Chip {
	return chips[models.DestinationQuery](DestinationsURL(v.Tenant), v.Query, nil)
}

// sort is the header of a column that the list can be ordered by: sort=name or sort=-name.
func (v Destinations) sort(label, key string) SortLink {
	base := DestinationsURL(v.Tenant)
	switch v.Query.Get("sort") {
	case key:
		return SortLink{label, with(base, replaced(v.Query, "sort", "-"+key)), "ascending"}
	case "-" + key:
		return SortLink{label, with(base, replaced(v.Query, "sort", key)), "descending"}
	}
	return SortLink{label, with(base, replaced(v.Query, "sort", key)), ""}
}

// typeLabel is what people call a destination's type.
func typeLabel(d *models.Destination) string {
	if r := d.Registration(); r != nil {
		return r.Spec.Label
	}
	return d.Type
}

// typeIcon is the icon of a destination type. Icons are part of this program, each in its type's folder.
func typeIcon(r *adapters.Registration) templ.Component {
	if r == nil || r.Spec.Icon == "" {
		return Icon("waypoints", "size-5")
	}
	return templ.Raw(r.Spec.Icon)
}

func filterWord(d *models.Destination) string {
	if !HasFilter(d) {
		return "None"
	}
	f, err := filter.Parse(d.Filter)
	if err != nil || f.Notation() == filter.NotationExpression {
		return "Expression"
	}
	return plural(len(f.Rules()), "rule")
}

// targetText is where a destination's events go, in one line.
func targetText(d *models.Destination) string {
	label, _ := d.Target()
	return label
}

// Destination is a destination with the first of its pages, and the frame of the others.
type Destination struct {
	Page
	Destination *models.Destination
	Policy      models.RetryPolicy   // in force, completed by the server's defaults
	Timeout     time.Duration        // in force
	MaxInFlight int                  // in force
	Limits      models.AppliedLimits // of manual retries
	Held        int                  // deliveries that wait for it
	HeldMore    bool                 // Held was not counted to the end
	Recent      []*models.Delivery   // its last deliveries
	Health      Health
}

// hasSecret reports whether destinations of the type have a secret that their owner may see or replace.
func hasSecret(d *models.Destination) bool {
	r := d.Registration()
	if r == nil {
		return false
	}
	if r.Rotates() {
		return true
	}
	for _, f := range r.Spec.Credentials {
		if f.Shared {
			return true
		}
	}
	return false
}

// destinationTabs are the pages of one destination.
func destinationTabs(p Page, d *models.Destination, current string) []Tab {
	all := []struct{ label, tail string }{{"Overview", ""}, {"Deliveries", "deliveries"}, {"Filter", "filter"}}
	if hasSecret(d) && p.Viewer.Write {
		all = append(all, struct{ label, tail string }{"Secrets", "secrets"})
	}
	if p.Viewer.Write {
		all = append(all, struct{ label, tail string }{"Settings", "settings"})
	}
	all = append(all, struct{ label, tail string }{"Activity", "activity"})
	out := make([]Tab, len(all))
	for i, t := range all {
		u := DestinationURL(p.Tenant, d.ID)
		if t.tail != "" {
			u += "/" + t.tail
		}
		out[i] = Tab{t.label, u, t.tail == current}
	}
	return out
}

func (v Destination) facts() []Fact {
	d := v.Destination
	label, link := d.Target()
	facts := []Fact{
		{Label: "Type", Text: typeLabel(d)},
		{Label: "Target", Text: label, Mono: true, Copy: true, URL: webURL(link)},
		{Label: "Destination ID", Text: d.ID, Mono: true, Copy: true},
		{Label: "Topics", Value: topicList(d.Topics)},
		{Label: "Filter", Value: filterValue(d)},
		{Label: "Created", Time: d.CreatedAt},
		{Label: "Changed", Time: d.UpdatedAt},
	}
	if len(d.DeliveryMetadata) > 0 {
		facts = append(facts, Fact{Label: "Sent with every event", Value: FactList(pairs(d.DeliveryMetadata))})
	}
	if len(d.Metadata) > 0 {
		facts = append(facts, Fact{Label: "Notes", Value: FactList(pairs(d.Metadata))})
	}
	return facts
}

// webURL lets only addresses of web pages become links.
func webURL(u string) string {
	p, err := url.Parse(u)
	if err != nil || p.Scheme != "https" && p.Scheme != "http" {
		return ""
	}
	return u
}

// config lists the destination's own settings, with sensitive ones masked.
func (v Destination) config() []Fact {
	r := v.Destination.Registration()
	if r == nil {
		return nil
	}
	var out []Fact
	show := func(fields []adapters.Field, values map[string]string) {
		for _, f := range fields {
			if values[f.Key] != "" && !f.Hidden {
				out = append(out, Fact{Label: f.Label, Text: values[f.Key], Mono: true})
			}
		}
	}
	show(r.Spec.Config, v.Destination.MaskedConfig())
	show(r.Spec.Credentials, v.Destination.Masked(false))
	return out
}

// DestinationDeliveries is the list of a destination's deliveries. Query holds status, code, error_class, range, since,
// until, dir, limit, next and prev.
type DestinationDeliveries struct {
	Page
	Destination *models.Destination
	Query       url.Values
	List        *models.Page[*models.Delivery]
	Since       time.Time // where the range in force began; zero without one
	Err         *models.Error
}

func (v DestinationDeliveries) base() string {
	return DestinationURL(v.Tenant, v.Destination.ID, "deliveries")
}

// looksAt is what the list looks through for its deliveries.
func (v DestinationDeliveries) looksAt() string {
	if v.Query.Get("order_by") == models.SortLastAttempt {
		return "attempt"
	}
	return "event"
}

// retryAll is the plan of retrying everything that the list shows.
func (v DestinationDeliveries) retryAll() string {
	return retryAllURL[models.DeliveryQuery](v.Tenant, replaced(v.Query, "destination_id", v.Destination.ID), v.Since)
}

func (v DestinationDeliveries) chips() []Chip {
	return chips[models.DeliveryQuery](v.base(), v.Query, map[string][]Option{timeRange: Ranges})
}

func (v DestinationDeliveries) pager() Pager {
	p := newPager(v.base(), v.Query, len(v.List.Items), "delivery", CursorsOf(v.List, v.Since))
	if len(v.Query["status"]) == 0 {
		p.Note = "Events that its filter did not let pass are listed under “Filtered out”."
	}
	return p
}

func (v DestinationDeliveries) sorts() Sorts {
	return Sorts{Base: v.base(), Query: v.Query, Default: models.SortCreated}
}

// filterText is a filter as somebody would type it.
func filterText(d *models.Destination) string {
	if !HasFilter(d) {
		return ""
	}
	return filterInput(d.Filter)
}

// manualText says how often somebody may retry by hand.
func manualText(l models.AppliedLimits) string {
	text := "without limit"
	if l.PerDelivery.Most > 0 {
		text = plural(l.PerDelivery.Most, "time") + " a delivery"
	}
	if l.PerHour.Most > 0 {
		text += ", " + Deliveries(l.PerHour.Most) + " an hour"
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// note says what the list is of, where that is not plain.
func (v Destinations) note() string {
	if v.operators() {
		return "Where this server's own events go: alerts, attempts and changes of all tenants."
	}
	return ""
}

// nowhereText says what it means that there is no destination.
func (v Destinations) nowhereText() string {
	if v.operators() {
		return "Alerts, attempts and changes of all tenants are sent nowhere."
	}
	return "Events you publish have nowhere to go."
}

// under is the page with the destination's name for a heading, as all pages of one destination have it.
func (p Page) under(d *models.Destination) Page {
	p.Title, p.Crumbs = d.Title(), []Crumb{{Label: "Destinations", URL: DestinationsURL(p.Tenant)}}
	return p
}
