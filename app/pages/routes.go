package pages

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// publicPages lists the pages for those who have not logged in.
func (a *Pages) publicPages() []pageRoute {
	get, post := http.MethodGet, http.MethodPost
	routes := []pageRoute{
		{get, views.SetupURL(), "", nil, a.setupPage},
		{post, views.SetupURL(), "", nil, a.doSetup},
		{get, views.LoginURL(), "", nil, a.loginPage},
		{post, views.LoginURL(), "", nil, a.doLogin},
		{get, views.ProviderPath(), "", nil, a.toProvider},
		{get, views.ProviderReturnPath(), "", nil, a.providerReturn},
		{get, views.CodePath(), "", nil, a.codePage},
		{post, views.CodePath(), "", nil, a.doCode},
		{post, views.PasskeyLoginPath(), "", nil, a.doPasskeyLogin},
		{post, views.PasskeyLoginPath() + "/begin", "", nil, a.beginPasskeyLogin},
		{post, views.CodePath() + "/passkey", "", nil, a.doCodeByPasskey},
		{post, views.CodePath() + "/passkey/begin", "", nil, a.beginCodeByPasskey},
		{get, views.PortalURL(":token"), "", nil, a.portalPage},
		{post, views.PortalURL(":token"), "", nil, a.usePortalLink},
		{get, views.InviteURL(":token"), "", nil, a.invitePage},
		{post, views.InviteURL(":token"), "", nil, a.acceptInvitation},
		{get, views.UnsubscribeURL(":token"), "", nil, a.unsubscribePage},
		{post, views.UnsubscribeURL(":token"), "", nil, a.doUnsubscribe},
		{post, views.PreferencesURL(), "", nil, a.setPreferences},
		{get, views.APIDocsURL(), "", nil, a.apiDocsPage},
		{get, views.APIDocsURL() + "/:part", "", nil, a.apiDocsPartPage},
	}
	if a.provider != nil {
		routes = append(routes, pageRoute{post, views.ProviderLogoutPath(), "", nil, a.providerLogout})
	}
	if config.Version == "dev" {
		routes = append(routes, pageRoute{get, "/dev/components", "", nil, a.galleryPage})
	}
	return routes
}

