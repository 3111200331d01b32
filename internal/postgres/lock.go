//go:build linux || darwin

package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// checkOwner returns an error when the cluster belongs to an account that we can neither become nor read as.
func checkOwner(data string) error {
	uid, _, err := ownerOf(data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if euid := os.Geteuid(); euid == 0 || uint32(euid) == uid {
		return nil
	}
	name := strconv.Itoa(int(uid))
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return fmt.Errorf("%s belongs to %s: run as that user or as root, or use another directory", data, name)
}

// lockName is the file in a server's directory that carries its lock.
const lockName = "pgdata.lock"

// lockDir takes the lock on dir that whoever runs its server holds. The kernel releases it when the holder ends,
// however it ends, so unlike a pid in a file it is never stale. A holder that is starting or stopping its server is
// waited for, and so is, for a moment, one that was killed and has yet to go; one whose server goes on accepting
// connections is an error.
func lockDir(ctx context.Context, dir string) (*os.File, error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the PostgreSQL directory: %w", err)
	}
	for begin := time.Now(); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		p, ok := readPidFile(filepath.Join(dir, "pgdata"))
		switch {
		case ok && p.status == "ready" && exists(p.pid) && time.Since(begin) > killedTimeout:
			err = fmt.Errorf("%w: %s is served by PostgreSQL (pid %d) of a program that is still running%s: stop that program first, or use another directory",
				ErrInUse, dir, p.pid, holder(f))
		case time.Since(begin) > goneTimeout:
			err = fmt.Errorf("%w: a program that is still running is starting or stopping PostgreSQL in %s%s", ErrInUse, dir, holder(f))
		default:
			err = wait(ctx, pollInterval)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
	}
	// Only for the message above. The lock itself does not depend on it.
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return f, nil
}

// holder names the process that holds the lock, for a message.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil || len(b) == 0 {
		return ""
	}
	return fmt.Sprintf(" (pid %s)", strings.TrimSpace(string(b)))
}

// pidFile is what a server says about itself in postmaster.pid. The file's format has been the same since PostgreSQL
// 10: pid, data directory, start time, port, socket directory, address, shared memory, status.
type pidFile struct {
	pid     int
	started time.Time // to the second
	status  string    // starting, ready, stopping or standby; empty while the file is being written
}

func readPidFile(data string) (p pidFile, ok bool) {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return p, false
	}
	lines := strings.Split(string(b), "\n")
	if p.pid, err = strconv.Atoi(strings.TrimSpace(lines[0])); err != nil || p.pid <= 0 {
		return p, false
	}
	if len(lines) > 2 {
		if sec, err := strconv.ParseInt(strings.TrimSpace(lines[2]), 10, 64); err == nil {
			p.started = time.Unix(sec, 0)
		}
	}
	if len(lines) > 7 {
		p.status = strings.TrimSpace(lines[7])
	}
	return p, true
}

// exists says whether a process has this id, one that has ended but was not yet waited for included.
func exists(pid int) bool { return syscall.Kill(pid, 0) != syscall.ESRCH }

// endPredecessor makes sure that no server of an earlier process runs on data. The caller holds the lock, so the process
// that started such a server is gone. On Linux the server is shutting down already; on macOS nobody has told it.
func endPredecessor(ctx context.Context, data string, logf func(string, ...any)) error {
	p, ok := readPidFile(data)
	if !ok || !exists(p.pid) {
		// A file left by a crash does no harm: PostgreSQL finds out itself, and also whether any of the processes that
		// the crashed server had started is left.
		return nil
	}
	if !isServer(p, data) {
		return disarmPidFile(data, p.pid)
	}
	if !startedByUs(data) {
		return fmt.Errorf("%w: PostgreSQL (pid %d), which was not started by this program, runs on %s: stop it first, or use another directory", ErrInUse, p.pid, data)
	}
	logf("waiting for the PostgreSQL (pid %d) of an earlier run to shut down", p.pid)
	// A second request to shut down changes nothing for a server that has had the first.
	if err := syscall.Kill(p.pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the PostgreSQL (pid %d) of an earlier run: %w", p.pid, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, goneTimeout,
		fmt.Errorf("%w: PostgreSQL (pid %d) of an earlier run is still shutting down in %s after %s", ErrInUse, p.pid, data, goneTimeout))
	defer cancel()
	return awaitGone(ctx, p.pid)
}

// startedByUs says whether this package started the last server on data.
func startedByUs(data string) bool {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.opts"))
	return err == nil && strings.Contains(string(b), "cluster_name="+ClusterName)
}

// disarmPidFile deals with a file that a crash of the machine left behind and whose pid now belongs to some other
// process. When that process is of the same account, PostgreSQL takes it for a running server and refuses to start.
// Removing the file would help, but would also remove what PostgreSQL needs to see whether processes of the crashed
// server are left. So we put our own pid in its place: PostgreSQL knows that its parent is no other server.
func disarmPidFile(data string, pid int) error {
	name := filepath.Join(data, "postmaster.pid")
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(string(b), strconv.Itoa(pid)+"\n")
	if !ok {
		return fmt.Errorf("%s changed while it was read", name)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0) // keeps its owner
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%d\n%s", os.Getpid(), rest); err != nil {
		return err
	}
	return f.Close()
}

// pollGone waits until no process has this id, looking again and again.
func pollGone(ctx context.Context, pid int) error {
	for exists(pid) {
		if wait(ctx, pollInterval) != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}
