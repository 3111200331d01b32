package pages

import (
	"context"
	"net/http"
	"net/mail"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// setupPage asks for the first user. It exists until there is one.
func (a *Pages) setupPage(ctx context.Context, p *pageCtx) error {
	if err := a.setupOpen(ctx); err != nil {
		return err
	}
	p.Set("Cache-Control", "no-store") // its address may hold the code
	return p.render(ctx, http.StatusOK, views.SetupPage(views.Setup{Page: p.frame("Set up Waybill", ""),
		Form: views.Form{Values: map[string][]string{"code": {p.Query("code")}}}}))
}

// setupOpen returns an error when the set-up is over.
func (a *Pages) setupOpen(ctx context.Context) error {
	has, err := a.Store.HasUsers(ctx)
	if err == nil && has {
		err = &models.Error{Kind: models.KindNotFound, Message: "The set-up is over: there is a user already. Log in."}
	}
	return err
}

// doSetup makes the first user, logs them in and shows a first API key, this once.
func (a *Pages) doSetup(ctx context.Context, p *pageCtx) error {
	if err := a.setupOpen(ctx); err != nil {
		return err
	}
	form := p.form()
	again := func(err error) error {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		api.SayWhen(p.Ctx, form.Err)
		return p.render(ctx, form.Err.Status(), views.SetupPage(views.Setup{Page: refused(p.frame("Set up Waybill", "")), Form: form}))
	}
	try, _, err := a.Store.BeginLogin(ctx, models.LoginFrom{Purpose: "setup-", Network: p.network()})
	if err != nil {
		return again(err)
	}
	ok, err := a.Store.CheckSetupCode(ctx, strings.TrimSpace(form.Value("code")))
	if err != nil {
		return err
	}
	if !ok {
		return again(models.Invalid("code", "is not the one in the server's log"))
	}
	if err := a.Store.LoginSucceeded(ctx, try); err != nil {
		return err
	}
	u, token, err := a.Store.SetUp(ctx, models.UserInput{Name: form.Value("name"), Email: form.Value("email"),
		Password: form.Value("password")})
	if err != nil {
		return again(err)
	}
	if err := p.rememberBrowser(u.Email); err != nil {
		return err
	}
	p.setCookie(SessionCookie, token, models.SessionLength)
	p.call.Actor = &models.Actor{Name: u.Name, Kind: models.ActorUser, Scope: models.AllTenants(), May: u.Role.May(), UserID: u.Key,
		Role: u.Role}
	p.who = p.call.Actor
	ctx = models.WithAsker(ctx, p.call.Asker())
	in := models.APIKeyInput{Name: "First key", Scopes: []models.Permission{models.MayPublish, models.MayRead, models.MayWrite,
		models.MayRetry}}
	return p.createdKey(ctx, in, "Your first API key", views.HomeURL())
}

func (a *Pages) loginPage(ctx context.Context, p *pageCtx) error {
	if actor, err := a.viewer(ctx, p.Ctx); err != nil {
		return err
	} else if actor != nil {
		return p.Redirect(localPath(p.Query("return")), http.StatusSeeOther)
	}
	if has, err := a.Store.HasUsers(ctx); err != nil {
		return err
	} else if !has {
		return p.Redirect(views.SetupURL(), http.StatusSeeOther)
	}
	v := views.Login{Page: p.frame("Log in", ""), Form: views.Form{Values: map[string][]string{"return": {p.Query("return")}}},
		Ways: a.ways(ctx, views.ProviderURL(localPath(p.Query("return"))))}
	switch {
	case v.Flash != nil: // it says why

	case p.Query("ended") != "":
		v.Notice = "Your session has ended. Log in to go on."
	case p.Query("return") != "":
		v.Notice = "Log in to see this page."
	}
	return p.render(ctx, http.StatusOK, views.LoginPage(v))
}

func (a *Pages) doLogin(ctx context.Context, p *pageCtx) error {
	form := p.form()
	email := strings.ToLower(strings.TrimSpace(form.Value("email")))
	var try *models.LoginTry
	var again bool
	var u *models.User
	err := a.passwordsOff()
	if err == nil {
		try, again, err = a.Store.BeginLogin(ctx, models.LoginFrom{Account: email, Network: p.network(), Browser: p.knownBrowser(email)})
	}
	if err == nil {
		u, err = a.Store.Login(ctx, email, form.Value("password"))
	}
	if err != nil {
		form.Err = api.Refusal(err)
		if form.Err == nil {
			return err
		}
		if !again && !a.Cfg.OIDC.Only {
			name := loginName(email)
			a.auditVisitor(ctx, p, "session.login", name, err)
		}
		delete(form.Values, "password")
		api.SayWhen(p.Ctx, form.Err)
		return p.render(ctx, form.Err.Status(), views.LoginPage(views.Login{Page: refused(p.frame("Log in", "")), Form: form,
			Ways: a.ways(ctx, views.ProviderURL(localPath(form.Value("return"))))}))
	}
	if err := a.Store.LoginSucceeded(ctx, try); err != nil {
		return err
	}
	more, err := a.hasSecondStep(ctx, u)
	if err != nil {
		return err
	}
	if more {
		return a.toSecondStep(ctx, p, u, models.ProviderSession{}, form.Value("return"))
	}
	token, err := a.Store.StartSession(ctx, u)
	if err != nil {
		return err
	}
	return a.loggedIn(p, u, token, form.Value("return"))
}

// loginName is what the audit log keeps of what somebody typed for an e-mail address: what is none may be a password.
func loginName(typed string) string {
	if a, err := mail.ParseAddress(typed); err != nil || a.Address != typed {
		return "not an e-mail address"
	}
	return typed
}

func (a *Pages) logout(ctx context.Context, p *pageCtx) error {
	if err := a.Store.EndSession(ctx, p.Cookies(SessionCookie)); err != nil {
		return err
	}
	p.setCookie(SessionCookie, "", -time.Hour)
	return p.done(views.LoginURL(), said("You have logged out."))
}

// portalPage asks whoever followed a portal link to open the dashboard with a button. Opening the page changes nothing:
// programs that scan mails and chats open the links in them, and would use up one that can be used once.
func (a *Pages) portalPage(ctx context.Context, p *pageCtx) error {
	p.Set("Cache-Control", "no-store")
	token := p.Params("token")
	tenant, theme, err := a.Store.PortalLink(ctx, token)
	if err != nil {
		return err
	}
	v := views.Portal{Page: p.frame("Open the dashboard", ""), Tenant: tenant, Action: views.PortalURL(token)}
	if theme != "" {
		v.Theme = theme
	}
	return p.render(ctx, http.StatusOK, views.PortalPage(v))
}

// usePortalLink exchanges a link for a session of one tenant, and leads to an address without the token.
func (a *Pages) usePortalLink(ctx context.Context, p *pageCtx) error {
	p.Set("Referrer-Policy", "no-referrer")
	p.Set("Cache-Control", "no-store")
	session, tenant, theme, err := a.Store.UsePortalLink(ctx, p.Params("token"))
	if err != nil {
		return err
	}
	p.setCookie(SessionCookie, session, 24*time.Hour)
	if theme != "" {
		p.setCookie(themeCookie, theme, preferenceLength)
	}
	return p.Redirect(views.OverviewURL(tenant), http.StatusSeeOther)
}

// preferenceLength is how long a browser keeps a viewer's preferences.
const preferenceLength = 365 * 24 * time.Hour

// setPreferences keeps what a viewer prefers in cookies of their browser.
func (a *Pages) setPreferences(_ context.Context, p *pageCtx) error {
	form := p.form()
	switch theme := form.Value("theme"); theme {
	case "light", "dark":
		p.setCookie(themeCookie, theme, preferenceLength)
	case "system":
		p.setCookie(themeCookie, "", -time.Hour)
	}
	switch form.Value("times") {
	case "utc":
		p.setCookie(timesCookie, "utc", preferenceLength)
	case "local":
		p.setCookie(timesCookie, "", -time.Hour)
	}
	if tenant, hide := strings.CutPrefix(form.Value("steps"), "hide:"); hide && tenant != "" {
		p.hideSteps(tenant)
	}
	if form.Value("all") == "" {
		return p.Redirect(localPath(form.Value("return")), http.StatusSeeOther)
	}
	if form.Value("shortcuts") == "true" {
		p.setCookie(shortcutsCookie, "", -time.Hour)
	} else {
		p.setCookie(shortcutsCookie, "off", preferenceLength)
	}
	return p.done(localPath(form.Value("return")), said("Preferences saved in this browser."))
}

// auditVisitor notes what somebody tried and failed with who is not logged in, under the name that they gave.
func (a *Pages) auditVisitor(ctx context.Context, p *pageCtx, action, name string, why error) {
	p.call.Actor = &models.Actor{Name: name, Kind: models.ActorVisitor}
	a.AuditFailure(ctx, p.call, models.AllTenants(), action, name, why)
	p.call.Actor = &models.Actor{}
}
