package app

import (
	"context"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/models"
)

// TestWaitBehindAnother: a delivery behind another one with its ordering key says so, and when that is tried again.
func TestWaitBehindAnother(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "line", "type": "echo", "topics": "*", "ordered": true,
		"on_exhausted": "block", "retry": map[string]any{"schedule": []string{"6h"}}, "config": map[string]any{"answer": "500"}})
	for _, id := range []string{"first", "second"} {
		a.want(202, "POST", "/publish", map[string]any{"id": id, "tenant_id": "acme", "ordering_key": "k", "data": map[string]any{}})
	}
	first := a.eventually("/deliveries?destination_id=line&event_id=first", func(o answer) bool {
		return o.str("models", "0", "status") == "retrying"
	})
	second := a.want(200, "GET", "/deliveries?destination_id=line&event_id=second", nil)
	if second.str("models", "0", "status") != "pending" || second.str("models", "0", "waiting_for") != "order" ||
		second.str("models", "0", "reason") != "Waits: the event first with the same ordering key goes first; it has failed and is tried again." {
		t.Errorf("%s", second.raw)
	}
	if at := second.str("models", "0", "next_attempt_at"); at == "" || at != first.str("models", "0", "next_attempt_at") {
		t.Errorf("tried next at %s", at)
	}
	if o := a.want(200, "GET", "/deliveries/"+first.str("models", "0", "id"), nil); o.str("waiting_for") != "" {
		t.Errorf("the first one waits for %s", o.str("waiting_for"))
	}
	a.visitor().get("/t/acme/events").says(": the event first with the same ordering key goes first; it has failed and is tried again.")
	// It has failed for good, and blocks.
	a.exec("update deliveries set status = 'failed', next_attempt_at = null where status = 'retrying'")
	o := a.want(200, "GET", "/events/second/deliveries?tenant_id=acme", nil)
	if !strings.Contains(o.raw, "goes first, and has failed: retry or cancel that delivery.") {
		t.Errorf("%s", o.raw)
	}
	a.want(200, "POST", "/deliveries/"+first.str("models", "0", "id")+"/cancel", nil)
	a.eventually("/deliveries?destination_id=line&event_id=second", func(o answer) bool {
		return o.str("models", "0", "status") == "retrying" && o.str("models", "0", "waiting_for") == ""
	})
}

// TestHeldIsExact: the number of held deliveries before one decides what becomes of them is the exact one.
func TestHeldIsExact(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.history("acme", 1234, nil)
	a.exec("update deliveries set status = 'held' where tenant_key = (select key from tenants where id = 'acme')")
	a.want(200, "PUT", "/tenants/acme/destinations/inbox/disable", nil)
	d, err := a.Store.Destination(context.Background(), models.AllTenants(), "acme", "inbox")
	if err != nil {
		t.Fatal(err)
	}
	if n, more, err := a.Store.Held(context.Background(), d.Key); n != 1234 || more || err != nil {
		t.Errorf("%d held, more %v, %v", n, more, err)
	}
	page := a.visitor().get("/t/acme/destinations/inbox/enable")
	if text := page.Find("main").Text(); !strings.Contains(text, "1,234") {
		t.Errorf("the page before enabling says %s", text)
	}
}
