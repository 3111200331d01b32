package filter

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// kind is the type of a decoded JSON value.
type kind uint8

const (
	kindNull kind = iota
	kindFalse
	kindTrue
	kindNumber
	kindText
	kindList
	kindObject
)

// at is the place of a value in a tape.
type at = int32

const (
	// missing stands for a field that is not there.
	missing at = -1
	// nothing stands for the element that a list without elements does not have. It differs from missing in
	// that the list is there.
	nothing at = -2
)

// numeric says what is known about the number in an item. A number is read from its text only when a rule
// compares it, and once; most numbers of a payload are never looked at.
type numeric uint8

const (
	numericUnread  numeric = iota
	numericInteger         // bits holds an int64
	numericFloat           // bits holds a float64
	numericNot             // a string that is not a number
)

// item is one value, or one key of an object, on a tape.
type item struct {
	kind    kind
	numeric numeric
	// end is the place after the last item that belongs to this value.
	end at
	// last leads backwards through the keys of an object: in the object to its last key, in a key to the one
	// before it, -1 at the first. Backwards, because the last of two equal keys is the one that counts.
	last at
	// text is the decoded string or key, or the number as it was written.
	text string
	// bits is the number, if numeric says so; in lists and objects the count of elements or keys.
	bits uint64
}

// tape is decoded JSON, laid out flat in the order of the text: a list is followed by its elements, an
// object by each key and its value. One slice for a whole document costs one allocation instead of one per
// value, and 1 KiB of JSON is decoded in about four microseconds.
type tape struct{ items []item }

// decodeError is a mistake in JSON text, at an offset in bytes.
type decodeError struct {
	offset  int
	message string
}

func (e *decodeError) positioned(text string) *Error {
	line, column := position(text, e.offset)
	return &Error{Message: "this is not valid JSON: " + e.message, Line: line, Column: column}
}

// maxDecodeDepth is how deep a payload may be nested. It is that of encoding/json, so that no payload that
// was accepted fails here.
const maxDecodeDepth = 10000

// parse appends one JSON text and returns the place of its value. It accepts exactly what RFC 8259 allows,
// except that bytes that are not UTF-8 pass through strings unchanged, as they do in encoding/json.
func (t *tape) parse(text string) (at, *decodeError) {
	d := decoder{tape: t, s: text}
	d.space()
	root := at(len(t.items))
	if !d.value(0) {
		return missing, d.err
	}
	d.space()
	if d.i < len(d.s) {
		d.fail("something follows the end of the value")
		return missing, d.err
	}
	return root, nil
}

type decoder struct {
	*tape
	s   string
	i   int
	err *decodeError
}

func (d *decoder) fail(message string) bool {
	if d.err == nil {
		d.err = &decodeError{d.i, message}
	}
	return false
}

func (d *decoder) space() {
	for d.i < len(d.s) {
		switch d.s[d.i] {
		case ' ', '\n', '\t', '\r':
			d.i++
		default:
			return
		}
	}
}

func (d *decoder) value(depth int) bool {
	if d.i >= len(d.s) {
		return d.fail("the text ends where a value should be")
	}
	switch c := d.s[d.i]; {
	case c == '"':
		text, ok := d.quoted()
		d.items = append(d.items, item{kind: kindText, end: at(len(d.items)) + 1, text: text})
		return ok
	case c == '{':
		return d.object(depth + 1)
	case c == '[':
		return d.list(depth + 1)
	case c == '-' || c-'0' <= 9:
		return d.number()
	case c == 't':
		return d.word("true", kindTrue)
	case c == 'f':
		return d.word("false", kindFalse)
	case c == 'n':
		return d.word("null", kindNull)
	}
	return d.fail("a value should be here: an object, a list, a string in double quotes, a number, true, false or null")
}

func (d *decoder) word(word string, k kind) bool {
	if len(d.s)-d.i < len(word) || d.s[d.i:d.i+len(word)] != word {
		return d.fail("only true, false and null are written without quotes")
	}
	d.i += len(word)
	d.items = append(d.items, item{kind: k, end: at(len(d.items)) + 1, text: word})
	return true
}

func (d *decoder) number() bool {
	length, integer, whole := scanNumber(d.s[d.i:])
	if length == 0 {
		return d.fail("this is not a number as JSON writes them")
	}
	n := item{kind: kindNumber, end: at(len(d.items)) + 1, text: d.s[d.i : d.i+length]}
	if whole {
		n.numeric, n.bits = numericInteger, uint64(integer)
	}
	d.items = append(d.items, n)
	d.i += length
	return true
}