// PageRoutes lists the dashboard's pages and actions, each with the requests of the API that do the same.
func (a *Pages) PageRoutes() []pageRoute {
	const (
		tenant      = "/t/:tenant"
		destination = tenant + "/destinations/:destination"
		delivery    = tenant + "/deliveries/:delivery"

		apiTenant      = "/tenants/:tenant"
		apiDestination = apiTenant + "/destinations/:destination"
	)
	get, post := http.MethodGet, http.MethodPost
	read, write, retry, admin := models.MayRead, models.MayWrite, models.MayRetry, models.MayAdmin
	twin := func(list ...string) []string { return list }
	return append([]pageRoute{
		{get, "/", "", nil, a.home},
		{post, views.LogoutURL(), "", nil, a.logout},

		{get, "/tenants", read, twin("GET /tenants"), a.tenantsPage},
		{get, "/tenants/new", write, twin("PUT " + apiTenant), a.newTenantPage},
		{post, "/tenants/new", write, twin("PUT " + apiTenant), a.createTenant},
		{get, "/api-keys", admin, twin("GET /api-keys"), a.keysPage},
		{get, "/api-keys/new", admin, twin("POST /api-keys"), a.recent(a.newKeyPage)},
		{post, "/api-keys/new", admin, twin("POST /api-keys"), a.recent(a.createKey)},
		{get, "/api-keys/:key", admin, twin("GET /api-keys/:key", "PATCH /api-keys/:key"), a.recent(a.keyPage)},
		{post, "/api-keys/:key", admin, twin("PATCH /api-keys/:key"), a.recent(a.changeKey)},
		{get, "/api-keys/:key/revoke", admin, twin("DELETE /api-keys/:key"), a.revokeKeyPage},
		{post, "/api-keys/:key/revoke", admin, twin("DELETE /api-keys/:key"), a.revokeKey},

		{get, "/server", read, twin("GET /server"), a.serverPage},
		{get, "/server/usage", read, twin("GET /usage"), a.usagePage},
		{get, "/server/usage/export", read, twin("GET /usage"), a.usageExport},
		{get, "/server/topic-retention", admin, twin("PUT /server/topic-retention"), a.topicRetentionPage},
		{post, "/server/topic-retention", admin, twin("PUT /server/topic-retention"), a.saveTopicRetention},
		{get, "/server/defaults", admin, twin("GET /settings"), a.defaultsPage},
		{post, "/server/defaults", admin, twin("PATCH /settings"), a.saveDefaults},
		{get, "/server/settings", admin, twin("GET /server/settings"), a.serverSettingsPage},
		{get, "/server/cells", admin, twin("GET /cells"), a.cellsPage},
		{post, "/server/cells/:cell/drain", admin, twin("PATCH /cells/:cell"), a.drainCell},
		{post, "/server/cells/:cell/undrain", admin, twin("PATCH /cells/:cell"), a.undrainCell},
		{get, "/server/moves", admin, twin("GET /moves"), a.movesPage},
		{get, "/server/moves/new", admin, twin("POST /moves"), a.newMovePage},
		{post, "/server/moves/new", admin, twin("POST /moves"), a.startMove},
		{get, "/server/moves/:move", admin, twin("GET /moves/:move"), a.movePage},
		{post, "/server/moves/:move/cancel", admin, twin("POST /moves/:move/cancel"), a.cancelMove},

		{get, tenant, read, twin("GET "+apiTenant, "GET /deliveries"), a.overviewPage},

		{get, tenant + "/find", read, twin("GET /events/:event", "GET /attempts/:attempt", "GET /deliveries/:delivery",
			"GET /retries/:retry", "GET "+apiDestination), a.find},
		{get, "/find", read, twin("GET /tenants"), a.find},
		{get, tenant + "/help", read, nil, a.helpPage},
		{get, "/help", "", nil, a.helpPage},

		{get, tenant + "/find/names", read, twin("GET /find"), a.findNames},
		{get, "/find/names", read, twin("GET /find"), a.findNames},

		{get, tenant + "/destinations", read, twin("GET " + apiTenant + "/destinations"), a.destinationsPage},
		{get, tenant + "/destinations/new", write, twin("POST " + apiTenant + "/destinations"), a.newDestinationPage},
		{post, tenant + "/destinations/new", write, twin("POST " + apiTenant + "/destinations"), a.createDestinationPage},
		{get, tenant + "/selected-destinations", read, twin("GET " + apiTenant + "/destinations"), a.chosenPage("")},
		{get, tenant + "/selected-destinations/enable", write, twin("POST /destinations/enable"), a.chosenPage(views.DoEnable)},
		{post, tenant + "/selected-destinations/enable", write, twin("POST /destinations/enable"), a.enableChosen},
		{get, tenant + "/selected-destinations/disable", write, twin("POST /destinations/disable"), a.chosenPage(views.DoDisable)},
		{post, tenant + "/selected-destinations/disable", write, twin("POST /destinations/disable"), a.disableChosen},
		{get, destination, read, twin("GET "+apiDestination, "GET "+apiDestination+"/health"), a.destinationPage},
		{get, destination + "/deliveries", read, twin("GET /deliveries"), a.destinationDeliveriesPage},
		{get, destination + "/filter", read, twin("GET "+apiDestination+"/filter", "POST /filters/test", "POST /filters/convert"),
			a.filterPage},
		{post, destination + "/filter", write, twin("PATCH " + apiDestination), a.filterAction},
		{get, destination + "/filter/send", retry, twin("POST " + apiDestination + "/filtered"), a.sendFilteredPage},
		{post, destination + "/filter/send", retry, twin("POST " + apiDestination + "/filtered"), a.doSendFiltered},
		{get, tenant + "/docs/filters", read, nil, a.filterHelpPage},
		{get, destination + "/settings", write, twin("PATCH " + apiDestination), a.destinationSettingsPage},
		{post, destination + "/settings", write, twin("PATCH " + apiDestination), a.saveDestination},
		{get, destination + "/secrets", write, twin("POST " + apiDestination + "/secrets/reveal"), a.secretsPage},
		{post, destination + "/secrets/reveal", write, twin("POST " + apiDestination + "/secrets/reveal"), a.recentAt(secretsAddress, a.revealSecretPage)},
		{post, destination + "/secrets/rotate", write, twin("POST " + apiDestination + "/secrets/rotate"), a.recentAt(secretsAddress, a.rotateSecretPage)},
		{post, destination + "/secrets/previous/end", write, twin("POST " + apiDestination + "/secrets/previous/end"), a.endOverlap},
		{get, destination + "/activity", read, twin("GET /audit"), a.activityPage},
		{get, destination + "/test", write, twin("POST " + apiDestination + "/test"), a.testPage},
		{post, destination + "/test", write, twin("POST " + apiDestination + "/test"), a.sendTestPage},
		{post, destination + "/check", write, twin("POST " + apiDestination + "/check"), a.checkPage},
		{get, destination + "/disable", write, twin("PUT " + apiDestination + "/disable"), a.disablePage},
		{post, destination + "/disable", write, twin("PUT " + apiDestination + "/disable"), a.doDisable},
		{get, destination + "/enable", write, twin("PUT " + apiDestination + "/enable"), a.enablePage},
		{post, destination + "/enable", write, twin("PUT " + apiDestination + "/enable"), a.doEnable},
		{get, destination + "/delete", write, twin("DELETE " + apiDestination), a.deleteDestinationPage},
		{post, destination + "/delete", write, twin("DELETE " + apiDestination), a.doDeleteDestination},

		{get, tenant + "/events", read, twin("GET /events"), a.eventsPage},
		{get, tenant + "/events/live", read, twin("GET /events/stream"), a.liveEvents},
		{get, tenant + "/events/new", read, twin("GET /events/new"), a.newEvents},
		{get, tenant + "/events/counts", read, twin("GET /views"), a.eventCounts},
		{post, tenant + "/events/views", write, twin("POST /views"), a.saveView},
		{post, tenant + "/events/views/:view/delete", write, twin("DELETE /views/:view"), a.deleteView},
		{post, tenant + "/events/cancel", retry, twin("POST /deliveries/cancel"), a.cancelEvents},
		{get, "/events", read, twin("GET /events"), a.eventsPage},
		{get, "/events/counts", read, twin("GET /views"), a.eventCounts},
		{post, "/events/views", write, twin("POST /views"), a.saveView},
		{post, "/events/views/:view/delete", write, twin("DELETE /views/:view"), a.deleteView},
		{get, "/events/live", read, twin("GET /events/stream"), a.liveEvents},
		{get, "/events/new", read, twin("GET /events/new"), a.newEvents},
		{get, tenant + "/events/export", read, twin("GET /events/export"), exportPage(a, a.ExportEvents)},
		{get, "/events/export", read, twin("GET /events/export"), exportPage(a, a.ExportEvents)},
		{get, tenant + "/deliveries/export", read, twin("GET /deliveries/export"), exportPage(a, a.ExportDeliveries)},
		{get, tenant + "/attempts/export", read, twin("GET /attempts/export"), exportPage(a, a.ExportAttempts)},
		{get, tenant + "/events/:event", read, twin("GET /events/:event", "GET /events/:event/deliveries"), a.eventPage},
		{get, tenant + "/events/:event/data", read, twin("GET /events/:event/data"), a.eventData},
		{post, tenant + "/events/:event/retry", retry, twin("POST /retry"), a.retryEvent},
		{get, tenant + "/attempts", read, twin("GET /attempts"), a.attemptsPage},
		{get, tenant + "/attempts/compare", read, twin("GET /attempts/:attempt"), a.comparePage},
		{get, tenant + "/attempts/:attempt", read, twin("GET /attempts/:attempt"), a.attemptPage},
		{post, delivery + "/retry", retry, twin("POST /retry"), a.retryDelivery},
		{post, delivery + "/cancel", retry, twin("POST /deliveries/:delivery/cancel"), a.cancelDeliveryPage},

		{get, tenant + "/retries", read, twin("GET /retries"), a.retriesPage},
		{get, tenant + "/retries/new", retry, twin("POST /retries/plan"), a.newRetryPage},
		{post, tenant + "/retries/new", retry, twin("POST /retries"), a.startRetryPage},
		{get, tenant + "/retries/:retry", read, twin("GET /retries/:retry"), a.retryPage},
		{post, tenant + "/retries/:retry/pause", retry, twin("POST /retries/:retry/pause"), a.pauseRetryPage},
		{post, tenant + "/retries/:retry/resume", retry, twin("POST /retries/:retry/resume"), a.resumeRetryPage},
		{post, tenant + "/retries/:retry/cancel", retry, twin("POST /retries/:retry/cancel"), a.cancelRetryPage},

		{get, tenant + "/erasures", read, twin("GET /erasures"), a.erasuresPage},
		{get, tenant + "/erasures/new", admin, twin("POST /erasures/plan"), a.newErasurePage},
		{post, tenant + "/erasures/new", admin, twin("POST /erasures/plan", "POST /erasures"), a.startErasure},
		{get, tenant + "/erasures/:erasure", read, twin("GET /erasures/:erasure"), a.erasurePage},

		{get, tenant + "/export", admin, twin("GET " + apiTenant + "/export"), a.recent(a.tenantExportPage)},
		{get, tenant + "/export/download", admin, twin("GET " + apiTenant + "/export"), a.recentAt(exportAddress, a.downloadTenant)},

		{get, tenant + "/topics", read, twin("GET /topics", "GET /topics/:topic"), a.topicsPage},
		{post, tenant + "/topics", write, twin("PUT /topics/:topic"), a.saveTopic},
		{get, tenant + "/topics/delete", write, twin("DELETE /topics/:topic"), a.deleteTopicPage},
		{post, tenant + "/topics/delete", write, twin("DELETE /topics/:topic"), a.doDeleteTopic},

		{get, tenant + "/api-keys", admin, twin("GET /api-keys"), a.keysPage},
		{get, tenant + "/api-keys/new", admin, twin("POST /api-keys"), a.recent(a.newKeyPage)},
		{post, tenant + "/api-keys/new", admin, twin("POST /api-keys"), a.recent(a.createKey)},
		{get, tenant + "/api-keys/:key", admin, twin("GET /api-keys/:key", "PATCH /api-keys/:key"), a.recent(a.keyPage)},
		{post, tenant + "/api-keys/:key", admin, twin("PATCH /api-keys/:key"), a.recent(a.changeKey)},
		{get, tenant + "/api-keys/:key/revoke", admin, twin("DELETE /api-keys/:key"), a.revokeKeyPage},
		{post, tenant + "/api-keys/:key/revoke", admin, twin("DELETE /api-keys/:key"), a.revokeKey},

		{get, tenant + "/usage", read, twin("GET /usage"), a.usagePage},
		{get, tenant + "/usage/export", read, twin("GET /usage"), a.usageExport},
		{get, tenant + "/settings", read, nil, a.settingsPage},
		{get, tenant + "/settings/tenant", admin, twin("PATCH " + apiTenant + "/settings"), a.tenantSettingsPage},
		{post, tenant + "/settings/tenant", admin, twin("PATCH " + apiTenant + "/settings"), a.saveTenantSettings},
	}, slices.Concat(a.auditPageRoutes(tenant), a.auditPageRoutes(""), a.alertPageRoutes(tenant, apiTenant), a.alertPageRoutes("", ""), a.userPageRoutes(tenant, apiTenant))...)
}

