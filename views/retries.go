package views

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// RetriesURL is the list of bulk retries. NewRetryURL is the plan of one, RetryURL the page of one, or with tail an action
// on it: "pause", "resume" or "cancel".
func RetriesURL(tenant string) string { return path("t", tenant, "retries") }

// NewRetryURL takes the conditions of the API's filter.
func NewRetryURL(tenant string, q url.Values) string {
	return with(path("t", tenant, "retries", "new"), q)
}

// RetryURL is the page of a bulk retry.
func RetryURL(tenant, id string, tail ...string) string {
	return path(append([]string{"t", tenant, "retries", id}, tail...)...)
}

// retryConditions are the parameters of lists that a bulk retry understands, too.
var retryConditions = []string{"status", "destination_id", "topic", "code", "error_class", "since", "until"}

// retryAllURL is the plan of retrying everything that a list shows, on all of its pages; empty when a bulk retry cannot
// choose the same. since is where a range relative to now begins. Q is the list's query struct.
func retryAllURL[Q any](tenant string, q url.Values, since time.Time) string {
	for _, f := range models.FiltersOf[Q]() {
		if q.Get(f.Name) != "" && !slices.Contains(retryConditions, f.Name) {
			return ""
		}
	}
	return NewRetryURL(tenant, retryQuery(q, since))
}

func retryQuery(q url.Values, since time.Time) url.Values {
	out := url.Values{}
	for _, name := range retryConditions {
		for _, v := range q[name] {
			if v != "" && (name != "status" || slices.Contains(models.Retryable, v)) {
				out.Add(name, v)
			}
		}
	}
	if !since.IsZero() {
		out.Set("since", since.UTC().Format(time.RFC3339))
	}
	return out
}

// selectionQuery are the conditions that go with rows that were selected, as hidden fields of their form.
func selectionQuery(q url.Values) []Label {
	var out []Label
	for _, name := range []string{"status", "destination_id", "code", "error_class"} {
		for _, v := range retryQuery(q, time.Time{})[name] {
			out = append(out, Label{name, v})
		}
	}
	return out
}

// bulkLooks are the words for the states of a bulk retry.
var bulkLooks = map[string]Look{
	models.BulkRunning:   {ToneInfo, "rotate-ccw", "Running"},
	models.BulkPaused:    {ToneHold, "pause", "Paused"},
	models.BulkDone:      {ToneOK, "check", "Done"},
	models.BulkCancelled: {ToneMute, "ban", "Cancelled"},
}

func bulkLook(b *models.BulkRetry) Look {
	l := bulkLooks[b.Status]
	if b.Status == models.BulkDone && b.Failed > 0 {
		return Look{ToneWarn, "triangle-alert", "Done, some failed again"}
	}
	return l
}

// Retries lists the bulk retries of a tenant.
type Retries struct {
	Page
	Query url.Values // status, next and prev
	List  *models.Page[*models.BulkRetry]
	Err   *models.Error
}

func (v Retries) pager() Pager {
	return newPager(RetriesURL(v.Tenant), v.Query, len(v.List.Items), "bulk retry", CursorsOf(v.List, time.Time{}))
}

func (v Retries) views() []View {
	base, status := RetriesURL(v.Tenant), v.Query.Get("status")
	out := []View{{Label: "All", URL: base, Current: status == ""}}
	for _, s := range models.BulkStatuses {
		out = append(out, View{Label: bulkLooks[s].Word, URL: with(base, replaced(v.Query, "status", s)), Current: status == s})
	}
	return out
}

// NewRetry is the plan of a bulk retry, before it is started.
type NewRetry struct {
	Page
	Form         Form             // the conditions, and the rate
	Plan         *models.BulkPlan // nil when the conditions were refused
	Destinations []Option
	Topics       []string
	Hidden       []Label // the frozen conditions that starting sends
	Key          string  // tells a form that is sent twice
}

var newRetryLabels = []Label{{"status", "Status"}, {"destination_id", "Destination"}, {"topic", "Topic"},
	{"error_class", "Kind of the last error"},
	{"code", "Last response code"}, {"since", "Received from"}, {"until", "Received before"}, {"rate", "Rate limit (per second)"},
	{"filter", "The choice"}}

