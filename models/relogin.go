package models

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/waybill-dev/waybill/internal/dbconn"
)

// reloginTime is how long the server may take to let the process in.
const reloginTime = 5 * time.Second

// Relogin has new connections authenticate as an address of the same database says: its user, password and certificates. They are
// tried first; what does not work is not taken over. Connections that are open stay.
func (s *Store) Relogin(ctx context.Context, url string) error {
	return relogin(ctx, s.login, url, s.pool.Config().ConnConfig)
}

// ReloginReplica is Relogin for the replica. One that is away lets nobody in: what it is opened with then need not have been tried.
func (s *Store) ReloginReplica(ctx context.Context, url string) error {
	if s.replica == nil {
		return nil
	}
	login, cfg := s.replica.login, s.replica.pool.Config().ConnConfig
	err := relogin(ctx, login, url, cfg)
	var connect *pgconn.ConnectError
	var said *pgconn.PgError
	if !errors.As(err, &connect) || errors.As(err, &said) {
		return err
	}
	fresh, err := login.Check(url, cfg)
	if err == nil {
		login.Set(fresh)
	}
	return err
}

func relogin(ctx context.Context, login *dbconn.Login, url string, cfg *pgx.ConnConfig) error {
	fresh, err := login.Check(url, cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reloginTime)
	defer cancel()
	var tried dbconn.Login
	tried.Set(fresh)
	conn, err := pgx.ConnectConfig(ctx, tried.Apply(cfg))
	if err != nil {
		return fmt.Errorf("a connection could not be opened: %w", err)
	}
	_ = conn.Close(ctx)
	login.Set(fresh)
	return nil
}
