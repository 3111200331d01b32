//go:build faults && linux

package app

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/app/bench"
)

// node is one PostgreSQL of a pair, with a port that it keeps.
type node struct {
	t      *testing.T
	name   string // as which it follows another one
	dir    string
	host   string
	port   int
	bin    string
	cred   *syscall.Credential // nil for this process's own
	within []string            // a command in front of others, which runs them on the node's machine
	server *exec.Cmd
	gone   chan struct{}
}

// newNode finds PostgreSQL's programs, and as whom to run them.
func newNode(t *testing.T, name, host string, within ...string) *node {
	t.Helper()
	dir := openDir(t)
	// The programs that npm brings copy no node.
	programs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_basebackup")
	if len(programs) == 0 {
		t.Fatal("this test needs PostgreSQL's programs: apt-get install postgresql; make test-faults does it")
	}
	port, err := bench.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, name: name, dir: filepath.Join(dir, "data"), host: host, port: port, bin: filepath.Dir(programs[len(programs)-1]), within: within}
	if os.Getuid() == 0 { // PostgreSQL does not run as root
		account, err := user.Lookup("postgres")
		if err != nil {
			if account, err = user.Lookup("nobody"); err != nil {
				t.Fatal(err)
			}
		}
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		n.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(n.crash)
	return n
}

func (n *node) command(program string, args ...string) *exec.Cmd {
	all := append(append([]string{}, n.within...), filepath.Join(n.bin, program))
	if len(n.within) > 0 && n.cred != nil { // which needs root, and gives it up
		all = append(append([]string{}, n.within...), "setpriv", "--reuid", fmt.Sprint(n.cred.Uid), "--regid", fmt.Sprint(n.cred.Gid),
			"--clear-groups", filepath.Join(n.bin, program))
	}
	cmd := exec.Command(all[0], append(all[1:], args...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if len(n.within) == 0 {
		cmd.SysProcAttr.Credential = n.cred
	}
	return cmd
}

func (n *node) run(program string, args ...string) {
	n.t.Helper()
	if out, err := n.command(program, args...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// create makes the first node.
func (n *node) create() {
	n.t.Helper()
	n.run("initdb", "-D", n.dir, "-U", "waybill", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-instructions")
	n.configure("host all all 10.0.0.0/8 trust\nhost replication all 10.0.0.0/8 trust\n", "pg_hba.conf")
	n.start()
	if _, err := n.query("postgres", "create database waybill"); err != nil {
		n.t.Fatal(err)
	}
}

// configure adds lines to a file of the node.
func (n *node) configure(text, file string) {
	n.t.Helper()
	f, err := os.OpenFile(filepath.Join(n.dir, file), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// follow makes the node a standby of another one, from a copy of it.
func (n *node) follow(primary *node) {
	n.t.Helper()
	if err := os.RemoveAll(n.dir); err != nil {
		n.t.Fatal(err)
	}
	n.run("pg_basebackup", "-h", primary.host, "-p", fmt.Sprint(primary.port), "-U", "waybill", "-D", n.dir, "-R", "-c", "fast")
	n.configure(fmt.Sprintf("\nprimary_conninfo = 'host=%s port=%d user=waybill application_name=%s'\nsynchronous_standby_names = ''\n",
		primary.host, primary.port, n.name), "postgresql.auto.conf")
	n.start()
}

// waitFor has the node's commits wait for a standby; for none with "".
func (n *node) waitFor(standby string) {
	n.t.Helper()
	for _, sql := range []string{"alter system set synchronous_standby_names = '" + standby + "'", "select pg_reload_conf()"} {
		if _, err := n.query("postgres", sql); err != nil {
			n.t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		got, err := n.query("postgres", "select current_setting('synchronous_standby_names') || ' ' || "+
			"(select count(*) from pg_stat_replication where sync_state in ('sync', 'quorum') and state = 'streaming')")
		if err == nil && (standby == "" || got == standby+" 1") {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("commits do not wait for %s: %q %v", standby, got, err)
		}
	}
}

func (n *node) start() {
	n.t.Helper()
	log, err := os.OpenFile(n.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	n.server = n.command("postgres", "-D", n.dir, "-c", "listen_addresses="+n.host, "-c", fmt.Sprint("port=", n.port),
		"-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "wal_receiver_status_interval=1",
		"-c", "wal_retrieve_retry_interval=200ms")
	n.server.Stdout, n.server.Stderr = log, log
	if err := n.server.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.gone = make(chan struct{})
	go func(cmd *exec.Cmd, gone chan struct{}) {
		_ = cmd.Wait()
		close(gone)
	}(n.server, n.gone)
	for deadline := time.Now().Add(patience); ; <-time.After(20 * time.Millisecond) {
		if _, err := n.query("postgres", "select 1"); err == nil {
			return
		} else if time.Now().After(deadline) {
			said, _ := os.ReadFile(log.Name())
			n.t.Fatalf("node %s does not start: %v\n%s", n.name, err, said)
		}
	}
}

// crash kills the server and all its processes, as if its machine had lost power.
func (n *node) crash() {
	if n.server == nil {
		return
	}
	n.signal(syscall.SIGSTOP) // so that none escapes
	n.signal(syscall.SIGKILL)
	<-n.gone
	n.server = nil
}

// signal sends a signal to the server and all its processes.
func (n *node) signal(s syscall.Signal) {
	pids := []int{n.server.Process.Pid}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p := bench.ProcStat(pid); len(p) > 1 && p[1] == strconv.Itoa(n.server.Process.Pid) {
				pids = append(pids, pid)
			}
		}
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, s)
	}
}

// stop shuts the server down as an operator does. Its standbys have got everything then.
func (n *node) stop() {
	n.t.Helper()
	_ = n.server.Process.Signal(syscall.SIGINT)
	select {
	case <-n.gone:
		n.server = nil
	case <-time.After(patience):
		n.t.Fatalf("node %s does not stop", n.name)
	}
}

// promote makes a standby the primary, and returns when it takes writes.
func (n *node) promote() {
	n.t.Helper()
	if _, err := n.query("postgres", "select pg_promote()"); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) address() string { return net.JoinHostPort(n.host, fmt.Sprint(n.port)) }

func (n *node) url() string { return "postgres://waybill@" + n.address() + "/waybill?sslmode=disable" }

// pairURL is the address of whichever of the nodes takes writes.
func pairURL(nodes ...*node) string {
	var hosts []string
	for _, n := range nodes {
		hosts = append(hosts, n.address())
	}
	return "postgres://waybill@" + strings.Join(hosts, ",") + "/waybill?sslmode=disable&target_session_attrs=read-write"
}

// query runs a statement that answers with one text at most.
func (n *node) query(database, sql string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, "postgres://waybill@"+n.address()+"/"+database+"?sslmode=disable&default_query_exec_mode=simple_protocol")
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	res, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil || len(res) == 0 || len(res[0].Rows) == 0 {
		return "", err
	}
	return string(res[0].Rows[0][0]), nil
}
