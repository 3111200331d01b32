package rabbitmq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// dialLimit bounds connecting, with TLS and names, whatever the deadline of the attempt that needs the connection.
const dialLimit = 10 * time.Second

// sender implements adapters.Sender and adapters.Checker with one connection, which is opened by the first Send and
// anew by the first one after it was lost.
type sender struct {
	broker   *broker
	settings adapters.Settings
	template bool // the routing key comes from an expression

	links *outbound.Shared[*link]
}

// Send implements adapters.Sender.
func (s *sender) Send(ctx context.Context, m *adapters.Message) (receipt adapters.Receipt, _ error) {
	defer func() { receipt.CertificateEnds = s.broker.certificates.Take() }()
	ctx, cancel := context.WithTimeout(ctx, s.settings.Limit())
	defer cancel()
	if err := ctx.Err(); err != nil {
		return adapters.Receipt{}, s.broker.ended(err, nil, "before it began")
	}
	p, r, err := s.publication(m)
	if err != nil {
		return adapters.Receipt{}, err
	}
	// What has not been written may be written on another connection: a broker closes the one that we have when it
	// restarts, and a channel when it refuses a message.
	for range 3 {
		var l *link
		if l, r.Timing, err = s.connection(ctx); err != nil {
			r.NotSent = true
			return r, err
		}
		begun := time.Now()
		err = l.publish(ctx, p)
		switch {
		case err == errNotWritten && ctx.Err() == nil:
			continue
		case err != nil && ctx.Err() != nil:
			return adapters.Receipt{}, s.broker.ended(ctx.Err(), l, "before the broker took the message")
		case err != nil:
			return adapters.Receipt{}, s.broker.explain(err, l, p)
		}
		select {
		case <-p.confirmation.Done():
			r.Timing.FirstByte = time.Since(begun)
			return s.judge(l, p, r)
		case <-ctx.Done():
			go p.forget()
			return r, s.broker.ended(ctx.Err(), l, "before the broker confirmed the message")
		}
	}
	return adapters.Receipt{}, s.broker.lost(nil)
}

// judge makes the receipt of a message whose fate is known.
func (s *sender) judge(l *link, p *publication, r adapters.Receipt) (adapters.Receipt, error) {
	out := p.settle()
	answer := struct {
		Confirm   string `json:"confirm,omitempty"`
		Tag       uint64 `json:"delivery_tag"`
		MessageID string `json:"message_id"`
		Exchange  string `json:"exchange"`
		Key       string `json:"routing_key"`
		Code      int    `json:"code,omitempty"`
		Text      string `json:"text,omitempty"`
	}{Tag: p.confirmation.DeliveryTag, MessageID: p.message.MessageId, Exchange: p.exchange, Key: p.key}
	switch {
	case out.confirmed && out.returned != nil:
		answer.Confirm = "return"
		answer.Code, answer.Text = int(out.returned.ReplyCode), out.returned.ReplyText
	case out.confirmed:
		answer.Confirm = "ack"
	case out.reason == nil:
		answer.Confirm = "nack"
	case out.reason.Server:
		answer.Confirm = "close"
		answer.Code, answer.Text = out.reason.Code, out.reason.Reason
	default:
		return r, s.broker.lost(l)
	}
	answer.Text = s.broker.redact.Text(answer.Text)
	r.Body, _ = json.Marshal(answer) // texts and numbers always can be
	if err := s.broker.verdict(out, p); err != nil {
		return r, err
	}
	return r, nil
}

// publication makes the message, and the receipt of what is sent. It refuses what AMQP cannot carry.
func (s *sender) publication(m *adapters.Message) (*publication, adapters.Receipt, error) {
	e := m.Encode(&s.settings, "cloudEvents:")
	p := &publication{exchange: s.broker.exchange, key: m.Topic}
	if s.template {
		p.key = m.Computed["routing_key_template"]
	}
	switch {
	case len(p.key) > maxShort:
		return nil, adapters.Receipt{}, &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassRejected,
			Message: fmt.Sprintf("The routing key has %d bytes; AMQP allows %d.", len(p.key), maxShort),
			Advice:  "Change the destination's expression for the routing key, or use shorter topics, then retry."}
	case len(m.EventID) > maxShort:
		return nil, adapters.Receipt{}, &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassRejected,
			Message: fmt.Sprintf("The event's id has %d bytes; AMQP allows %d for a message's id.", len(m.EventID), maxShort),
			Advice:  "Publish events with shorter ids."}
	}
	var head strings.Builder
	line := func(name, value string) { head.WriteString(oneLine(name) + ": " + oneLine(value) + "\n") }
	line("exchange", p.exchange)
	line("routing-key", p.key)
	line("message-id", m.EventID)
	line("content-type", e.ContentType)
	line("delivery-mode", "2")
	headers, size := make(amqp.Table, len(e.Attributes)), 0
	for _, a := range e.Attributes {
		if reserved(a.Name) {
			continue
		}
		headers[a.Name] = a.Value
		size += 1 + len(a.Name) + 5 + len(a.Value)
		line(a.Name, a.Value)
	}
	if size > maxHeaders {
		return nil, adapters.Receipt{}, &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassTooLarge,
			Message: fmt.Sprintf("The metadata takes %d bytes as headers; AMQP brokers take %d.", size, maxHeaders),
			Advice:  "Publish the event with less metadata; large values belong into the payload."}
	}
	p.message = amqp.Publishing{Headers: headers, ContentType: e.ContentType, DeliveryMode: amqp.Persistent, MessageId: m.EventID,
		Timestamp: m.Time, Body: e.Body}
	return p, adapters.Receipt{Method: "basic.publish", URL: s.broker.url(), ReqHeader: s.broker.redact.Text(head.String())}, nil
}

