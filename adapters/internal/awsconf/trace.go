package awsconf

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// tracer times the stages of one request. A connection that is being opened for it may go on being opened after the
// request has got another one, so what it tells is guarded.
type tracer struct {
	mu            sync.Mutex
	begun, got    time.Time // got is when a connection was there
	fresh         bool      // that connection had not been used before
	dnsAt, tlsAt  time.Time
	dns, tlsShake time.Duration
}

func (t *tracer) watch(ctx context.Context) context.Context {
	set := func(f func()) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.got.IsZero() {
			f()
		}
	}
	t.begun = time.Now()
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:          func(httptrace.DNSStartInfo) { set(func() { t.dnsAt = time.Now() }) },
		DNSDone:           func(httptrace.DNSDoneInfo) { set(func() { t.dns = time.Since(t.dnsAt) }) },
		TLSHandshakeStart: func() { set(func() { t.tlsAt = time.Now() }) },
		TLSHandshakeDone:  func(tls.ConnectionState, error) { set(func() { t.tlsShake = time.Since(t.tlsAt) }) },
		GotConn:           func(info httptrace.GotConnInfo) { set(func() { t.got, t.fresh = time.Now(), !info.Reused }) },
	})
}

// timing is asked when the header of the answer has come.
func (t *tracer) timing() adapters.Timing {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := adapters.Timing{FirstByte: time.Since(t.got)}
	if t.fresh {
		out.DNS, out.TLS = t.dns, t.tlsShake
		out.Connect = max(t.got.Sub(t.begun)-t.dns-t.tlsShake, 0)
	}
	return out
}
