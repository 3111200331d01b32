package filter

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

// number is a number of a document or of a filter. Its text is the authority: integers of up to 18 digits
// are compared as integers, everything else as a float64 first and digit by digit when the floats agree, so
// that no two different numbers are ever taken for the same.
type number struct {
	text    string
	integer int64
	float   float64 // only set when whole is not
	whole   bool    // the number is in integer
}

// scanNumber reads a JSON number (RFC 8259, section 6) at the start of s and returns its length, or 0 when
// there is none. For a plain integer of at most 18 digits, whole is set and integer holds it.
func scanNumber(s string) (length int, integer int64, whole bool) {
	i := 0
	negative := i < len(s) && s[i] == '-'
	if negative {
		i++
	}
	start := i
	for i < len(s) && s[i]-'0' <= 9 {
		if i-start < 18 {
			integer = integer*10 + int64(s[i]-'0')
		}
		i++
	}
	digits := i - start
	if digits == 0 || digits > 1 && s[start] == '0' {
		return 0, 0, false
	}
	whole = digits <= 18
	if i < len(s) && s[i] == '.' {
		whole = false
		i++
		first := i
		for i < len(s) && s[i]-'0' <= 9 {
			i++
		}
		if i == first {
			return 0, 0, false
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		whole = false
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		first := i
		for i < len(s) && s[i]-'0' <= 9 {
			i++
		}
		if i == first {
			return 0, 0, false
		}
	}
	if negative {
		integer = -integer
	}
	return i, integer, whole
}

// parseNumber reads a text that is a JSON number from its first to its last character. Numeric strings of a
// payload are held to the same grammar: "29.99" and "-1e3" are numbers, "007", "+5", " 5" and "1,000" are not.
func parseNumber(s string) (number, bool) {
	length, integer, whole := scanNumber(s)
	if length == 0 || length != len(s) {
		return number{}, false
	}
	n := number{text: s, integer: integer, whole: whole}
	if !whole {
		n.float = floatOf(s)
	}
	return n, true
}

// floatOf is the nearest float64. What is too large becomes an infinity of the right sign.
func floatOf(text string) float64 {
	f, _ := strconv.ParseFloat(text, 64) // the only possible error is a range error, which also returns ±Inf
	return f
}

func (n number) nearest() float64 {
	if n.whole {
		return float64(n.integer)
	}
	return n.float
}

// compare returns -1, 0 or +1 by value. Rounding to float64 never turns an order around, so that different
// floats decide; equal ones decide only where no two short decimals share a float64.
func (n number) compare(other number) int {
	if n.whole && other.whole {
		return cmp.Compare(n.integer, other.integer)
	}
	a, b := n.nearest(), other.nearest()
	if a != b {
		return cmp.Compare(a, b)
	}
	const short = 15 // digits; any two decimals of up to so many differ as float64, outside the extremes
	ordinary := math.Abs(a) > 1e-300 && math.Abs(a) < 1e300
	if ordinary && len(n.text) <= short && len(other.text) <= short {
		return 0
	}
	return compareDigits(n.text, other.text)
}

// compareDigits compares two JSON numbers exactly, however long they are.
func compareDigits(a, b string) int {
	aNegative, aDigits, aPoint := decimal(a)
	bNegative, bDigits, bPoint := decimal(b)
	switch {
	case aDigits == "" && bDigits == "":
		return 0
	case aDigits == "":
		return sign(bNegative)
	case bDigits == "":
		return -sign(aNegative)
	case aNegative != bNegative:
		return -sign(aNegative)
	}
	result := cmp.Or(cmp.Compare(aPoint, bPoint), cmp.Compare(aDigits, bDigits))
	if aNegative {
		return -result
	}
	return result
}

// sign is how a number compares with zero, turned around: +1 for a negative one.
func sign(negative bool) int {
	if negative {
		return 1
	}
	return -1
}

// decimal takes a JSON number apart into 0.DIGITS times ten to the power of point. The digits have no zeros
// at either end; zero has none at all. An exponent beyond all reason is cut off at ten to the fifteenth.
func decimal(s string) (negative bool, digits string, point int64) {
	if s[0] == '-' {
		negative, s = true, s[1:]
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		point = exponent(s[i+1:])
		s = s[:i]
	}
	before, after, _ := strings.Cut(s, ".")
	point += int64(len(before))
	digits = before + after
	trimmed := strings.TrimLeft(digits, "0")
	point -= int64(len(digits) - len(trimmed))
	return negative, strings.TrimRight(trimmed, "0"), point
}

func exponent(s string) int64 {
	const most = 1_000_000_000_000_000
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil { // out of range; the sign still says in which direction
		n = most
		if s[0] == '-' {
			n = -most
		}
	}
	return max(-most, min(most, n))
}
