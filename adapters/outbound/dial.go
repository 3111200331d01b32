package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

const (
	// connectLimit bounds looking up the name, and apart from that connecting, whatever the deadline of the exchange.
	connectLimit = 5 * time.Second
	// stagger is how long an address gets before the next one is tried beside it (RFC 8305, section 5). A receiver
	// whose IPv6 leads nowhere costs a quarter of a second and not the whole limit.
	stagger = 250 * time.Millisecond
	// maxAddresses bounds how many addresses of one name are tried.
	maxAddresses = 8
)

// Dialer opens TCP connections to addresses that may be reached from here, and to no others. It is what destination
// types with a client of their own (for AWS, Kafka, AMQP …) give to that client.
type Dialer struct {
	resolver     Resolver
	guard        guard
	connectLimit time.Duration
	dialTCP      func(context.Context, netip.AddrPort) (*net.TCPConn, error)
}

// NewDialer makes a Dialer that may also reach the ranges in egress (adapters.Env.Egress).
func NewDialer(egress []netip.Prefix) *Dialer {
	return &Dialer{resolver: net.DefaultResolver, guard: newGuard(egress), connectLimit: connectLimit, dialTCP: dialTCP}
}

// DialContext connects to "host:port". It has the signature of net.Dialer.DialContext; network must be tcp, tcp4 or tcp6
// and is otherwise ignored. Errors are *adapters.Error.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, service, err := net.SplitHostPort(address)
	if err == nil && !strings.HasPrefix(network, "tcp") {
		err = net.UnknownNetworkError(network)
	}
	port := 0
	if err == nil {
		port, err = net.DefaultResolver.LookupPort(ctx, "tcp", service)
	}
	if err != nil {
		return nil, &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassConfig,
			Message: "The address to connect to is not a host and a port.", Advice: "Correct the destination's settings.",
			Raw: plainError(err)}
	}
	var o opening
	tcp, _, fault := d.open(ctx, host, uint16(port), nil, &o)
	if fault != nil {
		return nil, fault
	}
	return tcp, nil
}

// Resolver looks up names. *net.Resolver is one; tests bring their own.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// conn is one connection to the receiver. It belongs to one exchange or lies in the pool.
type conn struct {
	nc     net.Conn // what is read and written: tcp, or TLS above it
	tcp    *net.TCPConn
	raw    syscall.RawConn
	probe  func(fd uintptr) // cn.peek, bound once so that asking does not allocate
	abort  func()           // ends whatever read or write is under way; bound once as well
	alive  bool             // the last answer of peek
	reused bool             // an exchange has been completed on it before

	opened    time.Time
	idleSince time.Time
	idleLimit time.Duration // from the receiver's Keep-Alive header; 0 when it named none
}

// opening is what is known about a connection that is being opened, also when that fails.
type opening struct {
	timing adapters.Timing
	stage  string         // the stage that was reached: dns, connect or tls
	addrs  []netip.Addr   // of the name
	remote netip.AddrPort // valid once connected
	tls    tls.ConnectionState
	cause  error // why the handshake of TLS failed
}

// longAgo is a deadline that ends reads and writes at once.
var longAgo = time.Unix(1, 0)

// dial opens a connection stage by stage. o says how far it came and how long each stage took.
func (c *Client) dial(ctx context.Context, o *opening) (*conn, *adapters.Error) {
	begun := time.Now()
	tcp, nc, err := c.open(ctx, c.endpoint.Host, c.endpoint.Port, c.tls, o)
	if err != nil {
		return nil, err
	}
	cn := &conn{nc: nc, tcp: tcp, opened: begun}
	if raw, err := tcp.SyscallConn(); err == nil {
		cn.raw, cn.probe = raw, cn.peek
	}
	cn.abort = func() { cn.nc.SetDeadline(longAgo) }
	return cn, nil
}

