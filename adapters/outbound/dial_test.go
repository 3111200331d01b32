package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// forbidden are addresses of every range that must not be reached from here.
var forbidden = map[string]string{
	"127.0.0.1": "loopback", "127.255.255.254": "loopback", "::1": "loopback",
	"10.0.0.1": "private", "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private", "fd00::1": "private",
	"fc00::1":         "private",
	"169.254.169.254": "link-local", "169.254.170.2": "link-local", "fe80::1": "link-local", "fd00:ec2::254": "private",
	"100.64.0.1": "shared", "100.100.100.200": "shared",
	"0.0.0.0": "unspecified", "::": "unspecified", "0.1.2.3": "reserved",
	"224.0.0.1": "link-local", "239.1.1.1": "multicast", "ff02::1": "link-local", "ff0e::1": "multicast",
	"255.255.255.255": "reserved", "240.0.0.1": "reserved", "192.0.0.192": "reserved", "198.18.0.1": "reserved", "192.0.2.1": "reserved",
	"64:ff9b::7f00:1": "reserved", "64:ff9b::a9fe:a9fe": "reserved", "64:ff9b:1::1": "reserved",
	"2002:7f00:1::": "reserved", "2002:a9fe:a9fe::1": "reserved", "2001:0:7f00:1::": "reserved",
	"::127.0.0.1": "reserved", "fec0::1": "reserved", "2001:db8::1": "reserved", "100::1": "reserved",
	"::ffff:127.0.0.1": "loopback", "::ffff:10.0.0.1": "private", "::ffff:8.8.8.8": "reserved",
}

// dialCounter fails every connection, and counts how many were tried.
func dialCounter(c *Client) *atomic.Int32 {
	n := new(atomic.Int32)
	c.dialTCP = func(context.Context, netip.AddrPort) (*net.TCPConn, error) {
		n.Add(1)
		return nil, syscall.ECONNREFUSED
	}
	return n
}

func TestForbiddenAddresses(t *testing.T) {
	t.Parallel()
	for text, kind := range forbidden {
		// As it stands in the URL.
		host := text
		if strings.Contains(text, ":") {
			host = "[" + text + "]"
		}
		c := clientFor(t, "http://"+host+"/", Options{Egress: []netip.Prefix{}}, nil)
		dials := dialCounter(c)
		_, err := post(t, c, "x")
		e := wantError(t, err, adapters.ClassBlocked, "Blocked by this server's network rules ("+kind)
		if e.Kind != adapters.KindTransient || e.Advice == "" || strings.Contains(e.Message+e.Raw, text) {
			t.Errorf("%s: %+v", text, e)
		}
		if dials.Load() != 0 {
			t.Errorf("%s was dialled", text)
		}
		if text == "::ffff:8.8.8.8" {
			continue // Out of the DNS this is 8.8.8.8, see TestMappedAnswers.
		}
		// As what a name resolves to.
		c = clientFor(t, "http://rebind.test/", Options{Egress: []netip.Prefix{}, Resolver: names{"rebind.test": addrs(text)}}, nil)
		dials = dialCounter(c)
		_, err = post(t, c, "x")
		e = wantError(t, err, adapters.ClassDNS,
			"The name rebind.test could not be found, or leads to no address that this server may connect to.")
		if dials.Load() != 0 || strings.Contains(fmt.Sprintf("%+v", e), text) && text != "::" {
			t.Errorf("a name for %s: %+v, %d dialled", text, e, dials.Load())
		}
	}
}

func TestPublicAddressesAreDialled(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450::1"} {
		c := clientFor(t, "http://ok.test/", Options{Egress: []netip.Prefix{}, Resolver: names{"ok.test": addrs(text)}}, nil)
		dials := dialCounter(c)
		_, err := post(t, c, "x")
		wantError(t, err, adapters.ClassConnect, "Nothing answered on "+netip.AddrPortFrom(netip.MustParseAddr(text),
			80).String()+" (connection refused).")
		if dials.Load() != 1 {
			t.Errorf("%s was dialled %d times", text, dials.Load())
		}
	}
}

// The system's resolver writes IPv4 addresses in their mapped form at times.
func TestMappedAnswers(t *testing.T) {
	t.Parallel()
	c := clientFor(t, "http://ok.test/", Options{Egress: []netip.Prefix{}, Resolver: names{"ok.test": addrs("::ffff:8.8.8.8")}}, nil)
	dialCounter(c)
	_, err := post(t, c, "x")
	wantError(t, err, adapters.ClassConnect, "8.8.8.8:80")
}

