package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/api"
)

// linked is where the Link header of an answer leads with a relation, or with a title and the relation related or up.
func (o answer) linked(rel string) string {
	for _, link := range strings.Split(o.header.Get("Link"), ", ") {
		to, params, _ := strings.Cut(strings.TrimPrefix(link, "<"+api.APIPrefix), ">; ")
		if params == `rel="`+rel+`"` || params == `rel="related"; title="`+rel+`"` || params == `rel="up"; title="`+rel+`"` {
			return to
		}
	}
	return ""
}

func (o answer) link(name string) string {
	return strings.TrimPrefix(o.str("links", name), api.APIPrefix)
}

// TestAcceptedSaysWhere follows what each 202 says: its state, and where to look how it goes on.
func TestAcceptedSaysWhere(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("other")
	a.want(202, "POST", "/publish", `{"tenant_id":"other","id":"o-1","data":{}}`)
	accepted := func(method, path, body string, header ...string) answer {
		t.Helper()
		out := a.want(202, method, path, body, header...)
		to := out.linked("monitor")
		if to == "" || out.header.Get("Location") != api.APIPrefix+to || method == "POST" && out.header.Get("Vary") != "Prefer" {
			t.Errorf("%s: %v", path, out.header)
		}
		seen := a.want(200, "GET", to, nil)
		// RFC 9110, section 8.7: the address of what the body shows, and of nothing else.
		if at := out.header.Get("Content-Location"); at != "" && (at != api.APIPrefix+to || seen.str("id") != out.str("id") ||
			seen.str("created_at") != out.str("created_at")) {
			t.Errorf("%s says Content-Location %s, and shows %s", path, at, out.raw)
		}
		return out
	}
	states := func(out answer, status string, links ...string) {
		t.Helper()
		if out.str("status") != status {
			t.Errorf("status %q, want %q: %s", out.str("status"), status, out.raw)
		}
		for _, l := range links {
			a.want(200, "GET", out.link(l), nil)
		}
	}
	out := accepted("POST", "/publish", `{"tenant_id":"acme","id":"o-1","topic":"order.created","data":{"n":1}}`)
	states(out, "accepted", "monitor", "deliveries", "attempts")
	a.want(202, "POST", "/publish", `{"tenant_id":"other","id":"o-1","data":{}}`) // the newer one of this id
	if got := a.want(200, "GET", out.link("monitor"), nil); got.str("tenant_id") != "acme" || out.header.Get("Content-Location") != "" {
		t.Errorf("the event of another tenant: %s; %v", got.raw, out.header)
	}
	states(a.want(200, "POST", "/publish", `{"tenant_id":"acme","id":"o-2","data":{}}`, "Prefer", "wait=20"), "done", "monitor",
		"deliveries", "attempts")

	batch := a.want(202, "POST", "/publish/batch", `[{"tenant_id":"acme","id":"b-1","data":{}},{"tenant_id":"nobody","data":{}}]`)
	if batch.str("status") != "accepted" || batch.str("results", "0", "links", "monitor") != api.APIPrefix+"/events/b-1?tenant_id=acme" ||
		batch.str("results", "1", "links") != "" {
		t.Errorf("%s", batch.raw)
	}
	if done := a.want(200, "POST", "/publish/batch", `[{"tenant_id":"acme","data":{}}]`, "Prefer",
		"wait=20"); done.str("status") != "done" {
		t.Errorf("%s", done.raw)
	}

	states(accepted("POST", "/tenants/acme/destinations/inbox/test", `{}`, "Prefer", "respond-async"), "accepted", "monitor", "deliveries",
		"attempts")
	states(accepted("POST", "/retry", `{"event_id":"o-1","tenant_id":"acme","destination_id":"inbox"}`), "accepted", "monitor", "event",
		"attempts", "destination")
	states(a.want(200, "POST", "/retry", `{"event_id":"o-2","destination_id":"inbox"}`, "Prefer", "wait=20"), "done", "monitor", "event",
		"attempts", "destination")
	bulk := accepted("POST", "/retries", `{"tenant_id":"acme","filter":{"status":["delivered"],"event_id":["o-1"]}}`)
	if bulk.header.Get("Content-Location") == "" || bulk.link("self") != bulk.linked("monitor") {
		t.Errorf("%v %s", bulk.header, bulk.raw)
	}

	a.want(200, "PUT", "/tenants/acme/destinations/inbox/disable", nil)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`)
	states(accepted("POST", "/tenants/acme/destinations/inbox/backlog", `{"action":"drop"}`), "accepted", "monitor", "destination")
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`)
	probe := accepted("PUT", "/tenants/acme/destinations/inbox/enable", `{"probe":true}`)
	if probe.header.Get("Content-Location") == "" || probe.str("status", "state") != "disabled" {
		t.Errorf("%v %s", probe.header, probe.raw)
	}
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"picky","type":"echo","topics":"*","filter":{"n":{"$gte":10}}}`)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"f-1","data":{"n":1}}`)
	after := accepted("POST", "/tenants/acme/destinations/picky/filtered", `{"all":true}`)
	states(after, "accepted", "monitor", "destination")
	a.eventually(after.link("monitor"), func(o answer) bool { return len(o.list()) == 0 })
}

