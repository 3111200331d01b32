package app

import (
	"fmt"
	"strings"
	"testing"
)

// erased starts an erasure and waits for its end.
func (a *testApp) erased(body string) answer {
	a.Helper()
	out := a.want(202, "POST", "/erasures", body)
	id := out.str("id")
	if out.header.Get("Location") != "/api/v1/erasures/"+id {
		a.Errorf("no link: %s", out.raw)
	}
	a.eventually("/erasures/"+id, func(o answer) bool { return o.str("status") == "done" })
	return a.want(200, "GET", "/erasures/"+id, nil)
}

// kept is everywhere in the database that a text is, but for the record of erasures.
func (a *testApp) kept(text string) (where []string) {
	a.Helper()
	for _, q := range []string{
		"select 'events' from events e where e::text like $1", "select 'deliveries' from deliveries d where d::text like $1",
		// Headers are packed, so that those that are left of what was erased are too many, whatever is in them.
		"select 'headers' from attempts a join events e on e.id = a.event_id where e.erased_at is not null and a.headers is not null and $1 <> ''",
		"select 'attempts' from attempts a where a::text like $1 or convert_from(coalesce(response_body, ''), 'UTF8') like $1",
		"select 'ordered_deliveries' from ordered_deliveries o where o::text like $1",
		"select 'jobs' from river.river_job j where j::text like $1",
		"select 'audit' from audit x where x::text like $1", "select 'changes' from changes x where x::text like $1",
		"select 'alerts' from alerts x where x::text like $1", "select 'notifications' from notifications x where x::text like $1",
	} {
		rows, err := a.db.Query(a.Context(), q, "%"+text+"%")
		if err != nil {
			a.Fatal(err)
		}
		for rows.Next() {
			var at string
			if err := rows.Scan(&at); err != nil {
				a.Fatal(err)
			}
			where = append(where, at)
		}
	}
	return where
}

// TestErasureOfAnEvent erases one event: what it carried is nowhere any more, what happened to it still is, and nobody sends it
// again.
func TestErasureOfAnEvent(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	out := a.want(200, "POST", "/publish", `{"id":"order-1","tenant_id":"acme","topic":"order","ordering_key":"canary-key",
		"metadata":{"who":"canary-meta"},"data":{"email":"canary@example.com"}}`, "Prefer", "wait=60")
	delivery := out.str("deliveries", "0", "id")
	a.exec(`update attempts set request_header = 'x-mail: canary-head', response_header = 'x: canary-head', response_body = 'canary-body',
		url = 'https://example.com/a?token=canary-query', raw_error = 'canary-raw', error = 'canary-said', log = 'canary-log'`)
	a.exec("update deliveries set error = 'canary-said', advice = 'canary-advice'")
	before := a.count("select count(*) from attempts")

	end := a.erased(`{"event_id":"order-1","why":"Asked for by the customer"}`)
	if end.num("erased") != 1 || end.num("attempts") != 1 || end.num("total") != 1 || end.num("looked") != 1 ||
		end.str("scope") != "event" || end.str("event_id") != "order-1" || end.str("actor") != "API_KEY" {
		t.Errorf("%s", end.raw)
	}
	if where := a.kept("canary"); len(where) > 0 {
		t.Errorf("it is still in %v", where)
	}
	e := a.want(200, "GET", "/events/order-1", nil)
	if e.str("erased_at") == "" || e.str("erased_because") != "Erased by API_KEY: Asked for by the customer" ||
		strings.Contains(e.raw, `"data"`) || e.num("deliveries", "delivered") != 1 || e.str("topic") != "order" {
		t.Errorf("%s", e.raw)
	}
	if gone := a.do("GET", "/events/order-1/data", nil); gone.status != 410 || !strings.Contains(gone.raw, "Erased by API_KEY") {
		t.Errorf("the payload: %d %s", gone.status, gone.raw)
	}
	at := a.want(200, "GET", "/attempts?tenant_id=acme&event_id=order-1&include=event.data,response_data", nil)
	if at.str("models", "0", "erased_at") == "" || at.str("models", "0", "request", "url") != "https://example.com/a" ||
		at.str("models", "0", "response", "body") != "" || a.count("select count(*) from attempts") != before {
		t.Errorf("%s", at.raw)
	}
	for path, body := range map[string]string{"/retry": `{"event_id":"order-1","destination_id":"inbox"}`,
		"/deliveries/retry": `{"delivery_ids":["` + delivery + `"]}`} {
		if no := a.do("POST", path, body); no.status == 202 || !strings.Contains(no.raw, "was erased, so that it cannot be sent again") {
			t.Errorf("%s: %d %s", path, no.status, no.raw)
		}
	}
	if no := a.do("POST", "/retries", `{"tenant_id":"acme","filter":{"status":["delivered"],"event_id":["order-1"]}}`); no.status != 422 {
		t.Errorf("a bulk retry: %d %s", no.status, no.raw)
	}
	if no := a.do("POST", "/erasures", `{"event_id":"order-1"}`); no.status != 409 {
		t.Errorf("once more: %d %s", no.status, no.raw)
	}
	if again := a.want(202, "POST", "/publish", `{"id":"order-1","tenant_id":"acme","topic":"order","data":{}}`); again.str("duplicate") != "true" {
		t.Errorf("the id is free again: %s", again.raw)
	}
	for _, q := range []string{"null", "canary", "data.email:canary@example.com"} {
		if found := a.want(200, "GET", "/events?tenant_id=acme&q="+q, nil); len(found.list()) != 0 {
			t.Errorf("a search for %s finds it: %s", q, found.raw)
		}
	}
	a.audited("erasure.start", end.str("id"), `"event": "order-1"`)
	a.audited("erasure.finish", end.str("id"), `"events": 1`)
	if list := a.want(200, "GET", "/erasures?tenant_id=acme&status=done", nil); len(list.list()) != 1 {
		t.Errorf("%s", list.raw)
	}
}

