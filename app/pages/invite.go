package pages

import (
	"context"
	"net/http"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// invitePage asks whoever has the link of an invitation for a name and a password. Opening it changes nothing: programs that scan
// mails open the links in them.
func (a *Pages) invitePage(ctx context.Context, p *pageCtx) error {
	return a.showInvite(ctx, p, views.Form{})
}

func (a *Pages) showInvite(ctx context.Context, p *pageCtx, form views.Form) error {
	p.Set("Cache-Control", "no-store")
	p.Set("Referrer-Policy", "no-referrer") // the address holds the token
	token := p.Params("token")
	i, err := a.Store.Invitation(ctx, token)
	if err != nil {
		return err
	}
	v := views.Invite{Page: p.frame("Accept invitation", ""), Invitation: i, Action: views.InviteURL(token), Form: form,
		Ways: a.ways(ctx, views.ProviderURL(views.HomeURL()))}
	status := p.status(&v.Page, form.Err)
	v.Here = views.LoginURL() // where a change of theme leads: the token stays out of other pages
	return p.render(ctx, status, views.InvitePage(v))
}

// acceptInvitation makes a user, or gives one that there is another role. A password that is tried for an address that has a user
// counts as one at the login does.
func (a *Pages) acceptInvitation(ctx context.Context, p *pageCtx) error {
	form := p.form()
	again := func(err error) error {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		delete(form.Values, "password")
		return a.showInvite(ctx, p, form)
	}
	if err := a.passwordsOff(); err != nil {
		return again(err)
	}
	i, err := a.Store.Invitation(ctx, p.Params("token"))
	if err != nil {
		return err
	}
	try, _, err := a.Store.BeginLogin(ctx, models.LoginFrom{Account: i.Email, Network: p.network(), Browser: p.knownBrowser(i.Email)})
	if err != nil {
		return again(err)
	}
	done, err := a.Store.AcceptInvitation(ctx, p.Params("token"), models.UserInput{Name: form.Value("name"), Password: form.Value("password")})
	if err != nil {
		return again(err)
	}
	if err := a.Store.LoginSucceeded(ctx, try); err != nil {
		return err
	}
	if done.Session == "" {
		return p.done(views.LoginURL(), said("The invitation is accepted. Log in to go on."))
	}
	if err := p.rememberBrowser(done.User.Email); err != nil {
		return err
	}
	p.setCookie(SessionCookie, done.Session, models.SessionLength)
	return p.Redirect(views.HomeURL(), http.StatusSeeOther)
}
