package notify

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/waybill-dev/waybill/adapters"
)

var oncall = map[string]string{"to": "oncall@example.com"}

// parsed is a mail taken apart.
type parsed struct {
	header     mail.Header
	text, html string
}

func parse(t *testing.T, raw string) parsed {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	p := parsed{header: m.Header}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s %v", kind, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		if part.Header.Get("Content-Transfer-Encoding") != "quoted-printable" {
			t.Errorf("a part is sent as %v", part.Header)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), "\r\n", "\n")
		switch part.Header.Get("Content-Type") {
		case "text/plain; charset=UTF-8":
			p.text = text
		case "text/html; charset=UTF-8":
			p.html = text
		default:
			t.Errorf("a part of %v", part.Header)
		}
	}
}

func (p parsed) headers() string {
	var lines []string
	for name, values := range p.header {
		for _, v := range values {
			plain, err := new(mime.WordDecoder).DecodeHeader(v)
			if err != nil {
				plain = err.Error()
			}
			if name == "Content-Type" {
				plain, _, _ = mime.ParseMediaType(v)
			}
			lines = append(lines, name+": "+plain)
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n") + "\n"
}

// TestMailGolden holds mails as they arrive against files, after a whole conversation with STARTTLS and a login.
func TestMailGolden(t *testing.T) {
	t.Parallel()
	conf, trusting := certificate(t)
	for name, n := range notices() {
		if n.ID == "" {
			n.ID = "ntf_0"
		}
		m := startMail(t, conf, false, nil)
		r := mustSend(t, open(t, trusting(m.env("smtp", mailUser)), "email", map[string]string{"to": "oncall@example.com, ann@example.com"},
			nil), n)
		if r.Code != 250 || !strings.HasPrefix(r.Answer, "250 ") || strings.Join(r.Reached, " ") != "oncall@example.com ann@example.com" {
			t.Errorf("%s: %+v", name, r)
		}
		mails := m.received()
		if len(mails) != 2 || m.secure != 2 || m.logins != 1 || mails[0].from != "alerts@waybill.example.com" ||
			mails[1].to[0] != "ann@example.com" {
			t.Fatalf("%s: %d mails, %d with TLS, %d logins: %+v", name, len(mails), m.secure, m.logins, mails)
		}
		p := parse(t, mails[0].raw)
		golden(t, name+".mail.txt", []byte(p.headers()+"\n"+p.text))
		golden(t, name+".mail.html", []byte(p.html))
		for _, line := range strings.Split(mails[0].raw, "\r\n") {
			if len(line) > 998 {
				t.Errorf("%s: a line of %d bytes", name, len(line)) // RFC 5322, section 2.1.1
			}
		}
	}
}

// TestMailHostile: nothing that strangers wrote becomes a header, a recipient or markup.
func TestMailHostile(t *testing.T) {
	t.Parallel()
	conf, trusting := certificate(t)
	m := startMail(t, conf, false, nil)
	mustSend(t, open(t, trusting(m.env("smtp", "")), "email", oncall, nil), hostile())
	got := m.received()[0]
	if len(got.to) != 1 {
		t.Errorf("recipients: %v", got.to)
	}
	p := parse(t, got.raw)
	for name := range p.header {
		switch name {
		case "Auto-Submitted", "Content-Type", "Date", "From", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "Message-Id", "Mime-Version",
			"References", "Subject", "To", "X-Auto-Response-Suppress":
		default:
			t.Errorf("a header %s: %v", name, p.header[name])
		}
	}
	for _, bad := range []string{"<script>", "javascript:", "<b>*", "\u202e", "\x1b", "<img", "src="} {
		if strings.Contains(strings.ToLower(p.html), bad) {
			t.Errorf("the HTML holds %q", bad)
		}
	}
	if !strings.Contains(p.html, "&lt;script&gt;alert(1)&lt;/script&gt;") || !strings.Contains(p.text, "<script>alert(1)</script>") {
		t.Error("what was written is not shown as it was written")
	}
	if strings.ContainsAny(p.text, "\x00\x1b\r\u202e") {
		t.Error("control characters are in the text")
	}
}

// TestMailAgain: every try of a notice has the same Message-ID, another notice of the alert the same References.
func TestMailAgain(t *testing.T) {
	t.Parallel()
	conf, trusting := certificate(t)
	m := startMail(t, conf, false, nil)
	c := open(t, trusting(m.env("smtp", mailUser)), "email", oncall, nil)
	for _, n := range []*Notice{failing(), failing(), resolved()} {
		mustSend(t, c, n)
	}
	var ids, threads []string
	for _, r := range m.received() {
		p := parse(t, r.raw)
		ids, threads = append(ids, p.header.Get("Message-Id")), append(threads, p.header.Get("References"))
	}
	if ids[0] != ids[1] || ids[1] == ids[2] || ids[0] != "<ntf_01hzy3@waybill.example.com>" {
		t.Errorf("ids: %v", ids)
	}
	if threads[0] == "" || threads[0] != threads[2] {
		t.Errorf("threads: %v", threads)
	}
}

func TestMailTransports(t *testing.T) {
	t.Parallel()
	conf, trusting := certificate(t)
	t.Run("TLS from the first byte", func(t *testing.T) {
		t.Parallel()
		m := startMail(t, conf, true, nil)
		mustSend(t, open(t, trusting(m.env("smtps", mailUser)), "email", oncall, nil), failing())
		if m.secure != 1 || m.logins != 1 {
			t.Errorf("%d with TLS, %d logins", m.secure, m.logins)
		}
	})
	t.Run("LOGIN", func(t *testing.T) {
		t.Parallel()
		m := startMail(t, conf, false, func(m *mailServer) { m.mechanisms = []string{"XOAUTH2", sasl.Login} })
		mustSend(t, open(t, trusting(m.env("smtp", mailUser)), "email", oncall, nil), failing())
	})
	t.Run("CRAM-MD5", func(t *testing.T) {
		t.Parallel()
		m := startMail(t, conf, false, func(m *mailServer) { m.mechanisms = []string{"CRAM-MD5"} })
		mustSend(t, open(t, trusting(m.env("smtp", mailUser)), "email", oncall, nil), failing())
		refusedAs(t, open(t, trusting(m.env("smtp", "someone-else")), "email", oncall, nil), failing(), adapters.KindTransient,
			adapters.ClassAuth, "refused the login")
	})
	t.Run("no login that is known", func(t *testing.T) {
		t.Parallel()
		m := startMail(t, conf, false, func(m *mailServer) { m.mechanisms = []string{"XOAUTH2"} })
		refusedAs(t, open(t, trusting(m.env("smtp", mailUser)), "email", oncall, nil), failing(), adapters.KindTransient,
			adapters.ClassAuth, "PLAIN, LOGIN")
	})
	t.Run("without TLS on this machine", func(t *testing.T) {
		t.Parallel()
		m := startMail(t, nil, false, nil)
		env := m.env("smtp", mailUser)
		env.SMTP.plain = true // what ParseSMTP found, and the helper took out
		mustSend(t, open(t, env, "email", oncall, nil), failing())
		if len(m.received()) != 1 || m.secure != 0 {
			t.Errorf("%d mails, %d with TLS", len(m.received()), m.secure)
		}
	})
	t.Run("no STARTTLS", func(t *testing.T) {
		t.Parallel()
		m := startMail(t, nil, false, nil)
		r, e := refusedAs(t, open(t, m.env("smtp", mailUser), "email", oncall, nil), failing(), adapters.KindTransient, adapters.ClassTLS,
			"STARTTLS")
		hides(t, r, e, mailPassword, mailUser)
		if m.logins != 0 || m.froms != 0 {
			t.Error("something was sent in clear text")
		}
	})
	t.Run("untrusted certificate", func(t *testing.T) {
		t.Parallel()
		for _, implicit := range []bool{false, true} {
			m := startMail(t, conf, implicit, nil)
			env := m.env(map[bool]string{false: "smtp", true: "smtps"}[implicit], mailUser)
			_, roots := certificate(t) // of another authority
			refusedAs(t, open(t, roots(env), "email", oncall, nil), failing(), adapters.KindTransient, adapters.ClassTLS, "authority")
			if m.logins != 0 || m.froms != 0 {
				t.Error("something was sent to a stranger")
			}
		}
	})
}

func TestMailRefusals(t *testing.T) {
	t.Parallel()
	conf, trusting := certificate(t)
	reply := func(code int, text string) error {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.NoEnhancedCode, Message: text}
	}
	for _, c := range []struct {
		name  string
		set   func(*mailServer)
		user  string
		kind  adapters.Kind
		class adapters.Class
		code  int
		parts []string
	}{
		{"wrong password", nil, "someone-else", adapters.KindTransient, adapters.ClassAuth, 535,
			[]string{"refused the login", "535", "SMTP_URL"}},
		{"sender", func(m *mailServer) { m.mail = func(string) error { return reply(553, "not yours") } }, mailUser,
			adapters.KindTransient, adapters.ClassRejected, 553, []string{"sender", "not yours", "MAIL_FROM"}},
		{"no such mailbox", func(m *mailServer) { m.rcpt = func(string, int) error { return reply(550, "No such user") } }, mailUser,
			adapters.KindPermanent, adapters.ClassNotFound, 550, []string{"oncall@example.com", "550", "No such user"}},
		{"greylisting", func(m *mailServer) { m.rcpt = func(string, int) error { return reply(451, "Greylisted, come back") } }, mailUser,
			adapters.KindTransient, adapters.ClassThrottled, 451, []string{"try again later", "Greylisted"}},
		{"message too large", func(m *mailServer) { m.data = func() error { return reply(552, "too big") } }, mailUser,
			adapters.KindPermanent, adapters.ClassTooLarge, 552, []string{"refused the message"}},
		{"spam", func(m *mailServer) { m.data = func() error { return reply(554, "spam: "+mailPassword) } }, mailUser,
			adapters.KindPermanent, adapters.ClassRejected, 554, []string{"refused the message", "spam"}},
		{"full disk", func(m *mailServer) { m.data = func() error { return reply(452, "no room") } }, mailUser,
			adapters.KindTransient, adapters.ClassThrottled, 452, []string{"no room"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := startMail(t, conf, false, c.set)
			r, e := refusedAs(t, open(t, trusting(m.env("smtp", c.user)), "email", oncall, nil), failing(), c.kind, c.class, c.parts...)
			if r.Code != c.code || len(r.Reached) != 0 || len(m.received()) != 0 {
				t.Errorf("%+v, %d mails", r, len(m.received()))
			}
			hides(t, r, e, mailPassword, c.user)
		})
	}
}

// TestMailSeveral: one address is refused, another put off; the third gets the mail once, and the second with the next try.
func TestMailSeveral(t *testing.T) {
	t.Parallel()
	conf, trusting := certificate(t)
	m := startMail(t, conf, false, func(m *mailServer) {
		m.rcpt = func(to string, nth int) error {
			switch {
			case strings.HasPrefix(to, "gone"):
				return &smtp.SMTPError{Code: 550, Message: "No such user"}
			case strings.HasPrefix(to, "grey") && nth == 1:
				return &smtp.SMTPError{Code: 451, Message: "Greylisted"}
			}
			return nil
		}
	})
	c := open(t, trusting(m.env("smtp", mailUser)), "email", map[string]string{"to": "gone@example.com, grey@example.com; ann@example.com"},
		nil)
	n := failing()
	r, _ := refusedAs(t, c, n, adapters.KindTransient, adapters.ClassThrottled)
	if strings.Join(r.Reached, " ") != "ann@example.com" {
		t.Errorf("%+v", r)
	}
	n.Skip = r.Reached
	r, _ = refusedAs(t, c, n, adapters.KindPermanent, adapters.ClassNotFound, "gone@example.com")
	var got []string
	for _, mail := range m.received() {
		got = append(got, mail.to...)
	}
	if strings.Join(r.Reached, " ") != "grey@example.com" || strings.Join(got, " ") != "ann@example.com grey@example.com" {
		t.Errorf("%+v; received by %v", r, got)
	}
}

// TestMailSilence: a server that says nothing holds nobody up beyond the deadline, wherever it falls silent.
func TestMailSilence(t *testing.T) {
	t.Parallel()
	for name, talk := range map[string]string{"no greeting": "", "after the greeting": "220 mail.test\r\n",
		"broken off": "220 mail.test\r\n!"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				fmt.Fprint(conn, strings.TrimSuffix(talk, "!"))
				in := bufio.NewReader(conn)
				if strings.HasSuffix(talk, "!") {
					_, _ = in.ReadString('\n')
					return
				}
				_, _ = io.Copy(io.Discard, in)
			}()
			m := &mailServer{t: t, addr: ln.Addr().String()}
			c := open(t, m.env("smtp", mailUser), "email", oncall, nil)
			begun := time.Now()
			_, err = c.Send(within(t, 300*time.Millisecond), failing())
			class := adapters.ClassTimeout
			if name == "broken off" {
				class = adapters.ClassConnect
			}
			e := wantError(t, err, adapters.KindTransient, class)
			hides(t, Result{}, e, mailPassword)
			if took := time.Since(begun); took > time.Minute {
				t.Errorf("it took %v", took)
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_, err = c.Send(ctx, failing())
			wantError(t, err, adapters.KindTransient, adapters.ClassInternal, "stopped")
		})
	}
}

