package pages

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// challengeCookie holds the token of what this browser was asked to have signed by a passkey.
const challengeCookie = "waybill_passkey"

// passkeyRoutes lists the pages about one's own passkeys. Their script asks for a challenge, and sends the answer in a form.
func (a *Pages) passkeyRoutes() []pageRoute {
	get, post := http.MethodGet, http.MethodPost
	account := func(*pageCtx) string { return views.AccountURL() }
	adding := func(*pageCtx) string { return views.NewPasskeyURL() }
	return []pageRoute{
		{get, views.NewPasskeyURL(), "", nil, a.recent(a.newPasskeyPage)},
		{post, views.NewPasskeyURL(), "", nil, a.recent(a.addPasskey)},
		{post, views.NewPasskeyURL() + "/begin", "", nil, a.recentAt(adding, a.beginAddPasskey)},
		{post, views.PasskeyURL(":passkey", "rename"), "", nil, a.renamePasskey},
		{post, views.PasskeyURL(":passkey", "remove"), "", nil, a.recentAt(account, a.removePasskey)},
		{post, views.ConfirmPath() + "/passkey", "", nil, a.confirmByPasskey},
		{post, views.ConfirmPath() + "/passkey/begin", "", nil, a.beginConfirmByPasskey},
	}
}

// passkeysOff refuses passkeys where the server takes none.
func (a *Pages) passkeysOff() error {
	if why := a.PasskeysOff(); why != "" {
		return &models.Error{Kind: models.KindConflict, Message: "This server takes no passkeys: " + why}
	}
	return nil
}

// mayPasskey reports whether a user can show who they are by a passkey here.
func (a *Pages) mayPasskey(ctx context.Context, u *models.User) (bool, error) {
	if a.PasskeysOff() != "" || u.Passkeys == 0 {
		return false, nil
	}
	n, err := a.Store.UsablePasskeys(ctx, u)
	return n > 0, err
}

// challenge answers the script with what to have signed, or why not.
func (p *pageCtx) challenge(c *models.Challenge, err error) error {
	p.Set(fiber.HeaderCacheControl, "no-store")
	if err != nil {
		refusal := models.AsError(err)
		if refusal.Kind == models.KindInternal || refusal.Kind == models.KindUnavailable {
			return err
		}
		api.SayWhen(p.Ctx, refusal)
		return p.Status(refusal.Status()).JSON(map[string]string{"error": refusal.Message})
	}
	p.setCookie(challengeCookie, c.Token, models.ChallengeLength)
	p.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSONCharsetUTF8)
	return p.Send(c.Options)
}

// answered is what the passkey has signed, for the challenge of this browser, which ends with it.
func (p *pageCtx) answered() (challenge string, answer []byte) {
	challenge = p.Cookies(challengeCookie)
	p.setCookie(challengeCookie, "", -time.Hour)
	return challenge, []byte(p.form().Value("credential"))
}

// beginPasskeyLogin begins a login by a passkey alone.
func (a *Pages) beginPasskeyLogin(ctx context.Context, p *pageCtx) error {
	if err := a.passkeysOff(); err != nil {
		return p.challenge(nil, err)
	}
	return p.challenge(a.Store.BeginPasskeyLogin(ctx, p.network().String()))
}

func (a *Pages) doPasskeyLogin(ctx context.Context, p *pageCtx) error {
	form := p.form()
	challenge, answer := p.answered()
	err := a.passkeysOff()
	var u *models.User
	var session string
	if err == nil {
		u, session, err = a.Store.PasskeyLogin(ctx, challenge, answer)
	}
	if err != nil {
		name := "passkey"
		if u != nil {
			name = u.Email
		}
		if form.Err = a.passkeyRefused(ctx, p, "session.login", name, err); form.Err == nil {
			return err
		}
		return p.render(ctx, form.Err.Status(), views.LoginPage(views.Login{Page: refused(p.frame("Log in", "")), Form: form,
			Ways: a.ways(ctx, views.ProviderURL(localPath(form.Value("return"))))}))
	}
	return a.loggedIn(p, u, session, form.Value("return"))
}

// loggedIn leads somebody who has logged in to where they wanted.
func (a *Pages) loggedIn(p *pageCtx, u *models.User, session, back string) error {
	if err := p.rememberBrowser(u.Email); err != nil {
		return err
	}
	p.setCookie(stepCookie, "", -time.Hour)
	p.setCookie(SessionCookie, session, models.SessionLength)
	return p.Redirect(localPath(back), http.StatusSeeOther)
}

// passkeyRefused is why a passkey was refused; nil for what is no refusal. The log has more, and the audit log no more than the first of
// many from one network: anybody can have passkeys refused.
func (a *Pages) passkeyRefused(ctx context.Context, p *pageCtx, action, object string, err error) *models.Error {
	refusal := api.Refusal(err)
	if refusal == nil {
		return nil
	}
	a.Log.Info("a passkey was refused", "action", action, "error", err)
	_, again, try := a.Store.BeginLogin(ctx, models.LoginFrom{Purpose: "passkey-", Network: p.network()})
	if again || try != nil && !models.IsKind(try, models.KindLimited) {
		return refusal
	}
	if p.who != nil {
		a.AuditFailure(ctx, p.call, models.AllTenants(), action, object, refusal)
	} else {
		a.auditVisitor(ctx, p, action, object, refusal)
	}
	return refusal
}

// beginCodeByPasskey begins the second step of a login.
func (a *Pages) beginCodeByPasskey(ctx context.Context, p *pageCtx) error {
	u, err := a.stepUser(ctx, p)
	if err == nil && u == nil {
		err = errStepOver
	}
	if err == nil {
		err = a.passkeysOff()
	}
	if err != nil {
		return p.challenge(nil, err)
	}
	return p.challenge(a.Store.BeginPasskeyCode(ctx, u))
}

