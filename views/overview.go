package views

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/alertrule"
)

// Overview is what a tenant's pages start with: what is wrong, then numbers, then their shape, then detail.
type Overview struct {
	Page
	Steps        *Onboarding // nil when the tenant is past its first steps, or does not want to see them
	Now          *models.Overview
	Incidents    *models.Incidents
	Destinations int  // of the tenant
	Told         bool // there is a channel that would tell somebody
	Busy         []*models.Busy
	Failures     *models.Failures // nil when they could not be read in time
	At           time.Time
}

// incidentsShown is how many incidents the overview shows, and groupsShown how many groups of failures.
const (
	incidentsShown = 5
	groupsShown    = 6
)

// stepsLast reports whether the first steps make room for what needs attention.
func (v Overview) stepsLast() bool {
	return v.Steps.Delivered && v.Incidents != nil && v.Incidents.Total > 0
}

// period is the range in a sentence: "the last 24 hours".
func (v Overview) period() string { return RangeName(v.Now.Range) }

// ranges are the links to other ranges.
func (v Overview) ranges() []View {
	var out []View
	for _, r := range models.OverviewRanges {
		out = append(out, View{Label: r, URL: with(OverviewURL(v.Tenant), url.Values{"range": {r}}), Current: r == v.Now.Range})
	}
	return out
}

// incidents are the ones that are shown; when one more would fit there is no line for the rest.
func (v Overview) incidents() []*models.Incident {
	return v.Incidents.Items[:min(len(v.Incidents.Items), incidentsShown)]
}

// trouble counts the incidents: "4 failing, 2 disabled of 14 destinations".
func (v Overview) trouble() string {
	s := v.Incidents.States
	off := s[models.IncidentDisabled] + s[models.IncidentDisabledByServer]
	text := ""
	if n := s[models.IncidentFailing]; n > 0 {
		text = count(n) + " failing"
	}
	if off > 0 {
		if text != "" {
			text += ", "
		}
		text += count(off) + " disabled"
	}
	return text + " of " + plural(v.Destinations, "destination")
}

// well reports whether nothing needs attention and nothing waits.
func (v Overview) well() bool {
	return v.Incidents.Total == 0 && v.Now.Sum.Failed == 0 && waits(v.Now.Retrying) == 0 && waits(v.Now.Held) == 0
}

func waits(n *int) int {
	if n == nil {
		return 1
	}
	return *n
}

func incidentLook(x *models.Incident) Look {
	if x.State == models.IncidentFailing {
		return Look{ToneBad, "", "Failing"}
	}
	return Look{ToneHold, "", "Disabled"}
}

// incidentCause is why, in a sentence that fits a line. whole adds since when, which has a column of its own there.
func incidentCause(x *models.Incident, now time.Time, whole bool) string {
	switch x.State {
	case models.IncidentDisabled:
		by := x.Destination.DisabledBy
		if x.Cause == "" {
			return "By " + by
		}
		return "By " + by + ": " + x.Cause
	case models.IncidentDisabledByServer:
		return x.Cause
	}
	streak := alertrule.Streak{Failures: x.Failures, Limit: x.Limit, Least: x.Least}
	if whole {
		streak.Since = &x.Since
	}
	if x.Cause == "" {
		return streak.Sentence(now)
	}
	return ended(x.Cause) + " " + streak.Sentence(now)
}

// incidentWaits says how many deliveries wait because of it.
func incidentWaits(x *models.Incident) string {
	switch {
	case x.Held > 0:
		return count(x.Held) + " held"
	case x.Retrying > 0:
		return count(x.Retrying) + " retrying"
	}
	return "None waiting"
}

// sinceShort is a time of the past in a line: "since 16:42", or with the date when that was another day.
func (z Zone) sinceShort(t, now time.Time) string {
	if z.sameDay(t, now) {
		return "since " + z.in(t).Format("15:04")
	}
	return "since " + z.in(t).Format("2 Jan 15:04")
}

// metric is a figure with the one of the range before, and the list behind it.
type metric struct {
	name, value, unit, sub string
	good                   Tone // of sub: whether a change is for the better
	change                 string
	url                    string
	spark                  Spark
}

// change says by how much a number differs from the one before: "↑ 8.1 %". up says which way is good: 1, -1, or 0 for neither.
func change(now, before int64, up int) (text string, tone Tone) {
	if before == 0 || now == before {
		return "", ToneMute
	}
	d := 100 * float64(now-before) / float64(before)
	return arrow(d) + " " + percent(abs(d)), toneOf(d, up)
}

func abs(x float64) float64 {
	if x < 0 {
		return -x
	}
	return x
}

func arrow(d float64) string {
	if d < 0 {
		return "↓"
	}
	return "↑"
}

func toneOf(d float64, up int) Tone {
	switch {
	case up == 0 || d == 0:
		return ToneMute
	case d > 0 == (up > 0):
		return ToneOK
	}
	return ToneBad
}

// percent is a share with one decimal, but for all and nothing.
func percent(p float64) string {
	if p == 0 || p == 100 {
		return strconv.Itoa(int(p)) + "%"
	}
	if p >= 1000 {
		return count(int(p)) + "%"
	}
	return strconv.FormatFloat(p, 'f', 1, 64) + "%"
}

