package adapters

import (
	"errors"
	"net"
	"strings"
	"syscall"
)

// shortages are the errors with which the operating system says that this machine, or this process, has no more of
// something. Whoever was to be spoken to has no part in them.
var shortages = []struct {
	errno     syscall.Errno
	of, words string
}{
	{syscall.EADDRNOTAVAIL, "ports", "no local port is free for another connection"},
	{syscall.EADDRINUSE, "ports", "no local port is free for another connection"},
	{syscall.EMFILE, "files", "the process has as many files and connections open as it may"},
	{syscall.ENFILE, "files", "the machine has as many files and connections open as it can"},
	{syscall.ENOBUFS, "memory", "the machine has no buffers for connections left"},
	{syscall.ENOMEM, "memory", "the machine has no memory left"},
}

// shortage is the place of what err says in shortages, or -1. It is the one that knows, for whatever opens connections or
// files on behalf of an attempt. Errors of looking up names keep only the text of the system's, and are known by that.
func shortage(err error) int {
	if err == nil {
		return -1
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		for i, s := range shortages {
			if s.errno == errno {
				return i
			}
		}
		return -1
	}
	var lookup *net.DNSError
	if errors.As(err, &lookup) {
		for i, s := range shortages {
			if strings.HasSuffix(lookup.Err, ": "+s.errno.Error()) {
				return i
			}
		}
	}
	return -1
}

// AsShortage is the error of an attempt that err kept from being made because this server lacked something; nil when it is
// not that. It is of KindShortage, and never the destination's fault.
func AsShortage(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		if known.Kind == KindShortage {
			return known
		}
		return nil
	}
	i := shortage(err)
	if i < 0 {
		return nil
	}
	s := shortages[i]
	return &Error{Kind: KindShortage, Class: ClassInternal, Lack: s.of,
		Message: "This server could not make the attempt: " + s.words + ".",
		Advice:  "Nothing is wrong with the destination. It is tried again soon, and this does not count as an attempt; the operator is told.", Raw: s.errno.Error()}
}
