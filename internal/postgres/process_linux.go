package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// passCapabilities are the privileges that let an account pass through directories that are closed to it, the smaller
// first: to read and pass through everything, and (all that containers usually have) to disregard permissions altogether.
var passCapabilities = []uintptr{unix.CAP_DAC_READ_SEARCH, unix.CAP_DAC_OVERRIDE}

// haveNamespaces says whether this kind of system knows user namespaces. Containers often forbid them, which
// account.try finds out.
const haveNamespaces = true

// procAttr says how to start a program as the account.
func (a account) procAttr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Credential: a.cred,
		// When we die without a chance to say so, the kernel tells the child to shut down.
		Pdeathsig: syscall.SIGINT,
		// A Ctrl-C in the terminal is for us alone. We stop the server when we no longer need it.
		Setpgid: true,
	}
	if a.capability != 0 {
		attr.AmbientCaps = []uintptr{a.capability}
	}
	if a.namespace {
		// 65534 is nobody on all systems we know, for the account must have a name, too.
		attr.Cloneflags = syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 65534, HostID: 0, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 65534, HostID: 0, Size: 1}}
	}
	return attr
}

// isServer says whether the process in p really is the server on data, rather than one that got the pid of a server
// that is gone. A server's working directory is its data directory.
func isServer(p pidFile, data string) bool {
	proc := fmt.Sprintf("/proc/%d", p.pid)
	have, err := os.Stat(proc + "/cwd")
	if errors.Is(err, os.ErrPermission) {
		// It belongs to another account, as which our server may run only when we are root, who may look at all; but
		// some systems hide processes even from root. Take the name's word for it then.
		comm, err := os.ReadFile(proc + "/comm")
		return err == nil && strings.TrimSpace(string(comm)) == "postgres"
	}
	if err != nil {
		return false // it has ended, perhaps without having been waited for
	}
	want, err := os.Stat(data)
	return err == nil && os.SameFile(have, want)
}

// awaitGone waits until a process that is not our child has ended. It returns at that very moment.
func awaitGone(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return pollGone(ctx, pid) // a kernel before 5.10, or a sandbox that does not know the call
	}
	defer func() { _ = unix.Close(fd) }() // it was only waited for
	for {
		// Poll cannot wait for ctx, so it looks up now and then.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(pollInterval.Milliseconds())*5)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
