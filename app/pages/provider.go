package pages

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/internal/idp"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// attemptCookie holds the login by the provider that this browser has begun, sealed, for attemptLength.
const (
	attemptCookie  = "waybill_provider"
	attemptLength  = 10 * time.Minute
	attemptContext = "login by a provider"
)

// authSlack is how much the provider's clock may be behind.
const authSlack = time.Minute

// loginAttempt is a login by the provider under way.
type loginAttempt struct {
	idp.Attempt
	Return  string    `json:"return"`
	Session uuid.UUID `json:"session"` // whose user shows again who they are; zero for a login
	Begun   time.Time `json:"begun"`
}

// newProvider is the provider that the configuration names; nil for none.
func newProvider(cfg *config.Config) *idp.Provider {
	if !cfg.OIDC.On() {
		return nil
	}
	o := cfg.OIDC
	return idp.New(idp.Options{Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: o.ClientSecret, Scopes: o.Scopes,
		RedirectURL: cfg.BaseURL + views.ProviderReturnPath(), GroupsClaim: o.GroupsClaim, NeedGroups: len(o.Roles) > 0})
}

// SetProviderSecret has the provider asked with another secret from now on.
func (a *Pages) SetProviderSecret(secret string) {
	if a.provider != nil {
		a.provider.SetSecret(secret)
	}
}

// passwordsOff refuses passwords where the server takes none.
func (a *Pages) passwordsOff() error {
	if !a.Cfg.OIDC.Only {
		return nil
	}
	return &models.Error{Kind: models.KindConflict, Message: "This server takes no passwords. Log in with " +
		cmp.Or(a.Cfg.OIDC.Name, "the login provider") + "."}
}

// ways are the ways to log in that a page offers, with the address that leads to the provider.
func (a *Pages) ways(ctx context.Context, to string) views.LoginWays {
	w := views.LoginWays{Password: !a.Cfg.OIDC.Only}
	if a.PasskeysOff() == "" {
		has, err := a.Store.HasPasskeys(ctx)
		w.Passkey = err == nil && has // where the database is away, the page says so soon enough
	}
	if a.provider != nil {
		w.Provider, w.URL = a.Cfg.OIDC.Name, to
		w.Away = a.provider.Ready(ctx) != nil
	}
	return w
}

var errNoProvider = &models.Error{Kind: models.KindNotFound, Message: "This server has no login provider."}

// toProvider begins a login by the provider.
func (a *Pages) toProvider(ctx context.Context, p *pageCtx) error {
	if has, err := a.Store.HasUsers(ctx); err != nil {
		return err
	} else if !has { // the first user is an owner, and made by who runs the server
		return p.Redirect(views.SetupURL(), http.StatusSeeOther)
	}
	return a.beginAttempt(ctx, p, loginAttempt{Return: localPath(p.Query("return"))})
}

// confirmByProvider lets a user show again who they are.
func (a *Pages) confirmByProvider(ctx context.Context, p *pageCtx) error {
	if err := noUser(p); err != nil {
		return err
	}
	return a.beginAttempt(ctx, p, loginAttempt{Return: localPath(p.Query("return")), Session: p.call.Actor.Session.Key})
}

func (a *Pages) beginAttempt(ctx context.Context, p *pageCtx, at loginAttempt) error {
	if a.provider == nil {
		return errNoProvider
	}
	p.Set("Cache-Control", "no-store")
	to, begun, err := a.provider.Begin(ctx, at.Session != uuid.Nil)
	if err != nil {
		return a.providerFailed(ctx, p, at, "", err)
	}
	at.Attempt, at.Begun = begun, time.Now()
	plain, err := json.Marshal(at)
	if err != nil {
		return err
	}
	sealed := a.Store.Keys.Seal(plain, attemptContext)
	p.setCookie(attemptCookie, base64.RawURLEncoding.EncodeToString(sealed), attemptLength)
	return p.Redirect(to, http.StatusSeeOther)
}

// takeAttempt is the login that this browser has begun, which ends with it; its zero value for none.
func (a *Pages) takeAttempt(p *pageCtx) (at loginAttempt) {
	raw := p.Cookies(attemptCookie)
	if raw == "" {
		return at
	}
	p.setCookie(attemptCookie, "", -time.Hour)
	sealed, err := base64.RawURLEncoding.DecodeString(raw)
	if err != nil {
		return at
	}
	plain, err := a.Store.Keys.Open(sealed, attemptContext)
	if err != nil || json.Unmarshal(plain, &at) != nil || time.Since(at.Begun) > attemptLength {
		return loginAttempt{}
	}
	return at
}

