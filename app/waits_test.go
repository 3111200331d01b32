package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// TestWaitsAreTold looks at a delivery that waits for its destination, in the API and on the pages: why, and until when. Nobody
// says that an attempt is under way.
func TestWaitsAreTold(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.Retry.Schedule = []models.Duration{models.Duration(time.Hour)} })
	a.want(201, "PUT", "/tenants/acme", `{}`)
	hang := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fails" {
			w.WriteHeader(500)
			return
		}
		<-hang
	}))
	t.Cleanup(receiver.Close)
	t.Cleanup(func() { close(hang) })
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "hook", "type": "webhook", "topics": []string{"a"},
		"config": map[string]string{"url": receiver.URL + "/hangs"}})
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "other", "type": "webhook", "topics": []string{"b"},
		"config": map[string]string{"url": receiver.URL + "/fails"}})
	a.want(202, "POST", "/publish", `{"id":"e","tenant_id":"acme","topic":"a","data":{}}`)
	a.want(202, "POST", "/publish", `{"id":"r","tenant_id":"acme","topic":"b","data":{}}`)
	later := a.eventually("/events/r/deliveries", func(r answer) bool {
		return strings.Contains(r.raw,
			`"retrying"`)
	}).list()[0].(map[string]any)["next_attempt_at"]
	v := a.visitor()
	if p := v.get("/t/acme/events/e"); strings.Contains(p.source(), "An attempt is under way") {
		t.Error("an attempt is said to be under way that the database knows nothing of")
	}
	for _, d := range []string{"hook", "other"} {
		dest, err := a.Store.Destination(t.Context(), models.AllTenants(), "acme", d)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Store.TellWait(t.Context(), dest.Key, models.Wait{Why: models.WaitFailing, Rate: 20}); err != nil {
			t.Fatal(err)
		}
	}
	const reason = "keeps failing, so that a worker tries it 20 times a second until it works again; 1 delivery waits for it."
	d := a.want(200, "GET", "/events/e/deliveries", nil).list()[0].(map[string]any)
	if r, _ := d["reason"].(string); !strings.Contains(r, reason) || d["next_attempt_at"] == nil || d["status"] != "pending" {
		t.Errorf("%v", d)
	}
	for _, path := range []string{"/deliveries/" + d["id"].(string), "/deliveries?event_id=e"} {
		if r := a.want(200, "GET", path, nil); !strings.Contains(r.raw, reason) {
			t.Errorf("%s: %s", path, r.raw)
		}
	}
	event, hook := v.get("/t/acme/events/e"), v.get("/t/acme/destinations/hook")
	for _, text := range []string{"keeps failing", "1 delivery waits for it", "Next attempt at about",
		"Deliveries wait; the table says what for."} {
		event.says(text)
	}
	list := v.get("/t/acme/events")
	list.says("/hangs: the destination keeps failing, so that a worker tries it 20 times a second until it works again.")
	if at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(later)); err != nil || !strings.Contains(list.text("tbody"), "/fails: 500, again at "+
		at.UTC().Format("2006-01-02 15:04")+" UTC") && !strings.Contains(list.text("tbody"), "/fails: 500, again at "+at.UTC().Format("15:04:05")+" UTC") {
		t.Errorf("the list does not say when it is tried again (%v): %s", later, list.text("tbody"))
	}
	beside := v.get("/t/acme/events/e?panel=1") // a worker may hold it already, which is no attempt
	for _, text := range []string{"Pending", "keeps failing", "Next attempt at about"} {
		if !strings.Contains(beside.source(), text) {
			t.Errorf("beside the list, nothing says %q", text)
		}
	}
	for _, text := range []string{"keeps failing", "1 delivery waits for it", "All will have been tried by about"} {
		hook.says(text)
	}
	if h := a.want(200, "GET", "/tenants/acme/destinations/hook/health", nil).body["waits"].(map[string]any); h["why"] != "failing" ||
		h["deliveries"] != 1.0 || h["until"] == nil {
		t.Errorf("%v", h)
	}
	// One with a time of its own, after that, keeps it.
	if r := a.want(200, "GET", "/events/r/deliveries", nil).list()[0].(map[string]any); r["next_attempt_at"] != later ||
		r["reason"] != nil {
		t.Errorf("%v, not at %v", r, later)
	}
}