// TestMailFarewell: a server that has taken the mail and does not answer QUIT has taken the mail.
func TestMailFarewell(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in := bufio.NewScanner(conn)
		fmt.Fprint(conn, "220 mail.test\r\n")
		for in.Scan() {
			switch word, _, _ := strings.Cut(in.Text(), " "); word {
			case "EHLO", "MAIL", "RCPT":
				fmt.Fprint(conn, "250 fine\r\n")
			case "DATA":
				fmt.Fprint(conn, "354 go on\r\n")
			case ".":
				fmt.Fprint(conn, "250 2.0.0 queued as 4711\r\n")
			}
		}
	}()
	m := &mailServer{t: t, addr: ln.Addr().String()}
	env := m.env("smtp", "")
	env.SMTP.plain = true
	begun := time.Now()
	if r := mustSend(t, open(t, env, "email", oncall, nil), failing()); r.Answer != "250 2.0.0 queued as 4711" {
		t.Errorf("%+v", r)
	}
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

// TestMailTenant: a tenant learns that the mail server failed, and not where it is.
func TestMailTenant(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // Nobody listens there any more.
	m := &mailServer{t: t, addr: ln.Addr().String()}
	env := m.env("smtp", mailUser)
	_, e := refusedAs(t, open(t, env, "email", oncall, nil), failing(), adapters.KindTransient, adapters.ClassConnect, "127.0.0.1")
	hides(t, Result{}, e, mailPassword, mailUser)
	env.TenantID = "acme"
	r, e := refusedAs(t, open(t, env, "email", oncall, nil), failing(), adapters.KindTransient, adapters.ClassConnect, "mail server")
	hides(t, r, e, mailPassword, mailUser, "127.0.0.1")
}

