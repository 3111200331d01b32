package app

import (
	"testing"

	"github.com/waybill-dev/waybill/models"
)

// TestProbeNamesWhoAsked: that a probe enabled a destination is in the audit log with who asked for the probe, from where and
// by which request; that it failed as well.
func TestProbeNamesWhoAsked(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"d","type":"echo","topics":["t"],"config":{"answer":"500"}}`)
	a.want(200, "PUT", "/tenants/acme/destinations/d/disable", nil)
	a.want(202, "POST", "/publish", `{"id":"held","tenant_id":"acme","topic":"t","data":{}}`)
	a.eventually("/deliveries?tenant_id=acme&destination_id=d&status=held", func(o answer) bool { return len(o.list()) == 1 })
	asked := func(action, outcome, request string) {
		t.Helper()
		a.eventually("/audit?tenant_id=acme&object=d&action="+action+"&outcome="+outcome+"&request_id="+request,
			func(o answer) bool { return len(o.list()) > 0 })
		e := a.entries("tenant_id=acme&object=d&action=" + action + "&outcome=" + outcome + "&request_id=" + request)[0]
		if e.Actor != "API_KEY" || e.ActorKind != models.ActorKey || e.IP != "127.0.0.1" || e.RequestID != request {
			t.Errorf("%+v", e)
		}
	}
	request := func() string {
		out := a.want(202, "PUT", "/tenants/acme/destinations/d/enable", `{"probe":true}`)
		return out.header.Get("X-Request-Id")
	}
	asked("destination.probe", "failed", request())
	a.want(200, "PATCH", "/tenants/acme/destinations/d", `{"config":{"answer":"200"}}`)
	asked("destination.enable", "ok", request())
}
