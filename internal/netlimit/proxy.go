package netlimit

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// Proxies are those who say with the PROXY protocol for whom a connection of theirs is, before anything else on it
// (https://www.haproxy.org/download/3.4/doc/proxy-protocol.txt, versions 1 and 2).
type Proxies struct {
	Trusts  func(netip.Addr) bool // whose header is asked for and believed; nobody else's is
	Timeout time.Duration         // how long one may take to arrive
	Pending int                   // how many may be awaited at once; more connections are closed

	// Refused is told of a connection of a proxy that was closed because no header came, or none that can be read. It may be nil.
	Refused func(from netip.Addr, err error)
}

// Proxied reads the header of each connection from a proxy, and gives the connection its client's address. One without a
// header is closed. Connections of others are given on as they are: a header of theirs is no HTTP and is refused as such.
func Proxied(ln net.Listener, p Proxies) net.Listener {
	l := &proxied{Listener: ln, proxies: p, ready: make(chan accepted), closed: make(chan struct{}),
		pending: make(chan struct{}, p.Pending)}
	go l.run()
	return l
}

type accepted struct {
	conn net.Conn
	err  error
}

type proxied struct {
	net.Listener
	proxies Proxies
	ready   chan accepted
	pending chan struct{} // a place for each header that is awaited
	closed  chan struct{}
	closing sync.Once
}

// Accept waits for a connection whose client is known.
func (l *proxied) Accept() (net.Conn, error) {
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close closes the listener, and the connections whose header is still awaited.
func (l *proxied) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// run accepts connections. Nobody waits for somebody else's header.
func (l *proxied) run() {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			l.give(nil, err)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok || !l.proxies.Trusts(addrOf(c)) {
			l.give(c, nil)
			continue
		}
		select {
		case l.pending <- struct{}{}:
			go l.read(tcp)
		default:
			l.refuse(tcp, errBusy)
		}
	}
}

var (
	errBusy     = errors.New("too many connections have sent no header yet")
	errNoHeader = errors.New("it does not begin with a header of the PROXY protocol")
)

// read reads the header of a connection.
func (l *proxied) read(tcp *net.TCPConn) {
	done := make(chan struct{})
	stop := make(chan struct{})
	go func() { // ends the reading when the listener closes
		defer close(stop)
		select {
		case <-l.closed:
			_ = tcp.SetReadDeadline(time.Unix(1, 0))
		case <-done:
		}
	}()
	c := &proxiedConn{TCPConn: tcp, r: bufio.NewReaderSize(tcp, headerBuffer), client: tcp.RemoteAddr()}
	err := tcp.SetReadDeadline(time.Now().Add(l.proxies.Timeout))
	var h *proxyproto.Header
	if err == nil {
		h, err = proxyproto.Read(c.r)
	}
	close(done)
	<-stop
	<-l.pending
	if err == nil {
		err = tcp.SetReadDeadline(time.Time{})
	}
	if errors.Is(err, proxyproto.ErrNoProxyProtocol) {
		err = errNoHeader
	}
	if err != nil {
		l.refuse(tcp, err)
		return
	}
	// A proxy that speaks for itself (LOCAL, UNKNOWN), as when it looks whether this server is well, is the client.
	if from, _, ok := h.TCPAddrs(); ok && h.Command.IsProxy() && from != nil && from.IP != nil {
		c.client = from
	}
	l.give(c, nil)
}

// headerBuffer holds a header of version 1 (107 bytes) and most of version 2, whose rest is read in several goes.
const headerBuffer = 256

func (l *proxied) refuse(tcp *net.TCPConn, err error) {
	from := addrOf(tcp)
	_ = tcp.Close()
	if l.proxies.Refused != nil {
		l.proxies.Refused(from, err)
	}
}

func (l *proxied) give(c net.Conn, err error) {
	select {
	case l.ready <- accepted{c, err}:
	case <-l.closed:
		if c != nil {
			_ = c.Close()
		}
	}
}

// proxiedConn is a connection behind its header.
type proxiedConn struct {
	*net.TCPConn
	r      *bufio.Reader // what came along with the header; nil once that is read
	client net.Addr
}

// RemoteAddr is the client's address.
func (c *proxiedConn) RemoteAddr() net.Addr { return c.client }

// Read reads what the client sends.
func (c *proxiedConn) Read(p []byte) (int, error) {
	if c.r == nil {
		return c.TCPConn.Read(p)
	}
	if c.r.Buffered() == 0 {
		c.r = nil
		return c.TCPConn.Read(p)
	}
	return c.r.Read(p[:min(len(p), c.r.Buffered())])
}

// WriteTo keeps others from reading past what came along with the header.
func (c *proxiedConn) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

// addrOf is where a connection comes from, or whom a proxy names.
func addrOf(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
