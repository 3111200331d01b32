// Package api answers the requests of programs: it has the use cases, each with its address, and the description of them
// all. Pages are another face of the same use cases.
package api

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/internal/traces"
	"github.com/waybill-dev/waybill/jobs"
	"github.com/waybill-dev/waybill/models"
)

// API has what use cases need. All but ErrorPage is set before the first request.
type API struct {
	Cfg      *config.Config
	Base     string // path of BASE_URL
	Log      *slog.Logger
	Store    *models.Store
	Accepter *models.Accepter
	Follower *models.Follower
	Tail     *models.Tail
	Notices  *jobs.Notices
	Env      adapters.Env
	Traces   *traces.Tracer // nil unless a collector is given

	Bootstrap     *models.Actor            // whoever has the key of the environment
	BootstrapHash atomic.Pointer[[32]byte] // of that key, SHA-256; nil for none

	Reloads atomic.Pointer[Reloads] // of files of settings; nil before the first

	// ErrorPage answers an error outside of the API. It is a field because pages are made after what they show.
	ErrorPage func(c *fiber.Ctx, e *models.Error, requestID string) error

	description apiDescription
	bodies      bodyBudget
	badKeys     badKeys
	limits      *buckets
	exports     exportPlaces
	hsts        string // value of Strict-Transport-Security; empty for none

	home     *API                    // of which this is the API of a cell; nil for home itself
	cells    atomic.Pointer[[]*Cell] // of home; nil while there are none
	counts   cellCounts
	handlers []fiber.Handler // of a cell, in the order of APIRoutes

	// BeforeCompress is called with an answer that is about to be compressed; nil for nothing to do.
	BeforeCompress func(*fasthttp.Response)
}

// Reloads is what was last read of files of settings.
type Reloads struct {
	At       time.Time
	Problems map[string]string // by variable: why the value of before is in force
}

// New makes an API under a configuration.
func New(cfg *config.Config, log *slog.Logger, env adapters.Env) *API {
	a := &API{Cfg: cfg, Base: cfg.BasePath(), Log: log, Env: env, limits: &buckets{}}
	// Browsers disregard it in what does not come over TLS (RFC 6797, section 8.1), so that a health check may get it too.
	if strings.HasPrefix(strings.ToLower(cfg.BaseURL), "https://") && cfg.HSTS > 0 {
		a.hsts = fmt.Sprintf("max-age=%d", int(cfg.HSTS.Seconds()))
	}
	return a
}
