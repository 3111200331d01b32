package models

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Granularity is how wide the buckets are into which a span of time is cut: a number of seconds, minutes, hours, days,
// weeks or calendar months. The zero value means that the span is one bucket.
type Granularity struct {
	n    int
	unit byte // s, m, h, d, w or M
}

// granularities are the greatest numbers of each unit; the least is 1.
var granularities = map[byte]int{'s': 60, 'm': 60, 'h': 24, 'd': 31, 'w': 4, 'M': 12}

var granularityPattern = regexp.MustCompile(`^([0-9]{1,2})([smhdwM])$`)

// ParseGranularity reads "30s", "5m", "1h", "1d", "1w" or "1M"; empty is the zero value.
func ParseGranularity(s string) (g Granularity, err error) {
	if s == "" {
		return g, nil
	}
	if m := granularityPattern.FindStringSubmatch(s); m != nil {
		g.n, _ = strconv.Atoi(m[1])
		g.unit = m[2][0]
		if g.n >= 1 && g.n <= granularities[g.unit] {
			return g, nil
		}
	}
	return Granularity{}, fmt.Errorf("must be a number and a unit: 1-60 s or m, 1-24 h, 1-31 d, 1-4 w or 1-12 M, like 5m or 1h, not %q",
		cut(s, 20))
}

// fixed is the bucket's width where it is always the same; 0 for months.
func (g Granularity) fixed() time.Duration {
	const day = 24 * time.Hour
	return time.Duration(g.n) * map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': day, 'w': 7 * day}[g.unit]
}

// The instants from which buckets are counted, so that the same instant falls into the same bucket in every answer.
// Weeks begin on Sundays.
var (
	epoch       = time.Unix(0, 0).UTC()
	firstSunday = epoch.AddDate(0, 0, 3)
)

// floor is the start of the bucket that t lies in, in UTC.
func (g Granularity) floor(t time.Time) time.Time {
	t = t.UTC()
	if g.unit == 'M' {
		months := (t.Year()-1970)*12 + int(t.Month()) - 1
		months -= ((months % g.n) + g.n) % g.n
		return epoch.AddDate(0, months, 0)
	}
	origin, width := epoch, g.fixed()
	if g.unit == 'w' {
		origin = firstSunday
	}
	into := t.Sub(origin) % width
	if into < 0 {
		into += width
	}
	return t.Add(-into)
}

// next is the start of the bucket after the one that starts at t.
func (g Granularity) next(t time.Time) time.Time {
	if g.unit == 'M' {
		return t.AddDate(0, g.n, 0)
	}
	return t.Add(g.fixed())
}

// buckets lists the starts of the buckets that cover start up to end; ok is false when there would be more than limit.
func (g Granularity) buckets(start, end time.Time, limit int) (starts []time.Time, ok bool) {
	for t := g.floor(start); t.Before(end); t = g.next(t) {
		if len(starts) == limit {
			return nil, false
		}
		starts = append(starts, t)
	}
	return starts, true
}