func (v Overview) metrics() []metric {
	o := v.Now
	list := func(status ...string) string {
		return with(EventsURL(v.Tenant), url.Values{"range": {o.Range}, "status": status})
	}
	point := func(of func(models.TrafficBucket) float64) Spark {
		var s Spark
		for _, p := range o.Points {
			s.Values = append(s.Values, of(p))
		}
		return s
	}
	received := metric{name: "Received", value: count(int(o.Sum.Received)), url: with(EventsURL(v.Tenant), url.Values{"range": {o.Range}}),
		spark: point(func(p models.TrafficBucket) float64 { return float64(p.Received) })}
	delivered := metric{name: "Delivered", value: count(int(o.Sum.Delivered)), url: list(models.StatusDelivered),
		spark: point(func(p models.TrafficBucket) float64 { return float64(p.Delivered) })}
	success := metric{name: "First-attempt success", value: "–", url: list(models.StatusFailed, models.StatusRetrying)}
	success.spark = point(func(p models.TrafficBucket) float64 {
		share, _ := p.SuccessPercent()
		return share
	})
	if share, ok := o.Sum.SuccessPercent(); ok {
		success.value = percent(share)
		if share < 95 {
			success.spark.Tone = ToneBad
		}
		if o.Before != nil {
			if before, ok := o.Before.SuccessPercent(); ok {
				success.sub = "from " + percent(before)
				if d := share - before; abs(d) >= 0.05 {
					success.change, success.good = fmt.Sprintf("%s %.1f pts", arrow(d), abs(d)), toneOf(d, 1)
				}
			}
		}
	}
	if b := o.Before; b != nil {
		received.change, received.good = change(o.Sum.Received, b.Received, 0)
		delivered.change, delivered.good = change(o.Sum.Delivered, b.Delivered, 0)
		received.sub, delivered.sub = "from "+count(int(b.Received)), "from "+count(int(b.Delivered))
	}
	failing := metric{name: "Failing now", value: count(o.Failing), unit: "of " + count(v.Destinations), url: DestinationsURL(v.Tenant) + "?sort=state",
		sub: plural(o.Disabled, "destination") + " disabled"}
	return []metric{received, delivered, success, failing, v.waiting(), v.latency()}
}

// waiting are the deliveries that wait, held ones first.
func (v Overview) waiting() metric {
	m := metric{name: "Held", url: with(EventsURL(v.Tenant), url.Values{"status": {models.StatusHeld}}), value: "Many"}
	if v.Now.Held != nil {
		m.value = count(*v.Now.Held)
	}
	if v.Now.Retrying != nil {
		m.sub = count(*v.Now.Retrying) + " retrying"
	}
	return m
}

func (v Overview) latency() metric {
	m := metric{name: "Time to delivery, p95", value: "–", url: AttemptsURL(v.Tenant)}
	p95, ok := v.Now.Sum.Latency(0.95)
	if !ok {
		return m
	}
	p50, _ := v.Now.Sum.Latency(0.5)
	m.value, m.unit = brisk(p95), "p50 "+brisk(p50)
	for _, p := range v.Now.Points {
		d, _ := p.Latency(0.95)
		m.spark.Values = append(m.spark.Values, d.Seconds())
	}
	if v.Now.Before != nil {
		if before, ok := v.Now.Before.Latency(0.95); ok {
			m.sub = "from " + brisk(before)
			if d := p95 - before; abs(float64(d)) > 0.1*float64(before) {
				m.change, m.good = arrow(float64(d))+" "+brisk(time.Duration(abs(float64(d)))), toneOf(float64(d), -1)
			}
		}
	}
	return m
}

// brisk is a duration in few characters: "182 ms", "1.9 s", "3 min".
func brisk(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 1, 64) + " ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	}
	return span(d.Round(time.Minute))
}

func (v Overview) chart() Chart {
	o := v.Now
	c := Chart{ID: "deliveries", Caption: "Deliveries of " + v.period(), Begin: o.Since, Bucket: o.Bucket, Height: 150,
		Series: []Series{{Name: "Delivered", Class: "b-ok"}, {Name: "Retrying", Class: "b-warn"}, {Name: "Failed", Class: "b-bad", Hatch: true}},
		URL: func(from, until time.Time) string {
			// What a bar counts are outcomes of attempts that were made then, whenever their events were received.
			return with(AttemptsURL(v.Tenant), url.Values{"since": {from.UTC().Format(time.RFC3339)}, "until": {until.UTC().Format(time.RFC3339)}})
		}}
	for _, b := range o.Buckets {
		for i, n := range []int64{b.Delivered, b.Retrying, b.Failed} {
			c.Series[i].Values = append(c.Series[i].Values, int(n))
		}
	}
	return c
}

func busySpark(b *models.Busy) Spark {
	s := Spark{}
	if b.Failed > 0 {
		s.Tone = ToneBad
	}
	for _, p := range b.Points {
		s.Values = append(s.Values, float64(p.Delivered))
	}
	return s
}

// errorShare is the share of first attempts that failed.
func errorShare(r models.Rates) string {
	if r.Deliveries == 0 {
		return "–"
	}
	return percent(100 - r.DeliveredPercent())
}

// groupURL is the list of events behind a group of failures.
func (v Overview) groupURL(g models.FailureGroup) string {
	q := url.Values{"destination_id": {g.Destination.ID}, "status": {models.StatusFailed, models.StatusRetrying}, "range": {v.Now.Range}}
	if g.ErrorClass != "" {
		q.Set("error_class", g.ErrorClass)
	}
	return with(EventsURL(v.Tenant), q)
}

// Onboarding are the first steps of a tenant. Each is done when the server's data say so.
type Onboarding struct {
	Destinations int
	EventID      string // of the newest event; empty for none
	EventURL     string
	Delivered    bool
	Channels     int
	Webhook      *models.Destination // whose signatures can be verified; nil for none
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
		{o.Channels > 0, "Add an alert channel", "Get a message when deliveries fail: by mail, Slack, PagerDuty, SMS or webhook."},
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

// sinceText says since when a destination has been disabled.
func (z Zone) sinceText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " on " + z.format(*t, "2 January 2006 at 15:04")
}