// providerReturn is where the provider leads back to.
func (a *Pages) providerReturn(ctx context.Context, p *pageCtx) error {
	if a.provider == nil {
		return errNoProvider
	}
	p.Set("Cache-Control", "no-store")
	p.Set("Referrer-Policy", "no-referrer") // the address has the code
	at := a.takeAttempt(p)
	confirm, err := a.confirming(ctx, p, at)
	if err != nil {
		return a.providerFailed(ctx, p, at, "", err)
	}
	claims, err := a.provider.Finish(ctx, at.Attempt, idp.Answer{State: p.Query("state"), Code: p.Query("code"), Issuer: p.Query("iss"),
		Problem: p.Query("error"), ProblemDetails: p.Query("error_description")})
	if err != nil {
		return a.providerFailed(ctx, p, at, "", err)
	}
	if confirm != nil && !claims.AuthTime.IsZero() && claims.AuthTime.Before(at.Begun.Add(-authSlack)) {
		return a.providerFailed(ctx, p, at, claims.Email, &models.Error{Kind: models.KindForbidden,
			Message: a.Cfg.OIDC.Name + " did not ask you again who you are. Log out there, and try again."})
	}
	o := a.Cfg.OIDC
	in := models.ProviderLogin{Provider: o.Name, Issuer: o.Issuer, Subject: claims.Subject, Email: claims.Email, Name: claims.Name,
		Verified: claims.Verified != nil && *claims.Verified || claims.Verified == nil && o.TrustEmail,
		Mapped:   len(o.Roles) > 0, Role: o.Roles.Role(claims.Groups)}
	if confirm != nil {
		in.Confirm = confirm.UserID
	}
	u, err := a.Store.ProviderUser(ctx, in)
	if err != nil {
		return a.providerFailed(ctx, p, at, claims.Email, err)
	}
	via := models.ProviderSession{Issuer: o.Issuer, SID: claims.SID}
	if confirm != nil {
		return a.confirmed(ctx, p, confirm, via, at)
	}
	return a.loggedInBy(ctx, p, u, via, at)
}

// confirming is who shows again who they are; nil for a login.
func (a *Pages) confirming(ctx context.Context, p *pageCtx, at loginAttempt) (*models.Actor, error) {
	if at.Session == uuid.Nil {
		return nil, nil
	}
	actor, err := a.viewer(ctx, p.Ctx)
	if err == nil && (actor == nil || actor.UserID == uuid.Nil || actor.Session.Key != at.Session) {
		err = &models.Error{Kind: models.KindUnauthorized, Message: "Your session has ended. Log in again."}
	}
	if err != nil {
		return nil, err
	}
	p.call.Actor, p.who = actor, actor
	return actor, nil
}

func (a *Pages) confirmed(ctx context.Context, p *pageCtx, who *models.Actor, via models.ProviderSession,
	at loginAttempt) error {
	token, err := a.Store.ConfirmSessionBy(models.WithAsker(ctx, p.call.Asker()), who, via)
	if err != nil {
		return a.providerFailed(ctx, p, at, "", err)
	}
	p.setCookie(SessionCookie, token, models.SessionLength)
	return p.Redirect(localPath(at.Return), http.StatusSeeOther)
}

// loggedInBy ends a login by the provider. A second factor that somebody has set up here is asked for as well.
func (a *Pages) loggedInBy(ctx context.Context, p *pageCtx, u *models.User, via models.ProviderSession, at loginAttempt) error {
	more, err := a.hasSecondStep(ctx, u)
	if err != nil {
		return err
	}
	if more {
		return a.toSecondStep(ctx, p, u, via, at.Return)
	}
	token, err := a.Store.StartSessionBy(ctx, u, via)
	if err != nil {
		return err
	}
	return a.loggedIn(p, u, token, at.Return)
}

// providerFailed leads to where the login began, and says there why it failed. The entry of the audit log has no more than the first
// of many from one network: anybody can have logins fail.
func (a *Pages) providerFailed(ctx context.Context, p *pageCtx, at loginAttempt, email string, why error) error {
	var refusal *models.Error
	var e *idp.Error
	switch {
	case errors.As(why, &e):
		refusal = &models.Error{Kind: models.KindForbidden, Message: e.Message}
		level := slog.LevelInfo
		if e.Away {
			level = slog.LevelWarn
		}
		a.Log.Log(ctx, level, "a login by the provider failed", "problem", e.Message, "error", e.Err)
	case !errors.As(why, &refusal) || refusal.Kind == models.KindInternal || refusal.Kind == models.KindUnavailable:
		return why
	}
	if err := a.auditProvider(ctx, p, at, email, refusal); err != nil {
		return err
	}
	to := views.LoginURL()
	if at.Return != "" && at.Return != "/" {
		to = views.LoginBackURL(at.Return)
	}
	if at.Session != uuid.Nil {
		to = views.ConfirmURL(localPath(at.Return))
	}
	return p.done(to, &views.Flash{Tone: views.ToneBad, Text: refusal.Message})
}

func (a *Pages) auditProvider(ctx context.Context, p *pageCtx, at loginAttempt, email string, why *models.Error) error {
	_, again, err := a.Store.BeginLogin(ctx, models.LoginFrom{Purpose: "provider-", Network: p.network()})
	if err != nil && !models.IsKind(err, models.KindLimited) {
		return err
	}
	if again {
		return nil
	}
	action, object := "session.login", a.Cfg.OIDC.Issuer
	if email != "" {
		object = loginName(email)
	}
	if p.who != nil {
		a.AuditFailure(ctx, p.call, models.AllTenants(), "session.confirm", p.who.Session.ID(), why)
		return nil
	}
	if at.Session != uuid.Nil {
		action = "session.confirm"
	}
	a.auditVisitor(ctx, p, action, object, why)
	return nil
}
