package outbound

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// answered posts to a sink that gives one raw answer and closes.
func answered(t testing.TB, raw string) (Response, error) {
	t.Helper()
	s := adaptertest.NewSink(t, adaptertest.Answer{Raw: raw, Close: true})
	return post(t, client(t, s, Options{}), "x")
}

func TestAnswersThatAreUnderstood(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, raw string
		code      int
		body      string
		header    string
	}{
		{"plain", "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", "A: b\nContent-Length: 2\n"},
		{"no reason", "HTTP/1.1 202\r\nContent-Length: 0\r\n\r\n", 202, "", "Content-Length: 0\n"},
		{"bare line feeds", "HTTP/1.1 200 OK\nA:b \nContent-Length: 2\n\nhi", 200, "hi", "A: b\nContent-Length: 2\n"},
		{"http/1.0", "HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, "until the end", ""},
		{"no length", "HTTP/1.1 500 Oh\r\nA: b\r\n\r\nuntil the end", 500, "until the end", "A: b\n"},
		{"continue", "HTTP/1.1 100 Continue\r\nX: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 1\r\n\r\n1", 201, "1", "Content-Length: 1\n"},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\nA ; x=\"y\"\r\n0123456789\r\n000\r\nTrailer: x\r\n\r\n", 200, "abc0123456789", "Transfer-Encoding: Chunked\n"},
		{"same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nhi", 200, "hi",
			"Content-Length: 2, 2\nContent-Length: 2\n"},
		{"folded line", "HTTP/1.1 200 OK\r\nA: b\r\n  c\r\nContent-Length: 0\r\n\r\n", 200, "", "A: b ***\nContent-Length: 0\n"},
		{"odd bytes", "HTTP/1.1 200 OK\r\nA: \x00\x1b[31m\xff é\r\nContent-Length: 0\r\n\r\n", 200, "",
			"A: ??[31m? é\nContent-Length: 0\n"},
		{"secrets", "HTTP/1.1 200 OK\r\nset-cookie: a\r\nX-Api-Key: b\r\nContent-Length: 0\r\n\r\n", 200, "",
			"set-cookie: ***\nX-Api-Key: ***\nContent-Length: 0\n"},
		{"long line", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 10000) + "\r\nContent-Length: 0\r\n\r\n", 200, "",
			"A: " + strings.Repeat("x", 10000) + "\nContent-Length: 0\n"},
		{"unknown status", "HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", 799, "", "Content-Length: 0\n"},
		{"unknown coding", "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n\x01\x02", 200, "\x01\x02",
			"Content-Encoding: br\nContent-Length: 2\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := answered(t, tt.raw)
			if err != nil || r.Code != tt.code || string(r.Body) != tt.body || r.Truncated {
				t.Fatalf("%d %q %v %v", r.Code, r.Body, r.Truncated, err)
			}
			if r.RespHeader != tt.header {
				t.Errorf("header %q", r.RespHeader)
			}
		})
	}
}

func TestAnswersThatAreNot(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, raw string
		class     adapters.Class
		message   string
	}{
		{"nothing", "", adapters.ClassConnect, "without an answer"},
		{"another protocol", "SSH-2.0-OpenSSH_9.6\r\n", adapters.ClassProtocol, `begins with "SSH-2.0-OpenSSH_9.6??"`},
		{"bytes", "\x00\x00\x12\x04", adapters.ClassProtocol, "not HTTP"},
		{"almost", "HTTQ/1.1 200 OK\r\n\r\n", adapters.ClassProtocol, "not HTTP"},
		{"http/2", "HTTP/2 200\r\n\r\n", adapters.ClassProtocol, "status line"},
		{"word", "HTTP/1.1 abc OK\r\n\r\n", adapters.ClassProtocol, "status line"},
		{"small", "HTTP/1.1 020 OK\r\n\r\n", adapters.ClassProtocol, "status line"},
		{"long status", "HTTP/1.1 2000 OK\r\n\r\n", adapters.ClassProtocol, "status line"},
		{"no colon", "HTTP/1.1 200 OK\r\nabc\r\n\r\n", adapters.ClassProtocol, "a line of its header"},
		{"space in name", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", adapters.ClassProtocol, "a line of its header"},
		{"no name", "HTTP/1.1 200 OK\r\n: 5\r\n\r\n", adapters.ClassProtocol, "a line of its header"},
		{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", adapters.ClassProtocol, "Content-Length"},
		{"signed length", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx", adapters.ClassProtocol, "Content-Length"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi", adapters.ClassProtocol, "Content-Length"},
		{"huge length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", adapters.ClassProtocol, "Content-Length"},
		{"unknown transfer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", adapters.ClassProtocol, "Transfer-Encoding"},
		{"bad chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", adapters.ClassProtocol, "chunk"},
		{"bad chunk end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", adapters.ClassProtocol, "chunk"},
		{"huge chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc", adapters.ClassProtocol,
			"chunk"},
		{"unasked switch", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", adapters.ClassProtocol, "another protocol"},
		{"cut in header", "HTTP/1.1 200 OK\r\nContent-", adapters.ClassProtocol, "broke off"},
		{"cut in body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", adapters.ClassProtocol, "status 200"},
		{"cut in chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc", adapters.ClassProtocol, "broke off"},
		{"cut before last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", adapters.ClassProtocol, "broke off"},
		{"endless header", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 20000), adapters.ClassProtocol, "64 KiB"},
		{"endless line", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 100000), adapters.ClassProtocol, "64 KiB"},
		{"endless interim answers", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 5000), adapters.ClassProtocol, "64 KiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := answered(t, tt.raw)
			if e := wantError(t, err, tt.class, tt.message); e.Kind != adapters.KindTransient || e.Advice == "" {
				t.Errorf("%+v", e)
			}
		})
	}
}

