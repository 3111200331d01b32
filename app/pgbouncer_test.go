package app

import (
	"bytes"
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
	"github.com/waybill-dev/waybill/models/modelstest"
)

// bouncer is a PgBouncer in front of a database.
type bouncer struct {
	t    *testing.T
	url  string // of the database behind it
	file string // its configuration
	port int
	cmd  *exec.Cmd
	gone chan struct{}
	said bytes.Buffer
}

// newBouncer starts PgBouncer with few connections to the database, so that many transactions share each; nil where there is none.
func newBouncer(t *testing.T, database, mode string) *bouncer {
	t.Helper()
	program := os.Getenv("PGBOUNCER") // another one than the system's
	if program == "" {
		var err error
		if program, err = exec.LookPath("pgbouncer"); err != nil {
			program = "/usr/sbin/pgbouncer" // not on everybody's path
		}
	}
	if _, err := os.Stat(program); err != nil {
		return nil
	}
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	port, err := bench.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := openDir(t)
	b := &bouncer{t: t, port: port, file: filepath.Join(dir, "pgbouncer.ini"),
		url: fmt.Sprintf("postgres://somebody@127.0.0.1:%d/%s?sslmode=disable", port, cfg.Database)}
	text := fmt.Sprintf(`[databases]
* = host=%s port=%d user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = 4
max_client_conn = 500
query_wait_timeout = 5
server_login_retry = 0.2
`, cfg.Host, cfg.Port, cfg.User, cfg.Password, port, mode)
	if err := os.WriteFile(b.file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	b.start(program)
	t.Cleanup(func() {
		b.kill()
		if t.Failed() {
			t.Logf("pgbouncer:\n%s", b.said.String())
		}
	})
	return b
}

func (b *bouncer) start(program string) {
	b.t.Helper()
	b.cmd = exec.Command(program, b.file)
	b.cmd.Stdout, b.cmd.Stderr = &b.said, &b.said
	b.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Getuid() == 0 { // it does not run as root
		nobody, err := user.Lookup("nobody")
		if err != nil {
			b.t.Fatal(err)
		}
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		b.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.gone = make(chan struct{})
	go func(cmd *exec.Cmd, gone chan struct{}) {
		_ = cmd.Wait()
		close(gone)
	}(b.cmd, b.gone)
	for deadline := time.Now().Add(patience); ; <-time.After(5 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.port))
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("pgbouncer does not listen: %v", err)
		}
	}
}

func (b *bouncer) kill() {
	_ = b.cmd.Process.Kill()
	<-b.gone
}

// refused runs a command that ends at once, and returns what it says.
func refused(t *testing.T, command string, env ...string) string {
	t.Helper()
	cmd := prepare(os.Args[0], command, env...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("%s ended well: %s", command, out)
	}
	return string(out)
}

