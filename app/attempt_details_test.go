package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// TestAttemptDetails looks at attempts that got no connection, that were refused, and that succeeded, in the API and on their
// pages: the request that would have gone, the worker's log of it, and links for operators alone.
func TestAttemptDetails(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) {
		c.Retry.Schedule = []models.Duration{0}
		c.LogsURL, c.TracesURL = "https://logs.example.com/?q={attempt_id}+{tenant_id}&from={from}&to={to_ms}",
			"https://traces.example.com/{trace_id}"
	})
	a.want(201, "PUT", "/tenants/acme", `{}`)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuses" {
			w.WriteHeader(500)
		}
	}))
	defer receiver.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	nobody := closed.URL
	closed.Close()
	for id, url := range map[string]string{"refuses": receiver.URL + "/refuses", "takes": receiver.URL + "/takes",
		"nobody":  nobody + "/hook?token=planted-in-the-query",
		"unknown": "https://nowhere.invalid/hook", "blocked": "http://10.1.2.3/hook"} {
		a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": id, "type": "webhook", "topics": []string{"*"},
			"config": map[string]any{"url": url, "custom_headers": map[string]string{"X-Api-Token": "planted-in-a-header"}}})
	}
	const trace = "0af7651916cd43dd8448eb211c80319c"
	a.want(202, "POST", "/publish", `{"id":"e","tenant_id":"acme","topic":"t","data":{"n":1}}`, "traceparent",
		"00-"+trace+"-b7ad6b7169203331-01")
	a.eventually("/events/e/deliveries", func(r answer) bool {
		for _, d := range r.list() {
			if s := d.(map[string]any)["status"]; s != "failed" && s != "delivered" {
				return false
			}
		}
		return len(r.list()) == 5
	})
	v, tenant := a.visitor(), a.portal("acme")
	for id, want := range map[string]struct{ log, class string }{"refuses": {"status 500", "server"},
		"nobody": {"connect: failed after", "connect"}, "unknown": {"dns nowhere.invalid: failed after", "dns"},
		"blocked": {"connect: failed after", "blocked"}} {
		list := a.want(200, "GET", "/attempts?destination_id="+id, nil).list()
		at := a.want(200, "GET", "/attempts/"+list[0].(map[string]any)["id"].(string), nil)
		request, sent := at.body["request"].(map[string]any), id == "refuses"
		header, _ := request["headers"].(map[string]any)
		if id == "refuses" { // one of before headers were packed reads the same
			a.exec(`update attempts a set headers = null, request_header = 'X-Before: a', response_header = 'X-After: b' from destinations n
				where n.key = a.destination_key and n.id = 'refuses'`)
			old := a.want(200, "GET", "/attempts/"+list[0].(map[string]any)["id"].(string), nil)
			if old.str("request", "headers", "X-Before") != "a" || old.str("response", "headers", "X-After") != "b" {
				t.Errorf("an attempt of before: %s", old.raw)
			}
		}
		if request["method"] != "POST" || !strings.Contains(request["url"].(string), "/") || request["sent"] != sent ||
			header["X-Api-Token"] != "***" || header["Content-Length"] == nil {
			t.Errorf("%s: %v", id, request)
		}
		log := at.body["log"].([]any)
		if text := at.raw; !strings.Contains(text, want.log) || !strings.Contains(log[len(log)-1].(string), "msg=attempt") ||
			!strings.Contains(text, "error_class="+want.class) || strings.Contains(text, "planted-in") {
			t.Errorf("%s: %s", id, text)
		}
		links := at.body["links"].(map[string]any)
		if logs := links["logs"].(string); !strings.HasPrefix(logs, "https://logs.example.com/?q="+at.str("id")+"+acme&from=20") ||
			links["traces"] != "https://traces.example.com/"+trace {
			t.Errorf("%s: %v", id, links)
		}
		p := v.get("/t/acme/attempts/" + at.str("id"))
		if told := p.Find("#not-sent").Length() > 0; told == sent {
			t.Errorf("%s: the page says that it was not sent: %v", id, told)
		}
		p.says("POST")
		p.says("What the worker logged of this attempt")
		p.says(want.log)
		if p.Find(`a[href^="https://logs.example.com/"]`).Length() != 1 ||
			p.Find(`a[href="https://traces.example.com/`+trace+`"]`).Length() != 1 {
			t.Errorf("%s: the page has no links to the log and the trace", id)
		}
		if p := tenant.get("/t/acme/attempts/" + at.str("id")); strings.Contains(p.source(), "logs.example.com") ||
			strings.Contains(p.source(), "traces.example.com") {
			t.Errorf("%s: a tenant sees the operator's links", id)
		}
	}
	token := a.want(200, "GET", "/tenants/acme/token", nil).str("token")
	if r := a.as(token).want(200, "GET", "/attempts?destination_id=nobody", nil); strings.Contains(r.raw, "logs.example.com") {
		t.Error("a tenant is given the operator's links")
	}
	if n := a.count("select count(*) from attempts where ok and (log is not null or not_sent is not null)"); n != 0 {
		t.Errorf("%d attempts that succeeded keep a log", n)
	}
}
