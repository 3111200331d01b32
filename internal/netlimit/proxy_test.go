package netlimit

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

// v2 is a header of version 2 for a client.
func v2(client string) string {
	h := &proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr:      net.TCPAddrFromAddrPort(netip.MustParseAddrPort(client)),
		DestinationAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:443"))}
	if netip.MustParseAddrPort(client).Addr().Is6() {
		h.TransportProtocol, h.DestinationAddr = proxyproto.TCPv6, net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:443"))
	}
	b, err := h.Format()
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestProxied sends headers, whole and byte by byte, and what is none, from an address that is a proxy's and from one that is not.
func TestProxied(t *testing.T) {
	t.Parallel()
	const rest = "what the client sends"
	for name, c := range map[string]struct {
		trusted     bool
		sends, from string // empty for a connection that is closed
	}{
		"version 1":                {true, "PROXY TCP4 198.51.100.1 192.0.2.1 4711 443\r\n", "198.51.100.1"},
		"version 1, IPv6":          {true, "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "2001:db8::7"},
		"version 1, unknown":       {true, "PROXY UNKNOWN\r\n", "127.0.0.1"},
		"version 2":                {true, v2("198.51.100.1:4711"), "198.51.100.1"},
		"version 2, IPv6":          {true, v2("[2001:db8::7]:4711"), "2001:db8::7"},
		"version 2, of the proxy":  {true, "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "127.0.0.1"},
		"no header":                {true, "GET / HTTP/1.1\r\n\r\n", ""},
		"a broken one":             {true, "PROXY TCP4 nobody 192.0.2.1 4711 443\r\n", ""},
		"a part of one":            {true, "PROXY TCP4 198", ""},
		"a long one":               {true, "PROXY TCP4 " + string(bytes.Repeat([]byte("1"), 200)) + "\r\n", ""},
		"nothing":                  {true, "", ""},
		"somebody else without":    {false, "", "127.0.0.1"},
		"somebody else's is plain": {false, "PROXY TCP4 198.51.100.1 192.0.2.1 4711 443\r\n", "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			refused := make(chan error, 1)
			ln := Listen(Proxied(inner, Proxies{Trusts: func(a netip.Addr) bool { return c.trusted && a.IsLoopback() },
				Timeout: 300 * time.Millisecond, Pending: 1,
				Refused: func(_ netip.Addr, err error) { refused <- err }}), Limits{Total: 10})
			t.Cleanup(func() { _ = ln.Close() })
			got := make(chan net.Conn, 1)
			go func() {
				if conn, err := ln.Accept(); err == nil {
					got <- conn
				}
			}()
			client, err := net.Dial("tcp", inner.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			piece := max(len(c.sends), 1) // a header of version 1 has to come at once
			if strings.HasPrefix(c.sends, "\r\n") {
				piece = 1
			}
			for part := range slices.Chunk([]byte(c.sends), piece) {
				if _, err := client.Write(part); err != nil {
					break // it was closed
				}
			}
			select {
			case err := <-refused:
				if c.from != "" {
					t.Fatalf("refused: %v", err)
				}
				if _, err := bufio.NewReader(client).ReadByte(); err == nil {
					t.Error("it was answered")
				}
			case conn := <-got:
				defer conn.Close()
				if from := addrOf(conn); from.String() != c.from {
					t.Fatalf("it comes from %s", from)
				}
				if _, err := io.WriteString(client, rest); err != nil {
					t.Fatal(err)
				}
				want := rest
				if !c.trusted {
					want = c.sends + rest
				}
				read := make([]byte, len(want))
				if _, err := io.ReadFull(conn, read); err != nil || string(read) != want {
					t.Errorf("%q: %v", read, err)
				}
			}
		})
	}
}

// TestProxiedTogether: what comes in one piece with the header is read behind it, also by who asks the connection to write itself.
func TestProxiedTogether(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := Listen(Proxied(inner, Proxies{Trusts: func(netip.Addr) bool { return true }, Timeout: time.Minute, Pending: 10}),
		Limits{Total: 10, PerAddress: 1})
	t.Cleanup(func() { _ = ln.Close() })
	body := bytes.Repeat([]byte("body "), 1000)
	for range 2 { // of two clients, of whom each may have one connection
		for _, from := range []string{"198.51.100.1:1", "198.51.100.2:1"} {
			client, err := net.Dial("tcp", inner.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Write(append([]byte(v2(from)), body...)); err != nil {
				t.Fatal(err)
			}
			_ = client.(*net.TCPConn).CloseWrite()
			conn, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if _, err := io.Copy(&got, conn); err != nil || !bytes.Equal(got.Bytes(), body) {
				t.Errorf("%d bytes: %v", got.Len(), err)
			}
			if addrOf(conn).String() != netip.MustParseAddrPort(from).Addr().String() {
				t.Errorf("it comes from %s", conn.RemoteAddr())
			}
			_, _ = conn.Close(), client.Close()
		}
	}
}

// TestProxiedEnds: a listener that is closed waits for no header.
func TestProxiedEnds(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 2)
	ln := Proxied(inner, Proxies{Trusts: func(netip.Addr) bool { return true }, Timeout: time.Hour, Pending: 1,
		Refused: func(_ netip.Addr, err error) { refused <- err }})
	for range 2 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if err := <-refused; err != errBusy {
		t.Error(err)
	}
	_ = ln.Close()
	<-refused
	if _, err := ln.Accept(); err == nil {
		t.Error("it accepts")
	}
}

// FuzzProxyHeader: no header makes the connection of a client that has no address, and none takes from what comes behind it.
func FuzzProxyHeader(f *testing.F) {
	for _, s := range []string{"PROXY TCP4 198.51.100.1 192.0.2.1 4711 443\r\n", "PROXY UNKNOWN\r\n",
		"PROXY UNKNOWN " + string(bytes.Repeat([]byte("f"), 90)) + "\r\n",
		v2("198.51.100.1:4711"), v2("[2001:db8::7]:1"), "\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\x00",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x13\x00\x0c0123456789ab", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\xff\xff",
		"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 99999 1\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		const rest = "GET / HTTP/1.1\r\n\r\n"
		r := bufio.NewReaderSize(bytes.NewReader(append(bytes.Clone(header), rest...)), headerBuffer)
		h, err := proxyproto.Read(r)
		if err != nil {
			return
		}
		if from, _, ok := h.TCPAddrs(); ok && h.Command.IsProxy() && (from == nil || !from.AddrPort().IsValid()) {
			t.Errorf("%q is of %v", header, from)
		}
		if left, _ := io.ReadAll(r); !bytes.HasSuffix(append(bytes.Clone(header), rest...), left) {
			t.Errorf("%q leaves %q", header, left)
		}
	})
}
