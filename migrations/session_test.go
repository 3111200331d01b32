package migrations_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// pooler gives all its clients one connection of the database in turns, a transaction each, as PgBouncer does in transaction
// mode. It returns its address.
func pooler(t *testing.T, database string) string {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := conn.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		shared.Conn.Close()
	})
	var turn sync.Mutex
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveClient(c, shared.Frontend, &turn)
		}
	}()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.Host, u.RawQuery = l.Addr().String(), "sslmode=disable"
	return u.String()
}

func serveClient(c net.Conn, database *pgproto3.Frontend, turn *sync.Mutex) {
	defer c.Close()
	client := pgproto3.NewBackend(c, c)
	if _, err := client.ReceiveStartupMessage(); err != nil {
		return
	}
	client.Send(&pgproto3.AuthenticationOk{})
	client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	status := byte('I')
	for client.Flush() == nil {
		m, err := client.Receive()
		if _, query := m.(*pgproto3.Query); err != nil || !query {
			return
		}
		if status == 'I' {
			turn.Lock()
		}
		database.Send(m)
		if database.Flush() != nil {
			return
		}
		for status = 0; status == 0; {
			m, err := database.Receive()
			if err != nil {
				return
			}
			if r, ready := m.(*pgproto3.ReadyForQuery); ready {
				status = r.TxStatus
			}
			client.Send(m)
		}
		if status == 'I' {
			turn.Unlock()
		}
	}
}

// TestCheckSession refuses a pooler in transaction mode, and nothing else.
func TestCheckSession(t *testing.T) {
	t.Parallel()
	database := modelstest.DB(t)
	if err := migrations.CheckSession(t.Context(), database); err != nil {
		t.Errorf("PostgreSQL itself: %v", err)
	}
	if err := migrations.CheckSession(t.Context(), pooler(t, database)); !errors.Is(err, migrations.ErrPooled) {
		t.Errorf("a pooler in transaction mode: %v", err)
	}
	if err := migrations.Apply(t.Context(), pooler(t, database)); !errors.Is(err, migrations.ErrPooled) {
		t.Errorf("a migration through it: %v", err)
	}
	if err := migrations.CheckSession(context.Background(), "postgres://nobody@127.0.0.1:1/x"); err == nil ||
		errors.Is(err, migrations.ErrPooled) {
		t.Errorf("no database: %v", err)
	}
}
