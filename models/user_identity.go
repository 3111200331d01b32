package models

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ProviderLogin is somebody who has proved to a login provider who they are.
type ProviderLogin struct {
	Provider        string // as people call it
	Issuer, Subject string
	Email           string // empty where the provider does not tell it
	Verified        bool   // the address
	Name            string
	Mapped          bool      // groups give roles for the whole server
	Role            Role      // that they give; RoleNone for none
	Confirm         uuid.UUID // the user who has to be the one; zero for anybody
}

// errIdentity refuses a login by a provider.
func errIdentity(format string, args ...any) error {
	return &Error{Kind: KindForbidden, Message: fmt.Sprintf(format, args...)}
}

// ProviderUser finds the user of a login by a provider: by issuer and subject, else once by the verified e-mail address, which connects
// the two. Somebody whose groups give a role, or who is invited, becomes a user. The role for the whole server follows the groups.
// What is refused is an *Error of KindForbidden.
func (s *Store) ProviderUser(ctx context.Context, in ProviderLogin) (u *User, err error) {
	s = s.root()
	var refused error
	err = s.InTx(ctx, func(tx *Tx) error {
		refused = nil
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1, $2)", int32(lockIdentity), lockHash(in.Issuer+" "+in.Subject)); err != nil {
			return err
		}
		// As in lockUser, so that nobody waits for one another: below, an owner may become less.
		if _, err := tx.Exec(ctx, "select id from users where role = 'owner' order by id for update"); err != nil {
			return err
		}
		var given Role
		if u, given, err = in.user(ctx, tx); err != nil {
			return err
		}
		ctx := WithAsker(ctx, u.asker(ctx))
		if err := in.acceptInvitations(ctx, tx, u); err != nil {
			return err
		}
		if u, err = oneUser(ctx, tx, "u.id = $1", u.Key, u.ID()); err != nil {
			return err
		}
		if err := in.follow(ctx, tx, u, given); err != nil {
			return err
		}
		if in.Mapped && u.Role == RoleNone && len(u.Members) == 0 {
			refused = in.errNoRole()
		}
		return nil
	})
	if err == nil {
		err = refused // what was taken away stays so
	}
	if err != nil {
		return nil, err
	}
	return u, nil
}

func (in ProviderLogin) errNoRole() error {
	return errIdentity("Your account at %s has no role on this server. Ask an administrator to invite you, or to add you to a group.", in.Provider)
}

// user is the user with the role that groups gave them last. They may be new.
func (in ProviderLogin) user(ctx context.Context, tx *Tx) (u *User, given Role, err error) {
	var key uuid.UUID
	err = tx.Pgx.QueryRow(ctx, `update identities set last_login_at = now() where issuer = $1 and subject = $2
		returning user_id, coalesce(mapped_role, '')`, in.Issuer, in.Subject).Scan(&key, &given)
	switch {
	case err == nil && in.Confirm != uuid.Nil && in.Confirm != key:
		return nil, "", errIdentity("This account at %s is another user's. Log in there as yourself.", in.Provider)
	case err == nil:
		u, err = oneUser(ctx, tx, "u.id = $1", key, "")
		return u, given, err
	case !errors.Is(err, pgx.ErrNoRows):
		return nil, "", err
	}
	if in.Email == "" {
		return nil, "", errIdentity("%s does not tell your e-mail address. Let it, and try again.", in.Provider)
	}
	if !in.Verified {
		return nil, "", errIdentity("%s has not verified your e-mail address %s. Verify it there, and try again.", in.Provider, cut(in.Email, 254))
	}
	u, err = oneUser(ctx, tx, "lower(u.email) = lower($1)", in.Email, in.Email)
	if IsKind(err, KindNotFound) && in.Confirm == uuid.Nil {
		u, err = in.create(ctx, tx)
	} else if err == nil {
		err = in.mayConnect(ctx, tx, u)
	} else if IsKind(err, KindNotFound) {
		err = errIdentity("Your account at %s has the address %s, which is not yours here.", in.Provider, cut(in.Email, 254))
	}
	if err != nil {
		return nil, "", err
	}
	if _, err := tx.Exec(ctx, "insert into identities (issuer, subject, user_id, email) values ($1, $2, $3, $4)", in.Issuer, in.Subject, u.Key,
		in.Email); err != nil {
		return nil, "", err
	}
	if _, err := tx.Exec(ctx, "update users set disconnected_at = null where id = $1", u.Key); err != nil {
		return nil, "", err
	}
	e := u.entry("user.identity")
	e.Detail["provider"], e.Detail["issuer"], e.Detail["subject"] = in.Provider, in.Issuer, cut(in.Subject, 255)
	return u, "", tx.Audit(WithAsker(ctx, u.asker(ctx)), e)
}

