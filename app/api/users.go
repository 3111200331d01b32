package api

import (
	"context"
	"net/http"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// roleNone stands for no role for the whole server.
const roleNone = "none"

type userJSON struct {
	ID           string          `json:"id"`
	Name         string          `json:"name"`
	Email        string          `json:"email"`
	Role         string          `json:"role" api:"enum=owner|admin|developer|viewer|none" doc:"For the whole server; 'none' for who sees tenants only."`
	Memberships  []models.Member `json:"memberships" doc:"Roles in single tenants."`
	SecondFactor bool            `json:"second_factor" doc:"Whether logins ask for a code of an app."`
	Passkeys     int             `json:"passkeys" doc:"How many they have."`
	CreatedAt    time.Time       `json:"created_at"`
	LastLoginAt  *time.Time      `json:"last_login_at" doc:"null for never."`
}

func userToJSON(u *models.User) userJSON {
	j := userJSON{ID: u.ID(), Name: u.Name, Email: u.Email, Role: roleNone, Memberships: []models.Member{}, SecondFactor: u.SecondFactor,
		Passkeys: u.Passkeys, CreatedAt: u.CreatedAt.UTC()}
	if u.Role != models.RoleNone {
		j.Role = string(u.Role)
	}
	j.Memberships = append(j.Memberships, u.Members...)
	if u.LastLoginAt != nil {
		at := u.LastLoginAt.UTC()
		j.LastLoginAt = &at
	}
	return j
}

func (a *API) listUsers(ctx context.Context, c *Call, _ *noRequest) (*Reply, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	list, err := a.Store.Users(ctx)
	if err != nil {
		return nil, err
	}
	out := listJSON[userJSON]{Models: make([]userJSON, len(list))}
	for i, u := range list {
		out.Models[i] = userToJSON(u)
	}
	return &Reply{Body: out}, nil
}

// UserRequest names a user.
type UserRequest struct {
	User string `path:"user"`
}

// user is the user that a request of an operator is about.
func (a *API) user(ctx context.Context, c *Call, id string) (*models.User, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	return a.Store.User(ctx, id)
}

func (a *API) getUser(ctx context.Context, c *Call, req *UserRequest) (*Reply, error) {
	u, err := a.user(ctx, c, req.User)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: userToJSON(u)}, nil
}

// UserPatch changes a user.
type UserPatch struct {
	User string `path:"user"`
	Body struct {
		Role *string `json:"role" api:"enum=owner|admin|developer|viewer|none" doc:"For the whole server. Only owners make, change and remove owners; the last one stays."`
	} `body:"json"`
}

// UpdateUser changes a user's role for the whole server.
func (a *API) UpdateUser(ctx context.Context, c *Call, req *UserPatch) (*Reply, error) {
	u, err := a.user(ctx, c, req.User)
	if err != nil {
		return nil, err
	}
	if role := req.Body.Role; role != nil {
		set := models.Role(*role)
		switch *role {
		case roleNone:
			set = models.RoleNone
		case "":
			return nil, models.Invalid("role", "must be owner, admin, developer, viewer or none")
		}
		if u, err = a.Store.SetRole(ctx, c.Actor, req.User, set); err != nil {
			return nil, err
		}
	}
	return &Reply{Body: userToJSON(u)}, nil
}

// DeleteUser removes a user and ends their sessions.
func (a *API) DeleteUser(ctx context.Context, c *Call, req *UserRequest) (*Reply, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	if _, err := a.Store.DeleteUser(ctx, c.Actor, req.User); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}

// RemoveSecondFactor turns a user's second factor off.
func (a *API) RemoveSecondFactor(ctx context.Context, c *Call, req *UserRequest) (*Reply, error) {
	u, err := a.user(ctx, c, req.User)
	if err != nil {
		return nil, err
	}
	if err := a.Store.RemoveFactor(ctx, c.Actor, u); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}

type sessionJSON struct {
	ID        string    `json:"id"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"last_seen_at" doc:"To within a minute."`
	IP        string    `json:"ip" doc:"That it was used from last; empty for older sessions."`
	Browser   string    `json:"user_agent" doc:"Of the browser that it was started with."`
}

