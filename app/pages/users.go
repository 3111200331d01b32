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

// userPageRoutes lists the pages about users, members of tenants, invitations and one's own account.
func (a *Pages) userPageRoutes(tenant, apiTenant string) []pageRoute {
	get, post, admin := http.MethodGet, http.MethodPost, models.MayAdmin
	twin := func(list ...string) []string { return list }
	routes := []pageRoute{
		{get, "/users", admin, twin("GET /users", "GET /invitations"), a.usersPage},
		{get, "/users/:user", admin, twin("GET /users/:user", "GET /users/:user/sessions", "GET /users/:user/passkeys",
			"GET /users/:user/identities"), a.userPage},
		{post, "/users/:user/role", admin, twin("PATCH /users/:user"), a.recentAt(userAddress, a.setUserRole)},
		{get, "/users/:user/delete", admin, twin("DELETE /users/:user"), a.recent(a.deleteUserPage)},
		{post, "/users/:user/delete", admin, twin("DELETE /users/:user"), a.recent(a.doDeleteUser)},
		{post, "/users/:user/second-factor/remove", admin, twin("DELETE /users/:user/second-factor"),
			a.recentAt(userAddress, a.removeUserFactor)},
		{post, "/users/:user/passkeys/remove", admin, twin("DELETE /users/:user/passkeys"), a.recentAt(userAddress, a.removeUserPasskeys)},
		{post, "/users/:user/passkeys/:passkey/remove", admin, twin("DELETE /users/:user/passkeys/:passkey"),
			a.recentAt(userAddress, a.removeUserPasskey)},
		{post, "/users/:user/identities/:identity/disconnect", admin, twin("DELETE /users/:user/identities/:identity"),
			a.recentAt(userAddress, a.disconnectUser)},
		{post, "/users/:user/sessions/end", admin, twin("DELETE /users/:user/sessions"), a.recentAt(userAddress, a.endUserSessions)},
		{post, "/users/:user/sessions/:session/end", admin, twin("DELETE /users/:user/sessions/:session"),
			a.recentAt(userAddress, a.endUserSession)},

		{get, tenant + "/members", admin, twin("GET "+apiTenant+"/members", "GET /invitations"), a.membersPage},
		{post, tenant + "/members/:user/role", admin, twin("PUT " + apiTenant + "/members/:user"), a.recentAt(membersAddress, a.setMemberRole)},
		{get, tenant + "/members/:user/remove", admin, twin("DELETE " + apiTenant + "/members/:user"), a.recent(a.removeMemberPage)},
		{post, tenant + "/members/:user/remove", admin, twin("DELETE " + apiTenant + "/members/:user"), a.recent(a.doRemoveMember)},
	}
	for _, page := range []string{"", tenant} {
		routes = append(routes, pageRoute{get, page + "/invitations/new", admin, twin("POST /invitations"), a.recent(a.newInvitationPage)},
			pageRoute{post, page + "/invitations/new", admin, twin("POST /invitations"), a.recent(a.createInvitation)},
			pageRoute{post, page + "/invitations/:invitation/send", admin, twin("POST /invitations/:invitation/send"),
				a.recentAt(invitationsAddress, a.sendInvitation)},
			pageRoute{get, page + "/invitations/:invitation/revoke", admin, twin("DELETE /invitations/:invitation"), a.revokeInvitationPage},
			pageRoute{post, page + "/invitations/:invitation/revoke", admin, twin("DELETE /invitations/:invitation"), a.doRevokeInvitation})
	}
	return append(routes, a.accountRoutes()...)
}

func userAddress(p *pageCtx) string    { return views.UserURL(p.Params("user")) }
func membersAddress(p *pageCtx) string { return views.MembersURL(p.tenantID()) }

func (a *Pages) usersPage(ctx context.Context, p *pageCtx) error {
	v := views.Users{Page: p.frame("Users", views.SectionUsers)}
	v.API = apiCallOf("GET", "", "/users")
	var err error
	if v.List, err = a.Store.Users(ctx); err != nil {
		return err
	}
	if v.Invitations, err = a.Store.Invitations(ctx, p.call.Scope()); err != nil {
		return err
	}
	return p.render(ctx, http.StatusOK, views.UsersPage(v))
}

func (p *pageCtx) userFrame(title string) views.Page {
	f := p.frame(title, views.SectionUsers)
	f.Crumbs = []views.Crumb{{Label: "Users", URL: views.UsersURL()}}
	return f
}

