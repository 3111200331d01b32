package notify

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/adapters"
)

// oneLine makes one line of at most n characters out of what strangers wrote: every run of spaces, line ends and control
// characters becomes a space, and characters that turn the direction of the text around are taken out.
func oneLine(s string, n int) string {
	return clip(strings.Join(strings.FieldsFunc(printable(s), unicode.IsSpace), " "), n)
}

// block keeps the lines of s and makes everything else that is not printable a space. It has at most n characters.
func block(s string, n int) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRightFunc(printable(l), unicode.IsSpace)
	}
	return clip(strings.Trim(strings.Join(lines, "\n"), "\n"), n)
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}

// clip cuts s to at most n characters, the last of which then is an ellipsis.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	r := []rune(s)
	return strings.TrimRightFunc(string(r[:n-1]), unicode.IsSpace) + "…"
}

// link returns an address as it may stand in a message, or nothing when it is none of the web.
func link(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || len(address) > 2000 {
		return ""
	}
	return strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", `"`, "%22", "'", "%27").Replace(u.String())
}

// state is the word for what has happened, and for how bad it is.
func (n *Notice) state() string {
	switch n.Kind {
	case Repeated:
		return "Still open"
	case Acknowledged:
		return "Acknowledged"
	case Resolved:
		return "Resolved"
	case Test:
		return "Test"
	}
	switch n.Severity {
	case Critical:
		return "Critical"
	case ErrorSev:
		return "Error"
	case Info:
		return "Info"
	}
	return "Warning"
}

// summary is the one sentence, or what can be said without one.
func (n *Notice) summary() string {
	s := oneLine(n.Summary, 1000)
	switch {
	case s != "":
	case n.RuleName != "":
		s = oneLine(n.RuleName, 200)
	default:
		s = "An alert without a summary"
	}
	return s
}

// headline is the summary with the destination before it that it is about: for whoever reads one line.
func (n *Notice) headline() string {
	name, tenant := oneLine(n.DestinationName, 60), oneLine(n.TenantID, 60)
	if name == "" {
		name = oneLine(n.DestinationID, 60)
	}
	switch {
	case name == "" || n.Others > 0: // A digest names them in its summary.
		return n.summary()
	case tenant != "":
		name += " (" + tenant + ")"
	}
	return name + ": " + n.summary()
}

// title is the headline with the state before it: a subject line, a header.
func (n *Notice) title(most int) string { return clip(n.state()+": "+n.headline(), most) }

// others says that the notice stands for more than one alert.
func (n *Notice) others() string {
	switch {
	case n.Others == 1:
		return "This notice stands for 1 more alert."
	case n.Others > 1:
		return fmt.Sprintf("This notice stands for %d more alerts.", n.Others)
	}
	return ""
}

// fact is one thing that is known about the alert, for people.
type fact struct{ label, value string }

// facts lists what is known about the alert, but for the error and the links.
func (n *Notice) facts() (out []fact) {
	add := func(label, value string) {
		if value != "" {
			out = append(out, fact{label, value})
		}
	}
	named := func(name, id string) string {
		name, id = oneLine(name, 200), oneLine(id, 200)
		switch {
		case name == "" || name == id:
			return id
		case id == "":
			return name
		}
		return name + " (" + id + ")"
	}
	add("Rule", oneLine(n.RuleName, 200))
	add("Condition", oneLine(n.Condition, 500))
	add("Tenant", oneLine(n.TenantID, 200))
	add("Destination", named(n.DestinationName, n.DestinationID))
	add("Sends to", oneLine(strings.Trim(n.DestinationType+": "+n.Target, ": "), 500))
	if n.Failures > 0 {
		failed := strconv.Itoa(n.Failures)
		if n.Attempts > 0 {
			failed += fmt.Sprintf(", in %d attempts", n.Attempts)
			if n.Attempts == 1 {
				failed = strings.TrimSuffix(failed, "s")
			}
		}
		add("Failed deliveries", failed)
	}
	add("Error class", oneLine(n.ErrorClass, 40))
	add("First failure", moment(n.FirstFailure))
	add("Last failure", moment(n.LastFailure))
	add("Opened", moment(n.OpenedAt))
	add("Certificate ends", moment(n.CertificateEnds))
	resolved := moment(n.ResolvedAt)
	if resolved != "" && n.ResolvedAt.After(n.OpenedAt) && !n.OpenedAt.IsZero() {
		resolved += ", after " + lasted(n.ResolvedAt.Sub(n.OpenedAt))
	}
	add("Resolved", resolved)
	return out
}

// links lists the pages that the notice leads to.
func (n *Notice) links() (out []fact) {
	deliveries := "Failed deliveries"
	if n.Failures == 0 {
		deliveries = "Open deliveries"
	}
	for _, f := range []fact{{"Open the alert", n.AlertURL}, {deliveries, n.DeliveriesURL}, {"Destination", n.DestinationURL}} {
		if to := link(f.value); to != "" {
			out = append(out, fact{f.label, to})
		}
	}
	return out
}

// failure is the last error in one line.
func (n *Notice) failure() string { return oneLine(n.Error, 1000) }

// failedLine is a failed event for people: its id, and what else is known of it.
type failedLine struct{ event, about, url string }

// failedLines lists the events that failed last.
func (n *Notice) failedLines() (out []failedLine) {
	for _, f := range n.Failed {
		l := failedLine{event: oneLine(f.EventID, 100), url: link(f.URL)}
		var about []string
		for _, part := range []string{oneLine(f.Topic, 100), moment(f.At), oneLine(f.Error, 200)} {
			if part != "" {
				about = append(about, part)
			}
		}
		if f.TraceID != "" {
			about = append(about, "trace "+oneLine(f.TraceID, 40))
		}
		l.about = strings.Join(about, ", ")
		out = append(out, l)
	}
	return out
}

// moment writes a time for people; a zero one is empty.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2 January 2006, 15:04:05 UTC")
}

// lasted writes a span in its two largest units: "2 h 5 min".
func lasted(d time.Duration) string {
	days, hours, minutes := int(d/(24*time.Hour)), int(d/time.Hour)%24, int(d/time.Minute)%60
	switch {
	case days > 0:
		return fmt.Sprintf("%d d %d h", days, hours)
	case hours > 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%d min", minutes)
	}
	return fmt.Sprintf("%d s", max(int(d/time.Second), 1))
}

// masked stands where a secret was.
const masked = "***"

// redactor returns a function that cuts secrets out of texts. Short ones are left alone: they would blot out innocent
// text, and are no secrets.
func redactor(secrets ...string) func(string) string {
	var pairs []string
	for _, s := range secrets {
		if len(s) >= 6 {
			pairs = append(pairs, s, masked)
			if e := url.QueryEscape(s); e != s {
				pairs = append(pairs, e, masked)
			}
		}
	}
	return strings.NewReplacer(pairs...).Replace
}

// clean cuts secrets out of an error's texts.
func clean(e *adapters.Error, redact func(string) string) *adapters.Error {
	e.Message, e.Advice, e.Raw = redact(e.Message), redact(e.Advice), redact(e.Raw)
	return e
}
