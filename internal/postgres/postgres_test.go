//go:build linux || darwin

package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// helperEnv makes the test binary a program that runs a server in the directory it names until it is killed.
const helperEnv = "WAYBILL_POSTGRES_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperEnv); dir != "" {
		os.Exit(helper(dir))
	}
	os.Exit(m.Run())
}

func helper(dir string) int {
	s, err := Start(context.Background(), quick(dir))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready", s.Pid(), s.URL)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test closes it or kills us
	if err := s.Stop(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// quick are options without the waiting for the disk, for tests that lose nothing by it: no test crashes the machine.
func quick(dir string) Options {
	return Options{Dir: dir, Settings: map[string]string{"fsync": "off", "shared_buffers": "16MB"}}
}

// passable returns a directory that every account can reach, unlike testing.TB.TempDir's.
func passable(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "waybill-postgres-test-") //nolint:usetesting // its directory is private, see above
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	return dir
}

func deadline(tb testing.TB, d time.Duration) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	tb.Cleanup(cancel)
	return ctx
}

// serve starts a server that is stopped at the end of the test.
func serve(tb testing.TB, o Options) *Server {
	tb.Helper()
	if o.Logf == nil {
		o.Logf = tb.Logf
	}
	s, err := Start(deadline(tb, time.Minute), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func connect(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	c, err := pgx.Connect(deadline(tb, 20*time.Second), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close(context.Background()) }) // the server may be gone by then
	return c
}

func run(tb testing.TB, url, sql string) {
	tb.Helper()
	if _, err := connect(tb, url).Exec(deadline(tb, 20*time.Second), sql); err != nil {
		tb.Fatal(err)
	}
}

func query(tb testing.TB, url, sql string) string {
	tb.Helper()
	var v string
	if err := connect(tb, url).QueryRow(deadline(tb, 20*time.Second), sql).Scan(&v); err != nil {
		tb.Fatal(err)
	}
	return v
}

// must receive within d.
func must(tb testing.TB, what string, c <-chan struct{}, d time.Duration) {
	tb.Helper()
	select {
	case <-c:
	case <-time.After(d):
		tb.Fatalf("%s did not happen within %s", what, d)
	}
}

// installations returns every PostgreSQL on this machine that can be used on a directory which every account can reach.
func installations(tb testing.TB) []Binaries {
	tb.Helper()
	ctx := deadline(tb, 20*time.Second)
	dir := passable(tb)
	all, err := installed(ctx, dir, nil)
	if err != nil {
		tb.Fatal(err)
	}
	var out []Binaries
	for _, b := range all {
		if used, err := Find(ctx, dir, []string{b.Dir}); err == nil && used == b {
			out = append(out, b)
		}
	}
	if len(out) == 0 {
		tb.Fatalf("none of %v can be used", all)
	}
	return out
}

// Every installation on this machine makes a cluster, serves it, stops, and finds its data again.
func TestDataOutliveTheServer(t *testing.T) {
	t.Parallel()
	for _, b := range installations(t) {
		t.Run(b.Version, func(t *testing.T) {
			t.Parallel()
			o := Options{Dir: filepath.Join(passable(t), "data"), BinDirs: []string{b.Dir}}
			s := serve(t, o)
			if s.Binaries != b {
				t.Errorf("runs %+v, want %+v", s.Binaries, b)
			}
			run(t, s.URL, "create table kept as select 'still here'::text as v")
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			must(t, "the end of the server", s.Done(), time.Second)
			if err := s.Err(); err != nil {
				t.Errorf("after a clean stop: %v", err)
			}
			if err := s.Stop(); err != nil {
				t.Errorf("second stop: %v", err)
			}
			if exists(s.Pid()) {
				t.Errorf("pid %d is still there", s.Pid())
			}

			again := serve(t, o)
			if got := query(t, again.URL, "select v from kept"); got != "still here" {
				t.Errorf("after a restart the table holds %q", got)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s := serve(t, Options{Dir: filepath.Join(passable(t), "data"), Settings: map[string]string{
		"work_mem": "5MB", "max_connections": "42", "listen_addresses": "0.0.0.0",
	}})
	for name, want := range map[string]string{
		// Nothing that was committed may be lost, whatever else is tuned.
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "data_checksums": "on",
		"shared_buffers": "128MB", "max_wal_size": "2GB", "checkpoint_timeout": "15min", "jit": "off", "TimeZone": "UTC", "server_encoding": "UTF8",
		"work_mem": "5MB", "max_connections": "42",
		"listen_addresses": "127.0.0.1", "unix_socket_directories": "",
	} {
		if got := query(t, s.URL, "select current_setting('"+name+"')"); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	// Whole pages in the log are compressed where that is cheap, and a setting of the caller's stays.
	const compression = "select case when 'lz4' = any(enumvals) then 'lz4' else 'off' end || ' ' || setting from pg_settings where name = 'wal_compression'"
	if got := query(t, s.URL, compression); got != "lz4 lz4" && got != "off off" {
		t.Errorf("wal_compression: the cheapest way and the setting are %q", got)
	}
	own := serve(t, Options{Dir: filepath.Join(passable(t), "data"), Settings: map[string]string{"fsync": "off", "wal_compression": "on"}})
	if got := query(t, own.URL, "select setting from pg_settings where name = 'wal_compression'"); got != "pglz" && got != "on" {
		t.Errorf("the caller's wal_compression is %q", got)
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(passable(t), "data")
	s := serve(t, quick(dir))
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if pw, _ := u.User.Password(); len(pw) != 32 {
		t.Errorf("the password has %d characters, want 32", len(pw))
	}
	u.User = url.UserPassword(superuser, "wrong")
	if _, err := pgx.Connect(deadline(t, 10*time.Second), u.String()); err == nil {
		t.Error("a wrong password is let in")
	}
	for _, name := range []string{"pgpassword", "pgdata.lock", "postgres.log"} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", name, st.Mode())
		}
	}

	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "pgpassword")); err != nil {
		t.Fatal(err)
	}
	_, err = Start(deadline(t, time.Minute), quick(dir))
	if err == nil || !strings.Contains(err.Error(), "pgpassword is missing") {
		t.Errorf("without the password file: %v", err)
	}
}

// Directories may have any name, and be deeper than the path of a Unix socket may be long.
func TestUnusualPath(t *testing.T) {
	t.Parallel()
	s := serve(t, quick(filepath.Join(passable(t), `it's a "näme" [*] $HOME`, strings.Repeat("long/", 40), "data")))
	if got := query(t, s.URL, "select current_database()::text"); got != database {
		t.Errorf("the database is %q", got)
	}
}

func TestSecondStart(t *testing.T) {
	t.Parallel()
	o := quick(filepath.Join(passable(t), "data"))
	s := serve(t, o)
	before := time.Now()
	_, err := Start(deadline(t, time.Minute), o)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", s.Pid())) ||
		!strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("got %v, want ErrInUse naming pid %d and %d", err, s.Pid(), os.Getpid())
	}
	if took := time.Since(before); took > 30*time.Second {
		t.Errorf("took %s to say so", took)
	}
	if got := query(t, s.URL, "select 'alive'"); got != "alive" {
		t.Errorf("the first server says %q", got)
	}
}

// Of several that start at once on a new directory one wins, and the others say so.
func TestStartsAtOnce(t *testing.T) {
	t.Parallel()
	o := quick(filepath.Join(passable(t), "data"))
	const n = 4
	type result struct {
		s   *Server
		err error
	}
	results := make(chan result)
	for range n {
		go func() {
			s, err := Start(deadline(t, time.Minute), o)
			results <- result{s, err}
		}()
	}
	won := 0
	for range n {
		r := <-results
		switch {
		case r.err == nil:
			won++
			t.Cleanup(func() { _ = r.s.Stop() })
		case !errors.Is(r.err, ErrInUse):
			t.Error(r.err)
		}
	}
	if won != 1 {
		t.Errorf("%d servers were started, want 1", won)
	}
}

// A start right after a stop has begun waits for it.
func TestStartWhileStopping(t *testing.T) {
	t.Parallel()
	o := quick(filepath.Join(passable(t), "data"))
	s := serve(t, o)
	// Shutting down takes a while when there is something to write.
	run(t, s.URL, "create table t as select repeat('x', 500) from generate_series(1, 100000)")
	if err := syscall.Kill(s.Pid(), syscall.SIGTERM); err != nil { // "smart": waits for this connection
		t.Fatal(err)
	}
	go func() { _ = s.Stop() }()
	for { // until the server says that it is stopping, or has
		if p, ok := readPidFile(filepath.Join(o.Dir, "pgdata")); !ok || p.status != "ready" {
			break
		}
		runtime.Gosched()
	}
	again := serve(t, o)
	if got := query(t, again.URL, "select count(*)::text from t"); got != "100000" {
		t.Errorf("the table has %s rows", got)
	}
}

// other is another process that runs a server.
type other struct {
	cmd       *exec.Cmd
	stdin     io.Closer
	serverPid int
	url       string
}

// startChildProcess runs this test binary as a program that runs a server in dir, as another account when cred is given.
func startChildProcess(tb testing.TB, dir string, cred *syscall.Credential) *other {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	if cred != nil {
		exe = copyFile(tb, exe, filepath.Join(passable(tb), "postgres.test"))
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), helperEnv+"="+dir, "HOME=/nonexistent")
	cmd.Stderr = os.Stderr
	if cred != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	c := &other{cmd: cmd, stdin: stdin}
	tb.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait() // a test that killed it has waited already
	})
	said, _ := bufio.NewReader(stdout).ReadString('\n')
	if _, err := fmt.Sscanf(said, "ready %d %s", &c.serverPid, &c.url); err != nil {
		rest, _ := io.ReadAll(stdout)
		tb.Fatalf("the other process says %s%s", said, rest)
	}
	return c
}

