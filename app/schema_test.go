package app

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

const (
	npmClient    = "speakeasy-sdk/typescript 1.6.0 2.938.0 0.0.1 @hookdeck/outpost-sdk"
	pythonClient = "speakeasy-sdk/python 1.7.0 2.943.0 0.0.1 outpost_sdk"
)

// A client that would refuse a whole list for one destination that it does not know gets the others, and is told. Everybody
// else sees them all.
func TestListsThatClientsCanRead(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.HostCreds = true })
	a.tenant("acme") // with a destination "inbox" of type echo
	for id, body := range map[string]string{
		"hook":  `{"type":"webhook","config":{"url":"https://example.com/hook"},"filter":"total:>=10 AND currency:EUR"}`,
		"plain": `{"type":"kafka","config":{"brokers":"kafka.example.com:9092","topic":"orders"}}`,
		"sasl":  `{"type":"kafka","config":{"brokers":"kafka.example.com:9093","topic":"orders","sasl_mechanism":"plain","tls":true},"credentials":{"username":"u","password":"p"}}`,
		"queue": `{"type":"aws_sqs","config":{"queue_url":"https://sqs.eu-west-1.amazonaws.com/123456789012/orders"}}`,
		"bus":   `{"type":"aws_eventbridge","config":{"region":"eu-west-1"},"credentials":{"key":"AKIAIOSFODNN7EXAMPLE","secret":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}}`,
	} {
		a.want(201, "POST", "/tenants/acme/destinations", `{"id":"`+id+`","topics":"*",`+body[1:])
	}
	list := func(header ...string) (ids string, omitted string, by map[string]map[string]any) {
		out := a.want(200, "GET", "/tenants/acme/destinations", nil, header...)
		var all []map[string]any
		if err := json.Unmarshal([]byte(out.raw), &all); err != nil {
			t.Fatal(err)
		}
		by = map[string]map[string]any{}
		for _, d := range all {
			by[d["id"].(string)] = d
		}
		for _, id := range []string{"bus", "hook", "inbox", "plain", "queue", "sasl"} {
			if by[id] != nil {
				ids += id + " "
			}
		}
		return ids, out.header.Get(api.OmittedHeader), by
	}
	if ids, omitted, by := list(); ids != "bus hook inbox plain queue sasl " || omitted != "" ||
		by["hook"]["filter"] != "total:>=10 AND currency:EUR" {
		t.Errorf("whoever asks without such a client sees %s, without %q: %v", ids, omitted, by["hook"])
	}
	if ids, omitted, _ := list("User-Agent", npmClient); ids != "hook queue sasl " ||
		!strings.Contains(omitted, "echo") || !strings.Contains(omitted, "kafka") || !strings.Contains(omitted, "aws_eventbridge") {
		t.Errorf("the older client sees %s, without %q", ids, omitted)
	}
	ids, omitted, by := list("User-Agent", pythonClient)
	if ids != "bus hook queue sasl " || strings.Contains(omitted, "aws_eventbridge") {
		t.Errorf("the newer client sees %s, without %q", ids, omitted)
	}
	if f, ok := by["hook"]["filter"].(map[string]any); !ok || f["$search"] != "total:>=10 AND currency:EUR" {
		t.Errorf("a filter that is a text is shown as %v", by["hook"]["filter"])
	}
	if c := by["queue"]["credentials"].(map[string]any); c["key"] != "" || c["secret"] != "" {
		t.Errorf("credentials that are not set are shown as %v", c)
	}
	if ids, _, _ := list("Waybill-Schema", "outpost/1.6"); ids != "hook queue sasl " {
		t.Errorf("a client that says what it reads sees %s", ids)
	}
	// What was left out is counted.
	if n := a.want(200, "GET", "/tenants/acme", nil, "User-Agent", npmClient).str("destinations_count"); n != "6" {
		t.Errorf("%s destinations are counted", n)
	}
	// What such a client sends back as it was shown changes nothing.
	for id, fields := range map[string][]string{"hook": {"filter"}, "queue": {"credentials", "config"}, "bus": {"config"}} {
		patch := map[string]any{}
		for _, f := range fields {
			patch[f] = by[id][f]
		}
		before := a.want(200, "GET", "/tenants/acme/destinations/"+id, nil)
		a.want(200, "PATCH", "/tenants/acme/destinations/"+id, patch, "User-Agent", pythonClient)
		after := a.want(200, "GET", "/tenants/acme/destinations/"+id, nil)
		for _, f := range fields {
			b, _ := json.Marshal(before.body[f])
			if got, _ := json.Marshal(after.body[f]); string(b) != string(got) {
				t.Errorf("%s of %s was %s and is %s", f, id, b, got)
			}
		}
	}
}

