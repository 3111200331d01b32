package notify

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/mail"
	"net/netip"
	netsmtp "net/smtp"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

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
// answered to itself. go-smtp speaks to the server, over a connection that ends with the context.
type conversation struct {
	env     Env
	ctx     context.Context
	conn    *bounded
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
	c.conn = &bounded{Conn: conn}
	// The end of the context, its deadline included, ends whatever read or write is under way.
	c.stop = context.AfterFunc(ctx, c.conn.end)
	conf := &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12, RootCAs: env.RootCAs}
	switch {
	case s.implicit:
		t := tls.Client(c.conn, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			return c, c.broken(err, "during the TLS handshake")
		}
		c.client = smtp.NewClient(t)
	case s.plain:
		c.client = smtp.NewClient(c.conn)
	default:
		if c.client, err = smtp.NewClientStartTLS(c.conn, conf); err != nil {
			if strings.Contains(err.Error(), "support STARTTLS") { // go-smtp has no value for it
				return c, &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassTLS,
					Message: "The mail server does not offer STARTTLS, so nothing was sent.",
					Advice:  "Ask the operator to enable TLS on the mail server, or to use smtps:// in SMTP_URL if it has a port for that."}
			}
			return c, c.refused(err, "greeting")
		}
	}
	// With STARTTLS go-smtp says a first hello as "localhost", and this one makes the handshake.
	if err := c.client.Hello(helloName(env.BaseURL)); err != nil {
		return c, c.refused(err, "greeting")
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

// bounded is a connection that an end can be put to: go-smtp sets deadlines of its own for each command.
type bounded struct {
	net.Conn
	mu    sync.Mutex
	ended bool
}

// SetDeadline implements net.Conn.
func (b *bounded) SetDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		t = longAgo
	}
	return b.Conn.SetDeadline(t)
}

func (b *bounded) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.Conn.SetDeadline(longAgo)
}

// close ends the conversation, in good order when there is one.
func (c *conversation) close() {
	if c.stop() && c.client != nil {
		// The mail is handed in by now, or will not be. That the farewell is not answered changes nothing.
		c.client.CommandTimeout = farewell
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

// auth chooses how to log in. Without TLS it is only asked about this machine.
func (s SMTP) auth(client *smtp.Client) (sasl.Client, *adapters.Error) {
	_, offered := client.Extension("AUTH")
	for _, mechanism := range strings.Fields(strings.ToUpper(offered)) {
		switch mechanism {
		case sasl.Plain:
			return sasl.NewPlainClient("", s.user, s.password), nil
		case sasl.Login:
			return &loginClient{s}, nil
		case "CRAM-MD5":
			return &cramClient{s}, nil
		}
	}
	return nil, &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassAuth,
		Message: "The mail server offers no way to log in that this server knows (PLAIN, LOGIN, CRAM-MD5).",
		Advice:  "Ask the operator to check SMTP_URL: take the user out of it if the mail server needs none."}
}

// loginClient is the LOGIN mechanism, which some servers offer alone. The server asks for the user, then the password.
// go-sasl's own sends the user unasked, which not every server takes, and knows one way to ask for a password only.
type loginClient struct{ SMTP }

// Start implements sasl.Client.
func (*loginClient) Start() (mechanism string, first []byte, err error) { return sasl.Login, nil, nil }

// Next implements sasl.Client.
func (l *loginClient) Next(question []byte) ([]byte, error) {
	switch q := strings.ToLower(string(question)); {
	case strings.HasPrefix(q, "user"):
		return []byte(l.user), nil
	case strings.HasPrefix(q, "pass"):
		return []byte(l.password), nil
	}
	return nil, errors.New("the server asked for something else than user and password")
}

// cramClient is the mechanism CRAM-MD5 (RFC 2195), which go-sasl does not have, for servers that offer nothing newer.
type cramClient struct{ SMTP }

// Start implements sasl.Client.
func (*cramClient) Start() (mechanism string, first []byte, err error) { return "CRAM-MD5", nil, nil }

// Next implements sasl.Client.
func (c *cramClient) Next(challenge []byte) ([]byte, error) {
	return netsmtp.CRAMMD5Auth(c.user, c.password).Next(challenge, true)
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
	if err := c.client.Mail(from, nil); err != nil {
		return c.refused(err, "sender")
	}
	if err := c.client.Rcpt(recipient, nil); err != nil {
		return c.refused(err, recipient)
	}
	w, err := c.client.Data()
	if err != nil {
		return c.refused(err, "message")
	}
	if _, err := msg.WriteTo(w); err != nil {
		return c.refused(err, "message")
	}
	said, err := w.CloseWithResponse()
	if err != nil {
		return c.refused(err, "message")
	}
	c.code, c.answer = 250, answerLine(c.redact("250 "+said.StatusText))
	return nil
}
