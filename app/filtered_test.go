package app

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// filtered makes a destination with a filter, and publishes events of which it holds most back.
func (a *testApp) filtered() (id string) {
	a.Helper()
	a.tenant("acme")
	id = a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"big","type":"echo","topics":["order.created"],"filter":{"status":"paid","total":{"$gte":100}}}`).str("id")
	for i, data := range []string{`{"status":"paid","total":150}`, `{"status":"paid","total":50}`, `{"status":"paid","total":60}`,
		`{"status":"open","total":500}`, `{"total":70}`} {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":"o%d","topic":"order.created","data":%s}`, i, data))
	}
	return id
}

func TestFilterCounts(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	id := a.filtered()
	// a duplicate, not counted again
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"o1","topic":"order.created","data":{"status":"open"}}`)
	out := a.eventually("/tenants/acme/destinations/"+id+"/filter", func(o answer) bool { return o.body["filtered_out"] == 4.0 })
	if out.str("rules", "0", "filtered_out") != "2" || out.str("rules", "1", "filtered_out") != "2" ||
		out.str("rules", "1", "words") != "`data.total` is at least 100" {
		t.Errorf("%s", out.raw)
	}
	// Counters of a filter that was replaced still count for the destination, but for no rule.
	a.want(200, "PATCH", "/tenants/acme/destinations/"+id, `{"filter":{"$expr":"data.total > 10"}}`)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"f","topic":"order.created","data":{"total":"x"}}`)
	out = a.eventually("/tenants/acme/destinations/"+id+"/filter", func(o answer) bool { return o.body["failed"] == 1.0 })
	if out.body["filtered_out"] != 4.0 || out.str("rules", "0", "filtered_out") != "0" || out.body["notation"] != "expression" {
		t.Errorf("%s", out.raw)
	}
	// What a filter failed on is not delivered, and says why.
	d := a.eventually("/deliveries?tenant_id=acme&event_id=f&destination_id="+id,
		func(o answer) bool { return o.str("models", "0", "status") != "" })
	if d.str("models", "0", "status") != "failed" || !strings.HasPrefix(d.str("models", "0", "reason"), "The filter failed: ") ||
		d.str("models", "0", "attempts") != "0" {
		t.Errorf("%s", d.raw)
	}
	a.want(404, "GET", "/tenants/acme/destinations/none/filter", nil)
}

func TestFilteredDeliveriesAreListed(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	id := a.filtered()
	out := a.want(200, "GET", "/deliveries?tenant_id=acme&status=filtered_out&destination_id="+id, nil)
	if list := out.body["models"].([]any); len(list) != 4 {
		t.Fatalf("%d: %s", len(list), out.raw)
	}
	if out.str("models", "0", "event_id") != "o4" || out.str("models", "0", "reason") != "Rule 1: `data.status` is missing" ||
		out.str("models", "3", "reason") != "Rule 2: `data.total` is 50, needs at least 100" {
		t.Errorf("%s", out.raw)
	}
	// Page by page, mixed with others, in both directions.
	for _, dir := range []string{"asc", "desc"} {
		var seen []string
		next := ""
		for range 20 {
			out := a.want(200, "GET",
				"/deliveries?tenant_id=acme&status=filtered_out&status=pending&status=delivered&limit=2&dir="+dir+next, nil)
			for _, m := range out.body["models"].([]any) {
				d := m.(map[string]any)
				seen = append(seen, fmt.Sprint(d["event_id"], "/", d["destination_id"]))
			}
			if out.str("pagination", "next") == "" {
				break
			}
			next = "&next=" + out.str("pagination", "next")
		}
		want := "o0/inbox o0/big o1/inbox o1/big o2/inbox o2/big o3/inbox o3/big o4/inbox o4/big"
		if dir == "desc" {
			want = "o4/big o4/inbox o3/big o3/inbox o2/big o2/inbox o1/big o1/inbox o0/big o0/inbox"
		}
		if got := strings.Join(seen, " "); got != want {
			t.Errorf("%s: %s", dir, got)
		}
	}
	if out := a.want(200, "GET", "/deliveries?tenant_id=acme&status=filtered_out&event_id=o1", nil); len(out.body["models"].([]any)) != 1 {
		t.Errorf("of an event: %s", out.raw)
	}
	if out := a.want(200, "GET", "/deliveries?tenant_id=acme&status=filtered_out&topic=other", nil); len(out.body["models"].([]any)) != 0 {
		t.Errorf("of a topic: %s", out.raw)
	}
}

func TestSendFilteredAfterAll(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	id := a.filtered()
	path := "/tenants/acme/destinations/" + id
	plan := a.want(200, "POST", path+"/filtered", `{"plan":true}`)
	if plan.body["count"] != 0.0 || plan.body["filtered_out"] != 4.0 {
		t.Errorf("nothing matches yet: %s", plan.raw)
	}
	a.want(200, "PATCH", path, `{"filter":{"status":"paid","total":{"$gte":55}}}`)
	plan = a.want(200, "POST", path+"/filtered", `{"plan":true}`)
	if plan.body["count"] != 1.0 || plan.str("sample", "0") != "o2" || plan.body["matching"] != 1.0 {
		t.Errorf("one matches now: %s", plan.raw)
	}
	past := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	if out := a.want(202, "POST", path+"/filtered", `{"until":"`+past+`"}`); out.body["count"] != 0.0 {
		t.Errorf("before: %s", out.raw)
	}
	if out := a.want(422, "POST", path+"/filtered",
		`{"since":"2026-01-02T00:00:00Z","until":"`+"2026-01-01T00:00:00Z"+`"}`); out.str("fields", "until") == "" {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(202, "POST", path+"/filtered", `{"since":"`+past+`"}`); out.body["count"] != 1.0 {
		t.Errorf("%s", out.raw)
	}
	delivered := func(event string) answer {
		return a.eventually("/deliveries?tenant_id=acme&status=delivered&destination_id="+id+"&event_id="+event,
			func(o answer) bool { return o.str("models", "0", "id") != "" })
	}
	delivered("o2")
	at := a.want(200, "GET", "/attempts?event_id=o2&destination_id="+id, nil)
	if at.str("models", "0", "trigger") != "bulk" || len(at.body["models"].([]any)) != 1 {
		t.Errorf("%s", at.raw)
	}
	a.want(202, "POST", path+"/filtered", `{"all":true}`)
	for _, e := range []string{"o1", "o3", "o4"} {
		delivered(e)
	}
	// Each was sent once, and there is nothing left to send.
	if out := a.want(202, "POST", path+"/filtered", `{"all":true}`); out.body["count"] != 0.0 {
		t.Errorf("%s", out.raw)
	}
	if at := a.want(200, "GET", "/attempts?destination_id="+id, nil); len(at.body["models"].([]any)) != 5 {
		t.Errorf("%s", at.raw)
	}
	a.want(200, "PUT", path+"/disable", `{}`)
	a.want(409, "POST", path+"/filtered", `{}`)
	a.want(200, "GET", "/events/o1/deliveries", nil)
}