// TestPgBouncer has web behind a PgBouncer in transaction mode and a worker beside it. PgBouncer is killed under load: nothing
// that was accepted is lost, and nothing is sent twice. What web leaves on PgBouncer's connections is nothing.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	url := modelstest.DB(t)
	b := newBouncer(t, url, "transaction")
	if b == nil {
		t.Log("PgBouncer is not on this machine")
		return
	}
	for _, command := range []string{"web", "work", "migrate", "serve"} {
		if said := refused(t, command, "DATABASE_URL="+b.url, "DATA_DIR="+t.TempDir()); !strings.Contains(said, "DATABASE_URL_DIRECT") {
			t.Errorf("%s through the pooler alone: %s", command, said)
		}
		if command != "web" {
			said := refused(t, command, "DATABASE_URL="+b.url, "DATABASE_URL_DIRECT="+b.url, "DATA_DIR="+t.TempDir())
			if !strings.HasPrefix(said, "waybill: DATABASE_URL_DIRECT: the address leads to a connection pooler") {
				t.Errorf("%s with two addresses of the pooler: %s", command, said)
			}
		}
	}
	both := []string{"DATABASE_URL=" + b.url, "DATABASE_URL_DIRECT=" + url}
	l := newLedger(t)
	web := startProcess(t, "web", both...)
	l.setUp(web.base)
	startProcess(t, "work", both...)
	ctx, stop := context.WithCancel(t.Context())
	publishers := l.publish(ctx, 8)
	for range 3 {
		l.more(150)
		refused := l.answered(503)
		b.kill()
		began := time.Now()
		accepted, _, _ := l.count()
		l.await(func() bool { return l.answered(503) > refused })
		b.start(b.cmd.Path)
		l.await(func() bool { now, _, _ := l.count(); return now > accepted })
		t.Logf("PgBouncer was killed and started again: an event was accepted %v later", time.Since(began).Round(time.Millisecond))
	}
	l.more(150)
	stop()
	publishers.Wait()
	l.finish(url)
	a := &testApp{TB: t, base: web.base, key: testKey}
	for _, path := range []string{"/events", "/deliveries", "/attempts", "/tenants", "/tenants/acme/destinations", "/tenants/acme/destinations/hook",
		"/changes?tenant_id=acme&since=start", "/audit", "/server"} {
		a.want(200, "GET", path, nil)
		a.want(200, "GET", path, nil) // by what is known of the statement now
	}
	// What is written by people goes through the pooler too, with jobs.
	again := ""
	for id := range l.accepted {
		again = id
	}
	a.want(200, "POST", "/retry", `{"event_id":"`+again+`","destination_id":"hook"}`, "Prefer", "wait=10")
	b.leftAlone()
	wellAgain(t, map[string]string{"DATABASE_URL": b.url, "DATABASE_URL_DIRECT": url})
	l.reckon(url, 1) // that retry
}

// leftAlone looks at PgBouncer's connections to the database: none has a setting or a statement that others would run into.
func (b *bouncer) leftAlone() {
	b.t.Helper()
	var open []*pgx.Conn
	seen := map[string]bool{}
	for range 4 { // as many as it has, each kept by a transaction
		conn, err := pgx.Connect(b.t.Context(), b.url+"&default_query_exec_mode=simple_protocol")
		if err != nil {
			b.t.Fatal(err)
		}
		open = append(open, conn)
		var pid, state string
		if _, err := conn.Exec(b.t.Context(), "begin"); err != nil {
			b.t.Fatal(err)
		}
		err = conn.QueryRow(b.t.Context(), `select pg_backend_pid()::text, current_setting('enable_seqscan') || ' '
			|| current_setting('synchronous_commit') || ' ' || current_setting('plan_cache_mode') || ' '
			|| (select count(*) from pg_prepared_statements) || ' ' || (select count(*) from pg_locks where pid = pg_backend_pid()
				and locktype = 'advisory')`).Scan(&pid, &state)
		if err != nil {
			b.t.Fatal(err)
		}
		if !strings.HasPrefix(state, "on ") || !strings.HasSuffix(state, " auto 0 0") {
			b.t.Errorf("a connection was left with %q", state)
		}
		seen[pid] = true
	}
	for _, conn := range open {
		conn.Close(b.t.Context())
	}
	if len(seen) != 4 {
		b.t.Errorf("looked at %d connections", len(seen))
	}
}

// TestStatementPooler: a pooler that keeps no transaction together is refused.
func TestStatementPooler(t *testing.T) {
	t.Parallel()
	url := modelstest.DB(t)
	b := newBouncer(t, url, "statement")
	if b == nil {
		t.Log("PgBouncer is not on this machine")
		return
	}
	said := refused(t, "web", "DATABASE_URL="+b.url, "DATABASE_URL_DIRECT="+url)
	if !strings.HasPrefix(said, "waybill: DATABASE_URL: ") || !strings.Contains(said, "pool_mode = transaction") {
		t.Errorf("web says: %s", said)
	}
}

// TestDifferentDatabases: two addresses of one database that are not are refused before anything is accepted.
func TestDifferentDatabases(t *testing.T) {
	t.Parallel()
	one, other := modelstest.DB(t), modelstest.DB(t)
	for _, command := range []string{"work", "migrate"} {
		if said := refused(t, command, "DATABASE_URL="+one, "DATABASE_URL_DIRECT="+other); !strings.Contains(said, "different databases") {
			t.Errorf("%s says: %s", command, said)
		}
	}
}
