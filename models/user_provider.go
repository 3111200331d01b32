package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const identityPrefix = "idn_"

// ProviderSession is the session at a provider that a login came from. Both are empty for a login that none was asked about; SID is
// empty where the provider names no sessions.
type ProviderSession struct{ Issuer, SID string }

// Identity connects a user with their account at a login provider.
type Identity struct {
	Key         uuid.UUID
	Issuer      string
	Subject     string // the provider's name for them
	Email       string // verified there when the two were connected
	CreatedAt   time.Time
	LastLoginAt time.Time
}

// ID is the connection's public id.
func (i *Identity) ID() string { return identityPrefix + hex.EncodeToString(i.Key[:]) }

const (
	identityColumns = "id, issuer, subject, email, created_at, last_login_at"
	identitySelect  = "select " + identityColumns + " from identities"
)

func scanIdentity(r pgx.CollectableRow) (*Identity, error) {
	i := &Identity{}
	return i, r.Scan(&i.Key, &i.Issuer, &i.Subject, &i.Email, &i.CreatedAt, &i.LastLoginAt)
}

// Identities lists the accounts at login providers that a user is connected with, the oldest first. Others than the present provider's
// are of one that was configured before.
func (s *Store) Identities(ctx context.Context, user uuid.UUID) ([]*Identity, error) {
	s = s.root()
	rows, err := s.pool.Query(ctx, identitySelect+" where user_id = $1 order by created_at, id", user)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanIdentity)
}

// LoginWays are the ways to log in that a server takes.
type LoginWays struct {
	Passwords bool
	Passkeys  bool
	Issuer    string // of the login provider; empty for none
}

// checkWays refuses to go on where a user has no way left to log in, as the transaction sees them.
func (s *Store) checkWays(ctx context.Context, tx *Tx, u *User, ways LoginWays) error {
	var password, passkey, identity bool
	err := tx.Pgx.QueryRow(ctx, `select password_hash <> $2, exists (select 1 from passkeys where user_id = $1 and rp_id = $3),
		exists (select 1 from identities where user_id = $1 and issuer = $4) from users where id = $1 for update`, u.Key, noPassword, s.rpID(),
		ways.Issuer).Scan(&password, &passkey, &identity)
	if errors.Is(err, pgx.ErrNoRows) {
		return notFound("This user was removed.")
	}
	if err != nil {
		return err
	}
	if password && ways.Passwords || passkey && ways.Passkeys || identity && ways.Issuer != "" {
		return nil
	}
	return conflict("%s", ways.last())
}

// last is why the last way to log in stays.
func (w LoginWays) last() string {
	const stays = "Nothing would be left to log in with, so it stays. "
	switch {
	case w.Passkeys && w.Passwords:
		return stays + "Add a passkey first, or have whoever runs the server set a password: waybill users reset-password."
	case w.Issuer != "":
		return stays + "This server takes logins by its provider only; remove the user to end their access."
	}
	return stays + "Have whoever runs the server set a password first: waybill users reset-password."
}

// Disconnect parts a user from an account at a login provider, and ends the sessions that were begun by it. Who does that to themselves is
// not connected again by a login alone, which may not be theirs any more. It is refused where nothing else is left to log in with.
func (s *Store) Disconnect(ctx context.Context, by *Actor, u *User, id string, ways LoginWays) error {
	s = s.root()
	if err := mayChange(by, u); err != nil {
		return err
	}
	key, _ := parsePrefixed(identityPrefix, id)
	return s.InTx(ctx, func(tx *Tx) error {
		rows, err := tx.Query(ctx, "delete from identities where id = $1 and user_id = $2 returning "+identityColumns, key, u.Key)
		if err != nil {
			return err
		}
		i, err := pgx.CollectExactlyOneRow(rows, scanIdentity)
		if errors.Is(err, pgx.ErrNoRows) {
			return notFound("This user has no connection %q with a login provider; it may have been removed.", cut(id, 80))
		}
		if err != nil {
			return err
		}
		if err := s.checkWays(ctx, tx, u, ways); err != nil {
			return err
		}
		if by.UserID == u.Key {
			if _, err := tx.Exec(ctx, "update users set disconnected_at = now() where id = $1", u.Key); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "delete from sessions where user_id = $1 and provider_issuer = $2 and id <> $3", u.Key, i.Issuer,
			by.Session.Key); err != nil {
			return err
		}
		if err := s.tell(ctx, tx, u, u.Email, "user.disconnect", LetterData{Issuer: i.Issuer}); err != nil {
			return err
		}
		e := u.entry("user.disconnect")
		e.Detail["issuer"], e.Detail["subject"] = i.Issuer, cut(i.Subject, 255)
		return tx.Audit(ctx, e)
	})
}

// ProviderLogout is what a login provider says of a logout there (OpenID Connect Back-Channel Logout 1.0, section 2.4).
type ProviderLogout struct {
	Provider   string // as people call it
	Issuer     string
	ID         string    // jti: each counts once
	Subject    string    // whose sessions end; may be empty beside a SID
	SID        string    // the only session there that has ended; empty for all of the subject's
	ValidUntil time.Time // afterwards the token is refused for its age
}

// errTokenUsed refuses a logout token that comes again.
var errTokenUsed = &Error{Kind: KindInvalid, Message: "This logout token (jti) was used already."}

// LogoutByProvider ends the sessions that a logout at the provider ends here: those of its sid, or without one all of the user's, also such
// as were begun by a password; also logins that wait for their second step. It says how many there were. That nobody is logged in is none
// the less a success (section 2.7).
func (s *Store) LogoutByProvider(ctx context.Context, out ProviderLogout) (n int, err error) {
	s = s.root()
	hash := sha256.Sum256([]byte(out.Issuer + "\x00" + out.ID))
	err = s.InTx(ctx, func(tx *Tx) error {
		n = 0
		tag, err := tx.Exec(ctx, "insert into logout_tokens (hash, expires_at) values ($1, $2) on conflict do nothing", hash[:], out.ValidUntil)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return errTokenUsed
		}
		users := map[uuid.UUID]int{}
		for _, table := range []string{"sessions", "login_steps"} {
			sql, args := "delete from "+table+` where user_id = (select user_id from identities where issuer = $1 and subject = $2)
				returning user_id`, []any{out.Issuer, out.Subject}
			if out.SID != "" {
				sql, args = "delete from "+table+` where provider_issuer = $1 and provider_sid = $2 and ($3 = '' or
					user_id = (select user_id from identities where issuer = $1 and subject = $3)) returning user_id`,
					[]any{out.Issuer, out.SID, out.Subject}
			}
			rows, err := tx.Query(ctx, sql, args...)
			if err != nil {
				return err
			}
			ended, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			if err != nil {
				return err
			}
			for _, user := range ended {
				users[user]++
			}
		}
		for key, sessions := range users {
			n += sessions
			u, err := oneUser(ctx, tx, "u.id = $1", key, "")
			if err != nil {
				return err
			}
			e := u.entry("session.provider_logout")
			e.Actor, e.ActorKind = out.Provider, ActorServer
			e.Detail["issuer"], e.Detail["sessions"] = out.Issuer, sessions
			if err := tx.Audit(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}
