package app

import (
	"net/netip"
	"sync/atomic"

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