func (a *Pages) userPage(ctx context.Context, p *pageCtx) error {
	return a.showUser(ctx, p, nil)
}

func (a *Pages) showUser(ctx context.Context, p *pageCtx, problem *models.Error) error {
	u, err := a.Store.User(ctx, p.Params("user"))
	if err != nil {
		return err
	}
	v := views.User{Page: p.userFrame(u.Name), User: u, Current: p.call.Actor.Session.Key, MayOwn: p.call.Actor.Role == models.RoleOwner,
		Form: views.Form{Values: map[string][]string{"role": {views.RoleValue(u.Role)}}, Err: problem}}
	v.API = apiCallOf("PATCH", `{"role": "developer"}`, "/users/", u.ID())
	if problem != nil {
		v.Page = refused(v.Page)
		v.Form.Values["role"] = []string{p.form().Value("role")}
	}
	if v.Sessions, err = a.Store.Sessions(ctx, u.Key); err != nil {
		return err
	}
	if v.Passkeys, err = a.Store.Passkeys(ctx, u.Key); err != nil {
		return err
	}
	if v.Identities, err = a.Store.Identities(ctx, u.Key); err != nil {
		return err
	}
	return p.render(ctx, listStatus(problem), views.UserPage(v))
}

func (a *Pages) setUserRole(ctx context.Context, p *pageCtx) error {
	role := p.form().Value("role")
	req := api.UserPatch{User: p.Params("user")}
	req.Body.Role = &role
	if _, err := a.UpdateUser(ctx, p.call, &req); err != nil {
		if problem := api.Refusal(err); problem != nil {
			return a.showUser(ctx, p, problem)
		}
		return err
	}
	return p.done(views.UserURL(p.Params("user")), said("The role is changed. It holds at once."))
}

func (a *Pages) deleteUserPage(ctx context.Context, p *pageCtx) error {
	return a.confirmDeleteUser(ctx, p, nil)
}

func (a *Pages) confirmDeleteUser(ctx context.Context, p *pageCtx, problem *models.Error) error {
	u, err := a.Store.User(ctx, p.Params("user"))
	if err != nil {
		return err
	}
	v := views.Confirm{Page: p.userFrame("Remove user"), Question: "Remove " + u.Name + " (" + u.Email + ")?",
		Effects: []string{"Their sessions end at once, and open invitations that they made are void.",
			"API keys that they made go on; revoke those that they know.", "What they did stays in the audit log."},
		Action: views.UserURL(u.ID(), "delete"), Submit: "Remove user", Back: views.UserURL(u.ID()), Err: problem}
	v.API = apiCallOf("DELETE", "", "/users/", u.ID())
	v.Invalid = problem != nil
	return p.render(ctx, listStatus(problem), views.ConfirmPage(v))
}

func (a *Pages) doDeleteUser(ctx context.Context, p *pageCtx) error {
	if _, err := a.DeleteUser(ctx, p.call, &api.UserRequest{User: p.Params("user")}); err != nil {
		if problem := api.Refusal(err); problem != nil {
			return a.confirmDeleteUser(ctx, p, problem)
		}
		return err
	}
	return p.done(views.UsersURL(), said("The user is removed."))
}

func (a *Pages) endUserSessions(ctx context.Context, p *pageCtx) error {
	if _, err := a.EndSessions(ctx, p.call, &api.UserRequest{User: p.Params("user")}); err != nil {
		return err
	}
	return p.done(userAddress(p), said("All sessions have ended."))
}

func (a *Pages) endUserSession(ctx context.Context, p *pageCtx) error {
	if _, err := a.EndSession(ctx, p.call, &api.SessionRequest{User: p.Params("user"), Session: p.Params("session")}); err != nil {
		return err
	}
	return p.done(userAddress(p), said("The session has ended."))
}

func (a *Pages) removeUserFactor(ctx context.Context, p *pageCtx) error {
	if _, err := a.RemoveSecondFactor(ctx, p.call, &api.UserRequest{User: p.Params("user")}); err != nil {
		return err
	}
	return p.done(userAddress(p), said("The second factor is removed. The next login asks for the password only."))
}

func (a *Pages) removeUserPasskeys(ctx context.Context, p *pageCtx) error {
	if _, err := a.RemovePasskeys(ctx, p.call, &api.UserRequest{User: p.Params("user")}); err != nil {
		return err
	}
	return p.done(userAddress(p), said("All passkeys are removed."))
}

