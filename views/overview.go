package views

import (
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