// Asked for one destination that it cannot read, a client gets an error that says so, and nothing is changed.
func TestDestinationsThatClientsCannotRead(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	const path = "/tenants/acme/destinations/inbox"
	for method, addresses := range map[string][]string{http.MethodGet: {path}, http.MethodPatch: {path},
		http.MethodPut: {path + "/disable", path + "/enable"}} {
		for _, address := range addresses {
			out := a.want(406, method, address, map[bool]any{true: nil, false: `{}`}[method == http.MethodGet], "User-Agent", npmClient)
			if out.str("code") != "not_acceptable" || !strings.Contains(out.str("message"), "echo") ||
				!strings.Contains(out.str("message"), "@hookdeck/outpost-sdk 1.6.0") {
				t.Errorf("%s %s: %s", method, address, out.raw)
			}
		}
	}
	if out := a.want(200, "GET", path, nil); out.str("status", "state") != "active" || out.str("version") != "1" {
		t.Errorf("it was changed: %s", out.raw)
	}
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"t","id":"e1","data":{}}`)
	a.eventually("/events/e1/deliveries", func(o answer) bool { return o.str("models", "0", "status") == "delivered" })
	const attempts = "/attempts?event_id=e1&include=destination&include=event"
	if out := a.want(200, "GET", attempts, nil, "User-Agent", npmClient); out.str("models", "0", "destination", "id") != "" ||
		out.str("models", "0", "destination_type") != "echo" || out.str("models", "0", "event", "destination_id") != "inbox" {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(200, "GET", attempts, nil, "User-Agent", pythonClient); out.str("models", "0", "destination", "id") != "inbox" {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(200, "GET", "/events/e1", nil); strings.Contains(out.raw, `"destination_id"`) {
		t.Errorf("an event outside of an attempt has no one destination: %s", out.raw)
	}
	a.want(200, "DELETE", path, nil, "User-Agent", npmClient)
}

// A bus is named as here or as in Outpost, and shown under both names.
func TestOtherNamesOfFields(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", nil)
	const keys = `"credentials":{"key":"AKIAIOSFODNN7EXAMPLE","secret":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}`
	create := func(status int, config string) answer {
		return a.want(status, "POST", "/tenants/acme/destinations",
			`{"type":"aws_eventbridge","topics":"*","config":{"region":"eu-west-1"`+config+`},`+keys+`}`)
	}
	shows := func(out answer, bus string) {
		t.Helper()
		if out.str("config", "event_bus") != bus || out.str("config", "event_bus_name") != bus || out.str("config", "source") == "" {
			t.Errorf("instead of %q: %s", bus, out.raw)
		}
	}
	shows(create(201, ``), "default")
	shows(create(201, `,"event_bus":"orders","source":"shop"`), "orders")
	shows(create(201, `,"event_bus":"orders","event_bus_name":"orders"`), "orders")
	if out := create(422, `,"event_bus":"orders","event_bus_name":"invoices"`); out.str("fields", "config.event_bus_name") == "" {
		t.Errorf("%s", out.raw)
	}
	out := create(201, `,"event_bus_name":"orders"`)
	shows(out, "orders")
	path := "/tenants/acme/destinations/" + out.str("id")
	change := func(config string) answer { return a.want(200, "PATCH", path, `{"config":`+config+`}`) }
	shows(change(`{"event_bus_name":"invoices"}`), "invoices")
	shows(change(`{"event_bus":"orders","event_bus_name":"invoices"}`), "orders") // only one of both as they were shown is another
	shows(change(`{"event_bus":"orders","event_bus_name":"refunds"}`), "refunds")
	shows(change(`{"event_bus_name":null}`), "default")
	if d, err := a.Store.Destination(t.Context(), models.AllTenants(), "acme", out.str("id")); err != nil ||
		d.Config["event_bus_name"] != "" {
		t.Errorf("kept as %v, %v", d.Config, err)
	}
}

// A secret that was copied from where it is shown masked is not taken for the secret.
func TestMaskedSecretsAreNotSaved(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", nil)
	create := func(status int, password string) answer {
		return a.want(status, "POST", "/tenants/acme/destinations",
			`{"type":"rabbitmq","topics":"*","config":{"server_url":"rabbitmq.example.com:5672","exchange":"orders"},
			"credentials":{"username":"shop","password":"`+password+`"}}`)
	}
	for _, masked := range []string{"••••••", "secret••••••", "*****", "secr******"} {
		if out := create(422, masked); out.str("fields", "credentials.password") != "is masked; enter it in full" {
			t.Errorf("%s: %s", masked, out.raw)
		}
	}
	for _, plain := range []string{"secret*", "se**cret", "a*****", "stars****", "guest"} {
		create(201, plain)
	}
	out := a.want(422, "POST", "/tenants/acme/destinations",
		`{"type":"webhook","topics":"*","config":{"url":"https://example.com/","custom_headers":{"X-A":"••••••"}}}`)
	if out.str("fields", "config.custom_headers") == "" {
		t.Errorf("%s", out.raw)
	}
	// Sent back to where it was shown, it still changes nothing.
	made := create(201, "a long password")
	a.want(200, "PATCH", "/tenants/acme/destinations/"+made.str("id"),
		map[string]any{"credentials": map[string]any{"password": made.body["credentials"].(map[string]any)["password"]}})
}
