package outbound

import (
	"bufio"
	"bytes"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/adapters"
)

const (
	// maxHeader bounds the header of an answer, all interim answers (1xx) before it included.
	maxHeader = 64 << 10
	// maxShown bounds what a receipt keeps of it.
	maxShown = 16 << 10
)

// Why an answer could not be understood. The texts follow "The answer could not be understood: ".
var (
	errBadTarget      = errors.New("method or target of the request is not valid")
	errNotHTTP        = errors.New("it is not HTTP")
	errStatusLine     = errors.New("its status line is malformed")
	errHeaderLine     = errors.New("a line of its header is malformed")
	errHeaderTooLarge = errors.New("its header is larger than 64 KiB")
	errSwitching      = errors.New("it switches to another protocol, which nobody asked for")
	errLength         = errors.New("its Content-Length is malformed or contradicts itself")
	errCoding         = errors.New("its Transfer-Encoding is not known")
	errChunk          = errors.New("a chunk of its body is malformed")
)

// answer is what the header of an answer says about its body and its connection.
type answer struct {
	minor     byte // of HTTP/1.x
	close     bool // "Connection: close"
	chunked   bool
	length    int64 // -1 when not given
	encoding  string
	retry     time.Duration
	keepAlive time.Duration // how long the connection may be idle, with a margin; 0 when not said
	left      int           // bytes of header that may still be read
	reusable  bool          // the body was read to its end and the connection stays open
}

// read reads the answer into resp.
func (x *exchange) read(resp *Response, head bool) *adapters.Error {
	x.answer.left = maxHeader
	for {
		if err := x.readHeader(resp); err != nil {
			return x.answerError(resp, err)
		}
		if resp.Code == 101 {
			resp.Code = 0
			return x.answerError(resp, errSwitching)
		}
		if resp.Code >= 200 {
			break
		}
		// An interim answer (100 Continue, 103 Early Hints) precedes the real one.
		resp.Code, resp.RespHeader, resp.Location, resp.Control = 0, "", "", ""
	}
	if resp.After = x.answer.retry; resp.Code >= 300 {
		resp.Retry = x.answer.retry
	}
	noBody := head || resp.Code == 204 || resp.Code == 304
	if err := x.readBody(resp, noBody); err != nil {
		return x.answerError(resp, err)
	}
	return nil
}

// readHeader reads a status line and the lines below it.
func (x *exchange) readHeader(resp *Response) error {
	a := &x.answer
	*a = answer{length: -1, left: a.left}
	first, err := x.br.Peek(1)
	if err != nil {
		return err
	}
	if resp.Timing.FirstByte == 0 {
		resp.Timing.FirstByte = time.Since(x.sent)
	}
	if first[0] != 'H' {
		// Waiting for the end of a line would be waiting for the deadline when the other side speaks another protocol.
		return errNotHTTP
	}
	line, err := x.readLine()
	if err != nil {
		return err
	}
	if resp.Code, a.minor, err = parseStatusLine(line); err != nil {
		return err
	}
	x.shown = x.shown[:0]
	for {
		if line, err = x.readLine(); err != nil {
			return err
		}
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			// A continuation of the line before (RFC 9112, section 5.2): kept to be seen, but never given a meaning. It
			// is masked as a whole, because the line that it belongs to may have been.
			if len(x.shown) > 0 && len(x.shown) < maxShown {
				x.shown = append(x.shown[:len(x.shown)-1], " "+masked+"\n"...)
			}
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(name) == 0 || bytes.IndexByte(name, ' ') >= 0 || bytes.IndexByte(name, '\t') >= 0 {
			return errHeaderLine
		}
		value = bytes.Trim(value, " \t")
		var buf [64]byte
		lower := appendLower(buf[:0], name)
		if err := x.interpret(resp, lower, value); err != nil {
			return err
		}
		if len(x.shown) < maxShown {
			x.show(name, lower, value)
		}
	}
	resp.RespHeader = x.c.redact.Text(string(x.shown))
	return nil
}

// readLine returns the next line without its end. It is valid until the next read.
func (x *exchange) readLine() ([]byte, error) {
	line, err := x.br.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		x.line = append(x.line[:0], line...)
		for err == bufio.ErrBufferFull {
			if len(x.line) > x.answer.left {
				return nil, errHeaderTooLarge
			}
			line, err = x.br.ReadSlice('\n')
			x.line = append(x.line, line...)
		}
		line = x.line
	}
	if err != nil {
		return nil, err
	}
	if x.answer.left -= len(line); x.answer.left < 0 {
		return nil, errHeaderTooLarge
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, nil
}

