//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package outbound

import "syscall"

// Peek looks at an idle socket without waiting and without taking anything out of it. It is quiet when there is nothing to
// read, and closed when the other side has closed it.
//
// It is one system call of well below a microsecond.
func Peek(fd uintptr) (quiet, closed bool) {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	quiet = n <= 0 && (err == syscall.EAGAIN || err == syscall.EWOULDBLOCK)
	return quiet, n <= 0 && !quiet && err != syscall.EINTR
}

// peek notes whether the socket is fit for a request. Only one with nothing to read is: an end of file says that the other
// side closed it, and data that nobody asked for (an answer that came too late, a TLS alert) says that the next answer could
// not be told from it.
//
// That spares the false failure that a request on a closed connection would be: such a request must not be repeated, because
// nobody can know whether the receiver worked on it.
func (cn *conn) peek(fd uintptr) { cn.alive, _ = Peek(fd) }
