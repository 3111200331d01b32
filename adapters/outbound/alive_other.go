//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package outbound

// Peek cannot look into a socket on this system, and says that it is quiet.
func Peek(uintptr) (quiet, closed bool) { return true, false }

// peek lets idle connections be used as they are. A request on one that the other side has closed fails and is retried by
// the retry policy.
func (cn *conn) peek(uintptr) { cn.alive = true }