// apiCallOf is the call of the API that a page tells about, with the tenant's and the object's ids filled in.
func apiCallOf(method, body string, parts ...string) *views.APICall {
	return &views.APICall{Method: method, Path: api.APIPrefix + strings.Join(parts, ""), Body: body}
}

// home leads to where a viewer's work is: to their only tenant, or to the list of tenants.
func (a *Pages) home(ctx context.Context, p *pageCtx) error {
	if id := p.call.Actor.TenantID; id != "" {
		return p.Redirect(views.OverviewURL(id), http.StatusSeeOther)
	}
	if !p.call.Scope().All() {
		return a.choosePage(ctx, p)
	}
	list, count, err := a.Store.Tenants(ctx, p.call.Scope(), models.TenantQuery{Page: models.PageQuery{Limit: 1}})
	if err != nil {
		return err
	}
	if count == 1 && a.Cells() == nil {
		return p.Redirect(views.OverviewURL(list.Items[0].ID), http.StatusSeeOther)
	}
	return p.Redirect(views.TenantsURL(), http.StatusSeeOther)
}

func (a *Pages) galleryPage(ctx context.Context, p *pageCtx) error {
	return p.render(ctx, http.StatusOK, views.GalleryPage(views.Gallery{Page: p.frame("Components", "")}))
}