// rates are the choices of how fast.
var rateOptions = []Option{
	{Value: strconv.Itoa(models.DefaultBulkRate), Label: "Normal: up to 1,000 a second",
		Hint: "A destination's own rate limit and concurrency hold as ever."},
	{Value: "100", Label: "Slow: up to 100 a second"},
	{Value: "10", Label: "Very slow: up to 10 a second", Hint: "For a receiver that has just come back."},
}

// retryStatusOptions are the states that can be retried, as choices.
func retryStatusOptions() []Option {
	var out []Option
	for _, s := range models.Retryable {
		out = append(out, Option{Value: s, Label: statusLook(s).Word})
	}
	return out
}

// selected is how many rows were selected one by one.
func (v NewRetry) selected() int {
	return len(v.Form.Values["delivery_ids"]) + len(v.Form.Values["event_id"])
}

func (v NewRetry) what() string {
	p := v.Plan
	switch {
	case p.More:
		return fmt.Sprintf("More than %s deliveries are chosen, which is the limit for one bulk retry. Narrow the choice, by time for instance.", count(p.Limits.PerBulk.Most))
	case p.Total() == 0:
		return "No delivery is chosen. Change the choice below."
	case p.Count == 0:
		return "None of the " + plurals(p.Total(), "delivery", "deliveries") + " chosen can be retried now."
	case len(p.Skipped) > 0:
		return fmt.Sprintf("%s would be retried, %s skipped.", plurals(p.Count, "delivery", "deliveries"), count(p.Total()-p.Count))
	}
	return plurals(p.Count, "delivery", "deliveries") + " would be retried."
}

// choice says in words what was chosen, with absolute times.
func choice(f models.RetryFilter, destinations []Option) []Fact {
	var facts []Fact
	add := func(label string, values []string, word func(string) string) {
		if len(values) > 0 {
			words := make([]string, len(values))
			for i, v := range values {
				words[i] = word(v)
			}
			facts = append(facts, Fact{Label: label, Text: strings.Join(words, ", ")})
		}
	}
	same := func(s string) string { return s }
	if n := len(f.Deliveries); n > 0 {
		facts = append(facts, Fact{Label: "Deliveries", Text: plurals(n, "selected delivery", "selected deliveries")})
	}
	if n := len(f.Events); n > 0 {
		facts = append(facts, Fact{Label: "Events", Text: plural(n, "selected event")})
	}
	add("Status before", f.Statuses, func(s string) string { return statusLook(s).Word })
	add("Destination", f.Destinations, func(s string) string { return optionLabel(destinations, s) })
	add("Topic", f.Topics, same)
	add("Last error", f.ErrorClasses, className)
	codes := make([]string, len(f.Codes))
	for i, c := range f.Codes {
		codes[i] = className(string(c))
	}
	add("Last response code", codes, same)
	if f.Since != nil {
		facts = append(facts, Fact{Label: "Received from", Time: *f.Since})
	}
	if f.Until != nil {
		facts = append(facts, Fact{Label: "Received before", Time: *f.Until})
	}
	return facts
}

// shareName is how a part of a plan is called.
func shareName(s models.Share, names []Option, none string) string {
	if s.Key == "" {
		return none
	}
	return optionLabel(names, s.Key)
}

const shownShares = 10

// shownOf are the first of the parts, and what the others make together.
func shownOf(list []models.Share) (shown []models.Share, others int) {
	for i, s := range list {
		if i < shownShares {
			shown = append(shown, s)
		} else {
			others += s.Count
		}
	}
	return shown, others
}

func skipLine(s models.Skip) string {
	return plurals(s.Count, "delivery", "deliveries") + ": " + models.SkipWords[s.Reason]
}

// plurals counts things whose plural is not the singular with an s.
func plurals(n int, one, many string) string {
	return count(n) + " " + wordOf(n, one, many)
}

