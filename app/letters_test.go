package app

import (
	"io"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// linkIn is the path of the invitation that a mail brings.
func linkIn(t testing.TB, m *mail.Message) string {
	t.Helper()
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	link := inviteLink.FindStringSubmatch(string(body))
	if link == nil {
		t.Fatalf("no link in %s", body)
	}
	return link[1]
}

// hurry makes the next tries of letters due.
func (a *testApp) hurry() {
	a.Helper()
	a.exec("update letters set due_at = now() where status = 'waiting'")
	_, err := a.db.Exec(a.Context(), `update river.river_job set scheduled_at = now() where kind = 'letter'
		and state in ('available', 'scheduled')`) // whether it runs at this moment or not
	if err != nil {
		a.Fatal(err)
	}
}

// TestInvitationIsTriedAgain: a mail that cannot be handed in is tried again, beside the invitation it is said why, and it is given up
// where another try does not help.
func TestInvitationIsTriedAgain(t *testing.T) {
	t.Parallel()
	box := newMailbox(t)
	a := newTestApp(t, box.on)
	v := a.visitor()
	box.refuse(451, "the mailbox is busy")
	p := v.post("/invitations/new", "email", "bo@example.com", "role", "viewer")
	p.says("could not be sent yet, and is tried again")
	shown := inviteLink.FindStringSubmatch(p.text("#invitation-link"))[1]
	p = v.get("/users")
	p.says("Waiting")
	p.says("the mailbox is busy")
	p.says("Next try")
	one := a.want(200, "GET", "/invitations", nil)
	if one.str("models", "0", "mail", "status") != "waiting" || one.str("models", "0", "mail", "next_try_at") == "" {
		t.Errorf("%s", one.raw)
	}
	// A try that ends meanwhile puts the next one off again.
	a.until("the second try", func() bool { a.hurry(); return a.count("select tries from letters") >= 2 })
	box.refuse(0, "")
	a.until("the mail is sent", func() bool { a.hurry(); return a.count("select count(*) from letters where status = 'sent'") == 1 })
	if got := box.to("bo@example.com"); len(got) != 1 || linkIn(t, got[0]) != shown {
		t.Fatalf("%d mails", len(got))
	}
	v.get("/users").says("Sent")
	if n := a.count("select count(*) from letters where token is not null"); n != 0 {
		t.Error("the link of a mail that is sent is kept")
	}

	// Sent again, it has another link, and the one of before ends.
	id := one.str("models", "0", "id")
	a.stale()
	if p := v.post("/invitations/" + id + "/send"); !strings.HasPrefix(p.path, "/confirm") {
		t.Errorf("a login long ago sends it: %s", p.path)
	}
	v = a.loggedIn(a.user(testEmail))
	p = v.post("/invitations/" + id + "/send")
	p.says("A mail is on its way")
	again := inviteLink.FindStringSubmatch(p.text("#invitation-link"))[1]
	got := box.to("bo@example.com")
	if again == shown || len(got) != 2 || linkIn(t, got[1]) != again {
		t.Errorf("%d mails", len(got))
	}
	if p := a.stranger().send("GET", shown, nil); p.status != 404 {
		t.Errorf("the link of before: %d", p.status)
	}
	a.stranger().get(again).says("bo@example.com")
	a.entry("invitation.send", id)

	// What the mail server refuses for good is not tried again.
	box.refuse(550, "no such mailbox")
	v.post("/invitations/" + id + "/send").says("Pass this link on to bo@example.com yourself")
	v.get("/users").says("no such mailbox")
	if o := a.want(200, "GET", "/invitations", nil); o.str("models", "0", "mail", "status") != "failed" {
		t.Errorf("%s", o.raw)
	}
}

// TestInvitationSurvivesACrash: where the process dies before the first try, another one sends the mail.
func TestInvitationSurvivesACrash(t *testing.T) {
	t.Parallel()
	box := newMailbox(t)
	cfg := testConfig(t, box.on)
	a := newProcessOf(t, cfg)
	a.visitor()
	made, err := a.Store.Invite(t.Context(), a.Bootstrap, models.InvitationInput{Email: "bo@example.com", Role: models.RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	if n := a.count("select count(*) from letters where position($1::text::bytea in token) > 0", made.Token); n != 0 {
		t.Error("the link is in the database in clear")
	}
	b := newProcessOf(t, testConfig(t, func(c *config.Config) { box.on(c); c.DatabaseURL = a.Cfg.DatabaseURL }))
	b.until("the mail", func() bool { a.hurry(); return len(box.to("bo@example.com")) > 0 })
	if link := linkIn(t, box.to("bo@example.com")[0]); link != "/invite/"+made.Token {
		t.Errorf("the mail has %s", link)
	}
	b.eventually("/invitations", func(o answer) bool { return o.str("models", "0", "mail", "status") == "sent" })
}

// TestAccountNews: whoever's password or address is changed hears of it, at the old address.
func TestAccountNews(t *testing.T) {
	t.Parallel()
	box := newMailbox(t)
	a := newTestApp(t, box.on)
	v := a.visitor()
	v.post("/account", "name", "Ann", "email", "new@example.com")
	a.until("the mail about the address", func() bool {
		got := box.to(testEmail)
		return len(got) == 1 && strings.Contains(got[0].Header.Get("Subject"), "was changed to new@example.com")
	})
	v.post("/account/password", "present", testPassword, "password", "another long sentence")
	a.until("the mail about the password", func() bool {
		got := box.to("new@example.com")
		return len(got) == 1 && strings.Contains(got[0].Header.Get("Subject"), "Your password was changed")
	})
	a.until("no letter is kept", func() bool { return a.count("select count(*) from letters") == 0 })
}