// TestErasureOfAFilter erases what a search finds, and nothing else; then all that the tenant has, and nothing of another one.
func TestErasureOfAFilter(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	for _, tenant := range []string{"acme", "globex"} {
		a.tenant(tenant)
		var events []string
		for i := range 6 {
			who := []string{"ann", "bob"}[i%2]
			events = append(events, fmt.Sprintf(`{"tenant_id":"%s","topic":"t%d","data":{"email":"%s@example.com"}}`, tenant, i%3, who))
		}
		a.want(202, "POST", "/publish/batch", "["+strings.Join(events, ",")+"]")
	}
	left := func(tenant string) int {
		return a.count("select count(*) from events e join tenants t on t.key = e.tenant_key where t.id = $1 and e.data <> 'null' and erased_at is null", tenant)
	}
	if end := a.erased(`{"tenant_id":"acme","filter":{"q":"data.email:ann@example.com","topic":["t0","t1"]}}`); end.num("erased") != 2 ||
		end.num("looked") != 6 || left("acme") != 4 || strings.Contains(end.raw, "event_id") {
		t.Errorf("%d left: %s", left("acme"), end.raw)
	}
	if end := a.erased(`{"tenant_id":"acme","filter":{"q":"ANN@"}}`); end.num("erased") != 1 || left("acme") != 3 {
		t.Errorf("%d left: %s", left("acme"), end.raw)
	}
	if end := a.erased(`{"tenant_id":"acme","filter":{"until":"2020-01-01T00:00:00Z"}}`); end.num("erased") != 0 || left("acme") != 3 {
		t.Errorf("%d left: %s", left("acme"), end.raw)
	}
	if end := a.erased(`{"tenant_id":"acme","all":true}`); end.num("erased") != 3 || left("acme") != 0 || left("globex") != 6 {
		t.Errorf("%d and %d left: %s", left("acme"), left("globex"), end.raw)
	}
	if n := a.count("select count(*) from audit where detail::text like '%ann@%' or detail::text like '%ANN@%'"); n != 0 {
		t.Errorf("the audit log tells what was searched for: %d entries", n)
	}
}