func (a *API) listSessions(ctx context.Context, c *Call, req *UserRequest) (*Reply, error) {
	u, err := a.user(ctx, c, req.User)
	if err != nil {
		return nil, err
	}
	list, err := a.Store.Sessions(ctx, u.Key)
	if err != nil {
		return nil, err
	}
	out := listJSON[sessionJSON]{Models: make([]sessionJSON, len(list))}
	for i, x := range list {
		out.Models[i] = sessionJSON{x.ID(), x.StartedAt.UTC(), x.SeenAt.UTC(), x.IP, x.Browser}
	}
	return &Reply{Body: out}, nil
}

// EndSessions ends all sessions of a user.
func (a *API) EndSessions(ctx context.Context, c *Call, req *UserRequest) (*Reply, error) {
	u, err := a.user(ctx, c, req.User)
	if err != nil {
		return nil, err
	}
	if _, err := a.Store.RevokeSessions(ctx, u, [16]byte{}); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}

// SessionRequest names a session of a user.
type SessionRequest struct {
	User    string `path:"user"`
	Session string `path:"session"`
}

// EndSession ends a session of a user.
func (a *API) EndSession(ctx context.Context, c *Call, req *SessionRequest) (*Reply, error) {
	u, err := a.user(ctx, c, req.User)
	if err != nil {
		return nil, err
	}
	if err := a.Store.RevokeSession(ctx, u, req.Session); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}

type memberJSON struct {
	ID          string     `json:"id" doc:"Of the user."`
	Name        string     `json:"name"`
	Email       string     `json:"email"`
	Role        string     `json:"role" api:"enum=admin|developer|viewer" doc:"In this tenant."`
	LastLoginAt *time.Time `json:"last_login_at" doc:"null for never."`
}

func memberToJSON(u *models.User, tenantID string) memberJSON {
	return memberJSON{u.ID(), u.Name, u.Email, string(u.RoleIn(tenantID)), userToJSON(u).LastLoginAt}
}

func (a *API) listMembers(ctx context.Context, c *Call, req *tenantRequest) (*Reply, error) {
	list, err := a.Store.Members(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	out := listJSON[memberJSON]{Models: make([]memberJSON, len(list))}
	for i, u := range list {
		out.Models[i] = memberToJSON(u, req.Tenant)
	}
	return &Reply{Body: out}, nil
}

// MemberRequest gives a user a role in a tenant.
type MemberRequest struct {
	Tenant string `path:"tenant"`
	User   string `path:"user"`
	Body   struct {
		Role models.Role `json:"role" api:"required,enum=admin|developer|viewer" doc:"In this tenant."`
	} `body:"json"`
}

// PutMember gives a user a role in a tenant.
func (a *API) PutMember(ctx context.Context, c *Call, req *MemberRequest) (*Reply, error) {
	if req.Body.Role == models.RoleNone {
		return nil, models.Invalid("role", "must be admin, developer or viewer")
	}
	u, err := a.Store.SetMember(ctx, c.Actor, req.Tenant, req.User, req.Body.Role)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: memberToJSON(u, req.Tenant)}, nil
}

// OneMemberRequest names a member of a tenant.
type OneMemberRequest struct {
	Tenant string `path:"tenant"`
	User   string `path:"user"`
}

// RemoveMember takes a user's role in a tenant away.
func (a *API) RemoveMember(ctx context.Context, c *Call, req *OneMemberRequest) (*Reply, error) {
	if _, err := a.Store.SetMember(ctx, c.Actor, req.Tenant, req.User, models.RoleNone); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}

type accountJSON struct {
	Name        string              `json:"name" doc:"As the audit log names the caller."`
	Kind        string              `json:"type" api:"schema=ActorType" doc:"What kind of caller."`
	TenantID    *string             `json:"tenant_id" doc:"The only tenant that the caller sees; null for all."`
	Permissions []models.Permission `json:"permissions"`
}

func (a *API) getAccount(_ context.Context, c *Call, _ *noRequest) (*Reply, error) {
	j := accountJSON{Name: c.Actor.Name, Kind: c.Actor.Kind, Permissions: c.Actor.May}
	if c.Actor.TenantID != "" {
		j.TenantID = &c.Actor.TenantID
	}
	return &Reply{Body: j}, nil
}

