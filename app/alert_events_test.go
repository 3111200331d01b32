package app

import (
	"slices"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
)

// TestAlertEvents sends alerts to a tenant's own destinations, as events on a topic that is reserved for them: it needs no
// place in the catalogue, and nobody else publishes on it.
func TestAlertEvents(t *testing.T) {
	t.Parallel()
	if notify.Topic != "waybill.alert" {
		t.Fatalf("channels publish on %s", notify.Topic)
	}
	a := newTestApp(t, func(c *config.Config) { c.Topics, c.DisableAfter = []string{"bad", "good"}, 2 })
	a.tenant("acme")
	a.tenant("ops")
	h := newHook(t)
	for name, body := range map[string]string{
		"by name": `{"id":"name","type":"webhook","topics":["waybill.alert"],"config":{"url":"` + h.URL + `/name"}}`,
		"pattern": `{"id":"pattern","type":"webhook","topics":["waybill.*"],"config":{"url":"` + h.URL + `/pattern"}}`,
		"all":     `{"id":"all","type":"webhook","topics":["*"],"config":{"url":"` + h.URL + `/all"}}`,
		"other":   `{"id":"other","type":"webhook","topics":["good"],"config":{"url":"` + h.URL + `/other"}}`,
	} {
		if out := a.do("POST", "/tenants/ops/destinations", body); out.status != 201 {
			t.Fatalf("a destination that takes alerts %s: %s", name, out.raw)
		}
	}
	a.want(422, "POST", "/tenants/ops/destinations", `{"type":"webhook","topics":["waybill.other"],"config":{"url":"`+h.URL+`"}}`)
	if out := a.want(422, "POST", "/channels",
		`{"type":"destination","config":{"tenant_id":"nobody"}}`); !strings.Contains(out.str("fields", "config.tenant_id"),
		"is not a tenant") {
		t.Errorf("%s", out.raw)
	}
	ch := a.want(201, "POST", "/channels", `{"type":"destination","config":{"tenant_id":"ops"}}`).str("id")
	if out := a.want(422, "PATCH", "/channels/"+ch, `{"config":{"tenant_id":"nobody"}}`); !strings.Contains(out.str("fields",
		"config.tenant_id"), "is not a tenant") {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(200, "POST", "/channels/"+ch+"/test", nil); out.str("ok") != "true" {
		t.Errorf("the test: %s", out.raw)
	}
	for _, topic := range []string{"waybill.alert", "waybill.other"} {
		if out := a.want(422, "POST", "/publish", `{"tenant_id":"ops","topic":"`+topic+`","data":{}}`); !strings.Contains(out.str("fields",
			"topic"), "server's own events") {
			t.Errorf("%s", out.raw)
		}
	}
	a.fail(1)
	a.eventually("/deliveries?tenant_id=ops&topic=waybill.alert&status=delivered&limit=100", func(o answer) bool {
		return strings.Count(o.raw, `"delivery_id"`)+strings.Count(o.raw, `"event_id"`) >= 6
	})
	bodies := h.got()
	opened := slices.ContainsFunc(bodies, func(b string) bool {
		return strings.Contains(b, `"type":"alert.opened"`) && strings.Contains(b, `"tenant_id":"acme"`)
	})
	if !opened {
		t.Errorf("the alert did not arrive: %q", bodies)
	}
	if p := a.visitor().get("/t/ops/destinations/new?type=webhook"); p.Find(`input[name=topics][value="waybill.alert"]`).Length() != 1 {
		t.Error("the form does not offer the alerts' topic")
	}
}

// TestNoticeLinks is about where the links in notices lead.
func TestNoticeLinks(t *testing.T) {
	t.Parallel()
	a := &App{API: &api.API{Cfg: &config.Config{BaseURL: "https://waybill.example.com"}}}
	for _, c := range []struct {
		n    notify.Notice
		want string
	}{
		{notify.Notice{Kind: notify.Opened, AlertID: "alt_1"}, "https://waybill.example.com/t/acme/alerts/alt_1"},
		{notify.Notice{Kind: notify.Opened, AlertID: "ntf_1", Others: 3}, "https://waybill.example.com/t/acme/alerts"},
		{notify.Notice{Kind: notify.Opened, AlertID: "ntf_1"}, "https://waybill.example.com/t/acme/alerts"},   // a digest of one
		{notify.Notice{Kind: notify.Resolved, AlertID: "ntf_1"}, "https://waybill.example.com/t/acme/alerts"}, // the end of a digest
		{notify.Notice{Kind: notify.Test, AlertID: "ntf_1"}, "https://waybill.example.com/t/acme/alerts"},
	} {
		if a.noticeLinks("acme", &c.n); c.n.AlertURL != c.want {
			t.Errorf("%+v leads to %s", c.n, c.n.AlertURL)
		}
	}
}
