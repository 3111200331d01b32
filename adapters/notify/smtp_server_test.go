package notify

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

const (
	mailUser     = "alerts-login"
	mailPassword = "pl4nted-p4ssword@/:"
)

// mailServer is a real SMTP server that keeps what it is given.
type mailServer struct {
	t          *testing.T
	addr       string
	mechanisms []string
	rcpt       func(to string, nth int) error // nth counts from 1, per recipient
	mail       func(from string) error
	data       func() error

	mu     sync.Mutex
	tried  map[string]int
	mails  []received
	froms  int // MAIL commands
	logins int // AUTH commands
	secure int // sessions that spoke TLS when they logged in or sent
}

type received struct {
	from string
	to   []string
	raw  string
}

// startMail starts a server. With TLS settings it offers STARTTLS, or speaks TLS at once when implicit.
func startMail(t *testing.T, conf *tls.Config, implicit bool, set func(*mailServer)) *mailServer {
	t.Helper()
	m := &mailServer{t: t, mechanisms: []string{sasl.Plain}, tried: map[string]int{}}
	if set != nil {
		set(m)
	}
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &mailSession{m: m, c: c}, nil
	}))
	srv.Domain, srv.AllowInsecureAuth, srv.ErrorLog = "mail.test", true, quiet{}
	if !implicit {
		srv.TLSConfig = conf
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.addr = ln.Addr().String()
	if implicit {
		ln = tls.NewListener(ln, conf)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Serve(ln) })
	t.Cleanup(func() {
		srv.Close()
		running.Wait()
	})
	return m
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// smtpEnv points an environment at the server, as SMTP_URL would if it were on another machine: TLS is demanded.
func (m *mailServer) env(scheme, user string) Env {
	m.t.Helper()
	login := ""
	if user != "" {
		login = user + ":" + strings.NewReplacer("@", "%40", "/", "%2F", ":", "%3A").Replace(mailPassword) + "@"
	}
	s, err := ParseSMTP(scheme + "://" + login + m.addr)
	if err == nil {
		s, err = s.From("Waybill <alerts@waybill.example.com>")
	}
	if err != nil {
		m.t.Fatal(err)
	}
	s.plain = false
	env := testEnv()
	env.SMTP = s
	return env
}

func (m *mailServer) received() []received {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]received(nil), m.mails...)
}

type mailSession struct {
	m    *mailServer
	c    *smtp.Conn
	in   bool
	from string
	to   []string
}

func (s *mailSession) Reset()        { s.from, s.to = "", nil }
func (s *mailSession) Logout() error { return nil }

func (s *mailSession) AuthMechanisms() []string { return s.m.mechanisms }

func (s *mailSession) Auth(mech string) (sasl.Server, error) {
	s.m.mu.Lock()
	s.m.logins++
	s.m.mu.Unlock()
	check := func(user, password string) error {
		if user != mailUser || password != mailPassword {
			// Some servers do repeat what they got.
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8},
				Message: "No login for " + user + " with " + password}
		}
		s.in = true
		return nil
	}
	if mech == sasl.Login {
		return &loginServer{check: check}, nil
	}
	if mech == "CRAM-MD5" {
		return &cramServer{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
}

type loginServer struct {
	step  int
	user  string
	check func(user, password string) error
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	case 3:
		return nil, true, l.check(l.user, string(response))
	}
	return nil, false, errors.New("too many steps")
}

// cramServer is CRAM-MD5 with the challenge of RFC 2195, section 2.
type cramServer struct {
	asked bool
	check func(user, password string) error
}

func (c *cramServer) Next(response []byte) ([]byte, bool, error) {
	const challenge = "<1896.697170952@postoffice.reston.mci.net>"
	if !c.asked {
		c.asked = true
		return []byte(challenge), false, nil
	}
	user, digest, _ := strings.Cut(string(response), " ")
	mac := hmac.New(md5.New, []byte(mailPassword))
	mac.Write([]byte(challenge))
	if digest != hex.EncodeToString(mac.Sum(nil)) {
		return nil, true, c.check(user, "another one")
	}
	return nil, true, c.check(user, mailPassword)
}

func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	s.m.mu.Lock()
	s.m.froms++
	if _, ok := s.c.TLSConnectionState(); ok {
		s.m.secure++
	}
	s.m.mu.Unlock()
	if s.from != "" {
		return &smtp.SMTPError{Code: 503, EnhancedCode: smtp.EnhancedCode{5, 5, 1}, Message: "nested MAIL command"}
	}
	if s.m.mail != nil {
		if err := s.m.mail(from); err != nil {
			return err
		}
	}
	s.from = from
	return nil
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.m.mu.Lock()
	s.m.tried[to]++
	nth := s.m.tried[to]
	s.m.mu.Unlock()
	if s.m.rcpt != nil {
		if err := s.m.rcpt(to, nth); err != nil {
			return err
		}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.m.data != nil {
		if err := s.m.data(); err != nil {
			return err
		}
	}
	s.m.mu.Lock()
	s.m.mails = append(s.m.mails, received{s.from, s.to, string(raw)})
	s.m.mu.Unlock()
	return nil
}

// certificate makes one for 127.0.0.1; the environment that trusts it is made with trusting.
func certificate(t *testing.T) (*tls.Config, func(Env) Env) {
	t.Helper()
	issued := adaptertest.Certificate{}.Issue(t)
	return issued.Config, func(env Env) Env {
		env.RootCAs = issued.Roots
		return env
	}
}
