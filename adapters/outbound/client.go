package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

const (
	// MaxRead is how many bytes of an answer's body are read. The status of a longer answer counts as ever; the rest of
	// it is left unread and the connection is closed.
	MaxRead = 1 << 20

	defaultIdleTimeout = 30 * time.Second
	defaultMaxIdle     = 64
	maxConnAge         = 5 * time.Minute

	// inlineBody is the size up to which a body is copied behind its header and written together with it, in one
	// system call. Sockets take at least as much without waiting for the receiver to read. Larger bodies are written
	// beside the reading of the answer, because a receiver may refuse a body before it has read it.
	inlineBody = 64 << 10
	writeGrace = 100 * time.Millisecond
)

// Options say how a Client may reach its receiver. The zero value is good for the public internet.
type Options struct {
	Egress      []netip.Prefix // ranges that may be dialled although they are special (adapters.Env.Egress)
	Resolver    Resolver       // nil for the system's
	RootCAs     *x509.CertPool // nil for the system's
	IdleTimeout time.Duration  // how long a connection is kept unused; 0 means 30 s
	MaxIdle     int            // how many connections are kept unused; 0 means 64
	Redact      []string       // values that are cut out of receipts and errors, should the receiver repeat them
	Certificate bool           // receipts tell until when the receiver's certificate is valid (Receipt.CertificateEnds)
}

// Client posts to one host. It is safe for concurrent use. The zero value is not usable; see New.
type Client struct {
	*Dialer
	endpoint    *Endpoint
	tls         *tls.Config // nil for http
	redact      Redactor
	idleTimeout time.Duration
	maxIdle     int
	hostLine    string // "Host: hooks.example.com"
	certificate bool   // see Options

	mu      sync.Mutex
	idle    []*conn // a stack
	pruner  *time.Timer
	pruning bool
	closed  bool
}

// New makes a client for the host of e. It does not touch the network.
func New(e *Endpoint, opt Options) *Client {
	c := &Client{Dialer: NewDialer(opt.Egress), endpoint: e, tls: newTLSConfig(e, opt),
		redact:      NewRedactor(slices.Concat(opt.Redact, e.secrets)),
		idleTimeout: opt.IdleTimeout, maxIdle: opt.MaxIdle, hostLine: "Host: " + e.hostPort(), certificate: opt.Certificate}
	if opt.Resolver != nil {
		c.resolver = opt.Resolver
	}
	if c.idleTimeout <= 0 {
		c.idleTimeout = defaultIdleTimeout
	}
	if c.maxIdle <= 0 {
		c.maxIdle = defaultMaxIdle
	}
	return c
}

// Request is one request to the client's host.
type Request struct {
	Method  string        // "POST" when empty
	Target  string        // path and query; the endpoint's when empty
	Header  *Header       // lines besides Host and Content-Length; may be nil
	Body    []byte        // not modified, and not used after Do has returned
	Timeout time.Duration // for the whole exchange, besides the context's deadline; 0 for none
	Redact  Redactor      // as Options.Redact, for secrets that change: tokens
}

// Response is what came back.
type Response struct {
	adapters.Receipt
	Location string        // the header's value, for redirects and status resources
	After    time.Duration // Retry-After, with whatever status; Receipt.Retry has it of failures only
	Control  string        // the value of the header Webhook-Delivery, with which receivers steer a delivery
}

// exchange is the working memory of one call. It is pooled, so a call allocates only what its receipt keeps.
type exchange struct {
	c        *Client
	ctx      context.Context
	cn       *conn
	start    time.Time
	sent     time.Time // when the request was begun to be written
	deadline time.Time
	opening  opening
	answer   answer
	reader   bodyReader
	br       *bufio.Reader
	out      []byte // the request as written
	shown    []byte // header lines as receipts show them
	line     []byte // a header line that is longer than the reader's buffer
	body     []byte // the part of the answer that is kept
}

