//go:build brokers && mail

package notify

import (
	"crypto/x509"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
)

// realMail is an environment whose mail goes to the server that scripts/test-brokers.sh starts.
func realMail(t *testing.T, variable, scheme, user string) Env {
	t.Helper()
	address := os.Getenv(variable)
	if address == "" {
		t.Fatalf("%s is not set; run: make test-brokers BROKERS=mail", variable)
	}
	pem, err := os.ReadFile(os.Getenv("WAYBILL_TEST_SMTP_CA"))
	if err != nil {
		t.Fatal(err)
	}
	env := testEnv()
	env.RootCAs = x509.NewCertPool()
	if !env.RootCAs.AppendCertsFromPEM(pem) {
		t.Fatal("no authority")
	}
	if env.SMTP, err = ParseSMTP(scheme + "://" + user + "@" + address); err != nil {
		t.Fatal(err)
	}
	env.SMTP.plain = false // this machine too is spoken to with TLS
	if env.SMTP, err = env.SMTP.From("Waybill <alerts@waybill.example.com>"); err != nil {
		t.Fatal(err)
	}
	return env
}

// arrived takes the mails out of the Maildir.
func arrived(t *testing.T) (raw []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(os.Getenv("WAYBILL_TEST_MAILDIR"), "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, string(b))
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	return raw
}

// TestBrokerMail hands every notice to a mail server by each way that it offers, and reads what arrived.
func TestBrokerMail(t *testing.T) {
	for _, way := range []struct{ name, variable, scheme string }{
		{"STARTTLS", "WAYBILL_TEST_SMTP", "smtp"}, {"TLS", "WAYBILL_TEST_SMTPS", "smtps"}, {"LOGIN", "WAYBILL_TEST_SMTP_LOGIN", "smtp"},
	} {
		t.Run(way.name, func(t *testing.T) {
			env := realMail(t, way.variable, way.scheme, "alerts:alerts-secret")
			for name, n := range notices() {
				if n.ID == "" {
					n.ID = "ntf_0"
				}
				to := map[string]string{"to": "oncall@example.com, ann@example.com"}
				if r := mustSend(t, open(t, env, "email", to, nil), n); r.Code != 250 ||
					strings.Join(r.Reached, " ") != "oncall@example.com ann@example.com" {
					t.Errorf("%s: %+v", name, r)
				}
				var recipients []string
				for _, raw := range arrived(t) {
					m, err := mail.ReadMessage(strings.NewReader(raw))
					if err != nil {
						t.Fatal(err)
					}
					recipients = append(recipients, m.Header.Get("To"))
					if got, want := m.Header.Get("X-MailFrom"), "alerts@waybill.example.com"; got != want ||
						m.Header.Get("X-RcptTo") != m.Header.Get("To") {
						t.Errorf("%s: handed in from %s for %s, To is %s", name, got, m.Header.Get("X-RcptTo"), m.Header.Get("To"))
					}
					if from, err := m.Header.AddressList("From"); err != nil ||
						from[0].String() != `"Waybill" <alerts@waybill.example.com>` {
						t.Errorf("%s: From %v, %v", name, from, err)
					}
					if _, err := m.Header.Date(); err != nil || m.Header.Get("Message-ID") != "<"+idToken(n.ID)+"@waybill.example.com>" ||
						m.Header.Get("Auto-Submitted") != "auto-generated" ||
						!strings.HasPrefix(m.Header.Get("List-Unsubscribe"), "<https://") || len(m.Header["Bcc"]) > 0 {
						t.Errorf("%s: %v, %v", name, m.Header, err)
					}
					p := parse(t, strings.ReplaceAll(raw, "\n", "\r\n"))
					want, err := os.ReadFile(filepath.Join("testdata", name+".mail.html"))
					if err != nil || p.html != strings.ReplaceAll(string(want), "unsubscribe/oncall@",
						"unsubscribe/"+strings.TrimSuffix(m.Header.Get("To"), "example.com")) {
						t.Errorf("%s: other HTML than expected, %v", name, err)
					}
				}
				if slices.Sort(recipients); !slices.Equal(recipients, []string{"ann@example.com", "oncall@example.com"}) {
					t.Errorf("%s: mails to %v", name, recipients)
				}
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		env := realMail(t, "WAYBILL_TEST_SMTP", "smtp", "alerts:alerts-secret")
		r, err := open(t, env, "email", map[string]string{"to": "nobody@example.com, oncall@example.com"}, nil).Send(within(t, smtpTimeout),
			failing())
		wantError(t, err, adapters.KindPermanent, adapters.ClassNotFound, "nobody@example.com", "550", "No such user here")
		if len(r.Reached) != 1 || len(arrived(t)) != 1 {
			t.Errorf("%+v", r)
		}
		refusedAs(t, open(t, realMail(t, "WAYBILL_TEST_SMTP", "smtp", "alerts:wrong-secret"), "email", oncall, nil), failing(),
			adapters.KindTransient, adapters.ClassAuth, "refused the login (535")
		refusedAs(t, open(t, realMail(t, "WAYBILL_TEST_SMTPS", "smtps", "alerts:wrong-secret"), "email", oncall, nil), failing(),
			adapters.KindTransient, adapters.ClassAuth, "refused the login (535")
		if got := arrived(t); len(got) != 0 {
			t.Errorf("%d mails arrived", len(got))
		}
	})
}
