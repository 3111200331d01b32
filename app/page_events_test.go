package app

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/app/pages"
)

// eventIDs are the events that a page lists, in order.
func eventIDs(p page) []string {
	var out []string
	p.Find("tbody tr").Each(func(_ int, s *goquery.Selection) {
		out = append(out, s.Find(`a[href*="/events/"]`).AttrOr("title", ""))
	})
	return out
}

func TestEventList(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	v.get("/t/acme/events").says("No events yet")
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"broken","name":"Broken","type":"echo","topics":["bad"],"config":{"answer":"500"}}`)
	for i := range 5 {
		a.want(200, "POST", "/publish", fmt.Sprintf(`{"id":"ok-%d","tenant_id":"acme","topic":"good","data":{"customer":"c%d <b>"}}`, i, i),
			"Prefer", "wait=10")
	}
	a.want(202, "POST", "/publish", `{"id":"bad-1","tenant_id":"acme","topic":"bad","data":{}}`)
	a.eventually("/events/bad-1/deliveries", func(o answer) bool { return strings.Contains(o.raw, `"failed"`) })
	const list = "/t/acme/events"
	for query, want := range map[string]string{
		"":                                    "bad-1 ok-4 ok-3 ok-2 ok-1 ok-0",
		"?dir=asc":                            "ok-0 ok-1 ok-2 ok-3 ok-4 bad-1",
		"?status=failed":                      "bad-1",
		"?topic=good&q=c3":                    "ok-3",
		"?q=ok-2":                             "ok-2",
		"?destination_id=broken":              "bad-1",
		"?code=500":                           "bad-1",
		"?error_class=server&range=1h":        "bad-1",
		"?since=2020-01-01&until=2020-01-02":  "",
		"?status=failed&status=held":          "bad-1",
		"?status=&topic=&code=&q=&range=bad":  "bad-1 ok-4 ok-3 ok-2 ok-1 ok-0",
		"?utm_source=mail&view=raw&limit=100": "bad-1 ok-4 ok-3 ok-2 ok-1 ok-0",
	} {
		p := v.get(list + query)
		if got := strings.Join(eventIDs(p), " "); got != want {
			t.Errorf("%s lists %q, want %q", query, got, want)
		}
		api := a.want(200, "GET", p.Find(`link[rel=alternate]`).AttrOr("href", "")[len(api.APIPrefix):], nil)
		models, _ := api.body["models"].([]any)
		ids := make([]string, len(models))
		for i, m := range models {
			ids[i], _ = m.(map[string]any)["id"].(string)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s: the API that the page names lists %q, want %q", query, got, want)
		}
	}
	p := v.get(list + "?status=failed&topic=bad&range=24h")
	if p.Find(`[aria-label="Filters in force"] a[href="/t/acme/events?range=24h&topic=bad"]`).Length() != 1 ||
		p.Find(`[name=range] option[selected]`).AttrOr("value", "") != "24h" ||
		p.Find(`[name=status][value=failed][checked]`).Length() != 1 || p.value("topic") != "bad" {
		t.Error("the filter is not shown, or no chip removes one condition")
	}
	p.says("1 of 2 failed")
	p = v.send("GET", list+"?code=abc&topic=bad", nil)
	if p.status != 422 || p.value("topic") != "bad" || p.value("code") != "abc" {
		t.Errorf("a condition that makes no sense: %d", p.status)
	}
	p.says(`cannot be "abc": use a status like 503`)
	v.get(list + "?q=nothing").says("No event matches")
	if p := v.send("GET", list+"?status=lost", nil); p.status != 422 {
		t.Errorf("an unknown status: %d", p.status)
	}
}

func TestEventPaging(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	publish := func(i int) {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"id":"e%02d","tenant_id":"acme","data":{}}`, i))
	}
	for i := range 7 {
		publish(i)
	}
	var seen []string
	p := v.get("/t/acme/events?limit=3&range=24h")
	for n := 0; ; n++ {
		seen = append(seen, eventIDs(p)...)
		publish(50 + n) // what arrives meanwhile moves nothing
		next, more := p.Find(`a[rel="next"]`).Attr("href")
		if !more {
			break
		}
		p = v.get(next)
	}
	if got := strings.Join(seen, " "); got != "e06 e05 e04 e03 e02 e01 e00" {
		t.Errorf("paged through %s", got)
	}
	p.says("Events are kept for 30 days.")
	if strings.Contains(p.text(`[aria-label="Filters in force"]`), "From") {
		t.Error("the range's beginning shows as a condition of its own")
	}
	back := v.get(p.Find(`a[rel="prev"]`).AttrOr("href", ""))
	if got := strings.Join(eventIDs(back), " "); got != "e03 e02 e01" {
		t.Errorf("newer: %s", got)
	}
	next, err := url.Parse(back.Find(`a[rel="next"]`).AttrOr("href", ""))
	if err != nil {
		t.Fatal(err)
	}
	q := next.Query()
	q.Set("topic", "other")
	p = v.get("/t/acme/events?" + q.Encode())
	p.says(pages.FirstPageNote)
	v.get("/t/acme/events?next=nonsense").says(pages.FirstPageNote)
	v.get("/t/acme/destinations/inbox/deliveries?next=nonsense").says(pages.FirstPageNote)
	if p := v.get("/t/acme/destinations/inbox/deliveries?limit=2&range=1h"); p.Find("tbody tr").Length() != 2 ||
		p.Find(`a[rel="next"]`).Length() != 1 {
		t.Error("deliveries of a destination are not paged")
	}
}

