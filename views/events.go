package views

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// Events is the list of a tenant's events, or without a tenant of all. Query holds the list's state as it is in the address: q,
// range or since and until, status, destination_id, topic, code, error_class, dir, limit, next and prev, and tenant_id in the list
// of all. They are the API's parameters, but for range, which is relative to now.
type Events struct {
	Page
	Query        url.Values
	List         *models.Page[*models.Event]
	Err          *models.Error // the list could not be read, or a condition was refused
	Destinations []Option      // of the tenant, by id; none in the list of all tenants
	Tenants      []Option      // whose events are listed, by id, in the list of all tenants: those that the address names
	Topics       []string      // of the catalogue, as suggestions
	Retention    time.Duration
	Since        time.Time              // where the range in force began; zero without one
	Notice       string                 // about the address: a cursor that fits no more, an unknown parameter
	Any          bool                   // the tenant has events at all
	Histogram    *models.EventHistogram // nil where there is none for these conditions
	Views        []*models.SavedView
	Beside       *Inspector // the event that is shown beside the list; nil for none
	Spread       bool       // it is put together of several databases: nobody follows, counts or exports those
}

// Ranges are the spans of time that a list can be limited to.
var Ranges = []Option{
	{Value: "", Label: "All times"}, {Value: "1h", Label: "Last hour"}, {Value: "24h", Label: "Last 24 hours"},
	{Value: "7d", Label: "Last 7 days"}, {Value: "30d", Label: "Last 30 days"},
}

// RangeName is a range within a sentence: "the last 24 hours".
func RangeName(value string) string { return "the " + strings.ToLower(optionLabel(Ranges, value)) }

func optionLabel(options []Option, value string) string {
	for _, o := range options {
		if o.Value == value {
			return o.Label
		}
	}
	return value
}

func (v Events) chips() []Chip {
	list := chips[models.EventQuery](EventsURL(v.Tenant), v.Query, map[string][]Option{timeRange: Ranges, "destination": v.Destinations})
	if !v.all() {
		return list
	}
	for _, id := range v.Query["tenant_id"] {
		if id != "" {
			list = append(list, Chip{"Tenant: " + optionLabel(v.Tenants, id), "", with(EventsURL(""), without(v.Query, "tenant_id", id))})
		}
	}
	return list
}

// all reports whether the list is of all tenants: then rows name theirs, and what belongs to one tenant is left out.
func (v Events) all() bool { return v.Tenant == "" }

// labels name the parameters of the list, where one is refused.
func (v Events) labels() []Label {
	return append(filterLabels[models.EventQuery](), Label{"tenant_id", "Tenant"})
}

func (v Events) pager() Pager {
	p := newPager(EventsURL(v.Tenant), v.Query, len(v.List.Items), "event", CursorsOf(v.List, v.Since))
	p.Note = "Events are kept for " + span(v.Retention) + "."
	return p
}

// sorts are the orders of the list. A search is read in the order of receipt.
func (v Events) sorts() Sorts {
	s := Sorts{Base: EventsURL(v.Tenant), Query: v.Query, Default: models.SortReceived}
	if v.List != nil && v.List.Searched != nil {
		s.Base = ""
	}
	return s
}

// narrowed reports whether a condition was refused whose control is folded away.
func (v Events) narrowed() bool { return narrowed[models.EventQuery](v.Err, "q") }

// Event is one event with everything that became of it.
type Event struct {
	Page
	models.Considered
	Attempts []*models.Attempt // of all deliveries, newest first
	Raw      bool              // the payload is shown byte for byte
	Publish  APICall           // the call that would publish it again
}

// payloadTooBig reports whether the payload is left out of the page.
func (v Event) payloadTooBig() bool { return len(v.Considered.Event.Data) > MaxInline }

func (v Event) self() string { return EventURL(v.Tenant, v.Considered.Event.ID) }

func (v Event) facts() []Fact {
	e := v.Considered.Event
	facts := []Fact{
		{Label: "Event ID", Text: e.ID, Mono: true, Copy: true},
		{Label: "Topic", Text: e.Topic, Mono: true},
		{Label: "Received", Time: e.Received},
	}
	if !e.Time.Equal(e.Received) {
		facts = append(facts, Fact{Label: "Happened", Time: e.Time})
	}
	if !e.Retry {
		facts = append(facts, Fact{Label: "Retries", Text: "Not eligible: one attempt for each destination"})
	}
	if e.ErasedAt != nil {
		return append(facts, Fact{Label: "Erased", Time: *e.ErasedAt})
	}
	return append(facts, Fact{Label: "Size", Text: size(len(e.Data))})
}

