// Package dbconn says how connections to PostgreSQL are opened, and how soon one is given up whose other end is gone.
//
// A server that is killed closes its connections. One whose machine or network is gone says nothing: then the kernel of this
// machine has to notice, and its defaults take from two minutes (an address that does not answer) to two hours (a connection on
// which nothing is under way).
package dbconn

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// connectTime is how long one server may take until a connection to it can be used, unless the address says connect_timeout.
	connectTime = 3 * time.Second
	// pingTime is how long a connection that was idle may take to answer before another one is opened.
	pingTime = 2 * time.Second
	// silentFor is for how long a server that did not answer is passed over, while another one answers.
	silentFor = 5 * time.Second
	// unackedTime is how long what was sent may stay without the other machine's acknowledgement (RFC 5482).
	unackedTime = 5 * time.Second
)

// keepAlive notices within five seconds that the other machine is gone while nothing is sent: after two it is asked, three times.
// With an answer under way that is the case as well: what was asked for has been acknowledged.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3}

// Parse reads the address of a database, for a pool.
func Parse(url string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	tune(cfg.ConnConfig)
	cfg.PingTimeout = pingTime
	cfg.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool {
		return p.IdleDuration > time.Second || !quiet(p.Conn.PgConn().Conn())
	}
	return cfg, nil
}

// quiet reports whether there is nothing to read on an idle connection. The end of file is there as soon as a server has ended, and
// what is sent then would fail.
func quiet(conn net.Conn) bool {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // of TLS
		conn = t.NetConn()
	}
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	nothing := false
	err = raw.Control(func(fd uintptr) { nothing = peek(fd) })
	return err == nil && nothing
}

// Connect opens a single connection.
func Connect(ctx context.Context, url string) (*pgx.Conn, error) {
	cfg, err := Parse(url) // which knows the parameters of pools, and does not send them to the server
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, cfg.ConnConfig)
}

func tune(cfg *pgx.ConnConfig) {
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTime
	}
	dialer := &net.Dialer{Timeout: cfg.ConnectTimeout, KeepAliveConfig: keepAlive, Control: control}
	s := &silence{since: map[string]time.Time{}}
	cfg.DialFunc = s.passingOver(dialer.DialContext)
}

// silence remembers which servers of one database did not answer, so that each new connection need not wait for one that is gone
// before it turns to the next one.
type silence struct {
	mu       sync.Mutex
	since    map[string]time.Time // when a server did not answer, by address
	answered time.Time            // when any other did, be it that it refused
}

// errSilent is why a server was passed over.
var errSilent = errors.New("passed over: it did not answer a moment ago, and others do")

func (s *silence) passingOver(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if s.passOver(address) {
			return nil, errSilent
		}
		conn, err := dial(ctx, network, address)
		s.note(address, err)
		return conn, err
	}
}

// passOver reports whether a server is not worth the wait now. When none answers, each is.
func (s *silence) passOver(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, known := s.since[address]
	return known && time.Since(at) < silentFor && time.Since(s.answered) < silentFor
}

func (s *silence) note(address string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		s.since[address] = time.Now()
		return
	}
	delete(s.since, address)
	s.answered = time.Now()
}
