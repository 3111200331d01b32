package app

import (
	"net/url"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

// Times are in the zone that the viewer's browser tells, UTC is at hand, and addresses, exports and the API stay in UTC.
func TestTimesInTheViewersZone(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.want(202, "POST", "/publish", `{"id":"e-1","tenant_id":"acme","data":{}}`)
	o := a.eventually("/attempts?tenant_id=acme", func(o answer) bool { return o.str("models", "0", "id") != "" })
	at, err := time.Parse(time.RFC3339Nano, o.str("models", "0", "time"))
	if err != nil {
		t.Fatal(err)
	}
	tokyo := at.In(time.FixedZone("JST", 9*60*60)) // no summer time there
	const list = "/t/acme/attempts"
	attempt := list + "/" + o.str("models", "0", "id")
	v := a.visitor()

	utc := at.UTC().Format("2006-01-02 15:04:05.000 MST")
	v.get(attempt).says(utc)
	p := v.get(list)
	p.says("Started (UTC)")
	if !strings.Contains(p.text("footer"), "All times UTC") {
		t.Errorf("the foot says %q", p.text("footer"))
	}

	v.setCookie("waybill_zone", "Asia/Tokyo")
	v.get(attempt).says(tokyo.Format("2006-01-02 15:04:05.000 MST") + " (" + at.UTC().Format("15:04:05.000 MST") + ")")
	p = v.get(list)
	p.says("Started (JST)")
	title := p.Find("tbody time").AttrOr("title", "")
	if !strings.HasPrefix(title, tokyo.Format("2006-01-02 15:04:05.000 MST")) || !strings.HasSuffix(title, utc) {
		t.Errorf("pointing at a time says %q, want it in both zones", title)
	}
	if got := p.Find("tbody time").AttrOr("datetime", ""); got != at.UTC().Format("2006-01-02T15:04:05.000Z") {
		t.Errorf("for machines the time is %q", got)
	}

	// What is typed into a filter is in the zone that is shown, and the address says it in UTC.
	if got := p.Find(`form[role=search] input[name=zone]`).AttrOr("value", ""); got != "Asia/Tokyo" {
		t.Errorf("the filter says that it is in zone %q", got)
	}
	typed := url.Values{"zone": {"Asia/Tokyo"}, "since": {tokyo.Add(-time.Minute).Format("2006-01-02T15:04:05")},
		"until": {tokyo.Add(time.Minute).Format("2006-01-02 15:04:05")}, "topic": {""}}
	q := v.address(v.get(list + "?" + typed.Encode()).path).Query()
	if q.Has("zone") || q.Get("since") != at.UTC().Add(-time.Minute).Truncate(time.Second).Format(time.RFC3339) ||
		q.Get("until") != at.UTC().Add(time.Minute).Truncate(time.Second).Format(time.RFC3339) {
		t.Errorf("the filter leads to %v", q)
	}
	p = v.get(list + "?" + q.Encode())
	if n := p.Find("tbody tr").Length(); n != 1 {
		t.Errorf("the list has %d rows", n)
	}
	if got := p.Find("#f-since").AttrOr("value", ""); got != strings.TrimSuffix(typed.Get("since"), ":00") {
		t.Errorf("the filter shows %q, want what was typed: %q", got, typed.Get("since"))
	}
	p.says("From: " + strings.TrimSuffix(tokyo.Add(-time.Minute).Format("2006-01-02 15:04:05"), ":00") + " JST")
	v.send("GET", list+"?zone=Nowhere/Atall&since=2026-01-01", nil).says("zone must be the name of a time zone, like Europe/Berlin")

	// UTC can be chosen.
	v.post("/preferences", "times", "utc", "return", list)
	v.get(attempt).says(utc + " (" + tokyo.Format("15:04:05.000 MST") + ")")
	v.get(list).says("Started (UTC)")
	v.post("/preferences", "times", "local", "return", list)
	v.get(list).says("Started (JST)")
	for _, bad := range []string{"Local", "../../etc/passwd", "Nowhere/Atall", ""} {
		v.setCookie("waybill_zone", bad)
		v.get(list).says("Started (UTC)")
	}
}
