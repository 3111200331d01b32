package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// InvitationLength is how long an invitation can be accepted.
const InvitationLength = 7 * 24 * time.Hour

const invitationPrefix = "inv_"

// Invitation offers somebody a role. Its token is known to whoever got the link only.
type Invitation struct {
	Key        uuid.UUID
	Email      string
	Role       Role
	TenantKey  *int64 // where the role is; nil for the whole server
	TenantID   string // empty for the whole server
	TenantName string // as people see it
	CreatedBy  string
	CreatedAt  time.Time
	ExpiresAt  time.Time
	Mail       *LetterState // nil for invitations of before that was kept
}

// ID is the invitation's public id.
func (i *Invitation) ID() string { return invitationPrefix + hex.EncodeToString(i.Key[:]) }

// Place is where the role is, in words.
func (i *Invitation) Place() string {
	if i.TenantKey == nil {
		return "the whole server"
	}
	return i.TenantName
}

// InvitationInput is what a caller says of a new invitation.
type InvitationInput struct {
	Email    string `json:"email" api:"required" doc:"Whom to invite."`
	Role     Role   `json:"role" api:"required,enum=owner|admin|developer|viewer" doc:"What they may do. 'owner' is for the whole server only, and for owners to give."`
	TenantID string `json:"tenant_id" doc:"The tenant where they have the role; absent for the whole server."`
}

// NewInvitation is an invitation with the token of its link, and the letter that brings it.
type NewInvitation struct {
	*Invitation
	Token  string
	Letter uuid.UUID
}

