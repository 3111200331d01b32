package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestTokenInURL: a token in a destination's address is used, and shown to nobody; what was read may be sent back.
func TestTokenInURL(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked <- r.URL.String() }))
	t.Cleanup(receiver.Close)
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", nil)
	const path = "/tenants/acme/destinations/hook"
	const secret = "planted-url-token"
	made := a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "hook", "type": "webhook", "topics": "*",
		"config": map[string]any{"url": receiver.URL + "/in?x=1&token=" + secret}})
	shown := made.str("config", "url")
	if shown != receiver.URL+"/in?x=1&token=***" {
		t.Errorf("the URL is shown as %s", shown)
	}
	sent := func(want string) {
		t.Helper()
		a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`)
		select {
		case got := <-asked:
			if got != want {
				t.Errorf("asked for %s, not for %s", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("nobody asked for %s", want)
		}
	}
	sent("/in?x=1&token=" + secret)
	url := func(u string) map[string]any { return map[string]any{"config": map[string]any{"url": u}} }
	a.want(200, "PATCH", path, url(shown))
	sent("/in?x=1&token=" + secret)
	a.want(200, "PATCH", path, url(receiver.URL+"/other?token=***"))
	sent("/other?token=" + secret)
	// It is not sent to a place that somebody else chose, and *** is not taken for a token.
	for _, u := range []string{"https://evil.example/in?token=***", strings.Replace(receiver.URL, "http:", "https:", 1) + "/?token=***",
		receiver.URL + "/?key=***"} {
		if o := a.do("PATCH", path, url(u)); o.status != 422 || !strings.Contains(o.str("fields", "config.url"), "in full") {
			t.Errorf("%s: %d %s", u, o.status, o.raw)
		}
	}
	// The form of the page has the address as it is shown, and saving it changes nothing.
	v := a.visitor()
	p := v.get("/t/acme/destinations/hook/settings")
	if got := p.Find(`[name="config.url"]`).AttrOr("value", ""); got != receiver.URL+"/other?token=***" {
		t.Errorf("the form has %q", got)
	}
	if p := v.post("/t/acme/destinations/hook/settings", "name", "Hook", "topics", "*", "all_topics", "true", "config.url",
		receiver.URL+"/other?token=***"); p.status != 200 {
		t.Fatalf("the form is refused: %s", p.text("main"))
	}
	sent("/other?token=" + secret)

	a.want(200, "PATCH", path, url(receiver.URL+"/other?token=another-secret"))
	a.until("the change is in the feed", func() bool {
		o := a.want(200, "GET", "/changes?tenant_id=acme&since=start&limit=100", nil)
		return strings.Contains(o.raw, "/other?token=***")
	})
	for _, where := range []string{"/changes?tenant_id=acme&since=start&limit=100", "/audit?limit=1000", "/audit/export?format=csv", path,
		"/tenants/acme/destinations", path + "/attempts?include=destination"} {
		if raw := a.want(200, "GET", where, nil).raw; strings.Contains(raw, secret) || strings.Contains(raw, "another-secret") {
			t.Errorf("%s shows the token: %s", where, raw)
		}
	}
	e := a.entries("object=hook&action=destination.update")
	if len(e) == 0 || !strings.Contains(a.want(200, "GET", "/audit/"+e[0].ID, nil).raw, "token=***") {
		t.Error("the audit log does not tell that the token was changed")
	}
}
