// Package units has the durations and counts as the API reads and prints them.
package units

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that reads and prints like "10s" or "6h" in JSON. A bare number counts seconds.
type Duration time.Duration

// MarshalJSON prints the duration in its shortest usual form: "90s" prints as "1m30s", "6h0m0s" as "6h".
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// UnmarshalJSON reads "10s", "6h" or a number of seconds.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case float64:
		if math.Abs(v) > 1e9 {
			return fmt.Errorf("a duration of %v seconds is too long", v)
		}
		*d = Duration(v * float64(time.Second))
		return nil
	case string:
		p, err := ParseDuration(v)
		*d = p
		return err
	case nil:
		return nil
	}
	return fmt.Errorf("must be a duration like \"10s\" or \"6h\"")
}

// ParseDuration reads "10s", "6h", "2d" (days) or a bare number of seconds.
func ParseDuration(s string) (Duration, error) {
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(n) <= 1e9 {
		return Duration(n * float64(time.Second)), nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && math.Abs(n) <= 1e4 {
			return Duration(n * 24 * float64(time.Hour)), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write it like 10s, 5m or 6h", s)
	}
	return Duration(d), nil
}

// Days is a Duration of which whole days print as such: "14d".
type Days Duration

// MarshalJSON implements json.Marshaler.
func (d Days) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads what Duration reads.
func (d *Days) UnmarshalJSON(b []byte) error { return (*Duration)(d).UnmarshalJSON(b) }

func (d Days) String() string {
	if n, whole := d.whole(); whole {
		return fmt.Sprintf("%dd", n)
	}
	return Duration(d).String()
}

// Words are the days in a sentence: "14 days".
func (d Days) Words() string {
	if n, whole := d.whole(); whole {
		return Count(n, "day", "days")
	}
	return Duration(d).String()
}

func (d Days) whole() (int, bool) {
	const day = 24 * time.Hour
	return int(time.Duration(d) / day), d != 0 && time.Duration(d)%day == 0
}

// Count is a number of things in words: "1 event", "2 events".
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Thousands(n) + " " + many
}

// Thousands is a number with its thousands set apart: "12,400".
func Thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Span is a length of time in words of at most two units: "10 s", "1 min 20 s", "17 h 4 min", "30 days".
func Span(d time.Duration) string {
	d = d.Round(time.Second)
	unit := func(n int64, name string) string {
		if n == 0 {
			return ""
		}
		if name == "day" && n != 1 {
			name = "days"
		}
		return fmt.Sprintf("%d %s ", n, name)
	}
	days, h := int64(d/(24*time.Hour)), int64(d%(24*time.Hour)/time.Hour)
	m, s := int64(d%time.Hour/time.Minute), int64(d%time.Minute/time.Second)
	var out string
	switch {
	case days > 0:
		out = unit(days, "day") + unit(h, "h")
	case h > 0:
		out = unit(h, "h") + unit(m, "min")
	case m > 0:
		out = unit(m, "min") + unit(s, "s")
	default:
		out = fmt.Sprintf("%d s", s)
	}
	return strings.TrimSpace(out)
}
