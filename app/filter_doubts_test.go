package app

import (
	"strings"
	"testing"
)

// TestFiltersThatNeverMatch warns when a filter needs a field that no recent event has, and names the one that is meant.
func TestFiltersThatNeverMatch(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("other")
	create := func(id, filter, topics string) answer {
		return a.want(201, "POST", "/tenants/acme/destinations",
			`{"id":"`+id+`","type":"echo","topics":["`+topics+`"],"filter":`+filter+`}`)
	}
	first := func(out answer) map[string]any {
		list, _ := out.body["warnings"].([]any)
		if len(list) == 0 {
			return nil
		}
		return list[0].(map[string]any)
	}
	// Before there is any event, a key with a dot is suspicious by itself, and nothing else is.
	w := first(create("early", `{"customer.vip":true}`, "order.created"))
	if w["field"] != "filter" || w["path"] != `customer\.vip` || w["meant"] != "customer.vip" ||
		!strings.Contains(w["message"].(string), `{"customer": {"vip": …}}`) {
		t.Errorf("%v", w)
	}
	if w := first(create("early2", `{"anything":true}`, "order.created")); w != nil {
		t.Errorf("nothing is known, and yet %v", w)
	}
	a.want(202, "POST", "/publish",
		`{"tenant_id":"acme","topic":"order.created","data":{"customer":{"vip":false,"email":"a@example.com"},"total":12,"a.b":1}}`)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"order.paid","data":{"paid_at":"2026-01-31"}}`)
	a.want(202, "POST", "/publish", `{"tenant_id":"other","topic":"order.created","data":{"theirs":1}}`)
	for i, c := range []struct{ filter, topics, path, meant, says string }{
		{`{"customer.vip":true}`, "order.created", `customer\.vip`, "customer.vip", "Events have that one."},
		{`{"customer":{"vip":true}}`, "order.created", "", "", ""},
		{`"customer.vip:true total:>=10"`, "order.created", "", "", ""},
		{`"Total:>=10"`, "order.created", "Total", "total", "Events have total."},
		{`{"email":"a@example.com"}`, "order.created", "email", "customer.email", "Events have customer.email."},
		{`{"nothing_like_it":1}`, "order.created", "nothing_like_it", "", "No event has the field nothing_like_it, of the last 1 "},
		{`{"paid_at":{"$exist":true}}`, "order.created", "paid_at", "", "No event has the field"}, // events of other topics do
		{`{"paid_at":{"$exist":true}}`, "order.*", "", "", ""},
		{`{"paid_at":{"$exist":false}}`, "order.created", "", "", ""},
		{`{"theirs":1}`, "order.created", "theirs", "", "No event has the field"}, // another tenant's do
		{`{"a.b":1}`, "order.created", "", "", ""},                                // there is such a key
		{`{"$or":[{"total":1},{"cusotmer":{"vip":true}}]}`, "order.created", "cusotmer.vip", "customer.vip",
			"Events have customer.vip."},
		{`{"$expr":"data.nothing == 1"}`, "order.created", "", "", ""},
	} {
		w := first(create("late"+strings.Repeat("x", i), c.filter, c.topics))
		if w == nil {
			w = map[string]any{"path": "", "meant": nil, "message": ""}
		}
		meant, _ := w["meant"].(string)
		if w["path"] != c.path || meant != c.meant || !strings.Contains(w["message"].(string), c.says) {
			t.Errorf("%s of %s: %v", c.filter, c.topics, w)
		}
	}
	// A change warns when the filter is in it, and so does a trial.
	if w := first(a.want(200, "PATCH", "/tenants/acme/destinations/early2",
		`{"filter":{"customer.vip":true}}`)); w["meant"] != "customer.vip" {
		t.Errorf("changed: %v", w)
	}
	if w := first(a.want(200, "PATCH", "/tenants/acme/destinations/early2", `{"name":"x"}`)); w != nil {
		t.Errorf("changed otherwise: %v", w)
	}
	if w := first(a.want(200, "GET", "/tenants/acme/destinations/early2", nil)); w != nil {
		t.Errorf("shown: %v", w)
	}
	if w := first(a.want(200, "POST", "/filters/test",
		`{"filter":{"customer.vip":true},"tenant_id":"acme"}`)); w["meant"] != "customer.vip" {
		t.Errorf("tried: %v", w)
	}
	if w := first(a.want(200, "POST", "/filters/test",
		`{"filter":{"customer.vip":true},"event":{"data":{"customer":{"vip":true}}}}`)); w["meant"] != "customer.vip" {
		t.Errorf("tried on one: %v", w)
	}
	if w := first(a.want(200, "POST", "/filters/test",
		`{"filter":{"customer":{"vip":true}},"event":{"data":{"customer":{"vip":true}}}}`)); w != nil {
		t.Errorf("tried on one: %v", w)
	}
	// The form says it, too.
	v := a.visitor()
	v.post("/t/acme/destinations/new?type=echo", "name", "x", "topics_mode", "all", "filter",
		`{"customer.vip": true}`).says("It is one key with a dot in its name.")
	// A filter in search notation that is written as a comparison is told how to write it, and where.
	out := a.want(422, "POST", "/tenants/acme/destinations", `{"type":"echo","topics":"*","filter":"total:1 status = paid"}`)
	if !strings.Contains(out.str("fields", "filter"), "`status:paid`") || out.str("position", "column") != "9" {
		t.Errorf("%s", out.raw)
	}
}
