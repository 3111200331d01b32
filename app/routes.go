package app

import (
	"bytes"
	"net/http"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/valyala/fasthttp"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/static"
)

// maxBody bounds a request's body: a batch of a thousand events of a kilobyte and a bit, or one of the largest.
const maxBody = 8 << 20

// routes builds the HTTP application: every address in one list.
func (a *App) routes() *fiber.App {
	f := fiber.New(fiber.Config{
		DisableStartupMessage:   true,
		ErrorHandler:            a.OnError,
		Immutable:               true, // values outlive their request
		CaseSensitive:           true,
		BodyLimit:               max(maxBody, 2*a.Cfg.MaxPayload),
		ReadBufferSize:          16 << 10,
		ReadTimeout:             60 * time.Second,
		IdleTimeout:             120 * time.Second,
		EnableTrustedProxyCheck: true,
		TrustedProxies:          a.Cfg.Proxies,
		ProxyHeader:             fiber.HeaderXForwardedFor,
		ServerHeader:            "",
	})
	f.Use(recover.New(recover.Config{EnableStackTrace: true, StackTraceHandler: a.onPanic}), a.meter, a.prepare, a.checkHost(), a.bound)
	f.Get("/healthz", a.Healthz)
	f.Get("/metrics", a.scrape())
	f.Get("/readyz", a.Readyz)
	f.Get(static.Prefix+"*", a.pages.ServeStatic)
	for _, r := range a.APIRoutes() {
		f.Add(r.Method, api.APIPrefix+r.Path, a.Once(r))
		if r.Method == http.MethodGet {
			f.Add(http.MethodHead, api.APIPrefix+r.Path, r.Handler) // RFC 9110, section 9.3.2
		}
	}
	f.Get("/openapi.json", a.OpenAPI)
	a.pages.Mount(f)
	a.answerAll(f)
	f.Server().Handler = underPath(a.Cfg.BasePath(), f.Server().Handler)
	return f
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
		e := &models.Error{Kind: models.KindMalformed, Message: "The address holds a NUL character or is not valid UTF-8. Escape text as UTF-8, without %00."}
		for k, v := range c.Context().QueryArgs().All() {
			if api.Readable(string(k)) && !api.Readable(string(v)) {
				e.Fields = map[string]string{string(k): "must be valid UTF-8 without NUL"}
			}
		}
		return e
	}
	if isForm(c) && !api.Readable(api.Unescaped(c.Request().Body())) {
		return &models.Error{Kind: models.KindMalformed, Message: "The form holds a NUL character or is not valid UTF-8. Escape text as UTF-8, without %00."}
	}
	return c.Next()
}

func isForm(c *fiber.Ctx) bool {
	return !api.IsAPI(c) && bytes.HasPrefix(c.Request().Header.ContentType(), []byte(fiber.MIMEApplicationForm))
}

// What the bodies of requests may take up while they are answered, and from which size on a connection gives the memory
// of a body back at once rather than keep it for its next one.
const (
	maxBodies = 128 << 20
	largeBody = 64 << 10
)

// bound refuses requests while others with large bodies wait, so that a database that does not answer cannot fill the
// memory with what callers wish to hand over.
func (a *App) bound(c *fiber.Ctx) error {
	size := int64(len(c.Request().Body()))
	if size == 0 {
		return c.Next()
	}
	defer c.Request().ReleaseBody(largeBody)
	defer a.bodies.Add(-size)
	if a.bodies.Add(size) > maxBodies {
		return &models.Error{Kind: models.KindUnavailable, Message: "The server holds as many requests as it has room for. Try again.", RetryAfter: time.Second}
	}
	return c.Next()
}

func (a *App) onPanic(c *fiber.Ctx, e any) {
	a.Log.Error("panic", "request_id", api.RequestID(c), "method", c.Method(), "path", c.Path(), "panic", e)
}
