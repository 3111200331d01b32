package app

import (
	"fmt"
	"strings"
	"testing"
)

// results are what became of each, as "id result".
func (o answer) results() string {
	var out []string
	list, _ := o.body["results"].([]any)
	for _, r := range list {
		m := r.(map[string]any)
		s := fmt.Sprint(m["id"], " ", m["result"])
		if e, ok := m["error"].(map[string]any); ok {
			s += fmt.Sprint(" ", e["status"])
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// TestManyDeliveries cancels and retries several deliveries, each with its own result, and once.
func TestManyDeliveries(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("globex")
	held := a.heldDelivery("acme", "e1")
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"e2","data":{}}`)
	second := a.want(200, "GET", "/events/e2/deliveries?tenant_id=acme", nil).str("models", "0", "id")
	theirs := a.want(200, "POST", "/publish", `{"tenant_id":"globex","id":"done","data":{}}`, "Prefer", "wait=20").str("deliveries", "0", "id")
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))

	body := `{"delivery_ids":["` + held + `","` + held + `","nothing","` + theirs + `"],"event_ids":["e2","e1","nothing"]}`
	out := token.want(200, "POST", "/deliveries/cancel", body)
	if got, want := out.results(), held+" done, nothing refused 404, "+theirs+" refused 404, "+second+" done, nothing refused 404"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if out.str("done") != "2" || out.str("refused") != "3" || out.str("results", "0", "status") != "cancelled" || out.str("results", "0",
		"event_id") != "e1" || out.str("results", "0", "destination_id") != "inbox" {
		t.Errorf("%s", out.raw)
	}
	a.entry("delivery.cancel", held)
	a.entry("delivery.cancel", second)
	out = a.want(200, "POST", "/deliveries/cancel", `{"delivery_ids":["`+held+`","`+second+`","`+theirs+`"]}`)
	if got, want := out.results(), held+" unchanged, "+second+" unchanged, "+theirs+" refused 409"; got != want {
		t.Errorf("once more: %s, want %s", got, want)
	}
	if n := a.count("select count(*) from audit where action = 'delivery.cancel'"); n != 2 {
		t.Errorf("%d entries about 2 deliveries", n)
	}

	// What failed is retried; not where the destination is disabled.
	if got, want := token.want(200, "POST", "/deliveries/retry", `{"delivery_ids":["`+held+`"]}`).results(), held+" refused 400"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	a.want(200, "PUT", "/tenants/acme/destinations/inbox/enable", `{}`)
	a.exec("update deliveries set status = 'failed' where status = 'cancelled'")
	out = token.want(200, "POST", "/deliveries/retry", `{"event_ids":["e1","e2"]}`)
	if got, want := out.results(), held+" done, "+second+" done"; got != want || out.str("results", "0", "status") != "pending" {
		t.Errorf("%s, want %s", got, want)
	}
	a.eventually("/events/e2?tenant_id=acme", func(o answer) bool { return o.str("deliveries", "delivered") == "1" })
	if n := a.count("select count(*) from audit where action = 'delivery.retry' and outcome = 'ok'"); n != 2 {
		t.Errorf("%d entries about 2 retries", n)
	}
	if got := token.want(200, "POST", "/deliveries/retry", `{"event_ids":["e2"]}`).results(); got != "e2 unchanged" {
		t.Errorf("an event without failures: %s", got)
	}

	many := make([]string, 501)
	for i := range many {
		many[i] = fmt.Sprintf(`"dlv_%d"`, i)
	}
	for body, field := range map[string]string{`{}`: "delivery_ids", `{"delivery_ids":[""]}`: "delivery_ids[0]", `{"delivery_ids":[` +
		strings.Join(many, ",") + `]}`: "delivery_ids"} {
		for _, path := range []string{"/deliveries/cancel", "/deliveries/retry"} {
			if out := a.want(422, "POST", path, body); out.str("fields", field) == "" {
				t.Errorf("%s: %s", path, out.raw)
			}
		}
	}
	reader := a.as(a.want(201, "POST", "/api-keys", `{"name":"r","scopes":["read"]}`).str("key"))
	reader.want(403, "POST", "/deliveries/cancel", body)
}

// TestManyDestinations disables and enables several destinations, each with its own result, and once.
func TestManyDestinations(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"two","type":"echo","topics":"*"}`)
	a.want(201, "POST", "/tenants/globex/destinations", `{"id":"theirs","type":"echo","topics":"*"}`)
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	body := `{"destination_ids":["inbox","two","theirs"],"reason":"Maintenance"}`
	out := token.want(200, "POST", "/destinations/disable", body)
	if got := out.results(); got != "inbox done, two done, theirs refused 404" || out.str("done") != "2" {
		t.Errorf("%s", got)
	}
	if d := a.want(200, "GET", "/tenants/acme/destinations/two", nil); !strings.Contains(d.raw, "Maintenance") {
		t.Errorf("%s", d.raw)
	}
	if got := token.want(200, "POST", "/destinations/disable", body).results(); got != "inbox unchanged, two unchanged, theirs refused 404" {
		t.Errorf("once more: %s", got)
	}
	if n := a.count("select count(*) from audit where action = 'destination.disable'"); n != 2 {
		t.Errorf("%d entries about 2 destinations", n)
	}
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"e1","data":{}}`)
	if got := a.want(200, "POST", "/destinations/enable",
		`{"tenant_id":"acme","destination_ids":["inbox","two"],"backlog":"deliver"}`).results(); got != "inbox done, two done" {
		t.Errorf("%s", got)
	}
	a.eventually("/events/e1?tenant_id=acme", func(o answer) bool { return o.str("deliveries", "delivered") == "2" })
	for body, field := range map[string]string{`{"destination_ids":["inbox"]}`: "tenant_id", `{"tenant_id":"acme"}`: "destination_ids",
		`{"tenant_id":"acme","destination_ids":["inbox"],"backlog":"x"}`: "backlog"} {
		if out := a.want(422, "POST", "/destinations/enable", body); out.str("fields", field) == "" {
			t.Errorf("%s: %s", body, out.raw)
		}
	}
	token.want(404, "POST", "/destinations/disable", `{"tenant_id":"globex","destination_ids":["theirs"]}`)
}