func (a *Pages) removeUserPasskey(ctx context.Context, p *pageCtx) error {
	if _, err := a.RemovePasskey(ctx, p.call, &api.PasskeyRequest{User: p.Params("user"), Passkey: p.Params("passkey")}); err != nil {
		return p.failed(userAddress(p), err)
	}
	return p.done(userAddress(p), said("The passkey is removed."))
}

func (a *Pages) disconnectUser(ctx context.Context, p *pageCtx) error {
	if _, err := a.Disconnect(ctx, p.call, &api.IdentityRequest{User: p.Params("user"), Identity: p.Params("identity")}); err != nil {
		return p.failed(userAddress(p), err)
	}
	return p.done(userAddress(p), said("The account at the login provider is not connected any more."))
}

func (p *pageCtx) memberFrame(title string, crumbs bool) views.Page {
	f := p.frame(title, views.SectionMembers)
	if crumbs {
		f.Crumbs = []views.Crumb{{Label: "Members", URL: membersAddress(p)}}
	}
	return f
}

func (a *Pages) membersPage(ctx context.Context, p *pageCtx) error {
	v := views.Members{Page: p.memberFrame("Members", false)}
	v.API = apiCallOf("GET", "", "/tenants/", p.tenant.ID, "/members")
	var err error
	if v.List, err = a.Store.Members(ctx, p.call.Scope(), p.tenant.ID); err != nil {
		return err
	}
	if v.Invitations, err = a.Store.Invitations(ctx, p.call.Scope()); err != nil {
		return err
	}
	return p.render(ctx, http.StatusOK, views.MembersPage(v))
}

func (a *Pages) setMemberRole(ctx context.Context, p *pageCtx) error {
	req := api.MemberRequest{Tenant: p.tenant.ID, User: p.Params("user")}
	req.Body.Role = models.Role(p.form().Value("role"))
	if _, err := a.PutMember(ctx, p.call, &req); err != nil {
		return p.failed(membersAddress(p), err)
	}
	return p.done(membersAddress(p), said("The role is changed. It holds at once."))
}

// member is the member of the page's tenant that the address names.
func (a *Pages) member(ctx context.Context, p *pageCtx) (*models.User, error) {
	list, err := a.Store.Members(ctx, p.call.Scope(), p.tenant.ID)
	if err != nil {
		return nil, err
	}
	for _, u := range list {
		if u.ID() == p.Params("user") {
			return u, nil
		}
	}
	return nil, &models.Error{Kind: models.KindNotFound, Message: "There is no such member of this tenant."}
}

func (a *Pages) removeMemberPage(ctx context.Context, p *pageCtx) error {
	u, err := a.member(ctx, p)
	if err != nil {
		return err
	}
	v := views.Confirm{Page: p.memberFrame("Remove member", true), Question: "Remove " + u.Name + " (" + u.Email + ") from " + p.tenant.Name() + "?",
		Effects: []string{"They do not see this tenant any more, unless they have a role for the whole server.",
			"API keys that they made go on; revoke those that they know."},
		Action: views.MemberURL(p.tenant.ID, u.ID(), "remove"), Submit: "Remove member", Back: membersAddress(p)}
	v.API = apiCallOf("DELETE", "", "/tenants/", p.tenant.ID, "/members/", u.ID())
	return p.render(ctx, http.StatusOK, views.ConfirmPage(v))
}

func (a *Pages) doRemoveMember(ctx context.Context, p *pageCtx) error {
	if _, err := a.RemoveMember(ctx, p.call, &api.OneMemberRequest{Tenant: p.tenant.ID, User: p.Params("user")}); err != nil {
		return err
	}
	return p.done(membersAddress(p), said("The member is removed."))
}

// invitationsAddress is the page that lists invitations.
func invitationsAddress(p *pageCtx) string {
	if p.tenant == nil {
		return views.UsersURL()
	}
	return membersAddress(p)
}

func (p *pageCtx) invitationFrame(title string) views.Page {
	if p.tenant != nil {
		return p.memberFrame(title, true)
	}
	return p.userFrame(title)
}

