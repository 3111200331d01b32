package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// age makes everything older that was received so far.
func (e *engine) age(by time.Duration) {
	e.Helper()
	for table, column := range map[string]string{"events": "id", "deliveries": "event_id", "attempts": "event_id", "kept_later": "event_id"} {
		e.exec(strings.ReplaceAll(fmt.Sprintf(`update %s set COL = (lpad(to_hex(('x' || substr(replace(COL::text, '-', ''), 1, 12))::bit(48)::bigint
			- %d), 12, '0') || substr(replace(COL::text, '-', ''), 13))::uuid`, table, by.Milliseconds()), "COL", column))
	}
	e.exec("update kept_later set noted_at = noted_at - interval '10 minutes'")
}

func (e *engine) settings(s models.TenantSettings) {
	e.Helper()
	if _, err := e.store.UpdateTenantSettings(e.Context(), models.AllTenants(), "acme", s); err != nil {
		e.Fatal(err)
	}
}

func (e *engine) eraseKept() int {
	e.Helper()
	list, err := e.store.EraseKept(e.Context(), time.Now(), func() bool { return true })
	if err != nil {
		e.Fatal(err)
	}
	return len(list)
}

// TestNoPayloadAfterSuccess erases what is delivered everywhere, of the tenant that asks for it; what has failed stays until it
// is delivered after all.
func TestNoPayloadAfterSuccess(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(r *models.Rules) { r.Retry.Schedule = nil; r.Retry.MaxAttempts = 1 })
	e.destination("good", nil, func(in models.DestinationPatch) { in["topics"] = []string{"good", "both"} })
	e.destination("bad", server500, func(in models.DestinationPatch) { in["topics"] = []string{"bad", "both"} })
	e.startWorker()
	events := map[string]string{}
	for _, topic := range []string{"good", "bad", "both", "nobody"} {
		events[topic] = e.publish(models.PublishInput{ID: topic, Topic: topic}).ID
	}
	e.delivery("good", "good", is(models.StatusDelivered))
	e.delivery("both", "good", is(models.StatusDelivered))
	e.delivery("both", "bad", is(models.StatusFailed))
	e.delivery("bad", "bad", is(models.StatusFailed))
	e.stopWorker()
	left := func() (topics []string) {
		rows, err := e.db.Query(t.Context(), "select topic from events where erased_at is null and data <> 'null' order by 1")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var topic string
			if err := rows.Scan(&topic); err != nil {
				t.Fatal(err)
			}
			topics = append(topics, topic)
		}
		return topics
	}
	e.age(2 * time.Minute)
	if n := e.eraseKept(); n != 0 {
		t.Errorf("%d events were erased that nobody asked to erase", n)
	}
	on := true
	e.settings(models.TenantSettings{EraseDelivered: &on})
	e.publish(models.PublishInput{ID: "fresh", Topic: "nobody"})
	if n, l := e.eraseKept(), left(); n != 2 || !slices.Equal(l, []string{"bad", "both", "nobody"}) {
		t.Errorf("%d were erased, left are %v", n, l)
	}
	if n := e.number("select count(*) from events where erased_why like 'Erased after it was delivered%'"); n != 2 {
		t.Errorf("%d events say why", n)
	}
	e.exec("update deliveries set status = 'delivered' where event_id = (select id from events where topic = 'both')")
	if n := e.eraseKept(); n != 0 {
		t.Errorf("%d were looked at again at once", n)
	}
	e.exec("update kept_later set noted_at = now() - interval '10 minutes'")
	if n, l := e.eraseKept(), left(); n != 1 || !slices.Equal(l, []string{"bad", "nobody"}) {
		t.Errorf("%d were erased, left are %v", n, l)
	}
	if n := e.number("select count(*) from kept_later"); n != 1 {
		t.Errorf("%d events are noted for later", n)
	}
}

// TestRetentionOfATenant erases what is older than a tenant keeps, once, and calls off what of it still waits.
func TestRetentionOfATenant(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	d := e.destination("d", nil, nil)
	if _, err := e.store.DisableDestination(t.Context(), models.AllTenants(), "acme", d.ID, "Ann", "x"); err != nil {
		t.Fatal(err)
	}
	old := e.publish(models.PublishInput{ID: "old"}).ID
	e.age(25 * time.Hour)
	e.publish(models.PublishInput{ID: "new"})
	one, two := 1, 2
	e.settings(models.TenantSettings{RetentionDays: &two})
	if n := e.eraseKept(); n != 0 {
		t.Errorf("%d were erased before their time", n)
	}
	e.settings(models.TenantSettings{RetentionDays: &one})
	if n := e.eraseKept(); n != 1 {
		t.Errorf("%d were erased", n)
	}
	got := e.delivery(old, "d", is(models.StatusCancelled))
	if got.Reason != "Erased after 1 day, as the tenant's settings ask for." {
		t.Errorf("called off because: %s", got.Reason)
	}
	if n := e.number("select count(*) from events where erased_at is null"); n != 1 {
		t.Errorf("%d are left", n)
	}
	e.exec("update attempts set request_header = 'x: y'")
	e.exec("update kept_later set noted_at = now() - interval '10 minutes'")
	if n := e.eraseKept(); n != 0 {
		t.Errorf("%d were erased twice", n)
	}
	if n := e.number("select count(*) from kept_later"); n != 0 {
		t.Errorf("%d events are noted for later", n)
	}
}

// TestRedactionOfReceipts: attempts do not keep what the tenant's rules name, also in the next attempt after a change, and the
// receiver gets everything.
func TestRedactionOfReceipts(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	var got atomic.Value
	e.destination("d", func(_ context.Context, m *adapters.Message) (adapters.Receipt, error) {
		got.Store(string(m.Data))
		return adapters.Receipt{Code: 200, Method: "POST", URL: "https://example.com/?mail=canary&n=1", ReqHeader: "X-User: canary\n",
			RespHeader: "X-User: canary\n", Body: []byte(`{"ok":true,"mail":"canary"}`)}, nil
	}, nil)
	e.startWorker()
	e.publish(models.PublishInput{ID: "before"})
	if d := e.delivery("before", "d", is(models.StatusDelivered)); !strings.Contains(string(e.attempts(d)[0].ResponseBody), "canary") {
		t.Error("an attempt without rules keeps no body")
	}
	e.settings(models.TenantSettings{RedactFields: &[]string{"mail"}, RedactHeaders: &[]string{"x-user"}, RedactQuery: &[]string{"mail"}})
	e.publish(models.PublishInput{ID: "after", Data: json.RawMessage(`{"mail":"canary"}`)})
	a := e.attempts(e.delivery("after", "d", is(models.StatusDelivered)))[0]
	if kept := fmt.Sprint(a.URL, a.RequestHeader, a.ResponseHeader, string(a.ResponseBody)); strings.Contains(kept, "canary") ||
		!strings.Contains(kept, "&n=1") || !strings.Contains(kept, `{"ok":true,`) {
		t.Errorf("kept is %s", kept)
	}
	if got.Load() != `{"mail":"canary"}` {
		t.Errorf("sent was %v", got.Load())
	}
}
