package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/models"
)

// fails makes a tenant's destination "dead" fail n deliveries in a row.
func (a *celled) fails(tenant string, n int) {
	a.Helper()
	a.want(201, "POST", "/tenants/"+tenant+"/destinations",
		`{"id":"dead","name":"Dead end","type":"echo","topics":["bad"],"config":{"answer":"500"}}`)
	for range n {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":%q,"topic":"bad","data":{}}`, tenant))
	}
}

// alerts are the operators' alerts in one state, as tenant and rule.
func (a *celled) alerts(status string) (list []string) {
	a.Helper()
	for _, v := range a.want(200, "GET", "/alerts?status="+status, nil).list() {
		x := v.(map[string]any)
		list = append(list, fmt.Sprint(x["tenant_id"], " ", x["rule_name"]))
	}
	slices.Sort(list)
	return list
}

// TestOperatorsAlertsOfCells: the operators' rules watch tenants wherever they are, and their channels tell of them.
func TestOperatorsAlertsOfCells(t *testing.T) {
	t.Parallel()
	a := newCelledApp(t, "eu1", "eu2")
	h := newHook(t)
	for _, v := range a.want(200, "GET", "/alert-rules", nil).list() {
		a.want(200, "DELETE", "/alert-rules/"+v.(map[string]any)["id"].(string), nil)
	}
	channel := a.want(201, "POST", "/channels", map[string]any{"type": "webhook", "name": "On call", "config": map[string]any{"url": h.URL}}).str("id")
	rule := a.want(201, "POST", "/alert-rules", `{"name":"Two in a row","when":{"consecutive_failures":2}}`).str("id")
	for _, tenant := range []string{"in-main", "in-eu1", "in-eu2"} {
		a.fails(tenant, 2)
	}
	all := []string{"in-eu1 Two in a row", "in-eu2 Two in a row", "in-main Two in a row"}
	a.eventually("/alerts?status=open", func(o answer) bool { return len(o.list()) == 3 })
	if got := a.alerts("open"); !slices.Equal(got, all) {
		t.Fatal(got)
	}
	a.eventually("/notifications?status=sent&kind=opened", func(o answer) bool { return len(o.list()) == 3 })
	for _, tenant := range []string{"in-main", "in-eu1", "in-eu2"} {
		if !slices.ContainsFunc(h.got(), func(s string) bool { return strings.Contains(s, tenant) && strings.Contains(s, "Two in a row") }) {
			t.Errorf("no notice about %s: %q", tenant, h.got())
		}
	}
	v := a.visitor()
	for _, path := range []string{"/alerts", "/alerts/notifications"} {
		for _, tenant := range []string{"in-main", "in-eu1", "in-eu2"} {
			v.get(path).says(tenant)
		}
	}
	v.get("/alerts/channels").says("On call")
	if got := v.get("/tenants").text("a[data-section=alerts] .count"); got != "3 open" {
		t.Errorf("the menu says %q alerts", got)
	}
	t.Run("an alert is shown, acknowledged and ended where it is", func(t *testing.T) {
		id := a.want(200, "GET", "/alerts?cell=eu1", nil).str("models", "0", "id")
		if got := a.want(200, "GET", "/alerts/"+id, nil); got.str("tenant_id") != "in-eu1" || got.str("failed_events", "0", "topic") != "bad" {
			t.Error(got.raw)
		}
		v.get("/alerts/" + id).says("Two in a row")
		v.get("/alerts/" + id).says("On call")
		a.want(200, "POST", "/alerts/"+id+"/acknowledge", `{"message":"on it"}`)
		a.want(200, "POST", "/alerts/"+id+"/mute", `{"for":"1h"}`)
		if got := a.alerts("acknowledged"); !slices.Equal(got, all[:1]) {
			t.Error(got)
		}
		v.post("/alerts/"+id+"/resolve", "message", "fixed")
		if got := a.alerts("resolved"); !slices.Equal(got, all[:1]) {
			t.Error(got)
		}
		a.want(404, "GET", "/alerts/alrt_00000000000000000000000000000000", nil)
		n := a.want(200, "GET", "/notifications?cell=eu2", nil).str("models", "0", "id")
		a.want(200, "GET", "/notifications/"+n, nil)
		v.get("/alerts/notifications/" + n).says("On call")
		again := a.want(202, "POST", "/notifications/"+n+"/resend", nil).str("id")
		a.eventually("/notifications/"+again, func(o answer) bool { return o.str("status") == "sent" })
	})
	t.Run("a rule names destinations in cells, and says how often it would have fired there", func(t *testing.T) {
		when := `"when":{"consecutive_failures":2},"destination_ids":["in-eu1/dead","in-eu2/dead"]`
		if got := a.want(200, "POST", "/alert-rules/preview", "{"+when+"}"); got.str("count") != "2" || !strings.HasPrefix(got.str("times", "1", "tenant_id"), "in-eu") {
			t.Error(got.raw)
		}
		bad := a.want(422, "POST", "/alert-rules", `{"when":{"disabled":true},"destination_ids":["in-eu1/none"]}`)
		if !strings.Contains(bad.str("fields", "destination_ids[0]"), "is not a destination") {
			t.Error(bad.raw)
		}
	})
	t.Run("alerts end with their rule, in cells too", func(t *testing.T) {
		a.want(200, "PATCH", "/alert-rules/"+rule, `{"disabled":true}`)
		a.eventually("/alerts?status=open", func(o answer) bool { return len(o.list()) == 0 })
		for _, v := range a.want(200, "GET", "/alerts?status=resolved&cell=eu2", nil).list() {
			if why := v.(map[string]any)["resolution"]; why != "The rule was switched off." {
				t.Errorf("it ended because %q", why)
			}
		}
		a.eventually("/notifications?kind=resolved&status=sent", func(o answer) bool {
			return slices.ContainsFunc(o.list(), func(v any) bool { return v.(map[string]any)["tenant_id"] == "in-eu2" })
		})
		a.want(200, "PATCH", "/alert-rules/"+rule, `{"disabled":false}`)
		a.eventually("/alerts?status=open&cell=eu2", func(o answer) bool { return len(o.list()) == 1 })
		a.want(200, "DELETE", "/alert-rules/"+rule, nil)
		a.eventually("/alerts?status=open", func(o answer) bool { return len(o.list()) == 0 })
		a.want(200, "DELETE", "/channels/"+channel, nil)
		for name, db := range a.cells {
			a.until(name+" follows", func() bool {
				var left int
				err := db.QueryRow(t.Context(), "select count(*) from channels where owner_key = 0 and deleted_at is null").Scan(&left)
				return err == nil && left == 0
			})
		}
	})
}

