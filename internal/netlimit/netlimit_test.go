package netlimit

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// TestLimits opens connections over each limit, and again after one is closed.
func TestLimits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limits Limits
		status int
		all    bool
	}{
		"in all":         {Limits{Total: 2, PerAddress: 5}, 503, true},
		"by address":     {Limits{Total: 5, PerAddress: 2}, 429, false},
		"only proxies":   {Limits{Total: 2, PerAddress: 1, Exempt: func(a netip.Addr) bool { return a.IsLoopback() }}, 503, true},
		"only in all":    {Limits{Total: 2}, 503, true},
		"only addresses": {Limits{PerAddress: 2}, 429, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			refused := make(chan bool, 10)
			c.limits.Refused = func(from netip.Addr, all bool) {
				if !from.IsLoopback() {
					t.Errorf("refused %s", from)
				}
				refused <- all
			}
			ln := Listen(inner, c.limits)
			t.Cleanup(func() { _ = ln.Close() })
			accepted := make(chan net.Conn, 10)
			go func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					accepted <- conn
				}
			}()
			dial := func() net.Conn {
				conn, err := net.Dial("tcp", inner.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				return conn
			}
			dial()
			dial()
			first, second := <-accepted, <-accepted
			over := dial()
			resp, err := http.ReadResponse(bufio.NewReader(over), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != c.status || resp.Header.Get("Retry-After") == "" ||
				!strings.HasSuffix(string(body), "\"}\n") {
				t.Errorf("%d %q %v", resp.StatusCode, body, err)
			}
			if all := <-refused; all != c.all {
				t.Errorf("refused because of the limit of all: %t", all)
			}
			_ = first.Close()
			_ = first.Close() // which gives its place back once only
			dial()
			third := <-accepted
			dial()
			<-refused
			_, _ = second.Close(), third.Close()
		})
	}
}
