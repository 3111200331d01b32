package api

import (
	"net"
	"net/netip"

	"github.com/gofiber/fiber/v2"
)

// Client is the address that a request came from, behind trusted proxies that of whom the nearest other names. Every
// limit and the audit log go by it; Fiber's own IP, which is the connection's, is for neither.
func (a *API) Client(c *fiber.Ctx) netip.Addr {
	peer := netip.Addr{}
	if tcp, ok := c.Context().RemoteAddr().(*net.TCPAddr); ok {
		peer = tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	if len(a.Cfg.Proxies.Trusted) == 0 || !a.Cfg.Proxies.Trusts(peer) {
		return peer
	}
	return a.Cfg.Proxies.Client(peer, headers(c, a.Cfg.Proxies.Header))
}
