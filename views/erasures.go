package views

import (
	"net/url"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// ErasuresURL is the list of a tenant's erasures.
func ErasuresURL(tenant string) string { return path("t", tenant, "erasures") }

// NewErasureURL is the form that asks for an erasure: of an event, or without one of what is chosen there.
func NewErasureURL(tenant, event string) string {
	u := path("t", tenant, "erasures", "new")
	if event != "" {
		u = with(u, url.Values{"event_id": {event}})
	}
	return u
}

// ErasureURL is the page of an erasure.
func ErasureURL(tenant, id string) string { return path("t", tenant, "erasures", id) }

// Erasures lists what of a tenant was erased.
type Erasures struct {
	Page
	Query url.Values // limit, next and prev
	List  *models.Page[*models.Erasure]
	Err   *models.Error
}

func (v Erasures) pager() Pager {
	return newPager(ErasuresURL(v.Tenant), v.Query, len(v.List.Items), "erasure", CursorsOf(v.List, time.Time{}))
}

// NewErasure is the form that asks for an erasure. Its fields are event_id, what, since, until, topic, q and why.
type NewErasure struct {
	Page
	Form  Form
	Event string // the event that is to be erased; empty for what is chosen

	Plan    *models.ErasurePlan // what was counted; nil before
	Confirm string              // what the button that erases sends, so that only what was counted is erased
}

// planned says how much would be erased.
func (v NewErasure) planned() string {
	switch n := plurals(v.Plan.Count, "event", "events"); {
	case v.Plan.More:
		return "At least " + n + " will be erased."
	case v.Plan.Count == 0:
		return "Nothing would be erased."
	default:
		return n + " will be erased."
	}
}

// planNote says what was counted.
func (v NewErasure) planNote() string {
	looked := "Of " + plurals(v.Plan.Looked, "event of the tenant that was", "events of the tenant that were") + " looked at."
	switch {
	case v.Plan.More:
		return looked + " There are more than can be counted in three seconds; they are looked at when the erasure runs."
	case v.Plan.Scope == models.ErasureOfTenant:
		return looked + " What is received until you confirm is erased, too."
	case v.Plan.Count == 0:
		return looked + " None meets the conditions and is not erased yet."
	}
	return looked + " What is received from now on is not erased."
}

func (v NewErasure) confirmLabel() string {
	if v.Plan.More {
		return "Erase all that match"
	}
	return "Erase " + plurals(v.Plan.Count, "event", "events")
}

var erasureLabels = []Label{{"event_id", "Event"}, {"what", "What"}, {"filter", "What"}, {"since", "Received from"},
	{"until", "Received before"}, {"topic", "Topics"}, {"q", "Search"}, {"why", "Why"}}

var erasureChoices = []Option{{Value: "filter", Label: "Events that meet the conditions below"},
	{Value: "all", Label: "Everything that the tenant has until now"}}

// Erasure is an erasure under way, or what became of it.
type Erasure struct {
	Page
	*models.Erasure
}

func (v Erasure) self() string { return ErasureURL(v.Tenant, v.ID()) }

func (v Erasure) total() int {
	if v.Total == nil {
		return 0
	}
	return *v.Total
}

// progress is how far it has come, in a sentence.
func (v Erasure) progress() string {
	said := plurals(v.Erased, "event", "events") + " erased, with the receipts of " + plurals(v.Attempts, "attempt", "attempts") + "."
	if v.Cancelled > 0 {
		said += " " + plurals(v.Cancelled, "delivery was", "deliveries were") + " cancelled."
	}
	return said
}

// note says what it waits for; empty for nothing.
func (v Erasure) note() string {
	switch {
	case v.FinishedAt != nil:
		return ""
	case v.Waits():
		return "Attempts that were under way end first; what they record is erased after them."
	case v.Total == nil:
		return "The events are being counted."
	}
	return count(v.Looked) + " of " + plurals(v.total(), "event", "events") + " looked at."
}

func erasureLook(e *models.Erasure) Look {
	if e.FinishedAt != nil {
		return Look{ToneOK, "check", "Done"}
	}
	return Look{ToneInfo, "rotate-ccw", "Running"}
}

// erasureOf says in words what an erasure was asked for.
func erasureOf(e *models.Erasure) string {
	switch e.Scope {
	case models.ErasureOfEvent:
		return "One event"
	case models.ErasureOfTenant:
		return "Everything of the tenant"
	}
	return "What a filter chose"
}

func (v Erasure) facts() []Fact {
	facts := []Fact{{Label: "What", Text: erasureOf(v.Erasure)}}
	if v.EventID != "" {
		facts = append(facts, Fact{Label: "Event ID", Text: v.EventID, Mono: true, Copy: true})
	}
	f := v.Filter
	if f.Since != nil {
		facts = append(facts, Fact{Label: "Received from", Time: *f.Since})
	}
	if f.Until != nil && v.Scope != models.ErasureOfEvent {
		facts = append(facts, Fact{Label: "Received before", Time: *f.Until})
	}
	for _, topic := range f.Topics {
		facts = append(facts, Fact{Label: "Topic", Text: topic, Mono: true})
	}
	if f.Text != "" {
		facts = append(facts, Fact{Label: "Search", Text: f.Text, Mono: true})
	}
	facts = append(facts, Fact{Label: "Asked for by", Text: v.Actor})
	if v.Why != "" {
		facts = append(facts, Fact{Label: "Why", Text: v.Why})
	}
	facts = append(facts, Fact{Label: "Started", Time: v.CreatedAt})
	if v.FinishedAt != nil {
		facts = append(facts, Fact{Label: "Finished", Time: *v.FinishedAt})
	}
	return append(facts, Fact{Label: "Erasure ID", Text: v.ID(), Mono: true, Copy: true})
}

// back is where the form leads when nothing is erased.
func (v NewErasure) back() string {
	if v.Event != "" {
		return EventURL(v.Tenant, v.Event)
	}
	return ErasuresURL(v.Tenant)
}
