package pages

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// factorPart is the part of the addresses below one's account that are about the second factor.
const factorPart = "second-factor"

// stepCookie holds the token of a login whose password was right.
const stepCookie = "waybill_login"

func factorAddress(*pageCtx) string { return views.AccountURL(factorPart) }

// needsFactor reports whether a viewer has to set a second factor up before the page.
func (a *Pages) needsFactor(who *models.Actor, r pageRoute) bool {
	return a.Cfg.RequireFactor && who.UserID != uuid.Nil && who.Role != models.RoleNone && !who.SecondFactor &&
		r.Path != views.LogoutURL() &&
		!strings.HasPrefix(r.Path, views.AccountURL(factorPart)) && !strings.HasPrefix(r.Path, views.ConfirmPath()) &&
		r.Path != views.NewPasskeyURL() && r.Path != views.NewPasskeyURL()+"/begin" && (!who.Passkey || a.PasskeysOff() != "")
}

// hasSecondStep reports whether more than a password is asked for at logins of a user: a code of their app or a passkey, which is enough
// for a server that asks everybody for a second factor.
func (a *Pages) hasSecondStep(ctx context.Context, u *models.User) (bool, error) {
	if u.SecondFactor || !a.Cfg.RequireFactor || u.Role == models.RoleNone {
		return u.SecondFactor, nil
	}
	return a.mayPasskey(ctx, u)
}

// toSecondStep goes on with the login of a user whose password was right.
func (a *Pages) toSecondStep(ctx context.Context, p *pageCtx, u *models.User, via models.ProviderSession, back string) error {
	token, err := a.Store.BeginStep(ctx, u, via)
	if err != nil {
		return err
	}
	p.setCookie(stepCookie, token, models.StepLength)
	return p.Redirect(views.CodeURL(localPath(back)), http.StatusSeeOther)
}

// stepUser is whose login waits for a code; nil for none.
func (a *Pages) stepUser(ctx context.Context, p *pageCtx) (*models.User, error) {
	token := p.Cookies(stepCookie)
	if token == "" {
		return nil, nil
	}
	return a.Store.StepUser(ctx, token)
}

func (a *Pages) codePage(ctx context.Context, p *pageCtx) error {
	u, err := a.stepUser(ctx, p)
	if err != nil {
		return err
	}
	if u == nil {
		return p.Redirect(views.LoginURL(), http.StatusSeeOther)
	}
	return a.showCode(ctx, p, u, views.Form{Values: map[string][]string{"return": {p.Query("return")}}})
}

func (a *Pages) showCode(ctx context.Context, p *pageCtx, u *models.User, form views.Form) error {
	v := views.LoginCode{Page: p.frame("Enter a code", ""), Code: u.SecondFactor, Form: form}
	v.Form.Values = map[string][]string{"return": {form.Value("return")}}
	var err error
	if v.Passkey, err = a.mayPasskey(ctx, u); err != nil {
		return err
	}
	if !v.Code {
		v.Title = "Use a passkey"
	}
	status := p.status(&v.Page, form.Err)
	return p.render(ctx, status, views.LoginCodePage(v))
}

// doCode ends a login. Tries of codes are counted as those of passwords are, and apart from them.
func (a *Pages) doCode(ctx context.Context, p *pageCtx) error {
	u, err := a.stepUser(ctx, p)
	if err != nil {
		return err
	}
	if u == nil {
		return p.done(views.LoginURL(), &views.Flash{Tone: views.ToneInfo, Text: "This login has waited too long. Log in again."})
	}
	form := p.form()
	try, again, err := a.Store.BeginLogin(ctx, models.LoginFrom{Purpose: models.CodePurpose, Account: u.Email, Network: p.network(),
		Browser: p.knownBrowser(u.Email)})
	var session string
	if err == nil {
		session, err = a.Store.FinishStep(ctx, u, p.Cookies(stepCookie), form.Value("code"))
	}
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		if !again {
			a.auditVisitor(ctx, p, "session.login", u.Email, err)
		}
		return a.showCode(ctx, p, u, form)
	}
	if err := a.Store.LoginSucceeded(ctx, try); err != nil {
		return err
	}
	return a.loggedIn(p, u, session, form.Value("return"))
}

