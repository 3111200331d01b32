package app

import (
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
)

// TestSelectedDestinations disables and enables what was selected in the list: by a plan with exact numbers, and undone from its result.
func TestSelectedDestinations(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.heldDelivery("acme", "e1") // "inbox", disabled
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"e2","data":{}}`)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"two","name":"Two","type":"echo","topics":"*"}`)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"three","type":"echo","topics":"*","config":{"answer":"500"},"retry":{"schedule":["1h"]}}`)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"e3","data":{}}`)
	a.eventually("/events/e3?tenant_id=acme", func(o answer) bool { return o.str("deliveries", "retrying") == "1" })
	v := a.visitor()
	const list, chosen = "/t/acme/destinations", "/t/acme/selected-destinations"
	const both = "?destination_id=inbox&destination_id=two&destination_id=three"

	p := v.get(list)
	if n := p.Find(`input[form=chosen][name=destination_id]`).Length(); n != 3 {
		t.Errorf("%d destinations can be selected", n)
	}
	p.Find(`#chosen button`).Each(func(_ int, s *goquery.Selection) {
		if to := s.AttrOr("formaction", ""); !strings.HasPrefix(to, chosen+"/") {
			t.Errorf("a button leads to %q", to)
		}
	})
	v.get(chosen + "/disable").says("Select destinations first.")

	// The plan says what becomes of each and how many deliveries wait; looking at it changes nothing.
	p = v.get(chosen + "/disable" + both + "&destination_id=gone")
	p.says("2 destinations will be disabled. Deliveries waiting for a retry, which are held when they are due: 1.")
	p.says("1 of the selected destinations is not there any more.")
	becomes := func(id string) string { return p.text(`tr:has(a[href$="/` + id + `"]) td:last-child`) }
	if got := becomes("two") + ", " + becomes("inbox"); got != "Disabled, No change" {
		t.Errorf("the plan says %q", got)
	}
	v.post(chosen+"/disable", "destination_id", "two", "reason_kind", "other").refused(422, "reason", "say why in a few words")
	if n := a.count("select count(*) from audit where action = 'destination.disable'"); n != 1 {
		t.Errorf("%d destinations were disabled by a plan", n-1)
	}

	p = v.post(chosen+"/disable", "destination_id", "inbox", "destination_id", "two", "destination_id", "three", "reason_kind", "Maintenance")
	p.says("Disabled: 2. New events are held. Unchanged: 1.")
	if d := a.want(200, "GET", "/tenants/acme/destinations/two", nil); !strings.Contains(d.raw, "Maintenance") {
		t.Errorf("%s", d.raw)
	}
	for _, id := range []string{"two", "three"} {
		a.entry("destination.disable", id)
	}

	// From the result it is undone.
	to := p.Find(`main a[href^="`+chosen+`/enable"]`).AttrOr("href", "")
	p = v.get(to)
	p.says("3 destinations will be enabled. Held deliveries: 3.")
	p.says("Deliver 3 held")
	p = v.post(chosen+"/enable", "destination_id", "inbox", "destination_id", "two", "destination_id", "three", "action", "drop")
	p.says("Enabled: 3. New events are delivered.")
	a.eventually("/events/e1?tenant_id=acme", func(o answer) bool { return o.str("deliveries", "cancelled") == "1" })
	v.post(chosen+"/enable", "destination_id", "two", "action", "x").refused(422, "", "backlog must be one of deliver, drop, keep")
	v.post(chosen+"/disable", "destination_id", "two", "destination_id", "theirs", "reason_kind", "Maintenance").
		says("Disabled: 1. New events are held. Refused: 1. theirs: ")
}