// errorPage shows an error as a page, within the navigation of whoever has logged in.
func (a *Pages) errorPage(c *fiber.Ctx, e *models.Error, id string) error {
	ctx, cancel := api.CallContext()
	defer cancel()
	pageHeaders(c)
	c.Set(fiber.HeaderCacheControl, "no-store")
	p := &pageCtx{Ctx: c, app: a, call: &api.Call{RequestID: id, Actor: &models.Actor{}}}
	v := views.Problem{Status: e.Status(), Message: e.Message, RequestID: id}
	if len(e.Fields) > 0 {
		v.Fields = e.Problems()
	}
	if e.Kind != models.KindInternal && e.Kind != models.KindUnavailable {
		a.errorViewer(ctx, p)
	}
	v.Back, v.BackText = wayOn(e.Kind, c.Method(), c.OriginalURL(), p.tenant)
	if e.Kind == models.KindMisdirected { // here, every other page is refused as well
		v.Back, v.BackText = a.Cfg.BaseURL+"/", "Open Waybill"
	}
	v.Page = p.frame(views.ProblemTitle(v.Status), "")
	v.Here = v.Back
	return p.render(ctx, v.Status, views.ProblemPage(v))
}

// wayOn is where somebody goes from an error's page: to the same page when that may work in a moment, else to the start.
func wayOn(kind models.Kind, method, url string, tenant *models.Tenant) (to, text string) {
	switch {
	case kind == models.KindUnavailable && method == http.MethodGet:
		return localPath(url), "Try again"
	case tenant != nil:
		return views.OverviewURL(tenant.ID), "Go to the overview"
	}
	return views.HomeURL(), "Go to the start"
}

// errorViewer finds out, as far as possible, who sees an error and in which tenant.
func (a *Pages) errorViewer(ctx context.Context, p *pageCtx) {
	actor, err := a.viewer(ctx, p.Ctx)
	if err != nil || actor == nil {
		return
	}
	p.call.Actor, p.who = actor, actor
	rest, ok := strings.CutPrefix(p.Path(), "/t/")
	if !ok {
		return
	}
	tenant, _, _ := strings.Cut(rest, "/")
	if t, err := a.Store.Tenant(ctx, actor.Scope, tenant); err == nil {
		p.tenant, p.call.Actor = t, actor.In(t)
	}
}
