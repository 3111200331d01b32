package app

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
)

// TestProxyProtocol speaks to a server as a proxy does, with a header for each connection. The audit log, the limit of wrong keys and the
// limit of connections see the client that it names.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) {
		c.ProxyProtocol, c.Proxies.Trusted, c.MaxConnsFrom = true, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, 2
		c.ReadTimeout = 500 * time.Millisecond
	})
	at := strings.TrimPrefix(a.base, "http://")
	dial := func(header string) (net.Conn, *bufio.Reader) {
		t.Helper()
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, header); err != nil {
			t.Fatal(err)
		}
		return c, bufio.NewReader(c)
	}
	ask := func(c net.Conn, r *bufio.Reader, method, path, key, body string) (*http.Response, string) {
		t.Helper()
		fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nX-Forwarded-For: 192.0.2.66\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			method, path, key, len(body), body)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b)
	}
	c, r := dial("PROXY TCP4 198.51.100.1 192.0.2.1 4711 443\r\n")
	if resp, body := ask(c, r, "PUT", "/api/v1/tenants/acme", testKey, "{}"); resp.StatusCode != 201 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	var ip string
	if err := a.db.QueryRow(t.Context(), "select ip from audit where action = 'tenant.create' and object = 'acme'").Scan(&ip); err != nil ||
		!strings.HasPrefix(ip, "198.51.100.1") {
		t.Errorf("the audit log has %q: %v", ip, err)
	}
	// A network that guesses keys waits; another one behind the same proxy does not.
	status := 0
	for range 110 {
		resp, _ := ask(c, r, "GET", "/api/v1/events", "wrong", "")
		if status = resp.StatusCode; status == 429 {
			break
		}
	}
	if status != 429 {
		t.Errorf("guesses are answered %d", status)
	}
	other, or := dial("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\xc0\x00\x02\x01\x12\x67\x01\xbb") // of 203.0.113.9
	if resp, _ := ask(other, or, "GET", "/api/v1/events", "wrong", ""); resp.StatusCode != 401 {
		t.Errorf("another client is answered %d", resp.StatusCode)
	}
	// Two connections for each client, of whom there are many behind the proxy.
	_, _ = dial("PROXY TCP4 198.51.100.1 192.0.2.1 4712 443\r\n")
	_, over := dial("PROXY TCP4 198.51.100.1 192.0.2.1 4713 443\r\n")
	if resp, err := http.ReadResponse(over, nil); err != nil || resp.StatusCode != 429 {
		t.Errorf("a third connection: %v %v", resp, err)
	} else {
		resp.Body.Close()
	}
	// The proxy without a header, and with a part of one.
	for _, header := range []string{"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "PROXY TCP4 ", ""} {
		_, r := dial(header)
		if b, _ := io.ReadAll(r); len(b) > 0 {
			t.Errorf("%q is answered %q", header, b)
		}
	}
}

// TestProxyProtocolOfOthers: whoever is no proxy of ours is not believed, and their header is no request.
func TestProxyProtocolOfOthers(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) {
		c.ProxyProtocol, c.Proxies.Trusted = true, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}
	})
	a.want(201, "PUT", "/tenants/acme", nil) // without a header, as ever
	for _, header := range []string{"PROXY TCP4 198.51.100.1 192.0.2.1 4711 443\r\n",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\xc0\x00\x02\x01\x12\x67\x01\xbb"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(a.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "%sPUT /api/v1/tenants/other HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n",
			header, testKey)
		b, _ := io.ReadAll(c)
		_ = c.Close()
		if !strings.HasPrefix(string(b), "HTTP/1.1 4") || strings.Count(string(b), "HTTP/1.1 ") != 1 ||
			strings.Contains(string(b), testKey) { // which is in what could not be read
			t.Errorf("%q is answered %q", header, b)
		}
	}
	a.want(404, "GET", "/tenants/other", nil)
}

// TestProxyProtocolNeedsProxies: without the proxies' addresses nobody could be believed.
func TestProxyProtocolNeedsProxies(t *testing.T) {
	t.Parallel()
	env := map[string]string{"PROXY_PROTOCOL": "on"}
	_, err := config.ReadConfig("serve", func(name string) string { return env[name] })
	if err == nil || !strings.Contains(err.Error(), "TRUSTED_PROXIES") {
		t.Error(err)
	}
}
