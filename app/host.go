package app

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/static"
)

// anyHost are the addresses that answer whatever they are called by: load balancers and Prometheus ask by address, by the
// name of a machine or with no name at all, and nothing that is worth protecting is behind them. Static files are
// with them, so that the page which refuses a name looks as it should.
var anyHost = []string{"/healthz", "/readyz", "/metrics"}

// checkHost refuses requests for a name that is neither that of BASE_URL nor one of ALLOWED_HOSTS. A page elsewhere whose name
// is made to lead here (DNS rebinding) would be of the same origin as this server for the browser that shows it.
func (a *App) checkHost() fiber.Handler {
	var told minutely
	var last atomic.Pointer[string] // that was let through; nearly all requests ask for the same one
	return func(c *fiber.Ctx) error {
		asked := c.Request().Host()
		if known := last.Load(); known != nil && string(asked) == *known {
			return c.Next()
		}
		host := string(asked)
		if a.Cfg.AllowsHost(host) {
			last.Store(&host)
			return c.Next()
		}
		if slices.Contains(anyHost, c.Path()) || strings.HasPrefix(c.Path(), static.Prefix) {
			return c.Next()
		}
		if len(host) > maxHostShown {
			host = host[:maxHostShown] + "…"
		}
		host = strings.ToValidUTF8(host, "?")
		if told.due() {
			a.Log.Warn("a request for a name that is not this server's was refused; if it is one, add it to ALLOWED_HOSTS", "host", host,
				"base_url", a.Cfg.BaseURL)
		}
		message := "This server does not answer to the name " + host + "."
		if host == "" {
			message = "The request does not say for which host it is."
		}
		return &models.Error{Kind: models.KindMisdirected, Message: message + " Use " + a.Cfg.BaseURL +
			", or ask the operator to add the name to ALLOWED_HOSTS."}
	}
}

// maxHostShown bounds how much of a refused name is repeated, in bytes.
const maxHostShown = 100

// minutely is for messages that many requests cause, and that the log has once a minute at most.
type minutely struct{ last atomic.Int64 } // Unix time in nanoseconds

// due reports whether the message may be written now, to one of those who ask.
func (m *minutely) due() bool {
	now, last := time.Now().UnixNano(), m.last.Load()
	return now-last >= int64(time.Minute) && m.last.CompareAndSwap(last, now)
}