// maxHeaders leaves room for the other properties in the frame that holds them all, which cannot be split. Brokers
// agree on frames of 128 KiB unless they are told otherwise.
const maxHeaders = 120 << 10

// reserved says whether a header would do something in the broker, or cannot be written: CC and BCC are further routing
// keys (and must be lists), x-death belongs to dead letters.
func reserved(name string) bool {
	return name == "CC" || name == "BCC" || name == "x-death" || len(name) > maxShort
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

// url is where messages go, without credentials.
func (b *broker) url() string {
	u := url.URL{Scheme: "amqp", Host: b.service.String()}
	if b.service.TLS != nil {
		u.Scheme = "amqps"
	}
	return u.String() + "/" + url.PathEscape(b.vhost)
}

// connection returns the one that is there, or connects. timing is zero for one that was there.
func (s *sender) connection(ctx context.Context) (*link, adapters.Timing, error) {
	l, fresh, err := s.links.Get(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, adapters.Timing{}, s.broker.ended(ctx.Err(), nil, "before there was a connection")
	case err != nil:
		return nil, adapters.Timing{}, err
	case fresh:
		return l, l.timing, nil
	}
	return l, adapters.Timing{}, nil
}

// Close implements adapters.Sender.
func (s *sender) Close() error {
	if l := s.links.Close(); l != nil {
		l.close()
	}
	return nil
}

// Check implements adapters.Checker. It uses a connection of its own.
func (s *sender) Check(ctx context.Context) []adapters.Stage {
	ctx, cancel := context.WithTimeout(ctx, s.settings.Limit())
	defer cancel()
	begun := time.Now()
	l, opened, err := s.broker.dial(ctx)
	stages := opened.Stages
	if !stages[len(stages)-1].OK {
		return stages
	}
	took := time.Since(begun) - opened.Timing.DNS - opened.Timing.Connect - opened.Timing.TLS
	auth := adapters.Stage{Name: "auth", Took: took, OK: true,
		Message: fmt.Sprintf("%s may use the virtual host %q.", s.broker.user, s.broker.vhost)}
	if err != nil {
		return append(stages, failed(auth, err))
	}
	defer l.close()
	begun = time.Now()
	publish := adapters.Stage{Name: "publish", OK: true, Message: fmt.Sprintf(
		"Nothing was published: %s exists; a test event shows whether %s may write to it, and whether a queue is bound.",
		s.broker.exchangeName(), s.broker.user)}
	err = s.broker.inspect(ctx, l)
	publish.Took = time.Since(begun)
	if err != nil {
		publish = failed(publish, err)
	}
	return append(stages, auth, publish)
}

func failed(st adapters.Stage, err error) adapters.Stage {
	var e *adapters.Error
	if errors.As(err, &e) {
		st.OK, st.Message, st.Advice = false, e.Message, e.Advice
		if st.Advice == "" {
			st.Advice = "Try again; ask the operator if it stays."
		}
	}
	return st
}

// inspect opens a channel and asks for the exchange, without changing anything.
func (b *broker) inspect(ctx context.Context, l *link) error {
	stop := context.AfterFunc(ctx, func() {
		l.stream.note(ctx.Err())
		l.stream.Conn.Close()
	})
	defer stop()
	ch, err := newChannel(l.conn)
	if err == nil && b.exchange != "" {
		err = ch.amqp.ExchangeDeclarePassive(b.exchange, amqp.ExchangeTopic, true, false, false, false, nil)
	}
	if err != nil {
		return b.explain(err, l, nil)
	}
	return nil
}