// open looks the host up, connects, and with a config for TLS makes its handshake. nc is what is read and written. An error
// has the steps in its log.
func (d *Dialer) open(ctx context.Context, host string, port uint16, cfg *tls.Config, o *opening) (tcp *net.TCPConn, nc net.Conn,
	err *adapters.Error) {
	if tcp, nc, err = d.stages(ctx, host, port, cfg, o); err != nil {
		err.Log = o.log(host, err)
	}
	return tcp, nc, err
}

func (d *Dialer) stages(ctx context.Context, host string, port uint16, cfg *tls.Config, o *opening) (tcp *net.TCPConn, nc net.Conn,
	err *adapters.Error) {
	o.stage = "dns"
	addrs, took, err := d.resolve(ctx, host)
	o.timing.DNS, o.addrs = took, addrs
	if err != nil {
		return nil, nil, err
	}
	o.stage = "connect"
	begun := time.Now()
	tcp, o.remote, err = d.connect(ctx, addrs, port)
	o.timing.Connect = time.Since(begun)
	if err != nil {
		return nil, nil, err
	}
	if cfg == nil {
		return tcp, tcp, nil
	}
	o.stage = "tls"
	begun = time.Now()
	tc := tls.Client(tcp, cfg)
	o.cause = tc.HandshakeContext(ctx)
	o.timing.TLS = time.Since(begun)
	if o.cause != nil {
		tcp.Close()
		return nil, nil, tlsError(ctx, o.cause, host, o)
	}
	o.tls = tc.ConnectionState()
	if s, ok := cfg.ClientSessionCache.(*sessions); ok {
		s.saw(o.certificateEnds())
	}
	return tcp, tc, nil
}

// resolve returns the addresses to try, in order, and how long asking for them took. An address is its own answer.
func (d *Dialer) resolve(ctx context.Context, host string) ([]netip.Addr, time.Duration, *adapters.Error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, 0, nil
	}
	begun := time.Now()
	limited, cancel := context.WithTimeout(ctx, d.connectLimit)
	found, err := d.resolver.LookupNetIP(limited, "ip", host)
	cancel()
	took := time.Since(begun)
	if err != nil || len(found) == 0 {
		fault := dnsError(ctx, err, host, took)
		return nil, d.conceal(ctx, begun, fault), fault
	}
	// The resolver hands out IPv4 addresses in their IPv6-mapped form at times. Unmapped they are checked as what will
	// be dialled. An address that was typed in mapped form is not unmapped, and refused.
	for i, a := range found {
		found[i] = a.Unmap()
	}
	if !slices.ContainsFunc(found, d.guard.allows) {
		fault := nowhereError(host, "the name leads to a "+describe(found[0])+", which is not in EGRESS_ALLOW")
		return nil, d.conceal(ctx, begun, fault), fault
	}
	return interleave(found), took, nil
}