func TestEgressOpensRanges(t *testing.T) {
	t.Parallel()
	opt := Options{Egress: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}}
	for text, open := range map[string]bool{"10.1.2.3": true, "10.2.0.1": false, "fd12::1": true, "fe80::1": false, "127.0.0.1": false} {
		opt.Resolver = names{"in.test": addrs(text)}
		c := clientFor(t, "http://in.test/", opt, nil)
		dials := dialCounter(c)
		post(t, c, "x")
		if got := dials.Load() == 1; got != open {
			t.Errorf("%s was dialled: %v", text, got)
		}
	}
}

// Of a name with public and forbidden addresses only the public ones are dialled, whatever their order.
func TestForbiddenAddressesAreLeftOut(t *testing.T) {
	t.Parallel()
	c := clientFor(t, "http://mix.test/", Options{Egress: []netip.Prefix{},
		Resolver: names{"mix.test": addrs("127.0.0.1", "8.8.8.8", "::1")}}, nil)
	var dialled []string
	c.dialTCP = func(_ context.Context, to netip.AddrPort) (*net.TCPConn, error) {
		dialled = append(dialled, to.String())
		return nil, syscall.ECONNREFUSED
	}
	post(t, c, "x")
	if fmt.Sprint(dialled) != "[8.8.8.8:80]" {
		t.Errorf("dialled %v", dialled)
	}
}

// A redirect is an answer like any other. Following one to the metadata service is how a guarded first request is
// turned into an unguarded second one.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	trap := adaptertest.NewSink(t)
	for _, to := range []string{"http://169.254.169.254/latest/meta-data/", trap.URL("/trap")} {
		s := adaptertest.NewSink(t, adaptertest.Answer{Status: 307, Header: []string{"Location: " + to}})
		r := mustPost(t, client(t, s, Options{}), "x")
		if r.Code != 307 || r.Location != to || len(s.Requests()) != 1 || trap.Accepted() != 0 {
			t.Errorf("%+v", r)
		}
	}
}

func TestProxyOfTheEnvironmentIsIgnored(t *testing.T) {
	proxy := adaptertest.NewSink(t)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"} {
		t.Setenv(name, proxy.URL(""))
	}
	s := adaptertest.NewSink(t)
	mustPost(t, client(t, s, Options{}), "x")
	if proxy.Accepted() != 0 || s.Accepted() != 1 {
		t.Error("the proxy was used")
	}
}

func TestSecondAddressIsTried(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t)
	port := fmt.Sprint(s.Addr().Port())
	t.Run("first refuses", func(t *testing.T) {
		t.Parallel()
		c := clientFor(t, "http://two.test:"+port, Options{Resolver: names{"two.test": addrs("127.0.0.7", "127.0.0.1")}}, nil)
		if r := mustPost(t, c, "x"); r.Timing.DNS <= 0 || r.Timing.Connect <= 0 {
			t.Errorf("%+v", r.Timing)
		}
	})
	t.Run("first hangs", func(t *testing.T) {
		t.Parallel()
		c := clientFor(t, "http://two.test:"+port, Options{Resolver: names{"two.test": addrs("127.0.0.7", "127.0.0.1")}}, nil)
		c.dialTCP = func(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
			if to.Addr() == netip.MustParseAddr("127.0.0.7") {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return dialTCP(ctx, to)
		}
		mustPost(t, c, "x")
	})
	t.Run("all refuse", func(t *testing.T) {
		t.Parallel()
		c := clientFor(t, "http://two.test:"+port, Options{Resolver: names{"two.test": addrs("127.0.0.7", "::1", "127.0.0.8")}}, nil)
		dialCounter(c)
		_, err := post(t, c, "x")
		wantError(t, err, adapters.ClassConnect, "Nothing answered on 127.0.0.7:"+port+" or 2 other addresses (connection refused).")
	})
}

// Connecting has a limit of its own, shorter than the whole deadline.
func TestConnectLimit(t *testing.T) {
	t.Parallel()
	c := clientFor(t, "http://8.8.8.8/", Options{}, nil)
	c.connectLimit = soon
	c.dialTCP = func(ctx context.Context, _ netip.AddrPort) (*net.TCPConn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	inTime(t, func() {
		r, err := post(t, c, "x")
		wantError(t, err, adapters.ClassConnect, "8.8.8.8:80 (the connection attempt was not answered in time)")
		if !r.NotSent || r.Method != "POST" || len(adapters.AsError(err).Log) == 0 || r.Timing.Connect < soon {
			t.Errorf("%+v", r)
		}
	})
}

type lookup func() ([]netip.Addr, error)

func (f lookup) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return f() }

func TestDNSErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err     error
		message string
	}{
		"unknown": {&net.DNSError{Err: "no such host", Name: "h.test", Server: "10.9.8.7:53", IsNotFound: true},
			"The name h.test could not be found, or leads to no address"},
		"none": {nil, "The name h.test could not be found, or leads to no address"},
		"broken": {&net.DNSError{Err: "server misbehaving", Name: "h.test", Server: "10.9.8.7:53"},
			"The name h.test could not be looked up."},
		"slow": {&net.DNSError{Err: "i/o timeout", Name: "h.test", Server: "10.9.8.7:53", IsTimeout: true},
			"The name h.test could not be looked up within"},
		"other": {errors.New("read 10.9.8.7:53: oops"), "The name h.test could not be looked up."},
	} {
		c := clientFor(t, "http://h.test/", Options{Resolver: lookup(func() ([]netip.Addr, error) { return nil, tt.err })}, nil)
		r, err := post(t, c, "x")
		if e := wantError(t, err, adapters.ClassDNS, tt.message); strings.Contains(fmt.Sprintf("%+v", e), "10.9.8.7") || e.Advice == "" {
			t.Errorf("%s: %+v", name, e)
		}
		if !r.NotSent || r.URL != "http://h.test/" || len(adapters.AsError(err).Log) == 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	c := clientFor(t, "http://h.test/", Options{Resolver: names{}}, nil)
	c.connectLimit = soon
	inTime(t, func() {
		_, err := post(t, c, "x")
		wantError(t, err, adapters.ClassDNS, "could not be looked up within ")
	})
}

// TestNothingTellsOfInternalNames: a name that does not exist and one that leads inside are answered alike, to the last
// word and in time, in what an attempt keeps, what a check shows and what a client of a broker is told. The operator's part
// tells them apart.
func TestNothingTellsOfInternalNames(t *testing.T) {
	t.Parallel()
	type told struct {
		err      adapters.Error
		response Response
		stages   []adapters.Stage
		dialled  adapters.Error
	}
	known := names{"one.test": addrs("10.1.2.3", "127.0.0.1"), "two.test": {}}
	private := map[string]bool{}
	var seen []told
	for _, host := range []string{"one.test", "two.test"} {
		c := clientFor(t, "https://"+host+"/", Options{Egress: []netip.Prefix{}, Resolver: known}, nil)
		r, err := post(t, c, "x")
		d := NewDialer(nil)
		d.resolver = known
		_, dialErr := d.DialContext(t.Context(), "tcp", host+":5672")
		x := told{err: *adapters.AsError(err), response: r, stages: c.Check(deadline(t, time.Minute)), dialled: *adapters.AsError(dialErr)}
		if x.response.Timing.DNS < nowhereTime || len(x.stages) != 1 || x.stages[0].OK {
			t.Errorf("%s: %+v", host, x)
		}
		private[x.err.Private] = true
		x.err.Private, x.dialled.Private = "", ""
		seen = append(seen, x)
	}
	one, two := fmt.Sprintf("%+v", seen[0]), fmt.Sprintf("%+v", seen[1])
	for i, s := range []*string{&one, &two} {
		*s = strings.ReplaceAll(*s, []string{"one.test", "two.test"}[i], "x.test")
		*s = took.ReplaceAllString(*s, "T")
	}
	if one != two {
		t.Errorf("told apart:\n%s\n%s", one, two)
	}
	if len(private) != 2 || private[""] {
		t.Errorf("operators are told %v", private)
	}
}

// took is how long something took, but for what is rounded to it.
var took = regexp.MustCompile(`(Total|Duration|Took|StartedAt):[^ }]+`)

func TestTLS(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewTLSSink(t, adaptertest.Certificate{Names: []string{"hooks.test"}})
	c := clientFor(t, fmt.Sprintf("https://hooks.test:%d/x", s.Addr().Port()), Options{Resolver: names{"hooks.test": addrs("127.0.0.1")}},
		s)
	if r := mustPost(t, c, "x"); r.Timing.TLS <= 0 || r.Timing.Connect <= 0 || r.Timing.DNS <= 0 {
		t.Errorf("%+v", r.Timing)
	}
	if r := mustPost(t, c, "x"); r.Timing.TLS != 0 || r.Timing.FirstByte <= 0 || s.Accepted() != 1 {
		t.Errorf("%+v on %d connections", r.Timing, s.Accepted())
	}
}