// TestRelatedLinks walks from an event to its deliveries and attempts and back, by the header and by the body.
func TestRelatedLinks(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.want(200, "POST", "/publish", `{"tenant_id":"acme","id":"o+1","data":{}}`, "Prefer", "wait=20")
	event := a.want(200, "GET", "/events/o+1", nil)
	var at answer
	for _, to := range []func(answer, string) string{answer.linked, answer.link} {
		list := a.want(200, "GET", to(event, "deliveries"), nil)
		attempts := a.want(200, "GET", to(event, "attempts"), nil)
		if len(list.list()) != 1 || len(attempts.list()) != 1 {
			t.Fatalf("%s\n%s", list.raw, attempts.raw)
		}
		delivery := a.want(200, "GET", strings.TrimPrefix(list.str("models", "0", "links", "self"), api.APIPrefix), nil)
		at = a.want(200, "GET", strings.TrimPrefix(attempts.str("models", "0", "links", "self"), api.APIPrefix), nil)
		for _, back := range []string{to(list, "event"), to(delivery, "event"), to(at, "event")} {
			if got := a.want(200, "GET", back, nil); got.str("id") != "o+1" {
				t.Errorf("%s: %s", back, got.raw)
			}
		}
		if got := a.want(200, "GET", to(at, "delivery"), nil); got.str("id") != delivery.str("id") {
			t.Errorf("%s", got.raw)
		}
		if got := a.want(200, "GET", to(delivery, "attempts"), nil); got.str("models", "0", "id") != at.str("id") {
			t.Errorf("%s", got.raw)
		}
		a.want(200, "GET", to(delivery, "destination"), nil)
	}
	if up := at.header.Get("Link"); !strings.Contains(up, `rel="up"; title="delivery"`) {
		t.Errorf("%s", up)
	}
}

// TestWaitThenAsync: respond-async together with wait means to wait first (RFC 7240, section 4.3).
func TestWaitThenAsync(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"silent","type":"echo","topics":["slow"],"config":{"answer":"timeout"}}`)
	for _, path := range []string{"/publish", "/publish/batch"} {
		body := func(topic string) string {
			event := fmt.Sprintf(`{"tenant_id":"acme","topic":%q,"data":{}}`, topic)
			if path != "/publish" {
				event = "[" + event + "]"
			}
			return event
		}
		if out := a.want(200, "POST", path, body("quick"), "Prefer",
			"respond-async, wait=20"); out.header.Get("Preference-Applied") != "wait=20" {
			t.Errorf("%s: %v", path, out.header)
		}
		began := time.Now()
		out := a.want(202, "POST", path, body("slow"), "Prefer", "respond-async, wait=1")
		if took := time.Since(began); took < time.Second || out.header.Get("Preference-Applied") != "respond-async, wait=1" {
			t.Errorf("%s: after %v %v", path, took, out.header)
		}
	}
	if out := a.want(200, "POST", "/tenants/acme/destinations/inbox/test", `{}`, "Prefer",
		"respond-async, wait=20"); out.str("attempt_number") != "1" {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"slow","data":{}}`, "Prefer",
		`foo; bar="x, wait=3"`); out.header.Get("Preference-Applied") != "" {
		t.Errorf("what is quoted was taken for a preference: %v", out.header)
	}
}
