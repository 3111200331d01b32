package models

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/dbconn"
)

// reloginTime is how long the server may take to let the process in.
const reloginTime = 5 * time.Second

// Relogin has new connections authenticate as an address of the same database says: its user, password and certificates. They are
// tried first; what does not work is not taken over. Connections that are open stay.
func (s *Store) Relogin(ctx context.Context, url string) error {
	fresh, err := s.login.Check(url, s.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reloginTime)
	defer cancel()
	var tried dbconn.Login
	tried.Set(fresh)
	conn, err := pgx.ConnectConfig(ctx, tried.Apply(s.pool.Config().ConnConfig))
	if err != nil {
		return fmt.Errorf("a connection could not be opened: %w", err)
	}
	_ = conn.Close(ctx)
	s.login.Set(fresh)
	return nil
}
