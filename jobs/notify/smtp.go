package notify

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/netip"
	"net/smtp"
	"net/url"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// smtpTimeout bounds one conversation with the mail server, besides the context.
const smtpTimeout = time.Minute

// SMTP says where mail is handed in, and who it is from. The zero value is no mail. Printing it shows no credential.
type SMTP struct {
	host, port     string
	user, password string
	implicit       bool // TLS from the first byte; otherwise STARTTLS
	plain          bool // neither: the server is this machine
	from           mail.Address
}

// ParseSMTP reads an address like smtp://user:password@mail.example.com:587 (STARTTLS, which the server must offer) or
// smtps://… (TLS from the first byte, port 465), and the sender, with or without a name. Without TLS mail goes to this
// machine only (localhost, 127.0.0.1, ::1). Characters that have a meaning in URLs are percent-encoded. Both empty is no
// mail. Error texts follow the variable's name and hold no credential.
func ParseSMTP(address string) (SMTP, error) {
	bad := errors.New("must be an address like smtp://user:password@mail.example.com:587 or smtps://user:password@mail.example.com")
	if address == "" {
		return SMTP{}, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return SMTP{}, bad
	}
	s := SMTP{host: u.Hostname(), port: u.Port(), user: u.User.Username()}
	s.password, _ = u.User.Password()
	switch u.Scheme {
	case "smtps":
		s.implicit = true
	case "smtp":
		s.plain = s.host == "localhost" || s.host == "127.0.0.1" || s.host == "::1"
	default:
		return SMTP{}, bad
	}
	switch {
	case s.user != "" && s.password == "":
		return SMTP{}, errors.New("names a user without a password; percent-encode characters like @ : / in it")
	case s.port != "":
	case s.implicit:
		s.port = "465"
	default:
		s.port = "587"
	}
	return s, nil
}

// From returns s with its sender: "alerts@example.com" or "Waybill <alerts@example.com>".
func (s SMTP) From(sender string) (SMTP, error) {
	a, err := mail.ParseAddress(sender)
	if err != nil || !plainAddress(a.Address) {
		return s, errors.New("must be an e-mail address like alerts@example.com or Waybill <alerts@example.com>")
	}
	s.from = mail.Address{Name: oneLine(a.Name, 100), Address: a.Address}
	return s, nil
}

// Configured says whether there is a mail server to hand mail to.
func (s SMTP) Configured() bool { return s.host != "" && s.from.Address != "" }

// String is the server's name and port.
func (s SMTP) String() string {
	if s.host == "" {
		return "none"
	}
	return net.JoinHostPort(s.host, s.port)
}

// GoString keeps credentials out of %#v.
func (s SMTP) GoString() string { return s.String() }

// everywhere lets the operator's own mail server be where it is: the guard is for addresses that tenants choose.
var everywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// conversation is one connection to the mail server, ready to take messages. It implements the Sender of go-mail.
//
// go-mail's own Dialer is not used: it watches no context, waits for a silent server's greeting for ever, sends a second
// time by itself after a time-out, leaves its connection open when STARTTLS is missing, and keeps what the server
// answered to itself.
type conversation struct {
	env     Env
	ctx     context.Context
	conn    net.Conn
	client  *smtp.Client
	stop    func() bool
	redact  func(string) string
	reached []string
	code    int
	answer  string
	failed  *adapters.Error // the worst that happened to a recipient
	lost    bool            // nothing more can be said
}

// farewell is how long the answer to QUIT is waited for.
const farewell = time.Second

// longAgo is a deadline that ends reads and writes at once.
var longAgo = time.Unix(1, 0)

// converse connects, asks for TLS and logs in. The caller closes the conversation also after an error.
func converse(ctx context.Context, env Env) (*conversation, *adapters.Error) {
	s := env.SMTP
	c := &conversation{env: env, ctx: ctx, stop: func() bool { return true },
		redact: redactor(s.password, s.user, base64.StdEncoding.EncodeToString([]byte("\x00"+s.user+"\x00"+s.password)),
			base64.StdEncoding.EncodeToString([]byte(s.password)))}
	conn, err := outbound.NewDialer(everywhere).DialContext(ctx, "tcp", s.String())
	if err != nil {
		return c, c.broken(err, "when connecting")
	}
	c.conn = conn
	// The end of the context, its deadline included, ends whatever read or write is under way.
	c.stop = context.AfterFunc(ctx, func() {
		conn.SetDeadline(longAgo)
	})
	conf := &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12, RootCAs: env.RootCAs}
	if s.implicit {
		t := tls.Client(conn, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			return c, c.broken(err, "during the TLS handshake")
		}
		c.conn = t
	}
	if c.client, err = smtp.NewClient(c.conn, s.host); err != nil {
		return c, c.refused(err, "greeting")
	}
	if err = c.client.Hello(helloName(env.BaseURL)); err != nil {
		return c, c.refused(err, "greeting")
	}
	if !s.implicit && !s.plain {
		if ok, _ := c.client.Extension("STARTTLS"); !ok {
			return c, &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassTLS,
				Message: "The mail server does not offer STARTTLS, so nothing was sent.",
				Advice:  "Ask the operator to enable TLS on the mail server, or to use smtps:// in SMTP_URL if it has a port for that."}
		}
		if err := c.client.StartTLS(conf); err != nil {
			return c, c.refused(err, "STARTTLS")
		}
	}
	if s.user == "" {
		return c, nil
	}
	auth, fault := s.auth(c.client)
	if fault != nil {
		return c, fault
	}
	if err := c.client.Auth(auth); err != nil {
		return c, c.refused(err, "login")
	}
	return c, nil
}

