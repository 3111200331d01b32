package app

import (
	"net/http"
	"testing"

	"github.com/waybill-dev/waybill/app/api"
)

// TestEventData: the payload by itself, byte for byte, as a file that no browser makes anything of.
func TestEventData(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("other")
	const payload = `{"html": "<script>alert(1)</script>",  "n": 1.50, "ü": [ ]}`
	id := a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":`+payload+`}`).str("id")
	key := "Bearer " + testKey
	v := a.visitor()
	for path, s := range map[string]sent{
		"the API":  a.wire(http.DefaultClient, "GET", api.APIPrefix+"/events/"+id+"/data", "", "Authorization", key),
		"the page": a.wire(v.client, "GET", "/t/acme/events/"+id+"/data", ""),
	} {
		h := s.header
		if s.status != 200 || s.body != payload || h.Get("Content-Type") != "application/json" ||
			h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Content-Disposition") != "attachment; filename="+id+".json" ||
			h.Get("Content-Security-Policy") != "default-src 'none'; sandbox" ||
			h.Get("Cache-Control") != "private, no-cache" || h.Get("ETag") == "" {
			t.Errorf("%s: %d %q %v", path, s.status, s.body, h)
		}
		if path == "the page" {
			continue
		}
		again := a.wire(http.DefaultClient, "GET", api.APIPrefix+"/events/"+id+"/data", "", "Authorization", key, "If-None-Match",
			h.Get("ETag"))
		if again.status != 304 || again.body != "" {
			t.Errorf("%s: %d %q", path, again.status, again.body)
		}
	}
	a.want(404, "GET", "/events/"+id+"/data?tenant_id=other", nil)
	if s := a.wire(v.client, "GET", "/t/other/events/"+id+"/data", ""); s.status != 404 {
		t.Errorf("another tenant's page: %d", s.status)
	}
	a.as("nobody").want(401, "GET", "/events/"+id+"/data", nil)
}