// TestOperatorEventsOfCells: operators are told by events about tenants wherever they are.
func TestOperatorEventsOfCells(t *testing.T) {
	t.Parallel()
	a := newCelledApp(t, "eu1")
	c := newConsumer(t)
	const operators = "/tenants/" + models.OperatorTenant
	a.want(201, "POST", operators+"/destinations", map[string]any{"id": "ops", "type": "webhook", "topics": "*",
		"config": map[string]any{"url": c.URL}, "signature": "outpost", "credentials": map[string]any{"secret": consumerSecret}})
	a.until("the cell knows what operators want", func() bool {
		var n int
		err := a.cells["eu1"].QueryRow(t.Context(), "select count(*) from outcome_readers where tenant_key = 0").Scan(&n)
		return err == nil && n == 1
	})
	a.eventually("/healthz", func(answer) bool { // until the workers know that attempts are wanted
		a.publishes("in-eu1")
		return slices.ContainsFunc(c.of("attempt.success"), func(e operatorEvent) bool {
			return e.TenantID == "in-eu1" && strings.Contains(string(e.Data), `"order":1`)
		})
	})
	a.want(201, "POST", "/tenants/in-eu1/destinations", `{"id":"second","type":"echo","topics":["other"]}`)
	a.eventually("/healthz", func(answer) bool {
		return slices.ContainsFunc(c.of("tenant.subscription.updated"), func(e operatorEvent) bool {
			return e.TenantID == "in-eu1" && strings.Contains(string(e.Data), `"destinations_count":2`)
		})
	})
	// What is not wanted any more is not noted any more.
	a.want(200, "DELETE", operators+"/destinations/ops", nil)
	a.until("the cell knows that operators want nothing", func() bool {
		var n int
		err := a.cells["eu1"].QueryRow(t.Context(), "select count(*) from outcome_readers").Scan(&n)
		return err == nil && n == 0
	})
}
