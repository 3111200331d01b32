// Package netlimit bounds how many connections a listener has at once, in all and from one network address.
package netlimit

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Limits are how many connections there may be at once; 0 for any number.
type Limits struct {
	Total      int
	PerAddress int // from one address: one of IPv4, a /64 of IPv6

	// Exempt tells which addresses may have more than PerAddress: proxies, which speak for many.
	Exempt func(netip.Addr) bool

	// Refused is told of a connection over a limit; all says that it is the limit of all. It may be nil.
	Refused func(from netip.Addr, all bool)
}

// What somebody over a limit is answered, as far as they still listen, before their connection is closed.
var (
	busyAnswer = answer(http.StatusServiceUnavailable, "unavailable", "The server has as many connections as it may. Try again.")
	fullAnswer = answer(http.StatusTooManyRequests, "limited", "Your address has as many connections as it may. Use fewer of them.")
)

func answer(status int, code, message string) []byte {
	body := fmt.Sprintf(`{"status":%d,"message":%q,"code":%q}`+"\n", status, message, code)
	return fmt.Appendf(nil,
		"HTTP/1.1 %d %s\r\nConnection: close\r\nRetry-After: 5\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), len(body), body)
}

// Listen bounds the connections of a listener.
func Listen(ln net.Listener, limits Limits) net.Listener {
	return &listener{Listener: ln, limits: limits, from: map[netip.Addr]int{}}
}

type listener struct {
	net.Listener
	limits Limits

	mu   sync.Mutex
	all  int
	from map[netip.Addr]int // by address; only of those that are counted
}

// Accept waits for a connection that is within the limits.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := c.(tcpConn)
		if !ok {
			return c, nil
		}
		addr, counted := l.address(tcp)
		if ok, all := l.take(addr, counted); !ok {
			answer := fullAnswer
			if all {
				answer = busyAnswer
			}
			_ = tcp.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // a few bytes on a new connection do not wait
			_, _ = tcp.Write(answer)
			_ = tcp.Close()
			if l.limits.Refused != nil {
				l.limits.Refused(addr, all)
			}
			continue
		}
		return &conn{tcpConn: tcp, end: sync.OnceFunc(func() { l.giveBack(addr, counted) })}, nil
	}
}

// address is where a connection comes from, and whether it counts for that.
func (l *listener) address(c net.Conn) (addr netip.Addr, counted bool) {
	if addr = addrOf(c); !addr.IsValid() {
		return addr, false
	}
	if l.limits.PerAddress == 0 || l.limits.Exempt != nil && l.limits.Exempt(addr) {
		return addr, false
	}
	if addr.Is6() {
		addr = netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr, true
}

// take counts a connection that is within the limits. all says that it is the limit of all where it is not.
func (l *listener) take(addr netip.Addr, counted bool) (ok, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limits.Total > 0 && l.all >= l.limits.Total {
		return false, true
	}
	if counted {
		if l.from[addr] >= l.limits.PerAddress {
			return false, false
		}
		l.from[addr]++
	}
	l.all++
	return true, false
}

func (l *listener) giveBack(addr netip.Addr, counted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if !counted {
		return
	}
	if l.from[addr]--; l.from[addr] == 0 {
		delete(l.from, addr)
	}
}

// tcpConn is a TCP connection, or one that a proxy made for its client.
type tcpConn interface {
	net.Conn
	syscall.Conn
	io.ReaderFrom
	CloseRead() error
	CloseWrite() error
}

// conn gives its place back when it is closed. It is a TCP connection in all else, so that what looks beneath finds one.
type conn struct {
	tcpConn
	end func()
}

// Close closes the connection.
func (c *conn) Close() error {
	defer c.end()
	return c.tcpConn.Close()
}