var errStepOver = &models.Error{Kind: models.KindUnauthorized, Message: "This login has waited too long. Log in again."}

// doCodeByPasskey ends the second step of a login.
func (a *Pages) doCodeByPasskey(ctx context.Context, p *pageCtx) error {
	u, err := a.stepUser(ctx, p)
	if err != nil {
		return err
	}
	if u == nil {
		return p.done(views.LoginURL(), &views.Flash{Tone: views.ToneInfo, Text: errStepOver.Message})
	}
	form := p.form()
	challenge, answer := p.answered()
	var session string
	if err = a.passkeysOff(); err == nil {
		session, err = a.Store.FinishStepByPasskey(ctx, u, p.Cookies(stepCookie), challenge, answer)
	}
	if err != nil {
		if form.Err = a.passkeyRefused(ctx, p, "session.login", u.Email, err); form.Err == nil {
			return err
		}
		return a.showCode(ctx, p, u, form)
	}
	return a.loggedIn(p, u, session, form.Value("return"))
}

func (a *Pages) beginConfirmByPasskey(ctx context.Context, p *pageCtx) error {
	u, err := a.self(ctx, p)
	if err == nil {
		err = a.passkeysOff()
	}
	if err != nil {
		return p.challenge(nil, err)
	}
	return p.challenge(a.Store.BeginPasskeyConfirm(ctx, u))
}

func (a *Pages) confirmByPasskey(ctx context.Context, p *pageCtx) error {
	if err := noUser(p); err != nil {
		return err
	}
	form := p.form()
	back := localPath(form.Value("return"))
	challenge, answer := p.answered()
	err := a.passkeysOff()
	var token string
	if err == nil {
		token, err = a.Store.ConfirmByPasskey(ctx, p.call.Actor, challenge, answer)
	}
	if err != nil {
		if form.Err = a.passkeyRefused(ctx, p, "session.confirm", p.call.Actor.Session.ID(), err); form.Err == nil {
			return err
		}
		return a.showConfirm(ctx, p, back, form)
	}
	p.setCookie(SessionCookie, token, models.SessionLength)
	return p.Redirect(back, http.StatusSeeOther)
}

// self is the viewer.
func (a *Pages) self(ctx context.Context, p *pageCtx) (*models.User, error) {
	if err := noUser(p); err != nil {
		return nil, err
	}
	return a.Store.UserOf(ctx, p.call.Actor)
}

func (a *Pages) newPasskeyPage(ctx context.Context, p *pageCtx) error {
	return a.showNewPasskey(ctx, p, views.Form{Values: map[string][]string{"name": {views.BrowserWords(p.call.Browser)}}})
}

func (a *Pages) showNewPasskey(ctx context.Context, p *pageCtx, form views.Form) error {
	if err := noUser(p); err != nil {
		return err
	}
	v := views.NewPasskey{Page: p.factorFrame("Add a passkey"), Form: form, Off: a.PasskeysOff()}
	status := p.status(&v.Page, form.Err)
	return p.render(ctx, status, views.NewPasskeyPage(v))
}

func (a *Pages) beginAddPasskey(ctx context.Context, p *pageCtx) error {
	u, err := a.self(ctx, p)
	if err == nil {
		err = a.passkeysOff()
	}
	if err != nil {
		return p.challenge(nil, err)
	}
	return p.challenge(a.Store.BeginAddPasskey(ctx, u))
}

func (a *Pages) addPasskey(ctx context.Context, p *pageCtx) error {
	u, err := a.self(ctx, p)
	if err != nil {
		return err
	}
	form := p.form()
	challenge, answer := p.answered()
	if err = a.passkeysOff(); err == nil {
		_, err = a.Store.AddPasskey(ctx, u, challenge, form.Value("name"), answer)
	}
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		a.Log.Info("a passkey was not added", "user", u.ID(), "error", err)
		delete(form.Values, "credential")
		return a.showNewPasskey(ctx, p, form)
	}
	return p.done(views.AccountURL(), said("The passkey “"+strings.TrimSpace(form.Value("name"))+"” is added. You can log in with it alone."))
}

func (a *Pages) renamePasskey(ctx context.Context, p *pageCtx) error {
	u, err := a.self(ctx, p)
	if err != nil {
		return err
	}
	if _, err := a.Store.RenamePasskey(ctx, p.call.Actor, u, p.Params("passkey"), p.form().Value("name")); err != nil {
		if e := api.Refusal(err); e != nil && len(e.Fields) > 0 {
			return p.done(views.AccountURL(), &views.Flash{Tone: views.ToneBad, Text: "The name of a passkey " + e.Fields["name"] + "."})
		}
		return p.failed(views.AccountURL(), err)
	}
	return p.done(views.AccountURL(), said("The passkey is renamed."))
}

func (a *Pages) removePasskey(ctx context.Context, p *pageCtx) error {
	u, err := a.self(ctx, p)
	if err != nil {
		return err
	}
	if err := a.Store.RemovePasskey(ctx, p.call.Actor, u, p.Params("passkey"), a.LoginWays()); err != nil {
		return p.failed(views.AccountURL(), err)
	}
	return p.done(views.AccountURL(), said("The passkey is removed. Remove it from your device, too."))
}

// disconnect parts the viewer from their account at a login provider.
func (a *Pages) disconnect(ctx context.Context, p *pageCtx) error {
	u, err := a.self(ctx, p)
	if err != nil {
		return err
	}
	if err := a.Store.Disconnect(ctx, p.call.Actor, u, p.Params("identity"), a.LoginWays()); err != nil {
		return p.failed(views.AccountURL(), err)
	}
	return p.done(views.AccountURL(), said("Your account there is not connected any more."))
}
