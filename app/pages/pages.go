// Package pages answers the requests of browsers with pages, one file a page.
package pages

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/a-h/templ"
	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/internal/idp"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/static"
	"github.com/waybill-dev/waybill/views"
)

// pageRoute is one address of the dashboard. Twin names the requests of the API that do the same ("GET
// /tenants/:tenant/destinations"); a test fails when one does not exist or needs another permission.
//
// A page without Perm is for everybody who has logged in, also who sees no more than a tenant.
type pageRoute struct {
	Method, Path string
	Perm         models.Permission
	Twin         []string
	handler      pageHandler
}

// pageHandler answers a request of the dashboard by somebody who has logged in.
type pageHandler func(ctx context.Context, p *pageCtx) error

// pageCtx is one request of the dashboard.
type pageCtx struct {
	*fiber.Ctx
	app    *Pages
	call   *api.Call
	who    *models.Actor  // the viewer outside of any tenant; nil where nobody has logged in
	tenant *models.Tenant // of pages below /t/:tenant; nil elsewhere
	alerts int            // that are open, for the navigation
}

// The dashboard's cookies.
const (
	SessionCookie   = "waybill_session"
	flashCookie     = "waybill_flash"
	themeCookie     = "waybill_theme"
	shortcutsCookie = "waybill_shortcuts"
)

// csp lets pages use nothing but what this server serves, and no inline scripts or styles.
const csp = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Pages is the dashboard: another face of the API's use cases.
type Pages struct {
	*api.API
	provider *idp.Provider // by which people log in; nil for none

	faces    *sync.Map     // of cells: *api.API to *Pages
	handlers []pageHandler // of a cell, in the order of PageRoutes
}

// New makes the dashboard, whose pages also show what goes wrong outside of the API.
func New(a *api.API) *Pages {
	p := &Pages{API: a, provider: newProvider(a.Cfg), faces: &sync.Map{}}
	a.ErrorPage = p.errorPage
	return p
}

// Mount adds the dashboard's addresses to those of the server.
func (a *Pages) Mount(f *fiber.App) {
	for _, r := range a.publicPages() {
		f.Add(r.Method, r.Path, a.guardPage, a.Compress, func(c *fiber.Ctx) error {
			ctx, cancel := api.CallContext()
			defer cancel()
			body, err := a.receive(c, api.MaxForm)
			defer body.Done(c)
			if err != nil {
				return err
			}
			call := &api.Call{RequestID: api.RequestID(c), IP: a.Client(c).String(), Page: true, Actor: &models.Actor{},
				Browser: c.Get(fiber.HeaderUserAgent)}
			return a.WhileAnswering(models.WithAsker(ctx, call.Asker()), c, func(ctx context.Context) error {
				return r.handler(ctx, &pageCtx{Ctx: c, app: a, call: call})
			})
		})
	}
	for i, r := range a.PageRoutes() {
		f.Add(r.Method, r.Path, a.guardPage, a.Compress, a.asPage(i, r))
	}
}

// pageHeaders sets the headers that every page has, also one that tells of an error. What answers a form may hold what was
// typed into it, or a secret that is shown once: no browser keeps it.
func pageHeaders(c *fiber.Ctx) {
	c.Set(fiber.HeaderContentSecurityPolicy, csp)
	c.Set(fiber.HeaderReferrerPolicy, "same-origin")
	c.Set(fiber.HeaderCacheControl, "private, no-cache")
	if !reads(c) {
		c.Set(fiber.HeaderCacheControl, "no-store")
	}
	c.Set(fiber.HeaderVary, "Cookie, HX-Request")
}

// reads reports whether a request changes nothing.
func reads(c *fiber.Ctx) bool { return c.Method() == http.MethodGet || c.Method() == http.MethodHead }

// guardPage sets the headers of pages and refuses requests that another site made a browser send.
func (a *Pages) guardPage(c *fiber.Ctx) error {
	pageHeaders(c)
	if reads(c) || sameOrigin(c) {
		return c.Next()
	}
	return &models.Error{Kind: models.KindForbidden,
		Message: "This request came from another site and was not carried out. Go back and try again from the dashboard itself."}
}

// crossOrigin refuses what another site makes a browser send: by Sec-Fetch-Site, which every current browser sends, else
// by Origin. A request with neither is not from a browser.
var crossOrigin = http.NewCrossOriginProtection()

