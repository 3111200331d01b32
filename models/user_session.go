package models

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// SessionLength is how long a session lasts, and RecentLogin for how long after the password was given a session may do what needs
// a recent login.
const (
	SessionLength = 14 * 24 * time.Hour
	RecentLogin   = 15 * time.Minute
)

// sessionSeen is how exactly it is known when a session was used last.
const sessionSeen = time.Minute

const sessionPrefix = "ses_"

// Session is a session of a user.
type Session struct {
	Key         uuid.UUID
	StartedAt   time.Time
	SeenAt      time.Time // to the minute
	ConfirmedAt time.Time // when the password was given last; zero for never
	IP          string    // that it was used from last
	Browser     string    // User-Agent that it was started with
}

// ID is the session's public id.
func (x *Session) ID() string { return sessionPrefix + hex.EncodeToString(x.Key[:]) }

// Recent reports whether the password was given a short while ago.
func (x *Session) Recent(now time.Time) bool { return now.Sub(x.ConfirmedAt) < RecentLogin }

// token makes a random token and the hash under which it is stored.
func token() (plain string, hash []byte) {
	var raw [32]byte
	rand.Read(raw[:])
	plain = base64.RawURLEncoding.EncodeToString(raw[:])
	h := sha256.Sum256([]byte(plain))
	return plain, h[:]
}

// StartSession starts a session of a user who has just logged in, and returns its token for the cookie. Where from is what the
// context says (WithAsker).
func (s *Store) StartSession(ctx context.Context, u *User) (plain string, err error) {
	s = s.root()
	return s.StartSessionBy(ctx, u, ProviderSession{})
}

// StartSessionBy is StartSession for a login by a provider.
func (s *Store) StartSessionBy(ctx context.Context, u *User, via ProviderSession) (plain string, err error) {
	s = s.root()
	err = s.InTx(ctx, func(tx *Tx) error {
		plain, err = beginSession(ctx, tx, u, via, nil)
		return err
	})
	return plain, err
}

// beginSession starts a session and says so in the audit log, with detail.
func beginSession(ctx context.Context, tx *Tx, u *User, via ProviderSession, detail map[string]any) (plain string, err error) {
	if plain, err = startSession(ctx, tx, u, via); err != nil {
		return "", err
	}
	return plain, tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Actor: u.Name, ActorKind: ActorUser, Action: "session.login",
		Object: strings.ToLower(u.Email), Detail: detail})
}

func startSession(ctx context.Context, tx *Tx, u *User, via ProviderSession) (string, error) {
	by, _ := ctx.Value(askerKey{}).(Asker)
	plain, hash := token()
	_, err := tx.Exec(ctx, `insert into sessions (id, token_hash, user_id, expires_at, confirmed_at, ip, browser, provider_issuer,
			provider_sid) values ($1, $2, $3, $4, now(), $5, $6, $7, $8)`, uuid.Must(uuid.NewV7()), hash, u.Key, time.Now().Add(SessionLength), by.IP,
		text(cut(by.Browser, 300)), via.Issuer, via.SID)
	if err == nil {
		_, err = tx.Exec(ctx, "update users set last_login_at = now() where id = $1", u.Key)
	}
	return plain, err
}

// EndSession ends a session.
func (s *Store) EndSession(ctx context.Context, plain string) error {
	s = s.root()
	hash := sha256.Sum256([]byte(plain))
	_, err := s.pool.Exec(ctx, "delete from sessions where token_hash = $1", hash[:])
	return err
}

// Session returns who a session belongs to, or nil when there is no such session or it is over. A user's roles are those of now.
func (s *Store) Session(ctx context.Context, plain string) (*Actor, error) {
	s = s.root()
	hash := sha256.Sum256([]byte(plain))
	var userID *uuid.UUID
	var name, tenantID *string
	var tenantKey *int64
	var role string
	var factor, passkey bool
	var confirmed *time.Time
	var x Session
	var keys []int64
	var roles []string
	err := s.pool.QueryRow(ctx, `select s.user_id, u.name, coalesce(u.role, ''), coalesce(u.totp_enabled_at is not null, false),
			exists (select 1 from passkeys p where p.user_id = s.user_id and p.rp_id = $2), s.tenant_key, t.id, s.id, s.created_at,
			s.seen_at, s.confirmed_at, s.ip, s.browser, m.keys, m.roles
		from sessions s left join users u on u.id = s.user_id
		left join tenants t on t.key = s.tenant_key and t.deleted_at is null
		left join lateral (select array_agg(m.tenant_key order by m.tenant_key) keys, array_agg(m.role order by m.tenant_key) roles
			from memberships m where m.user_id = s.user_id) m on true
		where s.token_hash = $1 and s.expires_at > now()`, hash[:], s.rpID()).Scan(&userID, &name, &role, &factor, &passkey,
		&tenantKey, &tenantID, &x.Key, &x.StartedAt, &x.SeenAt, &confirmed, &x.IP, &x.Browser, &keys, &roles)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if confirmed != nil {
		x.ConfirmedAt = *confirmed
	}
	if userID != nil {
		a := &Actor{Name: *name, Kind: ActorUser, UserID: *userID, Role: Role(role), Session: x, SecondFactor: factor, Passkey: passkey}
		a.setMembers(keys, roles)
		return a, nil
	}
	if tenantKey == nil || tenantID == nil {
		return nil, nil // the tenant was deleted
	}
	return portalActor(*tenantKey, *tenantID), nil
}

