package views

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// SortLink is a table's column by which its rows can be ordered.
type SortLink struct {
	Label string
	URL   string // of the list in this order, or reversed when it is in this order
	Dir   string // "ascending" or "descending" when the rows are in this order; empty otherwise
}

// Sorts are the columns by which a list can be ordered, in the parameters order_by and dir of its address.
type Sorts struct {
	Base    string // the list's address; empty for one that has one order
	Query   url.Values
	Default string // what it is ordered by when the address does not say
}

// by is what the list is ordered by.
func (s Sorts) by() string { return cmp.Or(s.Query.Get("order_by"), s.Default) }

// link is a column's header. first is the direction in which its rows are most useful: "asc" for words, "desc" for times and numbers.
func (s Sorts) link(label, by, first string) SortLink {
	l := SortLink{Label: label}
	dir := first
	if s.by() == by {
		l.Dir, dir = "descending", "asc"
		if s.Query.Get("dir") == "asc" {
			l.Dir, dir = "ascending", "desc"
		}
	}
	q := replaced(replaced(s.Query, "order_by"), "dir")
	if by != s.Default {
		q.Set("order_by", by)
	}
	if dir == "asc" {
		q.Set("dir", dir)
	}
	l.URL = with(s.Base, q)
	return l
}

// EventSorts and DeliverySorts are what lists can be ordered by, as choices.
var (
	EventSorts = []Option{{Value: "", Label: "Received"}, {Value: models.SortTime, Label: "Happened"},
		{Value: models.SortTopic, Label: "Topic"}, {Value: models.SortStatus, Label: "Status"},
		{Value: models.SortDestination, Label: "Destination"}, {Value: models.SortAttempts, Label: "Attempts"},
		{Value: models.SortLastAttempt, Label: "Last attempt"}}
	DeliverySorts = []Option{{Value: "", Label: "Received"}, {Value: models.SortTime, Label: "Happened"},
		{Value: models.SortTopic, Label: "Topic"}, {Value: models.SortStatus, Label: "Status"},
		{Value: models.SortAttempts, Label: "Attempts"}, {Value: models.SortLastAttempt, Label: "Last attempt"}}
	directions = []Option{{Value: "", Label: "Descending"}, {Value: "asc", Label: "Ascending"}}
)

// sortLabels are the choices of an order where nothing else says what they are.
func sortLabels(options []Option) []Option {
	out := slices.Clone(options)
	for i := range out {
		out[i].Label = "Sort by " + strings.ToLower(out[i].Label)
	}
	return out
}

// sortedText says how far an order reaches that is made within portions of a list; empty when it reaches over all of it.
func sortedText(s *models.Sorted, what string, q url.Values, sorts []Option) string {
	if s == nil || s.Complete {
		return ""
	}
	by := strings.ToLower(optionLabel(sorts, q.Get("order_by")))
	which := "newest"
	if q.Get("dir") == "asc" && (q.Get("order_by") == models.SortTime || q.Get("order_by") == models.SortLastAttempt) {
		which = "oldest"
	}
	return "Sorted by " + by + " within the " + which + " " + count(s.Within) + " " + what + " that match; the next " + count(s.Within) +
		" follow on later pages, sorted by themselves. Narrow the time range to sort all of them together."
}

// Chip is one condition of a filtered list.
type Chip struct {
	Label string // "Status: Failed"
	Time  string // RFC 3339; comes after the label, in the zone of the page; empty for a condition that is about no time
	URL   string // of the list without this condition
}

// View is a filter that is one click away.
type View struct {
	Label   string
	URL     string
	Current bool
	Count   string // what the page's script is told the number of rows by; empty for none
}

// Pager leads to the neighbours of a part of a list.
type Pager struct {
	Shown int    // rows on this page
	What  string // "event"
	Newer string // empty at the start
	Older string // empty at the end
	Note  string // what the end of the list means: "Events are kept for 30 days."
	All   string // says instead of Shown which part of the list is shown; empty when its length is not known
	Back  string // the words for the way to newer rows, "Newer" when empty, and to older ones
	On    string
}

func (p Pager) back() string { return cmp.Or(p.Back, "Newer") }

func (p Pager) on() string { return cmp.Or(p.On, "Older") }

// text says how much is shown and whether there is more. It never counts what was not read.
func (p Pager) text() string {
	if p.All != "" {
		return p.All
	}
	s := plural(p.Shown, p.What) + " shown"
	if p.Older != "" {
		return s + ", more available"
	}
	if p.Note != "" {
		return s + ". " + p.Note
	}
	return s
}

// without is a query less one value of one of its parameters, on the first page.
func without(q url.Values, key, value string) url.Values {
	out := firstPage(q)
	out[key] = slices.DeleteFunc(slices.Clone(q[key]), func(v string) bool { return v == value || value == "" })
	if len(out[key]) == 0 {
		delete(out, key)
	}
	return out
}

// replaced is a query with one parameter set anew, on the first page.
func replaced(q url.Values, key string, values ...string) url.Values {
	out := firstPage(q)
	delete(out, key)
	if len(values) > 0 {
		out[key] = values
	}
	return out
}

// firstPage is a query without the cursors, and without parameters that say nothing.
func firstPage(q url.Values) url.Values {
	out := url.Values{}
	for k, vs := range q {
		if k == "next" || k == "prev" {
			continue
		}
		if k == "since" && q.Get("range") != "" {
			continue // belongs to the cursor
		}
		vs = slices.DeleteFunc(slices.Clone(vs), func(v string) bool { return v == "" })
		if len(vs) > 0 {
			out[k] = vs
		}
	}
	return out
}

// Cursors are the ends of the part of a list that is shown.
type Cursors struct {
	Next, Prev string
	Asc        bool      // oldest first
	Sorted     bool      // in another order than by time: pages have no newer and older ones, but the one before and the next
	Since      time.Time // where a range relative to now began when the first page was read; zero for none
}

// CursorsOf are the cursors of a page of a list.
func CursorsOf[T any](p *models.Page[T], since time.Time) Cursors {
	return Cursors{p.Next, p.Prev, p.Dir == "asc", p.Sorted != nil, since}
}

// url is the list at a cursor; empty for none. A range that is relative to now takes its beginning along, so that the
// list does not move while somebody pages through it.
func (c Cursors) url(base string, q url.Values, key, cursor string) string {
	if cursor == "" {
		return ""
	}
	out := firstPage(q)
	out.Set(key, cursor)
	if out.Get("range") != "" && !c.Since.IsZero() {
		out.Set("since", c.Since.UTC().Format(time.RFC3339))
	}
	return with(base, out)
}

// newPager is the pager of a list of which shown rows are on the page.
func newPager(base string, q url.Values, shown int, what string, c Cursors) Pager {
	p := Pager{Shown: shown, What: what, Newer: c.url(base, q, "prev", c.Prev), Older: c.url(base, q, "next", c.Next)}
	if c.Sorted {
		p.Back, p.On = "Previous", "Next"
	} else if c.Asc {
		p.Newer, p.Older = c.url(base, q, "next", c.Next), c.url(base, q, "prev", c.Prev)
	}
	return p
}

// nothingText says why a list shows nothing: otherwise, unless it stopped looking before it had looked at everything.
func nothingText(looked *models.Looked, otherwise string) string {
	if looked != nil {
		return "None of those that were looked at matches these filters."
	}
	return otherwise
}