var exchanges = sync.Pool{New: func() any {
	return &exchange{br: bufio.NewReaderSize(nil, 4<<10), out: make([]byte, 0, 4<<10), shown: make([]byte, 0, 1<<10),
		body: make([]byte, 0, 4<<10)}
}}

// Do sends r once and reads the answer. Whatever status it has, an answer that was understood is no error; see Verdict
// for what statuses mean. When the answer began to arrive and could not be read to its end, the response holds what
// came (Code is not 0) and the error says why.
func (c *Client) Do(ctx context.Context, r Request) (Response, error) {
	x := exchanges.Get().(*exchange)
	x.c, x.ctx, x.start = c, ctx, time.Now()
	resp, err := x.do(r)
	x.c, x.ctx, x.cn, x.opening, x.answer = nil, nil, nil, opening{}, answer{}
	x.reader = bodyReader{}
	x.br.Reset(nil)
	exchanges.Put(x)
	r.Redact.answer(&resp)
	if err != nil {
		r.Redact.Clean(err)
		c.redact.Clean(err)
		return resp, err
	}
	return resp, nil
}

func (x *exchange) do(r Request) (Response, *adapters.Error) {
	if r.Method == "" {
		r.Method = "POST"
	}
	if r.Target == "" {
		r.Target = x.c.endpoint.Target
	}
	if err := checkRequest(r); err != nil {
		return Response{}, err
	}
	x.setDeadline(r.Timeout)
	if x.ctx.Err() != nil || !x.deadline.IsZero() && !x.deadline.After(x.start) {
		return Response{}, x.ended("before it began")
	}
	x.encode(r)
	for {
		if err := x.connect(); err != nil {
			return Response{Receipt: adapters.Receipt{Method: r.Method, URL: x.shownURL(r), ReqHeader: x.c.redact.Text(string(x.shown)),
				NotSent: true,
				Timing:  x.opening.timing, CertificateEnds: x.certificateEnds()}}, err
		}
		resp, again, err := x.roundTrip(r)
		if !again {
			return resp, err
		}
	}
}

func (x *exchange) setDeadline(timeout time.Duration) {
	x.deadline, _ = x.ctx.Deadline()
	if timeout > 0 {
		if d := x.start.Add(timeout); x.deadline.IsZero() || d.Before(x.deadline) {
			x.deadline = d
		}
	}
}

// connect takes a connection from the pool or opens one.
func (x *exchange) connect() *adapters.Error {
	if x.cn = x.c.take(x.start); x.cn != nil {
		return nil
	}
	ctx, cancel := x.ctx, context.CancelFunc(func() {})
	if !x.deadline.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, x.deadline)
	}
	var err *adapters.Error
	x.cn, err = x.c.dial(ctx, &x.opening)
	cancel()
	if err != nil && x.ctx.Err() == context.Canceled {
		return x.ended("while it was connecting")
	}
	return err
}

// certificateEnds is what the receipt tells of the receiver's certificate, when a connection was opened for it.
func (x *exchange) certificateEnds() time.Time {
	if !x.c.certificate || x.opening.timing.TLS == 0 {
		return time.Time{}
	}
	return x.opening.certificateEnds()
}

// encode writes the request into x.out, but for a body too large to be copied.
func (x *exchange) encode(r Request) {
	b := append(x.out[:0], r.Method...)
	b = append(b, ' ')
	b = append(b, r.Target...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = append(b, x.c.hostLine...)
	b = append(b, "\r\n"...)
	s := append(x.shown[:0], x.c.hostLine...)
	s = append(s, '\n')
	if len(r.Body) > 0 || r.Method != "GET" && r.Method != "HEAD" {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(r.Body)), 10)
		b = append(b, "\r\n"...)
		s = append(s, "Content-Length: "...)
		s = strconv.AppendInt(s, int64(len(r.Body)), 10)
		s = append(s, '\n')
	}
	if r.Header != nil {
		b = append(b, r.Header.wire...)
		s = append(s, r.Header.shown...)
	}
	b = append(b, "\r\n"...)
	if len(r.Body) <= inlineBody {
		b = append(b, r.Body...)
	}
	x.out, x.shown = b, s
}

