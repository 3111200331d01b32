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

// Copy is a COPY … FROM STDIN BINARY statement with its rows.
type Copy struct {
	SQL  string
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
func Commit(ctx context.Context, conn *pgx.Conn, copies []Copy) error {
	var sql strings.Builder
	for _, c := range copies {
		sql.WriteString(c.SQL)
		sql.WriteString("; ")
	}
	sql.WriteString("commit")
	query, err := (&pgproto3.Query{String: sql.String()}).Encode(nil)
	if err != nil {
		return err
	}
	out := net.Buffers{query}
	for _, c := range copies {
		b := append(c.Rows.b, trailer...)
		binary.BigEndian.PutUint32(b[1:], uint32(len(b)-1))
		out = append(out, b, copyDone)
	}
	pc := conn.PgConn()
	if deadline, ok := ctx.Deadline(); ok {
		_ = pc.Conn().SetWriteDeadline(deadline)
		defer func() { _ = pc.Conn().SetWriteDeadline(time.Time{}) }()
	}
	if _, err := out.WriteTo(pc.Conn()); err != nil {
		// The server has a part of a message: the connection is of no use any more.
		_ = conn.Close(ctx)
		return fmt.Errorf("write to PostgreSQL: %w", err)
	}
	return received(ctx, pc)
}

// received reads the answers to everything that Commit sent.
func received(ctx context.Context, pc *pgconn.PgConn) (err error) {
	for {
		msg, rerr := pc.ReceiveMessage(ctx)
		if rerr != nil {
			return errors.Join(err, rerr)
		}
		switch m := msg.(type) {
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
