package app

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// TestDeletingCancelsWhatWaits deletes a tenant, or its destinations one by one, with deliveries in every state in which one
// waits. All are cancelled at once, those too that would be due in an hour, and the doctor finds nothing wrong.
func TestDeletingCancelsWhatWaits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, reason string }{{"tenant", "The tenant was deleted."},
		{"destination", "The destination was deleted."}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newTestApp(t, func(c *config.Config) { c.Retry.Schedule = []models.Duration{models.Duration(time.Hour)} })
			a.tenant("acme")
			a.tenant("other")
			destinations := map[string]string{
				"held":     `{"id":"held","type":"echo","topics":["order.created"]}`,
				"retrying": `{"id":"retrying","type":"echo","topics":["order.created"],"config":{"answer":"500"},"disable_after":0}`,
				"paced":    `{"id":"paced","type":"echo","topics":["order.created"],"rate_limit":{"per_second":0.1}}`,
				"ordered":  `{"id":"ordered","type":"echo","topics":["order.created"],"config":{"answer":"500"},"ordered":true,"disable_after":0}`,
			}
			for _, body := range destinations {
				a.want(201, "POST", "/tenants/acme/destinations", body)
			}
			a.want(200, "PUT", "/tenants/acme/destinations/held/disable", nil)
			a.want(201, "POST", "/tenants/other/destinations", `{"id":"held","type":"echo","topics":["order.created"]}`)
			a.want(200, "PUT", "/tenants/other/destinations/held/disable", nil)
			var events string
			for i := range 20 {
				events += fmt.Sprintf(`{"tenant_id":"acme","topic":"order.created","ordering_key":"k","data":{"n":%d}}`+"\n", i)
			}
			a.want(202, "POST", "/publish/batch", events, "Content-Type", "application/x-ndjson")
			a.want(202, "POST", "/publish", `{"tenant_id":"other","topic":"order.created","data":{}}`)
			a.eventually("/deliveries?tenant_id=acme&status=held", func(o answer) bool { return len(o.list()) == 20 })
			a.eventually("/deliveries?tenant_id=acme&destination_id=ordered&status=retrying",
				func(o answer) bool { return len(o.list()) == 1 })
			a.eventually("/deliveries?tenant_id=acme&destination_id=retrying&status=retrying",
				func(o answer) bool { return len(o.list()) >= 1 })

			if c.name == "tenant" {
				a.want(200, "DELETE", "/tenants/acme", nil)
			} else {
				for id := range destinations {
					a.want(200, "DELETE", "/tenants/acme/destinations/"+id, nil)
				}
			}
			a.eventually("/deliveries?tenant_id=other&status=held", func(o answer) bool { return len(o.list()) == 1 })
			const of = "destination_key in (select key from destinations where tenant_key = (select key from tenants where id = 'acme'))"
			a.until("no delivery waits any more", func() bool {
				return a.count("select count(*) from deliveries where "+of+" and status in ('pending', 'delivering', 'retrying', 'held')") == 0
			})
			if n := a.count("select count(*) from deliveries where "+of+" and status = 'cancelled' and reason = $1",
				c.reason); n < 20+1+18+19 {
				t.Errorf("%d deliveries are cancelled because of the deletion", n)
			}
			if n := a.count("select count(*) from deliveries where " + of + " and next_attempt_at is not null"); n > 0 {
				t.Errorf("%d deliveries still tell when they are due", n)
			}
			a.until("the lines of ordering keys are gone",
				func() bool { return a.count("select count(*) from ordered_deliveries where "+of) == 0 })
			wellAgain(t, map[string]string{"DATABASE_URL": a.Cfg.DatabaseURL})
			// What was taken up when it was deleted does not come back either.
			if n := a.count("select count(*) from deliveries where " + of + " and status not in ('cancelled', 'delivered')"); n > 0 {
				t.Errorf("%d deliveries are neither cancelled nor delivered", n)
			}
		})
	}
}

// until waits for what no answer of the API tells.
func (a *testApp) until(what string, done func() bool) {
	a.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			a.Fatalf("in vain: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
