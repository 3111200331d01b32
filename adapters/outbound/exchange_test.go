package outbound

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

func TestRequestAsSent(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t, adaptertest.Answer{Status: 201, Header: []string{"X-A: b", "Set-Cookie: id=1"}, Body: "thanks"})
	c := client(t, s, Options{})
	h := new(Header)
	h.AddPublic("webhook-id", "evt_1")
	h.Add("Authorization", "Bearer abc")
	r, err := c.Do(deadline(t, time.Minute), Request{Header: h, Body: []byte(`{"a": 1}`)})
	if err != nil {
		t.Fatal(err)
	}
	host := s.Addr().String()
	want := "POST /hook?a=b HTTP/1.1\r\nHost: " + host +
		"\r\nContent-Length: 8\r\nwebhook-id: evt_1\r\nAuthorization: Bearer abc\r\n\r\n{\"a\": 1}"
	if got := string(s.Requests()[0].Raw); got != want {
		t.Errorf("sent %q", got)
	}
	if r.Code != 201 || r.Method != "POST" || r.URL != s.URL("/hook?a=b") || string(r.Body) != "thanks" || r.Truncated {
		t.Errorf("receipt %+v", r)
	}
	if want := "Host: " + host + "\nContent-Length: 8\nwebhook-id: evt_1\nAuthorization: ***\n"; r.ReqHeader != want {
		t.Errorf("request header %q", r.ReqHeader)
	}
	if want := "X-A: b\nSet-Cookie: ***\nContent-Length: 6\n"; r.RespHeader != want {
		t.Errorf("response header %q", r.RespHeader)
	}
	if r.Timing.Connect <= 0 || r.Timing.FirstByte <= 0 || r.Timing.DNS != 0 || r.Timing.TLS != 0 {
		t.Errorf("timing %+v", r.Timing)
	}
}

func TestOtherMethodsAndTargets(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t, adaptertest.Answer{Body: "x"}, adaptertest.Answer{Raw: "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"},
		adaptertest.Answer{})
	c := client(t, s, Options{})
	r, err := c.Do(deadline(t, time.Minute), Request{Method: "GET", Target: "/status?key=hush"})
	if err != nil || r.URL != s.URL("/status?key=***") || strings.Contains(r.ReqHeader, "Content-Length") {
		t.Errorf("%+v %v", r, err)
	}
	// The answer to HEAD names a length and has no body.
	if r, err = c.Do(deadline(t, time.Minute), Request{Method: "HEAD"}); err != nil || r.Code != 200 || r.Body != nil {
		t.Errorf("%+v %v", r, err)
	}
	mustPost(t, c, "")
	if got := s.Requests(); got[2].Header.Get("Content-Length") != "0" || s.Accepted() != 1 {
		t.Errorf("%v on %d connections", got[2].Lines, s.Accepted())
	}
	for _, bad := range []Request{{Target: "/a b"}, {Target: "/\r\nX: y"}, {Target: "x"}, {Method: "A B"},
		{Method: "GET /x HTTP/1.1\r\n"}} {
		if _, err := c.Do(context.Background(), bad); adapters.AsError(err).Kind != adapters.KindPermanent {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	h := new(Header)
	h.Add("x", "a\r\nb")
	if _, err := c.Do(context.Background(), Request{Header: h}); adapters.AsError(err).Class != adapters.ClassConfig {
		t.Errorf("a broken header was sent: %v", err)
	}
	if n := len(s.Requests()); n != 3 {
		t.Errorf("%d requests arrived", n)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]adaptertest.Answer{
		"length": {Body: "abc"}, "chunked": {Body: strings.Repeat("x", 5000), Chunked: true}, "empty": {},
		"no content":   {Raw: "HTTP/1.1 204 No Content\r\n\r\n"},
		"not modified": {Raw: "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"}, "failing": {Status: 500, Body: "oh"},
		"long": {Body: strings.Repeat("y", 300<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := adaptertest.NewSink(t, answer)
			c := client(t, s, Options{})
			for i := range 5 {
				r := mustPost(t, c, fmt.Sprint(i))
				if i > 0 && (r.Timing.Connect != 0 || r.Timing.FirstByte <= 0) {
					t.Errorf("timing of a reused connection: %+v", r.Timing)
				}
			}
			if n := s.Accepted(); n != 1 {
				t.Errorf("5 posts took %d connections", n)
			}
		})
	}
}

func TestConnectionsThatMustNotBeReused(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"close":            "HTTP/1.1 200 OK\r\nConnection: Keep-Alive, Close\r\nContent-Length: 0\r\n\r\n",
		"http/1.0":         "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"left over":        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
		"length and chunk": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := adaptertest.NewSink(t, adaptertest.Answer{Raw: raw})
			c := client(t, s, Options{})
			for range 3 {
				if r := mustPost(t, c, "x"); r.Code != 200 {
					t.Errorf("status %d", r.Code)
				}
			}
			if n := s.Accepted(); n != 3 {
				t.Errorf("3 posts took %d connections", n)
			}
		})
	}
}

