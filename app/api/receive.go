package api

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/waybill-dev/waybill/models"
)

// The server hands a request to its handler when the header is here and a first byte of its body, or the whole of a small
// one (StreamRequestBody). What is larger is read only for those who may send it, into memory that grows with what has come,
// out of one budget: a header that announces much costs nothing.

// How large a request's body may be, in bytes.
const (
	arrived  = 8 << 10 // what is read before anybody looks who sends it; fasthttp reads no more than this
	maxBody  = 8 << 20 // where batches or payloads are: a batch of a thousand events of a kilobyte and a bit, or one of the largest
	maxOther = 1 << 20 // for other requests of those who have a key
	MaxForm  = arrived // for those who have not logged in
)

const (
	maxBodies = 128 << 20 // what bodies may take up together while they are read and answered
	largeBody = 64 << 10  // from which size on their memory is given back at once rather than kept for the next
	leastRate = 16 << 10  // bytes a second, after READ_TIMEOUT, below which a body is given up
)

// MaxBody bounds the body of a request with payloads.
func (a *API) MaxBody() int { return max(maxBody, 2*a.Store.Rules().MaxPayload) }

// MostBody is what MaxBody can become while the server runs.
func (a *API) MostBody() int { return max(maxBody, 2*models.MostPayload) }

// bodyBudget counts what bodies take up.
type bodyBudget struct{ held atomic.Int64 }

func (b *bodyBudget) take(n int) error {
	if b.held.Add(int64(n)) > maxBodies {
		b.held.Add(-int64(n))
		return &models.Error{Kind: models.KindUnavailable, Message: "The server has no room for another request. Try again.",
			RetryAfter: time.Second}
	}
	return nil
}

// bodyPool keeps memory for bodies that do not come with the header.
var bodyPool = sync.Pool{New: func() any { b := make([]byte, 0, largeBody); return &b }}

// Received is a request's body in memory, which Done gives back.
type Received struct {
	api  *API
	size int
	buf  *[]byte // from the pool; nil for the connection's own
}

// Done gives back what a body took up, once its request is answered.
func (r Received) Done(c *fiber.Ctx) {
	if r.size == 0 {
		return
	}
	c.Request().ReleaseBody(largeBody)
	r.api.bodies.held.Add(-int64(r.size))
	if r.buf != nil {
		bodyPool.Put(r.buf)
	}
}

// Here reports whether a request's body came with its header, or there is none.
func Here(c *fiber.Ctx) bool {
	n := c.Request().Header.ContentLength()
	return !c.Request().IsBodyStream() || n >= 0 && n <= arrived
}

// refusedBody is the header that stands for a body that is too large for any address.
const refusedBody = "Waybill-Refused-Body"

// HeaderReceived tells fasthttp how much of a body to wait for before the handler is called. A body that is too large for any
// address is not waited for at all.
func (a *API) HeaderReceived(h *fasthttp.RequestHeader) (conf fasthttp.RequestConfig) {
	switch n := h.ContentLength(); {
	case n > a.MaxBody():
		h.Set(refusedBody, "1")
		h.SetContentLength(0)
		h.SetConnectionClose() // what comes of it would be taken for a request
	case n > arrived:
		conf.MaxRequestBodySize = 1
	}
	return conf
}

// RefusedBody is the error of a body that is too large for any address; nil for others.
func (a *API) RefusedBody(c *fiber.Ctx) error {
	if len(c.Request().Header.Peek(refusedBody)) == 0 {
		return nil
	}
	c.Context().SetConnectionClose()
	return tooLarge(a.MaxBody())
}