// conceal waits before it is told that a name leads nowhere, and returns how long it took to find that out: it is found out at
// different speeds whether there is no such name or a forbidden one.
func (d *Dialer) conceal(ctx context.Context, begun time.Time, fault *adapters.Error) time.Duration {
	if fault.Private == "" {
		return time.Since(begun)
	}
	t := time.NewTimer(time.Until(begun.Add(nowhereTime)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return max(nowhereTime, time.Since(begun)).Round(nowhereTime)
}

// interleave alternates between the families, beginning with the one that the resolver put first (RFC 8305, section 4).
func interleave(in []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, a := range in {
		if a.Is4() == in[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	out := make([]netip.Addr, 0, len(in))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(second) {
			out = append(out, second[i])
		}
	}
	return out
}

// connect opens a TCP connection to the first address that answers. Forbidden addresses are left out; when none is left
// the receiver is blocked. What is checked here is what is dialled, so a name whose answer changes between the two
// (DNS rebinding) gains nothing.
func (d *Dialer) connect(ctx context.Context, addrs []netip.Addr, port uint16) (*net.TCPConn, netip.AddrPort, *adapters.Error) {
	var targets []netip.AddrPort
	for _, a := range addrs {
		if d.guard.allows(a) && len(targets) < maxAddresses {
			targets = append(targets, netip.AddrPortFrom(a, port))
		}
	}
	if len(targets) == 0 {
		return nil, netip.AddrPort{}, blockedError(addrs[0])
	}
	limited, cancel := context.WithTimeout(ctx, d.connectLimit)
	defer cancel()
	tcp, remote, err := d.race(limited, targets)
	if err != nil {
		return nil, netip.AddrPort{}, connectError(ctx, err, targets)
	}
	return tcp, remote, nil
}

// race tries the targets one after the other, each getting a head start before the next one, and returns the first
// connection. The error is that of the first target, which is the one that the receiver prefers, unless this server lacked
// something for one of them.
func (d *Dialer) race(ctx context.Context, targets []netip.AddrPort) (*net.TCPConn, netip.AddrPort, error) {
	if len(targets) == 1 {
		tcp, err := d.dialTCP(ctx, targets[0])
		return tcp, targets[0], err
	}
	type result struct {
		index int
		tcp   *net.TCPConn
		err   error
	}
	results, done := make(chan result), make(chan struct{})
	defer close(done)
	try := func(i int) {
		tcp, err := d.dialTCP(ctx, targets[i])
		select {
		case results <- result{i, tcp, err}:
		case <-done: // Another one won.
			if tcp != nil {
				tcp.Close()
			}
		}
	}
	go try(0)
	started, failed := 1, 0
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	var firstErr error
	for {
		select {
		case r := <-results:
			if r.err == nil {
				return r.tcp, targets[r.index], nil
			}
			failed++
			if adapters.AsShortage(r.err) != nil { // nobody knows whether this address would have answered
				return nil, netip.AddrPort{}, r.err
			}
			if r.index == 0 || firstErr == nil {
				firstErr = r.err
			}
			if failed == len(targets) {
				return nil, netip.AddrPort{}, firstErr
			}
			if failed < started {
				continue
			}
		case <-timer.C:
		}
		if started < len(targets) {
			go try(started)
			started++
			timer.Reset(stagger)
		}
	}
}

// dialer leaves TCP keep-alive probes off: idle connections are given up long before a probe would be sent.
var dialer = net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}

func dialTCP(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	tcp, err := dialer.DialTCP(ctx, "tcp", netip.AddrPort{}, to)
	if errors.Is(err, syscall.EADDRNOTAVAIL) && !hasSource(ctx, to) {
		return nil, noSourceError{}
	}
	return tcp, err
}

// noSourceError is the error of connecting to an address for which this machine has none of its own, such as IPv6 where there is
// none. The system says the same as when all ports are taken, but this does not pass.
type noSourceError struct{}

func (noSourceError) Error() string { return "no local address from which to connect" }

// hasSource reports whether this machine has an address from which to reach another one. Connecting a UDP socket asks just
// that and sends nothing.
func hasSource(ctx context.Context, to netip.AddrPort) bool {
	udp, err := dialer.DialUDP(ctx, "udp", netip.AddrPort{}, to)
	if err == nil {
		udp.Close()
	}
	return !errors.Is(err, syscall.EADDRNOTAVAIL)
}

// Prepare reads this machine's certificate authorities. They are read once, and a process that had no file to open just then
// would trust nobody for the rest of its life.
func Prepare() { _, _ = x509.SystemCertPool() } // where there are none, handshakes say so

func newTLSConfig(e *Endpoint, opt Options) *tls.Config {
	if e.Scheme != "https" {
		return nil
	}
	return &tls.Config{
		ServerName:         strings.TrimSuffix(e.Host, "."),
		MinVersion:         tls.VersionTLS12,
		RootCAs:            opt.RootCAs,
		NextProtos:         []string{"http/1.1"},
		ClientSessionCache: newSessions(),
	}
}
