package app

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
)

// walk reads all pages of a list, and then all of them backwards, which must be the same.
func (a *testApp) walk(address, field string) (values []string, last answer) {
	a.Helper()
	read := func(cursor, rel string) answer {
		a.Helper()
		sep := "?"
		if strings.Contains(address, "?") {
			sep = "&"
		}
		if cursor != "" {
			cursor = "&" + rel + "=" + url.QueryEscape(cursor)
		}
		return a.want(200, "GET", address+sep+"limit=2"+cursor, nil)
	}
	rows := func(out answer) (list []string) {
		for i := range out.list() {
			list = append(list, out.str("models", fmt.Sprint(i), field))
		}
		return list
	}
	var pages [][]string
	for out := read("", ""); ; {
		last = out
		pages = append(pages, rows(out))
		values = append(values, rows(out)...)
		next := out.str("pagination", "next")
		if next == "" {
			break
		}
		if len(pages) > 50 {
			a.Fatalf("%s does not end: %v", address, pages)
		}
		out = read(next, "next")
	}
	// Pages need not be cut in the same places.
	backwards := pages[len(pages)-1]
	for out := last; out.str("pagination", "prev") != ""; {
		out = read(out.str("pagination", "prev"), "prev")
		if backwards = append(rows(out), backwards...); len(backwards) > 2*len(values) {
			break
		}
	}
	if !slices.Equal(backwards, values) {
		a.Errorf("%s: backwards %v, forwards %v", address, backwards, values)
	}
	return values, last
}