func TestMailWithoutServer(t *testing.T) {
	t.Parallel()
	refusedAs(t, open(t, testEnv(), "email", oncall, nil), failing(), adapters.KindPermanent, adapters.ClassConfig,
		"notifications log only", "SMTP_URL")
}

func TestRecipients(t *testing.T) {
	t.Parallel()
	config := map[string]string{"to": " Ann <ann@example.com>;oncall@example.com,, ANN@example.com "}
	if errs := Check("", "email", config, nil); len(errs) != 0 || config["to"] != "ann@example.com, oncall@example.com" {
		t.Errorf("%v %v", config, errs)
	}
	for _, bad := range []string{"", "ann", "ann@example.com, bob", "ann@example.com\r\nRCPT TO:<x@example.com>", `"a b"@example.com`,
		"ann@exämple.com", "ann@[127.0.0.1]", strings.Repeat("a@example.com,", 3) + strings.Repeat("x", 300) + "@example.com",
		manyAddresses(21)} {
		errs := Check("", "email", map[string]string{"to": bad}, nil)
		if len(errs) != 1 || errs[0].Key != "config.to" {
			t.Errorf("%q gives %v", bad, errs)
		}
	}
}

func manyAddresses(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("a%d@example.com", i))
	}
	return strings.Join(list, ",")
}

