package outbound

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// certificateEnds is until when the certificate is valid that the other side showed in the handshake; the zero time when
// it showed none. A certificate that could not be verified counts only when it has expired: of any other it is not known
// whose it is.
func (o *opening) certificateEnds() time.Time {
	if len(o.tls.PeerCertificates) > 0 {
		return o.tls.PeerCertificates[0].NotAfter
	}
	var invalid x509.CertificateInvalidError
	if o.cause != nil && errors.As(o.cause, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil &&
		time.Now().After(invalid.Cert.NotAfter) {
		return invalid.Cert.NotAfter
	}
	return time.Time{}
}

// renewal is how long before its end a certificate is looked at in every handshake: authorities recommend to renew those
// that are valid for 90 days when 30 are left.
const renewal = 30 * 24 * time.Hour

// sessions keeps sessions of TLS to be resumed, which saves the receiver and us most of a handshake when connections come
// and go. The certificate is not shown again when a session is resumed (RFC 8446, section 2.2), so that a renewed one
// would not be noticed for up to a week. Once the certificate has less than a renewal left, none is resumed.
type sessions struct {
	tls.ClientSessionCache
	ends atomic.Int64 // until when the certificate seen last is valid, in seconds since 1970; 0 for none
}

func newSessions() *sessions { return &sessions{ClientSessionCache: tls.NewLRUClientSessionCache(8)} }

func (s *sessions) saw(ends time.Time) {
	if !ends.IsZero() {
		s.ends.Store(ends.Unix())
	}
}

// Get implements tls.ClientSessionCache.
func (s *sessions) Get(key string) (*tls.ClientSessionState, bool) {
	if ends := s.ends.Load(); ends != 0 && time.Until(time.Unix(ends, 0)) < renewal {
		return nil, false
	}
	return s.ClientSessionCache.Get(key)
}

// Certificates keeps what the servers of one service showed, for senders whose connections are not those of one message.
// The zero value is ready to be used, and safe for concurrent use.
type Certificates struct {
	fresh atomic.Bool // one was seen since Take was called last
	mu    sync.Mutex
	ends  map[string]time.Time // by address
}

// Saw takes note of the end of the certificate that an address showed in a handshake; a zero time is none.
func (c *Certificates) Saw(address string, ends time.Time) {
	if ends.IsZero() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ends == nil {
		c.ends = map[string]time.Time{}
	}
	c.ends[address] = ends
	c.fresh.Store(true)
}

// Take returns for one receipt the end of the certificate that ends first, if a handshake was made since it was called
// last, and otherwise the zero time.
func (c *Certificates) Take() (first time.Time) {
	if !c.fresh.Load() || !c.fresh.Swap(false) {
		return first
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ends := range c.ends {
		if first.IsZero() || ends.Before(first) {
			first = ends
		}
	}
	return first
}
