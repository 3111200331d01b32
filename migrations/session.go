package migrations

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/waybill-dev/waybill/internal/dbconn"
)

// orphanSettings have PostgreSQL give up a session whose client is gone without a word, with its locks: a machine lost power, a firewall
// forgot the connection. By itself it waits for the kernel's keep-alives, two hours. No transaction here waits for a person or a
// receiver between two statements, so that none is idle for that long.
var orphanSettings = map[string]string{
	"idle_in_transaction_session_timeout": OrphanTime,
	"tcp_keepalives_idle":                 "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
	// Keep-alives do not run while an answer waits for its acknowledgement (RFC 5482).
	"tcp_user_timeout": "25s",
}

// OrphanTime is for how long a transaction may be idle, as PostgreSQL takes it, wherever that is set on the way of events.
const OrphanTime = "30s"

// WithSettings makes every connection of a configuration begin with these settings, and orphanSettings. They are set on the connection
// rather than sent with its first message, which poolers refuse for all but a few settings.
func WithSettings(cfg *pgx.ConnConfig, settings map[string]string) {
	all := maps.Clone(orphanSettings)
	maps.Copy(all, settings)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "set %s to '%s';", name, all[name]) // both are constants of this program
	}
	text := b.String()
	cfg.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if _, err := conn.Exec(ctx, text).ReadAll(); err != nil {
			return fmt.Errorf("settings of the connection: %w", err)
		}
		return nil
	}
}

// ErrPooled says that the address of the database leads to a pooler that gives a connection to another one after each
// transaction.
var ErrPooled = errors.New("the address leads to a connection pooler in transaction or statement mode, with which settings, prepared statements and advisory locks of a session do not hold: " +
	"events would be accepted and not delivered. Give PostgreSQL's own address in DATABASE_URL_DIRECT (then `waybill web` goes through the pooler of DATABASE_URL, and everything else does not), " +
	"or in DATABASE_URL; or use the pooler in session mode (PgBouncer: pool_mode = session)")

// ErrStatementPooled says that the pooler does not even keep a transaction together.
var ErrStatementPooled = errors.New("the address leads to a connection pooler in statement mode, with which there are no transactions. Use transaction mode (PgBouncer: pool_mode = transaction)")

// pooledTries is how often it is looked whether two connections share one of the server's. A pooler may take any that is free.
const pooledTries = 5

// CheckSession reports ErrPooled where a session of the database at url does not last as long as its connection.
func CheckSession(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cfg, err := dbconn.Parse(url) // which knows the parameters of pools, and does not send them to the server
	if err != nil {
		return err
	}
	var conns [2]*pgconn.PgConn
	for i := range conns {
		conn, err := pgconn.ConnectConfig(ctx, &cfg.ConnConfig.Config)
		if err != nil {
			return fmt.Errorf("connect to PostgreSQL: %w", err)
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		conns[i] = conn
	}
	mine := ""
	for range pooledTries {
		pid, err := backend(ctx, conns[0], "")
		if err != nil {
			return err
		}
		// The other one keeps the server's connection, while it has one of its own for sure.
		other, err := backend(ctx, conns[1], "begin;")
		if errors.Is(err, ErrStatementPooled) {
			return ErrPooled
		}
		if err != nil {
			return err
		}
		if pid == other || mine != "" && pid != mine {
			return ErrPooled
		}
		if mine, err = backend(ctx, conns[0], ""); err != nil {
			return err
		}
		if _, err := conns[1].Exec(ctx, "rollback").ReadAll(); err != nil {
			return fmt.Errorf("look at the connections: %w", err)
		}
		if mine != pid {
			return ErrPooled
		}
	}
	return nil
}

// CheckTransactions reports ErrStatementPooled where a transaction of the database at url does not stay together. It looks at a
// pooler, from which no more is expected.
func CheckTransactions(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conn, err := dbconn.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = backend(ctx, conn.PgConn(), "begin;")
	return err
}

// backend asks which of the server's processes a connection has, without preparing a statement.
func backend(ctx context.Context, conn *pgconn.PgConn, first string) (string, error) {
	res, err := conn.Exec(ctx, first+"select pg_backend_pid()").ReadAll()
	if err != nil {
		var pe *pgconn.PgError
		if errors.As(err, &pe) && strings.Contains(pe.Message, "statement pooling") {
			return "", ErrStatementPooled
		}
		return "", fmt.Errorf("look at the connections: %w", err)
	}
	rows := res[len(res)-1].Rows
	if len(rows) != 1 || len(rows[0]) != 1 {
		return "", errors.New("look at the connections: PostgreSQL did not say which process answers")
	}
	return string(rows[0][0]), nil
}
