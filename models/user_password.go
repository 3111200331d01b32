package models

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/semaphore"
)

// passwordParams follow OWASP's advice for Argon2id with little memory, so that a login costs some tens of
// milliseconds and 19 MiB.
var passwordParams = &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

func hashPassword(password string) (string, error) {
	return argon2id.CreateHash(password, passwordParams)
}

// errBadLogin is the same for an unknown e-mail address and a wrong password.
var errBadLogin = &Error{Kind: KindInvalid, Message: "Email or password is not right."}

// noPassword is a hash that no password is known to match. It costs as much to compare with as a real one, so that the time does not
// tell whether a user exists. Users who log in by a provider alone have it.
const noPassword = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// comparing bounds how many passwords are compared at once, for the memory that each takes.
var comparing = semaphore.NewWeighted(int64(max(1, runtime.GOMAXPROCS(0)/2)))

// matches compares a password with the hash of one.
func matches(ctx context.Context, password, hash string) (bool, error) {
	if err := comparing.Acquire(ctx, 1); err != nil {
		return false, &Error{Kind: KindUnavailable, Message: "Too many people log in at this moment. Try again.", RetryAfter: time.Second}
	}
	defer comparing.Release(1)
	return argon2id.ComparePasswordAndHash(password, hash)
}

// Login checks an e-mail address and password.
func (s *Store) Login(ctx context.Context, email, password string) (*User, error) {
	s = s.root()
	u, hash := &User{}, noPassword
	err := s.pool.QueryRow(ctx,
		`select id, email, name, coalesce(role, ''), totp_enabled_at is not null, created_at, password_hash,
			(select count(*) from passkeys p where p.user_id = users.id) from users where lower(email) = lower($1)`, strings.TrimSpace(email)).
		Scan(&u.Key, &u.Email, &u.Name, &u.Role, &u.SecondFactor, &u.CreatedAt, &hash, &u.Passkeys)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	known := err == nil
	match, err := matches(ctx, password, hash)
	if err != nil {
		return nil, err
	}
	if !known || !match {
		return nil, errBadLogin
	}
	return u, nil
}

// CheckPassword returns an error of KindInvalid about a field unless the password is a user's.
func (s *Store) CheckPassword(ctx context.Context, user uuid.UUID, field, password string) error {
	s = s.root()
	hash := noPassword
	err := s.pool.QueryRow(ctx, "select password_hash from users where id = $1", user).Scan(&hash)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	match, err := matches(ctx, password, hash)
	if err == nil && !match {
		err = Invalid(field, "is not right")
	}
	return err
}

// ChangePassword gives a user another password, ends all sessions of theirs, and starts a new one in place of the actor's, whose
// token it returns. Whether the present password is right is for the caller to look at.
func (s *Store) ChangePassword(ctx context.Context, u *User, password string) (session string, err error) {
	s = s.root()
	bad := problems{}
	checkPassword("password", password, bad)
	if err := bad.err(); err != nil {
		return "", err
	}
	hash, err := hashPassword(password)
	if err != nil {
		return "", err
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		if err := s.setPassword(ctx, tx, u, hash); err != nil {
			return err
		}
		session, err = startSession(ctx, tx, u, ProviderSession{})
		return err
	})
	return session, err
}

// setPassword stores a password's hash and ends all sessions, also logins that wait for their second step.
func (s *Store) setPassword(ctx context.Context, tx *Tx, u *User, hash string) error {
	tag, err := tx.Exec(ctx, "update users set password_hash = $2 where id = $1", u.Key, hash)
	if err == nil && tag.RowsAffected() == 0 {
		return notFound("This user was removed.")
	}
	if err != nil {
		return err
	}
	if err := endAll(ctx, tx, u.Key); err != nil {
		return err
	}
	if err := s.tell(ctx, tx, u, u.Email, "user.password", LetterData{}); err != nil {
		return err
	}
	return tx.Audit(ctx, u.entry("user.password"))
}

// endAll ends all sessions of a user, also logins that wait for their second step.
func endAll(ctx context.Context, tx *Tx, user uuid.UUID) error {
	if _, err := tx.Exec(ctx, "delete from login_steps where user_id = $1", user); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "delete from sessions where user_id = $1", user)
	return err
}

// ResetPassword gives a user another password and ends all sessions of theirs. With factor it takes the second factor and the passkeys
// away, too. It is for the command line.
func (s *Store) ResetPassword(ctx context.Context, u *User, password string, factor bool) error {
	s = s.root()
	bad := problems{}
	checkPassword("password", password, bad)
	if err := bad.err(); err != nil {
		return err
	}
	hash, err := hashPassword(password)
	if err != nil {
		return err
	}
	return s.InTx(ctx, func(tx *Tx) error {
		if err := s.setPassword(ctx, tx, u, hash); err != nil || !factor {
			return err
		}
		if err := s.removePasskeys(ctx, tx, u); err != nil {
			return err
		}
		return s.removeFactor(ctx, tx, u)
	})
}
