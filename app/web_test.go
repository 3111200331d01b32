package app

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
)

// ask sends a request as it is, without following where it leads.
func (a *testApp) ask(method, path, host string, header ...string) (*http.Response, string) {
	a.Helper()
	req, err := http.NewRequest(method, a.base+path, nil)
	if err != nil {
		a.Fatal(err)
	}
	req.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		a.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.Fatal(err)
	}
	return resp, string(b)
}

// TestHost: a name that is made to lead here is no name of this server, for pages and for the API.
func TestHost(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	cfg := testConfig(t, func(c *config.Config) {
		c.BaseURL, c.Hosts = "https://waybill.example.com", []string{"waybill.internal", "*.svc.cluster.local"}
	})
	a := newProcessLogging(t, cfg, slog.New(slog.NewTextHandler(&log, nil)))
	for _, host := range []string{"waybill.example.com", "Waybill.Example.com:8443", "waybill.example.com.", "waybill.internal",
		"waybill.default.svc.cluster.local:3000", "127.0.0.1:3000",
		"10.1.2.3", "[::1]:3000", "localhost:3000"} {
		if resp, body := a.ask("GET", "/setup", host); resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", host, resp.StatusCode, body)
		}
	}
	for _, host := range []string{"evil.example", "evil.example:3000", "waybill.example.com.evil.example", "svc.cluster.local",
		"127.0.0.1.evil.example"} {
		resp, body := a.ask("GET", "/setup", host)
		if resp.StatusCode != 421 || !strings.Contains(resp.Header.Get("Content-Type"), "text/html") ||
			!strings.Contains(body, "does not answer to the name") || !strings.Contains(body, "ALLOWED_HOSTS") ||
			!strings.Contains(body, `href="https://waybill.example.com/"`) || strings.Contains(body, "Setup code") {
			t.Errorf("%s: %d %s", host, resp.StatusCode, body)
		}
		resp, body = a.ask("GET", api.APIPrefix+"/tenants", host, "Authorization", "Bearer "+testKey)
		if resp.StatusCode != 421 || !strings.Contains(body, `"code":"misdirected"`) {
			t.Errorf("%s, API: %d %s", host, resp.StatusCode, body)
		}
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} { // what load balancers and Prometheus ask
			if resp, body := a.ask("GET", path, host, "Authorization", "Bearer "+testKey); resp.StatusCode != 200 {
				t.Errorf("%s%s: %d %s", host, path, resp.StatusCode, body)
			}
		}
	}
	if n := strings.Count(log.String(), "ALLOWED_HOSTS"); n != 1 || !strings.Contains(log.String(), "evil.example") {
		t.Errorf("the log tells %d times: %s", n, log.String())
	}
	for _, path := range []string{"/healthz", "/setup"} { // HTTP/1.0 without a name
		conn, err := net.Dial("tcp", strings.TrimPrefix(a.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "GET "+path+" HTTP/1.0\r\n\r\n")
		b, _ := io.ReadAll(conn)
		conn.Close()
		if want := map[string]string{"/healthz": " 200 ", "/setup": " 421 "}[path]; !strings.Contains(string(b[:min(len(b), 20)]), want) {
			t.Errorf("%s without a host: %.80s", path, b)
		}
	}
}

// TestHardenedAnswers: what every answer has behind TLS, and what error pages have.
func TestHardenedAnswers(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.BaseURL = "https://waybill.example.com" })
	for _, path := range []string{"/setup", "/nope", "/metrics", "/healthz", api.APIPrefix + "/tenants", "/static/nope", "/p/nope"} {
		resp, body := a.ask("GET", path, "waybill.example.com")
		if h := resp.Header.Get("Strict-Transport-Security"); h != "max-age=31536000" {
			t.Errorf("%s: Strict-Transport-Security %q", path, h)
		}
		if strings.Contains(resp.Header.Get("Content-Type"), "text/html") {
			if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") ||
				!strings.Contains(csp, "frame-ancestors 'none'") {
				t.Errorf("%s, %d: Content-Security-Policy %q", path, resp.StatusCode, csp)
			}
			if resp.StatusCode >= 400 && resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: Cache-Control %q", path, resp.Header.Get("Cache-Control"))
			}
		} else if path == "/nope" || path == "/metrics" {
			t.Errorf("%s is no page: %s", path, body)
		}
	}
	for _, change := range []func(*config.Config){func(c *config.Config) { c.BaseURL = "http://waybill.example.com" },
		func(c *config.Config) { c.BaseURL, c.HSTS = "https://waybill.example.com", 0 }} {
		if resp, _ := newTestApp(t, change).ask("GET", "/setup",
			"waybill.example.com"); resp.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("Strict-Transport-Security %q", resp.Header.Get("Strict-Transport-Security"))
		}
	}
}

