package seal

import (
	"bytes"
	"testing"
)

// FuzzOpen: a sealed value opens as it was, in its place only, and not when a bit of it is another; nothing else opens.
func FuzzOpen(f *testing.F) {
	keys, err := New("a secret that is long enough for this", "another secret that is long enough")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("credential"), "des_1", uint(7), []byte{})
	f.Add([]byte{}, "", uint(0), keys.CurrentPrefix())
	f.Add([]byte{0}, "x", uint(70), []byte{1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, plain []byte, context string, bit uint, junk []byte) {
		sealed := keys.Seal(plain, context)
		if got, err := keys.Open(sealed, context); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%q opens as %q: %v", plain, got, err)
		}
		if _, err := keys.Open(sealed, context+"'"); err == nil {
			t.Error("it opens in another place")
		}
		bit %= uint(len(sealed)) * 8
		sealed[bit/8] ^= 1 << (bit % 8)
		if _, err := keys.Open(sealed, context); err == nil {
			t.Errorf("it opens with bit %d changed", bit)
		}
		if _, err := keys.Open(junk, context); err == nil {
			t.Errorf("%x opens", junk)
		}
		keys.Has(junk)
		keys.Current(junk)
	})
}
