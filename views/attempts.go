package views

import (
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// Attempt is one try to deliver an event.
type Attempt struct {
	Page
	*models.Attempt
	Event       *models.Event
	Destination *models.Destination // nil when it is gone
	Delivery    *models.Delivery    // as it is now
	Newer       string              // addresses of the delivery's neighbouring attempts; empty for none
	Older       string
	Before      string // id of the delivery's attempt before this one; empty for none
	Sent        []byte // the body that was sent
	Transformed bool   // the destination's transform made it
	LogsURL     string // the operator's own pages about it; empty for none
	TracesURL   string
}

func (v Attempt) destinationName() string {
	if v.Destination != nil {
		return v.Destination.Title()
	}
	return v.DestinationID
}

func (v Attempt) facts() []Fact {
	facts := []Fact{
		{Label: "Event", Text: v.PublicEventID, Mono: true, URL: EventURL(v.Tenant, v.PublicEventID)},
		{Label: "Topic", Text: v.Event.Topic, Mono: true},
		{Label: "Destination", Text: v.destinationName(), URL: DestinationURL(v.Tenant, v.DestinationID)},
		{Label: "Attempt", Text: strconv.Itoa(v.Number)},
		{Label: "Trigger", Text: triggerText(v.Attempt)},
		{Label: "Started", Time: v.StartedAt},
		{Label: "Duration", Text: took(v.Duration)},
		{Label: "Attempt ID", Text: v.ID(), Mono: true, Copy: true},
	}
	if id := models.BulkRetryID(v.BulkKey); id != "" {
		facts[4].Text, facts[4].URL = strings.Replace(facts[4].Text, "Bulk retry", "Bulk retry "+id, 1), RetryURL(v.Tenant, id)
	}
	if v.Destination == nil || v.Destination.DeletedAt != nil {
		facts[2].URL = ""
	}
	return facts
}

// headerLine is one header of a request or an answer.
type headerLine struct{ name, value string }

// headerLines reads lines of the form "Name: value".
func headerLines(text string) []headerLine {
	var out []headerLine
	for _, line := range strings.Split(text, "\n") {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r"), ":")
		if name != "" {
			out = append(out, headerLine{name, strings.TrimSpace(value)})
		}
	}
	return out
}

// timingRow is one stage of an attempt: how long it took, and where it lies within the whole, in thousandths.
type timingRow struct{ stage, took, note, from, width string }

func (v Attempt) timing() []timingRow {
	t := v.Timing
	whole := max(v.Duration, time.Microsecond)
	begun := time.Duration(0)
	per := func(d time.Duration) string { return decimal(1000 * float64(d) / float64(whole)) }
	stage := func(name string, d time.Duration) timingRow {
		r := timingRow{stage: name, took: took(d), from: per(begun), width: per(d)}
		begun += d
		return r
	}
	reused := t.DNS+t.Connect+t.TLS == 0
	rows := []timingRow{stage("DNS", t.DNS), stage("Connect", t.Connect), stage("TLS", t.TLS)}
	if reused {
		rows = []timingRow{{stage: "Connection", note: "reused", from: "0", width: "0"}}
	} else if t.TLS == 0 {
		rows[2].note = "not used"
	}
	if t.FirstByte > 0 {
		rows = append(rows, stage("Waiting for response", t.FirstByte))
	}
	return append(rows, timingRow{stage: "Total", took: took(v.Duration), from: "0", width: "1000"})
}

// sentURL is where the body is that was sent, when it is the event's payload; empty otherwise.
func (v Attempt) sentURL() string {
	if v.Transformed {
		return ""
	}
	return EventURL(v.TenantID, v.PublicEventID, "data")
}

// hasTiming reports whether stages were measured: not for systems without connections, nor when nothing was sent.
func (v Attempt) hasTiming() bool { return v.Timing != models.AttemptTiming{} }

// happened is what went wrong, also when the record has no words for it.
func (v Attempt) happened() string {
	switch {
	case v.Error != "":
		return v.Error
	case v.Code != 0:
		return "The receiver answered " + strconv.Itoa(v.Code) + "."
	}
	return "The attempt failed."
}

// erased says that the bodies were erased, and by whom; empty while they are there.
func (v Attempt) erased() string {
	if v.ErasedAt == nil {
		return ""
	}
	if v.Event == nil || v.Event.ErasedWhy == "" {
		return "Erased."
	}
	return v.Event.ErasedWhy
}
