package app

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/netlimit"
)

// connectionLimits are those of the configuration. What a proxy sends on behalf of many is bounded in all only: whose a
// connection is, is not known before its first request.
func (a *App) connectionLimits() netlimit.Limits {
	var refused atomic.Int64
	var told minutely
	return netlimit.Limits{Total: a.Cfg.MaxConns, PerAddress: a.Cfg.MaxConnsFrom, Exempt: a.Cfg.Proxies.Trusts,
		Refused: func(from netip.Addr, all bool) {
			n := refused.Add(1)
			if !told.due() {
				return
			}
			limit := "MAX_CONNECTIONS_PER_ADDRESS; if this is a proxy of yours, name it in TRUSTED_PROXIES"
			if all {
				limit = "MAX_CONNECTIONS"
			}
			a.Log.Warn("connections are refused", "limit", limit, "last_from", from.String(), "refused_since_start", n)
		}}
}

// proxyHeaderWait is how long the header of the PROXY protocol may take. Proxies send it as soon as they have connected.
const proxyHeaderWait = 5 * time.Second

// maxPendingHeaders bounds how many of them are awaited at once, where MAX_CONNECTIONS does not.
const maxPendingHeaders = 4096

// behindProxies reads the PROXY protocol's headers, where the proxies send them.
func (a *App) behindProxies(ln net.Listener) net.Listener {
	if !a.Cfg.ProxyProtocol {
		return ln
	}
	pending := a.Cfg.MaxConns
	if pending == 0 {
		pending = maxPendingHeaders
	}
	var told minutely
	return netlimit.Proxied(ln, netlimit.Proxies{Trusts: a.Cfg.Proxies.Trusts, Timeout: min(proxyHeaderWait, a.Cfg.ReadTimeout),
		Pending: pending, Refused: func(from netip.Addr, err error) {
			if told.due() {
				a.Log.Warn("a connection from a trusted proxy was closed, because it has no header of the PROXY protocol; let the proxy send one, or set PROXY_PROTOCOL=off",
					"from", from.String(), "error", err)
			}
		}})
}
