package views

import (
	"strings"
	"testing"
	"time"
)

// FuzzReadTime: a time that was typed in a zone is shown so that it is read as the same again.
func FuzzReadTime(f *testing.F) {
	for _, s := range []string{"2026-10-25T02:30", "2026-03-29 02:30", "2026-01-31", "2026-01-31T12:00:00Z", "0000-01-01",
		"9999-12-31T23:59", "x", "", "2026-10-25T02:30:00.000000001"} {
		f.Add(s)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		at, ok := readTime(ReadTime(typed, berlin))
		if !ok || at.Year() < 1 || at.Year() > 9998 {
			return
		}
		z := Zone{shown: berlin}
		shown := z.typed(at.Format(time.RFC3339Nano))
		if again, ok := readTime(ReadTime(shown, berlin)); !ok || !again.Equal(at) {
			t.Errorf("%q is %v, shown as %q and read as %v", typed, at, shown, again)
		}
	})
}

// FuzzJSON: a payload is drawn, or shown as it is, whatever is in it.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":null}]}`, `{`, `[`, strings.Repeat("[", 300), `"\ud800"`, `{"a":1,"a":2}`, "\xff", `1e400`,
		`<script>`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		parseJSON(data)
	})
}