// A server that speaks first, and another protocol, is recognised without waiting for the end of a line.
func TestServerThatSpeaksFirst(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewGreeter(t, "220 mail ESMTP")
	_, err := post(t, client(t, s, Options{}), "x")
	wantError(t, err, adapters.ClassProtocol, `begins with "220 mail ESMTP`)
}

func packed(t testing.TB, coding string, body []byte) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zlib":
		w = zlib.NewWriter(&b)
	case "flate":
		w, _ = flate.NewWriter(&b, 5)
	}
	w.Write(body)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCompressedAnswers(t *testing.T) {
	t.Parallel()
	body := []byte(strings.Repeat("all is well ", 1000))
	for _, tt := range [][2]string{{"gzip", "gzip"}, {"x-gzip", "gzip"}, {"deflate", "zlib"}, {"Deflate", "flate"}} {
		for _, chunked := range []bool{false, true} {
			s := adaptertest.NewSink(t, adaptertest.Answer{Header: []string{"Content-Encoding: " + tt[0]}, Body: packed(t, tt[1], body),
				Chunked: chunked})
			c := client(t, s, Options{})
			for range 2 {
				if r := mustPost(t, c, "x"); !bytes.Equal(r.Body, body) || r.Truncated {
					t.Errorf("%s: %d bytes, truncated %v", tt[0], len(r.Body), r.Truncated)
				}
			}
			if s.Accepted() != 1 {
				t.Errorf("%s: the connection was not reused", tt[0])
			}
		}
	}
	// Content that cannot be decoded says nothing about the delivery.
	for name, body := range map[string]string{"not gzip": "hello", "cut": packed(t, "gzip", body)[:40], "empty": ""} {
		s := adaptertest.NewSink(t, adaptertest.Answer{Header: []string{"Content-Encoding: gzip"}, Body: body})
		c := client(t, s, Options{})
		if mustPost(t, c, "x"); s.Accepted() != 1 {
			t.Errorf("%s: %d connections", name, s.Accepted())
		}
		mustPost(t, c, "x")
		if s.Accepted() != 1 {
			t.Errorf("%s: the connection was not reused", name)
		}
	}
}

func TestLongAnswers(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]adaptertest.Answer{
		"kept whole": {Body: strings.Repeat("x", adapters.MaxBodyKept)},
		"one more":   {Body: strings.Repeat("x", adapters.MaxBodyKept+1)},
		"just read":  {Body: strings.Repeat("x", MaxRead)},
		"chunked":    {Body: strings.Repeat("x", MaxRead/2), Chunked: true},
		"too long":   {Body: strings.Repeat("x", MaxRead+1)},
		"much":       {Body: strings.Repeat("x", 8*MaxRead), Status: 400},
		"many small": {Raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("e",
			100)+"\r\nx\r\n", 20000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := adaptertest.NewSink(t, answer)
			c := client(t, s, Options{})
			for range 2 {
				r := mustPost(t, c, "x")
				whole := len(answer.Body) <= adapters.MaxBodyKept && answer.Raw == ""
				if r.Truncated == whole || len(r.Body) > adapters.MaxBodyKept || whole && len(r.Body) != len(answer.Body) ||
					answer.Status != 0 && r.Code != answer.Status {
					t.Errorf("status %d, %d bytes, truncated %v", r.Code, len(r.Body), r.Truncated)
				}
			}
			if want := map[bool]int{true: 1, false: 2}[name == "kept whole" || name == "one more" || name == "just read" ||
				name == "chunked"]; s.Accepted() != want {
				t.Errorf("%d connections, want %d", s.Accepted(), want)
			}
		})
	}
}

