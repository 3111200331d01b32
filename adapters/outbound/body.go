package outbound

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"

	"github.com/waybill-dev/waybill/adapters"
)

// framing is how many bytes beside the body itself (chunk sizes, extensions, trailers) an answer may cost.
const framing = 64 << 10

// errEnough says that as much of a body has been read as ever is. It is no error to the caller.
var errEnough = errors.New("more than is read of an answer")

// bodyReader yields the bytes of a body as its framing delimits them, without decoding its content.
type bodyReader struct {
	x       *exchange
	left    int64 // of the body with a length, or of the chunk; -1 until the connection closes
	chunked bool
	chunk   bool  // inside a chunk, or at its end
	done    bool  // the body was read to its end
	budget  int64 // bytes of body that may still be read
	extra   int64 // bytes of framing that may still be read
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	if b.budget <= 0 {
		return 0, errEnough
	}
	if b.chunked && b.left == 0 {
		if err := b.nextChunk(); err != nil {
			return 0, err
		}
		if b.done {
			return 0, io.EOF
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:min(int64(len(p)), b.budget)]
	if b.left >= 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.x.br.Read(p)
	b.budget -= int64(n)
	if b.left < 0 {
		b.done = err == io.EOF
		return n, err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if b.left -= int64(n); b.left == 0 && !b.chunked {
		b.done = true
		err = nil
	}
	return n, err
}

// nextChunk reads up to the data of the next chunk, or the trailers behind the last one.
func (b *bodyReader) nextChunk() error {
	if b.chunk {
		if line, err := b.line(); err != nil || len(line) > 0 {
			return cut(err, errChunk)
		}
	}
	line, err := b.line()
	if err != nil {
		return cut(err, errChunk)
	}
	size, _, _ := bytes.Cut(line, []byte(";"))
	if b.left, err = parseChunkSize(bytes.TrimRight(size, " \t")); err != nil {
		return err
	}
	b.chunk = true
	if b.left > 0 {
		return nil
	}
	for {
		if line, err = b.line(); err != nil {
			return cut(err, errChunk)
		}
		if len(line) == 0 {
			b.done = true
			return nil
		}
	}
}

// cut is what a line that could not be read means: the connection's own error, or otherwise a malformed body.
func cut(err, otherwise error) error {
	switch err {
	case nil:
		return otherwise
	case io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

func (b *bodyReader) line() ([]byte, error) {
	line, err := b.x.br.ReadSlice('\n')
	if b.extra -= int64(len(line)); b.extra < 0 {
		return nil, errEnough
	}
	if err == bufio.ErrBufferFull {
		return nil, errChunk
	}
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

func parseChunkSize(text []byte) (n int64, err error) {
	if len(text) == 0 || len(text) > 15 {
		return 0, errChunk
	}
	for _, c := range text {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, errChunk
		}
		n = n<<4 | int64(c)
	}
	return n, nil
}

// readBody reads the body: decoded up to what a receipt keeps, then, to free the connection for the next request, as it
// comes and up to MaxRead.
func (x *exchange) readBody(resp *Response, none bool) error {
	a := &x.answer
	b := &x.reader
	*b = bodyReader{x: x, budget: MaxRead, extra: framing}
	stays := a.minor >= 1 && !a.close
	switch {
	case none:
		b.done = true
	case a.chunked && a.minor >= 1:
		// HTTP/1.0 has no chunks, whatever its header says (net/http reads it in the same way). A length beside chunks is
		// ignored, and the connection is not trusted further (RFC 9112, section 6.3).
		b.chunked = true
		stays = stays && a.length < 0
	case a.length >= 0:
		b.left, b.done = a.length, a.length == 0
	default:
		b.left, stays = -1, false
	}
	if !b.done {
		truncated, err := x.keepBody(b)
		resp.Truncated = truncated
		if len(x.body) > 0 {
			resp.Body = x.c.redact.bytes(bytes.Clone(x.body))
		}
		if err == nil && !b.done {
			err = drain(b, x.body[:cap(x.body)])
		}
		if err != nil && err != errEnough {
			resp.Truncated = true
			return err
		}
	}
	a.reusable = stays && b.done
	return nil
}

// keepBody fills x.body. The error is one of the connection; content that cannot be decoded is kept as far as it could.
func (x *exchange) keepBody(b *bodyReader) (truncated bool, err error) {
	src := io.Reader(b)
	var watch *watched
	if x.answer.encoding != "" {
		watch = &watched{r: b}
		if d := decoder(x.answer.encoding, watch); d != nil {
			src = d
		}
	}
	x.body = x.body[:0]
	for {
		if len(x.body) == cap(x.body) {
			x.body = append(x.body, 0)[:len(x.body)]
		}
		room := min(cap(x.body), adapters.MaxBodyKept+1)
		n, err := src.Read(x.body[len(x.body):room])
		x.body = x.body[:len(x.body)+n]
		if len(x.body) > adapters.MaxBodyKept {
			x.body = x.body[:adapters.MaxBodyKept]
			return true, nil
		}
		switch {
		case err == nil:
			continue
		case err == io.EOF:
			return false, nil
		case watch == nil:
			return true, err
		default:
			// A decoder failed. Only what its source said is a fact about the connection.
			return true, watch.err
		}
	}
}

// watched remembers how its source failed, which decoders do not always tell.
type watched struct {
	r   io.Reader
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// decoder undoes a content coding. Receivers that compress although nobody asked them to use one of these two; with any
// other coding the bytes are kept as they came.
func decoder(encoding string, r io.Reader) io.Reader {
	switch encoding {
	case "gzip", "x-gzip":
		return &lazyDecoder{open: func() (io.Reader, error) { return gzip.NewReader(r) }}
	case "deflate":
		return &lazyDecoder{open: func() (io.Reader, error) {
			br := bufio.NewReader(r)
			// The name means the zlib format, but some servers send the bare deflate stream (RFC 9110, 8.4.1.2).
			if head, _ := br.Peek(2); len(head) == 2 && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
				return zlib.NewReader(br)
			}
			return flate.NewReader(br), nil
		}}
	}
	return nil
}

// lazyDecoder opens the decoder at the first read, since opening reads already.
type lazyDecoder struct {
	open func() (io.Reader, error)
	r    io.Reader
}

func (l *lazyDecoder) Read(p []byte) (int, error) {
	if l.r == nil {
		r, err := l.open()
		if err != nil {
			return 0, err
		}
		l.r = r
	}
	return l.r.Read(p)
}

// drain reads what nobody keeps. scratch holds bytes that have been copied already.
func drain(b *bodyReader, scratch []byte) error {
	if len(scratch) < 4<<10 {
		scratch = make([]byte, 4<<10)
	}
	for {
		if _, err := b.Read(scratch); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}