// TestSortedLists sorts events and deliveries by everything that pages show of them, in both directions, with portions that are
// smaller than the list and with one that holds all.
func TestSortedLists(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", nil)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"one","name":"Zebra","type":"echo","topics":["b"]}`)
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"two","name":"apple","type":"echo","topics":["a","d"],"config":{"answer":"500"},"retry":{"schedule":["1ms","1ms"],"max_attempts":3}}`)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"off","name":"Middle","type":"echo","topics":["c"]}`)
	a.want(200, "PUT", "/tenants/acme/destinations/off/disable", nil)
	day := time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	for i, e := range []struct {
		topic string
		hours int
	}{{"b", 5}, {"a", 1}, {"c", 9}, {"d", 3}, {"b", 7}, {"none", 2}, {"a", 8}} {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":"e%d","topic":%q,"time":%q,"data":{}}`, i, e.topic,
			day.Add(time.Duration(e.hours)*time.Hour).Format(time.RFC3339)))
	}
	a.eventually("/deliveries?tenant_id=acme&status=delivered&status=failed", func(o answer) bool { return len(o.list()) == 5 })
	again := func(event, destination string) { // changes the order of the last attempts
		before := a.want(200, "GET", "/attempts?event_id="+event, nil)
		a.want(202, "POST", "/retry", fmt.Sprintf(`{"event_id":%q,"destination_id":%q}`, event, destination))
		a.eventually("/attempts?event_id="+event, func(o answer) bool { return len(o.list()) > len(before.list()) })
	}
	again("e3", "two")
	again("e0", "one")

	events := map[string]string{
		"received_at":     "e0 e1 e2 e3 e4 e5 e6",
		"time":            "e1 e5 e3 e0 e4 e6 e2",
		"topic":           "e1 e6 e0 e4 e2 e3 e5",
		"status":          "e1 e3 e6 e2 e0 e4 e5", // failed, held, delivered, without a destination
		"destination":     "e5 e1 e3 e6 e2 e0 e4", // none, apple, Middle, Zebra
		"attempts":        "e2 e5 e4 e0 e1 e6 e3", // 0 0 1 2 3 3 4
		"last_attempt_at": "",                     // only how it ends is certain
	}
	deliveries := map[string]string{
		"created_at":  "e0 e1 e2 e3 e4 e6",
		"received_at": "e0 e1 e2 e3 e4 e6",
		"time":        "e1 e3 e0 e4 e6 e2",
		"topic":       "e1 e6 e0 e4 e2 e3",
		"status":      "e1 e3 e6 e2 e0 e4",
		"destination": "e1 e3 e6 e2 e0 e4",
		"attempts":    "e2 e4 e0 e1 e6 e3",
	}
	// portioned sorts only within portions of so many rows as they were received.
	portioned := func(want, received string, size int, newestFirst, down bool) (out []string) {
		order, rows := strings.Fields(want), strings.Fields(received)
		if newestFirst {
			slices.Reverse(rows)
		}
		for portion := range slices.Chunk(rows, size) {
			slices.SortFunc(portion, func(x, y string) int { return slices.Index(order, x) - slices.Index(order, y) })
			if down {
				slices.Reverse(portion)
			}
			out = append(out, portion...)
		}
		return out
	}
	for _, size := range []int{1000, 3} {
		a.Store.SortWindow = size
		for list, orders := range map[string]map[string]string{"/events?tenant_id=acme": events, "/deliveries?tenant_id=acme": deliveries} {
			field := "id"
			if strings.HasPrefix(list, "/deliveries") {
				field = "event_id"
			}
			received := orders["received_at"]
			for by, want := range orders {
				for _, dir := range []string{"asc", "desc"} {
					got, last := a.walk(list+"&order_by="+by+"&dir="+dir, field)
					if last.str("pagination", "order_by") != by || last.str("pagination", "dir") != dir {
						t.Errorf("%s by %s: %s", list, by, last.raw)
					}
					all := slices.Sorted(slices.Values(got))
					if strings.Join(all, " ") != received {
						t.Errorf("%s by %s %s in portions of %d: not each once: %v", list, by, dir, size, got)
					}
					if want == "" {
						if tail := strings.Join(got[5:], " "); dir == "asc" && size >= 7 && tail != "e3 e0" {
							t.Errorf("the last attempts are of %s", tail)
						}
						continue
					}
					indexed := by == "received_at" || by == "created_at"
					newest := dir == "desc" || by != "time" && !indexed
					n := size
					if indexed {
						n = 1000
					}
					if expected := portioned(want, received, n, newest, dir == "desc"); !slices.Equal(got, expected) {
						t.Errorf("%s by %s %s in portions of %d: %v, want %v", list, by, dir, size, got, expected)
					}
					if has := strings.Contains(last.raw, `"sorted"`); has == indexed {
						t.Errorf("%s by %s: %s", list, by, last.raw)
					}
					if complete := strings.Contains(last.raw, `"complete":true`); !indexed && complete != (size >= len(all)) {
						t.Errorf("%s by %s in portions of %d: %s", list, by, size, last.raw)
					}
				}
			}
		}
	}

	// What arrives while somebody pages on neither repeats nor hides others.
	a.Store.SortWindow = 4
	first := a.want(200, "GET", "/events?tenant_id=acme&order_by=topic&dir=asc&limit=2", nil)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"e9","topic":"aaa","data":{}}`)
	seen := []string{first.str("models", "0", "id"), first.str("models", "1", "id")}
	for next := first.str("pagination", "next"); next != ""; {
		out := a.want(200, "GET", "/events?tenant_id=acme&order_by=topic&dir=asc&limit=2&next="+url.QueryEscape(next), nil)
		for i := range out.list() {
			seen = append(seen, out.str("models", fmt.Sprint(i), "id"))
		}
		next = out.str("pagination", "next")
	}
	if slices.Sort(seen); strings.Join(seen, " ") != "e0 e1 e2 e3 e4 e5 e6" {
		t.Errorf("with an event that came meanwhile: %v", seen)
	}
	next := url.QueryEscape(first.str("pagination", "next"))
	a.want(400, "GET", "/events?tenant_id=acme&order_by=status&dir=asc&limit=2&next="+next, nil)
	a.want(400, "GET", "/events?tenant_id=acme&order_by=topic&dir=asc&limit=2&topic=a&next="+next, nil)
	if out := a.want(422, "GET", "/events?order_by=size", nil); !strings.Contains(out.str("fields", "order_by"),
		"received_at, time, topic") {
		t.Errorf("%s", out.raw)
	}
	a.want(422, "GET", "/events?order_by=topic&q=anything", nil)
	a.want(422, "GET", "/deliveries?order_by=topic&sort=status", nil)
	a.want(422, "GET", "/attempts?order_by=topic", nil)
	a.want(200, "GET", "/attempts?order_by=time", nil)
}

// TestFilteredOutSorted has what filters held back among the deliveries that are sorted, though it has no rows.
func TestFilteredOutSorted(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", nil)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"picky","type":"echo","topics":"*","filter":"total:>=10"}`)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"bad","type":"echo","topics":["b"],"config":{"answer":"500"}}`)
	for i, topic := range []string{"c", "b", "a"} {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":"e%d","topic":%q,"data":{"total":1}}`, i, topic))
	}
	a.eventually("/deliveries?tenant_id=acme&status=failed", func(o answer) bool { return len(o.list()) == 1 })
	for _, size := range []int{1000, 2} {
		a.Store.SortWindow = size
		got, _ := a.walk("/deliveries?tenant_id=acme&status=filtered_out&status=failed&order_by=topic&dir=asc", "topic")
		if strings.Join(got, " ") != "a b b c" {
			t.Errorf("portions of %d: %v", size, got)
		}
	}
	a.Store.SortWindow = 1000
	got, _ := a.walk("/deliveries?tenant_id=acme&status=filtered_out&status=failed&order_by=status&dir=asc", "status")
	if strings.Join(got, " ") != "failed filtered_out filtered_out filtered_out" {
		t.Errorf("%v", got)
	}
}

