package models

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// errOwnersOnly refuses what only owners do.
var errOwnersOnly = &Error{Kind: KindForbidden, Message: "Only an owner can make, change or remove owners."}

// errLastOwner keeps a server from being nobody's.
var errLastOwner = conflict("This is the last owner. Make somebody else an owner first.")

// lockUser reads a user whom nobody else changes until the transaction ends, and who is not the last owner where another role, or
// none, is coming.
func lockUser(ctx context.Context, tx *Tx, by *Actor, id string, role Role) (*User, error) {
	// In one order, so that two owners who remove each other wait for one another.
	rows, err := tx.Query(ctx, "select id from users where role = 'owner' order by id for update")
	if err != nil {
		return nil, err
	}
	owners, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, "select 1 from users where id = $1 for update", ParseUserID(id)); err != nil {
		return nil, err
	}
	u, err := oneUser(ctx, tx, "u.id = $1", ParseUserID(id), id)
	if err != nil {
		return nil, err
	}
	if (u.Role == RoleOwner || role == RoleOwner) && by.Role != RoleOwner {
		return nil, errOwnersOnly
	}
	if u.Role == RoleOwner && role != RoleOwner && len(owners) < 2 {
		return nil, errLastOwner
	}
	return u, nil
}

// SetRole gives a user another role for the whole server, or none.
func (s *Store) SetRole(ctx context.Context, by *Actor, id string, role Role) (*User, error) {
	s = s.root()
	if role != RoleNone {
		bad := problems{}
		checkRole(role, false, bad)
		if err := bad.err(); err != nil {
			return nil, err
		}
	}
	err := s.InTx(ctx, func(tx *Tx) error {
		u, err := lockUser(ctx, tx, by, id, role)
		if err != nil {
			return err
		}
		return changeRole(ctx, tx, u, role, "")
	})
	if err != nil {
		return nil, err
	}
	return s.User(ctx, id)
}

// changeRole gives a user, who is locked, another role. Provider is whose groups say so; empty for somebody here.
func changeRole(ctx context.Context, tx *Tx, u *User, role Role, provider string) error {
	if u.Role == role {
		return nil
	}
	before := u.snapshot()
	if _, err := tx.Exec(ctx, "update users set role = nullif($2, '') where id = $1", u.Key, role); err != nil {
		return err
	}
	if err := roleChanged(ctx, tx, u.Key, u.Role.Over(role), nil); err != nil {
		return err
	}
	e := u.entry("user.role")
	u.Role = role
	e.Changes = before.changes(u.snapshot())
	if provider != "" {
		e.Detail["groups_at"] = provider
	}
	return tx.Audit(ctx, e)
}

// roleChanged has a user give the password again, and so get another token for their session, before anything that needs a recent
// login. Invitations of somebody who was made less end: they could make themselves more with one.
func roleChanged(ctx context.Context, tx *Tx, user uuid.UUID, less bool, tenantKey *int64) error {
	if _, err := tx.Exec(ctx, "update sessions set confirmed_at = null where user_id = $1", user); err != nil || !less {
		return err
	}
	_, err := tx.Exec(ctx, "delete from invitations where user_id = $1 and used_at is null and ($2::bigint is null or tenant_key = $2)", user, tenantKey)
	return err
}

// DeleteUser removes a user with their sessions, memberships, own views and invitations. What they did stays in the audit log, and
// API keys that they made go on.
func (s *Store) DeleteUser(ctx context.Context, by *Actor, id string) (*User, error) {
	s = s.root()
	var u *User
	return u, s.InTx(ctx, func(tx *Tx) (err error) {
		if u, err = lockUser(ctx, tx, by, id, RoleNone); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from users where id = $1", u.Key); err != nil {
			return err
		}
		return tx.Audit(ctx, u.entry("user.delete"))
	})
}

// Members lists the members of a tenant, by name, each with that membership only.
func (s *Store) Members(ctx context.Context, scope Scope, tenantID string) ([]*User, error) {
	s = s.root()
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, userSelect+` where exists (select 1 from memberships m where m.user_id = u.id and m.tenant_key = $1)
		order by lower(u.name), u.id limit $2`, t.Key, maxUsers)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanUser)
	for _, u := range list {
		u.only(t.Key)
	}
	return list, err
}

// only leaves one of a user's memberships: whoever sees one tenant is not told of others.
func (u *User) only(tenantKey int64) {
	all := u.Members
	u.Members = nil
	for _, m := range all {
		if m.TenantKey == tenantKey {
			u.Members = append(u.Members, m)
		}
	}
}

// RoleIn is a user's role in a tenant, of those of Members; empty for none.
func (u *User) RoleIn(tenantID string) Role {
	for _, m := range u.Members {
		if m.TenantID == tenantID {
			return m.Role
		}
	}
	return RoleNone
}

// SetMember gives a user a role in a tenant, or with RoleNone takes it away. Who sees the tenant only may change those who are
// members, and invites others.
func (s *Store) SetMember(ctx context.Context, by *Actor, tenantID, id string, role Role) (*User, error) {
	s = s.root()
	t, err := s.Tenant(ctx, by.Scope, tenantID)
	if err != nil {
		return nil, err
	}
	if role != RoleNone {
		bad := problems{}
		checkRole(role, true, bad)
		if err := bad.err(); err != nil {
			return nil, err
		}
	}
	var u *User
	err = s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, "select 1 from users where id = $1 for update", ParseUserID(id)); err != nil {
			return err
		}
		if u, err = oneUser(ctx, tx, "u.id = $1", ParseUserID(id), id); err != nil {
			return err
		}
		before := u.RoleIn(t.ID)
		if before == RoleNone && (by.TenantID != "" || role == RoleNone) {
			return notFound("There is no member %q of this tenant.", cut(id, 80))
		}
		if before == role {
			return nil
		}
		return setMember(ctx, tx, u, t, before, role)
	})
	if err != nil {
		return nil, err
	}
	if u, err = s.User(ctx, id); err == nil {
		u.only(t.Key)
	}
	return u, err
}

// setMember writes a membership, which was before.
func setMember(ctx context.Context, tx *Tx, u *User, t *Tenant, before, role Role) error {
	sql, args := "delete from memberships where user_id = $1 and tenant_key = $2", []any{u.Key, t.Key}
	action := "member.remove"
	if role != RoleNone {
		sql, args = `insert into memberships (user_id, tenant_key, role) values ($1, $2, $3)
			on conflict (user_id, tenant_key) do update set role = excluded.role`, append(args, role)
		action = "member.update"
	}
	if before == RoleNone {
		action = "member.add"
	}
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return err
	}
	if err := roleChanged(ctx, tx, u.Key, before.Over(role), &t.Key); err != nil {
		return err
	}
	was, is := newSnapshot(), newSnapshot()
	was.set("role", string(before))
	is.set("role", string(role))
	e := u.entry(action)
	e.Scope, e.Changes = t.Scope(), was.changes(is)
	return tx.Audit(ctx, e)
}
