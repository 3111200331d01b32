package app

import (
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/valyala/fasthttp"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/static"
)

// routes builds the HTTP application: every address in one list.
func (a *App) routes() *fiber.App {
	f := fiber.New(fiber.Config{
		DisableStartupMessage:   true,
		ErrorHandler:            a.OnError,
		Immutable:               true, // values outlive their request
		CaseSensitive:           true,
		BodyLimit:               a.MostBody(),
		StreamRequestBody:       true, // see api.Receive
		ReadBufferSize:          16 << 10,
		ReadTimeout:             a.Cfg.ReadTimeout,
		IdleTimeout:             120 * time.Second,
		EnableTrustedProxyCheck: true,
		TrustedProxies:          texts(a.Cfg.Proxies.Trusted),
		ServerHeader:            "",

		DisablePreParseMultipartForm: true, // which would be read before anybody looks
	})
	f.Use(recover.New(recover.Config{EnableStackTrace: true, StackTraceHandler: a.onPanic}), a.meter, a.prepare, a.checkHost())
	if a.Store.HasReplica() {
		f.Use(a.MarkWrites)
	}
	f.Get("/healthz", a.Healthz)
	f.Get("/metrics", a.scrape())
	f.Get("/readyz", a.Readyz)
	f.Get(static.Prefix+"*", a.pages.ServeStatic)
	for i, r := range a.APIRoutes() {
		handler := a.Placed(i, r)
		if r.Method != http.MethodGet {
			f.Add(r.Method, api.APIPrefix+r.Path, a.ReceiveFor(r), handler)
			continue
		}
		f.Add(r.Method, api.APIPrefix+r.Path, a.Compress, a.ReceiveFor(r), handler)
		f.Add(http.MethodHead, api.APIPrefix+r.Path, a.Compress, handler) // RFC 9110, section 9.3.2
	}
	f.Get("/openapi.json", a.Compress, a.OpenAPI)
	a.pages.Mount(f)
	a.answerAll(f)
	if base := a.Cfg.BasePath(); base != "" {
		a.BeforeCompress = func(r *fasthttp.Response) { pageUnder(base, r) }
	}
	handler := underPath(a.Cfg.BasePath(), f.Server().Handler)
	f.Server().HeaderReceived = a.HeaderReceived
	f.Server().Handler = func(fc *fasthttp.RequestCtx) {
		handler(fc)
		api.Discard(fc)
	}
	return f
}

func texts(prefixes []netip.Prefix) (out []string) {
	for _, p := range prefixes {
		out = append(out, p.String())
	}
	return out
}

// answerAll makes JSON of what Fiber answers with bare text before it looks for a route: methods that there are not.
func (a *App) answerAll(f *fiber.App) {
	next := f.Handler()
	f.Server().Handler = func(fc *fasthttp.RequestCtx) {
		if slices.Contains(fiber.DefaultMethods, string(fc.Method())) {
			next(fc)
			return
		}
		c := f.AcquireCtx(fc)
		defer f.ReleaseCtx(c)
		if err := a.OnError(c, fiber.ErrNotImplemented); err != nil {
			a.Log.Error("a request with an unknown method could not be answered", "error", err)
		}
	}
}

// prepare gives every request an id and the headers that all answers carry.
func (a *App) prepare(c *fiber.Ctx) error {
	a.Identify(c)
	if !api.Readable(api.UnescapedPath(c.Path())) || !api.Readable(api.Unescaped(c.Context().QueryArgs().QueryString())) {
		e := &models.Error{Kind: models.KindMalformed,
			Message: "The address holds a NUL character or is not valid UTF-8. Escape text as UTF-8, without %00."}
		for k, v := range c.Context().QueryArgs().All() {
			if api.Readable(string(k)) && !api.Readable(string(v)) {
				e.Fields = map[string]string{string(k): "must be valid UTF-8 without NUL"}
			}
		}
		return e
	}
	if err := a.RefusedBody(c); err != nil {
		return err
	}
	return c.Next()
}

func (a *App) onPanic(c *fiber.Ctx, e any) {
	a.Log.Error("panic", "request_id", api.RequestID(c), "method", c.Method(), "path", c.Path(), "panic", e)
}