func TestTLSErrors(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	may := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		cert     adaptertest.Certificate
		distrust bool
		message  string
	}{
		"expired": {cert: adaptertest.Certificate{NotBefore: may.Add(-90 * day), NotAfter: may},
			message: "The certificate expired on 3 May 2026."},
		"not yet": {cert: adaptertest.Certificate{NotBefore: time.Now().Add(day), NotAfter: time.Now().Add(2 * day)},
			message: "The certificate is not valid before"},
		"other name": {cert: adaptertest.Certificate{Names: []string{"a.test", "b.test"}},
			message: "The certificate is not for 127.0.0.1"},
		"untrusted":   {distrust: true, message: "signed by an authority that this server does not trust"},
		"self-signed": {cert: adaptertest.Certificate{SelfSigned: true}, message: "The certificate is self-signed."},
		"old":         {cert: adaptertest.Certificate{MaxVersion: tls.VersionTLS11}, message: "protocol version"},
		"client cert": {cert: adaptertest.Certificate{ClientAuth: true}, message: "certificate required"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := adaptertest.NewTLSSink(t, tt.cert)
			opt := Options{RootCAs: s.Roots()}
			if tt.distrust {
				opt.RootCAs = adaptertest.NewTLSSink(t, adaptertest.Certificate{}).Roots()
			}
			_, err := post(t, client(t, s, opt), "x")
			if e := wantError(t, err, adapters.ClassTLS, tt.message); e.Advice == "" || e.Raw == "" {
				t.Errorf("%+v", e)
			}
		})
	}
	t.Run("names of the certificate", func(t *testing.T) {
		t.Parallel()
		s := adaptertest.NewTLSSink(t, adaptertest.Certificate{Names: []string{"a.test", "b.test"}})
		c := clientFor(t, fmt.Sprintf("https://c.test:%d/", s.Addr().Port()), Options{Resolver: names{"c.test": addrs("127.0.0.1")}}, s)
		_, err := post(t, c, "x")
		wantError(t, err, adapters.ClassTLS, "The certificate is not for c.test, but for a.test, b.test.")
	})
	t.Run("plain server", func(t *testing.T) {
		t.Parallel()
		s := adaptertest.NewGreeter(t, "HTTP/1.1 400 Bad Request\r\n\r\n")
		_, err := post(t, clientFor(t, "https://"+s.Addr().String(), Options{}, s), "x")
		wantError(t, err, adapters.ClassTLS, s.Addr().String()+" answered, but not with TLS.")
	})
	t.Run("silent server", func(t *testing.T) {
		t.Parallel()
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		c := clientFor(t, "https://"+ln.Addr().String(), Options{}, nil) // The kernel accepts, and nobody reads.
		inTime(t, func() {
			_, err := c.Do(deadline(t, soon), Request{})
			wantError(t, err, adapters.ClassTimeout, "handshake")
		})
	})
	t.Run("closing server", func(t *testing.T) {
		t.Parallel()
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				nc.Read(make([]byte, 4096))
				nc.Close()
			}
		}()
		_, err = post(t, clientFor(t, "https://"+ln.Addr().String(), Options{}, nil), "x")
		wantError(t, err, adapters.ClassTLS, "closed the connection during the TLS handshake")
	})
}

func TestDialer(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t)
	nc, err := NewDialer(loopback).DialContext(deadline(t, time.Minute), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	closed := NewDialer(nil)
	for _, address := range []string{s.Addr().String(), "[::ffff:127.0.0.1]:80", "169.254.169.254:80"} {
		_, err = closed.DialContext(context.Background(), "tcp", address)
		wantError(t, err, adapters.ClassBlocked, "network rules")
	}
	closed.resolver = names{"inside.test": addrs("10.0.0.1"), "none.test": {}}
	_, err = closed.DialContext(context.Background(), "tcp", "inside.test:9092")
	wantError(t, err, adapters.ClassDNS, "inside.test could not be found, or")
	_, err = closed.DialContext(context.Background(), "tcp", "none.test:9092")
	wantError(t, err, adapters.ClassDNS, "none.test")
	for _, bad := range [][2]string{{"tcp", "nowhere"}, {"udp", "8.8.8.8:53"}, {"unix", "/run/x.sock"}, {"tcp", "8.8.8.8:70000"}} {
		_, err = closed.DialContext(context.Background(), bad[0], bad[1])
		wantError(t, err, adapters.ClassConfig)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err   error
		class adapters.Class
	}{
		{fmt.Errorf("sdk: %w", blockedError(netip.MustParseAddr("10.0.0.1"))), adapters.ClassBlocked},
		{fmt.Errorf("sdk: %w", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), adapters.ClassTLS},
		{fmt.Errorf("sdk: %w", tls.RecordHeaderError{Msg: "x"}), adapters.ClassTLS},
		{fmt.Errorf("sdk: %w", context.DeadlineExceeded), adapters.ClassTimeout},
		{fmt.Errorf("sdk: %w", os.ErrDeadlineExceeded), adapters.ClassTimeout},
		{fmt.Errorf("sdk: %w", context.Canceled), adapters.ClassInternal},
		{fmt.Errorf("sdk: %w", &net.OpError{Op: "read", Err: syscall.ECONNRESET}), adapters.ClassConnect},
		{fmt.Errorf("sdk: %w", io.ErrUnexpectedEOF), adapters.ClassConnect},
	} {
		wantError(t, Explain(tt.err, "kafka.test"), tt.class)
	}
	if e := Explain(errors.New("access denied"), "kafka.test"); e != nil {
		t.Errorf("%+v", e)
	}
}
