package rabbitmq

import (
	"context"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// maxUnsettled is how many messages of one channel may be unconfirmed. It is also the size of the buffer for returned
// messages, so that the buffer cannot overflow: it is emptied before each publishing.
const maxUnsettled = 1024

// channel is an AMQP channel with publisher confirms.
//
// The broker returns an unroutable message and then confirms it as if all were well. The client reads both in this order
// and hands the return over before the confirmation, so whoever sees a confirmation finds the return that belongs to it
// in the buffer. A return does not tell the number of its message but all of its content; it is matched by the message's
// id. Should an event be on its way twice at once, both count as returned, of which the worst that comes is another
// attempt.
type channel struct {
	amqp    *amqp.Channel
	returns chan amqp.Return
	closes  chan *amqp.Error

	mu     sync.Mutex
	open   map[string][]*publication // the unsettled ones, by the event's id
	count  int
	reason *amqp.Error // why the channel was closed, once that is known
}

// publication is one message on its way.
type publication struct {
	exchange, key string
	message       amqp.Publishing

	ctx     context.Context // of the Send that waits
	written chan error      // tells, once, whether it has been written

	// Set before written tells nil.
	channel      *channel
	confirmation *amqp.DeferredConfirmation

	returned *amqp.Return // guarded by channel.mu
}

func newChannel(conn *amqp.Connection) (*channel, error) {
	ac, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	ch := &channel{amqp: ac, open: map[string][]*publication{}}
	ch.returns = ac.NotifyReturn(make(chan amqp.Return, maxUnsettled))
	ch.closes = ac.NotifyClose(make(chan *amqp.Error, 1))
	if err := ac.Confirm(false); err != nil {
		return nil, err
	}
	return ch, nil
}

func (ch *channel) unsettled() int {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.count
}

// publish writes p. The error is errNotWritten, or why p cannot be written at all.
func (ch *channel) publish(p *publication) error {
	id := p.message.MessageId
	ch.mu.Lock()
	ch.drain()
	ch.open[id] = append(ch.open[id], p)
	ch.count++
	ch.mu.Unlock()
	p.channel = ch
	var err error
	p.confirmation, err = ch.amqp.PublishWithDeferredConfirm(p.exchange, p.key, true, false, p.message)
	if err == nil {
		return nil
	}
	ch.mu.Lock()
	ch.remove(p)
	ch.mu.Unlock()
	if ch.amqp.IsClosed() {
		// The message is not complete without its last byte, which the client did not get to write.
		return errNotWritten
	}
	return err
}

// drain gives returned messages to those who wait for them. ch.mu is held.
func (ch *channel) drain() {
	for {
		select {
		case r, ok := <-ch.returns:
			if !ok {
				ch.returns = nil
				return
			}
			r.Body = nil
			for _, p := range ch.open[r.MessageId] {
				p.returned = &r
			}
		default:
			return
		}
	}
}

// remove takes p out of the unsettled ones. ch.mu is held.
func (ch *channel) remove(p *publication) {
	id := p.message.MessageId
	list := ch.open[id]
	for i := range list {
		if list[i] == p {
			list = append(list[:i], list[i+1:]...)
			ch.count--
			break
		}
	}
	if len(list) == 0 {
		delete(ch.open, id)
	} else {
		ch.open[id] = list
	}
}

// outcome is what became of a message.
type outcome struct {
	confirmed bool         // basic.ack; without it and without a reason it was basic.nack
	returned  *amqp.Return // the broker found no queue for it
	reason    *amqp.Error  // the channel was closed before the confirmation came
}

// settle tells what became of p, whose confirmation is there.
func (p *publication) settle() outcome {
	ch := p.channel
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.drain()
	ch.remove(p)
	out := outcome{confirmed: p.confirmation.Acked(), returned: p.returned}
	if !out.confirmed {
		out.reason = ch.closed()
	}
	return out
}

// closed is why the channel was closed, or nil when it is open. ch.mu is held.
func (ch *channel) closed() *amqp.Error {
	if ch.reason == nil {
		select {
		case e := <-ch.closes:
			ch.reason = e
		default:
		}
		if ch.reason == nil && ch.amqp.IsClosed() {
			ch.reason = amqp.ErrClosed
		}
	}
	return ch.reason
}

// forget lets nobody wait for p any more, and frees what is kept for it once the broker has confirmed it, or the
// connection is closed.
func (p *publication) forget() {
	if <-p.written != nil {
		return
	}
	<-p.confirmation.Done()
	p.settle()
}
