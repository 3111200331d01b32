package views

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/models"
)

// Comparison shows what two attempts have in common and where they differ.
type Comparison struct {
	Page
	A, B    ComparedAttempt
	Choices []Option // the attempts of A's event, by id
	All     bool     // what differs between any two attempts is shown, too
}

// other is the same page with what always changes, or without it.
func (v Comparison) other() string {
	u := CompareURL(v.Tenant, v.A.ID(), v.B.ID())
	if !v.All {
		u += "&all=1"
	}
	return u
}

// ComparedAttempt is one of two attempts that are compared.
type ComparedAttempt struct {
	*models.Attempt
	Destination string // its name
	Sent        []byte // the body that was sent
}

// heading names an attempt in the head of a column.
func (a ComparedAttempt) heading() string {
	return "Attempt " + count(a.Number) + ", " + strings.ToLower(attemptLook(a.Attempt).Word)
}

// comparedRow is one thing that two attempts have: how it is called, and its value in each. A missing value is empty.
type comparedRow struct {
	name, a, b string
	always     bool // it differs between any two attempts, so that a difference says nothing
}

// How the values of a row differ.
const (
	rowSame    = "Same"
	rowChanged = "Changed"
	rowAdded   = "Added"
	rowRemoved = "Removed"
)

// what says in a word how the second value differs from the first.
func (r comparedRow) what() string {
	switch {
	case r.a == r.b:
		return rowSame
	case r.a == "":
		return rowAdded
	case r.b == "":
		return rowRemoved
	}
	return rowChanged
}

func (r comparedRow) tone() Tone {
	switch r.what() {
	case rowAdded:
		return ToneOK
	case rowRemoved:
		return ToneBad
	case rowChanged:
		return ToneWarn
	}
	return ToneMute
}

// pieces are both values, split at what differs. A value that the other attempt lacks is not split.
func (r comparedRow) pieces() (a, b []diffPiece) {
	if r.what() != rowChanged {
		return []diffPiece{{r.a, inBoth}}, []diffPiece{{r.b, inBoth}}
	}
	return markWords(r.a, r.b)
}

// comparedPart is a part of two attempts: what differs, and what does not. note replaces both.
type comparedPart struct {
	title           string
	differing, same []comparedRow
	ignored         int // rows that differ between any two attempts, and are left out
	note            string
}

// newPart sorts rows by whether they differ. Without all, those are left out that always do.
func newPart(title string, rows []comparedRow, all bool) comparedPart {
	p := comparedPart{title: title}
	for _, r := range rows {
		switch {
		case r.what() == rowSame:
			p.same = append(p.same, r)
		case r.always && !all:
			p.ignored++
		default:
			p.differing = append(p.differing, r)
		}
	}
	return p
}

// ignored counts what is left out.
func ignored(parts []comparedPart) (n int) {
	for _, p := range parts {
		n += p.ignored
	}
	return n
}

// parts are what is compared, in the order of an attempt's page.
func (v Comparison) parts(z Zone) []comparedPart {
	a, b := v.A, v.B
	code := func(n int) string {
		if n == 0 {
			return ""
		}
		return codeText(n)
	}
	var outcome []comparedRow
	for _, r := range []comparedRow{
		{"Destination", a.Destination, b.Destination, false},
		{"Outcome", attemptLook(a.Attempt).Word, attemptLook(b.Attempt).Word, false},
		{"Response code", code(a.Code), code(b.Code), false},
		{"Kind of error", className(a.ErrorClass), className(b.ErrorClass), false},
		{"What happened", a.Error, b.Error, false},
		{"Trigger", triggerText(a.Attempt), triggerText(b.Attempt), false},
		{"Attempt", count(a.Number), count(b.Number), true},
		{"Started", z.full(a.StartedAt), z.full(b.StartedAt), true},
		{"Duration", took(a.Duration), took(b.Duration), true},
	} {
		if r.a != "" || r.b != "" {
			outcome = append(outcome, r)
		}
	}
	request := slices.Concat([]comparedRow{{"Method", a.Method, b.Method, false}, {"URL", a.URL, b.URL, false}},
		headerRows(a.RequestHeader, b.RequestHeader, bytes.Equal(a.Sent, b.Sent)))
	return []comparedPart{
		newPart("Outcome", outcome, v.All),
		newPart("Request", slices.DeleteFunc(request, func(r comparedRow) bool { return r.a == "" && r.b == "" }), v.All),
		bodyPart("Request body", a.Sent, b.Sent, v.All),
		newPart("Response headers", headerRows(a.ResponseHeader, b.ResponseHeader, bytes.Equal(a.ResponseBody, b.ResponseBody)), v.All),
		bodyPart("Response body", a.ResponseBody, b.ResponseBody, v.All),
	}
}

// changingHeaders differ between any two messages; so do those that end in -signature, -timestamp, -request-id or -trace-id,
// whatever their prefix.
var changingHeaders = []string{"age", "cf-ray", "date", "request-id", "server-timing", "signature", "timestamp", "traceparent", "tracestate",
	"webhook-id", "x-amz-cf-id", "x-amz-id-2", "x-amzn-requestid", "x-amzn-trace-id", "x-cloud-trace-context", "x-correlation-id",
	"x-response-time", "x-runtime", "x-vercel-id"}

// alwaysChanges reports whether a header differs between any two messages, of which sameBody says whether their bodies do.
func alwaysChanges(name string, sameBody bool) bool {
	name = strings.ToLower(name)
	if name == "content-length" {
		return sameBody // it then only says how the body was sent
	}
	return slices.Contains(changingHeaders, name) || slices.ContainsFunc([]string{"-signature", "-timestamp", "-request-id", "-trace-id"},
		func(end string) bool { return strings.HasSuffix(name, end) })
}

