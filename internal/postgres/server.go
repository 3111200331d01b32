//go:build linux || darwin

package postgres

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running private PostgreSQL server.
type Server struct {
	// URL connects as the superuser to the server's database "waybill". It contains the password.
	URL string

	// Binaries are the programs that the server runs.
	Binaries Binaries

	process *child
	lock    *os.File
	remove  string        // a directory to remove when the process has ended, or empty
	done    chan struct{} // closed when all of that is given up
	err     error         // how the process ended; set before done is closed
}

// Start starts the server in o.Dir, making the cluster when there is none, and returns when it accepts connections. ctx
// bounds only the start: afterwards the server runs until Stop, or until the calling process ends.
//
// The server of an earlier process that was killed may still be shutting down. Start waits for it, so that a restart
// right after a crash just works. While another live process runs a server in o.Dir, the error wraps ErrInUse.
func Start(ctx context.Context, o Options) (*Server, error) { return start(ctx, o, "") }

func start(ctx context.Context, o Options, remove string) (_ *Server, err error) {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.Dir == "" {
		return nil, errors.New("postgres: Options.Dir is required")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("make the PostgreSQL directory: %w", err)
	}
	data := filepath.Join(dir, "pgdata")
	if err := checkOwner(data); err != nil {
		return nil, err
	}
	lock, err := lockDir(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	bin, acc, err := choose(ctx, dir, o.BinDirs)
	if err != nil {
		return nil, err
	}
	c := cluster{dir: dir, data: data, bin: bin, account: acc, options: o, remove: remove}
	if err := c.own(lock.Name()); err != nil {
		return nil, err
	}
	if err := c.init(ctx); err != nil {
		return nil, err
	}
	if err := endPredecessor(ctx, data, o.Logf); err != nil {
		return nil, err
	}
	return c.launch(ctx, lock)
}

// cluster is what Start knows about the server it is about to run.
type cluster struct {
	dir, data string
	bin       Binaries
	account   account
	options   Options
	remove    string // for Server.remove
}

// command prepares one of PostgreSQL's programs. Its environment is fixed: nothing that the caller's environment says
// (PGDATA, PGPORT, a locale, secrets) reaches the server.
func (c *cluster) command(name string, args ...string) *exec.Cmd {
	cmd := c.account.command(c.dir, filepath.Join(c.bin.Dir, name), args...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "TZ=UTC", "HOME=" + c.dir}
	return cmd
}

// own hands a file to the account that the server runs as.
func (c *cluster) own(path string) error {
	if c.account.cred == nil {
		return nil
	}
	return os.Chown(path, int(c.account.cred.Uid), int(c.account.cred.Gid))
}

func (c *cluster) passwordFile() string { return filepath.Join(c.dir, "pgpassword") }

// init makes the cluster when there is none. It is made under another name and renamed when it is complete, so that an
// interrupted first start leaves nothing that looks like a cluster.
func (c *cluster) init(ctx context.Context) error {
	_, err := os.Stat(filepath.Join(c.data, "PG_VERSION"))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c.options.Logf("making a private PostgreSQL %s database in %s", c.bin.Version, c.dir)
	// What an interrupted first start left goes, as far as its initdb is not about to remove it itself. Hence the new
	// name each time, too.
	const unfinished = "pgdata.new-"
	left, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, l := range left {
		if strings.HasPrefix(l.Name(), unfinished) {
			_ = os.RemoveAll(filepath.Join(c.dir, l.Name()))
		}
	}
	tmp, err := os.MkdirTemp(c.dir, unfinished)
	if err != nil {
		return err
	}
	if err := c.own(tmp); err != nil {
		return err
	}
	if err := c.writePassword(); err != nil {
		return err
	}
	args := []string{"-D", tmp, "-U", superuser, "--pwfile", c.passwordFile(), "--auth=scram-sha-256",
		// The C locale sorts the same on every system, and an upgrade of the system cannot corrupt its indexes.
		"-E", "UTF8", "--locale=C", "--data-checksums", "--no-instructions"}
	if c.options.Settings["fsync"] == "off" {
		args = append(args, "--no-sync")
	}
	cmd := c.command("initdb", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := runChild(ctx, cmd); err != nil {
		_ = os.RemoveAll(tmp)
		return fmt.Errorf("initdb: %w: %s", err, strings.TrimSpace(out.String()))
	}
	if err := os.Rename(tmp, c.data); err != nil {
		return err
	}
	return syncPath(c.dir)
}

// writePassword makes a new random password. It is on disk before the cluster that knows it gets its name.
func (c *cluster) writePassword() error {
	f, err := os.OpenFile(c.passwordFile(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := c.own(f.Name()); err != nil {
		return err
	}
	var raw [16]byte
	rand.Read(raw[:]) // it never fails: crypto/rand ends the process rather than return weak bytes
	if _, err := fmt.Fprintln(f, hex.EncodeToString(raw[:])); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

func (c *cluster) readPassword() (string, error) {
	b, err := os.ReadFile(c.passwordFile())
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s is missing, so nobody can log in to the database beside it: put the file back, or move %s away to begin with an empty database", c.passwordFile(), c.data)
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

// launch starts the server process and waits until it accepts connections. The server takes over the lock.
func (c *cluster) launch(ctx context.Context, lock *os.File) (*Server, error) {
	password, err := c.readPassword()
	if err != nil {
		return nil, err
	}
	logFile, err := c.openLog()
	if err != nil {
		return nil, err
	}
	defer logFile.Close() // the server has its own copy of the descriptor
	if err := c.removeSockets(); err != nil {
		return nil, err
	}
	compression := c.compression(ctx)
	for deadline := time.Now().Add(goneTimeout); ; {
		port, err := freePort(ctx)
		if err != nil {
			return nil, err
		}
		logStart, err := logFile.Seek(0, io.SeekEnd)
		if err != nil {
			return nil, err
		}
		cmd := c.serverCommand(port, compression)
		cmd.Stdout, cmd.Stderr = logFile, logFile
		process, err := startChild(cmd)
		if err != nil {
			return nil, fmt.Errorf("start PostgreSQL: %w", err)
		}
		err = c.awaitReady(ctx, process)
		if err == nil {
			err = createDatabase(ctx, connURL(password, c.socketDir(), port, "postgres"))
		}
		if err == nil {
			s := &Server{URL: connURL(password, c.socketDir(), port, database), Binaries: c.bin, process: process, lock: lock,
				remove: c.remove, done: make(chan struct{})}
			go s.await()
			return s, nil
		}
		if ended := (*exitedError)(nil); errors.As(err, &ended) {
			said := readFrom(logFile.Name(), logStart)
			if retryable(said) && time.Now().Before(deadline) && wait(ctx, pollInterval) == nil {
				continue
			}
			return nil, fmt.Errorf("%w; it said:\n%s\n(all of it is in %s)", err, lastLines(said, 6), logFile.Name())
		}
		// It runs, but we cannot use it. The lock must not be released before it is gone.
		return nil, errors.Join(err, process.stop())
	}
}

// retryable says whether a server that ended at its start may succeed at the next try.
func retryable(said string) bool {
	return strings.Contains(said, "could not create any TCP/IP sockets") || // the free port was taken in the meantime
		// The last backends of a server that was killed are about to notice, which takes them some milliseconds.
		strings.Contains(said, "is still in use") || strings.Contains(said, `lock file "postmaster.pid" already exists`)
}

// compression is how images of whole pages in the log are compressed: by lz4 where the programs were built with it, which takes a
// few microseconds for each; else not at all, for PostgreSQL's own way takes ten times as long.
func (c *cluster) compression(ctx context.Context) string {
	if c.options.Settings["full_page_writes"] == "off" {
		return "off"
	}
	const best = "lz4"
	cmd := c.command("postgres", "-C", "wal_compression", "-D", c.data, "-c", "wal_compression="+best)
	if err := runChild(ctx, cmd); err != nil {
		return "off"
	}
	return best
}

func (c *cluster) serverCommand(port int, compression string) *exec.Cmd {
	settings := maps.Clone(defaultSettings)
	settings["wal_compression"] = compression
	if c.bin.Major >= 18 {
		settings["io_method"] = "sync" // its processes for reading ahead take 13 MiB, and here next to nothing is read from the disk
	}
	maps.Copy(settings, c.options.Settings)
	args := []string{"-D", c.data}
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", k+"="+settings[k])
	}
	// These come last, for the last one counts.
	args = append(args, "-c", "cluster_name="+ClusterName, "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories="+c.socketDir(), "-c", "port="+strconv.Itoa(port))
	return c.command("postgres", args...)
}

// maxSocketPath is how long the path of a Unix socket may be, in bytes, by the struct sockaddr_un of macOS; Linux takes four more.
const maxSocketPath = 103

// socketDir is the directory of the server's Unix socket; empty for none.
func (c *cluster) socketDir() string {
	if !c.options.Socket || len(c.data)+len("/.s.PGSQL.65535") > maxSocketPath || strings.ContainsAny(c.data, ",\"'") {
		return ""
	}
	return c.data
}

// removeSockets removes the sockets of servers that were killed. Each had a port of its own.
func (c *cluster) removeSockets() error {
	files, err := os.ReadDir(c.data)
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), ".s.PGSQL.") {
			if err := os.Remove(filepath.Join(c.data, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// openLog opens postgres.log for appending, setting a long one aside.
func (c *cluster) openLog() (*os.File, error) {
	name := filepath.Join(c.dir, "postgres.log")
	if st, err := os.Stat(name); err == nil && st.Size() > maxLogSize {
		if err := os.Rename(name, name+".1"); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := c.own(name); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// exitedError says that the server ended before it was ready.
type exitedError struct{ err error }

func (e *exitedError) Error() string {
	if e.err == nil {
		return "PostgreSQL ended while starting"
	}
	return "PostgreSQL ended while starting: " + e.err.Error()
}

func (e *exitedError) Unwrap() error { return e.err }

// awaitReady waits until the server has said in postmaster.pid that it accepts connections. Trying to connect instead
// would fill its log with refusals while it recovers from a crash.
func (c *cluster) awaitReady(ctx context.Context, process *child) error {
	pid := process.pid()
	start := time.Now()
	tick := time.NewTicker(pollInterval / 2)
	defer tick.Stop()
	told := false
	for {
		if p, ok := readPidFile(c.data); ok && p.pid == pid && p.status == "ready" {
			return nil
		}
		select {
		case <-process.done:
			return &exitedError{process.err}
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		since := time.Since(start)
		if !told && since > 5*time.Second {
			told = true
			c.options.Logf("PostgreSQL (pid %d) is recovering from a crash", pid)
		}
		if since > readyTimeout {
			return fmt.Errorf("PostgreSQL (pid %d) did not become ready within %s; see %s", pid, readyTimeout,
				filepath.Join(c.dir, "postgres.log"))
		}
	}
}

func createDatabase(ctx context.Context, adminURL string) error {
	conn, err := pgx.Connect(ctx, adminURL)
	if err != nil {
		return fmt.Errorf("connect to the private PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var have bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", database).Scan(&have); err != nil || have {
		return err
	}
	_, err = conn.Exec(ctx, "create database "+pgx.Identifier{database}.Sanitize())
	return err
}

// await records the end of the process and passes it on. It owns the lock, so that the directory is free again only
// when no process uses it.
func (s *Server) await() {
	<-s.process.done
	s.err = s.process.err
	if s.remove != "" {
		s.err = errors.Join(s.err, os.RemoveAll(s.remove))
	}
	s.lock.Close()
	close(s.done)
}

// Pid returns the process id of the server.
func (s *Server) Pid() int { return s.process.pid() }

// Done returns a channel that is closed when the server's process has ended, whether asked to or not.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns nil while the server runs and after a clean end, and otherwise how its process ended.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Stop ends the server: open connections are closed, what was committed is on disk. It returns when the process is
// gone, and an error only when it had to be ended the hard way (then it recovers at the next start). It may be called
// several times, and after the server has ended by itself.
func (s *Server) Stop() error {
	if err := s.process.stop(); err != nil {
		return err
	}
	<-s.done
	return nil
}

// child is a program that we have started.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // how it ended; set before done is closed
}

// startChild starts cmd.
//
// The start happens on an operating system thread of its own that lives as long as the child: the signal that Linux
// sends to a child when its parent dies (see procAttr) is really sent when the parent's *thread* ends.
func startChild(cmd *exec.Cmd) (*child, error) {
	c := &child{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		c.err = cmd.Wait()
		close(c.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop asks the program to end, harder each time it does not.
func (c *child) stop() error {
	for _, try := range []struct {
		signal  syscall.Signal
		timeout time.Duration
	}{
		{syscall.SIGINT, stopTimeout},      // PostgreSQL's "fast shutdown"
		{syscall.SIGQUIT, 5 * time.Second}, // "immediate shutdown": as if the machine had crashed, but orderly
		{syscall.SIGKILL, time.Minute},
	} {
		// An error means that it has ended, which done is about to say.
		_ = c.cmd.Process.Signal(try.signal)
		select {
		case <-c.done:
			if try.signal != syscall.SIGINT {
				return fmt.Errorf("PostgreSQL (pid %d) did not shut down within %s and was ended by the signal %q", c.pid(), stopTimeout,
					try.signal)
			}
			return nil
		case <-time.After(try.timeout):
		}
	}
	return fmt.Errorf("PostgreSQL (pid %d) cannot be ended", c.pid())
}

// runChild runs cmd to its end. When ctx ends first, cmd is asked to end and clean up.
func runChild(ctx context.Context, cmd *exec.Cmd) error {
	c, err := startChild(cmd)
	if err != nil {
		return err
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return errors.Join(ctx.Err(), c.stop())
	}
}

// connURL is the URL of a database; by TCP where there is no directory of a socket.
func connURL(password, socketDir string, port int, db string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(superuser, password), Path: "/" + db}
	if socketDir == "" {
		u.Host, u.RawQuery = net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), "sslmode=disable"
	} else {
		u.RawQuery = url.Values{"host": {socketDir}, "port": {strconv.Itoa(port)}}.Encode()
	}
	return u.String()
}

func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// makeDir makes dir where it is missing. Root gives what it makes to the owner of the directory it makes it in, so that
// a first run with sudo in a user's checkout leaves nothing that the user cannot use or remove. Others may pass through
// (the server may run as another account) but the files inside are private.
func makeDir(dir string) error {
	parent := filepath.Dir(dir)
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		st, err := os.Stat(dir)
		if err == nil && !st.IsDir() {
			err = fmt.Errorf("%s is not a directory", dir)
		}
		return err
	}
	if err != nil {
		return err
	}
	if uid, gid, err := ownerOf(parent); err == nil && os.Geteuid() == 0 && uid != 0 {
		return os.Chown(dir, int(uid), int(gid))
	}
	return nil
}

func ownerOf(path string) (uid, gid uint32, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	sys := st.Sys().(*syscall.Stat_t)
	return sys.Uid, sys.Gid, nil
}

// syncPath makes a rename inside a directory durable.
func syncPath(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// wait waits for d, and returns ctx's error when it ends first.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// readFrom returns what was written to a file since offset. It serves error messages, so it returns what it can.
func readFrom(name string, offset int64) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return ""
	}
	b, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	return string(b)
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return cmp.Or(strings.Join(lines[max(0, len(lines)-n):], "\n"), "(nothing)")
}
