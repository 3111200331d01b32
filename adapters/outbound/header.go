package outbound

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// masked stands in receipts where a secret was.
const masked = "***"

// Header collects the lines of a request, twice: as they go over the wire, and as receipts show them. Lines that never
// change are added once to a Header that serves as the base of others (Reset). The zero value is empty and ready.
type Header struct {
	wire  []byte // lines end with CR LF
	shown []byte // lines end with LF, secrets masked
	err   error
}

var headerPool = sync.Pool{New: func() any { return new(Header) }}

// AcquireHeader returns a pooled Header that begins with base's lines; base may be nil.
func AcquireHeader(base *Header) *Header {
	h := headerPool.Get().(*Header)
	h.Reset(base)
	return h
}

// ReleaseHeader gives h back. The caller must not use it any more.
func ReleaseHeader(h *Header) { headerPool.Put(h) }

// Reset makes h a copy of base, or empties it when base is nil.
func (h *Header) Reset(base *Header) {
	h.wire, h.shown, h.err = h.wire[:0], h.shown[:0], nil
	if base != nil {
		h.wire = append(h.wire, base.wire...)
		h.shown = append(h.shown, base.shown...)
		h.err = base.err
	}
}

// Err says why the lines cannot be sent: the first name or value that was refused.
func (h *Header) Err() error { return h.err }

// Add appends one line. Its value is masked in receipts when the name sounds like a credential (Sensitive). A name or
// value that HTTP does not allow is refused (Err); nothing can break out of its line.
func (h *Header) Add(name, value string) { addLine(h, name, value, Sensitive(name)) }

// AddSecret is Add for a value that is masked in receipts whatever its name is.
func (h *Header) AddSecret(name, value string) { addLine(h, name, value, true) }

// AddPublic is Add for names known to hold no credential, which saves looking at the name.
func (h *Header) AddPublic(name, value string) { addLine(h, name, value, false) }

// AddPublicBytes is AddPublic for a value in a buffer. The buffer may be reused afterwards.
func (h *Header) AddPublicBytes(name string, value []byte) { addLine(h, name, value, false) }

// AddPublicInt is AddPublic for a number.
func (h *Header) AddPublicInt(name string, n int64) {
	var buf [20]byte
	addLine(h, name, strconv.AppendInt(buf[:0], n, 10), false)
}

func addLine[T string | []byte](h *Header, name string, value T, secret bool) {
	if !ValidName(name) || !validValue(value) {
		if h.err == nil {
			// The value is left out on purpose: it may be a credential.
			h.err = fmt.Errorf("header %q cannot be sent with this value", clip(name, 60))
		}
		return
	}
	h.wire = append(h.wire, name...)
	h.wire = append(h.wire, ": "...)
	h.wire = append(h.wire, value...)
	h.wire = append(h.wire, "\r\n"...)
	h.shown = append(h.shown, name...)
	h.shown = append(h.shown, ": "...)
	if secret {
		h.shown = append(h.shown, masked...)
	} else {
		h.shown = append(h.shown, value...)
	}
	h.shown = append(h.shown, '\n')
}

// ValidName says whether name is a header name: a token of RFC 9110, section 5.6.2.
func ValidName(name string) bool {
	for i := 0; i < len(name); i++ {
		if !isTokenByte(name[i]) {
			return false
		}
	}
	return name != ""
}

// ValidValue says whether value may stand in a header line: no control characters but tabs (RFC 9110, section 5.5).
func ValidValue(value string) bool { return validValue(value) }

func validValue[T string | []byte](value T) bool {
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isTokenByte(c byte) bool {
	return isAlnum(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// harmless names make up nearly all lines of answers. They are known not to hold credentials.
func harmless(lower []byte) bool {
	switch string(lower) {
	case "date", "server", "content-type", "content-length", "connection", "keep-alive", "transfer-encoding", "vary",
		"cache-control", "content-encoding", "retry-after", "location", "etag", "via", "age", "x-request-id",
		"x-powered-by", "strict-transport-security", "cf-ray", "alt-svc", "webhook-delivery", "expires":
		return true
	}
	return false
}

// secretWords are parts of names whose values are credentials more often than not. Dashes stand for either end of a
// word, so that "auth" is found and "author" is not.
var secretWords = []string{"authoriz", "-auth-", "key", "token", "secret", "password", "passwd", "passphrase", "-pwd-",
	"-pass-", "credential", "cookie", "session", "jwt", "bearer"}

// Sensitive says whether a header or parameter of this name is likely to hold a credential. Values of such headers are
// masked wherever people look at them.
func Sensitive(name string) bool {
	var buf [64]byte
	return sensitive(appendLower(buf[:0], name))
}

func sensitive(lower []byte) bool {
	if harmless(lower) {
		return false
	}
	var buf [80]byte
	s := append(buf[:0], '-')
	for _, c := range lower {
		if c == '_' || c == '.' {
			c = '-'
		}
		s = append(s, c)
	}
	s = append(s, '-')
	text := string(s)
	for _, w := range secretWords {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

func appendLower[T string | []byte](dst []byte, s T) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}
