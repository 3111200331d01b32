package app

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/app/config"
)

// silencer stands between a process and its database. Silent, it lets connections come and nothing pass.
type silencer struct {
	net.Listener
	mu     sync.Mutex
	passes chan struct{} // closed while things pass
}

// newSilencer makes one, and the URL of the database behind it.
func newSilencer(t *testing.T, database string) (*silencer, string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	network, address := "tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
	if strings.HasPrefix(cfg.Host, "/") {
		network, address = "unix", cfg.Host+"/.s.PGSQL."+strconv.Itoa(int(cfg.Port))
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &silencer{Listener: ln, passes: make(chan struct{})}
	close(s.passes)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial(network, address)
			if err != nil {
				in.Close()
				continue
			}
			go s.pass(in, out)
			go s.pass(out, in)
		}
	}()
	q := u.Query()
	q.Del("host")
	q.Del("port")
	q.Set("sslmode", "disable")
	u.Host, u.RawQuery = ln.Addr().String(), q.Encode()
	return s, u.String()
}

func (s *silencer) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		s.mu.Lock()
		passes := s.passes
		s.mu.Unlock()
		<-passes
		if _, werr := to.Write(b[:n]); err != nil || werr != nil {
			return
		}
	}
}

// fall makes the database silent, until what is returned is called.
func (s *silencer) fall() (rise func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passes = make(chan struct{})
	return sync.OnceFunc(func() { close(s.passes) })
}

// TestReadingWhileTheDatabaseIsAway: who reads is told soon that the database does not answer. A read that takes long while
// the database answers is not disturbed.
func TestReadingWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	var s *silencer
	a := newTestApp(t, func(c *config.Config) { s, c.DatabaseURL = newSilencer(t, c.DatabaseURL) })
	a.tenant("acme")
	key := a.want(201, "POST", "/api-keys", `{"name":"r","scopes":["read"]}`).str("key")
	v := a.visitor()
	v.get("/t/acme")
	cookie := v.client.Jar.Cookies(v.address("/"))[0]

	// A lock holds a read up for longer than it takes to notice that a database is away.
	release := a.lock("tenants")
	began := time.Now()
	slow := make(chan int)
	go func() { slow <- a.get("/api/v1/tenants/acme", "Authorization", "Bearer "+testKey).StatusCode }()
	patience := time.NewTimer(4 * time.Second)
	defer patience.Stop()
	select {
	case status := <-slow:
		t.Errorf("a long read was answered with %d after %s", status, time.Since(began))
		release()
	case <-patience.C:
		release()
		if status := <-slow; status != 200 {
			t.Errorf("a long read ended with %d", status)
		}
	}

	rise := s.fall()
	t.Cleanup(rise)
	var all sync.WaitGroup
	for _, c := range []struct{ path, name, value string }{
		{"/api/v1/tenants", "Authorization", "Bearer " + testKey}, {"/api/v1/tenants", "Authorization", "Bearer " + key},
		{"/api/v1/events?tenant_id=acme", "Authorization", "Bearer " + testKey},
		{"/api/v1/tenants/acme/destinations", "Authorization", "Bearer " + testKey},
		{"/api/v1/changes?tenant_id=acme", "Authorization", "Bearer " + testKey},
		{"/api/v1/audit/export", "Authorization", "Bearer " + testKey},
		{"/t/acme", "Cookie", cookie.Name + "=" + cookie.Value}, {"/tenants", "Cookie", cookie.Name + "=" + cookie.Value},
		{"/login", "X", "y"}, {"/p/nope", "X", "y"},
	} {
		all.Go(func() {
			began := time.Now()
			resp := a.get(c.path, c.name, c.value)
			took := time.Since(began)
			if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || took > 6*time.Second {
				t.Errorf("%s with %s: %d, Retry-After %q, after %s", c.path, c.name, resp.StatusCode, resp.Header.Get("Retry-After"), took)
			}
		})
	}
	all.Wait()
	rise()
	a.until("the database is back", func() bool { return a.get("/api/v1/tenants", "Authorization", "Bearer "+testKey).StatusCode == 200 })
}

// get asks for an address and reads the answer to its end.
func (a *testApp) get(path, name, value string) *http.Response {
	req, err := http.NewRequest("GET", a.base+path, nil)
	if err != nil {
		a.Error(err)
		return &http.Response{}
	}
	req.Header.Set(name, value)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		a.Error(err)
		return &http.Response{}
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp
}

// lock keeps everybody from a table until what is returned is called.
func (a *testApp) lock(table string) (release func()) {
	a.Helper()
	conn, err := pgx.Connect(a.Context(), a.Cfg.DatabaseURL)
	if err == nil {
		_, err = conn.Exec(a.Context(), "begin; lock table "+table+" in access exclusive mode")
	}
	if err != nil {
		a.Fatal(err)
	}
	return sync.OnceFunc(func() { conn.Close(a.Context()) })
}