// destination names an attempt's destination.
func (v Event) destination(a *models.Attempt) string {
	for _, d := range v.Deliveries {
		if d.DestinationID == a.DestinationID {
			return destinationTitle(d)
		}
	}
	return a.DestinationID
}

// summary is what became of the event, in a sentence.
func (v Event) summary() string {
	l := rollup(v.Considered.Event.Counts)
	if v.Considered.Event.Counts.Total() == 0 {
		return "No destination matched this event."
	}
	return l.Word + "."
}

func pairs(m map[string]string) []Fact {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]Fact, len(keys))
	for i, k := range keys {
		out[i] = Fact{Label: k, Text: m[k], Mono: true}
	}
	return out
}

// answerText is the outcome of an attempt in short: the status, or the kind of error.
func answerText(a *models.Attempt) string {
	var parts []string
	if a.Code != 0 {
		parts = append(parts, strconv.Itoa(a.Code))
	}
	if a.ErrorClass != "" {
		parts = append(parts, className(a.ErrorClass))
	}
	return strings.Join(parts, " · ")
}

// form is the list's state for the controls of its filter. Several topics, or tenants, share one control, separated by commas.
func (v Events) form() Form {
	f := Form{Values: map[string][]string{}, Err: v.Err}
	for name, values := range v.Query {
		f.Values[name] = values
	}
	for _, several := range []string{"topic", "tenant_id"} {
		f.Values[several] = []string{strings.Join(v.Query[several], ", ")}
	}
	return f
}

// withAny puts "any" before the options, and keeps a value of the address that is none of them.
func withAny(options []Option, values []string) []Option {
	out := []Option{{Label: "Any"}}
	out = append(out, options...)
	for _, v := range values {
		if v != "" && !slices.ContainsFunc(options, func(o Option) bool { return o.Value == v }) {
			out = append(out, Option{Value: v, Label: v})
		}
	}
	return out
}

// filterable are the destinations whose filters can be tried on the event: those that are not deleted.
func (v Event) filterable() []*models.Destination {
	var out []*models.Destination
	for _, d := range v.Deliveries {
		if d.Destination != nil && d.Destination.DeletedAt == nil {
			out = append(out, d.Destination)
		}
	}
	for _, s := range v.Skipped {
		out = append(out, s.Destination)
	}
	return out
}

// searchedText says how far a search got: which events were looked at, and whether there are others.
func (v Events) searchedText() string {
	s := v.List.Searched
	which := ""
	switch r := v.Query.Get("range"); {
	case r != "":
		which = " of the " + strings.ToLower(optionLabel(Ranges, r))
	case v.Query.Get("since") != "" || v.Query.Get("until") != "":
		which = " of the chosen time"
	}
	order := "newest first"
	if v.List.Dir == "asc" {
		order = "oldest first"
	}
	text := "Searched " + plural(s.Events, "event") + which + "."
	switch {
	case s.Stopped:
		text = "Stopped after " + plural(s.Events, "event") + "; " + order + ". Narrow the time range, or go on with the next ones."
	case !s.Complete:
		text = "There are more matches on the next page; searched " + order + which + "."
	case v.Query.Get("next") != "" || v.Query.Get("prev") != "":
		text = "Searched the last " + plural(s.Events, "event") + which + "."
	}
	if s.Note != "" && s.As == models.SearchFilter {
		text += " " + s.Note
	} else if s.Note != "" {
		text += " This was looked for as a text, since " + ended(s.Note)
	}
	return text
}

// nothingText says what to do when no event matches.
func (v Events) nothingText() string {
	if v.List.Searched != nil && v.List.Searched.Stopped {
		return "None of those that were searched."
	}
	if len(v.List.Missing) > 0 {
		return "The databases that answer have none."
	}
	return "Remove a filter above, or choose a longer time."
}

// nextURL is the list's next page.
func (v Events) nextURL() string {
	return CursorsOf(v.List, v.Since).url(EventsURL(v.Tenant), v.Query, "next", v.List.Next)
}

// noneText says how the first event comes about.
func (v Events) noneText() string {
	if v.all() {
		return "Nothing was published yet: POST /api/v1/publish, or send a test event to a destination."
	}
	if v.operators() {
		return "The server writes one when something happens that a destination takes. Or send a test event to a destination."
	}
	return "Publish one with POST /api/v1/publish, or send a test event to a destination."
}
