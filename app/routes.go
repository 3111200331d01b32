package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/recover"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/static"
)

// apiPrefix is where the JSON API lives.
const apiPrefix = "/api/v1"

// maxBody bounds a request's body: a batch of a thousand events of a kilobyte and a bit, or one of the largest.
const maxBody = 8 << 20

// route is one address of the API.
type route struct {
	method, path string
	perm         models.Permission
	handler      fiber.Handler
}

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
	}
	f.Get(apiPrefix+"/healthz", a.healthz)
	a.mountPages(f)
	f.Use(func(*fiber.Ctx) error { return fiber.ErrNotFound })
	return f
}

// apiRoutes lists the API. A change here belongs into docs/api.md too.
func (a *App) apiRoutes() []route {
	const (
		tenant      = "/tenants/:tenant"
		destination = tenant + "/destinations/:destination"
	)
	get, put, post, patch, del := http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete
	return append([]route{
		{get, "/tenants", models.MayAdmin, asJSON(a, models.MayAdmin, a.listTenants)},
		{put, tenant, models.MayWrite, asJSON(a, models.MayWrite, a.putTenant)},
		{get, tenant, models.MayRead, asJSON(a, models.MayRead, a.getTenant)},
		{del, tenant, models.MayWrite, asJSON(a, models.MayWrite, a.deleteTenant)},
		{get, tenant + "/token", models.MayAdmin, asJSON(a, models.MayAdmin, a.getTenantToken)},
		{get, tenant + "/portal", models.MayAdmin, asJSON(a, models.MayAdmin, a.getPortal)},

		{get, tenant + "/destinations", models.MayRead, asJSON(a, models.MayRead, a.listDestinations)},
		{post, tenant + "/destinations", models.MayWrite, asJSON(a, models.MayWrite, a.createDestination)},
		{get, destination, models.MayRead, asJSON(a, models.MayRead, a.getDestination)},
		{patch, destination, models.MayWrite, asJSON(a, models.MayWrite, a.updateDestination)},
		{del, destination, models.MayWrite, asJSON(a, models.MayWrite, a.deleteDestination)},
		{put, destination + "/enable", models.MayWrite, asJSON(a, models.MayWrite, a.enableDestination)},
		{put, destination + "/disable", models.MayWrite, asJSON(a, models.MayWrite, a.disableDestination)},
		{get, destination + "/health", models.MayRead, asJSON(a, models.MayRead, a.getHealth)},
		{post, destination + "/backlog", models.MayWrite, asJSON(a, models.MayWrite, a.actOnBacklog)},
		{get, destination + "/filter", models.MayRead, asJSON(a, models.MayRead, a.getDestinationFilter)},
		{post, destination + "/filtered", models.MayRetry, asJSON(a, models.MayRetry, a.sendFiltered)},
		{post, destination + "/secrets/rotate", models.MayWrite, asJSON(a, models.MayWrite, a.rotateSecret)},
		{post, destination + "/secrets/reveal", models.MayWrite, asJSON(a, models.MayWrite, a.revealSecret)},
		{post, destination + "/test", models.MayWrite, asJSON(a, models.MayWrite, a.sendTest)},
		{post, destination + "/check", models.MayWrite, asJSON(a, models.MayWrite, a.checkDestination)},
		{get, destination + "/attempts", models.MayRead, asJSON(a, models.MayRead, a.listAttempts)},
		{get, destination + "/attempts/:attempt", models.MayRead, asJSON(a, models.MayRead, a.getAttempt)},

		{get, "/destination-types", models.MayRead, asJSON(a, models.MayRead, a.listTypes)},
		{get, "/destination-types/:type", models.MayRead, asJSON(a, models.MayRead, a.getType)},
		{get, "/topics", models.MayRead, asJSON(a, models.MayRead, a.listTopics)},
		{put, "/topics/:topic", models.MayWrite, asJSON(a, models.MayWrite, a.putTopic)},
		{del, "/topics/:topic", models.MayWrite, asJSON(a, models.MayWrite, a.deleteTopic)},

		{post, "/publish", models.MayPublish, a.publish},
		{post, "/publish/batch", models.MayPublish, a.publishBatch},
		{get, "/events", models.MayRead, asJSON(a, models.MayRead, a.listEvents)},
		{get, "/events/:event", models.MayRead, asJSON(a, models.MayRead, a.getEvent)},
		{get, "/events/:event/deliveries", models.MayRead, asJSON(a, models.MayRead, a.listEventDeliveries)},
		{get, "/deliveries", models.MayRead, asJSON(a, models.MayRead, a.listDeliveries)},
		{get, "/deliveries/:delivery", models.MayRead, asJSON(a, models.MayRead, a.getDelivery)},
		{post, "/deliveries/:delivery/cancel", models.MayRetry, asJSON(a, models.MayRetry, a.cancelDelivery)},
		{post, "/retry", models.MayRetry, asJSON(a, models.MayRetry, a.retry)},
		{post, "/retries/plan", models.MayRetry, asJSON(a, models.MayRetry, a.planRetry)},
		{post, "/retries", models.MayRetry, asJSON(a, models.MayRetry, a.startRetry)},
		{get, "/retries", models.MayRead, asJSON(a, models.MayRead, a.listRetries)},
		{get, "/retries/:retry", models.MayRead, asJSON(a, models.MayRead, a.getRetry)},
		{post, "/retries/:retry/pause", models.MayRetry, asJSON(a, models.MayRetry, a.pauseRetry)},
		{post, "/retries/:retry/resume", models.MayRetry, asJSON(a, models.MayRetry, a.resumeRetry)},
		{post, "/retries/:retry/cancel", models.MayRetry, asJSON(a, models.MayRetry, a.cancelRetry)},
		{get, "/attempts", models.MayRead, asJSON(a, models.MayRead, a.listAttempts)},
		{get, "/attempts/:attempt", models.MayRead, asJSON(a, models.MayRead, a.getAttempt)},
		{get, "/metrics/events", models.MayRead, asJSON(a, models.MayRead, a.measureEvents)},
		{get, "/metrics/attempts", models.MayRead, asJSON(a, models.MayRead, a.measureAttempts)},

		{post, "/filters/test", models.MayRead, asJSON(a, models.MayRead, a.testFilter)},
		{post, "/filters/convert", models.MayRead, asJSON(a, models.MayRead, a.convertFilter)},
		{post, "/transforms/test", models.MayRead, asJSON(a, models.MayRead, a.testTransform)},

		{get, "/audit", models.MayRead, asJSON(a, models.MayRead, a.listAudit)},
		{get, "/audit/export", models.MayRead, a.exportAudit},
		{get, "/audit/:entry", models.MayRead, asJSON(a, models.MayRead, a.getAuditEntry)},
		{get, "/api-keys", models.MayAdmin, asJSON(a, models.MayAdmin, a.listAPIKeys)},
		{post, "/api-keys", models.MayAdmin, asJSON(a, models.MayAdmin, a.createAPIKey)},
		{del, "/api-keys/:key", models.MayAdmin, asJSON(a, models.MayAdmin, a.revokeAPIKey)},
		{get, "/channel-types", models.MayRead, asJSON(a, models.MayRead, a.listChannelTypes)},
	}, slices.Concat(a.alertRoutes(tenant), a.alertRoutes(""))...)
}

