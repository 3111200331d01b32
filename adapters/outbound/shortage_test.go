package outbound

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
)

// TestOwnShortage has the system refuse connections for want of something of ours, to each of those who connect.
func TestOwnShortage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for errno, lack := range map[syscall.Errno]string{syscall.EADDRNOTAVAIL: "ports", syscall.EADDRINUSE: "ports", syscall.EMFILE: "files",
		syscall.ENFILE: "files", syscall.ENOBUFS: "memory", syscall.ENOMEM: "memory"} {
		fail := func(_ context.Context, to netip.AddrPort) (*net.TCPConn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: os.NewSyscallError("connect", errno)}
		}
		check := func(who string, err error) {
			t.Helper()
			e := adapters.AsError(err)
			if err == nil || e.Kind != adapters.KindShortage || e.Class != adapters.ClassInternal || e.Lack != lack ||
				!strings.Contains(e.Message, "This server") || e.Advice == "" {
				t.Errorf("%s, %v: %+v", who, errno, e)
			}
		}
		c := clientFor(t, "http://127.0.0.1:9/", Options{}, nil)
		c.dialTCP = fail
		_, err := post(t, c, "x")
		check("Client", err)
		_, err = c.DialContext(ctx, "tcp", "127.0.0.1:9")
		check("DialContext", err)
		check("Explain", Explain(fmt.Errorf("of a library: %w", err), "localhost"))
		_, _, err = c.Open(ctx, Service{Host: "127.0.0.1", Port: 9})
		check("Open", err)
		check("a lookup", dnsError(ctx, &net.DNSError{Err: "dial udp 127.0.0.1:53: socket: " + errno.Error(), Name: "a.example"},
			"a.example", 0))
		// One of several addresses was refused, the other could not be tried.
		c.dialTCP = func(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
			if to.Addr() == netip.MustParseAddr("127.0.0.1") {
				return nil, syscall.ECONNREFUSED
			}
			return fail(ctx, to)
		}
		_, _, refused := c.connect(ctx, []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}, 9)
		check("several addresses", refused)
	}
}

// TestNoAddressOfThatKind connects from a machine that has no address of its own for the other side: the system says what it
// says when all ports are taken, but this stays.
func TestNoAddressOfThatKind(t *testing.T) {
	t.Parallel()
	c := clientFor(t, "http://127.0.0.1:9/", Options{}, nil)
	c.dialTCP = func(context.Context, netip.AddrPort) (*net.TCPConn, error) { return nil, noSourceError{} }
	_, err := post(t, c, "x")
	wantError(t, err, adapters.ClassConnect, "Nothing answered on 127.0.0.1:9 (this server has no address of that kind)")
}
