package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/valyala/fasthttp"

	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/static"
)

// apiPrefix is where the JSON API lives.
const apiPrefix = "/api/v1"

// maxBody bounds a request's body: a batch of a thousand events of a kilobyte and a bit, or one of the largest.
const maxBody = 8 << 20

// routes builds the HTTP application: every address in one list.
func (a *App) routes() *fiber.App {
	f := fiber.New(fiber.Config{
		DisableStartupMessage:   true,
		ErrorHandler:            a.onError,
		Immutable:               true, // values outlive their request
		CaseSensitive:           true,
		BodyLimit:               max(maxBody, 2*a.cfg.MaxPayload),
		ReadBufferSize:          16 << 10,
		ReadTimeout:             60 * time.Second,
		IdleTimeout:             120 * time.Second,
		EnableTrustedProxyCheck: true,
		TrustedProxies:          a.cfg.Proxies,
		ProxyHeader:             fiber.HeaderXForwardedFor,
		ServerHeader:            "",
	})
	f.Use(recover.New(recover.Config{EnableStackTrace: true, StackTraceHandler: a.onPanic}), a.meter, a.prepare, a.bound)
	f.Get("/healthz", a.healthz)
	f.Get("/metrics", a.scrape())
	f.Get("/readyz", a.readyz)
	f.Get(static.Prefix+"*", a.serveStatic)
	for _, r := range a.apiRoutes() {
		f.Add(r.method, apiPrefix+r.path, a.once(r))
		if r.method == http.MethodGet {
			f.Add(http.MethodHead, apiPrefix+r.path, r.handler) // RFC 9110, section 9.3.2
		}
	}
	f.Get("/openapi.json", a.openAPI)
	a.mountPages(f)
	a.answerAll(f)
	f.Server().Handler = underPath(a.cfg.BasePath(), f.Server().Handler)
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
		if err := a.onError(c, fiber.ErrNotImplemented); err != nil {
			a.log.Error("a request with an unknown method could not be answered", "error", err)
		}
	}
}

// identify gives a request its id, which is returned, and its answer the headers that all have.
func identify(c *fiber.Ctx) string {
	var b [12]byte
	rand.Read(b[:])
	id := hex.EncodeToString(b[:])
	c.Locals(requestIDKey, id)
	c.Set("X-Request-Id", id)
	c.Set("X-Content-Type-Options", "nosniff")
	return id
}

// prepare gives every request an id and the headers that all answers carry.
func (a *App) prepare(c *fiber.Ctx) error {
	identify(c)
	if !readable(unescapedPath(c.Path())) || !readable(unescaped(c.Context().QueryArgs().QueryString())) {
		e := &models.Error{Kind: models.KindMalformed, Message: "The address holds a NUL character or is not valid UTF-8. Escape text as UTF-8, without %00."}
		for k, v := range c.Context().QueryArgs().All() {
			if readable(string(k)) && !readable(string(v)) {
				e.Fields = map[string]string{string(k): "must be valid UTF-8 without NUL"}
			}
		}
		return e
	}
	if isForm(c) && !readable(unescaped(c.Request().Body())) {
		return &models.Error{Kind: models.KindMalformed, Message: "The form holds a NUL character or is not valid UTF-8. Escape text as UTF-8, without %00."}
	}
	return c.Next()
}

func isForm(c *fiber.Ctx) bool {
	return !isAPI(c) && bytes.HasPrefix(c.Request().Header.ContentType(), []byte(fiber.MIMEApplicationForm))
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

// readable reports whether a text can be looked up in the database.
func readable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func unescaped(query []byte) string {
	s, err := url.QueryUnescape(string(query))
	if err != nil {
		return string(query)
	}
	return s
}

func unescapedPath(path string) string {
	s, err := url.PathUnescape(path)
	if err != nil {
		return path
	}
	return s
}

// pathParam is a part of the address that stands for an id, unescaped. (Fiber's own unescaping is that of forms, which
// reads a plus as a space.)
func pathParam(c *fiber.Ctx, name string) string { return unescapedPath(c.Params(name)) }

func (a *App) onPanic(c *fiber.Ctx, e any) {
	a.log.Error("panic", "request_id", requestID(c), "method", c.Method(), "path", c.Path(), "panic", e)
}

type healthJSON struct {
	Status    string                  `json:"status" api:"enum=healthy|failed"`
	Timestamp time.Time               `json:"timestamp"`
	Workers   map[string]workerHealth `json:"workers" doc:"By the id of their process."`
}

type workerHealth struct {
	Status string `json:"status" api:"enum=healthy"`
}

// healthz tells whether the process works and which workers are alive.
func (a *App) healthz(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	h := healthJSON{Status: "healthy", Timestamp: time.Now().UTC(), Workers: map[string]workerHealth{}}
	workers, err := a.store.Workers(ctx)
	for _, id := range workers {
		h.Workers[id] = workerHealth{Status: "healthy"}
	}
	if err != nil {
		h.Status = "failed"
		return c.Status(http.StatusServiceUnavailable).JSON(h)
	}
	return c.JSON(h)
}

// readyz tells whether events would be accepted; see Store.Ready.
func (a *App) readyz(c *fiber.Ctx) error {
	if err := a.store.Ready(context.Background()); err != nil {
		a.log.Warn("not ready to accept events", "request_id", requestID(c), "error", err)
		message := "The database does not answer, or does not do what accepting events needs; the log says more."
		if errors.Is(err, migrations.ErrOldSchema) {
			message = "The database has another schema than this version needs. Run `waybill migrate` of this version."
		}
		return c.Status(http.StatusServiceUnavailable).JSON(map[string]string{"status": "failed", "message": message})
	}
	return c.JSON(map[string]string{"status": "ready"})
}
