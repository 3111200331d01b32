package traces

import (
	"strings"
	"testing"
)

// FuzzContext: a trace context that is passed on is one by the specification, and is read as the same again.
func FuzzContext(f *testing.F) {
	for _, s := range [][2]string{{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"},
		{"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what", "a=" + strings.Repeat("x", 300) + ",b=" + strings.Repeat("y",
			250) + ",c=1"},
		{"00-00000000000000000000000000000000-b7ad6b7169203331-01", "=,"}, {"ff-", "a=1,a=2"},
		{"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "\x00"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, header, state string) {
		parent := Context(header)
		if again := Context(parent); again != parent {
			t.Errorf("%q is %q, and then %q", header, parent, again)
		}
		if parent != "" && len(ID(parent)) != 32 {
			t.Errorf("%q is of the trace %q", parent, ID(parent))
		}
		got := State("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", state)
		if len(got) > maxState || strings.ContainsAny(got, "\r\n\x00") || State("x", got) != got {
			t.Errorf("%q is passed on as %q", state, got)
		}
	})
}
