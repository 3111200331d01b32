package notify

import (
	"context"
	"strings"
	"time"

	mail "github.com/go-mail/mail/v2"

	"github.com/waybill-dev/waybill/adapters"
)

// Letter is a mail to one person that no channel sends: an invitation.
type Letter struct {
	ID      string    // of what it is about, the left half of its Message-ID
	To      string    // address
	Subject string    // one line
	At      time.Time // when it was asked for
	Mail    Mail      // BaseURL is filled in
}

// SendLetter hands a letter to the mail server, once. The error is an *adapters.Error that holds no credential.
func SendLetter(ctx context.Context, env Env, l Letter) error {
	switch {
	case !env.SMTP.Configured():
		return configError("No mail server is configured, so no mail was sent.",
			"Set SMTP_URL and MAIL_FROM in the server's environment, or pass the link on yourself.")
	case !plainAddress(l.To):
		return configError("Mail servers cannot be relied on to take an address like this one, so no mail was sent.", "Pass the link on yourself.")
	}
	ctx, cancel := context.WithTimeout(ctx, smtpTimeout)
	defer cancel()
	from := env.SMTP.from
	_, domain, _ := strings.Cut(from.Address, "@")
	msg := mail.NewMessage()
	msg.SetAddressHeader("From", from.Address, from.Name)
	msg.SetHeader("To", l.To)
	msg.SetHeader("Subject", "[Waybill] "+oneLine(l.Subject, 160))
	msg.SetDateHeader("Date", l.At)
	msg.SetHeader("Message-ID", "<"+idToken(l.ID)+"@"+domain+">")
	msg.SetHeader("Auto-Submitted", "auto-generated") // RFC 3834
	v := l.Mail
	v.Summary, v.BaseURL = oneLine(v.Summary, 500), link(env.BaseURL)
	text, html, err := env.RenderMail(context.WithoutCancel(ctx), v)
	if err != nil {
		return adapters.AsError(err)
	}
	msg.SetBody("text/plain", text)
	msg.AddAlternative("text/html", html)
	c, fault := converse(ctx, env)
	defer c.close()
	if fault == nil {
		if err := mail.Send(c, msg); err != nil && c.failed == nil {
			fault = &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassInternal, Message: "The mail could not be written.",
				Raw: c.redact(err.Error())}
		}
	}
	if fault == nil {
		fault = c.failed
	}
	if fault != nil {
		return fault
	}
	return nil
}
