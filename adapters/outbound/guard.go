package outbound

import (
	"net/netip"

	"code.dny.dev/ssrf"
)

// guard knows which addresses may be dialled: public unicast ones, and what the operator opened (adapters.Env.Egress).
//
// Refused are the special-purpose ranges of the IANA registries for IPv4, and for IPv6 whatever is not global unicast
// together with the special ranges inside it. That covers private, loopback, link-local (and with it the metadata
// services of clouds), shared (carrier-grade NAT), unique local, multicast and unspecified addresses, and the forms of
// IPv6 that carry an IPv4 address: mapped, NAT64, 6to4 and Teredo.
type guard struct {
	g *ssrf.Guardian
}

func newGuard(egress []netip.Prefix) guard {
	var v4, v6 []netip.Prefix
	for _, p := range egress {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return guard{ssrf.New(ssrf.WithAnyPort(), ssrf.WithAnyNetwork(),
		ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))}
}

func (g guard) allows(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && g.g.SafeAddr(a) == nil
}

// describe says in a word or two what is special about a refused address. The address itself is not told: where it came
// from DNS it may be a fact about the inside of a network that the reader has no business knowing.
func describe(a netip.Addr) string {
	a = a.Unmap()
	switch {
	case a.IsLoopback():
		return "loopback address"
	case a.IsPrivate():
		return "private address"
	case a.IsLinkLocalUnicast(), a.IsLinkLocalMulticast():
		return "link-local address"
	case a.IsUnspecified():
		return "unspecified address"
	case a.IsMulticast():
		return "multicast address"
	case a.Is4() && netip.MustParsePrefix("100.64.0.0/10").Contains(a):
		return "shared address"
	default:
		return "reserved address"
	}
}
