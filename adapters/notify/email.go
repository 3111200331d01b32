package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	stdmail "net/mail"
	"net/url"
	"strings"

	mail "github.com/go-mail/mail/v2"

	"github.com/waybill-dev/waybill/adapters"
)

// maxRecipients bounds the addresses of one channel; longer lists belong into a mailing list.
const maxRecipients = 20

func init() {
	Register(Type{
		Name: "email", Label: "E-mail", Description: "Sends each notice by mail to one or several addresses.",
		Instructions: "Enter the addresses that get the notices. A team's mailing list is often better than people one by one.\n\n" +
			"The mail server is the operator's: `SMTP_URL` and `MAIL_FROM` in the server's environment. Without them notices are kept in the " +
			"notifications log and no mail is sent.",
		Config: []adapters.Field{{Key: "to", Label: "To", Type: adapters.FieldText, Required: true, MaxLength: 4000,
			Help:        fmt.Sprintf("One or several e-mail addresses, separated by commas; at most %d.", maxRecipients),
			Placeholder: "oncall@example.com, ann@example.com",
			Pattern:     `[^\x00-\x1f\x7f]+`, PatternHelp: "must be e-mail addresses in one line, separated by commas"}},
		Order: 10,
		Check: func(_ string, config, _ map[string]string) []adapters.FieldError {
			list, err := recipients(config["to"])
			if err != nil {
				return []adapters.FieldError{{Key: "config.to", Message: err.Error()}}
			}
			config["to"] = strings.Join(list, ", ")
			return nil
		},
		Target: func(config map[string]string) string { return config["to"] },
		Recipients: func(config map[string]string) []string {
			list, _ := recipients(config["to"]) // Check has accepted them
			return list
		},
		Open: func(env Env, config, _ map[string]string) (Channel, error) {
			list, err := recipients(config["to"])
			if err != nil {
				return nil, configError("The channel's addresses cannot be used: the field "+err.Error()+".",
					"Correct the channel's addresses.")
			}
			if env.RenderMail == nil {
				return nil, configError("This process cannot write mails.", "This is a defect of this server; please report it.")
			}
			return &email{env: env, to: list}, nil
		},
	})
}

// recipients reads a list of addresses, without names. The error follows the field's name.
func recipients(text string) (out []string, err error) {
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ';' }) {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		a, err := stdmail.ParseAddress(part)
		if err != nil || !plainAddress(a.Address) {
			return nil, fmt.Errorf("must be e-mail addresses separated by commas; %q is not one", clip(part, 80))
		}
		if !contains(out, a.Address) {
			out = append(out, a.Address)
		}
	}
	switch {
	case len(out) == 0:
		return nil, fmt.Errorf("must be at least one e-mail address")
	case len(out) > maxRecipients:
		return nil, fmt.Errorf("must be at most %d addresses", maxRecipients)
	}
	return out, nil
}

// plainAddress says whether an address can be sent to by any mail server: ASCII, nothing quoted, nothing that could break
// out of a command or a header, and a host behind the @ (RFC 5321, section 4.1.2).
func plainAddress(a string) bool {
	local, host, ok := strings.Cut(a, "@")
	if !ok || local == "" || host == "" || len(a) > 254 {
		return false
	}
	for _, r := range a {
		if r <= ' ' || r > '~' || strings.ContainsRune(`"(),:;<>[\]`, r) {
			return false
		}
	}
	// Only in quotation marks may dots stand side by side, or at an end.
	return !strings.Contains(host, "@") && !strings.Contains("."+local+".", "..")
}

type email struct {
	env Env
	to  []string
}

// Send implements Channel.
func (m *email) Send(ctx context.Context, n *Notice) (Result, error) {
	if !m.env.SMTP.Configured() {
		return Result{}, configError("No mail server is configured, so the notice is kept in the notifications log only.",
			"Set SMTP_URL and MAIL_FROM in the server's environment, or ask the operator to.")
	}
	ctx, cancel := context.WithTimeout(ctx, smtpTimeout)
	defer cancel()
	c, fault := converse(ctx, m.env)
	defer c.close()
	for _, recipient := range m.to {
		if fault != nil || c.lost {
			break
		}
		if contains(n.Skip, recipient) {
			continue
		}
		msg, err := m.message(ctx, n, recipient)
		if err != nil {
			return Result{}, adapters.AsError(err)
		}
		if err := mail.Send(c, msg); err != nil && c.failed == nil { // what go-mail itself finds wrong with the message
			fault = &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassInternal,
				Message: "The mail could not be written.", Advice: "This is a defect of this server; please report it.",
				Raw: c.redact(err.Error())}
		}
	}
	if fault == nil {
		fault = c.failed
	}
	result := Result{Code: c.code, Answer: c.answer, Reached: c.reached}
	if fault != nil {
		return result, fault
	}
	return result, nil
}

// message composes the mail to one recipient, whose link to unsubscribe it holds. Everything but the boundary between its
// parts is the same on every try.
func (m *email) message(ctx context.Context, n *Notice, recipient string) (*mail.Message, error) {
	from := m.env.SMTP.from
	_, domain, _ := strings.Cut(from.Address, "@")
	msg := mail.NewMessage()
	msg.SetAddressHeader("From", from.Address, from.Name)
	msg.SetHeader("To", recipient)
	msg.SetHeader("Subject", "[Waybill] "+n.title(160))
	msg.SetDateHeader("Date", n.made(m.env.Now()))
	msg.SetHeader("Message-ID", "<"+idToken(n.ID)+"@"+domain+">")
	if n.AlertID != "" && n.Kind != Test {
		// No mail has this id; naming the same one, the mails of an alert stay together.
		msg.SetHeader("References", "<alert."+idToken(n.AlertID)+"@"+domain+">")
	}
	msg.SetHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's holiday notice shall answer
	msg.SetHeader("X-Auto-Response-Suppress", "All")
	msg.SetHeader("List-Id", "Waybill alerts <alerts."+listHost(m.env.BaseURL, domain)+">")
	v := mailView(n, m.env.BaseURL)
	if m.env.Unsubscribe != nil {
		v.UnsubscribeURL = link(m.env.Unsubscribe(recipient))
	}
	if v.UnsubscribeURL != "" {
		msg.SetHeader("List-Unsubscribe", "<"+v.UnsubscribeURL+">")
		if strings.HasPrefix(v.UnsubscribeURL, "https:") {
			// RFC 8058, section 3.1: one click, by a POST of the mail program, and over HTTPS only.
			msg.SetHeader("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
		}
	}
	// That the time is over is told by the conversation, in better words.
	text, html, err := m.env.RenderMail(context.WithoutCancel(ctx), v)
	if err != nil {
		return nil, err
	}
	msg.SetBody("text/plain", text)
	msg.AddAlternative("text/html", html)
	return msg, nil
}

// idToken makes the left half of a Message-ID out of an id of ours, which callers may have chosen: what does not fit is
// replaced by its hash.
func idToken(id string) string {
	ok := id != "" && len(id) <= 100
	for _, r := range id {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	}
	if ok {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}

// listHost names the list after the dashboard, so that filters tell several servers apart.
func listHost(base, domain string) string {
	if u, err := url.Parse(base); err == nil && plainAddress("x@"+u.Hostname()) {
		return u.Hostname()
	}
	return domain
}
