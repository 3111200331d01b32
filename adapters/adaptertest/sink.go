package adaptertest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// patience is how long helpers wait for something that is bound to happen: longer than a busy machine takes.
const patience = 2 * time.Minute

// Env lets senders reach this machine, where the fakes are.
func Env() adapters.Env {
	return adapters.Env{UserAgent: "Waybill/test", Egress: []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
}

// ClosedPort is an address of this machine on which nothing listens.
func ClosedPort(tb testing.TB) string {
	tb.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// Answer says what a Sink does with one request. The zero value answers 200 without a body.
type Answer struct {
	Status  int             // 0 means 200
	Header  []string        // lines "Name: value", besides Content-Length
	Body    string          // sent with a Content-Length, or in chunks
	Chunked bool            // send the body in chunks
	Raw     string          // sent as it is instead of all of the above
	Repeat  bool            // send the request back: its header lines with "Echo-" before them, and all of it as the body
	Early   bool            // answer when the header has come; do not read the body, and keep the connection unless Close
	Wait    <-chan struct{} // answer only when this is closed, or not at all if the client goes away before
	Hang    bool            // never answer; the client has to go away
	Drip    time.Duration   // send the answer byte by byte, with a pause before each
	Close   bool            // close the connection after the answer; without a status and a body, instead of answering
	Reset   bool            // reset the connection instead of closing it

	// Read decides instead of all of the above when the body has been read as well; nil where the header is enough.
	Read func(*SinkRequest) Answer
}

// SinkRequest is one request as it arrived.
type SinkRequest struct {
	Raw    []byte // byte for byte, header and body
	Method string
	Target string // of the request line
	Host   string
	Header http.Header // by canonical name
	Lines  []string    // of the header, in order, as they came
	Body   []byte
	Conn   int // number of the connection, from 1
}

// Sink is an HTTP/1.1 server that records what it gets byte for byte and answers as it was told, also in ways in which
// no decent server would.
type Sink struct {
	tb       testing.TB
	ln       net.Listener
	tls      *tls.Config
	roots    *x509.CertPool
	greeting []byte
	stop     chan struct{}

	mu       sync.Mutex
	changed  *sync.Cond
	script   func(*SinkRequest) Answer
	requests []SinkRequest
	conns    map[*sinkConn]bool
	accepted int
}

type sinkConn struct {
	net.Conn
	number int
	idle   bool // between two requests
}

// NewSink starts a sink that gives these answers in turn, the last one again and again; without any it answers 200. It
// stops with the test.
func NewSink(tb testing.TB, answers ...Answer) *Sink {
	tb.Helper()
	return startSink(tb, &Sink{}, answers)
}

// NewGreeter starts a sink that speaks first, as servers of other protocols do.
func NewGreeter(tb testing.TB, greeting string) *Sink {
	tb.Helper()
	return startSink(tb, &Sink{greeting: []byte(greeting)}, nil)
}

func startSink(tb testing.TB, s *Sink, answers []Answer) *Sink {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s.tb, s.ln, s.conns, s.stop = tb, ln, map[*sinkConn]bool{}, make(chan struct{})
	s.changed = sync.NewCond(&s.mu)
	s.Answer(answers...)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.serve(nc) })
		}
	})
	tb.Cleanup(func() {
		ln.Close()
		close(s.stop)
		s.mu.Lock()
		for c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		running.Wait()
	})
	return s
}

// Answer replaces the answers that are still to be given.
func (s *Sink) Answer(answers ...Answer) {
	if len(answers) == 0 {
		answers = []Answer{{}}
	}
	var mu sync.Mutex
	s.AnswerWith(func(*SinkRequest) Answer {
		mu.Lock()
		defer mu.Unlock()
		a := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		return a
	})
}

// AnswerWith lets f decide about every request from now on. The body has not been read when f is called.
func (s *Sink) AnswerWith(f func(*SinkRequest) Answer) {
	s.mu.Lock()
	s.script = f
	s.mu.Unlock()
}

// URL is the address of a path on the sink.
func (s *Sink) URL(path string) string {
	scheme := "http"
	if s.tls != nil {
		scheme = "https"
	}
	return scheme + "://" + s.Addr().String() + path
}

// Addr is where the sink listens.
func (s *Sink) Addr() netip.AddrPort { return s.ln.Addr().(*net.TCPAddr).AddrPort() }

// Roots holds the authority of a TLS sink's certificate.
func (s *Sink) Roots() *x509.CertPool { return s.roots }

// Requests is what has arrived, whole, so far.
func (s *Sink) Requests() []SinkRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// WaitRequests waits until at least n requests have arrived and returns them all.
func (s *Sink) WaitRequests(n int) []SinkRequest {
	s.tb.Helper()
	s.await(fmt.Sprintf("%d requests", n), func() bool { return len(s.requests) >= n })
	return s.Requests()
}