// TestMailUnsubscribe: each recipient has a link of their own, in headers for the button of mail programs (RFC 8058), and
// in the mail for everybody else.
func TestMailUnsubscribe(t *testing.T) {
	t.Parallel()
	conf, trusting := certificate(t)
	m := startMail(t, conf, false, nil)
	env := trusting(m.env("smtp", mailUser))
	long := strings.Repeat("x", 500)
	send := func(base string) []parsed {
		t.Helper()
		env.Unsubscribe = nil
		if base != "" {
			env.Unsubscribe = func(address string) string { return base + "/unsubscribe/" + long + "." + address }
		}
		before := len(m.received())
		mustSend(t, open(t, env, "email", map[string]string{"to": "oncall@example.com, ann@example.com"}, nil), failing())
		var out []parsed
		for _, r := range m.received()[before:] {
			out = append(out, parse(t, r.raw))
		}
		if len(out) != 2 {
			t.Fatalf("%d mails", len(out))
		}
		return out
	}
	for i, p := range send("https://waybill.example.com") {
		to := []string{"oncall@example.com", "ann@example.com"}[i]
		want := "https://waybill.example.com/unsubscribe/" + long + "." + to
		if h := p.header; h.Get("To") != to || h.Get("List-Unsubscribe") != "<"+want+">" ||
			h.Get("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click" {
			t.Errorf("%v", h)
		}
		if !strings.Contains(p.text, "Stop these mails: "+want) || !strings.Contains(p.html, `href="`+want+`"`) {
			t.Errorf("the link is missing from the mail to %s:\n%s", to, p.text)
		}
	}
	for _, p := range send("http://localhost:8080") {
		if h := p.header; h.Get("List-Unsubscribe") == "" || h.Get("List-Unsubscribe-Post") != "" {
			t.Errorf("without HTTPS there is no one-click: %v", h)
		}
	}
	for _, p := range send("") {
		if h := p.header; h.Get("List-Unsubscribe") != "" || h.Get("List-Unsubscribe-Post") != "" ||
			strings.Contains(p.text, "Stop these mails") {
			t.Errorf("%v", h)
		}
	}
}