// A receiver may close an idle connection at any time. The next post must neither fail for that nor arrive twice.
func TestIdleConnectionClosedByReceiver(t *testing.T) {
	t.Parallel()
	for name, sink := range map[string]*adaptertest.Sink{"plain": adaptertest.NewSink(t),
		"tls": adaptertest.NewTLSSink(t, adaptertest.Certificate{})} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, sink, Options{})
			const posts = 20
			for i := range posts {
				if i > 0 {
					sink.CloseIdle()
				}
				mustPost(t, c, fmt.Sprintf("%q", fmt.Sprint(i)))
			}
			if got := len(sink.Requests()); got != posts {
				t.Errorf("%d requests arrived, %d were posted", got, posts)
			}
		})
	}
}

// An answer to nothing that lies on an idle connection must not become the answer of the next post.
func TestUnsolicitedAnswerIsNotTaken(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	conns := make(chan net.Conn, 2)
	go func() {
		for i := range 2 {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			nc.Read(buf)
			fmt.Fprintf(nc, "HTTP/1.1 %d OK\r\nContent-Length: 0\r\n\r\n", 200+i)
			conns <- nc
		}
	}()
	c := clientFor(t, "http://"+ln.Addr().String(), Options{}, nil)
	mustPost(t, c, "1")
	nc := <-conns
	nc.Write([]byte("HTTP/1.1 299 Stale\r\nContent-Length: 0\r\n\r\n"))
	if r := mustPost(t, c, "2"); r.Code != 201 {
		t.Errorf("the second post was answered with %d", r.Code)
	}
	nc.Close()
	(<-conns).Close()
}

// When the connection is lost after the request was written, nobody knows whether the receiver worked on it, so it is
// not sent again.
func TestNoSecondSendAfterLostConnection(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]adaptertest.Answer{"closed": {Close: true}, "reset": {Reset: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := adaptertest.NewSink(t, adaptertest.Answer{}, lost, adaptertest.Answer{})
			c := client(t, s, Options{})
			mustPost(t, c, "first")
			r, err := post(t, c, "second")
			e := wantError(t, err, adapters.ClassConnect, "without an answer")
			if e.Kind != adapters.KindTransient || r.Code != 0 || r.ReqHeader == "" {
				t.Errorf("%+v %+v", e, r)
			}
			mustPost(t, c, "third")
			var bodies []string
			for _, got := range s.Requests() {
				bodies = append(bodies, string(got.Body))
			}
			if fmt.Sprint(bodies) != "[first second third]" {
				t.Errorf("arrived: %v", bodies)
			}
		})
	}
}

func TestKeepAliveHeaderLimitsIdleTime(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t, adaptertest.Answer{Header: []string{"Keep-Alive: timeout=5, max=100"}})
	c := client(t, s, Options{})
	mustPost(t, c, "x")
	c.mu.Lock()
	cn := c.idle[0]
	c.mu.Unlock()
	if cn.idleLimit != 4*time.Second {
		t.Errorf("idle limit %v", cn.idleLimit)
	}
	if c.take(cn.idleSince.Add(4*time.Second)) != nil {
		t.Error("the connection was taken when the receiver was about to close it")
	}
	for in, want := range map[string]time.Duration{"timeout=1": 500 * time.Millisecond, "max=3": 0, `Timeout="20"`: 19 * time.Second,
		"timeout=x": 0, "": 0} {
		if got := parseKeepAlive([]byte(in)); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t)
	c := client(t, s, Options{IdleTimeout: 30 * time.Millisecond})
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { mustPost(t, c, "x") })
	}
	both.Wait()
	adaptertest.Eventually(t, "all idle connections to be closed", func() bool { return s.Open() == 0 })
	mustPost(t, c, "y")
	adaptertest.Eventually(t, "the pruner to run again", func() bool { return s.Open() == 0 })
}

