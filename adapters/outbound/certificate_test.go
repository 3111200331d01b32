package outbound

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// TestCertificateIsSeen posts on new and on kept connections, before and after the receiver has renewed its certificate.
func TestCertificateIsSeen(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		left    time.Duration
		resumes bool // the second connection resumes the session of the first
	}{
		"ends soon":         {48 * time.Hour, false},
		"ends in two years": {2 * 365 * 24 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ends := time.Now().Add(tt.left).Truncate(time.Second).UTC()
			old := adaptertest.Certificate{NotAfter: ends}.Issue(t)
			renewed := adaptertest.Certificate{NotAfter: ends.Add(90 * 24 * time.Hour)}.Issue(t)
			var mu sync.Mutex
			serve, posts, handshakes, resumed := &old.Config.Certificates[0], 0, 0, 0
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if posts++; posts == 2 {
					w.Header().Set("Connection", "close")
				}
			}))
			server.Listener = tls.NewListener(server.Listener, &tls.Config{
				GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
					mu.Lock()
					defer mu.Unlock()
					return serve, nil
				},
				VerifyConnection: func(s tls.ConnectionState) error {
					mu.Lock()
					defer mu.Unlock()
					handshakes++
					if s.DidResume {
						resumed++
					}
					return nil
				},
			})
			server.Start()
			t.Cleanup(server.Close)
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM([]byte(old.Authority + renewed.Authority))
			c := clientFor(t, strings.Replace(server.URL, "http:", "https:", 1), Options{RootCAs: roots, Certificate: true}, nil)
			if r := mustPost(t, c, "x"); !r.CertificateEnds.Equal(ends) {
				t.Errorf("the first connection showed %v, want %v", r.CertificateEnds, ends)
			}
			if r := mustPost(t, c, "x"); !r.CertificateEnds.IsZero() {
				t.Errorf("a kept connection shows nothing, but %v was told", r.CertificateEnds)
			}
			mu.Lock()
			serve = &renewed.Config.Certificates[0]
			mu.Unlock()
			want := ends
			if !tt.resumes {
				want = ends.Add(90 * 24 * time.Hour)
			}
			if r := mustPost(t, c, "x"); !r.CertificateEnds.Equal(want) {
				t.Errorf("the second connection showed %v, want %v", r.CertificateEnds, want)
			}
			mu.Lock()
			defer mu.Unlock()
			if handshakes != 2 || resumed == 1 != tt.resumes {
				t.Errorf("%d handshakes, of them %d resumed", handshakes, resumed)
			}
		})
	}
	t.Run("has ended", func(t *testing.T) {
		t.Parallel()
		ends := time.Now().Add(-time.Hour).Truncate(time.Second).UTC()
		c := client(t, adaptertest.NewTLSSink(t, adaptertest.Certificate{NotAfter: ends}), Options{Certificate: true})
		r, err := post(t, c, "x")
		wantError(t, err, adapters.ClassTLS, "The certificate expired on")
		if !r.CertificateEnds.Equal(ends) {
			t.Errorf("%v, want %v", r.CertificateEnds, ends)
		}
	})
	t.Run("of nobody knows whom", func(t *testing.T) {
		t.Parallel()
		c := client(t, adaptertest.NewTLSSink(t, adaptertest.Certificate{SelfSigned: true}), Options{Certificate: true})
		if r, err := post(t, c, "x"); err == nil || !r.CertificateEnds.IsZero() {
			t.Errorf("%v %v", r.CertificateEnds, err)
		}
	})
	t.Run("nobody asked", func(t *testing.T) {
		t.Parallel()
		if r := mustPost(t, client(t, adaptertest.NewTLSSink(t, adaptertest.Certificate{}), Options{}), "x"); !r.CertificateEnds.IsZero() {
			t.Errorf("%v", r.CertificateEnds)
		}
	})
}

// TestCertificatesOfOneService is about services with several servers, each with a certificate of its own.
func TestCertificatesOfOneService(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	var c Certificates
	want := func(ends time.Time) {
		t.Helper()
		if got := c.Take(); !got.Equal(ends) {
			t.Errorf("%v, want %v", got, ends)
		}
	}
	want(time.Time{})
	c.Saw("a", time.Time{})
	want(time.Time{})
	c.Saw("a", day(20))
	c.Saw("b", day(9))
	want(day(9))
	want(time.Time{}) // it was told
	c.Saw("a", day(20))
	want(day(9)) // b was not seen again, and ends first all the same
	c.Saw("b", day(25))
	want(day(20))
}
