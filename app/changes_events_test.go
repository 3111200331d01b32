package app

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// entries are the changes that arrived as events.
func (h *hook) entries(t testing.TB) (out []models.FeedEntry) {
	for _, b := range h.got() {
		var e models.FeedEntry
		if err := json.Unmarshal([]byte(b), &e); err != nil || e.ID == "" {
			t.Fatalf("%v: %s", err, b)
		}
		out = append(out, e)
	}
	return out
}

// TestChangesAsEvents has changes delivered to destinations that name their topics, and to no others.
func TestChangesAsEvents(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.Topics = []string{"good"} })
	a.tenant("acme")
	a.tenant("globex")
	h, everything := newHook(t), newHook(t)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"all","type":"webhook","topics":"*","config":{"url":"`+everything.URL+`"}}`)
	out := a.want(422, "POST", "/tenants/acme/destinations",
		`{"type":"webhook","topics":["waybill.destination.removed"],"config":{"url":"`+h.URL+`"}}`)
	if !strings.Contains(out.str("fields", "topics[0]"), "waybill.destination.deleted") {
		t.Errorf("%s", out.raw)
	}
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"copy","type":"webhook","topics":["waybill.destination.*","waybill.delivery.failed","waybill.topic.created"],"config":{"url":"`+h.URL+`"}}`)
	a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"name":"Ours"}`)
	a.want(200, "PATCH", "/tenants/globex/destinations/inbox", `{"name":"Theirs"}`)
	a.want(200, "PUT", "/tenants/acme", `{"metadata":{"plan":"pro"}}`) // not subscribed to
	a.want(200, "PUT", "/topics/better", `{}`)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"dead","type":"echo","topics":["good"],"config":{"answer":"500"}}`)
	a.want(200, "DELETE", "/tenants/acme/destinations/inbox", nil)
	told := func() (list []string) {
		for _, e := range h.entries(t) {
			if e.Type != models.FeedDelivery {
				list = append(list, e.Type+" "+e.ObjectID+" "+e.Action)
			}
		}
		slices.Sort(list)
		return list
	}
	want := []string{"destination copy created", "destination dead created", "destination inbox deleted", "destination inbox updated",
		"topic better created"}
	// Until the workers know that outcomes are wanted, they do not note them.
	a.eventually("/deliveries?tenant_id=acme&topic=waybill.delivery.failed&status=delivered&limit=1", func(o answer) bool {
		a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"good","data":{}}`)
		return o.str("models", "0", "id") != ""
	})
	a.eventually("/deliveries?tenant_id=acme&topic=waybill.destination.deleted&status=delivered&limit=1",
		func(o answer) bool { return o.str("models", "0", "id") != "" })
	a.eventually("/deliveries?tenant_id=acme&destination_id=copy&status=pending&limit=1",
		func(o answer) bool { return o.str("models", "0", "id") == "" && len(told()) >= len(want) })
	if got := told(); !slices.Equal(got, want) {
		t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, b := range everything.got() {
		if strings.Contains(b, models.FeedDestination) {
			t.Errorf("a destination that takes all topics got %s", b)
		}
	}
	if n := len(a.want(200, "GET", "/events?tenant_id=globex&limit=100", nil).body["models"].([]any)); n != 0 {
		t.Errorf("%d events of a tenant that subscribes to nothing", n)
	}
	// Once nobody subscribes, nothing is published, and a new subscriber gets nothing of before.
	a.want(200, "DELETE", "/tenants/acme/destinations/copy", nil)
	a.published(nil)
	a.want(200, "PATCH", "/tenants/globex/destinations/inbox", `{"name":"Once more"}`)
	before := len(h.got())
	a.want(201, "POST", "/tenants/globex/destinations",
		`{"id":"copy","type":"webhook","topics":["waybill.destination.updated"],"config":{"url":"`+h.URL+`"}}`)
	a.want(200, "PATCH", "/tenants/globex/destinations/inbox", `{"name":"And again"}`)
	a.eventually("/deliveries?tenant_id=globex&topic=waybill.destination.updated&status=delivered&limit=1",
		func(o answer) bool { return o.str("models", "0", "id") != "" })
	for _, b := range h.got()[before:] {
		if strings.Contains(b, "Once more") && strings.Contains(b, `"to":"Once more"`) {
			t.Errorf("of before: %s", b)
		}
	}
}

// published waits until changes are published up to a position, or nobody subscribes any more (nil).
func (a *testApp) published(want *int64) {
	a.Helper()
	a.eventually("/healthz", func(answer) bool {
		var got *int64
		if err := a.db.QueryRow(a.Context(), "select published from feed").Scan(&got); err != nil {
			a.Fatal(err)
		}
		return (got == nil) == (want == nil) && (got == nil || *got >= *want)
	})
}