func (a *API) userRoutes(tenant string) []route {
	get, put, post, patch, del := http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete
	read, admin := models.MayRead, models.MayAdmin
	return under("Users",
		on(a, get, "/account", read, a.getAccount, "getAccount", "Shows who the caller is and what they may do.", ok[accountJSON]()),
		on(a, get, "/users", admin, a.listUsers, "listUsers", "Lists the users of the dashboard.", ok[listJSON[userJSON]]()),
		on(a, get, "/users/:user", admin, a.getUser, "getUser", "Shows a user.", ok[userJSON]()),
		on(a, patch, "/users/:user", admin, a.UpdateUser, "updateUser", "Changes a user's role for the whole server.", ok[userJSON](), conflicts,
			says("It holds at once, also in sessions that are open."), example(`{"role": "developer"}`)),
		on(a, del, "/users/:user", admin, a.DeleteUser, "deleteUser", "Removes a user and ends their sessions.", ok[successJSON](), conflicts,
			says("API keys that they made go on.")),
		on(a, del, "/users/:user/second-factor", admin, a.RemoveSecondFactor, "removeSecondFactor",
			"Removes a user's second factor, for somebody who has lost it.", ok[successJSON]()),
		on(a, get, "/users/:user/passkeys", admin, a.listPasskeys, "listPasskeys", "Lists a user's passkeys.", ok[listJSON[passkeyJSON]]()),
		on(a, patch, "/users/:user/passkeys/:passkey", admin, a.RenamePasskey, "renamePasskey", "Renames a passkey.", ok[passkeyJSON](),
			example(`{"name": "Laptop"}`)),
		on(a, del, "/users/:user/passkeys/:passkey", admin, a.RemovePasskey, "removePasskey", "Removes a passkey.", ok[successJSON](), conflicts),
		on(a, del, "/users/:user/passkeys", admin, a.RemovePasskeys, "removePasskeys",
			"Removes all passkeys of a user, for one who has lost them.", ok[successJSON]()),
		on(a, get, "/users/:user/identities", admin, a.listIdentities, "listIdentities",
			"Lists the accounts at login providers that a user is connected with.", ok[listJSON[identityJSON]]()),
		on(a, del, "/users/:user/identities/:identity", admin, a.Disconnect, "disconnectIdentity",
			"Parts a user from their account at a login provider.", ok[successJSON](), conflicts,
			says("Sessions that were begun by it end. It is refused where nothing else is left to log in with. A later login by an account with the user's verified address connects them again.")),
		on(a, get, "/users/:user/sessions", admin, a.listSessions, "listUserSessions", "Lists the sessions of a user.",
			ok[listJSON[sessionJSON]]()),
		on(a, del, "/users/:user/sessions", admin, a.EndSessions, "endUserSessions", "Ends all sessions of a user.", ok[successJSON]()),
		on(a, del, "/users/:user/sessions/:session", admin, a.EndSession, "endUserSession", "Ends a session of a user.", ok[successJSON]()),
		on(a, get, "/invitations", admin, a.listInvitations, "listInvitations", "Lists invitations that can still be accepted.",
			ok[listJSON[invitationJSON]]()),
		on(a, post, "/invitations", admin, a.createInvitation, "createInvitation",
			"Invites somebody to the dashboard, by mail and with a link that is shown once.", created[newInvitationJSON](), located,
			says("The link can be used once, within 7 days. What became of the mail is in `mail`: one that could not be handed in is tried again for most of a day. Without a mail server, pass the link on."),
			example(`{"email": "ann@example.com", "role": "developer", "tenant_id": "acme"}`)),
		on(a, post, "/invitations/:invitation/send", admin, a.sendInvitation, "sendInvitation",
			"Gives an invitation another link for 7 days, shown once, and sends it.", ok[newInvitationJSON](), says("The link of before ends.")),
		on(a, del, "/invitations/:invitation", admin, a.RevokeInvitation, "revokeInvitation", "Ends an invitation before it was accepted.",
			ok[successJSON]()),
		on(a, get, tenant+"/members", admin, a.listMembers, "listMembers", "Lists who has a role in a tenant.", ok[listJSON[memberJSON]]()),
		on(a, put, tenant+"/members/:user", admin, a.PutMember, "putMember", "Gives a user a role in a tenant.", ok[memberJSON](),
			says("Who sees the tenant only may change the roles of its members, and invites others."), example(`{"role": "developer"}`)),
		on(a, del, tenant+"/members/:user", admin, a.RemoveMember, "removeMember", "Removes a user's role in a tenant.", ok[successJSON]()))
}
