// Package clientip finds out from which address a request came, also behind proxies, and to which network an address
// belongs.
package clientip

import (
	"net/netip"
	"strings"
)

// The headers in which proxies name whom they speak for.
const (
	XForwardedFor = "X-Forwarded-For"
	Forwarded     = "Forwarded" // RFC 7239
)

// Proxies are those whose header is believed.
type Proxies struct {
	Trusted []netip.Prefix
	Header  string // XForwardedFor or Forwarded
}

// Trusts reports whether an address is one of the proxies'.
func (p Proxies) Trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, t := range p.Trusted {
		if t.Contains(a) {
			return true
		}
	}
	return false
}

// Client is who sent a request: peer, unless that is a proxy, then the right-most address in the values of the header that
// is no proxy's. What stands left of it was written by the client itself and is not believed. Where a proxy names nobody (an
// unknown or hidden client, RFC 7239, section 6), the client is that proxy.
func (p Proxies) Client(peer netip.Addr, values []string) netip.Addr {
	peer = peer.Unmap().WithZone("")
	if !p.Trusts(peer) {
		return peer
	}
	hops := strings.Split(strings.Join(values, ","), ",")
	if p.Header == Forwarded {
		hops = nil
		for _, v := range values { // each by itself: what is broken in one does not reach into what a proxy wrote after it
			hops = append(hops, forwardedFor(v)...)
		}
	}
	for i := len(hops) - 1; i >= 0; i-- {
		a, ok := parse(hops[i])
		if !ok {
			return peer
		}
		if peer = a; !p.Trusts(a) {
			return a
		}
	}
	return peer
}

// Network is the network of an address, as far as one customer of an internet provider usually has it to themselves: the /24
// of IPv4, the /64 of IPv6.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // of no address
	}
	return p
}

// parse reads an address with or without a port: 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1], [2001:db8::1]:80.
func parse(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		a = ap.Addr()
	}
	return a.Unmap().WithZone(""), true
}

// forwardedFor are the values of for= in a Forwarded header, one for each element, empty where an element has none (RFC 7239,
// section 4). An element with a quoted string that does not end names nobody: it may have swallowed the one that a proxy
// added behind it.
func forwardedFor(header string) []string {
	var hops []string
	elements, _ := splitQuoted(header, ',')
	for _, element := range elements {
		hop := ""
		pairs, closed := splitQuoted(element, ';')
		if !closed {
			pairs = nil
		}
		for _, pair := range pairs {
			if name, value, ok := strings.Cut(pair, "="); ok && strings.EqualFold(strings.TrimSpace(name), "for") {
				hop = strings.Trim(strings.TrimSpace(value), `"`)
			}
		}
		hops = append(hops, hop)
	}
	return hops
}

// splitQuoted splits at a separator that is not within a quoted string (RFC 9110, section 5.6.4). closed says that the last of
// those strings ends.
func splitQuoted(s string, sep byte) (parts []string, closed bool) {
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++ // what follows is taken as it is
		case s[i] == sep && !quoted:
			parts, start = append(parts, s[start:i]), i+1
		}
	}
	return append(parts, s[start:]), !quoted
}
