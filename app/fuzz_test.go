package app

import (
	"encoding/json"
	"testing"
)

// FuzzPublish posts whatever comes to mind as an event: the answer is 202 or a 4xx with a reason, never a 5xx.
func FuzzPublish(f *testing.F) {
	for _, seed := range []string{
		`{"tenant_id":"acme","data":{}}`, `{"tenant_id":"acme","data":{"a":[1,2.5e300,"\u0000\ud800"]}}`, ``, `null`, `[]`, `"x"`, `{`,
		`{"data":`,
		`{"tenant_id":null,"data":{}}`, `{"tenant_id":"acme","id":"\u0000","data":{}}`,
		`{"tenant_id":"acme","time":"2026-02-30T00:00:00Z","data":{}}`,
		`{"tenant_id":"acme","time":"9999-12-31T23:59:59.999999999-23:59","data":{}}`,
		`{"tenant_id":"acme","time":"0000-01-01T00:00:00Z","data":{}}`,
		`{"tenant_id":"acme","metadata":{"":""},"data":{}}`, `{"tenant_id":"acme","metadata":{"a\nb":"c\r\nd"},"data":{}}`,
		"{\"tenant_id\":\"acme\",\"data\":{\"\xff\":1}}",
		`{"tenant_id":"acme","topic":"` + "\u202e" + `","data":{}}`, `{"tenant_id":"acme","data":{},"data":{"b":1}}`,
		`{"TENANT_ID":"acme","data":{}}`,
		`{"tenant_id":"acme","eligible_for_retry":"yes","data":{}}`, `{"tenant_id":"acme","destination_id":"inbox","data":{"n":1e999}}`,
	} {
		f.Add([]byte(seed))
	}
	a := newTestApp(f, nil)
	a.tenant("acme")
	a.want(201, "POST", "/tenants/acme/destinations", `{"type":"echo","topics":"*","filter":{"n":{"$gte":10}}}`)
	a.want(201, "POST", "/tenants/acme/destinations", `{"type":"echo","topics":"*","filter":{"$expr":"data.n > 1"}}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		in := *a
		in.TB = t
		out := in.do("POST", "/publish", body)
		if out.status != 202 && (out.status < 400 || out.status >= 500) {
			t.Fatalf("%d %s", out.status, out.raw)
		}
		if !json.Valid([]byte(out.raw)) || out.status != 202 && out.str("message") == "" {
			t.Fatalf("%d %q", out.status, out.raw)
		}
	})
}
