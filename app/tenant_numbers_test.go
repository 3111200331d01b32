package app

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// troubledTenants are tenants in each state: failing has one destination that fails and one that is disabled, off one that is
// disabled, kept a delivery that is held for one that works again, again one that is tried again, busy three events, calm one,
// and quiet nothing.
func (a *testApp) troubledTenants() {
	a.Helper()
	publish := func(tenant, topic string, n int) {
		for i := range n {
			a.want(202, "POST", "/publish", map[string]any{"id": fmt.Sprintf("%s-%s-%d", tenant, topic, i), "tenant_id": tenant, "topic": topic,
				"data": map[string]any{}})
		}
	}
	add := func(tenant string, fields map[string]any) {
		fields["type"] = "echo"
		a.want(201, "POST", "/tenants/"+tenant+"/destinations", fields)
	}
	a.want(200, "DELETE", "/tenants/demo", nil)
	for _, id := range []string{"quiet", "calm", "again", "busy", "kept", "off", "failing"} {
		a.tenant(id)
	}
	add("failing", map[string]any{"id": "broken", "topics": []string{"bad"}, "config": map[string]any{"answer": "500"}})
	add("failing", map[string]any{"id": "off", "topics": []string{"none"}})
	a.want(200, "PUT", "/tenants/failing/destinations/off/disable", map[string]any{"reason": "Maintenance"})
	add("off", map[string]any{"id": "off", "topics": []string{"kept"}})
	a.want(200, "PUT", "/tenants/off/destinations/off/disable", map[string]any{"reason": "Maintenance"})
	add("kept", map[string]any{"id": "off", "topics": []string{"kept"}})
	a.want(200, "PUT", "/tenants/kept/destinations/off/disable", map[string]any{"reason": "Maintenance"})
	add("again", map[string]any{"id": "late", "topics": []string{"late"}, "retry": map[string]any{"schedule": []string{"6h"}},
		"config": map[string]any{"answer": "500"}})
	publish("calm", "fine", 1)
	publish("failing", "bad", 1)
	publish("off", "kept", 1)
	publish("kept", "kept", 2)
	publish("again", "late", 1)
	publish("busy", "fine", 3)
	a.want(200, "PUT", "/tenants/kept/destinations/off/enable", map[string]any{"backlog": "keep"})
}

// tenantLines are the tenants of a list with their numbers.
func tenantLines(out answer) (lines []string) {
	for _, m := range out.list() {
		t := m.(map[string]any)
		n := t["numbers"].(map[string]any)
		lines = append(lines, fmt.Sprintf("%v %v: failing %v, disabled %v, retrying %v, held %v, received %v, delivered %v, failed %v, success %v",
			t["id"], n["state"], n["failing"], n["disabled"], n["retrying"], n["held"], n["received"], n["delivered"], n["failed"], n["success_rate"]))
	}
	return lines
}

