package models

import "slices"

// Role is what somebody may do: on the whole server, or in one tenant.
type Role string

// The roles, each with what the ones below it have. RoleNone sees nothing.
const (
	RoleOwner     Role = "owner" // of the server only: also makes and removes owners
	RoleAdmin     Role = "admin"
	RoleDeveloper Role = "developer"
	RoleViewer    Role = "viewer"
	RoleNone      Role = ""
)

// ServerRoles are the roles that somebody may have for the whole server, TenantRoles those for one tenant; the highest first.
var (
	ServerRoles = []Role{RoleOwner, RoleAdmin, RoleDeveloper, RoleViewer}
	TenantRoles = []Role{RoleAdmin, RoleDeveloper, RoleViewer}
)

// May lists the permissions of a role.
func (r Role) May() []Permission {
	switch r {
	case RoleOwner, RoleAdmin:
		return []Permission{MayAdmin}
	case RoleDeveloper:
		return []Permission{MayRead, MayWrite, MayRetry, MayPublish}
	case RoleViewer:
		return []Permission{MayRead}
	}
	return nil
}

// Over reports whether r is a higher role than other.
func (r Role) Over(other Role) bool { return r.rank() > other.rank() }

// rank is 0 for no role.
func (r Role) rank() int {
	i := slices.Index(ServerRoles, r)
	if i < 0 {
		return 0
	}
	return len(ServerRoles) - i
}

// RoleFor is the lowest role that has a permission.
func RoleFor(p Permission) Role {
	for _, r := range slices.Backward(ServerRoles) {
		if slices.Contains(r.May(), p) {
			return r
		}
	}
	return RoleAdmin
}

// checkRole says what is wrong with a role for one tenant, or for the whole server.
func checkRole(role Role, tenant bool, bad problems) {
	switch {
	case tenant && !slices.Contains(TenantRoles, role):
		bad.add("role", "must be admin, developer or viewer")
	case !tenant && !slices.Contains(ServerRoles, role):
		bad.add("role", "must be owner, admin, developer or viewer")
	}
}

// Member is somebody's role in one tenant.
type Member struct {
	TenantKey int64  `json:"-"`
	TenantID  string `json:"tenant_id"`
	Name      string `json:"-"` // of the tenant, as people see it
	Role      Role   `json:"role" api:"enum=admin|developer|viewer"`
}

// In is the actor within one tenant: with the role that they have there, where it is higher than that for the whole server, and
// then as somebody who sees this tenant only. In a tenant that their scope does not see they may do nothing.
func (a *Actor) In(t *Tenant) *Actor {
	in := *a
	if !a.Scope.sees(t.Key) {
		in.Scope, in.TenantID, in.May = Scope{}, t.ID, nil
		return &in
	}
	in.Scope = t.Scope()
	if member := a.members[t.Key]; member.Over(a.Role) {
		in.TenantID, in.May = t.ID, member.May()
	}
	return &in
}

// Tenants is how many tenants the actor is a member of.
func (a *Actor) Tenants() int { return len(a.members) }

// RoleIn is a user's role within a tenant, or for the whole server with nil; empty for none, and for who is no user.
func (a *Actor) RoleIn(t *Tenant) Role {
	if t != nil && a.members[t.Key].Over(a.Role) {
		return a.members[t.Key]
	}
	return a.Role
}

// setMembers gives a user who has no role for the whole server the sight of their tenants. What they may do there is said by In.
func (a *Actor) setMembers(keys []int64, roles []string) {
	a.members = map[int64]Role{}
	for i, k := range keys {
		a.members[k] = Role(roles[i])
	}
	a.Scope, a.May = AllTenants(), a.Role.May()
	if a.Role == RoleNone {
		a.Scope = Scope{}
		if len(keys) > 0 {
			a.Scope = Scope{key: keys[0], more: keys[1:]}
		}
	}
}