func copyFile(tb testing.TB, from, to string) string {
	tb.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		tb.Fatal(err)
	}
	return to
}

// The process is killed and started again at once, as a supervisor would do it.
func TestRestartAfterKill(t *testing.T) {
	t.Parallel()
	o := quick(filepath.Join(passable(t), "data"))
	c := startChildProcess(t, o.Dir, nil)
	// Something to write makes the shutdown of the orphan last, and an open connection is one that it has to end.
	run(t, c.url, "create table t as select repeat('x', 500) from generate_series(1, 100000)")
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	s := serve(t, o)
	t.Logf("ready %s after the kill", time.Since(before).Round(time.Millisecond))
	if s.Pid() == c.serverPid {
		t.Errorf("pid %d is that of the first server", s.Pid())
	}
	if got := query(t, s.URL, "select count(*)::text from t"); got != "100000" {
		t.Errorf("the table has %s rows", got)
	}
}

// The server itself is killed.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	o := quick(filepath.Join(passable(t), "data"))
	s := serve(t, o)
	run(t, s.URL, "create table kept as select 'still here'::text as v")
	if err := syscall.Kill(s.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	must(t, "the end of the server", s.Done(), 10*time.Second)
	if s.Err() == nil {
		t.Error("Err says nothing of the kill")
	}
	again := serve(t, o)
	if got := query(t, again.URL, "select v from kept"); got != "still here" {
		t.Errorf("after a crash the table holds %q", got)
	}
}

