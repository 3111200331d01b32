package units

import (
	"encoding/json"
	"testing"
)

// FuzzDuration: a duration that is read is printed so that it is read as the same again.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"10s", "1h20m0s", "2d", "-5m", "1.5", "1e9", "1e10", "NaN", "Inf", "10000d", "1e4d", "0x1p3",
		"-9223372036854775808ns",
		"", "d", "1_0", "0.0000000001s", "\"", "1µs"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil {
			if again, err := ParseDuration(d.String()); err != nil || again != d {
				t.Errorf("%q is printed as %q and read as %v: %v", s, d.String(), again, err)
			}
			if again, err := ParseDuration(Days(d).String()); err != nil || again != d {
				t.Errorf("%q is printed as %q and read as %v: %v", s, Days(d).String(), again, err)
			}
		}
		var d, again Duration
		if json.Unmarshal([]byte(s), &d) != nil {
			return
		}
		b, err := json.Marshal(d)
		if err != nil || json.Unmarshal(b, &again) != nil || again != d {
			t.Errorf("%q is %v, printed as %s and read as %v: %v", s, d, b, again, err)
		}
	})
}
