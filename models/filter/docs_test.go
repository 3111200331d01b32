package filter

import (
	"os"
	"strings"
	"testing"
	"time"
)

// The examples of docs/filters.md are tried here, so that the page cannot drift away from the language. In
// its tables, the first cell is a filter and the second one what becomes of it: yes or no, an error, or a reason.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/filters.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	var doc, first *Doc // the event of the last block of JSON, and of the first one
	payload := ""
	within := false
	tried := map[string]int{}
	heading := ""
	for _, line := range strings.Split(text, "\n") {
		switch {
		case line == "```json":
			within, payload = true, ""
			continue
		case within && line == "```":
			within = false
			doc = NewDoc("evt_1", "order.created", time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC),
				map[string]string{"source": "shop", "attempt": "3"}, []byte(payload))
			if doc.root(atData) < 0 {
				t.Fatalf("no JSON: %s", payload)
			}
			if first == nil {
				first = doc
			}
			continue
		case within:
			payload += line + "\n"
			continue
		case strings.HasPrefix(line, "## "):
			doc = first
		}
		if strings.HasPrefix(line, "#") {
			heading = line
		}
		if heading == "## Operators" && strings.HasPrefix(line, "| ") {
			tried[heading] += checkOperators(t, line)
			continue
		}
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), " | ")
		if len(cells) < 2 || !strings.HasPrefix(cells[0], "| `") {
			continue
		}
		source := strings.ReplaceAll(strings.Trim(strings.TrimPrefix(cells[0], "| "), "`"), "\x00", "|")
		answer := strings.TrimSuffix(cells[1], " |")
		if heading == "## Another body, and keys" {
			checkProjection(t, doc, source, strings.Trim(answer, "`"))
			tried[heading]++
			continue
		}
		var f *Filter
		var parseErr error
		if strings.HasPrefix(source, "{") {
			f, parseErr = ParseNew([]byte(source))
		} else {
			f, parseErr = ParseNewSearch(source)
		}
		switch {
		case answer == "yes" || answer == "no":
			if parseErr != nil {
				t.Errorf("%s: %v", source, parseErr)
			} else if got := f.Explain(doc); got.Match != (answer == "yes") || got.Failed {
				t.Errorf("%s: %+v, but the page says %s", source, got, answer)
			}
		case heading == "## What a refusal says":
			if parseErr == nil || parseErr.Error() != answer {
				t.Errorf("%s\ngot  %v\npage %s", source, parseErr, answer)
			}
		case heading == "## Why an event was not sent":
			if parseErr != nil {
				t.Errorf("%s: %v", source, parseErr)
			} else if got := f.Explain(doc); got.Match || got.Reason != answer {
				t.Errorf("%s\ngot  %s\npage %s", source, got.Reason, answer)
			}
		case heading == "## Changing the notation":
			if _, lossless, _ := f.Search(); lossless {
				t.Errorf("%s can be said in search notation, but the page says that it cannot", source)
			}
		default:
			t.Errorf("nobody knows what to do with %q below %q", line, heading)
		}
		tried[heading]++
	}
	for _, heading := range []string{"## Fields", "## Operators", "### How values are compared", "### Missing fields", "## Lists",
		"## JSON notation", "## Search notation", "## Expressions", "## Another body, and keys", "## Examples from real payloads",
		"## What a refusal says", "## Why an event was not sent"} {
		if tried[heading] < 5 {
			t.Errorf("%d examples below %q", tried[heading], heading)
		}
	}
}

func checkProjection(t *testing.T, doc *Doc, source, gives string) {
	t.Helper()
	p, err := ParseProjection(source)
	if err != nil {
		t.Errorf("%s: %v", source, err)
		return
	}
	if got, err := p.Body(doc); err != nil || string(got) != gives {
		t.Errorf("%s gives %s (%v), but the page says %s", source, got, err, gives)
	}
}

// checkOperators reads every filter in a row of the table of operators, and returns how many there were.
func checkOperators(t *testing.T, line string) int {
	t.Helper()
	count := 0
	for i, code := range strings.Split(line, "`") {
		var err error
		switch {
		case i%2 == 0:
			continue
		case strings.HasPrefix(code, "{"):
			_, err = ParseNew([]byte(code))
		case strings.Contains(code, ":"):
			_, err = ParseNewSearch(code)
		default:
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", code, err)
		}
		count++
	}
	return count
}
