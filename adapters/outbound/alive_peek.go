//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package outbound

import "syscall"

// peek looks at an idle socket without waiting and without taking anything out of it. Only a socket with nothing to
// read is fit for a request: an end of file says that the other side closed it, and data that nobody asked for (an
// answer that came too late, a TLS alert) says that the next answer could not be told from it.
//
// It is one system call of well below a microsecond, and spares the false failure that a request on a closed connection
// would be: such a request must not be repeated, because nobody can know whether the receiver worked on it.
func (cn *conn) peek(fd uintptr) {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	cn.alive = n <= 0 && (err == syscall.EAGAIN || err == syscall.EWOULDBLOCK)
}
