package app

import "testing"

// A change whose entry cannot be written is not made, and the caller learns that it was not. Once entries can be written
// again, the same request does it.
func TestAuditEntryAndChangeAreOne(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", nil)
	channel := a.want(201, "POST", "/tenants/acme/channels", `{"id":"ops","type":"email","config":{"to":"ops@example.com"}}`).str("id")
	a.exec("alter table audit add constraint broken check (outcome <> 'ok') not valid")
	const destination = `{"id":"hook","type":"echo","topics":"*"}`
	a.want(500, "POST", "/tenants/acme/destinations", destination, "Idempotency-Key", "one")
	a.want(404, "GET", "/tenants/acme/destinations/hook", nil)
	a.want(500, "DELETE", "/tenants/acme/channels/"+channel, nil)
	a.want(200, "GET", "/tenants/acme/channels/"+channel, nil)
	a.want(500, "DELETE", "/tenants/acme", nil)
	a.want(200, "GET", "/tenants/acme", nil)
	a.exec("alter table audit drop constraint broken")
	a.want(201, "POST", "/tenants/acme/destinations", destination, "Idempotency-Key", "one")
	a.entry("destination.create", "hook")
}
