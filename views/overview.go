package views

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// Overview is what a tenant's pages start with.
type Overview struct {
	Page
	Steps     *Onboarding // nil when the tenant is past its first steps
	Attention []Attention
	Numbers   []Number
	Failures  []*models.Delivery // the last ones, with their Destination
	Period    string             // that Numbers and Failures are about: "the last 24 hours"
	Range     string             // the same as a parameter: "24h"
	More      int                // destinations that need attention and are not in Attention
	Told      bool               // there is a channel that would tell somebody
	Chart     *Chart             // nil when it could not be read in time
	Before    models.Rates       // of the time of the same length before Period
	Breakdown []Breakdown        // what failed, by what
}

// Breakdown is a part of what failed, by one of its properties.
type Breakdown struct {
	Title string
	Param string // of the list of events that chooses by it
	Parts []models.Share
	Names []Option
	None  string // the word for none
}

// breakdownURL is the list of events behind a part of a breakdown; empty when no filter chooses it.
func (v Overview) breakdownURL(b Breakdown, key string) string {
	if key == "" {
		return ""
	}
	return with(EventsURL(v.Tenant), url.Values{"status": {models.StatusFailed}, "range": {v.Range}, b.Param: {key}})
}

// ranges are the links to other periods.
func (v Overview) ranges() []View {
	var out []View
	for _, o := range Ranges[1:] {
		out = append(out, View{Label: o.Label, URL: with(OverviewURL(v.Tenant), url.Values{"range": {o.Value}}),
			Current: o.Value == v.Range})
	}
	return out
}

// firstTry says how many deliveries arrived with their first attempt, and how that was before.
func (v Overview) firstTry() string {
	r := models.Sum(v.Chart.History)
	if r.Deliveries == 0 {
		return "No delivery was begun in " + v.Period + "."
	}
	text := fmt.Sprintf("%.1f %% of %s arrived with the first attempt", r.DeliveredPercent(), Deliveries(r.Deliveries))
	if v.Before.Deliveries > 0 {
		text += fmt.Sprintf("; it was %.1f %% of %s in the time of the same length before", v.Before.DeliveredPercent(),
			count(v.Before.Deliveries))
	}
	return text + "."
}

// Attention is a destination that somebody should look at.
type Attention struct {
	Destination *models.Destination
	Held        int  // deliveries that wait for it
	More        bool // Held was not counted to the end
	Failed      int  // deliveries that failed for good in the period
	Alerts      int  // open ones about it
	LastError   string
}

// Number is one figure with the list behind it.
type Number struct {
	Label string
	Value int
	More  bool // Value was not counted to the end
	URL   string
	Tone  Tone
	Icon  string
}

// Onboarding are the first steps of a tenant. Each is done when the server's data say so.
type Onboarding struct {
	Destinations int
	EventID      string // of the newest event; empty for none
	EventURL     string
	Delivered    bool
	Channels     int
	First        *models.Destination // to send a test event to; nil for none
	Echo         bool                // this build has the built-in Echo inbox
	Publish      APICall             // the call that publishes a first event
}

// step is one line of the checklist.
type step struct {
	done        bool
	title, text string
}

func (o Onboarding) steps() []step {
	return []step{
		{o.Destinations > 0, "Create a destination", "Where the tenant's events go: a URL, a queue, a topic."},
		{o.EventID != "", "Send a test event", "From here, or with the API from your own code."},
		{o.Delivered, "See it delivered", "The event's page shows every attempt, with request and response."},
		{o.Channels > 0, "Add an alert channel", "Somebody is told when deliveries fail: by mail, Slack, PagerDuty, SMS or webhook."},
	}
}

// done counts the steps that are done.
func (o Onboarding) done() (n int) {
	for _, s := range o.steps() {
		if s.done {
			n++
		}
	}
	return n
}

// current is the index of the first step that is not done.
func (o Onboarding) current() int {
	for i, s := range o.steps() {
		if !s.done {
			return i
		}
	}
	return -1
}

// waiting reports whether an event is on its way that nobody has seen delivered.
func (o Onboarding) waiting() bool { return o.EventID != "" && !o.Delivered }

// partOf is a count's share of the greatest of a breakdown, in per cent.
func partOf(n int, list []models.Share) string {
	most := 1
	for _, s := range list {
		most = max(most, s.Count)
	}
	return strconv.Itoa(100 * n / most)
}

// figure is a number that may not have been counted to the end.
func figure(n int, more bool) string {
	if more {
		return count(n) + "+"
	}
	return count(n)
}

// sinceText says since when a destination has been disabled.
func sinceText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " on " + t.UTC().Format("2 January 2006 at 15:04") + " UTC"
}
