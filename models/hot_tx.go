package models

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/waybill-dev/waybill/models/pgcopy"
)

// hotTx is a transaction of the path of events, which costs two round trips where it can: it begins with the first
// statements, and commits with the last rows.
type hotTx struct {
	conn   *pgx.Conn
	pooled bool   // see Store
	after  func() // nil for nothing
	// first are statements that nobody needs to hear the results of, and which go out with what comes next. They begin the transaction.
	// One that finds that something is not as it was known fails with errStale. Nil for none.
	first *pgx.Batch
}

// errStale: what a transaction took for granted is not so any more. It is done again, and asks first.
var errStale = errors.New("something has changed meanwhile")

// orStale is the end of a statement that fails with errStale unless a condition holds. What it says is in PostgreSQL's log.
func orStale(condition string) string {
	return "select (case when " + condition + " then '1' else '" + staleMessage + "' end)::int"
}

// allOrStale is a statement that returns its rows, which fails with errStale unless there are n of them.
func allOrStale(statement, n string) string {
	return "with written as (" + statement + ") " + orStale("(select count(*) from written) = "+n)
}

const staleMessage = "something has changed meanwhile: Waybill asks again"

// isStale tells orStale's error from others.
func isStale(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "22P02" && strings.Contains(pe.Message, staleMessage)
}

// flush sends what is to go first, for there are statements to come whose results decide.
func (tx *hotTx) flush(ctx context.Context) error {
	if tx.first == nil {
		return nil
	}
	b := tx.first
	tx.first = nil
	err := tx.conn.SendBatch(ctx, b).Close()
	if isStale(err) {
		return errStale
	}
	return err
}

// inHotTx runs fn on a connection of the hot path. fn calls begin and commit; what it leaves open, for an error or for
// nothing to write, is rolled back.
func (s *Store) inHotTx(ctx context.Context, fn func(tx *hotTx) error) error {
	tx := hotTx{pooled: s.pooled}
	err := tx.run(ctx, s, fn)
	if err == nil && tx.after != nil {
		tx.after()
	}
	return err
}

func (tx *hotTx) run(ctx context.Context, s *Store, fn func(tx *hotTx) error) error {
	c, err := s.Hot.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	tx.conn = c.Conn()
	err = fn(tx)
	switch pc := tx.conn.PgConn(); {
	case pc.IsClosed() || pc.TxStatus() == 'I' && (err == nil || ctx.Err() == nil):
	case ctx.Err() != nil:
		giveUp(pc)
	default:
		// The pool closes a connection on which this fails.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
		defer cancel()
		_, _ = c.Exec(ctx, "rollback")
	}
	return err
}

// rollbackTime is how long a transaction that comes to nothing may take to end, and a server to be told that nobody waits for it.
const rollbackTime = 2 * time.Second

// giveUp closes a connection on which an answer is overdue, without waiting for it, and tells the server: it may wait for a standby,
// with locks, for as long as that is away.
func giveUp(pc *pgconn.PgConn) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = pc.Close(now)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), rollbackTime)
		defer cancel()
		_ = pc.CancelRequest(ctx) // without it the server finds out when it next writes to the connection
	}()
}

// canGuess reports whether statements may go out before the results of earlier ones are known.
func (tx *hotTx) canGuess() bool { return !tx.pooled }

// begin makes a batch the first of the transaction. It is called before anything else is added to the batch. It returns how many
// results of the batch are its own.
func (tx *hotTx) begin(b *pgx.Batch) int {
	b.Queue("begin")
	if !tx.pooled {
		return 1
	}
	b.Queue(hotSettingsOnce)
	return 2
}

// commit writes the rows and ends the transaction. afterwards is called once it has committed; it may be nil.
func (tx *hotTx) commit(ctx context.Context, copies []pgcopy.Copy, afterwards func()) error {
	var err error
	if tx.pooled {
		err = pgcopy.CommitInTurn(ctx, tx.conn, copies)
	} else {
		err = pgcopy.Commit(ctx, tx.conn, tx.first, copies)
	}
	if isStale(err) {
		return errStale
	}
	if err != nil {
		return err
	}
	tx.after = afterwards
	return nil
}
