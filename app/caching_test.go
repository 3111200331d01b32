package app

import (
	"slices"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/app/api"
)

// TestEveryReadIsCacheable asks for everything that can be read, twice: the second answer is 304, but where it says that no
// cache may keep it.
func TestEveryReadIsCacheable(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	ids := everyID(a)
	a.want(200, "PUT", "/topics/order.created", `{}`)
	never := []string{"getServer", "getTenantToken", "getPortalLink", "exportAuditLog", "getServerHealth", "countNewEvents", "exportEvents",
		"exportDeliveries", "exportAttempts", "exportTenant"}
	for _, r := range a.APIRoutes() {
		if r.Method != "GET" || slices.Contains([]string{"measureEvents", "measureAttempts", "streamEvents", "getOverview", "getEventHistogram"}, r.About.ID) {
			continue // numbers carry how long they took, or end now; a stream has no end
		}
		path := withIDs(api.OpenAPIPath(r.Path), ids)
		if strings.Contains(path, "{") {
			t.Errorf("no id for %s", path)
			continue
		}
		if r.About.ID == "listChanges" {
			path += "?since=start"
		}
		if r.About.ID == "exportAttempts" {
			path += "?tenant_id=acme"
		}
		if r.About.ID == "find" {
			path += "?q=acme"
		}
		if r.About.ID == "countNewEvents" {
			path += "?after=now"
		}
		out := a.do("GET", path, nil)
		if out.status == 404 && (strings.Contains(path, "/alerts/") || strings.HasPrefix(r.About.ID, "getOperator")) {
			continue // there are none
		}
		if out.status != 200 {
			t.Errorf("%s: %d %s", path, out.status, out.raw)
			continue
		}
		tag := out.header.Get("ETag")
		if slices.Contains(never, r.About.ID) {
			if tag != "" && out.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %v", path, out.header)
			}
			continue
		}
		kept := "private, "
		if strings.Contains(out.raw, `"secret":"whsec_`) && !strings.Contains(out.raw, "••") {
			kept = "no-store" // this key sees the secret, which no cache may keep
		}
		if tag == "" || !strings.HasPrefix(out.header.Get("Cache-Control"), kept) && r.About.ID != "getOpenAPI" {
			t.Errorf("%s: ETag %q, Cache-Control %q", path, tag, out.header.Get("Cache-Control"))
			continue
		}
		again := a.do("GET", path, nil, "If-None-Match", tag)
		for range 50 { // until nothing happens meanwhile
			if again.status != 200 || again.raw == out.raw {
				break
			}
			out = again
			again = a.do("GET", path, nil, "If-None-Match", out.header.Get("ETag"))
		}
		if again.status != 304 || again.raw != "" || again.header.Get("Cache-Control") != out.header.Get("Cache-Control") ||
			again.header.Get("Vary") != out.header.Get("Vary") {
			t.Errorf("%s: %d %s %v", path, again.status, again.raw, again.header)
		}
		if other := a.do("GET", path, nil, "If-None-Match", `"other"`); other.status != 200 {
			t.Errorf("%s: %d", path, other.status)
		}
	}
	if types := a.want(200, "GET", "/destination-types", nil).header.Get("Cache-Control"); types != "private, max-age=3600" {
		t.Errorf("types: %s", types)
	}
	if secret := a.want(200, "GET", "/tenants/acme/token", nil).header; secret.Get("Cache-Control") != "no-store" ||
		secret.Get("ETag") != "" {
		t.Errorf("a token: %v", secret)
	}
}

// TestListsChange: what changes has another ETag, for the caller who sees the change.
func TestListsChange(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	for path, change := range map[string]func(){
		"/tenants":                         func() { a.want(201, "PUT", "/tenants/more", nil) },
		"/tenants/acme":                    func() { a.want(200, "PUT", "/tenants/acme", `{"metadata":{"plan":"pro"}}`) },
		"/topics":                          func() { a.want(200, "PUT", "/topics/order.created", `{}`) },
		"/tenants/acme/destinations":       func() { a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"name":"x"}`) },
		"/tenants/acme/destinations/inbox": func() { a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"name":"y"}`) },
		"/events": func() {
			a.want(202, "POST", "/publish",
				`{"tenant_id":"acme","topic":"order.created","data":{}}`)
		},
	} {
		tag := a.want(200, "GET", path, nil).header.Get("ETag")
		change()
		if out := a.do("GET", path, nil, "If-None-Match", tag); out.status != 200 {
			t.Errorf("%s: %d after it was changed", path, out.status)
		}
	}
}

// TestDestinationETagSeesHealth: how a destination does is shown with it, and changes without a new version; If-Match is
// about the version alone.
func TestDestinationETagSeesHealth(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", nil)
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"bad","type":"echo","topics":"*","config":{"answer":"500"},"retry":{"max_attempts":1}}`)
	const path = "/tenants/acme/destinations/bad"
	first := a.want(200, "GET", path, nil)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`)
	a.eventually(path, func(o answer) bool { return o.str("status", "failures_in_a_row") == "1" })
	now := a.do("GET", path, nil, "If-None-Match", first.header.Get("ETag"))
	if now.status != 200 || now.str("version") != first.str("version") {
		t.Fatalf("%d %s", now.status, now.raw)
	}
	a.want(200, "PATCH", path, `{"name":"x"}`, "If-Match", first.header.Get("ETag"))
	a.want(412, "PATCH", path, `{"name":"y"}`, "If-Match", now.header.Get("ETag"))
	made := a.want(200, "PATCH", path, `{"name":"z"}`)
	a.want(200, "PATCH", path, `{"name":"y"}`, "If-Match", made.header.Get("ETag"))
}

// TestEventDeliveriesLongPoll waits at the list of an event's deliveries.
func TestEventDeliveriesLongPoll(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.heldDelivery("acme", "e1")
	const path = "/events/e1/deliveries"
	held := a.want(200, "GET", path, nil)
	if held.header.Get("Retry-After") != "" || held.header.Get("Cache-Control") != "private, max-age=60" {
		t.Errorf("%v", held.header)
	}
	answers := make(chan answer)
	go func() {
		answers <- a.do("GET", path, nil, "If-None-Match", held.header.Get("ETag"), "Prefer", "wait=30")
	}()
	a.waiting(1)
	a.want(200, "PUT", "/tenants/acme/destinations/inbox/enable", nil)
	if out := <-answers; out.status != 200 || out.str("models", "0", "status") == "held" ||
		out.header.Get("Preference-Applied") != "wait=30" {
		t.Errorf("%d %s %v", out.status, out.raw, out.header)
	}
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"silent","type":"echo","topics":["slow"],"config":{"answer":"timeout"}}`)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"e2","topic":"slow","data":{}}`)
	if out := a.want(200, "GET", "/events/e2/deliveries", nil); out.header.Get("Retry-After") == "" ||
		out.header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("while it goes on: %v", out.header)
	}
}