// TestEventsByTheirTime tells when events happened from when they were received.
func TestEventsByTheirTime(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", nil)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"in","type":"echo","topics":"*"}`)
	for id, at := range map[string]string{"old": "2026-01-01T00:00:00.0004Z", "older": "2025-12-31T23:59:59Z", "now": ""} {
		body := fmt.Sprintf(`{"tenant_id":"acme","id":%q,"topic":"t","data":{}}`, id)
		if at != "" {
			body = fmt.Sprintf(`{"tenant_id":"acme","id":%q,"topic":"t","time":%q,"data":{}}`, id, at)
		}
		a.want(202, "POST", "/publish", body)
	}
	received := a.want(200, "GET", "/events/now", nil).str("received_at")
	ids := func(list, field string) string {
		got, _ := a.walk(list+"&order_by=time&dir=asc", field)
		return strings.Join(got, " ")
	}
	for _, x := range []struct{ query, want string }{
		{"time[gte]=2026-01-01T00:00:00Z", "old now"},
		{"time[gte]=2026-01-01T00:00:00.0004Z", "old now"},
		{"time[gt]=2026-01-01T00:00:00.0004Z", "now"},
		{"time[lt]=2026-01-01T00:00:00Z", "older"},
		{"time[lte]=2026-01-01T00:00:00.0004Z", "older old"},
		{"time[gte]=" + received, "now"},
		{"time[gt]=" + received, ""},
		{"time[lte]=" + received, "older old now"},
		{"time[lt]=" + received, "older old"},
		{"since=2026-01-02", "older old now"},
		{"received[gte]=2026-01-02", "older old now"},
		{"received[lt]=2026-01-02", ""},
		{"since=2026-01-02&time[lt]=2026-01-02", "older old"},
		{"since=2026-01-02&received[lte]=2026-01-03", ""}, // the stricter one counts
	} {
		for list, field := range map[string]string{"/events?tenant_id=acme&": "id", "/deliveries?tenant_id=acme&": "event_id"} {
			if got := ids(list+x.query, field); got != x.want {
				t.Errorf("%s%s: %q, want %q", list, x.query, got, x.want)
			}
		}
	}
	if out := a.want(200, "GET", "/events?tenant_id=acme&q=older&time[lt]=2026-01-01", nil); len(out.list()) != 1 {
		t.Errorf("by id and time: %s", out.raw)
	}
}

// TestSortedPages orders the pages' lists by their column headers and by the choice in the filter, without JavaScript.
func TestSortedPages(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.Store.SortWindow = 2
	a.tenant("acme")
	for i, topic := range []string{"c", "a", "b"} {
		a.want(200, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":"e%d","topic":%q,"data":{}}`, i, topic), "Prefer", "wait=20")
	}
	v := a.visitor()
	for _, list := range []string{"/t/acme/events", "/t/acme/destinations/inbox/deliveries"} {
		p := v.get(list)
		header := func(p page, name string) (link, dir string) {
			th := p.Find("th").FilterFunction(func(_ int, s *goquery.Selection) bool { return strings.Contains(s.Text(), name) })
			return th.Find("a").AttrOr("href", ""), th.AttrOr("aria-sort", "")
		}
		if _, dir := header(p, "Age"); dir != "descending" {
			t.Errorf("%s: received is sorted %q", list, dir)
		}
		link, dir := header(p, "Topic")
		if dir != "" || link != list+"?dir=asc&order_by=topic" {
			t.Errorf("%s: topic leads to %s, %q", list, link, dir)
		}
		p = v.get(link)
		if got := strings.Join(eventIDs(p), " "); got != "e1 e2" || p.text(`a[rel="next"]`) != "Next" { // a page ends with its portion
			t.Errorf("%s by topic: %s", list, got)
		}
		if got := strings.Join(eventIDs(v.get(p.Find(`a[rel="next"]`).AttrOr("href", ""))), " "); got != "e0" {
			t.Errorf("%s by topic, the next page: %s", list, got)
		}
		p.says("Sorted by topic within the newest 2")
		if link, dir := header(p, "Topic"); dir != "ascending" || link != list+"?order_by=topic" {
			t.Errorf("%s: topic leads to %s, %q", list, link, dir)
		}
		if p.Find(`[name=order_by] option[selected]`).AttrOr("value", "") != "topic" ||
			p.Find(`[name=dir] option[selected]`).AttrOr("value", "") != "asc" {
			t.Errorf("%s: the order is not shown in the filter", list)
		}
		for by, column := range map[string]string{"time": "Happened", "last_attempt_at": "Last attempt"} {
			if _, dir := header(v.get(list+"?order_by="+by), column); dir != "descending" {
				t.Errorf("%s by %s has no such column", list, by)
			}
		}
	}
	if p := v.send("GET", "/t/acme/events?order_by=size", nil); p.status != 422 {
		t.Errorf("an order that is none: %d", p.status)
	}
}