// sameOrigin tells whether a request that changes something comes from our own pages.
func sameOrigin(c *fiber.Ctx) bool {
	header := http.Header{}
	for _, name := range []string{"Sec-Fetch-Site", fiber.HeaderOrigin} {
		if v := c.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	return crossOrigin.Check(&http.Request{Method: c.Method(), Host: string(c.Request().Host()), Header: header, URL: &url.URL{}}) == nil
}

// asPage mounts a page handler for those who have logged in and may use it.
func (a *Pages) asPage(i int, r pageRoute) fiber.Handler {
	show := a.showPage(i, r)
	return func(c *fiber.Ctx) error {
		ctx, cancel := api.CallContext()
		defer cancel()
		return a.WhileAnswering(ctx, c, func(ctx context.Context) error { return show(ctx, c) })
	}
}

func (a *Pages) showPage(i int, r pageRoute) func(ctx context.Context, c *fiber.Ctx) error {
	return func(ctx context.Context, c *fiber.Ctx) error {
		actor, err := a.viewer(ctx, c)
		if err != nil {
			return err
		}
		if actor == nil {
			return a.toLogin(ctx, c)
		}
		p := &pageCtx{Ctx: c, app: a, who: actor, call: &api.Call{Actor: actor, RequestID: api.RequestID(c), IP: a.Client(c).String(),
			Page: true, Browser: c.Get(fiber.HeaderUserAgent)}}
		if id := p.Params("tenant"); id != "" {
			if p.tenant, err = a.Store.Tenant(ctx, actor.Scope, id); err != nil {
				return err
			}
			// Within a tenant's pages even an operator sees that tenant only.
			p.call.Actor = actor.In(p.tenant)
		} else if r.Perm != "" && !actor.Scope.All() {
			return &models.Error{Kind: models.KindForbidden, Message: "This page is for the operators of this server."}
		}
		if a.needsFactor(actor, r) {
			return c.Redirect(views.AccountURL(factorPart), http.StatusSeeOther)
		}
		if err := api.Allow(p.call.Actor, r.Perm); err != nil {
			return err
		}
		body, err := a.receive(c, a.MaxBody())
		defer body.Done(c)
		if err != nil {
			return err
		}
		return a.placed(ctx, p, i, r)
	}
}

// answer shows a page, or does what it is for, once it is known who asks and in which database.
func (a *Pages) answer(ctx context.Context, p *pageCtx, r pageRoute) (err error) {
	c := p.Ctx
	if r.Method == http.MethodGet && (p.tenant != nil || p.who.Scope.All()) {
		if p.alerts, err = a.OpenAlerts(ctx, p.call, views.MaxAlerts+1); err != nil {
			return err
		}
	}
	if reads(c) {
		query, asked, err := p.absolute()
		if err != nil {
			return err
		}
		if asked {
			return p.toAbsolute(query)
		}
	}
	ctx = models.WithAsker(ctx, p.call.Asker())
	if r.Perm != models.MayRead || !reads(c) {
		return r.handler(ctx, p)
	}
	if p.call.Wrote, err = a.Since(c, p.call); err != nil {
		return err
	}
	return a.Store.Read(ctx, p.call.Wrote, func(ctx context.Context) error {
		c.Response().ResetBody() // it may be the second try
		return r.handler(ctx, p)
	})
}

// receive reads a form, of at most limit bytes.
func (a *Pages) receive(c *fiber.Ctx, limit int) (api.Received, error) {
	body, err := a.Receive(c, limit)
	if err == nil && bytes.HasPrefix(c.Request().Header.ContentType(), []byte(fiber.MIMEApplicationForm)) &&
		!api.Readable(api.Unescaped(c.Request().Body())) {
		err = &models.Error{Kind: models.KindMalformed,
			Message: "The form holds a NUL character or is not valid UTF-8. Escape text as UTF-8, without %00."}
	}
	return body, err
}

// Params is a part of the page's address that stands for an id.
func (p *pageCtx) Params(name string) string { return api.PathParam(p.Ctx, name) }

// viewer returns who has logged in, or nil.
func (a *Pages) viewer(ctx context.Context, c *fiber.Ctx) (*models.Actor, error) {
	token := c.Cookies(SessionCookie)
	if token == "" {
		return nil, nil
	}
	actor, err := a.Store.Session(ctx, token)
	if err != nil || actor == nil {
		return nil, err
	}
	return actor, a.Store.SessionSeen(ctx, actor, a.Client(c).String())
}

// toLogin sends somebody who has not logged in to the page where they can, or on a fresh server to the set-up.
func (a *Pages) toLogin(ctx context.Context, c *fiber.Ctx) error {
	has, err := a.Store.HasUsers(ctx)
	if err != nil {
		return err
	}
	if !has {
		return c.Redirect(views.SetupURL(), http.StatusSeeOther)
	}
	q := url.Values{}
	if c.Method() == http.MethodGet && c.OriginalURL() != "/" {
		q.Set("return", c.OriginalURL())
	}
	if c.Cookies(SessionCookie) != "" {
		q.Set("ended", "1")
	}
	to := views.LoginURL()
	if len(q) > 0 {
		to += "?" + q.Encode()
	}
	return c.Redirect(to, http.StatusSeeOther)
}

// localPath makes sure that an address given in a request stays on this server.
func localPath(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") ||
		strings.ContainsAny(s, "\\\r\n") {
		return "/"
	}
	return s
}

// frame is what a page's frame shows. It takes the flash message, which is shown once.
func (p *pageCtx) frame(title string, section views.Section) views.Page {
	actor := p.call.Actor
	f := views.Page{Alerts: p.alerts, Title: title, Section: section, Here: p.OriginalURL(), Flash: p.takeFlash(),
		Chrome: p.app.chrome(p.Ctx)}
	if actor != nil && actor.Name != "" {
		f.Viewer = views.Viewer{Name: actor.Name, Write: actor.Can(models.MayWrite), Retry: actor.Can(models.MayRetry),
			Admin: actor.Can(models.MayAdmin), Catalogue: actor.Can(models.MayWrite) && actor.TenantID == "", Role: actor.RoleIn(p.tenant)}
	}
	if p.who != nil {
		f.Viewer.OneTenant, f.Viewer.Tenants, f.Viewer.User = !p.who.Scope.All(), p.who.Tenants(), p.who.Kind == models.ActorUser
	}
	f.Missing, f.Cells = p.call.Missing, p.app.Cells() != nil
	f.Reread = f.Viewer.Name != "" && f.Flash == nil && !f.UTC && reads(p.Ctx)
	if p.tenant != nil {
		f.Tenant, f.TenantName = p.tenant.ID, p.tenant.Name()
	}
	return f
}

func (a *Pages) chrome(c *fiber.Ctx) views.Chrome {
	theme := c.Cookies(themeCookie)
	if theme != "light" && theme != "dark" {
		theme = ""
	}
	zone := c.Cookies(zoneCookie)
	if location(zone) == nil {
		zone = ""
	}
	return views.Chrome{Zone: zone, UTC: c.Cookies(timesCookie) == "utc", Theme: theme, Shortcuts: c.Cookies(shortcutsCookie) != "off", BaseURL: a.Cfg.BaseURL, Version: config.Version}
}

// render sends a page.
func (p *pageCtx) render(ctx context.Context, status int, comp templ.Component) error {
	p.Status(status).Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return comp.Render(views.WithZone(ctx, p.zone()), p.Response().BodyWriter())
}

// done ends a request that has changed something: to the page that shows it, with a message there.
func (p *pageCtx) done(to string, flash *views.Flash) error {
	if flash != nil {
		if b, err := json.Marshal(flash); err == nil {
			p.setCookie(flashCookie, base64.RawURLEncoding.EncodeToString(b), time.Minute)
		}
	}
	return p.Redirect(to, http.StatusSeeOther)
}

func (p *pageCtx) takeFlash() *views.Flash {
	raw := p.Cookies(flashCookie)
	if raw == "" {
		return nil
	}
	p.setCookie(flashCookie, "", -time.Hour)
	var f views.Flash
	b, err := base64.RawURLEncoding.DecodeString(raw)
	if err != nil || json.Unmarshal(b, &f) != nil {
		return nil
	}
	if f.LinkURL != "" {
		f.LinkURL = localPath(f.LinkURL)
	}
	return &f
}

// setCookie sets a cookie that scripts cannot read. A negative life deletes it.
func (p *pageCtx) setCookie(name, value string, life time.Duration) {
	p.Cookie(&fiber.Cookie{Name: name, Value: value, Path: cmp.Or(p.app.Cfg.BasePath(), "/"), Expires: time.Now().Add(life), HTTPOnly: true,
		Secure: strings.HasPrefix(p.app.Cfg.BaseURL, "https://"), SameSite: fiber.CookieSameSiteLaxMode})
}

// ServeStatic serves what browsers load beside the pages.
func (a *Pages) ServeStatic(c *fiber.Ctx) error {
	f := static.Lookup(c.Path())
	if f == nil {
		return fiber.ErrNotFound
	}
	c.Set(fiber.HeaderContentType, f.Type)
	c.Set(fiber.HeaderCacheControl, static.CacheControl)
	c.Set(fiber.HeaderVary, fiber.HeaderAcceptEncoding)
	accept := &c.Request().Header
	if accept.HasAcceptEncoding("br") && len(f.Brotli()) < len(f.Body) {
		c.Set(fiber.HeaderContentEncoding, "br")
		return c.Send(f.Brotli())
	}
	if accept.HasAcceptEncoding("gzip") && len(f.Gzip) < len(f.Body) {
		c.Set(fiber.HeaderContentEncoding, "gzip")
		return c.Send(f.Gzip)
	}
	return c.Send(f.Body)
}