// mayConnect says why a user of the same address is not connected.
func (in ProviderLogin) mayConnect(ctx context.Context, tx *Tx, u *User) error {
	if in.Confirm != uuid.Nil && in.Confirm != u.Key {
		return errIdentity("Your account at %s has the address of another user. Log in there as yourself.", in.Provider)
	}
	var changed, gone, other bool
	err := tx.Pgx.QueryRow(ctx, `select email_changed_at is not null, disconnected_at is not null,
		exists (select 1 from identities where user_id = $1 and issuer = $2)
		from users where id = $1 for update`, u.Key, in.Issuer).Scan(&changed, &gone, &other)
	switch {
	case err != nil:
		return err
	case other:
		return errIdentity("The user with the address %s is connected with another account at %s. Ask an administrator.", u.Email, in.Provider)
	case gone && in.Confirm == uuid.Nil:
		return errIdentity("The user with the address %s has disconnected %s. Log in in another way and connect it under “Your account”.",
			u.Email, in.Provider)
	case changed && in.Confirm == uuid.Nil:
		// Whoever wrote the address may not be its owner, and still knows the password.
		return errIdentity("The user with the address %s has written it themselves. Log in with the password and connect %s under “Your account”.",
			u.Email, in.Provider)
	}
	return nil
}

// create makes a user without a password, for whom there must be a role.
func (in ProviderLogin) create(ctx context.Context, tx *Tx) (*User, error) {
	bad := problems{}
	if checkEmail(in.Email, bad); len(bad) > 0 {
		return nil, errIdentity("%s says an e-mail address that is none.", in.Provider)
	}
	var invited bool
	err := tx.Pgx.QueryRow(ctx, "select exists (select 1 from invitations i left join tenants t on t.key = i.tenant_key where lower(i.email) = lower($1) and "+
		openInvitation+")", in.Email).Scan(&invited)
	if err != nil {
		return nil, err
	}
	if in.Role == RoleNone && !invited {
		return nil, in.errNoRole()
	}
	u := newUser(UserInput{Name: in.name(), Email: in.Email}, in.Role)
	if err := u.insert(ctx, tx, noPassword); err != nil {
		return nil, err
	}
	return u, tx.Audit(WithAsker(ctx, u.asker(ctx)), u.created())
}

// name is what the user is called: as the provider says, or by the address.
func (in ProviderLogin) name() string {
	name := strings.TrimSpace(strings.ReplaceAll(in.Name, "\x00", ""))
	for len(name) > maxNameLength {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	if name == "" {
		name, _, _ = strings.Cut(in.Email, "@")
	}
	return name
}

// acceptInvitations gives a user the roles that their verified address is invited to.
func (in ProviderLogin) acceptInvitations(ctx context.Context, tx *Tx, u *User) error {
	if !in.Verified || in.Email == "" || in.Confirm != uuid.Nil {
		return nil
	}
	rows, err := tx.Query(ctx, invitationSelect+" where lower(i.email) = lower($1) and "+openInvitation+" order by i.id for update of i", in.Email)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, scanInvitation)
	if err != nil {
		return err
	}
	for _, i := range list {
		if _, err := tx.Exec(ctx, "update invitations set used_at = now() where id = $1", i.Key); err != nil {
			return err
		}
		if err := i.give(ctx, tx, &Accepted{User: u}, false); err != nil {
			return err
		}
	}
	return nil
}

// follow makes a user's role for the whole server what the groups say. Where they say nothing, the role goes that they gave before, and
// one that somebody gave here stays. The last owner stays one.
func (in ProviderLogin) follow(ctx context.Context, tx *Tx, u *User, given Role) error {
	if !in.Mapped {
		return nil
	}
	if in.Role != RoleNone || given != RoleNone && given == u.Role {
		_, err := lockUser(ctx, tx, &Actor{Role: RoleOwner}, u.ID(), in.Role)
		if err == nil {
			err = changeRole(ctx, tx, u, in.Role, in.Provider)
		}
		if err != nil && !errors.Is(err, errLastOwner) {
			return err
		}
	}
	_, err := tx.Exec(ctx, "update identities set mapped_role = nullif($3, '') where issuer = $1 and subject = $2", in.Issuer, in.Subject, in.Role)
	return err
}
