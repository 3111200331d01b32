package app

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/app/config"
)

// mailbox is a mail server that keeps what it is given, by recipient.
type mailbox struct {
	addr string
	mu   sync.Mutex
	got  map[string][]*mail.Message

	refuses *smtp.SMTPError // every mail; nil for none
}

func newMailbox(t testing.TB) *mailbox {
	t.Helper()
	m := &mailbox{got: map[string][]*mail.Message{}}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivering{m: m}, nil }))
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.addr = ln.Addr().String()
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Serve(ln) })
	t.Cleanup(func() {
		srv.Close()
		running.Wait()
	})
	return m
}

// to are the mails that an address got.
func (m *mailbox) to(address string) []*mail.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got[address])
}

// refuse makes every mail be refused, with a code and words of SMTP (RFC 5321); 0 for none.
func (m *mailbox) refuse(code int, words string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuses = nil
	if code != 0 {
		m.refuses = &smtp.SMTPError{Code: code, EnhancedCode: smtp.NoEnhancedCode, Message: words}
	}
}

// delivering is one conversation with the mailbox.
type delivering struct {
	m  *mailbox
	to string
}

func (d *delivering) Reset()                               {}
func (d *delivering) Logout() error                        { return nil }
func (d *delivering) Mail(string, *smtp.MailOptions) error { return nil }
func (d *delivering) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = to
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if d.m.refuses != nil {
		return d.m.refuses
	}
	return nil
}
func (d *delivering) Data(r io.Reader) error {
	msg, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(msg.Body)
	if err != nil {
		return err
	}
	msg.Body = bytes.NewReader(body)
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	d.m.got[d.to] = append(d.m.got[d.to], msg)
	return nil
}

// TestUnsubscribe follows the link in a mail as its reader, and then as their mail program.
func TestUnsubscribe(t *testing.T) {
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
		c.BaseURL = "https://waybill.example.com"
	})
	a.tenant("acme")
	channel := a.want(201, "POST", "/tenants/acme/channels",
		`{"name":"On call","type":"email","config":{"to":"Ann@example.com, bob@example.com"}}`).str("id")
	path := "/tenants/acme/channels/" + channel
	test := func() answer { return a.want(200, "POST", path+"/test", nil) }
	if r := test(); r.str("ok") != "true" || r.str("note") != "" {
		t.Fatalf("%s", r.raw)
	}
	link := func(to string) string {
		t.Helper()
		list := box.to(to)
		h := list[len(list)-1].Header
		if h.Get("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click" {
			t.Errorf("%v", h)
		}
		u, ok := strings.CutPrefix(strings.Trim(h.Get("List-Unsubscribe"), "<>"), "https://waybill.example.com")
		if !ok {
			t.Fatalf("%v", h)
		}
		return u
	}
	ann, bob := link("Ann@example.com"), link("bob@example.com")

	// Opening the link changes nothing; its button does, without logging in.
	v := a.stranger()
	p := v.get(ann)
	p.says("Ann@example.com will get no more notices of the channel On call")
	test()
	if n := len(box.to("Ann@example.com")); n != 2 {
		t.Errorf("%d mails after the link was only opened", n)
	}
	v.post(ann, "x", "y").says("Ann@example.com gets no more notices of the channel On call")
	v.get(ann).says("You have unsubscribed")
	r := test()
	if want := "Not sent to Ann@example.com, who has unsubscribed."; r.str("ok") != "true" || r.str("note") != want {
		t.Errorf("%s", r.raw)
	}
	if x, y := len(box.to("Ann@example.com")), len(box.to("bob@example.com")); x != 2 || y != 3 {
		t.Errorf("%d mails to Ann and %d to Bob", x, y)
	}
	log := a.want(200, "GET", "/tenants/acme/notifications/"+r.str("notification_id"), nil)
	if log.str("reason") != r.str("note") {
		t.Errorf("%s", log.raw)
	}
	if c := a.want(200, "GET", path, nil); c.str("unsubscribed", "0", "address") != "Ann@example.com" ||
		c.str("unsubscribed", "0", "at") == "" || c.str("unsubscribed", "1") != "" {
		t.Errorf("%s", c.raw)
	}

	// A mail program posts by itself: no cookies, no page that it comes from.
	resp, err := http.PostForm(a.base+bob, url.Values{"List-Unsubscribe": {"One-Click"}})
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
	if r := test(); r.str("ok") != "false" || r.str("error") != "Everybody whom the channel names has unsubscribed, so nothing was sent." ||
		r.str("advice") == "" {
		t.Errorf("%s", r.raw)
	}
	a.fail(4)
	a.want(201, "POST", "/tenants/acme/alert-rules", `{"when":{"consecutive_failures":3}}`)
	a.eventually("/tenants/acme/notifications?kind=opened&status=suppressed", func(o answer) bool {
		return o.str("models", "0", "reason") == "Everybody whom the channel names has unsubscribed."
	})

	// Whoever looks after the channel sees it, and can subscribe them again.
	page := a.visitor()
	p = page.get("/t/acme/alerts/channels/" + channel)
	p.says("Ann@example.com")
	page.get("/t/acme/alerts/channels").says("2 unsubscribed")
	page.post("/t/acme/alerts/channels/"+channel+"/subscribe", "address",
		"Ann@example.com").says("Ann@example.com gets the channel's notices again.")
	a.want(200, "POST", path+"/subscribe", `{"address":"BOB@example.com"}`)
	a.want(422, "POST", path+"/subscribe", `{"address":"eve@example.com"}`)
	if r := test(); r.str("ok") != "true" || r.str("note") != "" {
		t.Errorf("%s", r.raw)
	}

	// A link that was tampered with, of a channel that is gone, or of an address that it names no more.
	for _, bad := range []string{ann[:len(ann)-3] + "AAA", "/unsubscribe/x",
		"/unsubscribe/" + strings.Repeat("A", 300) + "." + strings.Repeat("A", 22)} {
		if p := v.send("POST", bad, url.Values{}); p.status != 404 {
			t.Errorf("%s: %d", bad, p.status)
		}
	}
	a.want(200, "PATCH", path, `{"config":{"to":"bob@example.com"}}`)
	v.post(ann, "x", "y").says("Nothing to unsubscribe from")
	a.want(200, "DELETE", path, nil)
	v.post(bob, "x", "y").says("Nothing to unsubscribe from")
	var n int
	if err := a.db.QueryRow(t.Context(),
		"select count(*) from audit where action = 'channel.unsubscribe' and actor = any('{Ann@example.com,bob@example.com}')").Scan(&n); err != nil || n != 2 {
		t.Error(n, err)
	}
}
