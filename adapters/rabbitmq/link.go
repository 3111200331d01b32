package rabbitmq

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const (
	heartbeat = 10 * time.Second // a connection that is silent for three times half of this is given up
	// maxChannels is how many channels one connection has. The broker handles each in a process of its own.
	maxChannels = 4
	// busyChannel is how many unconfirmed messages a channel has before another one is opened. Fewer channels cost the
	// broker less: with 100 messages at once one channel took 11,000 a second where four took 6,000 to 10,000.
	busyChannel = 128
	// maxPublished is how many messages are written at once.
	maxPublished = 64
	closeLimit   = time.Second
)

// broker is how to reach it.
type broker struct {
	service         outbound.Service
	dialer          *outbound.Dialer
	vhost, exchange string
	user, password  string
	client, name    string // how the connection is shown to the broker's operators
	redact          outbound.Redactor
	certificates    outbound.Certificates
}

// link is one connection to the broker. A goroutine of its own writes what is published, so that a broker that stops
// reading keeps no Send beyond its deadline.
type link struct {
	broker *broker
	conn   *amqp.Connection
	stream *stream
	timing adapters.Timing // of connecting
	jobs   chan *publication
	done   chan struct{} // closed when the connection is lost

	blocked atomic.Pointer[string] // the broker's words while it takes no messages, nil otherwise
	changed chan struct{}          // signals that blocked has changed

	channels []*channel // used by the goroutine alone
	next     int
}

// dial connects, and names itself to the broker. It is over when ctx is.
func (b *broker) dial(ctx context.Context) (*link, outbound.Opened, error) {
	nc, opened, err := b.dialer.Open(ctx, b.service)
	b.certificates.Saw(b.service.Host, opened.CertificateEnds)
	if err != nil {
		return nil, opened, err
	}
	st := &stream{Conn: nc}
	stop := context.AfterFunc(ctx, func() {
		st.note(ctx.Err())
		nc.Close()
	})
	conn, err := amqp.Open(st, amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{Username: b.user, Password: b.password}}, Vhost: b.vhost, Locale: "en_US",
		Heartbeat: heartbeat, FrameSize: 128 << 10,
		Properties: amqp.Table{"product": b.client, "platform": "Go", "connection_name": b.name},
	})
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		nc.Close()
		return nil, opened, b.handshakeError(ctx, err, st.err())
	}
	l := &link{broker: b, conn: conn, stream: st, timing: opened.Timing, jobs: make(chan *publication), done: make(chan struct{}),
		changed: make(chan struct{}, 1)}
	go l.watch(conn.NotifyBlocked(make(chan amqp.Blocking)), conn.NotifyClose(make(chan *amqp.Error, 1)))
	go l.write()
	return l, opened, nil
}

// watch follows what the broker says about the connection.
func (l *link) watch(blocks <-chan amqp.Blocking, closes <-chan *amqp.Error) {
	defer close(l.done)
	for {
		select {
		case b, ok := <-blocks:
			if !ok {
				blocks = nil
				continue
			}
			l.blocked.Store(nil)
			if b.Active {
				l.blocked.Store(&b.Reason)
			}
			select {
			case l.changed <- struct{}{}:
			default:
			}
		case <-closes: //nolint:errcheck // why is known to the channels, and to the stream
			return
		}
	}
}

func (l *link) alive() bool {
	select {
	case <-l.done:
		return false
	default:
		return !l.conn.IsClosed()
	}
}

// close ends the connection. It takes no longer than closeLimit.
func (l *link) close() { _ = l.conn.CloseDeadline(time.Now().Add(closeLimit)) }

// errNotWritten says that nothing of a message has left, because the connection or its channel was lost before.
var errNotWritten = errors.New("not written")

// publish hands p over to be written. When it returns nil p has been written, and p.confirmation tells of its fate. It
// is errNotWritten when p has certainly not been written, and ctx's error when that is not known.
func (l *link) publish(ctx context.Context, p *publication) error {
	p.ctx, p.written = ctx, make(chan error, 1)
	select {
	case l.jobs <- p:
	case <-l.done:
		return errNotWritten
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-p.written:
		return err
	case <-ctx.Done():
		go p.forget()
		return ctx.Err()
	}
}

// write publishes what Sends hand over, as long as the broker takes messages.
func (l *link) write() {
	for {
		jobs := l.jobs
		if l.blocked.Load() != nil {
			jobs = nil
		}
		select {
		case p := <-jobs:
			l.writeAll(p)
		case <-l.changed:
		case <-l.done:
			return
		}
	}
}

// writeAll writes p, and whatever else is waiting, together.
func (l *link) writeAll(p *publication) {
	l.stream.hold()
	defer l.stream.release()
	for n := 1; ; n++ {
		p.written <- l.writeOne(p)
		if n == maxPublished {
			return
		}
		select {
		case p = <-l.jobs:
		default:
			return
		}
	}
}

func (l *link) writeOne(p *publication) error {
	if p.ctx.Err() != nil {
		return errNotWritten // Nobody waits for it any more.
	}
	ch, err := l.channel()
	if err != nil {
		return err
	}
	return ch.publish(p)
}

// channel returns the next one to publish on, opening it if all others are busy.
func (l *link) channel() (*channel, error) {
	open := l.channels[:0]
	for _, ch := range l.channels {
		if !ch.amqp.IsClosed() {
			open = append(open, ch)
		}
	}
	l.channels = open
	var best *channel
	least := 0
	for i := range open {
		ch := open[(l.next+i)%len(open)]
		if n := ch.unsettled(); best == nil || n < least {
			best, least = ch, n
		}
	}
	l.next++
	if best != nil && (least < busyChannel || len(open) == maxChannels) {
		if least < maxUnsettled {
			return best, nil
		}
		// The broker has left thousands of messages unconfirmed. A connection that is given up frees what is kept for
		// each of them, and a new one may find a broker that works.
		go l.close()
		return nil, errNotWritten
	}
	// Opening one waits for the broker's answer, and what is gathered has to leave first.
	l.stream.release()
	defer l.stream.hold()
	ch, err := newChannel(l.conn)
	if err != nil {
		if l.conn.IsClosed() {
			return nil, errNotWritten
		}
		return nil, err
	}
	l.channels = append(l.channels, ch)
	return ch, nil
}
