package views

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models"
)

func TestLengthsOfTime(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration][2]string{
		0:                         {"0 ms", "0 s"},
		30 * time.Microsecond:     {"30 µs", "0 s"},
		2400 * time.Microsecond:   {"2.4 ms", "0 s"},
		142300 * time.Microsecond: {"142 ms", "0 s"},
		1240 * time.Millisecond:   {"1.24 s", "1 s"},
		80 * time.Second:          {"1 min 20 s", "1 min 20 s"},
		6 * time.Hour:             {"6 h", "6 h"},
		17*time.Hour + 4*time.Minute + time.Second: {"17 h 4 min", "17 h 4 min"},
		30 * 24 * time.Hour:                        {"30 days", "30 days"},
		25 * time.Hour:                             {"1 day 1 h", "1 day 1 h"},
	} {
		if got := took(d); got != want[0] {
			t.Errorf("took(%v) = %q, want %q", d, got, want[0])
		}
		if got := span(d); got != want[1] {
			t.Errorf("span(%v) = %q, want %q", d, got, want[1])
		}
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 12: "12", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
	if got := plural(1, "delivery") + " " + plural(2, "delivery") + " " + plural(1200,
		"event"); got != "1 delivery 2 deliveries 1,200 events" {
		t.Error(got)
	}
	if got := size(1) + ", " + size(2048) + ", " + size(3<<20) + ", " + size(4<<30); got != "1 byte, 2.0 KiB, 3.0 MiB, 4.0 GiB" {
		t.Error(got)
	}
	if got := shortID("evt_0195939e1a2b7c3d8e4f5a6b7c8d9e0f"); got != "evt_0195…8d9e0f" {
		t.Error(got)
	}
	if got := shortID("order-4711"); got != "order-4711" {
		t.Error(got)
	}
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"URL", "is required", "URL is required"},
		{"Topics", `"x" is not in the catalogue: a`, `"x" is not in the catalogue: a`},
		{"Filter", "cannot be understood: no value", "Filter cannot be understood: no value"},
		{"Timeout", `"abc" is not a duration`, `"abc" is not a duration`},
		{"", "is required", "Is required"},
		{"URL", "", ""},
	} {
		if got := sentence(c[0], c[1]); got != c[2] {
			t.Errorf("sentence(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestCurl(t *testing.T) {
	t.Parallel()
	got := APICall{Method: "POST", Path: "/api/v1/publish", Body: `{"a":"it's"}`}.Curl("https://w.example.com")
	want := "curl -X POST 'https://w.example.com/api/v1/publish' \\\n  -H \"Authorization: Bearer $WAYBILL_API_KEY\" \\\n" +
		"  -H 'Content-Type: application/json' \\\n  -d '{\"a\":\"it'\\''s\"}'"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := (APICall{Path: "/api/v1/events?q=$(id)&x=1"}).Curl("https://w"); !strings.HasPrefix(got,
		"curl 'https://w/api/v1/events?q=$(id)&x=1' ") {
		t.Error(got)
	}
}

func TestRollup(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		counts models.Counts
		want   string
	}{
		{models.Counts{}, "No destination matched"},
		{models.Counts{"filtered_out": 2}, "Filtered out"},
		{models.Counts{"delivered": 1}, "Delivered"},
		{models.Counts{"delivered": 3}, "All 3 delivered"},
		{models.Counts{"delivered": 2, "cancelled": 1}, "2 of 3 delivered"},
		{models.Counts{"delivered": 2, "failed": 1, "filtered_out": 4}, "1 of 3 failed"},
		{models.Counts{"failed": 1, "retrying": 1}, "1 of 2 failed"},
		{models.Counts{"retrying": 1}, "Retrying"},
		{models.Counts{"held": 2}, "All 2 held"},
		{models.Counts{"pending": 1, "delivering": 1, "delivered": 1}, "2 of 3 pending"},
		{models.Counts{"cancelled": 1}, "Cancelled"},
	} {
		if got := rollup(c.counts).Word; got != c.want {
			t.Errorf("rollup(%v) = %q, want %q", c.counts, got, c.want)
		}
	}
}

// TestWordsOfStates holds the words that people read to the list that documentation and API share.
func TestWordsOfStates(t *testing.T) {
	t.Parallel()
	want := "Pending, Delivering, Delivered, Retrying, Failed, Held, Filtered out, Cancelled"
	var got []string
	for _, s := range models.Statuses {
		got = append(got, statusLook(s).Word)
	}
	if strings.Join(got, ", ") != want {
		t.Errorf("%v", got)
	}
}

func TestListAddresses(t *testing.T) {
	t.Parallel()
	q := url.Values{"status": {"failed", "retrying"}, "q": {""}, "next": {"abc"}, "range": {"24h"}, "since": {"2026-01-01T00:00:00Z"}}
	if got := without(q, "status", "failed").Encode(); got != "range=24h&status=retrying" {
		t.Error(got)
	}
	if got := replaced(q, "status").Encode(); got != "range=24h" {
		t.Error(got)
	}
	if len(q["status"]) != 2 || q.Get("next") != "abc" {
		t.Error("the query itself was changed")
	}
	p := newPager("/e", q, 2, "event", Cursors{Next: "n", Prev: "p", Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if p.Older != "/e?next=n&range=24h&since=2026-01-01T00%3A00%3A00Z&status=failed&status=retrying" ||
		!strings.Contains(p.Newer, "prev=p") {
		t.Errorf("%+v", p)
	}
	p = newPager("/e", q, 2, "event", Cursors{Next: "n", Asc: true})
	if p.Older != "" || !strings.Contains(p.Newer, "next=n") {
		t.Errorf("oldest first: %+v", p)
	}
	labels := []string{}
	for _, c := range chips[models.EventQuery]("/e", q, map[string][]Option{timeRange: Ranges}) {
		labels = append(labels, c.Label)
	}
	if got := strings.Join(labels, "; "); got != "Time: Last 24 hours; Status: Failed; Status: Retrying" {
		t.Error(got)
	}
	if got := EventURL("a b", "x/../y?z"); got != "/t/a%20b/events/x%2F..%2Fy%3Fz" {
		t.Error(got)
	}
}

func TestParseJSON(t *testing.T) {
	t.Parallel()
	n := parseJSON([]byte(`{"b":1.50,"a":[true,null,"<x>"],"big":12345678901234567890}`))
	if n == nil || len(n.members) != 3 {
		t.Fatalf("%+v", n)
	}
	if n.members[0].key != `"b"` || n.members[0].value.text != "1.50" || n.members[2].value.text != "12345678901234567890" {
		t.Error("order or text of numbers was lost")
	}
	if n.members[1].value.members[2].value.text != `"<x>"` {
		t.Errorf("%+v", n.members[1].value.members[2].value)
	}
	for _, bad := range []string{"", "{", `{"a":1} x`, "nope", strings.Repeat("[", 200) + strings.Repeat("]", 200)} {
		if parseJSON([]byte(bad)) != nil {
			t.Errorf("parseJSON(%.20q) found a value", bad)
		}
	}
	long := parseJSON([]byte(`{"list":[` + strings.Repeat(`{"a":1},`, 9999) + `{"a":1}],"last":1}`)).members[0].value
	if got := len(long.members) + long.omitted; got != 10_000 || len(long.members) > maxNodes || len(long.members) < maxNodes/3 ||
		long.holds() != "10,000 items" {
		t.Errorf("of 10,000 objects %d are shown and %d are not: %s", len(long.members), long.omitted, long.holds())
	}
	many := parseJSON([]byte(`{"a":{"b":{"c":{"d":[` + strings.Repeat("1,", 300) + `1]}}}}`))
	if c := many.members[0].value.members[0].value.members[0].value; !many.open || c.open {
		t.Error("in a large payload the deep objects start closed")
	}
}

func TestFilterInput(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{`"total:>=10"`: "total:>=10", `null`: "", ``: "", `{"a":1}`: "{\n  \"a\": 1\n}", `""`: ""} {
		if got := filterInput([]byte(raw)); got != want {
			t.Errorf("filterInput(%s) = %q, want %q", raw, got, want)
		}
	}
}

func TestDisabledBy(t *testing.T) {
	t.Parallel()
	d := galleryDestination(true)
	if got := disabledBy(d); got != "Disabled by Ann" {
		t.Error(got)
	}
	d.DisabledBy = ""
	if got := disabledBy(d); got != "Disabled by Waybill" {
		t.Error(got)
	}
}

func TestCertificateText(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		-time.Hour:                   "Ended on 1 March 2026, 11:00 UTC",
		time.Hour:                    "Valid until 1 March 2026, 13:00 UTC, for less than a day",
		25 * time.Hour:               "Valid until 2 March 2026, 13:00 UTC, for 1 day",
		4*24*time.Hour + time.Minute: "Valid until 5 March 2026, 12:01 UTC, for 4 days",
	} {
		if got := certificateText(Zone{}, now.Add(left), now); got != want {
			t.Errorf("%v: %q, want %q", left, got, want)
		}
	}
}