// portalActor is whoever has come by a tenant's portal link.
func portalActor(key int64, tenantID string) *Actor {
	return &Actor{Name: "portal of " + tenantID, Kind: ActorPortal, Scope: Scope{key: key}, TenantID: tenantID,
		May: []Permission{MayRead, MayWrite, MayRetry}}
}

// SessionSeen keeps that a user's session is used, and from where, to the minute.
func (s *Store) SessionSeen(ctx context.Context, a *Actor, ip string) error {
	s = s.root()
	if a.UserID == uuid.Nil || time.Since(a.Session.SeenAt) < sessionSeen {
		return nil
	}
	_, err := s.pool.Exec(ctx, "update sessions set seen_at = now(), ip = $2 where id = $1", a.Session.Key, ip)
	return err
}

// ConfirmSession keeps that the password of a session's user was given just now, and gives the session another token, which it
// returns: who got hold of the old one cannot do more with it than before.
func (s *Store) ConfirmSession(ctx context.Context, a *Actor) (plain string, err error) {
	s = s.root()
	return s.ConfirmSessionBy(ctx, a, ProviderSession{})
}

// ConfirmSessionBy is ConfirmSession for who has shown to a provider who they are. The session ends with that there.
func (s *Store) ConfirmSessionBy(ctx context.Context, a *Actor, via ProviderSession) (plain string, err error) {
	s = s.root()
	err = s.InTx(ctx, func(tx *Tx) error {
		plain, err = confirmSession(ctx, tx, a, via, nil)
		return err
	})
	return plain, err
}

func confirmSession(ctx context.Context, tx *Tx, a *Actor, via ProviderSession, detail map[string]any) (string, error) {
	plain, hash := token()
	tag, err := tx.Exec(ctx, `update sessions set token_hash = $2, confirmed_at = now(),
		provider_issuer = case when $3 = '' then provider_issuer else $3 end, provider_sid = case when $3 = '' then provider_sid else $4 end
		where id = $1 and user_id is not null`, a.Session.Key, hash, via.Issuer, via.SID)
	if err == nil && tag.RowsAffected() == 0 {
		return "", &Error{Kind: KindUnauthorized, Message: "Your session has ended. Log in again."}
	}
	if err != nil {
		return "", err
	}
	return plain, tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Action: "session.confirm", Object: a.Session.ID(), Detail: detail})
}

// Sessions lists the sessions of a user, the one that was used last first.
func (s *Store) Sessions(ctx context.Context, user uuid.UUID) ([]*Session, error) {
	s = s.root()
	rows, err := s.pool.Query(ctx, `select id, created_at, seen_at, coalesce(confirmed_at, '0001-01-01'), ip, browser from sessions
		where user_id = $1 and expires_at > now() order by seen_at desc, id desc limit 1000`, user)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (*Session, error) {
		x := &Session{}
		return x, r.Scan(&x.Key, &x.StartedAt, &x.SeenAt, &x.ConfirmedAt, &x.IP, &x.Browser)
	})
}

// RevokeSession ends one session of a user, by its public id.
func (s *Store) RevokeSession(ctx context.Context, u *User, id string) error {
	s = s.root()
	key, _ := parsePrefixed(sessionPrefix, id)
	return s.InTx(ctx, func(tx *Tx) error {
		tag, err := tx.Exec(ctx, "delete from sessions where id = $1 and user_id = $2", key, u.Key)
		if err == nil && tag.RowsAffected() == 0 {
			return notFound("There is no session %q of this user; it may have ended.", cut(id, 80))
		}
		if err != nil {
			return err
		}
		e := u.entry("session.revoke")
		e.Detail["session"] = id
		return tx.Audit(ctx, e)
	})
}

// RevokeSessions ends all sessions of a user but one, which may be zero, and says how many.
func (s *Store) RevokeSessions(ctx context.Context, u *User, but uuid.UUID) (n int, err error) {
	s = s.root()
	err = s.InTx(ctx, func(tx *Tx) error {
		tag, err := tx.Exec(ctx, "delete from sessions where user_id = $1 and id <> $2", u.Key, but)
		if err != nil {
			return err
		}
		n = int(tag.RowsAffected())
		e := u.entry("session.revoke")
		e.Detail["sessions"] = n
		return tx.Audit(ctx, e)
	})
	return n, err
}