// Invite makes an invitation, and the token of its link. Its letter is for the caller to try first. The answer does not tell whether the
// address has a user.
func (s *Store) Invite(ctx context.Context, by *Actor, in InvitationInput) (*NewInvitation, error) {
	s = s.root()
	in.Email = strings.TrimSpace(in.Email)
	if in.TenantID == "" {
		in.TenantID = by.TenantID
	}
	bad := problems{}
	checkEmail(in.Email, bad)
	checkRole(in.Role, in.TenantID != "", bad)
	if err := bad.err(); err != nil {
		return nil, err
	}
	if in.Role == RoleOwner && by.Role != RoleOwner {
		return nil, errOwnersOnly
	}
	plain, hash := token()
	now := time.Now().UTC()
	i := &Invitation{Key: uuid.Must(uuid.NewV7()), Email: in.Email, Role: in.Role, CreatedBy: by.Name, CreatedAt: now,
		ExpiresAt: now.Add(InvitationLength)}
	if in.TenantID != "" {
		t, err := s.Tenant(ctx, by.Scope, in.TenantID)
		if err != nil {
			return nil, err
		}
		i.TenantKey, i.TenantID, i.TenantName = &t.Key, t.ID, t.Name()
	}
	made := &NewInvitation{Invitation: i, Token: plain}
	return made, s.InTx(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, `insert into invitations (id, token_hash, email, role, tenant_key, created_by, user_id, created_at, expires_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, i.Key, hash, i.Email, i.Role, i.TenantKey, text(i.CreatedBy), idOrNil(by.UserID),
			i.CreatedAt, i.ExpiresAt)
		if err != nil {
			return err
		}
		if made.Letter, err = s.writeInvitation(ctx, tx, i, plain); err != nil {
			return err
		}
		return tx.Audit(ctx, i.entry("invitation.create"))
	})
}

// ResendInvitation gives an invitation that can still be accepted another link, for the full time, and has it sent. The link of before
// ends: it may have gone astray.
func (s *Store) ResendInvitation(ctx context.Context, by *Actor, id string) (*NewInvitation, error) {
	s = s.root()
	plain, hash := token()
	made := &NewInvitation{Token: plain}
	return made, s.InTx(ctx, func(tx *Tx) (err error) {
		if made.Invitation, err = lockInvitation(ctx, tx, by, id); err != nil {
			return err
		}
		made.ExpiresAt = time.Now().UTC().Add(InvitationLength)
		if _, err := tx.Exec(ctx, "update invitations set token_hash = $2, expires_at = $3 where id = $1", made.Key, hash,
			made.ExpiresAt); err != nil {
			return err
		}
		if made.Letter, err = s.writeInvitation(ctx, tx, made.Invitation, plain); err != nil {
			return err
		}
		return tx.Audit(ctx, made.entry("invitation.send"))
	})
}

func (i *Invitation) entry(action string) AuditEntry {
	e := AuditEntry{Scope: AllTenants(), Action: action, Object: i.ID(), Detail: map[string]any{"email": i.Email, "role": i.Role}}
	if i.TenantKey != nil {
		e.Scope = Scope{key: *i.TenantKey}
	}
	return e
}

const (
	invitationSelect = `select i.id, i.email, i.role, i.tenant_key, coalesce(t.id, ''), coalesce(nullif(t.settings->>'name', ''), t.id, ''), i.created_by,
	i.created_at, i.expires_at, ` + letterState + ` from invitations i left join tenants t on t.key = i.tenant_key` + letterJoin
	// openInvitation is the condition of invitations that can be accepted.
	openInvitation = "i.used_at is null and i.expires_at > now() and (i.tenant_key is null or t.deleted_at is null)"
)

func scanInvitation(r pgx.CollectableRow) (*Invitation, error) {
	i, mail := &Invitation{}, &LetterState{}
	var status *string
	err := r.Scan(&i.Key, &i.Email, &i.Role, &i.TenantKey, &i.TenantID, &i.TenantName, &i.CreatedBy, &i.CreatedAt, &i.ExpiresAt, &status,
		&mail.Tries, &mail.Error, &mail.NextTry, &mail.SentAt)
	if status != nil {
		mail.Status, i.Mail = *status, mail
		if mail.Status != LetterWaiting {
			mail.NextTry = nil
		}
	}
	return i, err
}

// Invitations lists those that can be accepted, newest first: of the scope's tenants, or all.
func (s *Store) Invitations(ctx context.Context, scope Scope) ([]*Invitation, error) {
	s = s.root()
	q := newQuery()
	q.and(openInvitation)
	scope.where(q, "i.tenant_key")
	rows, err := s.pool.Query(ctx, invitationSelect+q.sql()+" order by i.id desc limit 1000", q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanInvitation)
}

// openInvitationOf reads an invitation that can still be accepted, by its key.
func (s *Store) openInvitationOf(ctx context.Context, key uuid.UUID) (*Invitation, error) {
	rows, err := s.pool.Query(ctx, invitationSelect+" where i.id = $1 and "+openInvitation, key)
	if err != nil {
		return nil, err
	}
	return pgx.CollectExactlyOneRow(rows, scanInvitation)
}

// RefreshInvitation reads an invitation again. One that was accepted or ended meanwhile stays as it was.
func (s *Store) RefreshInvitation(ctx context.Context, i *Invitation) (*Invitation, error) {
	s = s.root()
	now, err := s.openInvitationOf(ctx, i.Key)
	if errors.Is(err, pgx.ErrNoRows) {
		return i, nil
	}
	return now, err
}

// lockInvitation reads an invitation that can still be accepted, and that by may end, and keeps it as it is until the transaction ends.
func lockInvitation(ctx context.Context, tx *Tx, by *Actor, id string) (*Invitation, error) {
	key, _ := parsePrefixed(invitationPrefix, id)
	q := newQuery()
	q.and("i.id = ?", key)
	q.and(openInvitation)
	by.Scope.where(q, "i.tenant_key")
	rows, err := tx.Query(ctx, invitationSelect+q.sql()+" for update of i", q.args...)
	if err != nil {
		return nil, err
	}
	i, err := pgx.CollectExactlyOneRow(rows, scanInvitation)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound("There is no invitation %q that can still be accepted.", cut(id, 80))
	}
	if err == nil && i.Role == RoleOwner && by.Role != RoleOwner {
		err = errOwnersOnly
	}
	return i, err
}

// RevokeInvitation ends an invitation before it was accepted.
func (s *Store) RevokeInvitation(ctx context.Context, by *Actor, id string) error {
	s = s.root()
	return s.InTx(ctx, func(tx *Tx) error {
		i, err := lockInvitation(ctx, tx, by, id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from invitations where id = $1", i.Key); err != nil {
			return err
		}
		return tx.Audit(ctx, i.entry("invitation.revoke"))
	})
}

var errInvitationOver = &Error{Kind: KindNotFound, Message: "This invitation was accepted or revoked already, or it is too old. Ask for a new one."}

// Invitation returns the invitation of a link that can still be accepted, without using it up.
func (s *Store) Invitation(ctx context.Context, plain string) (*Invitation, error) {
	s = s.root()
	return invitationOf(ctx, s.pool, plain, "")
}

func invitationOf(ctx context.Context, db querier, plain, lock string) (*Invitation, error) {
	hash := sha256.Sum256([]byte(plain))
	rows, err := db.Query(ctx, invitationSelect+" where i.token_hash = $1 and "+openInvitation+lock, hash[:])
	if err != nil {
		return nil, err
	}
	i, err := pgx.CollectExactlyOneRow(rows, scanInvitation)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errInvitationOver
	}
	return i, err
}

// Accepted is what became of an invitation.
type Accepted struct {
	User    *User
	Session string // of a new user; empty for one who was there already, who logs in
}

// AcceptInvitation makes the user whom an invitation names, with the name and password that they give, and starts a session of
// theirs. Where the address has a user already the password has to be theirs, and the role is added to what they have.
func (s *Store) AcceptInvitation(ctx context.Context, plain string, in UserInput) (*Accepted, error) {
	s = s.root()
	i, err := s.Invitation(ctx, plain)
	if err != nil {
		return nil, err
	}
	in.Email = i.Email
	known, err := s.UserByEmail(ctx, i.Email)
	if err != nil && !IsKind(err, KindNotFound) {
		return nil, err
	}
	hash := ""
	if known == nil {
		if err := in.check(); err != nil {
			return nil, err
		}
		hash, err = hashPassword(in.Password)
	} else {
		err = s.CheckPassword(ctx, known.Key, "password", in.Password)
	}
	if err != nil {
		return nil, err
	}
	out := &Accepted{User: known}
	err = s.InTx(ctx, func(tx *Tx) error {
		if i, err = invitationOf(ctx, tx, plain, " for update of i"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "update invitations set used_at = now() where id = $1", i.Key); err != nil {
			return err
		}
		if known == nil {
			out.User = newUser(in, RoleNone)
			if err := out.User.insert(ctx, tx, hash); err != nil {
				return err
			}
		}
		return i.give(ctx, tx, out, known == nil)
	})
	return out, err
}

// give adds the invitation's role to what its user has.
func (i *Invitation) give(ctx context.Context, tx *Tx, out *Accepted, fresh bool) error {
	u, err := oneUser(ctx, tx, "u.id = $1", out.User.Key, out.User.ID())
	if err != nil {
		return err
	}
	ctx = WithAsker(ctx, u.asker(ctx))
	e := i.entry("invitation.accept")
	e.Detail["user"] = u.ID()
	if err := tx.Audit(ctx, e); err != nil {
		return err
	}
	if fresh {
		if err := tx.Audit(ctx, u.created()); err != nil {
			return err
		}
	}
	before := u.RoleIn(i.TenantID)
	switch {
	case i.TenantKey == nil && i.Role.Over(u.Role):
		if _, err := tx.Exec(ctx, "update users set role = $2 where id = $1", u.Key, i.Role); err != nil {
			return err
		}
		was := u.snapshot()
		u.Role = i.Role
		r := u.entry("user.role")
		r.Changes = was.changes(u.snapshot())
		if err := roleChanged(ctx, tx, u.Key, false, nil); err != nil {
			return err
		}
		if err := tx.Audit(ctx, r); err != nil {
			return err
		}
	case i.TenantKey != nil && i.Role.Over(before):
		if err := setMember(ctx, tx, u, &Tenant{Key: *i.TenantKey, ID: i.TenantID}, before, i.Role); err != nil {
			return err
		}
	}
	out.User = u
	if fresh {
		out.Session, err = beginSession(ctx, tx, u, ProviderSession{}, nil)
	}
	return err
}

// asker is the user as the one who does what the context's request asks for.
func (u *User) asker(ctx context.Context) Asker {
	by, _ := ctx.Value(askerKey{}).(Asker)
	by.Actor, by.ActorKind = u.Name, ActorUser
	return by
}
