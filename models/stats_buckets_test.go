package models

import (
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ granularity, start, end, first, last string }{
		{"30s", "2026-03-05T10:00:10Z", "2026-03-05T10:01:00Z", "2026-03-05T10:00:00Z", "2026-03-05T10:00:30Z"},
		{"5m", "2026-03-05T10:07:00Z", "2026-03-05T10:11:00Z", "2026-03-05T10:05:00Z", "2026-03-05T10:10:00Z"},
		{"1h", "2026-03-05T10:07:00+02:00", "2026-03-05T12:00:00Z", "2026-03-05T08:00:00Z", "2026-03-05T11:00:00Z"},
		{"1d", "2026-03-05T10:07:00Z", "2026-03-08T00:00:00Z", "2026-03-05T00:00:00Z", "2026-03-07T00:00:00Z"},
		{"1w", "2026-03-05T10:07:00Z", "2026-03-08T00:00:01Z", "2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z"}, // Sundays
		{"1M", "2026-01-31T00:00:00Z", "2026-03-01T00:00:01Z", "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"3M", "2026-02-28T00:00:00Z", "2026-12-31T00:00:00Z", "2026-01-01T00:00:00Z", "2026-10-01T00:00:00Z"},
		{"1d", "1969-12-31T23:00:00Z", "1970-01-01T00:00:01Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"},
		{"5M", "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z", "1969-08-01T00:00:00Z", "1969-08-01T00:00:00Z"},
	} {
		g, err := ParseGranularity(c.granularity)
		if err != nil {
			t.Error(err)
			continue
		}
		b, ok := g.buckets(at(c.start), at(c.end), 1000)
		if !ok || len(b) == 0 || !b[0].Equal(at(c.first)) || !b[len(b)-1].Equal(at(c.last)) {
			t.Errorf("%s from %s to %s: %v, want %s to %s", c.granularity, c.start, c.end, b, c.first, c.last)
		}
	}
	for _, s := range []string{"h", "0h", "61s", "25h", "32d", "5w", "13M", "1y", "1.5h", "-1h", "1H", " 1h", "100m"} {
		if _, err := ParseGranularity(s); err == nil {
			t.Errorf("%q is no granularity", s)
		}
	}
	g, _ := ParseGranularity("1s")
	if b, ok := g.buckets(at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"), 10); ok || b != nil {
		t.Error("a year of seconds was not refused")
	}
}