func TestPoolLimitsAndClose(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := adaptertest.NewSink(t, adaptertest.Answer{Wait: hold})
	c := client(t, s, Options{MaxIdle: 2})
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() { mustPost(t, c, "x") })
	}
	s.WaitRequests(5)
	close(hold)
	all.Wait()
	adaptertest.Eventually(t, "the surplus to be closed", func() bool { return s.Open() == 2 })

	again := make(chan struct{})
	s.Answer(adaptertest.Answer{Wait: again})
	all.Go(func() { mustPost(t, c, "in flight") })
	s.WaitRequests(6)
	c.Close()
	close(again)
	all.Wait()
	adaptertest.Eventually(t, "everything to be closed", func() bool { return s.Open() == 0 })
	old := clientFor(t, s.URL("/"), Options{}, s)
	mustPost(t, old, "x")
	cn := old.take(time.Now())
	cn.opened = cn.opened.Add(-maxConnAge - time.Second)
	old.put(cn)
	if old.take(time.Now()) != nil {
		t.Error("a connection was kept beyond its age")
	}
}

func TestConcurrentPosts(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t)
	s.AnswerWith(func(r *adaptertest.SinkRequest) adaptertest.Answer {
		return adaptertest.Answer{Body: r.Header.Get("N"), Header: []string{"N: " + r.Header.Get("N")}}
	})
	c := client(t, s, Options{})
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 50 {
				n := fmt.Sprintf("%d-%d", g, i)
				h := AcquireHeader(nil)
				h.AddPublic("N", n)
				r, err := c.Do(deadline(t, time.Minute), Request{Header: h, Body: []byte(n)})
				ReleaseHeader(h)
				if err != nil || string(r.Body) != n || !strings.HasPrefix(r.RespHeader, "N: "+n+"\n") ||
					!strings.Contains(r.ReqHeader, "N: "+n+"\n") {
					t.Errorf("%s: %+v %v", n, r, err)
				}
			}
		})
	}
	all.Wait()
	if got, conns := len(s.Requests()), s.Accepted(); got != 400 || conns > 8 {
		t.Errorf("%d requests on %d connections", got, conns)
	}
}

func TestTargetsKeepTheirAddress(t *testing.T) {
	t.Parallel()
	// The literal is what is dialled: no name is asked for.
	s := adaptertest.NewSink(t)
	c := client(t, s, Options{Resolver: names{}})
	mustPost(t, c, "x")
	if got := s.Requests()[0].Host; got != s.Addr().String() {
		t.Errorf("Host is %s", got)
	}
}

// brokenConn fails its first write after n bytes.
type brokenConn struct {
	net.Conn
	n int
}

func (b brokenConn) Write(p []byte) (int, error) { return min(b.n, len(p)), syscall.EPIPE }
func (brokenConn) Read([]byte) (int, error)      { return 0, syscall.ECONNRESET }
func (brokenConn) SetDeadline(time.Time) error   { return nil }
func (brokenConn) Close() error                  { return nil }

// Only a pooled connection that took not one byte of the request may be replaced by another one.
func TestFailedWriteOnPooledConnection(t *testing.T) {
	t.Parallel()
	for written, sentAgain := range map[int]bool{0: true, 1: false, 1000: false} {
		s := adaptertest.NewSink(t)
		c := client(t, s, Options{})
		nc := brokenConn{n: written}
		c.put(&conn{nc: nc, abort: func() {}, opened: time.Now()})
		_, err := post(t, c, "x")
		if sentAgain && err != nil || len(s.Requests()) != map[bool]int{true: 1}[sentAgain] {
			t.Errorf("after %d bytes: %d requests, %v", written, len(s.Requests()), err)
		}
		if !sentAgain {
			wantError(t, err, adapters.ClassConnect, "without an answer")
		}
	}
}
