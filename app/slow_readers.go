package app

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// writePortion is how many bytes of an answer its reader has WRITE_TIMEOUT for. The deadline moves along with each portion,
// so that who reads steadily gets an answer of any length, and who does not read is cut off.
const writePortion = 64 << 10

// withWriteDeadlines cuts off connections of a listener whose reader takes nothing for the timeout; 0 for never. It holds
// for every answer alike: short ones, exports, and streams, which end only when nobody reads what they send.
func withWriteDeadlines(ln net.Listener, timeout time.Duration) net.Listener {
	if timeout == 0 {
		return ln
	}
	return &deadlineListener{ln, timeout}
}

type deadlineListener struct {
	net.Listener
	timeout time.Duration
}

// Accept waits for a connection.
func (l *deadlineListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &deadlineConn{c, l.timeout}, nil
}

// deadlineConn is a connection on which each portion of what is written has a deadline of its own.
type deadlineConn struct {
	net.Conn
	timeout time.Duration
}

// Write writes p in portions.
func (c *deadlineConn) Write(p []byte) (written int, err error) {
	for {
		portion := p[written:min(len(p), written+writePortion)]
		if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(portion)
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// SyscallConn lets others look at the socket; see api.callerGone.
func (c *deadlineConn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}
