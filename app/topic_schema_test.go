package app

import (
	"strings"
	"testing"
)

const orderSchema = `{"type":"object","required":["order"],"properties":{"order":{"type":"integer","minimum":1},"items":{"type":"array","items":{"$ref":"#/$defs/item"}}},"$defs":{"item":{"type":"object","required":["sku"]}}}`

// TestTopicSchema keeps a topic's schema and holds events against it: refused, accepted with a warning and counted, or
// neither, as the topic says, and event by event in a batch.
func TestTopicSchema(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	publish := func(data string) answer {
		return a.do("POST", "/publish", `{"tenant_id":"acme","topic":"order.created","data":`+data+`}`)
	}
	topic := func(enforce string) answer {
		return a.want(200, "PUT", "/topics/order.created", `{"example":{"order":17},"schema":`+orderSchema+`,"enforce":"`+enforce+`"}`)
	}
	if got := topic("reject"); got.str("schema", "properties", "order", "type") != "integer" || got.str("enforce") != "reject" {
		t.Fatalf("the topic is kept as %s", got.raw)
	}
	if o := publish(`{"order":17,"items":[{"sku":"x"}]}`); o.status != 202 || o.str("schema_errors") != "" {
		t.Errorf("an event as it should be: %d %s", o.status, o.raw)
	}
	o := publish(`{"order":0,"items":[{"sku":"x"},{}]}`)
	fields, _ := o.body["fields"].(map[string]any)
	if o.status != 422 || !strings.Contains(o.raw, "order.created") || !strings.Contains(o.str("fields", "data.order"), "minimum") ||
		!strings.Contains(o.str("fields", "data.items.1"), "sku") || len(fields) != 2 {
		t.Errorf("refused with %d %s", o.status, o.raw)
	}
	if n := a.count("select count(*) from events"); n != 1 {
		t.Errorf("%d events were accepted", n)
	}
	batch := a.want(202, "POST", "/publish/batch",
		`[{"tenant_id":"acme","topic":"order.created","data":{"order":1}},{"tenant_id":"acme","topic":"order.created","data":{}}]`)
	if batch.str("results", "0", "status") != "202" || batch.str("results", "1", "status") != "422" ||
		!strings.Contains(batch.str("results", "1", "fields", "data"), "order") {
		t.Errorf("a batch: %s", batch.raw)
	}
	a.eventually("/topics/order.created", func(o answer) bool { return o.num("mismatches", "refused") == 2 })

	topic("warn")
	if o := publish(`{"order":"17"}`); o.status != 202 || !strings.Contains(o.str("schema_errors"),
		"data.order: got string, want integer") {
		t.Errorf("accepted with a warning: %d %s", o.status, o.raw)
	}
	o = a.eventually("/topics/order.created", func(o answer) bool { return o.num("mismatches", "warned") == 1 })
	if o.num("mismatches", "refused") != 0 || o.str("mismatches", "last_at") == "" ||
		!strings.HasPrefix(o.str("mismatches", "last_why"), "data.order: ") {
		t.Errorf("counted as %s", o.raw)
	}
	token := a.want(200, "GET", "/tenants/acme/token", nil).str("token")
	if got := a.as(token).want(200, "GET", "/topics/order.created", nil); got.num("mismatches", "warned") != 0 ||
		got.str("schema", "type") != "object" {
		t.Errorf("a tenant sees %s", got.raw)
	}
	topic("off")
	if o := publish(`{}`); o.status != 202 || o.str("schema_errors") != "" {
		t.Errorf("not enforced: %d %s", o.status, o.raw)
	}
	topic("reject")
	// Without a schema nothing is asked any more; an absent field of PUT is taken away.
	a.want(200, "PUT", "/topics/order.created", `{"description":"An order."}`)
	if o := publish(`{}`); o.status != 202 {
		t.Errorf("without a schema: %d %s", o.status, o.raw)
	}
	var changed []string
	for _, c := range a.entries("action=topic.update")[0].Changes {
		changed = append(changed, c.Field)
	}
	if s := strings.Join(changed, " "); s != "description example schema enforce" {
		t.Errorf("the audit log tells of changes of %s", s)
	}
}

// TestTopicSchemaIsChecked refuses what is no schema, what would be fetched from elsewhere, and an example that is not as
// the schema asks, and says where.
func TestTopicSchemaIsChecked(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	for body, want := range map[string]string{
		`{"schema":{"type":"whole"}}`:                             "is not a JSON Schema",
		`{"schema":{"$ref":"https://example.com/x.json"}}`:        "must hold all that it needs",
		`{"schema":{"$ref":"file:///etc/passwd"}}`:                "must hold all that it needs",
		`{"schema":[1]}`:                                          "is not a JSON Schema",
		`{"schema":{"pattern":"("}}`:                              "is not a JSON Schema",
		`{"schema":{"required":["order"]},"example":{"total":1}}`: "is not as the schema asks: data: missing property 'order' (required)",
		`{"schema":{"type":"object"},"enforce":"sometimes"}`:      "must be off, warn or reject",
	} {
		if o := a.do("PUT", "/topics/x", body); o.status != 422 || !strings.Contains(o.raw, want) {
			t.Errorf("%s: %d %s", body, o.status, o.raw)
		}
	}
	// The page does the same.
	a.tenant("acme")
	v := a.visitor()
	p := v.post("/t/acme/topics", "name", "order.created", "schema", orderSchema, "example", `{"order":"x"}`, "enforce", "reject")
	p.refused(422, "example", "is not as the schema asks")
	if p.value("schema") != orderSchema {
		t.Errorf("the schema that was typed is %q", p.value("schema"))
	}
	v.post("/t/acme/topics", "name", "order.created", "schema", orderSchema, "example", `{"order":1}`, "enforce",
		"reject").says("The topic order.created was saved.")
	v.get("/t/acme/topics").says("Refuses")
	if p := v.get("/t/acme/topics?change=order.created"); p.value("name") != "order.created" ||
		!strings.Contains(p.value("schema"), `"minimum": 1`) || p.value("enforce") != "reject" {
		t.Errorf("the form to change it has %q, %q", p.value("schema"), p.value("enforce"))
	}
	a.do("POST", "/publish", `{"tenant_id":"acme","topic":"order.created","data":{"order":-1}}`)
	a.until("the page tells of the refused event", func() bool {
		return strings.Contains(v.get("/t/acme/topics").text("main"),
			"1 refused")
	})
}
