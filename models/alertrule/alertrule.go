// Package alertrule has the conditions of alert rules. A condition is one file that registers a Kind: its fields, what it
// says, when it is met and over, and when it would have been met in the past. The API's checks and schema, the form and
// the sentences are drawn from that. The package is pure: models loads what conditions look at and passes the time.
package alertrule

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Kind is a kind of condition.
type Kind struct {
	Name     string  // of its first field too, which every condition of the kind has
	Position int     // among the others, in forms and messages
	Label    string  // of its radio button
	Phrase   string  // the part of a sentence in which the form shows the fields, by their keys in braces; empty for a switch
	Fields   []Field // a switch has one, of type Switch

	Data Data
	Span string // the duration field that says how much of Data is needed; empty where Data has no bounds

	Every     time.Duration // how often a rule tells at most unless it says otherwise; 0 for an hour
	Countdown bool          // time alone makes it worse, which is told
	Decided   bool          // somebody's decision begins and ends it: both are told each time, and at once

	Sentence func(c Condition) string // to follow "When"
	// Met reports whether the condition is met, or was since the last look, and what it found.
	Met func(c Condition, d *Subject) (Finding, bool)
	// Over reports whether an alert that was open is over, and why.
	Over func(c Condition, d *Subject, openedAt time.Time) (resolution string, over bool)
	// Replay lists the times in the past at which the condition began to be met.
	Replay func(c Condition, d *Subject, past *Past) []time.Time
	// Unknown says what the past cannot tell; nil for nothing.
	Unknown func(c Condition) string
}

// Data is what has to be loaded for a condition, of the present and of the past.
type Data int

// What conditions look at. With all but Failures, time alone can meet or end a condition, so that it is looked at every few
// seconds, and not when a result comes in.
const (
	Failures    Data = iota // the health of destinations that fail; minutes with failures
	Disabling               // the disabled destinations; when they were disabled
	Rates                   // what was tried within Span; all minutes of destinations with failures
	Waits                   // events that have waited for Span; all minutes
	Certificate             // the certificates that end within Span
)

// Slow reports whether time alone can meet or end a condition.
func (d Data) Slow() bool { return d != Failures }

var kinds []*Kind

// Register adds a kind of condition.
func Register(k Kind) {
	if len(k.Fields) == 0 || k.Fields[0].Key != k.Name || Find(k.Name) != nil {
		panic("alertrule: the kind " + k.Name + " has no field of its own, or is registered twice")
	}
	kinds = append(kinds, &k)
	slices.SortFunc(kinds, func(a, b *Kind) int { return cmp.Or(a.Position-b.Position, strings.Compare(a.Name, b.Name)) })
}

// Kinds lists the kinds of conditions in their order.
func Kinds() []*Kind { return kinds }

// Find is the kind with this name; nil for none.
func Find(name string) *Kind {
	for _, k := range kinds {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// Field is the kind's field with this key; nil for none.
func (k *Kind) Field(key string) *Field {
	for i := range k.Fields {
		if k.Fields[i].Key == key {
			return &k.Fields[i]
		}
	}
	return nil
}

// Fields lists the fields of all kinds. One that several kinds have stands where the last of them has it.
func Fields() []Field {
	var out []Field
	for _, k := range kinds {
		for _, f := range k.Fields {
			out = slices.DeleteFunc(out, func(o Field) bool { return o.Key == f.Key })
			out = append(out, f)
		}
	}
	return out
}

// owners names the kinds that have a field.
func owners(key string) (names []string) {
	for _, k := range kinds {
		if k.Field(key) != nil {
			names = append(names, k.Name)
		}
	}
	return names
}

// Shared reports whether several kinds have a field with this key.
func Shared(key string) bool { return len(owners(key)) > 1 }

func names() string {
	out := make([]string, len(kinds))
	for i, k := range kinds {
		out[i] = k.Name
	}
	return strings.Join(out, ", ")
}

// How bad an alert is. The words are those of PagerDuty's Events API v2.
const (
	SeverityCritical = "critical"
	SeverityError    = "error"
	SeverityWarning  = "warning"
	SeverityInfo     = "info"
)

// Finding is what a condition finds out about a destination.
type Finding struct {
	Step     int // of a condition that is met in steps; an alert that reaches a higher one is worse
	Severity string
	Summary  string
}

// Subject is a destination as conditions look at it.
type Subject struct {
	Now            time.Time
	Limit          int           // failing deliveries in a row at which it is disabled; 0 for never
	Least          time.Duration // and for how long they must have failed
	DisabledAt     *time.Time
	DisabledBy     string // empty for the server, by itself
	DisabledReason string
	Filtered       bool // it has a filter
	Health         Health
	Waited         time.Duration                // how long the oldest event has waited
	Tried          map[time.Duration]TriedSince // by window
}

// Health is what was recorded of a destination.
type Health struct {
	Failures, Attempts, GivenUp int        // since the last success: failing deliveries, failed attempts, deliveries that failed for good
	Peak, GaveUp                int        // the greatest that Failures was since the last look, and how many of those failed for good
	Since                       *time.Time // the first failure since the last success; nil for none
	Error                       string
	LastSuccess                 *time.Time
	ResetAt                     *time.Time // when somebody enabled it, and counting began anew
	FilterFailures              int
	FilterError                 string
	FilterFailedAt              *time.Time
	CertificateEnds             *time.Time // nil for none, or not known yet
}

// TriedSince counts what was tried within a window.
type TriedSince struct {
	Deliveries, Failed       int
	Attempts, FailedAttempts int
}

// Past is what is kept of a destination's past.
type Past struct {
	Since    time.Time
	Minutes  []Minute
	Disabled []time.Time
}

// Minute is a minute of a destination's past.
type Minute struct {
	At time.Time
	TriedSince
	GivenUp        int
	Peak           int // the greatest number of failing deliveries in a row
	End            int // that number at the minute's end
	FilterFailures int
	Wait           time.Duration // the longest wait for a first attempt
}

// began lists the minutes in which a condition began to be met. judge says of a minute whether the condition was met in it,
// and whether it was over at its end.
func began(minutes []Minute, judge func(m Minute) (met, over bool)) (at []time.Time) {
	open := false
	for _, m := range minutes {
		met, over := judge(m)
		if met && !open {
			at = append(at, m.At)
			open = true
		}
		if over {
			open = false
		}
	}
	return at
}

// recovered reports whether deliveries succeed again, and how that came.
func recovered(_ Condition, d *Subject, openedAt time.Time) (string, bool) {
	h := d.Health
	switch {
	case h.Failures > 0:
		return "", false
	case h.ResetAt != nil && h.ResetAt.After(openedAt) && (h.LastSuccess == nil || h.LastSuccess.Before(*h.ResetAt)):
		return "The destination was enabled, and counting starts anew.", true
	case h.LastSuccess != nil:
		return "Events are delivered again since " + h.LastSuccess.UTC().Format("2006-01-02 15:04:05") + " UTC.", true
	}
	return "Events are delivered again.", true
}

// Ended is the full stop that a text lacks.
func Ended(s string) string {
	if s == "" || s[len(s)-1] == '.' {
		return ""
	}
	return "."
}