func (p *pageCtx) newInvitation(form views.Form) views.NewInvitation {
	v := views.NewInvitation{Page: p.invitationFrame("Invite somebody"), Form: form, MayOwn: p.call.Actor.Role == models.RoleOwner}
	body := map[string]any{"email": "ann@example.com", "role": "developer"}
	if id := p.tenantID(); id != "" {
		body["tenant_id"] = id
	}
	v.API = apiCallOf("POST", indented(body), "/invitations")
	return v
}

func (a *Pages) newInvitationPage(ctx context.Context, p *pageCtx) error {
	form := views.Form{Values: map[string][]string{"role": {string(models.RoleDeveloper)}}}
	return p.render(ctx, http.StatusOK, views.NewInvitationPage(p.newInvitation(form)))
}

// createInvitation answers with the link, this once: it is not kept anywhere.
func (a *Pages) createInvitation(ctx context.Context, p *pageCtx) error {
	form := p.form()
	in := models.InvitationInput{Email: form.Value("email"), Role: models.Role(form.Value("role")), TenantID: strings.TrimSpace(form.Value("tenant_id"))}
	if p.tenant != nil {
		in.TenantID = p.tenant.ID
	}
	made, err := a.Invite(ctx, p.call, in)
	if err != nil {
		if models.IsKind(err, models.KindNotFound) {
			err = models.Invalid("tenant_id", "is not the ID of a tenant")
		}
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		v := p.newInvitation(form)
		v.Page = refused(v.Page)
		return p.render(ctx, form.Err.Status(), views.NewInvitationPage(v))
	}
	return p.showInvited(ctx, "Invitation made", made)
}

func (p *pageCtx) showInvited(ctx context.Context, title string, made *api.Invited) error {
	v := views.Invited{Page: p.invitationFrame(title), Invitation: made.Invitation, Link: made.URL, Next: invitationsAddress(p)}
	v.Here = v.Next
	p.Set("Cache-Control", "no-store")
	return p.render(ctx, http.StatusOK, views.InvitedPage(v))
}

// sendInvitation answers with the new link, this once.
func (a *Pages) sendInvitation(ctx context.Context, p *pageCtx) error {
	made, err := a.SendInvitation(ctx, p.call, &api.InvitationRequest{Invitation: p.Params("invitation")})
	if err != nil {
		return p.failed(invitationsAddress(p), err)
	}
	return p.showInvited(ctx, "Invitation sent again", made)
}

func (a *Pages) revokeInvitationPage(ctx context.Context, p *pageCtx) error {
	list, err := a.Store.Invitations(ctx, p.call.Scope())
	if err != nil {
		return err
	}
	for _, i := range list {
		if i.ID() != p.Params("invitation") {
			continue
		}
		v := views.Confirm{Page: p.invitationFrame("Revoke invitation"), Question: "Revoke the invitation of " + i.Email + " as " + string(i.Role) + " of " + i.Place() + "?",
			Effects: []string{"Its link does not work any more."}, Action: views.InvitationURL(p.tenantID(), i.ID(), "revoke"), Submit: "Revoke invitation",
			Back: invitationsAddress(p)}
		v.API = apiCallOf("DELETE", "", "/invitations/", i.ID())
		return p.render(ctx, http.StatusOK, views.ConfirmPage(v))
	}
	return &models.Error{Kind: models.KindNotFound, Message: "There is no such invitation that can still be accepted."}
}

func (a *Pages) doRevokeInvitation(ctx context.Context, p *pageCtx) error {
	if _, err := a.RevokeInvitation(ctx, p.call, &api.InvitationRequest{Invitation: p.Params("invitation")}); err != nil {
		return err
	}
	return p.done(invitationsAddress(p), said("The invitation is revoked."))
}

// choosePage lets somebody who has no role for the whole server choose one of their tenants.
func (a *Pages) choosePage(ctx context.Context, p *pageCtx) error {
	u, err := a.Store.UserOf(ctx, p.call.Actor)
	if err != nil {
		return err
	}
	if len(u.Members) == 1 {
		return p.Redirect(views.OverviewURL(u.Members[0].TenantID), http.StatusSeeOther)
	}
	return p.render(ctx, http.StatusOK, views.ChoosePage(views.Choose{Page: p.frame("Your tenants", ""), List: u.Members}))
}

// noUser refuses who has no account: a visitor by a portal link.
func noUser(p *pageCtx) error {
	if p.call.Actor.UserID == uuid.Nil {
		return &models.Error{Kind: models.KindForbidden, Message: "This page is for users who have logged in; a portal link has no account."}
	}
	return nil
}
