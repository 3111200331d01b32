package app

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestErasurePlan counts what an erasure would erase, by the API and on the page: nothing is erased before that number was seen,
// and what comes later is not.
func TestErasurePlan(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	var events []string
	for i := range 7 {
		events = append(events, fmt.Sprintf(`{"tenant_id":"acme","topic":"t%d","data":{"email":"%s@example.com"}}`, i%2, []string{"ann", "bob"}[i%2]))
	}
	a.want(202, "POST", "/publish/batch", "["+strings.Join(events, ",")+"]")
	left := func() int { return a.count("select count(*) from events where erased_at is null") }

	filter := `{"tenant_id":"acme","filter":{"q":"data.email:ann@example.com"}}`
	plan := a.want(200, "POST", "/erasures/plan", filter)
	if plan.num("count") != 4 || plan.num("looked") != 7 || plan.str("more") != "false" || plan.str("scope") != "filter" ||
		plan.str("filter", "until") == "" || left() != 7 {
		t.Errorf("%d left: %s", left(), plan.raw)
	}
	if plan := a.want(200, "POST", "/erasures/plan", `{"tenant_id":"acme","all":true}`); plan.num("count") != 7 || plan.str("scope") != "tenant" {
		t.Errorf("%s", plan.raw)
	}
	if no := a.do("POST", "/erasures/plan", `{"tenant_id":"acme"}`); no.status != 422 || !strings.Contains(no.raw, "filter says nothing") {
		t.Errorf("%d %s", no.status, no.raw)
	}
	key := a.want(201, "POST", "/api-keys", `{"name":"k","scopes":["read","write","retry"],"tenant_id":"acme"}`).str("key")
	if no := a.do("POST", "/erasures/plan", filter, "Authorization", "Bearer "+key); no.status != 403 {
		t.Errorf("a key without admin: %d %s", no.status, no.raw)
	}

	v := a.visitor()
	form := []string{"what", "filter", "q", "data.email:ann@example.com", "why", "Asked"}
	v.get("/t/acme/erasures/new")
	counted := htmlOf(v.post("/t/acme/erasures/new", form...))
	confirm := regexp.MustCompile(`name="confirm" value="([^"]+)"`).FindStringSubmatch(counted)
	if !strings.Contains(counted, "4 events will be erased.") || !strings.Contains(counted, "Of 7 events") ||
		!strings.Contains(counted, ">Erase 4 events<") || len(confirm) != 2 || a.count("select count(*) from erasures") != 0 {
		t.Fatalf("%q: %s", confirm, counted)
	}
	// Other conditions than those that were counted are counted first.
	other := htmlOf(v.post("/t/acme/erasures/new", "what", "filter", "q", "example.com", "confirm", confirm[1]))
	if !strings.Contains(other, "7 events will be erased.") || a.count("select count(*) from erasures") != 0 {
		t.Errorf("%s", other)
	}
	if none := htmlOf(v.post("/t/acme/erasures/new", "what", "filter", "q", "nobody@example.com")); !strings.Contains(none,
		"Nothing would be erased.") || strings.Contains(none, `name="confirm"`) {
		t.Errorf("%s", none)
	}
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"t0","data":{"email":"ann@example.com"}}`) // after the count
	v.post("/t/acme/erasures/new", append(form, "confirm", confirm[1])...)
	id := a.want(200, "GET", "/erasures", nil).str("models", "0", "id")
	a.eventually("/erasures/"+id, func(o answer) bool { return o.str("status") == "done" })
	if end := a.want(200, "GET", "/erasures/"+id, nil); end.num("erased") != 4 || left() != 4 {
		t.Errorf("%d left: %s", left(), end.raw)
	}
	if plan := a.want(200, "POST", "/erasures/plan", filter); plan.num("count") != 1 {
		t.Errorf("what is erased already is counted: %s", plan.raw)
	}
}

// TestErasedIsNotOffered: what is erased has no button that sends it again, but says why, wherever its deliveries are shown.
func TestErasedIsNotOffered(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"picky","type":"echo","topics":"*","filter":{"data":{"n":7}}}`)
	at := a.want(200, "POST", "/publish", `{"id":"one","tenant_id":"acme","topic":"order","data":{"n":1}}`, "Prefer", "wait=60").
		str("deliveries", "0", "id")
	attempt := a.want(200, "GET", "/attempts?tenant_id=acme&event_id=one", nil).str("models", "0", "id")
	v := a.visitor()
	pages := []string{"/t/acme/events/one", "/t/acme/attempts/" + attempt, "/t/acme/destinations/inbox/deliveries",
		"/t/acme/destinations/picky/deliveries?status=filtered_out"}
	offers := func(page string) bool {
		return strings.Contains(page, "Send again") || strings.Contains(page, "Send anyway")
	}
	for _, path := range pages {
		if page := htmlOf(v.get(path)); !offers(page) {
			t.Errorf("%s offers nothing before: %s", path, page)
		}
	}
	a.erased(`{"event_id":"one"}`)
	for _, path := range pages {
		if page := htmlOf(v.get(path)); offers(page) || !strings.Contains(page, "Erased: cannot be sent again") {
			t.Errorf("%s: %s", path, page)
		}
	}
	if d := a.want(200, "GET", "/deliveries/"+at, nil); d.str("erased_at") == "" {
		t.Errorf("%s", d.raw)
	}
	a.exec("update deliveries set status = 'failed'")
	if page := htmlOf(v.get("/t/acme/events/one")); strings.Contains(page, "retry-failed") || strings.Contains(page, ">Retry<") {
		t.Errorf("%s", page)
	}
}
