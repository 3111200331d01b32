package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const adviceRetried = "It will be retried; look into the broker's log if it stays."

func (b *broker) exchangeName() string { return exchangeName(b.exchange) }

// clean masks what must not be seen and returns e.
func (b *broker) clean(e *adapters.Error) *adapters.Error {
	e.Raw = oneLine(e.Raw)
	b.redact.Clean(e)
	return e
}

// ended is the error of an attempt whose context has ended. l is the connection, or nil when there was none.
func (b *broker) ended(err error, l *link, when string) *adapters.Error {
	if errors.Is(err, context.Canceled) {
		return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassInternal, Raw: err.Error(),
			Message: "This server stopped the attempt " + when + ".", Advice: "It will be retried; nothing needs to be done."}
	}
	if l != nil {
		if reason := l.blocked.Load(); reason != nil {
			return b.clean(&adapters.Error{Kind: adapters.KindThrottled, Class: adapters.ClassThrottled,
				Raw:     "connection.blocked: " + *reason,
				Message: "The broker accepts no messages at present, because it is short of memory or disk space.",
				Advice:  "Let consumers empty its queues, or give the broker more memory or disk space."})
		}
	}
	return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassTimeout, Raw: err.Error(),
		Message: fmt.Sprintf("The time limit of this attempt was reached %s (%s).", when, b.service),
		Advice:  "Check the load of the broker and whether all its nodes are up, or raise the destination's timeout."}
}

// lost is the error of a connection that broke; nil is one that this side could not get.
func (b *broker) lost(l *link) *adapters.Error {
	if l != nil {
		if e := outbound.Explain(l.stream.err(), b.service.Host); e != nil {
			return b.clean(e)
		}
	}
	return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassConnect,
		Message: fmt.Sprintf("The connection to %s was lost before the broker confirmed the message.", b.service), Advice: adviceRetried}
}

// handshakeError says why the broker did not let us in. cause is why the connection broke, if it did.
func (b *broker) handshakeError(ctx context.Context, err, cause error) *adapters.Error {
	if ctx.Err() != nil {
		return b.ended(ctx.Err(), nil, "before the broker had let us in")
	}
	var a *amqp.Error
	if !errors.As(err, &a) {
		a = &amqp.Error{Reason: err.Error()}
	}
	broke := outbound.Explain(cause, b.service.Host)
	switch {
	case a == amqp.ErrCredentials && (broke == nil || broke.Class == adapters.ClassConnect), a.Code == amqp.AccessRefused && a.Server:
		// Brokers close the connection without a word when they refuse a password.
		return b.clean(&adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassAuth, Raw: a.Reason,
			Message: fmt.Sprintf("The broker refused the user name %q or its password.", b.user),
			Advice:  "Correct the destination's user name and password; \"guest\" is let in only from the broker's own machine."})
	case a == amqp.ErrSASL:
		return b.clean(&adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassConfig, Raw: a.Reason,
			Message: "The broker does not let anybody in with a user name and a password.",
			Advice:  "Enable PLAIN among the broker's auth_mechanisms."})
	case a.Server:
		return b.explain(a, nil, nil)
	}
	if broke != nil {
		if broke.Class == adapters.ClassConnect && b.service.TLS == nil {
			broke.Advice = "Check that this is the port for AMQP, and switch TLS on if it is the one for TLS (usually 5671)."
		}
		return b.clean(broke)
	}
	return b.clean(&adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassProtocol, Raw: a.Reason,
		Message: fmt.Sprintf("%s answered, but not with AMQP 0-9-1.", b.service),
		Advice:  "Check the port: AMQP has 5672, or 5671 with TLS; the management page has another one."})
}

// verdict says what an outcome means for the delivery; nil is success.
func (b *broker) verdict(out outcome, p *publication) error {
	switch {
	case out.confirmed && out.returned != nil:
		e := &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassNotFound,
			Message: fmt.Sprintf("No queue takes messages with the routing key %q from %s.", p.key, b.exchangeName()),
			Advice:  fmt.Sprintf("Bind a queue to %s with this routing key, or change the destination's routing key.", b.exchangeName()),
			Raw:     fmt.Sprintf("basic.return %d %s", out.returned.ReplyCode, out.returned.ReplyText)}
		if b.exchange == "" {
			e.Message = fmt.Sprintf("There is no queue %q in the virtual host %q.", p.key, b.vhost)
			e.Advice = "Create the queue, or set an exchange: without one the routing key has to be a queue's name."
			if p.key == "" {
				e.Message = "The routing key is empty, and without an exchange it has to be a queue's name."
				e.Advice = "Set an exchange, or correct the destination's routing key."
			}
		}
		return b.clean(e)
	case out.confirmed:
		return nil
	case out.reason == nil:
		return &adapters.Error{Kind: adapters.KindThrottled, Class: adapters.ClassRejected, Raw: "basic.nack",
			Message: "The broker did not take the message (basic.nack): a queue is full, or failed.",
			Advice:  "Check the length limits of the queues that get it, and the broker's log."}
	}
	return b.explain(out.reason, nil, p)
}