func (d *decoder) list(depth int) bool {
	if depth > maxDecodeDepth {
		return d.fail("it is nested more than " + strconv.Itoa(maxDecodeDepth) + " levels deep")
	}
	self := len(d.items)
	d.items = append(d.items, item{kind: kindList})
	d.i++
	count := uint64(0)
	if d.space(); d.i < len(d.s) && d.s[d.i] == ']' {
		d.i++
	} else {
		for more := true; more; {
			d.space()
			if !d.value(depth) {
				return false
			}
			count++
			var ok bool
			if more, ok = d.next(']'); !ok {
				return d.fail("a comma or `]` should be here")
			}
		}
	}
	d.items[self].end, d.items[self].bits = at(len(d.items)), count
	return true
}

// next passes the comma or the closing bracket behind an element.
func (d *decoder) next(closing byte) (more, ok bool) {
	if d.space(); d.i >= len(d.s) {
		return false, false
	}
	c := d.s[d.i]
	if c != ',' && c != closing {
		return false, false
	}
	d.i++
	return c == ',', true
}

func (d *decoder) object(depth int) bool {
	if depth > maxDecodeDepth {
		return d.fail("it is nested more than " + strconv.Itoa(maxDecodeDepth) + " levels deep")
	}
	self := len(d.items)
	d.items = append(d.items, item{kind: kindObject})
	d.i++
	count, last := uint64(0), missing
	if d.space(); d.i < len(d.s) && d.s[d.i] == '}' {
		d.i++
	} else {
		for more := true; more; {
			d.space()
			if d.i >= len(d.s) || d.s[d.i] != '"' {
				return d.fail("a key in double quotes should be here")
			}
			key, ok := d.quoted()
			if !ok {
				return false
			}
			d.items = append(d.items, item{kind: kindText, end: at(len(d.items)) + 1, last: last, text: key})
			last = at(len(d.items)) - 1
			if d.space(); d.i >= len(d.s) || d.s[d.i] != ':' {
				return d.fail("a colon should be here")
			}
			d.i++
			d.space()
			if !d.value(depth) {
				return false
			}
			count++
			if more, ok = d.next('}'); !ok {
				return d.fail("a comma or `}` should be here")
			}
		}
	}
	d.items[self].end, d.items[self].last, d.items[self].bits = at(len(d.items)), last, count
	return true
}

// quoted reads a string. One without escapes, which is nearly every one, is a piece of the text itself.
func (d *decoder) quoted() (string, bool) {
	d.i++
	start := d.i
	for ; d.i < len(d.s); d.i++ {
		switch c := d.s[d.i]; {
		case c == '"':
			text := d.s[start:d.i]
			d.i++
			return text, true
		case c == '\\':
			return d.escaped(start)
		case c < 0x20:
			return "", d.fail("a control character in a string is written as an escape, such as \\n")
		}
	}
	return "", d.fail("the string has no closing quote")
}

func (d *decoder) escaped(start int) (string, bool) {
	decoded := []byte(d.s[start:d.i])
	for d.i < len(d.s) {
		c := d.s[d.i]
		switch {
		case c == '"':
			d.i++
			return string(decoded), true
		case c < 0x20:
			return "", d.fail("a control character in a string is written as an escape, such as \\n")
		case c != '\\':
			decoded = append(decoded, c)
			d.i++
			continue
		}
		if d.i++; d.i >= len(d.s) {
			break
		}
		switch c := d.s[d.i]; c {
		case '"', '\\', '/':
			decoded = append(decoded, c)
		case 'b':
			decoded = append(decoded, '\b')
		case 'f':
			decoded = append(decoded, '\f')
		case 'n':
			decoded = append(decoded, '\n')
		case 'r':
			decoded = append(decoded, '\r')
		case 't':
			decoded = append(decoded, '\t')
		case 'u':
			r, ok := d.hex(d.i + 1)
			if !ok {
				return "", d.fail("\\u needs four hexadecimal digits")
			}
			d.i += 4
			if utf16.IsSurrogate(r) {
				r = d.surrogate(r)
			}
			decoded = utf8.AppendRune(decoded, r)
		default:
			return "", d.fail("this is no escape that JSON knows")
		}
		d.i++
	}
	return "", d.fail("the string has no closing quote")
}

// surrogate joins the first half of a pair with the second half behind it. A half without the other becomes
// the replacement character, as in encoding/json.
func (d *decoder) surrogate(first rune) rune {
	if d.i+2 < len(d.s) && d.s[d.i+1] == '\\' && d.s[d.i+2] == 'u' {
		if second, ok := d.hex(d.i + 3); ok {
			if joined := utf16.DecodeRune(first, second); joined != utf8.RuneError {
				d.i += 6
				return joined
			}
		}
	}
	return utf8.RuneError
}

func (d *decoder) hex(start int) (rune, bool) {
	if start+4 > len(d.s) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(d.s[start : start+4]) {
		switch {
		case c-'0' <= 9:
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// position counts lines and characters from 1.
func position(text string, offset int) (line, column int) {
	line, start := 1, 0
	for i := range min(offset, len(text)) {
		if text[i] == '\n' {
			line, start = line+1, i+1
		}
	}
	return line, utf8.RuneCountInString(text[start:min(offset, len(text))]) + 1
}