func parseStatusLine(line []byte) (code int, minor byte, err error) {
	// HTTP/1.1 200 OK
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		if bytes.HasPrefix(line, []byte("HTTP/")) {
			return 0, 0, errStatusLine
		}
		return 0, 0, errNotHTTP
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return 0, 0, errStatusLine
		}
		code = code*10 + int(c-'0')
	}
	if code < 100 || line[7] < '0' || line[7] > '9' {
		return 0, 0, errStatusLine
	}
	return code, line[7] - '0', nil
}

// interpret notes what a line says about the exchange.
func (x *exchange) interpret(resp *Response, lower, value []byte) error {
	a := &x.answer
	switch string(lower) {
	case "content-length":
		n, err := parseLength(value)
		if err != nil || a.length >= 0 && a.length != n {
			return errLength
		}
		a.length = n
	case "transfer-encoding":
		for coding := range bytes.SplitSeq(value, []byte(",")) {
			switch coding = bytes.TrimSpace(coding); {
			case bytes.EqualFold(coding, []byte("chunked")) && !a.chunked:
				a.chunked = true
			case len(coding) == 0, bytes.EqualFold(coding, []byte("identity")):
			default:
				return errCoding
			}
		}
	case "connection":
		for option := range bytes.SplitSeq(value, []byte(",")) {
			if bytes.EqualFold(bytes.TrimSpace(option), []byte("close")) {
				a.close = true
			}
		}
	case "keep-alive":
		a.keepAlive = parseKeepAlive(value)
	case "content-encoding":
		if len(value) > 0 && !bytes.EqualFold(value, []byte("identity")) {
			a.encoding = string(bytes.ToLower(value))
		}
	case "retry-after":
		a.retry = RetryAfter(string(value), time.Now())
	case "location":
		resp.Location = x.c.redact.Text(cleanText(value))
	case "webhook-delivery":
		resp.Control = string(bytes.ToLower(value))
	}
	return nil
}

// parseLength reads a Content-Length. A list of equal numbers counts as that number (RFC 9110, section 8.6).
func parseLength(value []byte) (int64, error) {
	length := int64(-1)
	for part := range bytes.SplitSeq(value, []byte(",")) {
		part = bytes.TrimSpace(part)
		for _, c := range part {
			if c < '0' || c > '9' {
				return 0, errLength
			}
		}
		n, err := strconv.ParseInt(string(part), 10, 64)
		if err != nil || length >= 0 && n != length {
			return 0, errLength
		}
		length = n
	}
	return length, nil
}

// parseKeepAlive reads how long the receiver keeps an idle connection ("timeout=5, max=100"). A margin is taken off, so
// that a request does not cross the receiver's closing of the connection on its way.
func parseKeepAlive(value []byte) time.Duration {
	for param := range bytes.SplitSeq(value, []byte(",")) {
		name, text, _ := bytes.Cut(bytes.TrimSpace(param), []byte("="))
		if !bytes.EqualFold(name, []byte("timeout")) {
			continue
		}
		n, err := strconv.ParseUint(string(bytes.Trim(text, ` "`)), 10, 31)
		if err != nil {
			return 0
		}
		if n <= 1 {
			return 500 * time.Millisecond
		}
		return time.Duration(n-1) * time.Second
	}
	return 0
}

// show appends a line of the answer to what the receipt keeps.
func (x *exchange) show(name, lower, value []byte) {
	x.shown = appendClean(x.shown, name)
	x.shown = append(x.shown, ": "...)
	if sensitive(lower) {
		x.shown = append(x.shown, masked...)
	} else {
		x.shown = appendClean(x.shown, value)
	}
	x.shown = append(x.shown, '\n')
}

// appendClean appends text that a stranger chose so that it can be stored and shown: control characters and bytes that
// are not UTF-8 become question marks. Databases and terminals take offence at both.
func appendClean(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c < ' ' && c != '\t' || c == 0x7f {
				c = '?'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size <= 1 {
			dst = append(dst, '?')
		} else {
			dst = append(dst, text[i:i+size]...)
		}
		i += size
	}
	return dst
}

func cleanText(text []byte) string { return string(appendClean(nil, text)) }
