package awsconf

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/gather"
)

// Outcome is what became of one message of a call that was answered.
type Outcome struct {
	Receipt adapters.Receipt
	Err     *adapters.Error // nil when the message was taken
}

// Batch sends messages in calls of several. E is a service's entry in such a call.
type Batch[E any] struct {
	c *Client
	g *gather.Gatherer[E, Outcome]
}

// Limits are those of a service's call.
type Limits[E any] struct {
	Items, Bytes int
	Size         func(E) int
	// Ordered makes one call at a time, so that messages arrive in the order in which they were handed over.
	Ordered bool
}

// parallel is how many calls are under way at most, and eager how many of them are made for less than a full one. More of
// these would mean more and smaller calls, which cost more and bring less.
const (
	parallel = 8
	eager    = 2
)

// NewBatch makes a Batch that sends with call, which returns an outcome for each entry in their order; an error is that
// of the whole call, a *CallError.
func NewBatch[E any](c *Client, l Limits[E], call func(context.Context, []E) ([]Outcome, error)) *Batch[E] {
	cfg := gather.Config[E, Outcome]{Items: l.Items, Bytes: l.Bytes, Size: l.Size, Calls: parallel, Eager: eager, Call: call,
		Divide: mayBeOne}
	if l.Ordered {
		cfg.Calls, cfg.Eager = 1, 1
	}
	return &Batch[E]{c: c, g: gather.New(cfg)}
}

// Send sends one message, together with those that others send meanwhile.
func (b *Batch[E]) Send(ctx context.Context, entry E) (adapters.Receipt, error) {
	ctx, cancel := b.c.Deadline(ctx)
	defer cancel()
	out, err := b.g.Do(ctx, entry)
	var (
		fail  *CallError
		ended *gather.EndedError
	)
	switch {
	case errors.As(err, &fail):
		out = Outcome{fail.Receipt, fail.Fault}
	case errors.As(err, &ended) && !ended.Sent && errors.Is(err, context.DeadlineExceeded):
		out.Err = &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassTimeout, Raw: err.Error(),
			Message: fmt.Sprintf("The time limit of this attempt was reached while earlier calls to %s were under way.", b.c.endpoint.Host),
			Advice:  "It will be retried; check whether the service answers slowly, or raise the destination's timeout."}
	case errors.As(err, &ended):
		out.Err = b.c.explain(&Exchange{}, err)
	case err != nil:
		out.Err = adapters.AsError(errors.New(b.c.clip(err.Error())))
	}
	if out.Err != nil {
		return out.Receipt, out.Err
	}
	return out.Receipt, nil
}

// Close ends what is under way and closes the connections.
func (b *Batch[E]) Close() {
	b.g.Close()
	b.c.Close()
}

// Taken is the outcome of a message that the service took.
func (c *Client) Taken(operation string, x *Exchange, said any) Outcome {
	return Outcome{Receipt: c.Receipt(operation, x, said)}
}

// Entry is the outcome of a message that was refused, alone, in an answer to a call that succeeded. The receipt has no
// status, since that of the call is not about this message.
func (c *Client) Entry(operation string, x *Exchange, code, text string) Outcome {
	o := Outcome{Receipt: c.Receipt(operation, x, Answer{Error: c.clip(code), Message: c.clip(text), RequestID: c.clip(x.RequestID)}),
		Err: c.Refused(code, text, Exchange{RetryAfter: x.RetryAfter})}
	o.Receipt.Code = 0
	return o
}

// InOrder makes the outcomes of a call whose answer has a result for each of n entries, in their order. each returns the
// code and the text with which one was refused, or empty ones and what is to be kept of its being taken; nil for nothing.
func (c *Client) InOrder(operation string, x *Exchange, n, results int, each func(i int) (code, text *string, said any)) []Outcome {
	outcomes := make([]Outcome, n)
	for i := range outcomes {
		outcomes[i] = c.Silent(operation, x)
		if results != n {
			continue
		}
		if code, text, said := each(i); code != nil && *code != "" {
			if text == nil {
				text = new(string)
			}
			outcomes[i] = c.Entry(operation, x, *code, *text)
		} else if said != nil {
			outcomes[i] = c.Taken(operation, x, said)
		}
	}
	return outcomes
}

// Silent is the outcome of a message about which the answer says nothing.
func (c *Client) Silent(operation string, x *Exchange) Outcome {
	return Outcome{Receipt: c.Receipt(operation, x, Answer{RequestID: c.clip(x.RequestID)}),
		Err: &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassProtocol,
			Message: fmt.Sprintf("%s answered, but not for this message.", c.Resource.Service),
			Advice:  "It will be retried; check the endpoint if it stays."}}
}

// TooLarge refuses a message before it is sent.
func (c *Client) TooLarge(size, limit int) *adapters.Error {
	return &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassTooLarge, Advice: c.Resource.Limit,
		Message: fmt.Sprintf("The message has %d bytes, and %s takes %d at most, so it was not sent.", size, c.Resource.Service, limit)}
}

// Unfit refuses a message before it is sent, for something that the service is known not to take.
func Unfit(message, advice string) *adapters.Error {
	return &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassRejected, Message: message, Advice: advice}
}