// TestSecretsAreNotStored: no cache keeps an answer with a secret in it, also one that is given again.
func TestSecretsAreNotStored(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	const hook = `{"id":"hook","type":"webhook","topics":"*","config":{"url":"https://example.com/"}}`
	const channel = `{"name":"c","type":"webhook","config":{"url":"https://example.com/"}}`
	made := a.want(201, "POST", "/tenants/acme/channels", channel)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/tenants/acme/destinations", hook}, {"GET", "/tenants/acme/destinations/hook", ""},
		{"GET", "/tenants/acme/destinations", ""},
		{"PATCH", "/tenants/acme/destinations/hook", `{"name":"x"}`}, {"POST", "/tenants/acme/destinations/hook/secrets/rotate",
			`{"overlap":"1h"}`},
		{"POST", "/tenants/acme/destinations/hook/secrets/reveal", ""}, {"POST", "/tenants/acme/channels", channel},
		{"GET", "/tenants/acme/channels", ""},
		{"GET", "/tenants/acme/channels/" + made.str("id"), ""}, {"POST", "/api-keys", `{"name":"k","scopes":["read"]}`},
		{"GET", "/tenants/acme/token", ""},
		{"GET", "/tenants/acme/portal", ""}, {"POST", "/tenants/acme/portal-links", "{}"},
	} {
		var body any
		if c.body != "" {
			body = c.body
		}
		for range 2 { // the second is given again
			key := []string{}
			if c.method == "POST" {
				key = []string{"Idempotency-Key", "k-" + c.path}
			}
			o := a.do(c.method, c.path, body, key...)
			if o.status >= 300 || o.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s: %d, Cache-Control %q", c.method, c.path, o.status, o.header.Get("Cache-Control"))
			}
		}
	}
	// What holds no secret may be kept as before.
	for _, path := range []string{"/tenants/acme/destinations/inbox", "/tenants/acme", "/api-keys"} {
		if o := a.want(200, "GET", path, nil); o.header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("%s: Cache-Control %q", path, o.header.Get("Cache-Control"))
		}
	}
	v := a.visitor()
	for _, p := range []page{v.post("/api-keys/new", "name", "k", "scopes", "read"), v.post("/t/acme/destinations/hook/secrets/reveal"),
		a.stranger().send("GET", "/setup?code=x", nil)} {
		if p.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", p.path, p.status, p.header)
		}
	}
}

// TestSlowReaders: who does not read an answer is cut off, and who reads slowly gets the whole of it.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.WriteTimeout = 2 * time.Second })
	a.want(201, "PUT", "/tenants/acme", nil)
	open := func(buffer int, requests string) *net.TCPConn {
		conn, err := net.Dial("tcp", strings.TrimPrefix(a.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		tcp := conn.(*net.TCPConn)
		t.Cleanup(func() { tcp.Close() })
		if err := tcp.SetReadBuffer(buffer); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tcp, requests); err != nil {
			t.Fatal(err)
		}
		return tcp
	}
	const get = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n"
	many := strings.Repeat(get+"\r\n", 40) // megabytes, more than the system holds for them
	http.DefaultClient.CloseIdleConnections()
	server := a.http.Server()
	a.until("the connections of before are closed", func() bool { return server.GetOpenConnectionsCount() == 0 })
	for range 5 {
		open(4<<10, many)
	}
	a.until("they have come", func() bool { return server.GetOpenConnectionsCount() == 5 })
	a.until("those that do not read are cut off", func() bool { return server.GetOpenConnectionsCount() == 0 })

	steady := open(32<<10, many+get+"Connection: close\r\n\r\n")
	began, total, buf, tick := time.Now(), 0, make([]byte, 96<<10), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		n, err := steady.Read(buf)
		total += n
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("cut off after %s and %d bytes: %v", time.Since(began), total, err)
		}
		<-tick.C
	}
	one, body := a.ask("GET", "/openapi.json", "localhost")
	if want := 41 * len(body); one.StatusCode != 200 || total < want || time.Since(began) < a.Cfg.WriteTimeout {
		t.Errorf("a steady reader got %d of %d bytes in %s", total, want, time.Since(began))
	}
}