func (a *Pages) factorPage(ctx context.Context, p *pageCtx) error {
	return a.showFactor(ctx, p, views.Form{})
}

func (p *pageCtx) factorFrame(title string) views.Page {
	f := p.frame(title, views.SectionAccount)
	f.Crumbs = []views.Crumb{{Label: "Your account", URL: views.AccountURL()}}
	return f
}

func (a *Pages) showFactor(ctx context.Context, p *pageCtx, form views.Form) error {
	if err := noUser(p); err != nil {
		return err
	}
	u, err := a.Store.UserOf(ctx, p.call.Actor)
	if err != nil {
		return err
	}
	v := views.Factor{Page: p.factorFrame("Second factor"), Form: form, Required: a.Cfg.RequireFactor && u.Role != models.RoleNone,
		Passkeys: a.PasskeysOff() == ""}
	if u.SecondFactor {
		v.Left, err = a.Store.RecoveryCodesLeft(ctx, u)
	} else {
		v.Setup, err = a.Store.SetUpFactor(ctx, u)
	}
	if err != nil {
		return err
	}
	status := p.status(&v.Page, form.Err)
	p.Set("Cache-Control", "no-store")
	return p.render(ctx, status, views.FactorPage(v))
}

func (a *Pages) enableFactor(ctx context.Context, p *pageCtx) error {
	return a.changeFactor(ctx, p, func(u *models.User) error {
		try, _, err := a.Store.BeginLogin(ctx, models.LoginFrom{Purpose: models.CodePurpose, Account: u.Email, Network: p.network(),
			Browser: p.knownBrowser(u.Email)})
		if err != nil {
			return err
		}
		codes, err := a.Store.EnableFactor(ctx, u, p.form().Value("code"))
		if err != nil {
			return err
		}
		if err := a.Store.LoginSucceeded(ctx, try); err != nil {
			return err
		}
		return a.showCodes(ctx, p, codes)
	})
}

func (a *Pages) newRecoveryCodes(ctx context.Context, p *pageCtx) error {
	return a.changeFactor(ctx, p, func(u *models.User) error {
		codes, err := a.Store.RecoveryCodes(ctx, u)
		if err != nil {
			return err
		}
		return a.showCodes(ctx, p, codes)
	})
}

func (a *Pages) removeFactor(ctx context.Context, p *pageCtx) error {
	return a.changeFactor(ctx, p, func(u *models.User) error {
		has, err := a.mayPasskey(ctx, u)
		if err != nil {
			return err
		}
		if a.Cfg.RequireFactor && u.Role != models.RoleNone && !has {
			return &models.Error{Kind: models.KindConflict, Message: "This server asks everybody with a role for the whole server for a second factor."}
		}
		if err := a.Store.RemoveFactor(ctx, p.call.Actor, u); err != nil {
			return err
		}
		return p.done(views.AccountURL(), said("The second factor is off. Your password alone logs you in."))
	})
}

// changeFactor does something to the viewer's second factor, and shows why it was refused.
func (a *Pages) changeFactor(ctx context.Context, p *pageCtx, do func(u *models.User) error) error {
	if err := noUser(p); err != nil {
		return err
	}
	u, err := a.Store.UserOf(ctx, p.call.Actor)
	if err != nil {
		return err
	}
	err = do(u)
	if refusal := api.Refusal(err); err != nil && refusal != nil {
		return a.showFactor(ctx, p, views.Form{Err: refusal})
	}
	return err
}

// showCodes shows recovery codes, this once.
func (a *Pages) showCodes(ctx context.Context, p *pageCtx, codes []string) error {
	v := views.RecoveryCodes{Page: p.factorFrame("Recovery codes"), Codes: codes}
	v.Here = views.AccountURL()
	p.Set("Cache-Control", "no-store")
	return p.render(ctx, http.StatusOK, views.RecoveryCodesPage(v))
}