// Accepted is how many connections have been opened so far.
func (s *Sink) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Open is how many connections are open now, as far as the sink has noticed.
func (s *Sink) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// CloseIdle closes every connection that is between two requests, as servers do when they have waited long enough. It
// waits until there is one, and returns when the closing has been handed to the network.
func (s *Sink) CloseIdle() {
	s.tb.Helper()
	s.await("an idle connection", func() bool {
		found := false
		for c := range s.conns {
			if c.idle {
				c.Close()
				found = true
			}
		}
		return found
	})
}

func (s *Sink) await(what string, ready func() bool) {
	s.tb.Helper()
	late := false
	timer := time.AfterFunc(patience, func() {
		s.mu.Lock()
		late = true
		s.changed.Broadcast()
		s.mu.Unlock()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !ready() {
		if late {
			s.tb.Fatalf("the sink waited in vain for %s", what)
		}
		s.changed.Wait()
	}
}

func (s *Sink) update(f func()) {
	s.mu.Lock()
	f()
	s.changed.Broadcast()
	s.mu.Unlock()
}

func (s *Sink) serve(nc net.Conn) {
	if s.tls != nil {
		nc = tls.Server(nc, s.tls)
	}
	c := &sinkConn{Conn: nc}
	s.update(func() {
		s.accepted++
		c.number = s.accepted
		s.conns[c] = true
	})
	defer s.update(func() {
		c.Close()
		delete(s.conns, c)
	})
	if s.greeting != nil {
		c.Write(s.greeting)
	}
	var raw bytes.Buffer
	br := bufio.NewReader(io.TeeReader(c, &raw))
	for first := true; ; first = false {
		if !first {
			s.update(func() { c.idle = true })
		}
		if _, err := br.Peek(1); err != nil {
			return
		}
		s.update(func() { c.idle = false })
		if !s.one(c, br, &raw) {
			return
		}
		raw.Reset()
		head, _ := br.Peek(br.Buffered())
		raw.Write(head)
	}
}

// one handles one request; it returns whether the connection lives on.
func (s *Sink) one(c *sinkConn, br *bufio.Reader, raw *bytes.Buffer) bool {
	req, err := http.ReadRequest(br)
	if err != nil {
		return false
	}
	r := SinkRequest{Method: req.Method, Target: req.RequestURI, Host: req.Host, Header: req.Header, Conn: c.number}
	head, _, _ := bytes.Cut(raw.Bytes(), []byte("\r\n\r\n"))
	r.Lines = strings.Split(string(head), "\r\n")[1:]
	s.mu.Lock()
	script := s.script
	s.mu.Unlock()
	answer := script(&r)
	if !answer.Early {
		if r.Body, err = io.ReadAll(req.Body); err != nil {
			return false
		}
		r.Raw = bytes.Clone(raw.Bytes()[:raw.Len()-br.Buffered()])
	}
	if answer.Read != nil {
		answer = answer.Read(&r)
	}
	if answer.Repeat {
		answer.Header = slices.Clone(answer.Header)
		for _, line := range r.Lines {
			answer.Header = append(answer.Header, "Echo-"+line)
		}
		answer.Body = string(r.Raw)
	}
	s.update(func() { s.requests = append(s.requests, r) })
	alive := s.respond(c, br, answer)
	if answer.Early && !answer.Close {
		<-s.stop
	}
	return alive
}

func (s *Sink) respond(c *sinkConn, br *bufio.Reader, a Answer) bool {
	if a.Hang || a.Wait != nil {
		// The client sends nothing meanwhile, so reading returns only when it goes away.
		gone := make(chan struct{})
		if a.Hang {
			br.Peek(1)
			return false
		}
		go func() {
			br.Peek(1)
			close(gone)
		}()
		select {
		case <-a.Wait:
			c.SetReadDeadline(time.Unix(1, 0))
			<-gone
			c.SetReadDeadline(time.Time{})
		case <-gone:
			return false
		}
	}
	out := a.render()
	if a.Drip > 0 {
		tick := time.NewTicker(a.Drip)
		defer tick.Stop()
		for i := range out {
			<-tick.C
			if _, err := c.Write(out[i : i+1]); err != nil {
				return false
			}
		}
	} else if len(out) > 0 {
		if _, err := c.Write(out); err != nil {
			return false
		}
	}
	if a.Reset {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		return false
	}
	return !a.Close && !a.Early
}

func (a Answer) render() []byte {
	if a.Raw != "" || a.Reset || a.Status == 0 && a.Close && a.Body == "" {
		return []byte(a.Raw)
	}
	if a.Status == 0 {
		a.Status = 200
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", a.Status, http.StatusText(a.Status))
	for _, line := range a.Header {
		b.WriteString(line + "\r\n")
	}
	if !a.Chunked {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(a.Body), a.Body)
		return b.Bytes()
	}
	b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	for part := range slices.Chunk([]byte(a.Body), 1000) {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
	}
	b.WriteString("0\r\n\r\n")
	return b.Bytes()
}
