package models

import (
	"bytes"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// TestUUIDs: an array is sent as pgx sends a plain slice, and for less.
func TestUUIDs(t *testing.T) { // not beside others, whose allocations would be counted
	m := pgtype.NewMap()
	send := func(v any) []byte {
		b, err := m.Encode(pgtype.UUIDArrayOID, pgtype.BinaryFormatCode, v, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, n := range []int{0, 1, 100} {
		plain := make([]uuid.UUID, n)
		for i := range plain {
			plain[i] = uuid.New()
		}
		if want, got := send(plain), send(uuids(plain)); !bytes.Equal(got, want) {
			t.Errorf("%d ids are sent as %x instead of %x", n, got, want)
		}
	}
	id := uuid.New()
	want, err := m.Encode(pgtype.UUIDOID, pgtype.BinaryFormatCode, id, nil)
	if got, err2 := m.Encode(pgtype.UUIDOID, pgtype.BinaryFormatCode, [16]byte(id), nil); err != nil || err2 != nil || !bytes.Equal(got, want) {
		t.Errorf("an id is sent as %x instead of %x (%v, %v)", got, want, err, err2)
	}
	of := func(v any) float64 { return testing.AllocsPerRun(10, func() { send(v) }) }
	many := make([]uuid.UUID, 100)
	if plain, ours := of(many), of(uuids(many)); ours > plain/4 {
		t.Errorf("sending 100 ids allocates %v times, a plain slice %v", ours, plain)
	}
}

func BenchmarkUUIDs(b *testing.B) {
	m := pgtype.NewMap()
	list := make([]uuid.UUID, 30)
	for name, v := range map[string]any{"plain": list, "uuids": uuids(list)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, 4096)
			for b.Loop() {
				if _, err := m.Encode(pgtype.UUIDArrayOID, pgtype.BinaryFormatCode, v, buf[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
