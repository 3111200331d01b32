package pages

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// accountRoutes lists the pages about one's own account. They are for everybody who has logged in; the API, which has no users,
// does the same to users for administrators.
func (a *Pages) accountRoutes() []pageRoute {
	get, post := http.MethodGet, http.MethodPost
	return append(a.passkeyRoutes(), []pageRoute{
		{get, views.AccountURL(), "", nil, a.accountPage},
		{post, views.AccountURL(), "", nil, a.recent(a.saveAccount)},
		{post, views.AccountURL("password"), "", nil, a.changePassword},
		{post, views.AccountURL("identities", ":identity", "disconnect"), "", nil,
			a.recentAt(func(*pageCtx) string { return views.AccountURL() }, a.disconnect)},
		{post, views.AccountURL("sessions", "end"), "", nil, a.endOtherSessions},
		{post, views.AccountURL("sessions", ":session", "end"), "", nil, a.endOwnSession},
		{get, views.AccountURL(factorPart), "", nil, a.recent(a.factorPage)},
		{post, views.AccountURL(factorPart), "", nil, a.recent(a.enableFactor)},
		{post, views.AccountURL(factorPart, "codes"), "", nil, a.recentAt(factorAddress, a.newRecoveryCodes)},
		{post, views.AccountURL(factorPart, "remove"), "", nil, a.recentAt(factorAddress, a.removeFactor)},
		{get, views.ConfirmPath(), "", nil, a.confirmPage},
		{post, views.ConfirmPath(), "", nil, a.doConfirm},
		{get, views.ConfirmByProviderPath(), "", nil, a.confirmByProvider},
	}...)
}

// recent asks for the password first where it was given too long ago. What was typed into a form is then gone, so the page of the
// form asks, too.
func (a *Pages) recent(h pageHandler) pageHandler {
	return a.recentAt(func(p *pageCtx) string { return p.OriginalURL() }, h)
}

// recentAt is recent for what is asked for on a page at another address.
func (a *Pages) recentAt(back func(p *pageCtx) string, h pageHandler) pageHandler {
	return func(ctx context.Context, p *pageCtx) error {
		who := p.call.Actor
		if who.UserID == uuid.Nil || who.Session.Recent(time.Now()) {
			return h(ctx, p)
		}
		return p.Redirect(views.ConfirmURL(back(p)), http.StatusSeeOther)
	}
}

// secretsAddress is the page of a destination's secrets.
func secretsAddress(p *pageCtx) string {
	return views.DestinationURL(p.tenantID(), p.Params("destination"), "secrets")
}

func (a *Pages) confirmPage(ctx context.Context, p *pageCtx) error {
	if err := noUser(p); err != nil {
		return err
	}
	return a.showConfirm(ctx, p, localPath(p.Query("return")), views.Form{})
}

// showConfirm asks for the password, or leads to the provider.
func (a *Pages) showConfirm(ctx context.Context, p *pageCtx, back string, form views.Form) error {
	u, err := a.Store.UserOf(ctx, p.call.Actor)
	if err != nil {
		return err
	}
	v := views.ConfirmLogin{Ways: a.ways(ctx, views.ConfirmByProviderURL(back)), Form: form}
	if v.Ways.Passkey, err = a.mayPasskey(ctx, u); err != nil {
		return err
	}
	title := "Enter your password"
	if v.Ways.Password = v.Ways.Password && u.HasPassword; !v.Ways.Password {
		title = "Log in again"
	}
	v.Page = p.frame(title, "")
	v.Form.Values = map[string][]string{"return": {back}}
	status := p.status(&v.Page, form.Err)
	return p.render(ctx, status, views.ConfirmLoginPage(v))
}

func (a *Pages) doConfirm(ctx context.Context, p *pageCtx) error {
	if err := noUser(p); err != nil {
		return err
	}
	form := p.form()
	back := localPath(form.Value("return"))
	err := a.givePassword(ctx, p, "password", form.Value("password"))
	var token string
	if err == nil {
		token, err = a.Store.ConfirmSession(ctx, p.call.Actor)
	}
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		return a.showConfirm(ctx, p, back, form)
	}
	p.setCookie(SessionCookie, token, models.SessionLength)
	return p.Redirect(back, http.StatusSeeOther)
}

