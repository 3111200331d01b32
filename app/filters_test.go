package app

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestFiltersTest(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("other")
	for _, c := range []struct {
		filter, event string
		match         bool
		reason        string
		rule          float64
	}{
		{`{"total":{"$gte":10}}`, `{"data":{"total":4}}`, false, "`data.total` is 4, needs at least 10", 1},
		{`"status:paid total:>=10"`, `{"data":{"status":"paid"}}`, false, "`data.total` is missing", 2},
		{`{"$expr":"data.total >= 10"}`, `{"data":{"total":10}}`, true, "the expression is true", 0},
		{`{"$expr":"data.total > 10"}`, `{"data":{"total":"x"}}`, false, "the filter failed", 1},
		{`{"topic":"order.created","metadata":{"env":"prod"},"id":"e1","time":{"$gt":"2026-01-01T00:00:00Z"}}`,
			`{"id":"e1","topic":"order.created","time":"2026-03-01T00:00:00Z","metadata":{"env":"prod"},"data":{}}`, true, "", 0},
		{`null`, `{"data":{}}`, true, "there is no filter", 0},
	} {
		out := a.want(200, "POST", "/filters/test", `{"filter":`+c.filter+`,"event":`+c.event+`}`)
		rule, _ := out.body["rule"].(float64)
		if out.body["match"] != c.match || !strings.Contains(out.str("reason"), c.reason) || rule != c.rule {
			t.Errorf("%s on %s: %s", c.filter, c.event, out.raw)
		}
	}

	for i, data := range []string{`{"total":1}`, `{"total":20}`, `{"total":30}`} {
		topic := "order.created"
		if i == 2 {
			topic = "order.paid"
		}
		a.want(202, "POST", "/publish", map[string]any{"tenant_id": "acme", "id": "e" + string(rune('1'+i)), "topic": topic,
			"data": json.RawMessage(data)})
	}
	a.want(202, "POST", "/publish", map[string]any{"tenant_id": "other", "data": json.RawMessage(`{"total":99}`)})
	out := a.want(200, "POST", "/filters/test", `{"filter":"total:>=10","tenant_id":"acme"}`)
	if out.body["matched"] != 2.0 || out.body["total"] != 3.0 || out.str("results", "0", "event_id") != "e3" ||
		out.str("results", "2", "reason") != "`data.total` is 1, needs at least 10" {
		t.Errorf("recent events: %s", out.raw)
	}
	out = a.want(200, "POST", "/filters/test", `{"filter":"total:>=10","tenant_id":"acme","topics":["order.created"],"limit":1}`)
	if out.body["total"] != 1.0 || out.str("results", "0", "event_id") != "e2" {
		t.Errorf("a topic: %s", out.raw)
	}
	a.want(404, "POST", "/filters/test", `{"filter":"total:>=10","tenant_id":"nobody"}`)
	for body, field := range map[string]string{
		`{"filter":"total:>=10"}`:                                     "event",
		`{"filter":"total:>=10","tenant_id":"acme","limit":1001}`:     "limit",
		`{"filter":"a:1 OR b:2 c:3","event":{"data":{}}}`:             "filter",
		`{"filter":{"a":{"$nope":1}},"event":{"data":{}}}`:            "filter",
		`{"filter":{"$expr":"data.total >"},"event":{"data":{}}}`:     "filter",
		`{"filter":17,"event":{"data":{}}}`:                           "filter",
		`{"filter":{"a":{"$regex":"("}},"event":{"data":{}}}`:         "filter",
		`{"filter":"total:>=10","event":{"time":"soon","data":{}}}`:   "event.time",
		`{"filter":"total:>=10","event":{"metadata":1,"data":{}}}`:    "event.metadata",
		`{"filter":"total:>=10","event":17}`:                          "event",
		`{"filter":"total:>=10","tenant_id":"acme","topics":{"a":1}}`: "topics",
	} {
		if out := a.want(422, "POST", "/filters/test", body); out.str("fields", field) == "" {
			t.Errorf("%s: %s", body, out.raw)
		}
	}
	out = a.want(422, "POST", "/filters/test", `{"filter":"total:>=10 OR a:1 b:2","event":{"data":{}}}`)
	if out.body["position"] == nil || !strings.Contains(out.str("data", "0"), "line 1, column") {
		t.Errorf("no position: %s", out.raw)
	}
	out = a.want(422, "POST", "/filters/test", `{"filter":{"total":{"$nope":1}},"event":{"data":{}}}`)
	if out.str("position", "path") != "total.$nope" {
		t.Errorf("no path: %s", out.raw)
	}
	out = a.want(422, "POST", "/tenants/acme/destinations", `{"type":"echo","topics":"*","filter":{"total":{"$nope":1}}}`)
	if out.str("position", "path") != "total.$nope" {
		t.Errorf("no path: %s", out.raw)
	}

	// A tenant's token sees its own events, and needs no tenant_id for that.
	own := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	if out := own.want(200, "POST", "/filters/test", `{"filter":"total:>=10"}`); out.body["total"] != 3.0 {
		t.Errorf("with a token: %s", out.raw)
	}
	own.want(404, "POST", "/filters/test", `{"filter":"total:>=10","tenant_id":"other"}`)
}

