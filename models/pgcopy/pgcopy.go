// Package pgcopy writes rows in PostgreSQL's binary format. It exists because the path of events writes thousands
// of rows a second: pgx's own CopyFrom asks the server for the columns' types each time and boxes every value.
package pgcopy

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Rows collects rows. The zero value must be Reset before use; one can be used again and again.
type Rows struct {
	b    []byte
	rows []int // where each begins
}

// header is that of a CopyData message, whose length is filled in at the end, followed by that of the binary format.
var header = []byte("d\x00\x00\x00\x00PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")

// Reset empties the buffer for a new COPY.
func (c *Rows) Reset() { c.b, c.rows = append(c.b[:0], header...), c.rows[:0] }

// Empty reports whether no row was written since Reset.
func (c *Rows) Empty() bool { return len(c.rows) == 0 }

// Row starts a row of n columns.
func (c *Rows) Row(n int) {
	c.rows = append(c.rows, len(c.b))
	c.b = binary.BigEndian.AppendUint16(c.b, uint16(n))
}

// Null writes a null.
func (c *Rows) Null() { c.b = append(c.b, 0xff, 0xff, 0xff, 0xff) }

func (c *Rows) size(n int) { c.b = binary.BigEndian.AppendUint32(c.b, uint32(n)) }

// UUID writes a uuid.
func (c *Rows) UUID(id uuid.UUID) {
	c.size(16)
	c.b = append(c.b, id[:]...)
}

// Int8 writes a bigint.
func (c *Rows) Int8(v int64) {
	c.size(8)
	c.b = binary.BigEndian.AppendUint64(c.b, uint64(v))
}

// Int4 writes an integer.
func (c *Rows) Int4(v int32) {
	c.size(4)
	c.b = binary.BigEndian.AppendUint32(c.b, uint32(v))
}

// Int2 writes a smallint.
func (c *Rows) Int2(v int16) {
	c.size(2)
	c.b = binary.BigEndian.AppendUint16(c.b, uint16(v))
}

// Bool writes a boolean.
func (c *Rows) Bool(v bool) {
	c.size(1)
	if v {
		c.b = append(c.b, 1)
	} else {
		c.b = append(c.b, 0)
	}
}

// Text writes a text, a json or an enum's value.
func (c *Rows) Text(s string) {
	c.size(len(s))
	c.b = append(c.b, s...)
}

// JSONB writes a jsonb from its text.
func (c *Rows) JSONB(b []byte) {
	c.size(1 + len(b))
	c.b = append(c.b, 1) // the format's version
	c.b = append(c.b, b...)
}

// TextOrNull writes an empty text as null.
func (c *Rows) TextOrNull(s string) {
	if s == "" {
		c.Null()
		return
	}
	c.Text(s)
}

// Bytes writes a bytea, or anything else that is sent as its bytes.
func (c *Rows) Bytes(b []byte) {
	c.size(len(b))
	c.b = append(c.b, b...)
}

// BytesOrNull writes empty bytes as null.
func (c *Rows) BytesOrNull(b []byte) {
	if len(b) == 0 {
		c.Null()
		return
	}
	c.Bytes(b)
}

// postgresEpoch is where PostgreSQL counts microseconds from.
var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Time writes a timestamptz.
func (c *Rows) Time(t time.Time) { c.Int8(t.Sub(postgresEpoch).Microseconds()) }

// TimeOrNull writes the zero time as null.
func (c *Rows) TimeOrNull(t time.Time) {
	if t.IsZero() {
		c.Null()
		return
	}
	c.Time(t)
}

// Object ids of types.
const (
	int8OID = 20
	textOID = 25
)

// Texts writes a text[] with these elements.
func (c *Rows) Texts(v ...string) {
	start := len(c.b)
	c.size(0)
	for _, n := range []uint32{1, 0, textOID, uint32(len(v)), 1} { // as in Int8s
		c.b = binary.BigEndian.AppendUint32(c.b, n)
	}
	for _, s := range v {
		c.Text(s)
	}
	binary.BigEndian.PutUint32(c.b[start:], uint32(len(c.b)-start-4))
}

// Int8s writes an array of bigint; an empty one as null.
func (c *Rows) Int8s(v []int64) {
	if len(v) == 0 {
		c.Null()
		return
	}
	c.size(20 + 12*len(v))
	for _, n := range []uint32{1, 0, int8OID, uint32(len(v)), 1} { // dimensions, no nulls, type, length, lower bound
		c.b = binary.BigEndian.AppendUint32(c.b, n)
	}
	for _, x := range v {
		c.Int8(x)
	}
}

// Send runs the COPY statement alone.
func (c Copy) Send(ctx context.Context, tx pgx.Tx) error {
	return inTurn(ctx, tx.Conn(), []Copy{c}, "")
}