// wordOf is the word for so many.
func wordOf(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Retry is a bulk retry under way, or what became of it.
type Retry struct {
	Page
	*models.BulkRetry
	Destinations []Option
	Failures     []*models.Attempt // some of those that failed again, newest first
	Now          time.Time
}

func (v Retry) self() string { return RetryURL(v.Tenant, v.ID()) }

func (v Retry) done() int { return v.Delivered + v.BulkRetry.Failed + v.Skipped() }

// progress is how far it has come, in a sentence.
func (v Retry) progress() string {
	parts := []string{count(v.Delivered) + " delivered", count(v.BulkRetry.Failed) + " failed again"}
	if n := v.Skipped(); n > 0 {
		parts = append(parts, count(n)+" skipped")
	}
	text := fmt.Sprintf("%s of %s done: %s", count(v.done()), count(v.Total), strings.Join(parts, ", "))
	if n := v.Waiting(); n > 0 {
		text += "; " + count(n) + " on their way"
	}
	if n := v.Remaining(); n > 0 && v.Status == models.BulkCancelled {
		text += "; " + count(n) + " not retried"
	}
	if left := v.left(); left > 0 {
		text += "; about " + span(left) + " left"
	}
	return text + "."
}

// left is about how long it still takes; 0 when that cannot be told.
func (v Retry) left() time.Duration {
	done, since := v.done(), v.Now.Sub(v.CreatedAt)
	if v.Status != models.BulkRunning || v.Final() || done == 0 || since < 2*time.Second || v.ChangedBy != "" {
		return 0
	}
	return max(time.Duration(float64(since)/float64(done)*float64(v.Total-done)), time.Second)
}

// note says why it does not go on for now.
func (v Retry) note() string {
	switch {
	case v.Status == models.BulkPaused && v.Waiting() > 0:
		return "Paused by " + v.ChangedBy + ". What is queued already still goes out."
	case v.Status == models.BulkPaused:
		return "Paused by " + v.ChangedBy + ". Nothing more goes out until it is resumed."
	case v.Status == models.BulkCancelled && !v.Final():
		return "Cancelled by " + v.ChangedBy + ". What was under way ends; the others go back to the state they had."
	case v.Status == models.BulkCancelled:
		return "Cancelled by " + v.ChangedBy + ". What was done stays done."
	case v.Note == "hourly_limit":
		return "The limit of manual retries in an hour is reached (MANUAL_RETRIES_PER_HOUR). It goes on by itself as the hour passes."
	}
	return ""
}

func (v Retry) facts() []Fact {
	facts := []Fact{{Label: "Started by", Text: v.Actor}, {Label: "Started", Time: v.CreatedAt}}
	if v.FinishedAt != nil {
		facts = append(facts, Fact{Label: "Finished", Time: *v.FinishedAt})
	}
	facts = append(facts, Fact{Label: "Speed", Text: "Up to " + count(v.Rate) + " a second"},
		Fact{Label: "Bulk retry ID", Text: v.ID(), Mono: true, Copy: true})
	return append(facts, choice(v.Filter, v.Destinations)...)
}

// again is the plan of retrying what the same choice finds failed by now.
func (v Retry) again() string {
	q := url.Values{"status": {models.StatusFailed}, "destination_id": v.Filter.Destinations, "topic": v.Filter.Topics,
		"event_id": v.Filter.Events}
	if v.Filter.Since != nil {
		q.Set("since", v.Filter.Since.Format(time.RFC3339Nano))
	}
	if v.Filter.Until != nil {
		q.Set("until", v.Filter.Until.Format(time.RFC3339Nano))
	}
	if len(v.Filter.Deliveries) > 0 {
		q = url.Values{"delivery_ids": v.Filter.Deliveries}
	}
	return NewRetryURL(v.Tenant, q)
}

// mayPause reports whether there is something left that can be paused.
func (v Retry) mayPause() bool { return v.Status == models.BulkRunning && !v.Walked() }

// mayCancel reports whether cancelling changes anything.
func (v Retry) mayCancel() bool {
	return !v.Final() && (v.Status == models.BulkRunning || v.Status == models.BulkPaused)
}

// moves reports whether the page will soon show something else.
func (v Retry) moves() bool {
	return !v.Final() && (v.Status != models.BulkPaused || v.Waiting() > 0)
}