func TestFiltersConvert(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	for _, c := range []struct{ from, to, filter, reason string }{
		{`"variants.price:>=10.00"`, "json", `{"variants":{"price":{"$gte":10.00}}}`, ""},
		{`{"variants":{"price":{"$gte":10}}}`, "search", `"variants.price:>=10"`, ""},
		{`{"variants":{"price":{"$gte":10}}}`, "rules", `{"match":"all","rules":[{"field":"variants.price","condition":"gte","value":10}]}`,
			""},
		{`{"$expr":"data.total > 1"}`, "json", `null`, "expression"},
		{`{"total":10}`, "search", `"total:10"`, "text"},
		{`{"topic":"a"}`, "expression", `{"$expr":"topic == \"a\""}`, ""},
		{`{}`, "search", `""`, ""},
		{`{"$not":{"$and":[{"a":1},{"b":2}]}}`, "rules", `null`, "rows"},
	} {
		out := a.want(200, "POST", "/filters/convert", `{"filter":`+c.from+`,"to":"`+c.to+`"}`)
		if !strings.Contains(out.raw, `"filter":`+c.filter) || out.body["lossless"] != (c.reason == "") || c.reason != "" &&
			!strings.Contains(out.str("reason"), c.reason) {
			t.Errorf("%s to %s: %s", c.from, c.to, out.raw)
		}
	}
	out := a.want(200, "POST", "/filters/convert",
		`{"rules":{"match":"any","rules":[{"field":"a","condition":"equals","value":1},{"field":"b","condition":"exists"}]},"to":"json"}`)
	if !strings.Contains(out.raw, `{"$or":[{"a":1},{"b":{"$exist":true}}]}`) {
		t.Errorf("rules: %s", out.raw)
	}
	if out := a.want(422, "POST", "/filters/convert",
		`{"rules":{"match":"any","rules":[{"field":"a","condition":"gte","value":true}]},"to":"json"}`); out.str("position",
		"path") != "rules[0].value" {
		t.Errorf("bad rules: %s", out.raw)
	}
	if out := a.want(422, "POST", "/filters/convert", `{"filter":"a:1","to":"sql"}`); out.str("fields", "to") == "" {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(422, "POST", "/filters/convert", `{"filter":"a:","to":"json"}`); out.str("fields", "filter") == "" {
		t.Errorf("%s", out.raw)
	}
}

func TestTransforms(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	out := a.want(200, "POST", "/transforms/test", `{"transform":"{\"n\": data.n, \"t\": topic}","event":{"topic":"a","data":{"n":1.50}}}`)
	if !strings.Contains(out.raw, `{"body":{"n":1.5,"t":"a"}}`) {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(200, "POST", "/transforms/test", `{"transform":"data.a.b","event":{"data":{}}}`); !strings.HasPrefix(out.str("error"),
		"The transform failed: cannot fetch b") {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(422, "POST", "/transforms/test", `{"transform":"data.","event":{"data":{}}}`); out.str("fields", "transform") == "" ||
		out.body["position"] == nil {
		t.Errorf("%s", out.raw)
	}

	d := a.want(201, "POST", "/tenants/acme/destinations", `{"type":"echo","topics":"*","transform":"{\"total\": data.total}"}`)
	id := d.str("id")
	if d.str("transform") != `{"total": data.total}` {
		t.Errorf("%s", d.raw)
	}
	event := a.want(200, "POST", "/publish", `{"tenant_id":"acme","data":{"total":12.5,"secret":"x"}}`, "Prefer", "wait=10").str("id")
	attempts := a.want(200, "GET", "/attempts?destination_id="+id+"&event_id="+event, nil)
	at := attempts.str("models", "0", "id")
	if out := a.want(200, "GET", "/attempts/"+at, nil); out.str("request", "body") != `{"total":12.5}` ||
		!strings.Contains(out.str("response", "body"), `"bytes":14`) {
		t.Errorf("the attempt: %s", out.raw)
	}
	a.want(200, "PATCH", "/tenants/acme/destinations/"+id, `{"transform":null}`)
	if d := a.want(200, "GET", "/tenants/acme/destinations/"+id, nil); d.body["transform"] != nil {
		t.Errorf("%s", d.raw)
	}
	for _, bad := range []string{`17`, `"data."`, `"toJSON(data)"`, `{"$expr":"data"}`} {
		if out := a.want(422, "PATCH", "/tenants/acme/destinations/"+id, `{"transform":`+bad+`}`); out.str("fields", "transform") == "" {
			t.Errorf("%s: %s", bad, out.raw)
		}
	}
	v := a.visitor()
	p := v.get("/t/acme/attempts/" + at)
	p.says("Made by the destination's transform, 14 bytes")
	settings := "/t/acme/destinations/" + id + "/settings"
	form := append(formPairsOf(v.get(settings)), "then", "transform")
	with := func(transform string) page {
		var pairs []string
		for i := 0; i+1 < len(form); i += 2 {
			if form[i] != "transform" {
				pairs = append(pairs, form[i], form[i+1])
			}
		}
		return v.post(settings, append(pairs, "transform", transform)...)
	}
	with(`{"just": data.total}`).says(`"just"`)
	with(`data.none.deeper`).says("The transform failed: cannot fetch deeper from nothing")
	with(`data.`).refused(422, "transform", "(line 1, column 5)")
	with(``).refused(422, "transform", "is empty, so that the payload is sent as it is")
	if d := a.want(200, "GET", "/tenants/acme/destinations/"+id, nil); d.body["transform"] != nil {
		t.Errorf("looking at it has saved it: %s", d.raw)
	}
}
