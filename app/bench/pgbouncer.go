package bench

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// PgBouncer is a pooler in front of a database, on this machine.
type PgBouncer struct {
	URL  string       // of the database behind it
	Said bytes.Buffer // complete once it has ended

	program, file string
	port          int
	cmd           *exec.Cmd
	gone          chan struct{}
}

// FindPgBouncer is the program's path: what PGBOUNCER says, else the system's; empty where there is none.
func FindPgBouncer() string {
	program := os.Getenv("PGBOUNCER")
	if program == "" {
		var err error
		if program, err = exec.LookPath("pgbouncer"); err != nil {
			program = "/usr/sbin/pgbouncer" // not on everybody's path
		}
	}
	if _, err := os.Stat(program); err != nil { //nolint:gosec // whoever runs it names the program
		return ""
	}
	return program
}

// NewPgBouncer starts PgBouncer with at most so many connections to the database, reached by TCP. Its file is in dir, into which everybody
// must be able to look, for it does not run as root. mode is its pool_mode.
func NewPgBouncer(dir, database, mode string, connections int) (*PgBouncer, error) {
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	b := &PgBouncer{program: FindPgBouncer(), port: port, file: filepath.Join(dir, "pgbouncer.ini"),
		URL: fmt.Sprintf("postgres://somebody@127.0.0.1:%d/%s?sslmode=disable", port, cfg.Database)}
	text := fmt.Sprintf(`[databases]
* = host=%s port=%d user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = %d
max_client_conn = 500
query_wait_timeout = 5
server_login_retry = 0.2
`, cfg.Host, cfg.Port, cfg.User, cfg.Password, port, mode, connections)
	if err := os.WriteFile(b.file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return b, b.Start()
}

// Start starts it, again after Kill, and waits until it listens.
func (b *PgBouncer) Start() error {
	b.cmd = exec.Command(b.program, b.file) //nolint:noctx // Kill ends it
	b.cmd.Stdout, b.cmd.Stderr = &b.Said, &b.Said
	b.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Getuid() == 0 { // it does not run as root
		nobody, err := user.Lookup("nobody")
		if err != nil {
			return err
		}
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		b.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	b.gone = make(chan struct{})
	go func(cmd *exec.Cmd, gone chan struct{}) {
		_ = cmd.Wait()
		close(gone)
	}(b.cmd, b.gone)
	for deadline := time.Now().Add(30 * time.Second); ; <-time.After(5 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", b.port), time.Second) //nolint:noctx // to this machine
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			b.Kill()
			return fmt.Errorf("pgbouncer does not listen: %w: %s", err, b.Said.String())
		}
	}
}

// Kill ends it at once.
func (b *PgBouncer) Kill() {
	_ = b.cmd.Process.Kill()
	<-b.gone
}
