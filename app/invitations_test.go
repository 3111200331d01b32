package app

import (
	"io"
	"mime/quotedprintable"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

var inviteLink = regexp.MustCompile(`http://localhost(/invite/[\w-]{40,})`)

// TestInvitation invites by mail, and accepts as the mail's reader.
func TestInvitation(t *testing.T) {
	t.Parallel()
	box := newMailbox(t)
	a := newTestApp(t, func(c *config.Config) {
		smtp, err := notify.ParseSMTP("smtp://" + box.addr)
		if err == nil {
			c.SMTP, err = smtp.From("alerts@example.com")
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	a.tenant("acme")
	a.tenant("globex")
	v := a.visitor()
	p := v.post("/t/acme/invitations/new", "email", "nobody", "role", "owner")
	p.refused(422, "email", "must be an e-mail address")
	p = v.post("/t/acme/invitations/new", "email", "Bo@example.com", "role", "developer")
	p.says("A mail is on its way to Bo@example.com")
	shown := inviteLink.FindStringSubmatch(p.text("#invitation-link"))
	mails := box.to("Bo@example.com")
	if len(mails) != 1 || shown == nil || p.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d mails, link %v, %v", len(mails), shown, p.header)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(mails[0].Body))
	if err != nil {
		t.Fatal(err)
	}
	if sent := inviteLink.FindStringSubmatch(string(body)); sent == nil || sent[1] != shown[1] || !strings.Contains(string(body), "acme") {
		t.Fatalf("the mail: %s", body)
	}
	link := shown[1]
	if n := a.count("select count(*) from invitations where token_hash::text like '%' || $1 || '%' or email like '%' || $1 || '%'",
		strings.TrimPrefix(link, "/invite/")); n != 0 {
		t.Error("the token is in the database")
	}
	v.get("/t/acme/members").says("Bo@example.com")

	// What scans mails opens links and presses no buttons.
	for _, method := range []string{"HEAD", "GET", "GET"} {
		if p := a.stranger().send(method, link, nil); p.header.Get("Set-Cookie") != "" ||
			method == "GET" && (p.status != 200 || p.header.Get("Referrer-Policy") != "no-referrer") {
			t.Fatalf("%s: %d %v", method, p.status, p.header)
		}
	}
	bo := a.stranger()
	p = bo.post(link, "name", "", "password", "short")
	p.refused(422, "name", "is required")
	p.refused(422, "password", "must be at least 10 characters long")
	if p = bo.post(link, "name", "Bo", "password", "another long sentence"); p.status != 200 || p.path != "/t/acme" {
		t.Fatalf("accepted: %d %s", p.status, p.path)
	}
	if p := a.stranger().post(link, "name", "Bo", "password", "another long sentence"); p.status != http.StatusNotFound {
		t.Errorf("it works twice: %d", p.status)
	}
	for path, want := range map[string]int{"/t/acme/destinations/new": 200, "/t/acme/members": 403, "/t/globex": 404, "/users": 403} {
		if p := bo.send("GET", path, nil); p.status != want {
			t.Errorf("a developer of acme: %s: %d, want %d", path, p.status, want)
		}
	}

	// The same person is invited again, where they are known already: their password adds the role.
	made := a.want(201, "POST", "/invitations", `{"email":"bo@example.com","role":"viewer","tenant_id":"globex"}`)
	link = strings.TrimPrefix(made.str("url"), "http://localhost")
	p = a.stranger().post(link, "name", "Mallory", "password", "guessed password")
	p.refused(422, "password", "is not right")
	if p = a.stranger().post(link, "name", "Bo", "password", "another long sentence"); p.path != "/login" {
		t.Errorf("led to %s", p.path)
	}
	bo.get("/").says("globex")
	if n := a.count("select count(*) from users where lower(email) = 'bo@example.com'"); n != 1 {
		t.Errorf("%d users of one address", n)
	}
	// Nobody is made less by accepting.
	made = a.want(201, "POST", "/invitations", `{"email":"bo@example.com","role":"viewer","tenant_id":"acme"}`)
	a.stranger().post(strings.TrimPrefix(made.str("url"), "http://localhost"), "name", "Bo", "password", "another long sentence")
	bo.get("/t/acme/destinations/new")

	// Old and revoked ones.
	made = a.want(201, "POST", "/invitations", `{"email":"cy@example.com","role":"viewer"}`)
	a.want(200, "DELETE", "/invitations/"+made.str("id"), nil)
	revoked := strings.TrimPrefix(made.str("url"), "http://localhost")
	made = a.want(201, "POST", "/invitations", `{"email":"cy@example.com","role":"viewer"}`)
	a.exec("update invitations set expires_at = now() - interval '1 second' where used_at is null")
	for _, link := range []string{revoked, strings.TrimPrefix(made.str("url"), "http://localhost")} {
		if p := a.stranger().post(link, "name", "Cy", "password", "another long sentence"); p.status != http.StatusNotFound {
			t.Errorf("an invitation that is over: %d", p.status)
		}
	}
	if list := a.want(200, "GET", "/invitations", nil).list(); len(list) != 0 {
		t.Errorf("invitations that are over are listed: %v", list)
	}
}

// TestInvitationGivesNoMore: who invites cannot give what they do not have, and not from where they have been removed.
func TestInvitationGivesNoMore(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	a.visitor()
	key := a.as(a.want(201, "POST", "/api-keys", `{"name":"k","scopes":["admin"],"tenant_id":"acme"}`).str("key"))
	if in := key.want(201, "POST", "/invitations", `{"email":"bo@example.com","role":"admin"}`); in.str("tenant_id") != "acme" {
		t.Errorf("a key of acme invites to %q", in.str("tenant_id"))
	}
	key.want(404, "POST", "/invitations", `{"email":"bo@example.com","role":"viewer","tenant_id":"globex"}`)
	key.want(422, "POST", "/invitations", `{"email":"bo@example.com","role":"owner"}`)
	key.want(403, "GET", "/users", nil)
	other := a.want(201, "POST", "/invitations", `{"email":"bo@example.com","role":"viewer"}`)
	key.want(404, "DELETE", "/invitations/"+other.str("id"), nil)
	if list := key.want(200, "GET", "/invitations", nil).list(); len(list) != 1 {
		t.Errorf("a key of acme sees %v", list)
	}

	admin := a.addUser("Ada", models.RoleAdmin)
	v := a.loggedIn(admin)
	if p := v.post("/invitations/new", "email", "cy@example.com", "role", "owner"); p.status != http.StatusForbidden {
		t.Errorf("an admin invites an owner: %d", p.status)
	}
	p := v.post("/invitations/new", "email", "cy@example.com", "role", "admin")
	p.says("No mail server is configured")
	link := inviteLink.FindStringSubmatch(p.text("#invitation-link"))[1]
	a.stranger().get(link)
	a.want(200, "PATCH", "/users/"+admin.ID(), `{"role":"developer"}`)
	if p := a.stranger().send("GET", link, nil); p.status != http.StatusNotFound {
		t.Errorf("who is no admin any more has an admin's invitation: %d", p.status)
	}
}