// Receive reads a request's body of at most limit bytes, where c.Body and the like find it then. Whoever calls it has
// looked who is asking, unless the body is Here or the limit is small. The Received is to be given back in any case.
func (a *API) Receive(c *fiber.Ctx, limit int) (r Received, err error) {
	if !c.Request().IsBodyStream() {
		return r, nil
	}
	r.api = a
	if Here(c) {
		size := len(c.Request().Body())
		if err := a.bodies.take(size); err != nil {
			return r, err
		}
		r.size = size
		return r, nil
	}
	announced := c.Request().Header.ContentLength() // -1 where it comes in chunks
	if announced > limit {
		return r, tooLarge(limit)
	}
	var b []byte
	if limit <= arrived { // of anybody: what the budget is kept for must not wait for it
		b = make([]byte, 0, limit+1)
	} else {
		if err := a.bodies.take(largeBody); err != nil {
			return r, err
		}
		r.buf, r.size = bodyPool.Get().(*[]byte), largeBody
		b = (*r.buf)[:0]
	}
	pace := newPace(c, a.Cfg.ReadTimeout)
	for stream := c.Context().RequestBodyStream(); ; {
		if len(b) == cap(b) {
			n := min(2*cap(b), limit+1)
			if announced > 0 {
				n = min(n, announced+1) // one more, to see that it ends
			}
			if err := a.bodies.take(n - cap(b)); err != nil {
				return r, err
			}
			r.size += n - cap(b)
			b = append(make([]byte, 0, n), b...)
		}
		if err := pace.next(len(b)); err != nil {
			return r, err
		}
		n, err := stream.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > limit:
			return r, tooLarge(limit)
		case errors.Is(err, io.EOF):
			c.Request().SetBodyRaw(b)
			return r, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.Context().SetConnectionClose() // and Discard need not wait for more
			return r, pace.late()
		case err != nil:
			return r, &models.Error{Kind: models.KindMalformed,
				Message: "The body ends before it is complete, or its chunks cannot be read."}
		}
	}
}

// ReceiveFor makes a handler that receives a request's body. Who sends more than comes with the header must have the route's
// permission before any of it is read.
func (a *API) ReceiveFor(r route) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if !c.Request().IsBodyStream() {
			return c.Next()
		}
		limit := maxOther
		if r.About.payload {
			limit = a.MaxBody()
		}
		if r.Perm == "" {
			limit = arrived
		} else if !Here(c) {
			ctx, cancel := CallContext()
			call, err := a.APICall(ctx, c, r.Perm)
			cancel()
			if err != nil {
				return err
			}
			c.Locals(callLocal, call)
		}
		body, err := a.Receive(c, limit)
		defer body.Done(c)
		if err != nil {
			return err
		}
		return c.Next()
	}
}

func tooLarge(limit int) error {
	return &models.Error{Kind: models.KindTooLarge, Message: fmt.Sprintf("The body is too large: this address takes at most %d KiB.",
		limit>>10)}
}

// pace says until when the next bytes of a body must have come: neither may it pause for long, nor trickle for ever.
type pace struct {
	conn    interface{ SetReadDeadline(time.Time) error }
	began   time.Time
	timeout time.Duration
}

func newPace(c *fiber.Ctx, timeout time.Duration) pace {
	return pace{c.Context().Conn(), time.Now(), timeout}
}

// next allows for more bytes after so many.
func (p pace) next(got int) error {
	pause := time.Now().Add(p.timeout / 2)
	whole := p.began.Add(p.timeout + time.Duration(got)*time.Second/leastRate)
	if whole.Before(pause) {
		pause = whole
	}
	return p.conn.SetReadDeadline(pause)
}

func (p pace) late() error {
	return &models.Error{Kind: models.KindTimeout,
		Message: fmt.Sprintf("The body did not come in time: within %s and a second for every %d KiB of it, without a pause of %s.",
			models.Duration(p.timeout), leastRate>>10, models.Duration(p.timeout/2))}
}

// How much of an unwanted body is read, so that its sender gets to read the answer. Nothing of it is kept.
const (
	maxDiscarded  = 32 << 20
	discardedFor  = time.Second
	discardBuffer = 8 << 10
)

var discardPool = sync.Pool{New: func() any { b := make([]byte, discardBuffer); return &b }}

// Discard reads the rest of a request's body after the answer. Where the rest does not come at once it closes the connection,
// for later bytes would be taken for a request.
func Discard(fc *fasthttp.RequestCtx) {
	if !fc.Request.IsBodyStream() || fc.Response.Header.ConnectionClose() {
		return
	}
	buf := discardPool.Get().(*[]byte)
	defer discardPool.Put(buf)
	_ = fc.Conn().SetReadDeadline(time.Now().Add(discardedFor)) // without one, reading it fails
	stream := fc.RequestBodyStream()
	for got := 0; got < maxDiscarded; {
		n, err := stream.Read(*buf)
		if got += n; errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			break
		}
	}
	fc.SetConnectionClose()
}
