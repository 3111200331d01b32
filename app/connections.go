package app

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/netlimit"
)

// tellRefused is how often the log says that connections are refused.
const tellRefused = time.Minute

// connectionLimits are those of the configuration. What a proxy sends on behalf of many is bounded in all only: whose a
// connection is, is not known before its first request.
func (a *App) connectionLimits() netlimit.Limits {
	var refused, told atomic.Int64 // connections; Unix time in nanoseconds
	return netlimit.Limits{Total: a.Cfg.MaxConns, PerAddress: a.Cfg.MaxConnsFrom, Exempt: a.Cfg.Proxies.Trusts, Refused: func(from netip.Addr, all bool) {
		n, now, last := refused.Add(1), time.Now().UnixNano(), told.Load()
		if now-last < int64(tellRefused) || !told.CompareAndSwap(last, now) {
			return
		}
		limit := "MAX_CONNECTIONS_PER_ADDRESS; if this is a proxy of yours, name it in TRUSTED_PROXIES"
		if all {
			limit = "MAX_CONNECTIONS"
		}
		a.Log.Warn("connections are refused", "limit", limit, "last_from", from.String(), "refused_since_start", n)
	}}
}
