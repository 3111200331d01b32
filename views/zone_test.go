package views

import (
	"testing"
	"time"
)

func zoneOfTest(t *testing.T, name string, utc bool, now string) Zone {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	n, err := time.Parse(time.RFC3339, now)
	if err != nil {
		t.Fatal(err)
	}
	return NewZone(l, utc, n)
}

func TestTimesInAZone(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 23, 30, 15, 250_000_000, time.UTC)
	const winter, summer = "2026-01-31T23:31:00Z", "2026-07-01T12:00:00Z"
	for _, c := range []struct {
		zone              string
		utc               bool
		now               string
		clock, full, side string
		label             string
	}{
		{"UTC", false, winter, "2026-01-31 23:30:15", "2026-01-31 23:30:15.250 UTC", "", "Started (UTC)"},
		{"Europe/Berlin", false, winter, "2026-02-01 00:30:15", "2026-02-01 00:30:15.250 CET", "23:30:15.250 UTC", "Started (CET)"},
		{"Europe/Berlin", false, summer, "2026-02-01 00:30:15 CET", "2026-02-01 00:30:15.250 CET", "23:30:15.250 UTC", "Started (CEST)"},
		{"Europe/Berlin", true, winter, "2026-01-31 23:30:15", "2026-01-31 23:30:15.250 UTC", "00:30:15.250 CET", "Started (UTC)"},
		{"Asia/Kathmandu", false, winter, "2026-02-01 05:15:15", "2026-02-01 05:15:15.250 UTC+5:45", "23:30:15.250 UTC", "Started (UTC+5:45)"},
		{"America/Sao_Paulo", false, winter, "2026-01-31 20:30:15", "2026-01-31 20:30:15.250 UTC-3", "23:30:15.250 UTC", "Started (UTC-3)"},
	} {
		z := zoneOfTest(t, c.zone, c.utc, c.now)
		if got := z.clock(at); got != c.clock {
			t.Errorf("%s: the clock says %q, want %q", c.zone, got, c.clock)
		}
		if got := z.full(at); got != c.full {
			t.Errorf("%s: in full %q, want %q", c.zone, got, c.full)
		}
		if got := z.beside(at); got != c.side {
			t.Errorf("%s: beside it %q, want %q", c.zone, got, c.side)
		}
		if got := z.label("Started (UTC)"); got != c.label {
			t.Errorf("%s: the column is called %q, want %q", c.zone, got, c.label)
		}
	}
}

// What a filter shows can be sent again, and is the same time then, also in the hour that a clock shows twice.
func TestTypedTimesComeBack(t *testing.T) {
	t.Parallel()
	z := zoneOfTest(t, "Europe/Berlin", false, "2026-07-01T12:00:00Z")
	for value, want := range map[string]string{
		"2026-01-31T12:00:00Z":      "2026-01-31T13:00",
		"2026-07-31T12:00:30Z":      "2026-07-31T14:00:30",
		"2026-07-31T12:00:30.25Z":   "2026-07-31T14:00:30.25",
		"2026-01-31T12:00":          "2026-01-31T13:00",
		"2026-10-25T00:30:00Z":      "2026-10-25T02:30:00+02:00",
		"2026-10-25T01:30:00Z":      "2026-10-25T02:30",
		"2026-07-31T12:00:00 02:00": "2026-07-31T12:00", // a plus sign that was not escaped
		"yesterday":                 "yesterday",
	} {
		got := z.typed(value)
		if got != want {
			t.Errorf("%s is shown as %q, want %q", value, got, want)
		}
		before, ok := readTime(value)
		after, _ := readTime(ReadTime(got, z.Location()))
		if ok && !before.Equal(after) {
			t.Errorf("%s is shown as %q and comes back as %v", value, got, after)
		}
	}
	for typed, want := range map[string]string{
		"2026-01-31 12:00":     "2026-01-31T11:00:00Z",
		" 2026-07-31 ":         "2026-07-30T22:00:00Z",
		"2026-07-31T12:00:00Z": "2026-07-31T12:00:00Z",
		"noon":                 "noon",
	} {
		if got := ReadTime(typed, z.Location()); got != want {
			t.Errorf("%q is read as %q, want %q", typed, got, want)
		}
	}
}