// After a crash of the machine postmaster.pid names a process that is gone, or by now is another one.
func TestStalePidFile(t *testing.T) {
	t.Parallel()
	o := quick(filepath.Join(passable(t), "data"))
	s := serve(t, o)
	if err := syscall.Kill(s.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	must(t, "the end of the server", s.Done(), 10*time.Second)
	pidPath := filepath.Join(o.Dir, "pgdata", "postmaster.pid")
	uid, gid, err := ownerOf(pidPath)
	if err != nil {
		t.Fatal(err)
	}
	sleep := exec.Command("sleep", "600")
	if os.Geteuid() == 0 { // PostgreSQL is deceived only by processes of its own account
		sleep.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sleep.Process.Kill(); _ = sleep.Wait() })
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(pidPath)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\n")
	for what, pid := range map[string]int{"a process that is gone": ended.Process.Pid, "some other process": sleep.Process.Pid} {
		f, err := os.OpenFile(pidPath, os.O_WRONLY|os.O_TRUNC|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, "%d\n%s", pid, rest)
		if err := errors.Join(f.Chown(int(uid), int(gid)), f.Close()); err != nil {
			t.Fatal(err)
		}
		s, err := Start(deadline(t, time.Minute), o)
		if err != nil {
			t.Errorf("postmaster.pid names %s: %v", what, err)
			continue
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}
	if !exists(sleep.Process.Pid) {
		t.Error("the other process was ended")
	}
}

// A server that somebody started by hand on the same files is not ours to stop.
func TestForeignServer(t *testing.T) {
	t.Parallel()
	o := quick(filepath.Join(passable(t), "data"))
	s := serve(t, o)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	port, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(o.Dir, "pgdata")
	_, acc, err := choose(t.Context(), o.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := cluster{dir: o.Dir, data: data, bin: s.Binaries, account: acc}
	cmd := c.command("postgres", "-D", data, "-p", strconv.Itoa(port), "-c", "unix_socket_directories=")
	foreign, err := startChild(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := foreign.stop(); err != nil {
			t.Error(err)
		}
	})
	c.options.Logf = t.Logf
	if err := c.awaitReady(deadline(t, time.Minute), foreign); err != nil {
		t.Fatal(err)
	}
	_, err = Start(deadline(t, time.Minute), o)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", foreign.pid())) {
		t.Errorf("got %v, want ErrInUse naming pid %d", err, foreign.pid())
	}
	if !exists(foreign.pid()) {
		t.Error("it was ended")
	}
}

