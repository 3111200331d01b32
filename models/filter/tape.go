package filter

import (
	"math"
	"strconv"
)

// get returns the value of a key, or missing. Of two equal keys the last one counts.
func (t *tape) get(object at, key string) at {
	for k := t.items[object].last; k >= 0; k = t.items[k].last {
		if t.items[k].text == key {
			return k + 1
		}
	}
	return missing
}

// number returns the number in a JSON number or in a numeric string. It remembers what it read.
func (t *tape) number(i at) (number, bool) {
	it := &t.items[i]
	if it.kind != kindNumber && it.kind != kindText {
		return number{}, false
	}
	if it.numeric == numericUnread {
		n, ok := parseNumber(it.text)
		switch {
		case !ok:
			it.numeric = numericNot
		case n.whole:
			it.numeric, it.bits = numericInteger, uint64(n.integer)
		default:
			it.numeric, it.bits = numericFloat, math.Float64bits(n.float)
		}
	}
	switch it.numeric {
	case numericInteger:
		return number{text: it.text, integer: int64(it.bits), whole: true}, true
	case numericFloat:
		return number{text: it.text, float: math.Float64frombits(it.bits)}, true
	}
	return number{}, false
}

// value copies a part of the tape into a literal.
func (t *tape) value(i at) Value { return Value{string(t.append(nil, i))} }

// append writes a value as compact JSON, with the keys in the order of the text.
func (t *tape) append(b []byte, i at) []byte {
	it := &t.items[i]
	switch it.kind {
	case kindText:
		return appendQuoted(b, it.text)
	case kindList:
		b = append(b, '[')
		for e := i + 1; e < it.end; e = t.items[e].end {
			if e > i+1 {
				b = append(b, ',')
			}
			b = t.append(b, e)
		}
		return append(b, ']')
	case kindObject:
		b = append(b, '{')
		for k := i + 1; k < it.end; k = t.items[k+1].end {
			if k > i+1 {
				b = append(b, ',')
			}
			b = appendQuoted(b, t.items[k].text)
			b = append(b, ':')
			b = t.append(b, k+1)
		}
		return append(b, '}')
	}
	return append(b, it.text...)
}

// any converts a value to what expressions work with: nil, bool, int, float64, string, []any, map[string]any.
func (t *tape) any(i at) any {
	it := &t.items[i]
	switch it.kind {
	case kindFalse:
		return false
	case kindTrue:
		return true
	case kindNumber:
		if n, err := strconv.Atoi(it.text); err == nil {
			return n
		}
		return floatOf(it.text)
	case kindText:
		return it.text
	case kindList:
		list := make([]any, 0, it.bits)
		for e := i + 1; e < it.end; e = t.items[e].end {
			list = append(list, t.any(e))
		}
		return list
	case kindObject:
		object := make(map[string]any, it.bits)
		for k := i + 1; k < it.end; k = t.items[k+1].end {
			object[t.items[k].text] = t.any(k + 1)
		}
		return object
	}
	return nil
}

const hexDigits = "0123456789abcdef"

// appendQuoted writes a JSON string. Everything that may stand in one as it is does so.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[from:]...), '"')
}

// equal compares two values of any type: numbers by value, times by instant, strings by bytes, lists in
// order, objects key by key. It returns false when the meter runs out.
func equal(a *tape, i at, b *tape, j at, m *meter) bool {
	if !m.charge(1) {
		return false
	}
	x, y := &a.items[i], &b.items[j]
	if x.kind != y.kind {
		return false
	}
	switch x.kind {
	case kindNumber:
		n, _ := a.number(i)
		o, _ := b.number(j)
		return n.compare(o) == 0
	case kindText:
		return equalTexts(x.text, y.text)
	case kindList:
		if x.bits != y.bits {
			return false
		}
		i, j = i+1, j+1
		for ; i < x.end; i, j = a.items[i].end, b.items[j].end {
			if !equal(a, i, b, j, m) {
				return false
			}
		}
		return true
	case kindObject:
		return equalKeys(a, i, b, j, m, true) && equalKeys(b, j, a, i, m, false)
	}
	return true
}

// equalKeys reports whether every key of one object is in the other, and with equal values if asked. A key
// that is repeated further on does not count.
func equalKeys(a *tape, i at, b *tape, j at, m *meter, values bool) bool {
	for k := a.items[i].last; k >= 0; k = a.items[k].last {
		if !m.charge(1 + int(a.items[i].bits+b.items[j].bits)/8) {
			return false
		}
		key := a.items[k].text
		other := b.get(j, key)
		if other == missing {
			return false
		}
		if values && a.get(i, key) == k+1 && !equal(a, k+1, b, other, m) {
			return false
		}
	}
	return true
}

// meter bounds the work of one evaluation. One unit is about ten nanoseconds.
type meter struct {
	left   int
	failed error
}

// charge takes units and reports whether there were enough.
func (m *meter) charge(units int) bool {
	m.left -= units
	if m.left >= 0 {
		return true
	}
	if m.failed == nil {
		m.failed = errTooMuchWork
	}
	return false
}
