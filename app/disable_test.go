package app

import "testing"

// TestDisableAsksWhy: no reason is chosen beforehand, since it is shown to everybody and kept in the audit log.
func TestDisableAsksWhy(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	const page = "/t/acme/destinations/inbox/disable"
	if p := v.get(page); p.Find("[name=reason_kind]").Length() < 2 || p.Find("[name=reason_kind][checked]").Length() != 0 {
		t.Error("a reason is chosen already")
	}
	v.post(page).refused(422, "reason", "")
	if got := a.want(200, "GET", "/tenants/acme/destinations/inbox", nil).str("status", "state"); got != "active" {
		t.Errorf("it is %s although no reason was given", got)
	}
	v.post(page, "reason_kind", "Maintenance").says("Reason: Maintenance.")
	if got := a.want(200, "PUT", "/tenants/acme/destinations/inbox/disable", nil).str("status", "reason"); got != "" {
		t.Errorf("the API makes up the reason %q", got)
	}
}