// TestTenantsByTrouble: the tenant that needs somebody most comes first, with the numbers of its own overview.
func TestTenantsByTrouble(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.troubledTenants()
	const list = "/tenants?include=numbers&order_by=trouble"
	want := strings.Join([]string{
		"failing failing: failing 1, disabled 1, retrying 0, held 0, received 1, delivered 1, failed 1, success 50",
		"off disabled: failing 0, disabled 1, retrying 0, held 1, received 1, delivered 1, failed 0, success 100",
		"kept held: failing 0, disabled 0, retrying 0, held 2, received 2, delivered 2, failed 0, success 100",
		"again retrying: failing 0, disabled 0, retrying 1, held 0, received 1, delivered 1, failed 0, success 50",
		"busy healthy: failing 0, disabled 0, retrying 0, held 0, received 3, delivered 3, failed 0, success 100",
		"calm healthy: failing 0, disabled 0, retrying 0, held 0, received 1, delivered 1, failed 0, success 100",
		"quiet quiet: failing 0, disabled 0, retrying 0, held 0, received 0, delivered 0, failed 0, success <nil>",
	}, "\n")
	got := ""
	a.eventually(list, func(o answer) bool {
		got = strings.Join(tenantLines(o), "\n")
		return got == want
	})
	for _, m := range a.want(200, "GET", list, nil).list() {
		id := m.(map[string]any)["id"].(string)
		n := m.(map[string]any)["numbers"].(map[string]any)
		o := a.overview("tenant_id=" + id)
		line := fmt.Sprintf("received %v, delivered %v, failed %v, retrying %v, held %v, failing %v, disabled %v", n["received"], n["delivered"],
			n["failed"], n["retrying"], n["held"], n["failing"], n["disabled"])
		if its := fmt.Sprintf("received %d, delivered %d, failed %d, retrying %d, held %d, failing %d, disabled %d", o.Received.Value,
			o.Delivered.Value, o.Failed.Value, *o.Retrying, *o.Held, o.Failing, o.Disabled); its != line {
			t.Errorf("%s: %s in the list, %s on its overview", id, line, its)
		}
		points, sum := n["points"].([]any), 0.0
		for _, p := range points {
			sum += p.(map[string]any)["received"].(float64)
		}
		if len(points) != 24 || sum != n["received"].(float64) {
			t.Errorf("%s: %d points with %v events of %v", id, len(points), sum, n["received"])
		}
		last, _ := n["last_event_at"].(string)
		if events := a.want(200, "GET", "/events?limit=1&tenant_id="+id, nil); last != "" != (len(events.list()) > 0) ||
			last != "" && last != events.str("models", "0", "received_at") {
			t.Errorf("%s: last event %q", id, last)
		}
	}

	for by, want := range map[string]string{
		"order_by=trouble&dir=asc": "quiet calm busy again kept off failing",
		"order_by=name&dir=asc":    "again busy calm failing kept off quiet",
		"order_by=received":        "busy kept failing off again calm quiet",
		"order_by=last_event_at":   "busy again kept off failing calm quiet",
		"order_by=created_at":      "failing off kept busy again calm quiet",
		"":                         "failing off kept busy again calm quiet",
	} {
		if ids, _ := a.walk("/tenants?"+by, "id"); strings.Join(ids, " ") != want {
			t.Errorf("%q: %s, want %s", by, strings.Join(ids, " "), want)
		}
	}

	// People see a tenant's name; so the list is sorted by it.
	a.want(200, "PATCH", "/tenants/quiet/settings", `{"name":"Acme"}`)
	if ids, _ := a.walk("/tenants?order_by=name&dir=asc&q=q", "id"); strings.Join(ids, " ") != "quiet" {
		t.Errorf("by name, with a search: %v", ids)
	}
	if first := a.want(200, "GET", "/tenants?order_by=name&dir=asc", nil).str("models", "0", "id"); first != "quiet" {
		t.Errorf("the name is Acme, but the first is %s", first)
	}
	if out := a.want(200, "GET", "/tenants", nil); strings.Contains(out.raw, "numbers") {
		t.Errorf("numbers that nobody asked for: %s", out.raw)
	}
	a.want(422, "GET", "/tenants?order_by=size", nil)
	a.want(422, "GET", "/tenants?include=everything", nil)

	// A tenant's own token sees its own numbers.
	token := a.as(a.want(200, "GET", "/tenants/kept/token", nil).str("token"))
	if lines := tenantLines(token.want(200, "GET", list, nil)); len(lines) != 1 || !strings.HasPrefix(lines[0], "kept held: failing 0, disabled 0, retrying 0, held 2") {
		t.Errorf("kept sees %v", lines)
	}
}

// TestTenantOfOldEvents: an event that was received more than a day ago is the last one, and counts no more.
func TestTenantOfOldEvents(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(200, "DELETE", "/tenants/demo", nil)
	a.tenant("acme")
	a.exec(`insert into traffic (tenant_key, grain, start, received, delivered, failed, retrying, first, first_failed)
		select key, 1800, date_trunc('hour', now()) - ago, 7, 0, 0, 0, 0, 0 from tenants, unnest(array[interval '26 hours', interval '2 hours']) ago where id = 'acme'`)
	out := a.want(200, "GET", "/tenants?include=numbers", nil)
	if n := out.str("models", "0", "numbers", "received"); n != "7" {
		t.Errorf("%s events in 24 hours", n)
	}
	if since, err := time.Parse(time.RFC3339, out.str("models", "0", "numbers", "since")); err != nil || time.Since(since) > 24*time.Hour {
		t.Errorf("since %v: %v", since, err)
	}
}
