package pgcopy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
)

// mostInserted is how many rows of a table are inserted instead of copied. A COPY is parsed, looks its table's defaults up and asks the
// client for its rows, each time; a prepared INSERT does not.
const mostInserted = 4

// split tells tables that get a few rows from those that get many.
func split(copies []Copy) (few, many []Copy) {
	for _, c := range copies {
		if len(c.Rows.rows) <= mostInserted {
			few = append(few, c)
		} else {
			many = append(many, c)
		}
	}
	return few, many
}

// prepared runs the statements of first, inserts few rows, copies many, and commits, all in one round trip once the statements are
// prepared on this connection.
func prepared(ctx context.Context, conn *pgx.Conn, first *pgx.Batch, few, many []Copy) error {
	m := messages{conn: conn}
	if first != nil {
		for _, q := range first.QueuedQueries {
			if err := m.statement(ctx, q.SQL, q.Arguments); err != nil {
				return err
			}
		}
	}
	for _, c := range few {
		if err := m.insert(ctx, c); err != nil {
			return err
		}
	}
	if len(many) == 0 {
		if err := m.statement(ctx, "commit", nil); err != nil {
			return err
		}
		if err := write(ctx, conn, net.Buffers{append(m.out, endTrip...)}); err != nil {
			return err
		}
		return received(ctx, conn, nil)
	}
	// When something fails before the COPY, the transaction refuses it, and PostgreSQL passes over its rows.
	out, err := query(many, "commit")
	if err != nil {
		return err
	}
	if err := write(ctx, conn, withRows(append(net.Buffers{append(m.out, endTrip...)}, out...), many)); err != nil {
		return err
	}
	err = received(ctx, conn, nil)
	if conn.IsClosed() {
		return err
	}
	if then := received(ctx, conn, nil); err == nil {
		err = then
	} else if conn.IsClosed() {
		err = errors.Join(err, then)
	}
	return err
}

// messages are those of the extended query protocol, for statements that are prepared on a connection.
type messages struct {
	conn *pgx.Conn
	out  []byte
}

// execute runs what was bound last; endTrip is Sync, which ends a round trip.
var (
	execute = []byte{'E', 0, 0, 0, 9, 0, 0, 0, 0, 0}
	endTrip = []byte{'S', 0, 0, 0, 4}
)

// statement adds a statement, as pgx would send it.
func (m *messages) statement(ctx context.Context, sql string, args []any) error {
	d, err := m.conn.Prepare(ctx, sql, sql)
	if err != nil {
		return err
	}
	var with pgx.ExtendedQueryBuilder
	if err := with.Build(m.conn.TypeMap(), d, args); err != nil {
		return fmt.Errorf("parameters of %q: %w", sql, err)
	}
	start := m.bind(d.Name)
	m.out = binary.BigEndian.AppendUint16(m.out, uint16(len(with.ParamFormats)))
	for _, f := range with.ParamFormats {
		m.out = binary.BigEndian.AppendUint16(m.out, uint16(f))
	}
	m.out = binary.BigEndian.AppendUint16(m.out, uint16(len(with.ParamValues)))
	for _, v := range with.ParamValues {
		if v == nil {
			m.out = append(m.out, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		m.out = append(binary.BigEndian.AppendUint32(m.out, uint32(len(v))), v...)
	}
	m.bound(start)
	return nil
}

// insert adds an INSERT of a few rows. A parameter of Bind is written as a column of a row of COPY is, in the binary format.
func (m *messages) insert(ctx context.Context, c Copy) error {
	rows, b := c.Rows.rows, c.Rows.b
	columns := int(binary.BigEndian.Uint16(b[rows[0]:]))
	name, err := m.prepareInsert(ctx, shape{c.Into, len(rows)}, columns)
	if err != nil {
		return err
	}
	start := m.bind(name)
	m.out = append(m.out, 0, 1, 0, 1) // one format, the binary, for all parameters
	m.out = binary.BigEndian.AppendUint16(m.out, uint16(columns*len(rows)))
	for i, from := range rows {
		to := len(b)
		if i+1 < len(rows) {
			to = rows[i+1]
		}
		m.out = append(m.out, b[from+2:to]...)
	}
	m.bound(start)
	return nil
}

// bind begins a Bind message for a prepared statement, and returns where it begins.
func (m *messages) bind(name string) (start int) {
	start = len(m.out)
	m.out = append(m.out, 'B', 0, 0, 0, 0, 0)
	m.out = append(m.out, name...)
	m.out = append(m.out, 0)
	return start
}

// bound ends a Bind message, and runs what it has bound.
func (m *messages) bound(start int) {
	m.out = append(m.out, 0, 0) // no formats of results
	binary.BigEndian.PutUint32(m.out[start+1:], uint32(len(m.out)-start-1))
	m.out = append(m.out, execute...)
}

// shape is what an INSERT is prepared for: a table with its columns, and a number of rows.
type shape struct {
	into string
	rows int
}

// inserts is under which name a connection keeps the names of its prepared INSERTs.
const inserts = "inserts"

// prepareInsert returns the name of the statement of a shape on the connection.
func (m *messages) prepareInsert(ctx context.Context, s shape, columns int) (string, error) {
	pc := m.conn.PgConn()
	names, _ := pc.CustomData()[inserts].(map[shape]string)
	if name, ok := names[s]; ok {
		return name, nil
	}
	if names == nil {
		names = map[shape]string{}
		pc.CustomData()[inserts] = names
	}
	name := fmt.Sprintf("insert_%d", len(names))
	if _, err := pc.Prepare(ctx, name, s.sql(columns), nil); err != nil {
		return "", err
	}
	names[s] = name
	return name, nil
}

func (s shape) sql(columns int) string {
	var sql strings.Builder
	sql.WriteString("insert into " + s.into + " values ")
	for n := range s.rows * columns {
		switch {
		case n == 0:
			sql.WriteString("(")
		case n%columns == 0:
			sql.WriteString("), (")
		default:
			sql.WriteString(", ")
		}
		fmt.Fprintf(&sql, "$%d", n+1)
	}
	sql.WriteString(")")
	return sql.String()
}
