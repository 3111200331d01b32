package app

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestEventSearch(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("other")
	for i := range 6 {
		a.want(202, "POST", "/publish",
			fmt.Sprintf(`{"tenant_id":"acme","id":"order-%d","topic":"order.created","data":{"total":%d,"price":"%d.50","note":"Number %d"}}`, i, 10*i, i, i))
	}
	a.want(202, "POST", "/publish", `{"tenant_id":"other","id":"order-9","data":{"total":50}}`)
	search := func(q string) answer { return a.want(200, "GET", "/events?tenant_id=acme&q="+url.QueryEscape(q), nil) }
	for q, want := range map[string]string{
		`number 3`: "order-3", `order-2`: "order-2", `total:>=40`: "order-5 order-4", `{"price":{"$lt":1}}`: "order-0",
		`{"$expr":"data.total == 20 or id == \"order-1\""}`: "order-2 order-1",
		`topic:order.created total:50`:                      "order-5", `NOT total:>0`: "order-0", `nothing like it`: "",
		`data.total = 50`: "order-5", `total >= 40 AND note = "Number 4"`: "order-4",
	} {
		out := search(q)
		var ids []string
		for _, m := range out.body["models"].([]any) {
			ids = append(ids, m.(map[string]any)["id"].(string))
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s finds %s, want %s", q, got, want)
		}
	}
	if out := search(`total:>=40`); out.str("searched", "as") != "filter" || out.str("searched", "events") != "6" ||
		out.str("searched", "complete") != "true" {
		t.Errorf("%s", out.raw)
	}
	if out := search(`total = 40`); out.str("searched", "as") != "filter" ||
		!strings.Contains(out.str("searched", "note"), "`total:40`") {
		t.Errorf("%s", out.raw)
	}
	if out := search(`total:>=40 OR a:1 b:2`); out.str("searched", "as") != "text" ||
		!strings.Contains(out.str("searched", "note"), "line 1, column") {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(422, "GET", "/events?q="+url.QueryEscape(`{"total":{"$nope":1}}`), nil); out.str("fields", "q") == "" ||
		out.str("position", "path") != "total.$nope" {
		t.Errorf("%s", out.raw)
	}
	v := a.visitor()
	v.get("/t/acme/events?q=" + url.QueryEscape("total:>=40") + "&range=24h").says("Searched 6 events of the last 24 hours.")
	p := v.get("/t/acme/events?limit=1&q=" + url.QueryEscape("total:>=40"))
	v.get("/t/acme/events?q=" + url.QueryEscape("total = 40")).says("This was taken for total:40.")
	p.says("There are more matches on the next page; searched newest first.")
	v.get("/t/acme/events?q=" +
		url.QueryEscape("total:> 40 x")).says("This was looked for as a text, since as a filter it cannot be understood")
	if p := v.send("GET", "/t/acme/events?q="+url.QueryEscape(`{"total"`), nil); p.status != 422 {
		t.Errorf("status %d", p.status)
	} else {
		p.says("cannot be understood")
	}
}
