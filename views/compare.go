package views

import (
	"bytes"
	"encoding/json"
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
type comparedRow struct{ name, a, b string }

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

// comparedPart is a part of two attempts: what differs, and what does not. note replaces both.
type comparedPart struct {
	title           string
	differing, same []comparedRow
	note            string
}

func newPart(title string, rows []comparedRow) comparedPart {
	p := comparedPart{title: title}
	for _, r := range rows {
		if r.what() == rowSame {
			p.same = append(p.same, r)
		} else {
			p.differing = append(p.differing, r)
		}
	}
	return p
}

// parts are what is compared, in the order of an attempt's page.
func (v Comparison) parts() []comparedPart {
	a, b := v.A, v.B
	code := func(n int) string {
		if n == 0 {
			return ""
		}
		return codeText(n)
	}
	var outcome []comparedRow
	for _, r := range []comparedRow{
		{"Destination", a.Destination, b.Destination},
		{"Outcome", attemptLook(a.Attempt).Word, attemptLook(b.Attempt).Word},
		{"Response code", code(a.Code), code(b.Code)},
		{"Kind of error", className(a.ErrorClass), className(b.ErrorClass)},
		{"What happened", a.Error, b.Error},
		{"Trigger", triggerText(a.Attempt), triggerText(b.Attempt)},
		{"Started", clockFull(a.StartedAt), clockFull(b.StartedAt)},
		{"Took", took(a.Duration), took(b.Duration)},
	} {
		if r.a != "" || r.b != "" {
			outcome = append(outcome, r)
		}
	}
	request := slices.Concat([]comparedRow{{"Method", a.Method, b.Method}, {"URL", a.URL, b.URL}},
		headerRows(a.RequestHeader, b.RequestHeader))
	return []comparedPart{
		newPart("Outcome", outcome),
		newPart("Request", slices.DeleteFunc(request, func(r comparedRow) bool { return r.a == "" && r.b == "" })),
		bodyPart("Request body", a.Sent, b.Sent),
		newPart("Response headers", headerRows(a.ResponseHeader, b.ResponseHeader)),
		bodyPart("Response body", a.ResponseBody, b.ResponseBody),
	}
}

// headerRows puts the headers of two messages beside each other, by their names. Of a name that comes several times the
// first ones belong together, the second ones, and so on.
func headerRows(a, b string) []comparedRow {
	var rows []comparedRow
	right := headerLines(b)
	taken := make([]bool, len(right))
	for _, h := range headerLines(a) {
		r := comparedRow{name: h.name, a: h.value}
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
			rows = append(rows, comparedRow{name: o.name, b: o.value})
		}
	}
	return rows
}

// maxCompared is up to how many lines bodies are compared line by line.
const maxCompared = 1000

// bodyPart compares two bodies line by line; JSON is laid out first, so that a value has a line of its own.
func bodyPart(title string, a, b []byte) comparedPart {
	switch {
	case len(a)+len(b) == 0:
		return comparedPart{title: title, note: "Both are empty."}
	case bytes.Equal(a, b):
		return comparedPart{title: title, note: "The same, byte for byte: " + size(len(a)) + "."}
	case !utf8.Valid(a) || !utf8.Valid(b):
		return comparedPart{title: title, note: "They differ, and are not text: " + size(len(a)) + " and " + size(len(b)) + "."}
	}
	x, y := bodyLines(a), bodyLines(b)
	if len(x) > maxCompared || len(y) > maxCompared {
		return comparedPart{title: title, note: "They differ, and are too long to be compared here: " + size(len(a)) + " and " +
			size(len(b)) + "."}
	}
	p := newPart(title, lineRows(x, y))
	if len(p.differing) == 0 {
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

// lineRows finds the longest sequence of lines that two texts share, and makes rows of the lines. What was removed and
// added at one place is a change.
func lineRows(a, b []string) []comparedRow {
	// common[i][j] is the length of that sequence of a[i:] and b[j:].
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var rows []comparedRow
	var gone, new []comparedRow
	flush := func() {
		for k := range max(len(gone), len(new)) {
			switch {
			case k >= len(gone):
				rows = append(rows, new[k])
			case k >= len(new):
				rows = append(rows, gone[k])
			default:
				rows = append(rows, comparedRow{gone[k].name + " / " + new[k].name, gone[k].a, new[k].b})
			}
		}
		gone, new = nil, nil
	}
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			flush()
			rows = append(rows, comparedRow{lineName(i), a[i], b[j]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			gone = append(gone, comparedRow{name: lineName(i), a: a[i]})
			i++
		default:
			new = append(new, comparedRow{name: lineName(j), b: b[j]})
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