// roundTrip sends the request on x.cn and reads the answer. again is true when nothing at all was sent, because the
// pooled connection had been closed after it was looked at, so that another one may be tried.
func (x *exchange) roundTrip(r Request) (resp Response, again bool, err *adapters.Error) {
	cn := x.cn
	keep := false
	cn.nc.SetDeadline(x.deadline)
	stop := func() bool { return true }
	// The connection has the deadline, so that only the end of what the attempt is part of has to be watched for.
	if whole := adapters.WithoutTimeout(x.ctx); whole.Done() != nil {
		stop = context.AfterFunc(whole, cn.abort)
	}
	defer func() {
		// When the context has ended meanwhile, the connection's deadline is being moved into the past by another
		// goroutine, so it cannot be used again.
		if stop() && keep {
			x.c.put(cn)
		} else {
			cn.nc.Close()
		}
	}()

	x.br.Reset(cn.nc)
	x.sent = time.Now()
	written, wait, writeErr := x.write(r.Body)
	if writeErr != nil && written == 0 && cn.reused && x.c.tls == nil && !isTimeout(writeErr) {
		return Response{}, true, nil
	}
	resp.Method, resp.URL, resp.ReqHeader = r.Method, x.shownURL(r), x.c.redact.Text(string(x.shown))
	resp.Timing, resp.CertificateEnds = x.opening.timing, x.certificateEnds()
	x.opening.timing = adapters.Timing{}
	if writeErr != nil {
		if short := adapters.AsShortage(writeErr); short != nil {
			return resp, false, short
		}
	}

	// The answer is read although writing may have failed: a receiver that refuses a body says so and closes.
	err = x.read(&resp, r.Method == "HEAD")
	if wait != nil {
		// A body that is still being written when the answer is complete was not wanted, but for the moment that the
		// writing goroutine needs to say that it is done. Closing ends the writing.
		grace := time.NewTimer(writeGrace)
		select {
		case writeErr = <-wait:
		case <-grace.C:
			x.answer.reusable = false
			cn.nc.Close()
			writeErr = <-wait
		}
		grace.Stop()
	}
	if err != nil || resp.Code >= 300 {
		resp.Log = x.steps(&resp, len(r.Body))
	}
	if err != nil {
		return resp, false, err
	}
	keep = writeErr == nil && x.answer.reusable && x.br.Buffered() == 0
	cn.idleLimit = x.answer.keepAlive
	return resp, false, nil
}

// write sends the request, but for a large body, which is written beside the reading; its end is told on the channel.
func (x *exchange) write(body []byte) (int, chan error, error) {
	n, err := x.cn.nc.Write(x.out)
	if err != nil || len(body) <= inlineBody {
		return n, nil, err
	}
	return n, writeBeside(x.cn.nc, body), nil
}

func writeBeside(nc net.Conn, body []byte) chan error {
	done := make(chan error, 1)
	go func() {
		_, err := nc.Write(body)
		done <- err
	}()
	return done
}

func (x *exchange) shownURL(r Request) string {
	if r.Target == x.c.endpoint.Target {
		return x.c.endpoint.shown
	}
	return x.c.endpoint.withTarget(r.Target)
}

// checkRequest refuses what would change the meaning of the request line or the header.
func checkRequest(r Request) *adapters.Error {
	var err error
	if r.Header != nil {
		err = r.Header.err
	}
	for i := 0; i < len(r.Target) && err == nil; i++ {
		if c := r.Target[i]; c <= ' ' || c >= 0x7f {
			err = errBadTarget
		}
	}
	if err == nil && (!ValidName(r.Method) || r.Target[0] != '/') {
		err = errBadTarget
	}
	if err == nil {
		return nil
	}
	return &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassConfig,
		Message: "The request could not be written, so nothing was sent.",
		Advice:  "Check the event's id and topic, and the destination's custom headers, for control characters.", Raw: err.Error()}
}
