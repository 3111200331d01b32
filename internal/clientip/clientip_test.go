package clientip

import (
	"net/netip"
	"testing"
)

func TestClient(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48")}
	for _, c := range []struct {
		about, header, peer string
		values              []string
		want                string
	}{
		{"no proxy: the header is not believed", XForwardedFor, "203.0.113.9", []string{"198.51.100.1"}, "203.0.113.9"},
		{"a proxy that replaces the header", XForwardedFor, "10.0.0.1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"a proxy that appends to what the client wrote", XForwardedFor, "10.0.0.1", []string{"192.0.2.66, 198.51.100.1"}, "198.51.100.1"},
		{"the same in headers of their own", XForwardedFor, "10.0.0.1", []string{"192.0.2.66", "198.51.100.1"}, "198.51.100.1"},
		{"a chain of proxies", XForwardedFor, "10.0.0.1", []string{"192.0.2.66, 198.51.100.1, 10.1.1.1,10.2.2.2"}, "198.51.100.1"},
		{"the client pretends to be a proxy", XForwardedFor, "10.0.0.1", []string{"10.9.9.9, 198.51.100.1"}, "198.51.100.1"},
		{"all are proxies: the farthest", XForwardedFor, "10.0.0.1", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		{"no header", XForwardedFor, "10.0.0.1", nil, "10.0.0.1"},
		{"no address", XForwardedFor, "10.0.0.1", []string{"198.51.100.1, <script>"}, "10.0.0.1"},
		{"no address behind a proxy", XForwardedFor, "10.0.0.1", []string{"unknown, 10.2.2.2"}, "10.2.2.2"},
		{"with a port", XForwardedFor, "10.0.0.1", []string{"198.51.100.1:4711"}, "198.51.100.1"},
		{"IPv6, with port and brackets", XForwardedFor, "2001:db8:ffff::1", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		{"IPv4 in IPv6", XForwardedFor, "::ffff:10.0.0.1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"Forwarded is not read unless it is chosen", XForwardedFor, "10.0.0.1", nil, "10.0.0.1"},
		{"Forwarded", Forwarded, "10.0.0.1", []string{`for=192.0.2.66, For="[2001:db8::7]:4711";proto=https;by=10.0.0.1`}, "2001:db8::7"},
		{"Forwarded with separators in quotes", Forwarded, "10.0.0.1",
			[]string{`for="a,b;for=192.0.2.66", for=198.51.100.1;host="x,for=192.0.2.66"`}, "198.51.100.1"},
		{"Forwarded with an escaped quotation mark", Forwarded, "10.0.0.1", []string{`host="\",for=192.0.2.66"; for=198.51.100.1`},
			"198.51.100.1"},
		{"Forwarded with a hidden client", Forwarded, "10.0.0.1", []string{"for=192.0.2.66, for=_hidden"}, "10.0.0.1"},
		{"Forwarded whose client opens a quotation", Forwarded, "10.0.0.1", []string{`for=192.0.2.66;x="`, "for=198.51.100.1"}, "198.51.100.1"},
		{"the same in one line", Forwarded, "10.0.0.1", []string{`for=192.0.2.66;x=", for=198.51.100.1`}, "10.0.0.1"},
		{"Forwarded without for", Forwarded, "10.0.0.1", []string{"for=192.0.2.66, proto=https"}, "10.0.0.1"},
	} {
		p := Proxies{Trusted: trusted, Header: c.header}
		if got := p.Client(netip.MustParseAddr(c.peer), c.values); got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.about, got, c.want)
		}
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64"} {
		if got := Network(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// FuzzForwarded writes whatever comes to mind into the header before a proxy adds to it, in the same line or in one of its own. The
// client is the one that the proxy names, or the proxy where the header is broken, and nobody whom the client names.
func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"", "192.0.2.66", `for=192.0.2.1;proto=http, for="[2001:db8::1]:4711"`, `for="\`, `for=192.0.2.66;x="`, `"`,
		"10.9.9.9,", "for=192.0.2.66;x=\\\"",
		"::ffff:10.0.0.1%eth0"} {
		f.Add(s)
	}
	peer, want := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("198.51.100.1")
	f.Fuzz(func(t *testing.T, header string) {
		for _, c := range [][2]string{{XForwardedFor, want.String()}, {Forwarded, "for=" + want.String()},
			{Forwarded, `for="` + want.String() + `:4711";by="[2001:db8::1]"`}} {
			name, added := c[0], c[1]
			p := Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Header: name}
			if got := p.Client(peer, []string{header, added}); got != want {
				t.Errorf("%s: %q and then %s: %s", name, header, added, got)
			}
			if got := p.Client(peer, []string{header + ", " + added}); got != want && (got != peer || name == XForwardedFor) {
				t.Errorf("%s: %q with %s behind it: %s", name, header, added, got)
			}
			if got := p.Client(want, []string{header}); got != want {
				t.Errorf("%s: %q is believed of anybody: %s", name, header, got)
			}
			if n := Network(p.Client(peer, []string{header})); !n.IsValid() {
				t.Errorf("%s: %q leads to no network", name, header)
			}
		}
	})
}
