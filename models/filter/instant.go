package filter

import "cmp"

// instant is a point in time with nanoseconds, without the zone that it was written in.
type instant struct {
	seconds int64 // since 1970-01-01T00:00:00Z
	nanos   int32
}

func (a instant) compare(b instant) int {
	return cmp.Or(cmp.Compare(a.seconds, b.seconds), cmp.Compare(a.nanos, b.nanos))
}

// parseInstant reads an RFC 3339 date-time (section 5.6). It is written out by hand because time.Parse
// allocates a zone for every offset, and because it runs for each comparison. A leap second counts as the
// first second of the next minute; digits after the ninth of a fraction are ignored.
func parseInstant(s string) (instant, bool) {
	const shortest = len("2006-01-02T15:04:05Z")
	if len(s) < shortest || s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return instant{}, false
	}
	century, ok1 := twoDigits(s, 0)
	inCentury, ok2 := twoDigits(s, 2)
	month, ok3 := twoDigits(s, 5)
	day, ok4 := twoDigits(s, 8)
	hour, ok5 := twoDigits(s, 11)
	minute, ok6 := twoDigits(s, 14)
	second, ok7 := twoDigits(s, 17)
	year := century*100 + inCentury
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7) ||
		month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 60 {
		return instant{}, false
	}
	i := 19
	var nanos int32
	if s[i] == '.' {
		first, unit := i+1, int32(100_000_000)
		for i++; i < len(s) && s[i]-'0' <= 9; i++ {
			nanos += int32(s[i]-'0') * unit
			unit /= 10
		}
		if i == first {
			return instant{}, false
		}
	}
	var offset int64
	switch zone := s[i:]; {
	case len(zone) == 1 && zone[0]|0x20 == 'z':
	case len(zone) == 6 && (zone[0] == '+' || zone[0] == '-') && zone[3] == ':':
		hours, ok1 := twoDigits(zone, 1)
		minutes, ok2 := twoDigits(zone, 4)
		if !ok1 || !ok2 || hours > 23 || minutes > 59 {
			return instant{}, false
		}
		offset = int64(hours*3600 + minutes*60)
		if zone[0] == '-' {
			offset = -offset
		}
	default:
		return instant{}, false
	}
	clock := int64(hour*3600 + minute*60 + second)
	return instant{seconds: daysSince1970(year, month, day)*86400 + clock - offset, nanos: nanos}, true
}

func twoDigits(s string, i int) (n int, ok bool) {
	a, b := s[i]-'0', s[i+1]-'0'
	return int(a)*10 + int(b), a <= 9 && b <= 9
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSince1970 counts days in the proleptic Gregorian calendar. It lets the year begin in March, which
// puts the leap day at the year's end, where the day of the year needs no exception for it.
func daysSince1970(year, month, day int) int64 {
	if month < 3 {
		year--
		month += 12
	}
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	days := 365*year + floorDivide(year, 4) - floorDivide(year, 100) + floorDivide(year, 400) + dayOfYear
	const from0To1970 = 719468 // days from 0000-03-01 to 1970-01-01
	return int64(days - from0To1970)
}

// floorDivide rounds down, also for the year before the year 0 that January of the year 0 belongs to.
func floorDivide(a, b int) int {
	if a < 0 {
		return (a - b + 1) / b
	}
	return a / b
}

// compareTexts orders two strings: by instant when both are RFC 3339 times, by bytes otherwise.
func compareTexts(a, b string) int {
	if x, ok := parseInstant(a); ok {
		if y, ok := parseInstant(b); ok {
			return x.compare(y)
		}
	}
	return cmp.Compare(a, b)
}

// equalTexts is equality of strings: of bytes, or of the instant when both are RFC 3339 times.
func equalTexts(a, b string) bool {
	return a == b || compareTexts(a, b) == 0
}
