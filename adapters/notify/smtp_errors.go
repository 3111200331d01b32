package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const adviceSMTP = "It will be retried; if it stays, check SMTP_URL and the mail server's log."

// refused says what an error means that came up at a step: greeting, login, sender, message, or an address for
// that recipient. Replies that begin with 4 ask for another try, those with 5 are final (RFC 5321, section 4.2.1), but
// for what the operator can mend while tries go on: greeting, login and sender.
func (c *conversation) refused(err error, step string) *adapters.Error {
	var reply *smtp.SMTPError
	if !errors.As(err, &reply) {
		return c.broken(err, "at the "+step)
	}
	text := reply.Message
	if e := reply.EnhancedCode; e != smtp.EnhancedCodeNotSet {
		text = fmt.Sprintf("%d.%d.%d %s", e[0], e[1], e[2], text)
	}
	said := answerLine(c.redact(fmt.Sprintf("%d %s", reply.Code, text)))
	c.code, c.answer = reply.Code, said
	e := &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassRejected, Raw: said}
	short := clip(said, 200)
	switch {
	case step == "login":
		e.Class = adapters.ClassAuth
		e.Message = fmt.Sprintf("The mail server refused the login (%s).", short)
		e.Advice = "Ask the operator to check the user and the password in SMTP_URL; it will be retried."
	case reply.Code < 500:
		e.Class = adapters.ClassThrottled
		e.Message = fmt.Sprintf("The mail server asked to try again later (%s).", short)
		e.Advice = "It will be retried. Many servers put off senders that they see for the first time."
	case step == "greeting":
		e.Message = fmt.Sprintf("The mail server turned this server away (%s).", short)
		e.Advice = adviceSMTP
	case step == "sender":
		e.Message = fmt.Sprintf("The mail server refused the sender (%s).", short)
		e.Advice = "Ask the operator to set MAIL_FROM to an address that this mail server sends for; it will be retried."
	case step == "message":
		e.Kind, e.Class = adapters.KindPermanent, adapters.ClassRejected
		e.Message = fmt.Sprintf("The mail server refused the message (%s).", short)
		e.Advice = "What it answered says why; the notice stays in the notifications log."
		if reply.Code == 552 {
			e.Class = adapters.ClassTooLarge
		}
	default:
		e.Kind = adapters.KindPermanent
		if reply.Code == 550 || reply.Code == 551 || reply.Code == 553 {
			e.Class = adapters.ClassNotFound
		}
		e.Message = fmt.Sprintf("The mail server refused the recipient %s (%s).", oneLine(step, 100), short)
		e.Advice = "Check the address, and take it out of the channel if it is not in use any more."
	}
	return e
}

// broken says why there was no reply. Tenants are not told where the operator's mail server is.
func (c *conversation) broken(err error, when string) *adapters.Error {
	if c.ctx.Err() != nil && errors.Is(c.ctx.Err(), context.Canceled) {
		return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassInternal,
			Message: "This server stopped the attempt before the mail server had answered.",
			Advice:  "It will be retried; nothing needs to be done."}
	}
	e := outbound.Explain(err, c.env.SMTP.host)
	if e != nil && e.Kind == adapters.KindShortage {
		return e
	}
	if e == nil {
		e = &adapters.Error{Class: adapters.ClassProtocol, Raw: answerLine(err.Error()),
			Message: "The mail server's answer could not be understood."}
	}
	e.Kind, e.Advice = adapters.KindTransient, adviceSMTP
	if c.env.TenantID != "" {
		e.Raw, e.Advice = "", "It will be retried; ask the operator to check the mail server if it stays."
		switch e.Class {
		case adapters.ClassTLS:
			e.Message = "No secure connection to the mail server came about."
		case adapters.ClassTimeout:
			e.Message = "The mail server did not answer in time."
		default:
			e.Message = "The mail server could not be reached."
		}
	} else if e.Class == adapters.ClassTimeout {
		e.Message = fmt.Sprintf("The mail server %s did not answer in time (%s).", c.env.SMTP.host, when)
	}
	return clean(e, c.redact)
}

func contains(list []string, address string) bool {
	for _, a := range list {
		if strings.EqualFold(a, address) {
			return true
		}
	}
	return false
}