// explain says what an error of the AMQP client means. p is the message that it is about, or nil.
func (b *broker) explain(err error, l *link, p *publication) *adapters.Error {
	var a *amqp.Error
	if !errors.As(err, &a) || !a.Server {
		if l != nil && l.conn.IsClosed() {
			return b.lost(l)
		}
		return b.clean(&adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassInternal, Raw: err.Error(),
			Message: "The message could not be written.", Advice: adviceRetried})
	}
	e := &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassServer, Raw: fmt.Sprintf("%d %s", a.Code, a.Reason),
		Message: fmt.Sprintf("The broker closed the connection or the channel (%d).", a.Code), Advice: adviceRetried}
	text := strings.ToLower(a.Reason)
	switch {
	case a.Code == amqp.NotFound && strings.Contains(text, "exchange"):
		e.Class = adapters.ClassNotFound
		e.Message = fmt.Sprintf("There is no exchange %q in the virtual host %q.", b.exchange, b.vhost)
		e.Advice = "Create the exchange, or correct the destination's exchange and virtual host."
	case (a.Code == amqp.NotAllowed || a.Code == amqp.NotFound) && strings.Contains(text, "vhost") && strings.Contains(text, "not found"):
		e.Class = adapters.ClassNotFound
		e.Message = fmt.Sprintf("There is no virtual host %q.", b.vhost)
		e.Advice = "Correct the destination's virtual host, or create it."
	case a.Code == amqp.NotAllowed && strings.Contains(text, "limit"):
		e.Kind, e.Class = adapters.KindThrottled, adapters.ClassThrottled
		e.Message = fmt.Sprintf("The broker allows the user %q or the virtual host %q no more connections.", b.user, b.vhost)
		e.Advice = "Raise the limit for connections, or close some."
	case a.Code == amqp.NotAllowed:
		e.Class = adapters.ClassAuth
		e.Message = fmt.Sprintf("The user %q may not use the virtual host %q.", b.user, b.vhost)
		e.Advice = fmt.Sprintf("Give the user permissions there: rabbitmqctl set_permissions -p '%s' '%s' '^$' '^%s$' '^$'", b.vhost,
			b.user, b.exchange)
	case a.Code == amqp.AccessRefused && p != nil && strings.Contains(text, "topic '") && !strings.Contains(a.Reason, "topic '"+p.key+"'"):
		e.Message = "The broker closed the channel because it refused the routing key of another message."
	case a.Code == amqp.AccessRefused:
		e.Class = adapters.ClassAuth
		e.Message = fmt.Sprintf("The user %q may not write to %s.", b.user, b.exchangeName())
		e.Advice = "Let the user write to it: its \"write\" pattern must match the exchange's name, and a topic permission, if there is one, the routing key."
	case (a.Code == amqp.PreconditionFailed || a.Code == amqp.ContentTooLarge) && strings.Contains(text, "message size"):
		// The broker closes the channel, and with it whatever else was on its way there. Only the one that is named is to
		// blame.
		e.Message = "The broker closed the channel because another message was too large for it."
		if p != nil && strings.Contains(text, fmt.Sprintf("size %d ", len(p.message.Body))) {
			e.Kind, e.Class = adapters.KindPermanent, adapters.ClassTooLarge
			e.Message = fmt.Sprintf("The message is larger than the broker accepts (%d bytes).", len(p.message.Body))
			e.Advice = "Raise the broker's max_message_size, send less data, or filter such events out."
		}
	case a.Code == amqp.PreconditionFailed:
		e.Class, e.Message = adapters.ClassRejected, "The broker refused the message (406)."
		e.Advice = "The error's details hold the broker's words; correct the destination or the exchange."
	case a.Code == amqp.ConnectionForced:
		e.Class = adapters.ClassConnect
		e.Message = fmt.Sprintf("The broker at %s closed the connection: it is being stopped, or its operators ended it.", b.service)
	}
	return b.clean(e)
}
