package app

import (
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/app/config"
)

// settings sets what an operator would set for a tenant.
func (a *testApp) settings(tenant, settings string) {
	a.Helper()
	a.exec("update tenants set settings = $2 where id = $1", tenant, settings)
}

// TestManualRetryLimits has the most specific limit in force: the destination's, below the tenant's, which the operator sets above or
// below the server's.
func TestManualRetryLimits(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.ManualRetryLimit = 3 })
	a.tenant("acme")
	a.failures("shop", 1)
	event := a.want(200, "GET", "/deliveries?status=failed&tenant_id=acme", nil).str("models", "0", "event_id")
	body := `{"tenant_id":"acme","destination_id":"shop","event_id":"` + event + `"}`
	again := func() { a.Helper(); a.want(200, "POST", "/retry", body, "Prefer", "wait=20") }
	refused := func(says ...string) {
		a.Helper()
		out := a.want(429, "POST", "/retry", body)
		for _, s := range says {
			if !strings.Contains(out.str("message"), s) {
				t.Errorf("%q does not say %q", out.str("message"), s)
			}
		}
		if out := a.want(422, "POST", "/retries",
			`{"tenant_id":"acme","filter":{"status":["delivered"],"destination_id":["shop"]}}`); !strings.Contains(out.raw,
			"manual_retry_limit") {
			t.Errorf("in bulk: %s", out.raw)
		}
	}
	a.want(200, "PATCH", "/tenants/acme/destinations/shop", `{"manual_retry_limit":1}`)
	again()
	refused("manual_retry_limit of destination shop", "its settings")
	if got := a.want(200, "GET", "/tenants/acme/destinations/shop", nil); got.num("manual_retry_limit") != 1 ||
		!strings.Contains(got.raw, `"manual_retries_per_hour":null`) {
		t.Errorf("%s", got.raw)
	}
	a.want(200, "PATCH", "/tenants/acme/destinations/shop", `{"manual_retry_limit":null}`)
	again()
	a.settings("acme", `{"manual_retry_limit":2}`)
	refused("manual_retry_limit in the settings of tenant acme", "PATCH /tenants/acme/settings")
	a.settings("acme", `{"manual_retry_limit":4}`) // above the server's
	again()
	again()
	refused("settings of tenant acme")
	a.settings("acme", `{}`)
	refused("MANUAL_RETRY_LIMIT")
	if out := a.want(422, "PATCH", "/tenants/acme/destinations/shop", `{"manual_retry_limit":4}`); !strings.Contains(out.str("fields",
		"manual_retry_limit"), "at most 3 (MANUAL_RETRY_LIMIT") {
		t.Errorf("%s", out.raw)
	}
	a.want(422, "PATCH", "/tenants/acme/destinations/shop", `{"manual_retry_limit":-1}`)
	// What was allowed once may be sent along with other changes, and does not count above the tenant's.
	a.want(200, "PATCH", "/tenants/acme/destinations/shop", `{"manual_retry_limit":3}`)
	a.settings("acme", `{"manual_retry_limit":2}`)
	a.want(200, "PATCH", "/tenants/acme/destinations/shop", `{"manual_retry_limit":3,"name":"Shop"}`)
	refused("settings of tenant acme")
	if list := a.entries("object=shop&action=destination.update"); len(list[0].Changes) != 1 || len(list[1].Changes) != 1 ||
		list[1].Changes[0].Field != "manual_retry_limit" {
		t.Errorf("%+v", list)
	}
	v := a.visitor()
	v.get("/t/acme/destinations/shop").says("2 times a delivery")
	p := v.get("/t/acme/destinations/shop/settings")
	if p.value("manual_retry_limit") != "3" || p.Find(`[name=manual_retry_limit]`).AttrOr("placeholder", "") != "2" {
		t.Errorf("the form has %q", p.value("manual_retry_limit"))
	}
}

// TestRetriesPerHourOfDestination counts what is retried within an hour by destination, single and in bulk.
func TestRetriesPerHourOfDestination(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.failures("shop", 4)
	a.want(200, "PATCH", "/tenants/acme/destinations/shop", `{"manual_retries_per_hour":2}`)
	event := a.want(200, "GET", "/deliveries?status=failed&tenant_id=acme", nil).str("models", "0", "event_id")
	body := `{"tenant_id":"acme","destination_id":"shop","event_id":"` + event + `"}`
	a.want(200, "POST", "/retry", body, "Prefer", "wait=20")
	path := "/retries/" + a.want(202, "POST", "/retries", `{"tenant_id":"acme"}`).str("id")
	a.eventually(path, func(o answer) bool { return o.str("note") == "hourly_limit" && o.num("delivered") == 1 })
	if out := a.want(429, "POST", "/retry", body); !strings.Contains(out.str("message"), "manual_retries_per_hour of destination shop") ||
		out.header.Get("Retry-After") == "" {
		t.Errorf("%s", out.raw)
	}
	a.exec("update destination_retry_minutes set minute = minute - interval '61 minutes'") // the hour is over
	a.eventually(path, func(o answer) bool { return o.num("delivered") == 3 })
	a.finished(strings.TrimPrefix(path, "/retries/"))
	if n := a.count("select count(*) from retry_minutes"); n != 0 {
		t.Errorf("the tenant has no limit, and %d rows", n)
	}
	a.settings("acme", `{"manual_retries_per_hour":5,"bulk_retry_limit":1}`)
	if plan := a.want(200, "POST", "/retries/plan", `{"tenant_id":"acme","filter":{"status":["delivered"]}}`); plan.num("limits",
		"per_hour") != 5 || plan.num("limits", "per_retry") != 1 {
		t.Errorf("%s", plan.raw)
	}
	if out := a.want(422, "POST", "/retries", `{"tenant_id":"acme","filter":{"status":["delivered"]}}`); !strings.Contains(out.raw,
		"bulk_retry_limit in the settings of tenant acme") {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(422, "PATCH", "/tenants/acme/destinations/shop", `{"manual_retries_per_hour":6}`); !strings.Contains(out.str("fields",
		"manual_retries_per_hour"), "at most 5") {
		t.Errorf("%s", out.raw)
	}
}
