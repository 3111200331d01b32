package seal

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzData: what was sealed with a data key opens with it as it was, in its place only, in another process, too, and not when a bit of
// it is another; nothing else opens.
func FuzzData(f *testing.F) {
	id, secret := NewDataKey()
	otherID, otherSecret := NewDataKey()
	data := func(id int64, secret []byte) *Data {
		d, err := NewData(id, secret)
		if err != nil {
			f.Fatal(err)
		}
		return d
	}
	mine, elsewhere, other, forged := data(id, secret), data(id, secret), data(otherID, otherSecret), data(id, otherSecret)
	f.Add([]byte(`{"a":1}`), []byte("place"), uint(9), []byte{1})
	f.Add([]byte{}, []byte{}, uint(400), bytes.Repeat([]byte{1}, 60))
	f.Fuzz(func(t *testing.T, plain, context []byte, bit uint, junk []byte) {
		sealed := mine.Seal([]byte("before"), plain, context)[len("before"):]
		if of, err := DataKeyOf(sealed); of != id || err != nil {
			t.Errorf("sealed with %d: %v", of, err)
		}
		for _, d := range []*Data{mine, elsewhere} {
			if got, err := d.Open(sealed, context); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%q opens as %q: %v", plain, got, err)
			}
			if _, err := d.Open(sealed, slices.Concat(context, []byte{'x'})); err == nil {
				t.Error("it opens in another place")
			}
			if _, err := d.Open(junk, context); err == nil {
				t.Errorf("%x opens", junk)
			}
		}
		for _, d := range []*Data{other, forged} {
			if _, err := d.Open(sealed, context); err == nil {
				t.Error("it opens with another key")
			}
		}
		bit %= uint(len(sealed)) * 8
		sealed[bit/8] ^= 1 << (bit % 8)
		if _, err := mine.Open(sealed, context); err == nil {
			t.Errorf("it opens with bit %d changed", bit)
		}
	})
}