// A small answer that unpacks to very much costs neither memory nor time.
func TestCompressionBomb(t *testing.T) {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	block := make([]byte, 1<<20)
	for range 64 {
		w.Write(block)
	}
	w.Close()
	s := adaptertest.NewSink(t, adaptertest.Answer{Header: []string{"Content-Encoding: gzip"}, Body: b.String()})
	c := client(t, s, Options{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := mustPost(t, c, "x")
	runtime.ReadMemStats(&after)
	if len(r.Body) != adapters.MaxBodyKept || !r.Truncated || r.Code != 200 {
		t.Errorf("%d bytes of %d, truncated %v", len(r.Body), b.Len(), r.Truncated)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("%d MiB were allocated", used>>20)
	}
}

func TestRepeatedSecretsAreCutOut(t *testing.T) {
	t.Parallel()
	const secret = `s3cr"t/and more`
	s := adaptertest.NewSink(t, adaptertest.Answer{Repeat: true, Status: 302,
		Header: []string{"Location: https://h.example/?" + secret, "X: " + secret}})
	c := client(t, s, Options{Redact: []string{"Bearer " + secret, "short"}})
	h := new(Header)
	h.Add("X-Odd", "Bearer "+secret)
	r, err := c.Do(deadline(t, time.Minute), Request{Header: h, Body: []byte(`{"a":"s3cr\"t\/and more","b":"short"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if all := fmt.Sprintf("%+v %s", r, r.Body); strings.Contains(all, "s3cr") && strings.Contains(all, "and more") {
		t.Errorf("the secret is repeated: %s", all)
	}
	if !strings.Contains(string(r.Body), `"b":"short"`) || !strings.Contains(string(r.Body), "***") {
		t.Errorf("%s", r.Body)
	}
}

func TestControlHeaders(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t, adaptertest.Answer{Status: 429, Header: []string{"Retry-After: 7", "Webhook-Delivery: Disable"}},
		adaptertest.Answer{Status: 200, Header: []string{"Retry-After: 7"}})
	c := client(t, s, Options{})
	if r := mustPost(t, c, "x"); r.Retry != 7*time.Second || r.Control != ControlDisable {
		t.Errorf("%+v", r)
	}
	if r := mustPost(t, c, "x"); r.Retry != 0 || r.Control != "" {
		t.Errorf("%+v", r)
	}
}

// The parser must agree with net/http's about every answer that both take, and never fail in another way.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.0 500 X\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 204 N\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"} {
		f.Add([]byte(s))
	}
	e, err := ParseURL("http://127.0.0.1/")
	if err != nil {
		f.Fatal(err)
	}
	c := New(e, Options{Egress: loopback})
	f.Fuzz(func(t *testing.T, raw []byte) {
		x := exchanges.New().(*exchange)
		x.c, x.ctx, x.br = c, context.Background(), bufio.NewReader(bytes.NewReader(raw))
		var resp Response
		if err := x.read(&resp, false); err != nil {
			return
		}
		if !utf8.ValidString(resp.RespHeader) || strings.ContainsAny(resp.RespHeader, "\x00\r") || len(resp.Body) > adapters.MaxBodyKept {
			t.Fatalf("%q gave %+v", raw, resp)
		}
		br := bufio.NewReader(bytes.NewReader(raw))
		want, err := http.ReadResponse(br, nil)
		for err == nil && want.StatusCode < 200 && want.StatusCode != 101 {
			want, err = http.ReadResponse(br, nil)
		}
		if err != nil {
			return
		}
		body, err := io.ReadAll(want.Body)
		if err != nil || want.Header.Get("Content-Encoding") != "" || resp.Truncated {
			return
		}
		if want.StatusCode != resp.Code || !bytes.Equal(body, resp.Body) {
			t.Fatalf("%q: got %d %q, net/http %d %q", raw, resp.Code, resp.Body, want.StatusCode, body)
		}
	})
}
