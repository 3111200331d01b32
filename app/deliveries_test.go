package app

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestDeliveriesByLastAttempt lists deliveries by what was tried last, which is another order than that of the events.
func TestDeliveriesByLastAttempt(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", nil)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"ok","type":"echo","topics":["good"]}`)
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"bad","type":"echo","topics":["bad"],"config":{"answer":"500"},"retry":{"schedule":["1ms"],"max_attempts":1}}`)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"off","type":"echo","topics":["held"]}`)
	a.want(200, "PUT", "/tenants/acme/destinations/off/disable", nil)
	for i, topic := range []string{"good", "bad", "held", "good", "bad", "good", "bad"} {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":"e%d","topic":%q,"data":{}}`, i, topic))
	}
	a.eventually("/deliveries?tenant_id=acme&status=delivered&status=failed", func(o answer) bool { return len(o.list()) == 6 })
	again := func(event, destination string) {
		before := a.want(200, "GET", "/attempts?event_id="+event, nil)
		a.want(202, "POST", "/retry", fmt.Sprintf(`{"event_id":%q,"destination_id":%q}`, event, destination))
		a.eventually("/attempts?event_id="+event, func(o answer) bool { return len(o.list()) > len(before.list()) })
	}
	again("e3", "ok")
	again("e1", "bad")
	again("e0", "ok")

	read := func(query string) (events, attempted []string) {
		next := ""
		for {
			out := a.want(200, "GET", "/deliveries?tenant_id=acme&limit=2&sort=last_attempt_at&"+query+"&next="+url.QueryEscape(next), nil)
			if out.str("pagination", "order_by") != "last_attempt_at" {
				t.Errorf("%s", out.raw)
			}
			for i := range out.list() {
				events = append(events, out.str("models", fmt.Sprint(i), "event_id"))
				attempted = append(attempted, out.str("models", fmt.Sprint(i), "last_attempt_at"))
			}
			if next = out.str("pagination", "next"); next == "" {
				return events, attempted
			}
		}
	}
	events, attempted := read("dir=desc")
	slices.Reverse(attempted)
	if got := strings.Join(events, " "); !strings.HasPrefix(got, "e0 e1 e3 ") || len(events) != 6 || !slices.IsSorted(attempted) {
		t.Errorf("newest attempt first: %s, %v", got, attempted)
	}
	asc, _ := read("dir=asc")
	slices.Reverse(asc)
	if !slices.Equal(asc, events) {
		t.Errorf("in one direction %v, in the other %v", events, asc)
	}
	if failed, _ := read("status=failed"); len(failed) != 3 || failed[0] != "e1" {
		t.Errorf("failed: %v", failed)
	}
	if ok, _ := read("destination_id=ok"); strings.Join(ok[:2], " ") != "e0 e3" || len(ok) != 3 {
		t.Errorf("of one destination: %v", ok)
	}
	if out := a.want(200, "GET", "/deliveries?sort=created_at&limit=1", nil); out.str("models", "0", "event_id") != "e6" ||
		out.str("pagination", "order_by") != "created_at" {
		t.Errorf("%s", out.raw)
	}
	cursor := a.want(200, "GET", "/deliveries?sort=created_at&limit=1", nil).str("pagination", "next")
	a.want(400, "GET", "/deliveries?sort=last_attempt_at&limit=1&next="+cursor, nil)
	if out := a.want(422, "GET", "/deliveries?sort=size", nil); !strings.Contains(out.str("fields", "sort"),
		"created_at, received_at, time, topic") {
		t.Errorf("%s", out.raw)
	}
}