// alertRoutes lists what tenants have below their own address, and the operators at the root.
func (a *App) alertRoutes(owner string) []route {
	get, post, patch, del := http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	alerts, rules, channels, notifications := owner+"/alerts", owner+"/alert-rules", owner+"/channels", owner+"/notifications"
	return []route{
		{get, alerts, models.MayRead, asJSON(a, models.MayRead, a.listAlerts)},
		{get, alerts + "/:alert", models.MayRead, asJSON(a, models.MayRead, a.getAlert)},
		{post, alerts + "/:alert/acknowledge", models.MayWrite, asJSON(a, models.MayWrite, a.acknowledgeAlert)},
		{post, alerts + "/:alert/resolve", models.MayWrite, asJSON(a, models.MayWrite, a.resolveAlert)},
		{post, alerts + "/:alert/mute", models.MayWrite, asJSON(a, models.MayWrite, a.muteAlert)},

		{get, rules, models.MayRead, asJSON(a, models.MayRead, a.listRules)},
		{post, rules, models.MayWrite, asJSON(a, models.MayWrite, a.createRule)},
		{post, rules + "/preview", models.MayWrite, asJSON(a, models.MayWrite, a.previewRule)},
		{get, rules + "/:rule", models.MayRead, asJSON(a, models.MayRead, a.getRule)},
		{patch, rules + "/:rule", models.MayWrite, asJSON(a, models.MayWrite, a.updateRule)},
		{del, rules + "/:rule", models.MayWrite, asJSON(a, models.MayWrite, a.deleteRule)},

		{get, channels, models.MayRead, asJSON(a, models.MayRead, a.listChannels)},
		{post, channels, models.MayWrite, asJSON(a, models.MayWrite, a.createChannel)},
		{get, channels + "/:channel", models.MayRead, asJSON(a, models.MayRead, a.getChannel)},
		{patch, channels + "/:channel", models.MayWrite, asJSON(a, models.MayWrite, a.updateChannel)},
		{del, channels + "/:channel", models.MayWrite, asJSON(a, models.MayWrite, a.deleteChannel)},
		{post, channels + "/:channel/subscribe", models.MayWrite, asJSON(a, models.MayWrite, a.subscribe)},
		{post, channels + "/:channel/test", models.MayWrite, asJSON(a, models.MayWrite, a.testChannel)},

		{get, notifications, models.MayRead, asJSON(a, models.MayRead, a.listNotifications)},
		{get, notifications + "/:notification", models.MayRead, asJSON(a, models.MayRead, a.getNotification)},
		{post, notifications + "/:notification/resend", models.MayWrite, asJSON(a, models.MayWrite, a.resend)},
	}
}

// prepare gives every request an id and the headers that all answers carry.
func (a *App) prepare(c *fiber.Ctx) error {
	var b [12]byte
	rand.Read(b[:])
	id := hex.EncodeToString(b[:])
	c.Locals(requestIDKey, id)
	c.Set("X-Request-Id", id)
	c.Set("X-Content-Type-Options", "nosniff")
	if !readable(unescapedPath(c.Path())) || !readable(unescaped(c.Context().QueryArgs().QueryString())) {
		return &models.Error{Kind: models.KindMalformed, Message: "The address holds a NUL character or is not valid UTF-8. Escape text as UTF-8, without %00."}
	}
	return c.Next()
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
	Status    string                  `json:"status"`
	Timestamp time.Time               `json:"timestamp"`
	Workers   map[string]workerHealth `json:"workers"` // by the id of their process
}

type workerHealth struct {
	Status string `json:"status"`
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

// readyz tells whether the database answers and has this build's schema.
func (a *App) readyz(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := a.store.Ready(ctx); err != nil {
		return c.Status(http.StatusServiceUnavailable).JSON(map[string]string{"status": "failed", "message": "The database does not answer."})
	}
	return c.JSON(map[string]string{"status": "ready"})
}