// TestErasureRefused asks for erasures that are unclear, or not for the caller.
func TestErasureRefused(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	for body, words := range map[string]string{
		`{"tenant_id":"acme"}`:                                     "filter says nothing",
		`{"tenant_id":"acme","filter":{}}`:                         "filter says nothing",
		`{"tenant_id":"acme","filter":{"topic":["a"]},"all":true}`: "filter stands alone",
		`{"all":true}`: "tenant_id is required",
		`{"tenant_id":"acme","filter":{"q":"{\"data\":"}}`:                         "filter.q",
		`{"tenant_id":"acme","filter":{"status":["failed"]}}`:                      "use since, until, topic and q",
		`{"tenant_id":"acme","filter":{"since":"2999-01-01T00:00:00Z"}}`:           "filter.since must be in the past",
		`{"tenant_id":"acme","all":true,"why":"` + strings.Repeat("x", 501) + `"}`: "why must be at most 500",
	} {
		if no := a.do("POST", "/erasures", body); no.status != 422 && no.status != 400 || !strings.Contains(no.raw, words) {
			t.Errorf("%s: %d %s", body, no.status, no.raw)
		}
	}
	if no := a.do("POST", "/erasures", `{"tenant_id":"nobody","all":true}`); no.status != 404 {
		t.Errorf("%d %s", no.status, no.raw)
	}
	key := a.want(201, "POST", "/api-keys", `{"name":"k","scopes":["read","write","retry"],"tenant_id":"acme"}`).str("key")
	if no := a.do("POST", "/erasures", `{"all":true}`, "Authorization", "Bearer "+key); no.status != 403 {
		t.Errorf("a key without admin: %d %s", no.status, no.raw)
	}
	own := a.want(201, "POST", "/api-keys", `{"name":"k","scopes":["read","admin"],"tenant_id":"acme"}`).str("key")
	other := a.want(202, "POST", "/erasures", `{"tenant_id":"globex","all":true}`).str("id")
	for path, body := range map[string]any{"/erasures": `{"tenant_id":"globex","all":true}`} {
		if no := a.do("POST", path, body, "Authorization", "Bearer "+own); no.status != 404 {
			t.Errorf("another tenant's: %d %s", no.status, no.raw)
		}
	}
	if no := a.do("GET", "/erasures/"+other, nil, "Authorization", "Bearer "+own); no.status != 404 {
		t.Errorf("another tenant's: %d %s", no.status, no.raw)
	}
}

// TestErasurePages asks for an erasure on the page of an event, and on that of the tenant.
func TestErasurePages(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.want(202, "POST", "/publish", `{"id":"one","tenant_id":"acme","topic":"order","data":{"email":"canary@example.com"}}`)
	v := a.visitor()
	if page := htmlOf(v.get("/t/acme/events/one")); !strings.Contains(page, "/t/acme/erasures/new?event_id=one") {
		t.Error("the page of an event has no way to erase it")
	}
	v.get("/t/acme/erasures/new?event_id=one")
	v.post("/t/acme/erasures/new", "event_id", "one", "why", "Asked")
	id := a.want(200, "GET", "/erasures", nil).str("models", "0", "id")
	a.eventually("/erasures/"+id, func(o answer) bool { return o.str("status") == "done" })
	if page := htmlOf(v.get("/t/acme/events/one")); strings.Contains(page, "canary") || !strings.Contains(page, "Erased by") ||
		strings.Contains(page, "erasures/new") {
		t.Errorf("%s", page)
	}
	if page := htmlOf(v.get("/t/acme/erasures/" + id)); !strings.Contains(page, "1 event erased") {
		t.Errorf("%s", page)
	}
	if page := htmlOf(v.get("/t/acme/erasures")); !strings.Contains(page, "Asked") {
		t.Errorf("%s", page)
	}
}

// htmlOf is a page as it was sent, but for its formatting.
func htmlOf(p page) string {
	html, err := p.Html()
	if err != nil {
		p.t.Fatal(err)
	}
	return html
}