// changingField finds a field of JSON, in a line of its own, that differs between any two answers.
var changingField = regexp.MustCompile(`(?i)^\s*"(request|trace|correlation)[_-]?id": |^\s*"(timestamp|server[_-]?time)": `)

// headerRows puts the headers of two messages beside each other, by their names. Of a name that comes several times the
// first ones belong together, the second ones, and so on.
// sameBody says that the messages' bodies do not differ.
func headerRows(a, b string, sameBody bool) []comparedRow {
	var rows []comparedRow
	right := headerLines(b)
	taken := make([]bool, len(right))
	for _, h := range headerLines(a) {
		r := comparedRow{name: h.name, a: h.value, always: alwaysChanges(h.name, sameBody)}
		for i, o := range right {
			if !taken[i] && strings.EqualFold(o.name, h.name) {
				taken[i], r.b = true, o.value
				break
			}
		}
		rows = append(rows, r)
	}
	for i, o := range right {
		if !taken[i] {
			rows = append(rows, comparedRow{name: o.name, b: o.value, always: alwaysChanges(o.name, sameBody)})
		}
	}
	return rows
}

// maxCompared is up to how many lines two bodies are compared line by line, and maxShown how many of them are shown.
const (
	maxCompared = 50_000
	maxShown    = 1_000
)

// bodyPart compares two bodies line by line; JSON is laid out first, so that a value has a line of its own.
func bodyPart(title string, a, b []byte, all bool) comparedPart {
	switch {
	case len(a)+len(b) == 0:
		return comparedPart{title: title, note: "Both are empty."}
	case bytes.Equal(a, b):
		return comparedPart{title: title, note: "The same, byte for byte: " + size(len(a)) + "."}
	case !utf8.Valid(a) || !utf8.Valid(b):
		return comparedPart{title: title, note: "They differ, and are not text: " + size(len(a)) + " and " + size(len(b)) + "."}
	}
	tooMuch := comparedPart{title: title, note: "They differ, and are too long to be compared here: " + size(len(a)) + " and " + size(len(b)) + "."}
	x, y := bodyLines(a), bodyLines(b)
	if len(x)+len(y) > maxCompared {
		return tooMuch
	}
	lines, ok := diffTokens(x, y)
	p := newPart(title, lineRows(lines), all)
	if !ok || len(p.differing) > maxShown {
		return tooMuch
	}
	if len(p.same) > maxShown {
		p.same = nil // of a long text, what differs is enough
	}
	if len(p.differing)+p.ignored == 0 {
		p.note = "They differ in blanks between values only."
		p.same = nil
	}
	return p
}

func bodyLines(body []byte) []string {
	if len(body) == 0 {
		return nil
	}
	var out bytes.Buffer
	if json.Indent(&out, body, "", "  ") == nil {
		body = out.Bytes()
	}
	return strings.Split(strings.TrimRight(string(body), "\n"), "\n")
}

// lineRows makes rows of the lines of two texts. What was removed and added at one place is a change.
func lineRows(lines []diffPiece) []comparedRow {
	var rows, gone, added []comparedRow
	flush := func() {
		for k := range max(len(gone), len(added)) {
			switch {
			case k >= len(gone):
				rows = append(rows, added[k])
			case k >= len(added):
				rows = append(rows, gone[k])
			default:
				a, b := gone[k], added[k]
				rows = append(rows, comparedRow{a.name + " / " + b.name, a.a, b.b,
					changingField.MatchString(a.a) && changingField.MatchString(b.b)})
			}
		}
		gone, added = nil, nil
	}
	i, j := 0, 0
	for _, l := range lines {
		switch l.in {
		case inBoth:
			flush()
			rows = append(rows, comparedRow{name: lineName(i), a: l.text, b: l.text})
			i, j = i+1, j+1
		case inFirst:
			gone = append(gone, comparedRow{name: lineName(i), a: l.text})
			i++
		case inSecond:
			added = append(added, comparedRow{name: lineName(j), b: l.text})
			j++
		}
	}
	flush()
	return rows
}

func lineName(i int) string { return strconv.Itoa(i + 1) }

// compared are the two attempts that a timeline offers to compare at first: a failure and a success of one delivery, the last
// ones; else the last two of one delivery; else the last two.
func (v Event) compared() (a, b string) {
	list := v.Attempts // newest first
	var differing, following [2]*models.Attempt
	for _, x := range list {
		for _, y := range list {
			switch {
			case x.DeliveryKey != y.DeliveryKey || x == y:
			case !x.OK && y.OK && differing[0] == nil:
				differing = [2]*models.Attempt{x, y}
			case x.Number == y.Number+1 && following[0] == nil:
				following = [2]*models.Attempt{y, x}
			}
		}
	}
	pair := [2]*models.Attempt{list[1], list[0]}
	if differing[0] != nil {
		pair = differing
	} else if following[0] != nil {
		pair = following
	}
	return pair[0].ID(), pair[1].ID()
}

// comparable are the attempts of the event as choices.
func (v Event) comparable() []Option { return AttemptOptions(v.Attempts, v.destination) }

// AttemptOptions are attempts as choices. name names an attempt's destination.
func AttemptOptions(list []*models.Attempt, name func(*models.Attempt) string) []Option {
	out := make([]Option, len(list))
	for i, a := range list {
		out[i] = Option{Value: a.ID(), Label: shorten(name(a), 40) + ", attempt " + count(a.Number) + ": " +
			strings.ToLower(attemptLook(a).Word)}
	}
	return out
}