// givePassword returns an error unless a password is the viewer's. Tries count as those at logins do; a failed one is in the audit
// log.
func (a *Pages) givePassword(ctx context.Context, p *pageCtx, field, password string) error {
	if err := a.passwordsOff(); err != nil {
		return err
	}
	u, err := a.Store.UserOf(ctx, p.call.Actor)
	if err != nil {
		return err
	}
	try, again, err := a.Store.BeginLogin(ctx, models.LoginFrom{Account: u.Email, Network: p.network(), Browser: p.knownBrowser(u.Email)})
	if err == nil {
		err = a.Store.CheckPassword(ctx, u.Key, field, password)
	}
	if err != nil {
		if !again && api.Refusal(err) != nil {
			a.AuditFailure(ctx, p.call, models.AllTenants(), "session.confirm", p.call.Actor.Session.ID(), err)
		}
		return err
	}
	return a.Store.LoginSucceeded(ctx, try)
}

func (a *Pages) accountPage(ctx context.Context, p *pageCtx) error {
	return a.showAccount(ctx, p, views.Account{})
}

// showAccount shows the account, with the forms of v that were refused.
func (a *Pages) showAccount(ctx context.Context, p *pageCtx, v views.Account) error {
	if err := noUser(p); err != nil {
		return err
	}
	u, err := a.Store.UserOf(ctx, p.call.Actor)
	if err != nil {
		return err
	}
	v.Page, v.User, v.Current = p.frame("Your account", views.SectionAccount), u, p.call.Actor.Session.Key
	v.API = apiCallOf("GET", "", "/account")
	if v.Sessions, err = a.Store.Sessions(ctx, u.Key); err != nil {
		return err
	}
	v.NoPassword = a.Cfg.OIDC.Only || !u.HasPassword
	if a.provider != nil {
		v.Provider, v.Issuer = a.Cfg.OIDC.Name, a.Cfg.OIDC.Issuer
	}
	if v.Identities, err = a.Store.Identities(ctx, u.Key); err != nil {
		return err
	}
	if v.Passkeys, err = a.Store.Passkeys(ctx, u.Key); err != nil {
		return err
	}
	v.PasskeysOff = a.PasskeysOff()
	if v.Profile.Values == nil {
		v.Profile.Values = map[string][]string{"name": {u.Name}, "email": {u.Email}}
	}
	status := p.status(&v.Page, cmp.Or(v.Password.Err, v.Profile.Err))
	return p.render(ctx, status, views.AccountPage(v))
}

func (a *Pages) saveAccount(ctx context.Context, p *pageCtx) error {
	if err := noUser(p); err != nil {
		return err
	}
	form := p.form()
	u, err := a.Store.UserOf(ctx, p.call.Actor)
	if err != nil {
		return err
	}
	was := u.Email
	if err := a.Store.ChangeProfile(ctx, u, form.Value("name"), form.Value("email")); err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		return a.showAccount(ctx, p, views.Account{Profile: form})
	}
	if u.Email != was {
		if err := p.rememberBrowser(u.Email); err != nil {
			return err
		}
	}
	return p.done(views.AccountURL(), said("Your account is saved."))
}

func (a *Pages) changePassword(ctx context.Context, p *pageCtx) error {
	if err := noUser(p); err != nil {
		return err
	}
	form := p.form()
	u, err := a.Store.UserOf(ctx, p.call.Actor)
	if err != nil {
		return err
	}
	err = a.givePassword(ctx, p, "present", form.Value("present"))
	var token string
	if err == nil {
		token, err = a.Store.ChangePassword(ctx, u, form.Value("password"))
	}
	if err != nil {
		refusal := api.Refusal(err)
		if refusal == nil {
			return err
		}
		return a.showAccount(ctx, p, views.Account{Password: views.Form{Err: refusal}})
	}
	p.setCookie(SessionCookie, token, models.SessionLength)
	return p.done(views.AccountURL(), said("Your password is changed. All your other sessions have ended."))
}

func (a *Pages) endOtherSessions(ctx context.Context, p *pageCtx) error {
	if err := noUser(p); err != nil {
		return err
	}
	u, err := a.Store.UserOf(ctx, p.call.Actor)
	if err != nil {
		return err
	}
	if _, err := a.Store.RevokeSessions(ctx, u, p.call.Actor.Session.Key); err != nil {
		return err
	}
	return p.done(views.AccountURL(), said("All your other sessions have ended."))
}

func (a *Pages) endOwnSession(ctx context.Context, p *pageCtx) error {
	if err := noUser(p); err != nil {
		return err
	}
	u, err := a.Store.UserOf(ctx, p.call.Actor)
	if err != nil {
		return err
	}
	if err := a.Store.RevokeSession(ctx, u, p.Params("session")); err != nil {
		return p.failed(views.AccountURL(), err)
	}
	return p.done(views.AccountURL(), said("The session has ended."))
}