func TestWrongVersion(t *testing.T) {
	t.Parallel()
	dir := passable(t)
	if err := os.MkdirAll(filepath.Join(dir, "pgdata"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pgdata", "PG_VERSION"), []byte("9999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(deadline(t, time.Minute), quick(dir))
	if !errors.Is(err, ErrNoBinaries) {
		t.Fatalf("got %v, want ErrNoBinaries", err)
	}
	for _, want := range []string{"which need version 9999", installations(t)[0].Dir + ": is version", "npm ci ",
		"apt-get install postgresql ", "brew install postgresql@17 ", "DATABASE_URL"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

// A server that refuses to start says why.
func TestRefusedStart(t *testing.T) {
	t.Parallel()
	o := quick(filepath.Join(passable(t), "data"))
	o.Settings["shared_buffers"] = "plenty"
	_, err := Start(deadline(t, time.Minute), o)
	if err == nil || !strings.Contains(err.Error(), `"plenty"`) {
		t.Errorf("got %v, want what PostgreSQL said", err)
	}
	// And leaves nothing in the way.
	serve(t, quick(o.Dir))
}

// A start that is given up leaves no process, and the next one works.
func TestCancelledStart(t *testing.T) {
	t.Parallel()
	o := quick(filepath.Join(passable(t), "data"))
	ctx, cancel := context.WithCancel(t.Context())
	o.Logf = func(format string, args ...any) {
		t.Logf(format, args...)
		cancel() // when initdb is about to run
	}
	if _, err := Start(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	left, err := filepath.Glob(filepath.Join(o.Dir, "pgdata*"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{filepath.Join(o.Dir, "pgdata.lock")}; !slices.Equal(left, want) {
		t.Errorf("it left %q", left)
	}
	o.Logf = t.Logf
	serve(t, o)
}

func TestLongLogIsSetAside(t *testing.T) {
	t.Parallel()
	dir := passable(t)
	name := filepath.Join(dir, "postgres.log")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, maxLogSize+1); err != nil {
		t.Fatal(err)
	}
	serve(t, quick(dir))
	if st, err := os.Stat(name); err != nil || st.Size() > 1<<20 {
		t.Errorf("the log has %d bytes: %v", st.Size(), err)
	}
	if _, err := os.Stat(name + ".1"); err != nil {
		t.Error(err)
	}
}

// uidOf returns the account that a process runs as.
func uidOf(tb testing.TB, pid int) int {
	tb.Helper()
	if uid, _, err := ownerOf(fmt.Sprintf("/proc/%d", pid)); err == nil {
		return int(uid)
	}
	out, err := exec.Command("ps", "-o", "uid=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		tb.Fatal(err)
	}
	uid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		tb.Fatal(err)
	}
	return uid
}

// Root runs the server as somebody else. Everybody else runs it as themselves.
func TestAccount(t *testing.T) {
	t.Parallel()
	if euid := os.Geteuid(); euid != 0 {
		s := serve(t, quick(filepath.Join(t.TempDir(), "data")))
		if got := uidOf(t, s.Pid()); got != euid {
			t.Errorf("the server runs as %d, want %d", got, euid)
		}
		return
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	cred, err := credential(nobody)
	if err != nil {
		t.Fatal(err)
	}

	t.Run("root drops its privileges", func(t *testing.T) {
		t.Parallel()
		o := quick(filepath.Join(passable(t), "data"))
		for _, what := range []string{"first", "second"} {
			s := serve(t, o)
			if got := uidOf(t, s.Pid()); got == 0 {
				t.Errorf("at the %s start the server runs as root", what)
			}
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("data below a private directory", func(t *testing.T) {
		t.Parallel()
		o := quick(filepath.Join(t.TempDir(), "data"))
		for _, what := range []string{"first", "second"} {
			s := serve(t, o)
			if got := uidOf(t, s.Pid()); got == 0 {
				t.Errorf("at the %s start the server runs as root", what)
			}
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("programs below a private directory", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		// A copy, so that no other account can reach it. Debian's packages are spread over the system, unlike npm's.
		bins := installations(t)
		i := slices.IndexFunc(bins, func(b Binaries) bool { return isDir(filepath.Join(b.Dir, "../share/postgresql")) })
		if i < 0 {
			t.Skip("there is no PostgreSQL here that can be copied")
		}
		if err := os.CopyFS(filepath.Join(dir, "pg"), os.DirFS(filepath.Dir(bins[i].Dir))); err != nil {
			t.Fatal(err)
		}
		o := quick(filepath.Join(dir, "data"))
		bin := filepath.Join(dir, "pg", "bin")
		ns := account{namespace: true}
		if err := ns.try(t.Context(), dir, bin); err != nil {
			// A system that forbids namespaces. Then others are used, or it is said why not.
			t.Log(err)
			if _, err := Find(t.Context(), o.Dir, []string{bin}); err != nil &&
				!strings.Contains(err.Error(), "PostgreSQL refuses to run as root") {
				t.Error(err)
			}
			return
		}
		acc, err := accountsFor(o.Dir)
		if err != nil || acc[len(acc)-1] != ns {
			t.Fatalf("the accounts are %v: %v", acc, err)
		}
		c := cluster{dir: o.Dir, data: filepath.Join(o.Dir, "pgdata"), bin: Binaries{Dir: bin}, account: ns, options: o}
		c.options.Logf = t.Logf
		if err := os.Mkdir(o.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := c.init(t.Context()); err != nil {
			t.Fatal(err)
		}
		if uid, _, err := ownerOf(c.data); err != nil || uid != 0 {
			t.Errorf("the cluster belongs to %d: %v", uid, err)
		}
		o.BinDirs = []string{bin}
		for _, what := range []string{"first", "second"} {
			s := serve(t, o)
			if got := query(t, s.URL, "select '"+what+"'"); got != what {
				t.Errorf("it says %q", got)
			}
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("each privilege is enough", func(t *testing.T) {
		t.Parallel()
		bins := installations(t)
		for _, capability := range passCapabilities {
			acc := account{cred: cred, capability: capability}
			if err := acc.try(t.Context(), t.TempDir(), bins[0].Dir); err != nil {
				t.Errorf("%s: %v", acc, err)
			}
		}
	})
	t.Run("in a user's directory root leaves files of the user", func(t *testing.T) {
		t.Parallel()
		home := passable(t)
		if err := os.Chown(home, int(cred.Uid), int(cred.Gid)); err != nil {
			t.Fatal(err)
		}
		o := quick(filepath.Join(home, "waybill", "data"))
		s := serve(t, o)
		if got := uidOf(t, s.Pid()); uint32(got) != cred.Uid {
			t.Errorf("the server runs as %d, want %d", got, cred.Uid)
		}
		run(t, s.URL, "create table kept as select 'still here'::text as v")
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		// Now the user does it without root.
		c := startChildProcess(t, o.Dir, cred)
		if got := query(t, c.url, "select v from kept"); got != "still here" {
			t.Errorf("the table holds %q", got)
		}
	})
	t.Run("a user runs it as themselves", func(t *testing.T) {
		t.Parallel()
		home := passable(t)
		if err := os.Chown(home, int(cred.Uid), int(cred.Gid)); err != nil {
			t.Fatal(err)
		}
		c := startChildProcess(t, filepath.Join(home, "data"), cred)
		if got := uidOf(t, c.serverPid); uint32(got) != cred.Uid {
			t.Errorf("the server runs as %d, want %d", got, cred.Uid)
		}
		// Killed and at once started again, by root this time.
		run(t, c.url, "create table kept as select 'still here'::text as v")
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		s := serve(t, quick(filepath.Join(home, "data")))
		if got := query(t, s.URL, "select v from kept"); got != "still here" {
			t.Errorf("the table holds %q", got)
		}
		if got := uidOf(t, s.Pid()); uint32(got) != cred.Uid {
			t.Errorf("started by root the server runs as %d, want %d", got, cred.Uid)
		}
	})
	t.Run("a user cannot use what belongs to another", func(t *testing.T) {
		t.Parallel()
		o := quick(filepath.Join(passable(t), "data"))
		s := serve(t, o)
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(copyFile(t, exe, filepath.Join(passable(t), "postgres.test")))
		cmd.Env = append(os.Environ(), helperEnv+"="+o.Dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "pgdata belongs to ") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

func TestRestoreLinks(t *testing.T) {
	t.Parallel()
	pkg := t.TempDir()
	for _, d := range []string{"native/bin", "native/lib"} {
		if err := os.MkdirAll(filepath.Join(pkg, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(pkg, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	bin := filepath.Join(pkg, "native/bin")
	if err := restoreLinks(bin); err != nil {
		t.Errorf("without a list: %v", err)
	}
	write("native/lib/libx.so.1.2", "x")
	write("native/pg-symlinks.json", `[{"source":"native/lib/libx.so.1.2","target":"native/lib/libx.so.1"}]`)
	for range 2 { // once more does no harm
		if err := restoreLinks(bin); err != nil {
			t.Fatal(err)
		}
	}
	if to, err := os.Readlink(filepath.Join(pkg, "native/lib/libx.so.1")); err != nil || to != "libx.so.1.2" {
		t.Errorf("the link leads to %q: %v", to, err)
	}
	write("native/pg-symlinks.json", `[{"source":"native/lib/libx.so.1.2","target":"../evil"}]`)
	if err := restoreLinks(bin); err == nil {
		t.Error("a link outside of the package is made")
	}
}

// What anybody may write to must not be executed from.
func TestNpmRootsAreNotWorldWritable(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(npmRoots(), dir) {
		t.Errorf("%s is missing from %q", dir, npmRoots())
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(npmRoots(), dir) {
		t.Errorf("%s is in %q", dir, npmRoots())
	}
}

// A temporary server leaves nothing, and clears what others left that were killed.
func TestTemporary(t *testing.T) {
	left := filepath.Join(os.TempDir(), temporaryPrefix+"left-by-a-test")
	if err := os.MkdirAll(filepath.Join(left, "pgdata"), 0o755); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(left, old, old); err != nil {
		t.Fatal(err)
	}
	s, err := StartTemporary(deadline(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if got := query(t, s.URL, "show fsync"); got != "off" {
		t.Errorf("fsync is %s", got)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what another left is still there: %v", err)
	}
	other, err := StartTemporary(deadline(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Stop(); err != nil {
		t.Error(err)
	}
	// One that is in use stays, however old.
	if err := os.Chtimes(s.remove, old, old); err != nil {
		t.Fatal(err)
	}
	if err := removeAbandoned(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query(t, s.URL, "select 'alive'"); got != "alive" {
		t.Errorf("it says %q", got)
	}
	if err := errors.Join(s.Stop(), s.Err()); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{s.remove, other.remove} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", dir, err)
		}
	}
}
