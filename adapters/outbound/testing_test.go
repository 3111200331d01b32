package outbound

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// client makes a client for a path of the sink that may reach this machine.
func client(t testing.TB, s *adaptertest.Sink, opt Options) *Client {
	t.Helper()
	return clientFor(t, s.URL("/hook?a=b"), opt, s)
}

func clientFor(t testing.TB, url string, opt Options, s *adaptertest.Sink) *Client {
	t.Helper()
	e, err := ParseURL(url)
	if err != nil {
		t.Fatalf("%s %v", url, err)
	}
	if opt.Egress == nil {
		opt.Egress = loopback
	}
	if s != nil && opt.RootCAs == nil {
		opt.RootCAs = s.Roots()
	}
	c := New(e, opt)
	t.Cleanup(func() { c.Close() })
	return c
}

// deadline is a context that ends after d; tests that are not about deadlines take a long one.
func deadline(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := adapters.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func post(t testing.TB, c *Client, body string) (Response, error) {
	t.Helper()
	return c.Do(deadline(t, 20*time.Second), Request{Body: []byte(body)})
}

func mustPost(t testing.TB, c *Client, body string) Response {
	t.Helper()
	r, err := post(t, c, body)
	if err != nil {
		t.Fatalf("posting %.40q: %v (%s)", body, err, adapters.AsError(err).Raw)
	}
	return r
}

// wantError checks the class of err and that its message mentions all of the parts.
func wantError(t testing.TB, err error, class adapters.Class, parts ...string) *adapters.Error {
	t.Helper()
	var e *adapters.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an error of class %s", err, class)
	}
	if e.Class != class {
		t.Errorf("the class of %q (%s) is %s, want %s", e.Message, e.Raw, e.Class, class)
	}
	for _, p := range parts {
		if !strings.Contains(e.Message, p) {
			t.Errorf("%q does not mention %q", e.Message, p)
		}
	}
	if !strings.HasSuffix(e.Message, ".") {
		t.Errorf("%q is no sentence", e.Message)
	}
	return e
}

// names is a resolver with fixed answers. A name that it does not know waits for the context to end.
type names map[string][]netip.Addr

func (n names) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	if addrs, ok := n[host]; ok {
		return append([]netip.Addr(nil), addrs...), nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func addrs(texts ...string) (out []netip.Addr) {
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}
