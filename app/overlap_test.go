package app

import (
	"strings"
	"testing"
)

// TestSecondRotation: there is one previous secret, so a second rotation would end the first one's. It says so, and is made
// only on purpose.
func TestSecondRotation(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	first := a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"hook","type":"webhook","topics":"*","config":{"url":"https://example.com/hook"}}`).str("credentials", "secret")
	const path = "/tenants/acme/destinations/hook"
	second := a.want(200, "POST", path+"/secrets/rotate", `{"overlap":"2h"}`).str("credentials", "secret")
	out := a.want(409, "POST", path+"/secrets/rotate", `{"overlap":"1h"}`)
	if !strings.Contains(out.str("message"), "valid until") || !strings.Contains(out.str("message"), "force") {
		t.Errorf("refused: %s", out.raw)
	}
	if now := a.want(200, "POST", path+"/secrets/reveal", nil); now.str("credentials", "secret") != second ||
		now.str("credentials", "previous_secret") != first {
		t.Errorf("a refused rotation has changed the secrets: %s", now.raw)
	}
	// Over PATCH it is the same, and ends the first one's only when that is asked for as well.
	a.want(409, "PATCH", path, `{"credentials":{"rotate_secret":"true"}}`)
	third := a.want(200, "POST", path+"/secrets/rotate", `{"overlap":"1h","force":true}`)
	if third.str("credentials", "previous_secret") != second {
		t.Errorf("forced: %s", third.raw)
	}
	if e := a.entries("action=destination.rotate_secret&object=hook")[0]; e.Detail["ended_previous"] != true {
		t.Errorf("the audit log does not tell that a secret was ended: %+v", e)
	}

	// The overlap is ended before its time; after that there is nothing to be forced.
	ended := a.want(200, "POST", path+"/secrets/previous/end", nil)
	if ended.str("credentials", "previous_secret") != "" || ended.str("credentials", "secret") != third.str("credentials", "secret") {
		t.Errorf("ended: %s", ended.raw)
	}
	if e := a.entry("destination.end_previous_secret", "hook"); e.Detail["valid_until"] == "" ||
		e.changed("credentials.previous_secret") != "•••••• -> " {
		t.Errorf("ended: %+v %s", e, e.changed("credentials.previous_secret"))
	}
	a.want(409, "POST", path+"/secrets/previous/end", nil)
	a.want(409, "POST", "/tenants/acme/destinations/inbox/secrets/previous/end", nil)
	a.want(200, "POST", path+"/secrets/rotate", `{"overlap":"0s"}`)
	a.want(200, "POST", path+"/secrets/rotate", nil)

	// The page says the same, and has both ways on.
	v := a.visitor()
	const page = "/t/acme/destinations/hook/secrets"
	v.post(page+"/rotate", "overlap", "24h").refused(409, "", "The previous secret is valid until")
	v.post(page+"/rotate", "overlap", "24h", "force", "true").says("A new secret is in force.")
	p := v.get(page)
	to, _ := p.Find(`form[action$="/secrets/previous/end"]`).Attr("action")
	v.post(to).says("The previous secret has ended.")
	if p := v.get(page); p.Find(`form[action$="/secrets/previous/end"], [name=force]`).Length() > 0 {
		t.Error("there is no previous secret, and the page offers to end one")
	}
}
