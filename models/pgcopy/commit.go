package pgcopy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Copy is rows for a table.
type Copy struct {
	Into string // the table and its columns, as SQL: "t (a, b)"
	Rows *Rows
}

// CopyDone and the end of the binary format's rows.
var (
	copyDone = []byte{'c', 0, 0, 0, 4}
	trailer  = []byte{0xff, 0xff}
)

// Commit runs the COPY statements and commits the transaction that is open on conn, all in one round trip: the
// statements go out as one query, and the rows right behind it, before the server has asked for them. PostgreSQL reads
// them one after the other, and drops what is left after an error ("Frontend/Backend Protocol", section on COPY). After
// an error the transaction has to be rolled back.
//
// Before them the statements of first run, which may be nil, in the same round trip. What they return is not read: one that finds
// something amiss must fail. A few rows are inserted by statements that are prepared once.
func Commit(ctx context.Context, conn *pgx.Conn, first *pgx.Batch, copies []Copy) error {
	few, many := split(copies)
	if first != nil || len(many) == 0 {
		return prepared(ctx, conn, first, few, many)
	}
	out, err := query(copies, "commit")
	if err != nil {
		return err
	}
	if err := write(ctx, conn, withRows(out, copies)); err != nil {
		return err
	}
	return received(ctx, conn, nil)
}

func withRows(out net.Buffers, copies []Copy) net.Buffers {
	for _, c := range copies {
		out = append(out, c.Rows.message(), copyDone)
	}
	return out
}

// CommitInTurn does what Commit does in a round trip for each statement: rows go out only once the server has asked for them. Poolers
// follow what is asked and answered, and some lose track of rows that come early: the server's connection is then not given to
// anybody else any more.
func CommitInTurn(ctx context.Context, conn *pgx.Conn, copies []Copy) error {
	return inTurn(ctx, conn, copies, "commit")
}

func inTurn(ctx context.Context, conn *pgx.Conn, copies []Copy, last string) error {
	out, err := query(copies, last)
	if err != nil {
		return err
	}
	if err := write(ctx, conn, out); err != nil {
		return err
	}
	return received(ctx, conn, func() error {
		rows := copies[0].Rows
		copies = copies[1:]
		return write(ctx, conn, net.Buffers{rows.message(), copyDone})
	})
}

// query is the message that holds all statements.
func query(copies []Copy, last string) (net.Buffers, error) {
	var sql strings.Builder
	for _, c := range copies {
		sql.WriteString("copy ")
		sql.WriteString(c.Into)
		sql.WriteString(" from stdin binary; ")
	}
	sql.WriteString(last)
	b, err := (&pgproto3.Query{String: sql.String()}).Encode(nil)
	return net.Buffers{b}, err
}

// message ends the rows and returns them as one message.
func (c *Rows) message() []byte {
	b := append(c.b, trailer...)
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-1))
	return b
}

func write(ctx context.Context, conn *pgx.Conn, out net.Buffers) error {
	to := conn.PgConn().Conn()
	if deadline, ok := ctx.Deadline(); ok {
		_ = to.SetWriteDeadline(deadline)
		defer func() { _ = to.SetWriteDeadline(time.Time{}) }()
	}
	if _, err := out.WriteTo(to); err != nil {
		// The server has a part of a message: the connection is of no use any more.
		_ = conn.Close(ctx)
		return fmt.Errorf("write to PostgreSQL: %w", err)
	}
	return nil
}

// received reads the answers to everything that was sent. asked, which may be nil, is called each time the server asks for rows.
func received(ctx context.Context, conn *pgx.Conn, asked func() error) (err error) {
	for {
		msg, rerr := conn.PgConn().ReceiveMessage(ctx)
		if rerr != nil {
			return errors.Join(err, rerr)
		}
		switch m := msg.(type) {
		case *pgproto3.CopyInResponse:
			if asked != nil {
				if werr := asked(); werr != nil {
					return errors.Join(err, werr)
				}
			}
		case *pgproto3.ErrorResponse:
			if err == nil {
				err = pgconn.ErrorResponseToPgError(m)
			}
		case *pgproto3.CommandComplete:
			// PostgreSQL answers COMMIT with ROLLBACK when the transaction had failed before.
			if string(m.CommandTag) == "ROLLBACK" && err == nil {
				err = errors.New("the transaction had failed and was rolled back")
			}
		case *pgproto3.ReadyForQuery:
			return err
		}
	}
}