func TestEventPage(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"broken","name":"Broken <i>","type":"echo","topics":["order.created"],"config":{"answer":"500"}}`)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"picky","name":"Picky","type":"echo","topics":"*","filter":"total:>=10"}`)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"other","name":"Other","type":"echo","topics":["other"]}`)
	a.want(202, "POST", "/publish",
		`{"id":"e1","tenant_id":"acme","topic":"order.created","metadata":{"<k>":"<v>"},"data":{"total": 4.50, "b":"</script><script>alert(1)</script>"}}`)
	a.eventually("/events/e1/deliveries", func(o answer) bool { return strings.Contains(o.raw, `"failed"`) })
	p := v.get("/t/acme/events/e1")
	for _, want := range []string{"1 of 2 failed", "Filtered out", "total", "needs at least 10", "Not sent",
		"It does not subscribe to order.created; it takes other.", "4.50", "<v>"} {
		p.says(want)
	}
	if p.Find("main script").Length() > 0 {
		t.Error("the payload came out as markup")
	}
	if n := p.Find(`ol[aria-label="Attempts, newest first"] > li`).Length(); n != 4 {
		t.Errorf("%d attempts, want 4: three that failed and one that did not", n)
	}
	if p.Find("[hx-get]").Length() > 0 {
		t.Error("a settled event is asked for again and again")
	}
	if raw := v.get("/t/acme/events/e1?view=raw"); !strings.Contains(raw.text("#payload pre"), `{"total": 4.50, "b":`) {
		t.Errorf("raw: %s", raw.text("#payload pre"))
	}
	attempt := v.get(p.Find(`ol[aria-label="Attempts, newest first"] a`).First().AttrOr("href", ""))
	for _, want := range []string{"What happened", "What to do", "500", "Attempt 3", "Broken <i>"} {
		attempt.says(want)
	}
	if attempt.Find(`a[href$="_2"]`).Length() != 1 {
		t.Error("the attempt before is not linked")
	}

	retry := p.Find(`form[action*="/retry"]`)
	for i := range retry.Length() {
		if strings.Contains(retry.Eq(i).Text(), "Broken") {
			p = v.post(retry.Eq(i).AttrOr("action", ""), "return", "/t/acme/events/e1")
		}
	}
	p.says("Retry queued for 1 delivery.")
	if p.path != "/t/acme/events/e1" {
		t.Errorf("led to %s", p.path)
	}
	a.eventually("/attempts?event_id=e1", func(o answer) bool { return strings.Contains(o.raw, `"actor":"Ann"`) })
	v.get("/t/acme/events/e1").says("Manual by Ann")
}

func TestRetryAndCancelSayWhyNot(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.ManualRetryLimit = 1 })
	a.tenant("acme")
	v := a.visitor()
	out := a.want(200, "POST", "/publish", `{"id":"e1","tenant_id":"acme","data":{}}`, "Prefer", "wait=10")
	delivery := "/t/acme/deliveries/" + out.str("deliveries", "0", "id")
	v.post(delivery + "/retry").says("Retry queued for 1 delivery.")
	a.eventually("/events/e1/deliveries", func(o answer) bool {
		return o.str("models", "0", "attempts") == "2" && o.str("models", "0", "status") == "delivered"
	})
	p := v.post(delivery+"/retry", "return", "//evil.example")
	if p.Find(`[role="alert"]`).Length() != 1 {
		t.Errorf("the limit is not said: %s", p.text("main"))
	}
	p = v.post(delivery+"/retry", "return", "/t/acme/events/e1")
	p.says("which is the limit")
	p = v.post(delivery + "/cancel")
	p.says("only one that is pending, retrying or held can be cancelled")
	if p.path != "/t/acme/events/e1" {
		t.Errorf("led to %s", p.path)
	}
	a.want(200, "PUT", "/tenants/acme/destinations/inbox/disable", `{}`)
	held := a.want(202, "POST", "/publish", `{"id":"e2","tenant_id":"acme","data":{}}`)
	p = v.get("/t/acme/events/" + held.str("id"))
	v.post(p.Find(`form[action*="/cancel"]`).AttrOr("action", "")).says("The delivery was cancelled.")
	v.get("/t/acme/events/e2").says("Cancelled by Ann")
}

func TestOverview(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", nil)
	v := a.visitor()
	steps := func() string { return v.get("/t/acme").text(`#first-steps [role="status"]`) }
	if got := steps(); got != "0 of 4 done" {
		t.Errorf("at first: %q", got)
	}
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"inbox","type":"echo","topics":"*","config":{"answer":"500"}}`)
	if got := steps(); got != "1 of 4 done" {
		t.Errorf("with a destination: %q", got)
	}
	a.want(202, "POST", "/publish", `{"id":"e1","tenant_id":"acme","data":{}}`)
	p := v.get("/t/acme")
	if got := p.text(`#first-steps [role="status"]`); got != "2 of 4 done" || p.Find(`#first-steps[hx-get]`).Length() != 1 ||
		p.Find(`script[src*="htmx"]`).Length() != 1 {
		t.Errorf("with an event: %q", got)
	}
	a.eventually("/events/e1/deliveries", func(o answer) bool { return strings.Contains(o.raw, `"failed"`) })
	a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"config":{"answer":"200"}}`)
	a.want(200, "POST", "/publish", `{"id":"e2","tenant_id":"acme","data":{}}`, "Prefer", "wait=10")
	p = v.get("/t/acme")
	if got := steps(); got != "3 of 4 done" { // the fourth, an alert channel, stays until it is done or hidden
		t.Errorf("with a delivered event: %q", got)
	}
	p.says("Your first event has arrived.")
	for name, want := range map[string]string{"Received": "2", "Delivered": "1", "First-attempt success": "50.0%"} {
		if got := p.text(`.metric:contains("` + name + `") .val`); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestKeyPages(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	v.post("/t/acme/api-keys/new", "name", " ", "expires_in", "720h").refused(422, "name", "is required")
	p := v.post("/t/acme/api-keys/new", "name", "<b>checkout</b>", "scopes", "publish", "scopes", "read", "expires_in", "720h")
	key := p.text("#new-key")
	if p.header.Get("Cache-Control") != "no-store" || p.text("h2:contains(checkout)") == "" {
		t.Errorf("%v", p.header)
	}
	a.as(key).want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`)
	a.as(key).want(404, "GET", "/tenants/demo", nil)
	p = v.get("/t/acme/api-keys")
	if strings.Contains(p.text("html"), key) {
		t.Error("the key is shown again")
	}
	p.says("<b>checkout</b>")
	revoke := p.Find(`a[href$="/revoke"]`).AttrOr("href", "")
	v.get(revoke).says("Whoever uses it is refused within seconds.")
	v.post(revoke).says("The key was revoked.")
	a.as(key).want(401, "GET", "/events", nil)
	v.post("/api-keys/new", "name", "all", "scopes", "read", "tenant_id", "nobody", "expires_in", "0").refused(422, "tenant_id",
		"is not the ID of a tenant")
	p = v.post("/api-keys/new", "name", "all", "scopes", "read", "tenant_id", "", "expires_in", "0")
	a.as(p.text("#new-key")).want(200, "GET", "/tenants/demo", nil)
	v.get("/api-keys").says("All tenants")
	if p := v.send("GET", "/api-keys/00000000-0000-0000-0000-000000000000/revoke", nil); p.status != 404 {
		t.Errorf("an unknown key: %d", p.status)
	}
}

func TestTenantPages(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	v := a.visitor()
	p := v.post("/tenants/new", "tenant_id", "a b")
	p.refused(422, "tenant_id", "may hold letters")
	if p.value("tenant_id") != "a b" {
		t.Error("what was typed is gone")
	}
	p = v.post("/tenants/new", "tenant_id", " acme|1 ")
	if p.path != "/t/acme%7C1" {
		t.Errorf("led to %s", p.path)
	}
	p.says("The tenant was created.")
	v.post("/tenants/new", "tenant_id", "acme|1").says("There is a tenant of this ID already.")
	v.get("/tenants?q=ACME").says("acme|1")
	v.get("/tenants?q=zzz").says("No tenant matches")
	if p := v.get("/tenants?limit=1"); p.Find(`a[rel="next"]`).Length() != 1 {
		t.Error("the list is not paged")
	}
}