// close ends the conversation, in good order when there is one.
func (c *conversation) close() {
	if c.stop() && c.client != nil {
		// The mail is handed in by now, or will not be. That the farewell is not answered changes nothing.
		c.conn.SetDeadline(time.Now().Add(farewell))
		_ = c.client.Quit()
	}
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

// helloName is how we name ourselves to the mail server: the dashboard's host when that is a name of the public DNS.
func helloName(base string) string {
	u, err := url.Parse(base)
	if err == nil && strings.Contains(u.Hostname(), ".") && net.ParseIP(u.Hostname()) == nil && plainAddress("x@"+u.Hostname()) {
		return u.Hostname()
	}
	return "localhost"
}

// auth chooses how to log in.
func (s SMTP) auth(client *smtp.Client) (smtp.Auth, *adapters.Error) {
	_, offered := client.Extension("AUTH")
	for _, mechanism := range strings.Fields(strings.ToUpper(offered)) {
		switch mechanism {
		case "PLAIN":
			return smtp.PlainAuth("", s.user, s.password, s.host), nil
		case "LOGIN":
			return &loginAuth{s}, nil
		case "CRAM-MD5":
			return smtp.CRAMMD5Auth(s.user, s.password), nil
		}
	}
	return nil, &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassAuth,
		Message: "The mail server offers no way to log in that this server knows (PLAIN, LOGIN, CRAM-MD5).",
		Advice:  "Ask the operator to check SMTP_URL: take the user out of it if the mail server needs none."}
}

// loginAuth is the LOGIN mechanism, which some servers offer alone. The server asks for the user, then the password.
type loginAuth struct{ SMTP }

// Start implements smtp.Auth.
func (a *loginAuth) Start(server *smtp.ServerInfo) (string, []byte, error) {
	if !server.TLS && !a.plain {
		return "", nil, errors.New("unencrypted connection")
	}
	return "LOGIN", nil, nil
}

// Next implements smtp.Auth.
func (a *loginAuth) Next(question []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	switch q := strings.ToLower(string(question)); {
	case strings.HasPrefix(q, "user"):
		return []byte(a.user), nil
	case strings.HasPrefix(q, "pass"):
		return []byte(a.password), nil
	}
	return nil, errors.New("the server asked for something else than user and password")
}

// Send implements mail.Sender of go-mail. Every recipient gets a transaction of their own, so that one who is refused or
// put off takes nothing from the others. What became of each is in reached and failed.
func (c *conversation) Send(from string, to []string, msg io.WriterTo) error {
	for _, recipient := range to {
		fault := c.deliver(from, recipient, msg)
		if fault == nil {
			c.reached = append(c.reached, recipient)
			continue
		}
		if c.failed == nil || c.failed.Kind == adapters.KindPermanent {
			c.failed = fault // One that is worth another try outweighs those that are not.
		}
		if err := c.client.Reset(); err != nil {
			c.failed, c.lost = fault, true
			if fault.Kind == adapters.KindPermanent {
				c.failed = c.broken(err, "after a recipient was refused")
			}
			break
		}
	}
	if c.failed != nil {
		return c.failed
	}
	return nil
}

func (c *conversation) deliver(from, recipient string, msg io.WriterTo) *adapters.Error {
	if err := c.client.Mail(from); err != nil {
		return c.refused(err, "sender")
	}
	if err := c.client.Rcpt(recipient); err != nil {
		return c.refused(err, recipient)
	}
	// net/smtp's Data would not tell what is answered to the message.
	id, err := c.client.Text.Cmd("DATA")
	if err != nil {
		return c.refused(err, "message")
	}
	c.client.Text.StartResponse(id)
	_, _, err = c.client.Text.ReadResponse(354)
	c.client.Text.EndResponse(id)
	if err != nil {
		return c.refused(err, "message")
	}
	w := c.client.Text.DotWriter()
	_, err = msg.WriteTo(w)
	if e := w.Close(); err == nil {
		err = e
	}
	if err != nil {
		return c.refused(err, "message")
	}
	code, said, err := c.client.Text.ReadResponse(250)
	if err != nil {
		return c.refused(err, "message")
	}
	c.code, c.answer = code, answerLine(c.redact(fmt.Sprintf("%d %s", code, said)))
	return nil
}
