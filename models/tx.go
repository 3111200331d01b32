package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/gorm"
)

// Pgx is the face of a transaction for SQL.
type Pgx = pgx.Tx

// Tx is a transaction of Store.InTx: SQL with its own methods, rows of resources with DB. Both use one connection.
type Tx struct {
	Pgx
	DB    *gorm.DB
	after []func()
}

// AfterCommit calls f once the transaction has committed, and not at all when it does not.
func (tx *Tx) AfterCommit(f func()) { tx.after = append(tx.after, f) }

var errOuter = errors.New("commit and rollback belong to Store.InTx")

// Commit implements pgx.Tx. Only InTx commits.
func (tx *Tx) Commit(context.Context) error { return errOuter }

// Rollback implements pgx.Tx. Return an error from the function that InTx runs.
func (tx *Tx) Rollback(context.Context) error { return errOuter }

// InTx is the way to write: it runs fn in a transaction, and commits when fn returns nil. It notes what it commits with the
// Idempotency-Key of the request that the context belongs to. Of a tenant that has gone to
// another cell it writes nothing, and returns an ElsewhereError. Only the path of events has transactions of its own (hotTx).
func (s *Store) InTx(ctx context.Context, fn func(tx *Tx) error) error {
	tx := &Tx{}
	if err := tx.run(ctx, s, fn); err != nil {
		return asElsewhere(err)
	}
	for _, f := range tx.after {
		f()
	}
	return nil
}

// run begins the transaction, does what is asked for, and commits.
func (tx *Tx) run(ctx context.Context, s *Store, fn func(tx *Tx) error) (err error) {
	conn, err := s.SQL.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // gives the connection back to the pool
	var pc *pgx.Conn
	err = conn.Raw(func(dc any) error {
		c, ok := dc.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("unexpected driver connection %T", dc)
		}
		pc = c.Conn()
		return nil
	})
	if err != nil {
		return err
	}
	ptx, err := pc.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			_ = ptx.Rollback(context.WithoutCancel(ctx))
			panic(p)
		}
		if err != nil {
			if rb := ptx.Rollback(context.WithoutCancel(ctx)); rb != nil && !errors.Is(rb, pgx.ErrTxClosed) {
				err = errors.Join(err, rb)
			}
		}
	}()
	if err = s.checkTenant(ctx, ptx); err != nil {
		return err
	}
	g := s.DB.Session(&gorm.Session{Context: ctx, NewDB: true, SkipDefaultTransaction: true})
	g.Statement.ConnPool = &txConn{conn}
	tx.Pgx, tx.DB = ptx, g
	if err = fn(tx); err != nil {
		return err
	}
	if err = markClaim(ctx, ptx); err != nil {
		return err
	}
	return ptx.Commit(ctx)
}

// inSnapshot runs fn in a transaction that sees the database as it is at its first statement. It is for reading.
func (s *Store) inSnapshot(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, fn)
}

// txConn gives GORM only the query methods of *sql.Conn. It hides BeginTx, with which GORM would send a second BEGIN
// whose COMMIT ends our transaction, and has Commit and Rollback so that GORM's nested transactions use savepoints.
type txConn struct{ conn *sql.Conn }

func (c *txConn) PrepareContext(ctx context.Context, q string) (*sql.Stmt, error) {
	return c.conn.PrepareContext(ctx, q)
}

func (c *txConn) ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error) {
	return c.conn.ExecContext(ctx, q, args...)
}

func (c *txConn) QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	return c.conn.QueryContext(ctx, q, args...)
}

func (c *txConn) QueryRowContext(ctx context.Context, q string, args ...any) *sql.Row {
	return c.conn.QueryRowContext(ctx, q, args...)
}

func (c *txConn) Commit() error   { return errOuter }
func (c *txConn) Rollback() error { return errOuter }
