package app

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
)

// sender is a client that writes its requests by hand.
type sender struct {
	testing.TB
	net.Conn
	r *bufio.Reader
}

func (a *testApp) sender() *sender {
	a.Helper()
	return sendTo(a.TB, strings.TrimPrefix(a.base, "http://"))
}

func sendTo(t testing.TB, address string) *sender {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &sender{t, conn, bufio.NewReader(conn)}
}

// send writes, as far as the server still reads.
func (s *sender) send(format string, args ...any) { _, _ = fmt.Fprintf(s, format, args...) }

// want reads an answer of this status.
func (s *sender) want(status int) (body string) {
	s.Helper()
	resp, err := http.ReadResponse(s.r, nil)
	if err != nil {
		s.Fatalf("no answer: %v", err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		s.Fatalf("status %d, want %d: %s %v", resp.StatusCode, status, raw, err)
	}
	return string(raw)
}

// wantEnd expects that the server closes the connection.
func (s *sender) wantEnd() {
	s.Helper()
	if b, err := s.r.ReadByte(); err == nil {
		s.Errorf("an answer to what is no request: %q…", b)
	}
}

const publishHead = "POST /api/v1/publish HTTP/1.1\r\nHost: localhost\r\n"

// TestLargeBodiesNeedAKey announces bodies. Without a key that may send them, the answer comes before they do.
func TestLargeBodiesNeedAKey(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	token := a.want(200, "GET", "/tenants/acme/token", nil).str("token")
	for name, c := range map[string]struct {
		head   string
		status int
	}{
		"no key":                 {publishHead + "Content-Length: 8388608\r\n\r\n{\"a\":", 401},
		"a wrong key":            {publishHead + "Authorization: Bearer wb_wrong\r\nContent-Length: 8388608\r\n\r\n{\"a\":", 401},
		"chunks without a key":   {publishHead + "Transfer-Encoding: chunked\r\n\r\n100000\r\n{\"a\":", 401},
		"a key without that":     {publishHead + "Authorization: Bearer " + token + "\r\nContent-Length: 8388608\r\n\r\n{\"a\":", 403},
		"more than any may send": {publishHead + "Content-Length: 8388609\r\n\r\n", 413},
		"more than the address's": {"PUT /api/v1/tenants/acme HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + testKey +
			"\r\nContent-Length: 1048577\r\n\r\n{", 413},
		"a page's form":           {"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000000\r\n\r\nemail", 413},
		"a page behind the login": {"POST /t/acme/topics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nname=", 303},
		"no page":                 {"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nname=", 404},
		"an unknown method":       {"BREW /api/v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nname=", 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sendTo(t, strings.TrimPrefix(a.base, "http://"))
			began := time.Now()
			s.send("%s", c.head)
			s.want(c.status)
			if took := time.Since(began); took > a.Cfg.ReadTimeout/2 {
				t.Errorf("the answer waited for the body: %s", took)
			}
			s.wantEnd()
		})
	}
}

// TestRefusedBodiesAreNoRequests sends a request in a body that is refused. It is not answered, and the next one is.
func TestRefusedBodiesAreNoRequests(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	within := strings.Repeat("GET /within HTTP/1.1\r\nHost: localhost\r\n\r\n", 1000)
	for _, c := range []struct{ head, body string }{
		{"Content-Length: " + strconv.Itoa(len(within)), within},
		{"Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(within), within)},
	} {
		s := a.sender()
		s.send("%s%s\r\n\r\n%s", publishHead, c.head, c.body)
		s.want(401)
		s.send("GET /api/v1/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
		s.want(404)
	}
}

// TestBodiesOfEverySize publishes events around the sizes at which bodies are read in another way.
func TestBodiesOfEverySize(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.MaxPayload = 5 << 20 })
	a.tenant("acme")
	s := a.sender()
	for i, size := range []int{100, 4095, 4096, 8191, 8192, 8193, 16384, 65535, 65536, 65537, 65538, 131072, 131073, 1 << 20, 4<<20 + 1} {
		for _, chunks := range []bool{false, true} {
			id := fmt.Sprintf("e-%d-%t", size, chunks)
			head := fmt.Sprintf(`{"tenant_id":"acme","id":%q,"data":{"pad":"`, id)
			body := head + strings.Repeat(string(rune('a'+i)), size-len(head)-3) + `"}}`
			if chunks {
				s.send("%sAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n", publishHead, testKey)
				for rest := body; rest != ""; {
					n := min(len(rest), 50_000)
					s.send("%x\r\n%s\r\n", n, rest[:n])
					rest = rest[n:]
				}
				s.send("0\r\n\r\n")
			} else {
				s.send("%sAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", publishHead, testKey, len(body), body)
			}
			s.want(202)
			if got := a.want(200, "GET", "/events/"+id, nil).str("data", "pad"); got != body[len(head):len(body)-3] {
				t.Errorf("%d bytes, chunks %t: %d bytes of data are kept", size, chunks, len(got))
			}
		}
	}
	body := fmt.Sprintf(`{"tenant_id":"acme","id":"asked","data":{"pad":%q}}`, strings.Repeat("x", 100_000))
	s.send("%sAuthorization: Bearer %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", publishHead, testKey, len(body))
	s.want(100)
	s.send("%s", body)
	s.want(202)
	s.send("%sAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", publishHead, testKey, 11<<20)
	go s.send("%s", strings.Repeat(" ", 11<<20)) // more than the limit, as only chunks can come
	s.want(413)
}

// TestBodiesThatDoNotMove sends bodies that stop, and bodies that trickle.
func TestBodiesThatDoNotMove(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.ReadTimeout = 200 * time.Millisecond })
	for name, head := range map[string]string{
		"a header":      "POST /api/v1/publish HTTP/1.1\r\nHost: local",
		"a small body":  publishHead + "Content-Length: 100\r\n\r\n{",
		"a body at all": publishHead + "Authorization: Bearer " + testKey + "\r\nContent-Length: 100000\r\n\r\n",
		"a large body": publishHead + "Authorization: Bearer " + testKey + "\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat(" ",
			20_000),
		"chunks":         publishHead + "Authorization: Bearer " + testKey + "\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n{",
		"a page's chunk": "POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nx",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sendTo(t, strings.TrimPrefix(a.base, "http://"))
			s.send("%s", head)
			s.want(408)
			s.wantEnd()
		})
	}
	t.Run("a trickle", func(t *testing.T) {
		t.Parallel()
		s := sendTo(t, strings.TrimPrefix(a.base, "http://"))
		s.send("%sAuthorization: Bearer %s\r\nContent-Length: 1000000\r\n\r\n", publishHead, testKey)
		over := make(chan struct{})
		go func() { // ten bytes every ten milliseconds: no pause, and far below the rate
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					s.send("          ")
				case <-over:
					return
				}
			}
		}()
		s.want(408)
		close(over)
	})
}
