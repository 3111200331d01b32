//go:build brokers && (moto || pubsub)

package app

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gate is the way to a service that is spoken to over HTTP. What services do in bad hours is done here, for those that
// play them do not: connections are cut, nobody listens, and requests are refused.
type gate struct {
	t       *testing.T
	address string
	connections
	proxy  http.Handler
	server *http.Server
	refuse atomic.Pointer[func(http.ResponseWriter)] // answers in the service's place
	making sync.RWMutex                              // nothing passes while it is held
}

func newGate(t *testing.T, service string) *gate {
	t.Helper()
	to, err := url.Parse(service)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{t: t, connections: connections{open: map[net.Conn]bool{}},
		proxy: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
		}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}}
	g.listen("127.0.0.1:0")
	t.Cleanup(g.close)
	return g
}

func (g *gate) url() string { return "http://" + g.address }

func (g *gate) listen(address string) {
	g.t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		g.t.Fatal(err)
	}
	g.address = ln.Addr().String()
	g.server = &http.Server{Handler: g, ReadHeaderTimeout: time.Minute}
	go func() { _ = g.server.Serve(cuttableListener{ln, &g.connections}) }() // it ends with close
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if refuse := g.refuse.Load(); refuse != nil {
		(*refuse)(w)
		return
	}
	g.making.RLock()
	defer g.making.RUnlock()
	g.proxy.ServeHTTP(w, r)
}

func (g *gate) close() { _ = g.server.Close() }

// slowly is the time an attempt may take: these servers are slow, and what fails here does so at once.
const slowly = "30s"

// cloud is a service with a place for messages, which can be taken away.
type cloud struct {
	*gate
	destination map[string]any
	env         []string
	create      func()
	remove      func()
	// receive returns the ids of the events that have arrived since it was last called; it fails while the place is away.
	receive func() ([]string, error)
	// throttled is what the service answers to those that send too much.
	throttled func(http.ResponseWriter)
	// missing is the class of attempts while the place is away.
	missing string
	// tooLarge is an event's size that it does not take; 0 where events cannot be that large.
	tooLarge int
}

// consume tells the ledger of what arrives.
func (c *cloud) consume(l *ledger) {
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for {
			ids, err := c.receive()
			for _, id := range ids {
				l.arrived(id)
			}
			if err == nil && len(ids) > 0 {
				continue
			}
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	c.t.Cleanup(func() {
		close(done)
		<-over
	})
}

// made makes the place. Some consist of several things, and lose what comes before the last of them is there.
func (c *cloud) made() {
	c.making.Lock()
	defer c.making.Unlock()
	c.create()
}

// suffers lets a service do under load all that services do. Every accepted event arrives, each delivery says why it waits,
// and the worker is not started again.
func (c *cloud) suffers() {
	t := c.t
	c.made()
	c.destination["timeout"] = slowly
	s := newStream(t, c.destination, c.env...)
	s.pause = 150 * time.Millisecond // these servers are slow
	c.consume(s.ledger)
	s.run()
	s.more(20)

	c.cut()
	s.more(20)

	address := c.address
	c.close()
	c.cut()
	s.failing("connect")
	c.listen(address)
	s.more(20)

	c.refuse.Store(&c.throttled)
	s.failing("throttled")
	c.refuse.Store(nil)
	s.more(20)

	// What is in a queue goes with it, so it is deleted when all has been seen.
	s.settled()
	c.remove()
	s.run()
	s.failing(c.missing)
	c.made()
	s.more(20)
	if c.tooLarge == 0 {
		s.settled()
		return
	}

	// One that is too large fails for good, and none of those beside it.
	s.a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"too-large","data":{"pad":"`+strings.Repeat("x", c.tooLarge)+`"}}`)
	if d := s.delivery("too-large"); d.Status != "failed" || d.LastError.Class != "too_large" || d.Attempts != 1 || d.Reason == "" ||
		d.LastError.Advice == "" {
		t.Errorf("the large one: %+v", d)
	}
	s.more(20)
	s.failed = 1
	s.settled()
	if s.received("too-large") > 0 {
		t.Error("the large one arrived")
	}
}
