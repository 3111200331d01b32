package dbconn

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

// Login is what new connections to a database authenticate with: user, password, certificate, authorities. It can be replaced while
// a process works; connections that are open stay. Its zero value changes nothing.
type Login struct {
	now atomic.Pointer[pgx.ConnConfig]
}

// errElsewhere says that an address leads to another database.
var errElsewhere = errors.New("only user, password and certificates can be changed without a restart, and this is the address of another database")

// Check reads an address, and the files that it names. It must be of the same database as cfg.
func (*Login) Check(url string, cfg *pgx.ConnConfig) (*pgx.ConnConfig, error) {
	fresh, err := Parse(url)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if place(fresh.ConnConfig) != place(cfg) {
		return nil, errElsewhere
	}
	return fresh.ConnConfig, nil
}

// Set has new connections authenticate like this.
func (l *Login) Set(fresh *pgx.ConnConfig) { l.now.Store(fresh) }

// Apply completes how a connection is opened.
func (l *Login) Apply(cfg *pgx.ConnConfig) *pgx.ConnConfig {
	if fresh := l.now.Load(); fresh != nil {
		cfg.User, cfg.Password, cfg.TLSConfig, cfg.Fallbacks = fresh.User, fresh.Password, fresh.TLSConfig, fresh.Fallbacks
	}
	return cfg
}

// place is where a connection leads.
func place(cfg *pgx.ConnConfig) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s:%d", cfg.Database, cfg.Host, cfg.Port)
	for _, f := range cfg.Fallbacks {
		fmt.Fprintf(&b, " %s:%d", f.Host, f.Port)
	}
	return b.String()
}
