package app

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// TestAlertNamesEvents: a notice, the alert in the API and its page name the events that failed last, and lead to their
// attempts and to deliveries that are tried again.
func TestAlertNamesEvents(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) {
		c.Retry = models.RetryPolicy{Schedule: []models.Duration{models.Duration(time.Millisecond), models.Duration(time.Hour)},
			MaxInterval: models.Duration(time.Hour)}
	})
	a.tenant("acme")
	h := newHook(t)
	a.want(201, "POST", "/tenants/acme/channels", `{"type":"webhook","config":{"url":"`+h.URL+`"}}`)
	a.want(201, "POST", "/tenants/acme/alert-rules", `{"name":"Three","when":{"consecutive_failures":7}}`)
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"dead","name":"Dead end","type":"echo","topics":["bad"],"config":{"answer":"500"}}`)
	for _, id := range []string{"one", "two", "three", "four", "five", "six"} {
		a.want(202, "POST", "/publish", `{"id":"`+id+`","tenant_id":"acme","topic":"bad","data":{}}`)
		a.eventually("/deliveries?tenant_id=acme&destination_id=dead&status=retrying&event_id="+id,
			func(o answer) bool { return o.str("models", "0", "attempts") == "2" })
	}
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	a.want(202, "POST", "/publish", `{"id":"traced","tenant_id":"acme","topic":"bad","data":{}}`, "traceparent",
		"00-"+trace+"-00f067aa0ba902b7-01")
	alerts := a.eventually("/tenants/acme/alerts?status=open", func(o answer) bool { return o.str("models", "0", "id") != "" })
	a.eventually("/tenants/acme/notifications?kind=opened&status=sent", func(o answer) bool { return o.str("models", "0", "id") != "" })

	type failed struct {
		EventID    string `json:"event_id"`
		Topic      string `json:"topic"`
		AttemptID  string `json:"attempt_id"`
		AttemptURL string `json:"attempt_url"`
		TraceID    string `json:"trace_id"`
		Error      string `json:"error"`
	}
	var told struct {
		Data struct {
			DeliveriesURL string   `json:"deliveries_url"`
			Failed        []failed `json:"failed_events"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(h.got()[0]), &told); err != nil {
		t.Fatal(err)
	}
	var shown struct {
		Failed []failed `json:"failed_events"`
	}
	alert := a.want(200, "GET", "/tenants/acme/alerts/"+alerts.str("models", "0", "id"), nil)
	if err := json.Unmarshal([]byte(alert.raw), &shown); err != nil {
		t.Fatal(err)
	}
	v := a.visitor()
	for what, list := range map[string][]failed{"notice": told.Data.Failed, "alert": shown.Failed} {
		var ids []string
		for _, f := range list {
			ids = append(ids, f.EventID)
			attempt := a.want(200, "GET", "/attempts/"+f.AttemptID+"?tenant_id=acme", nil)
			if attempt.str("event_id") != f.EventID || f.Topic != "bad" || f.Error == "" {
				t.Errorf("%s: %+v, %s", what, f, attempt.raw)
			}
			v.get(strings.TrimPrefix(f.AttemptURL, "http://localhost")).says(f.EventID)
		}
		if strings.Join(ids, " ") != "traced six five four three" || list[0].TraceID != trace || list[1].TraceID != "" {
			t.Errorf("%s names %v %+v", what, ids, list)
		}
	}
	v.get(strings.TrimPrefix(told.Data.DeliveriesURL, "http://localhost")).says("traced")
	p := v.get("/t/acme/alerts/" + alerts.str("models", "0", "id"))
	p.says(trace)
	for _, link := range []string{"/t/acme/events/traced", "/t/acme/attempts/" + shown.Failed[0].AttemptID} {
		if p.Find(`a[href="`+link+`"]`).Length() == 0 {
			t.Errorf("the alert's page has no link to %s", link)
		}
	}
}
