package dbconn

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// control has the kernel give a connection up on which nothing is acknowledged. Keep-alives do not run while something waits for
// that.
func control(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var failed error
	if err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unackedTime.Milliseconds()))
	}); err != nil {
		return err
	}
	return failed
}
