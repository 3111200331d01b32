package postgres

import (
	"context"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// procAttr says how to start a program as the account. macOS has no signal for the death of a parent; the next Start
// ends a server that was left behind (see endPredecessor).
func (a account) procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Credential: a.cred,
		// A Ctrl-C in the terminal is for us alone. We stop the server when we no longer need it.
		Setpgid: true,
	}
}

// passCapabilities is empty, for here root gives up all of its privileges or none.
var passCapabilities []uintptr

// haveNamespaces is false: there are none here.
const haveNamespaces = false

// isServer says whether the process in p really is the server on data, rather than one that got the pid of a server
// that is gone. Such a process has another name, or started at another time than the server.
func isServer(p pidFile, _ string) bool {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", p.pid)
	if err != nil || int(info.Proc.P_pid) != p.pid {
		return false
	}
	started := time.Unix(info.Proc.P_starttime.Unix())
	return unix.ByteSliceToString(info.Proc.P_comm[:]) == "postgres" && started.Sub(p.started).Abs() < 10*time.Second
}

// awaitGone waits until a process that is not our child has ended.
func awaitGone(ctx context.Context, pid int) error { return pollGone(ctx, pid) }
