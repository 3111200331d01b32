package app

import (
	"regexp"
	"testing"
)

var regexpCursor = regexp.MustCompile(`"cursor":"([^"]+)"`)

// TestPagesLive is the live tail by the session of a page: of one tenant below its address, of all for operators.
func TestPagesLive(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	v, portal := a.visitor(), a.portal("acme")
	all, own, ours := a.tailAt(v.client, "/events/live"), a.tailAt(portal.client, "/t/acme/events/live?range=1h&sort=x"), a.tailAt(v.client,
		"/t/acme/events/live?topic=x&tenant_id=globex")
	for _, s := range []*tail{all, own, ours} {
		if s.resp.StatusCode != 200 || s.resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%d %v", s.resp.StatusCode, s.resp.Header)
		}
	}
	if s := a.tailAt(portal.client, "/events/live"); s.resp.StatusCode != 403 {
		t.Errorf("a portal visitor reads all tenants' tail: %d", s.resp.StatusCode)
	}
	if s := a.tailAt(portal.client, "/t/globex/events/live"); s.resp.StatusCode != 404 {
		t.Errorf("a portal visitor reads another tenant's tail: %d", s.resp.StatusCode)
	}
	cursor := portal.send("GET", "/t/acme/events/new?after=now", nil)
	if cursor.status != 200 || cursor.header.Get("Content-Type") != "application/json" || cursor.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", cursor.status, cursor.header)
	}
	a.want(202, "POST", "/publish", `{"tenant_id":"globex","id":"theirs","topic":"x","data":{}}`)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"ours","topic":"x","data":{}}`)
	both := map[string]bool{}
	all.until(func(m tailTold) bool { both[m.ID] = true; return both["ours"] && both["theirs"] })
	for _, s := range []*tail{own, ours} {
		for _, m := range s.until(delivered("ours")) {
			if m.TenantID != "acme" {
				t.Errorf("%+v", m)
			}
		}
	}
	from := regexpCursor.FindStringSubmatch(cursor.Text())
	if p := portal.send("GET", "/t/acme/events/new?after="+from[1], nil); p.status != 200 || p.Text()[:11] != `{"count":1,` {
		t.Errorf("%d %s", p.status, p.Text())
	}
	if p := portal.send("GET", "/t/acme/events/new?after=nonsense", nil); p.status != 422 {
		t.Errorf("%d", p.status)
	}
}
