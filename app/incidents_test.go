package app

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

type incidents struct {
	Models []struct {
		Tenant      string `json:"tenant_id"`
		Destination string `json:"destination_id"`
		State       string
		Cause       string
		Since       time.Time
		Held        int
		Retrying    int
		Failures    int     `json:"failures_in_a_row"`
		Limit       int     `json:"disable_after"`
		Least       float64 `json:"disable_least_seconds"`
		DisabledBy  string  `json:"disabled_by"`
	}
	Total  int
	States map[string]int
}

// TestIncidents: each destination in trouble is listed once, with what waits for it, and in the order in which somebody should
// look at them.
func TestIncidents(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	topics := func(topic string) []string { return []string{topic} }
	for id, answers := range map[string]string{"broken": "500", "waits": "500", "worse": "500", "off": "200", "early": "200"} {
		d := map[string]any{"id": id, "type": "echo", "topics": topics("to." + id), "config": map[string]any{"answer": answers}}
		if id == "waits" {
			d["retry"] = map[string]any{"schedule": []string{"6h"}}
		}
		a.want(201, "POST", "/tenants/acme/destinations", d)
	}
	publish := func(to string, n int) {
		for range n {
			a.want(202, "POST", "/publish", map[string]any{"tenant_id": "acme", "topic": "to." + to, "data": map[string]any{}})
		}
	}
	a.want(200, "PUT", "/tenants/acme/destinations/off/disable", map[string]any{"reason": "Moving house"})
	a.want(200, "PUT", "/tenants/acme/destinations/early/disable", map[string]any{"reason": ""})
	publish("off", 3)
	publish("early", 1)
	publish("broken", 1)
	publish("waits", 4)
	publish("worse", 5)
	var found incidents
	list := func(o answer) string {
		found = incidents{}
		if err := json.Unmarshal([]byte(o.raw), &found); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, x := range found.Models {
			lines = append(lines, fmt.Sprintf("%s %s %d+%d", x.Destination, x.State, x.Held, x.Retrying))
		}
		return strings.Join(lines, ", ")
	}
	a.eventually("/incidents?tenant_id=acme", func(o answer) bool {
		return list(o) == "waits failing 0+4, worse failing 0+0, broken failing 0+0, off disabled 3+0, early disabled 1+0" && found.Models[1].Failures == 5
	})
	x := found.Models[0]
	if x.Tenant != "acme" || x.Cause == "" || x.Failures != 4 || x.Limit != 100 || x.Least != 600 || time.Since(x.Since) > 5*time.Minute || x.DisabledBy != "" {
		t.Errorf("%+v", x)
	}
	if x := found.Models[3]; x.Cause != "Moving house" || x.DisabledBy == "" {
		t.Errorf("%+v", x)
	}

	// When the server disables one, that comes first.
	a.exec("update destination_health h set failures = 100, since = now() - interval '11 minutes' from destinations d where d.key = h.destination_key and d.id = 'broken'")
	publish("broken", 1)
	a.eventually("/incidents?tenant_id=acme", func(o answer) bool {
		return strings.HasPrefix(list(o), "broken disabled_by_waybill 0+0, waits failing 0+4")
	})
	if x := found.Models[0]; x.Cause == "" || x.DisabledBy != "Waybill" || found.Total != 5 {
		t.Errorf("%+v", found)
	}
	if got := fmt.Sprint(found.States); got != "map[disabled:2 disabled_by_waybill:1 failing:2]" {
		t.Error(got)
	}

	// Parts of it, and whose it is.
	if got := list(a.want(200, "GET", "/incidents?tenant_id=acme&limit=1&state=disabled", nil)); got != "off disabled 3+0" || found.Total != 2 {
		t.Errorf("%s of %d", got, found.Total)
	}
	if got := list(a.want(200, "GET", "/incidents", nil)); found.Total != 5 {
		t.Errorf("all tenants: %s", got)
	}
	a.want(422, "GET", "/incidents?limit=0", nil)
	a.want(422, "GET", "/incidents?state=odd", nil)
	token := a.as(a.want(200, "GET", "/tenants/globex/token", nil).str("token"))
	if got := list(token.want(200, "GET", "/incidents", nil)); got != "" || found.Total != 0 {
		t.Errorf("globex sees %s", got)
	}
	token.want(404, "GET", "/incidents?tenant_id=acme", nil)

	// What works again is no incident any more, and the overview counts the same.
	a.want(200, "PUT", "/tenants/acme/destinations/off/enable", map[string]any{"backlog": "deliver"})
	a.eventually("/incidents?tenant_id=acme", func(o answer) bool {
		return list(o) == "broken disabled_by_waybill 0+0, waits failing 0+4, worse failing 0+0, early disabled 1+0"
	})
	if o := a.overview("tenant_id=acme"); o.Failing != 2 || o.Disabled != 2 {
		t.Errorf("the overview says %d failing, %d disabled", o.Failing, o.Disabled)
	}
}
