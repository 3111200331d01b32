package models

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/mail"
	"runtime"
	"strings"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/semaphore"
)

// User is a person who works with the dashboard.
type User struct {
	ID        uuid.UUID
	Email     string
	Name      string
	CreatedAt time.Time
}

// MinPassword is the least length of a password, in bytes (NIST SP 800-63B asks for 8 at least, and no rules on
// characters).
const MinPassword = 10

// passwordParams follow OWASP's advice for Argon2id with little memory, so that a login costs some tens of
// milliseconds and 19 MiB.
var passwordParams = &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// UserInput is what somebody says of a new user.
type UserInput struct {
	Name     string `json:"name" form:"name"`
	Email    string `json:"email" form:"email"`
	Password string `json:"password" form:"password"`
}

// SetUp makes the first user, and starts a session of theirs. When there is a user already the error is KindNotFound: the
// set-up is over.
func (s *Store) SetUp(ctx context.Context, in UserInput) (u *User, session string, err error) {
	u, err = s.createFirstUser(ctx, in, func(tx *Tx, u *User) error {
		if session, err = startSession(ctx, tx, u); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Actor: u.Name, ActorKind: ActorUser, Action: "setup", Object: u.Email})
	})
	return u, session, err
}

// CreateFirstUser makes the first user without the set-up page and its code. Its errors are those of SetUp.
func (s *Store) CreateFirstUser(ctx context.Context, in UserInput) (*User, error) {
	return s.createFirstUser(ctx, in, func(tx *Tx, u *User) error {
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Action: "setup", Object: u.Email})
	})
}

func (s *Store) createFirstUser(ctx context.Context, in UserInput, then func(*Tx, *User) error) (*User, error) {
	in.Email, in.Name = strings.TrimSpace(in.Email), strings.TrimSpace(in.Name)
	bad := problems{}
	if in.Name == "" {
		bad.add("name", "is required")
	}
	checkText("name", in.Name, maxNameLength, bad)
	if a, err := mail.ParseAddress(in.Email); err != nil || a.Address != in.Email || len(in.Email) > 254 {
		bad.add("email", "must be an e-mail address like ann@example.com")
	}
	if len(in.Password) < MinPassword {
		bad.add("password", "must be at least 10 characters long")
	} else if len(in.Password) > 1000 {
		bad.add("password", "must be at most 1,000 characters long")
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	hash, err := argon2id.CreateHash(in.Password, passwordParams)
	if err != nil {
		return nil, err
	}
	u := &User{ID: uuid.Must(uuid.NewV7()), Email: in.Email, Name: in.Name, CreatedAt: time.Now().UTC()}
	err = s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.Pgx.Exec(ctx, "lock table users in share row exclusive mode"); err != nil {
			return err
		}
		var n int
		if err := tx.Pgx.QueryRow(ctx, "select count(*) from users").Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return notFound("The set-up is over: there is a user already. Log in.")
		}
		_, err := tx.Pgx.Exec(ctx, "insert into users (id, email, name, password_hash, created_at) values ($1, $2, $3, $4, $5)",
			u.ID, u.Email, u.Name, hash, u.CreatedAt)
		if err != nil {
			return err
		}
		return then(tx, u)
	})
	return u, err
}

// HasUsers reports whether the set-up is over.
func (s *Store) HasUsers(ctx context.Context) (has bool, err error) {
	err = s.pool.QueryRow(ctx, "select exists (select 1 from users)").Scan(&has)
	return has, err
}

// errBadLogin is the same for an unknown e-mail address and a wrong password.
var errBadLogin = &Error{Kind: KindInvalid, Message: "Email or password is not right."}

// unknownUserHash costs as much to compare with as a real one, so that the time does not tell whether a user exists.
var unknownUserHash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// comparing bounds how many passwords are compared at once, for the memory that each takes.
var comparing = semaphore.NewWeighted(int64(max(1, runtime.GOMAXPROCS(0)/2)))

// Login checks an e-mail address and password.
func (s *Store) Login(ctx context.Context, email, password string) (*User, error) {
	u, hash := &User{}, unknownUserHash
	err := s.pool.QueryRow(ctx, "select id, email, name, created_at, password_hash from users where lower(email) = lower($1)",
		strings.TrimSpace(email)).
		Scan(&u.ID, &u.Email, &u.Name, &u.CreatedAt, &hash)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	known := err == nil
	if err := comparing.Acquire(ctx, 1); err != nil {
		return nil, &Error{Kind: KindUnavailable, Message: "Too many people log in at this moment. Try again.", RetryAfter: time.Second}
	}
	defer comparing.Release(1)
	match, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return nil, err
	}
	if !known || !match {
		return nil, errBadLogin
	}
	return u, nil
}

// SessionLength is how long a session lasts.
const SessionLength = 14 * 24 * time.Hour

// token makes a random token and the hash under which it is stored.
func token() (plain string, hash []byte) {
	var raw [32]byte
	rand.Read(raw[:])
	plain = base64.RawURLEncoding.EncodeToString(raw[:])
	h := sha256.Sum256([]byte(plain))
	return plain, h[:]
}

// StartSession starts a session of a user who has just logged in, and returns its token for the cookie.
func (s *Store) StartSession(ctx context.Context, u *User) (plain string, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		if plain, err = startSession(ctx, tx, u); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Actor: u.Name, ActorKind: ActorUser, Action: "session.login",
			Object: strings.ToLower(u.Email)})
	})
	return plain, err
}

func startSession(ctx context.Context, tx *Tx, u *User) (string, error) {
	plain, hash := token()
	_, err := tx.Exec(ctx, "insert into sessions (token_hash, user_id, expires_at) values ($1, $2, $3)", hash, u.ID,
		time.Now().Add(SessionLength))
	return plain, err
}

// EndSession ends a session.
func (s *Store) EndSession(ctx context.Context, plain string) error {
	hash := sha256.Sum256([]byte(plain))
	_, err := s.pool.Exec(ctx, "delete from sessions where token_hash = $1", hash[:])
	return err
}

// Session returns who a session belongs to, or nil when there is no such session or it is over.
func (s *Store) Session(ctx context.Context, plain string) (*Actor, error) {
	hash := sha256.Sum256([]byte(plain))
	var userID *uuid.UUID
	var name, tenantID *string
	var tenantKey *int64
	err := s.pool.QueryRow(ctx, `select s.user_id, u.name, s.tenant_key, t.id from sessions s left join users u on u.id = s.user_id
		left join tenants t on t.key = s.tenant_key and t.deleted_at is null
		where s.token_hash = $1 and s.expires_at > now()`, hash[:]).Scan(&userID, &name, &tenantKey, &tenantID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if userID != nil {
		return &Actor{Name: *name, Kind: ActorUser, Scope: AllTenants(), May: []Permission{MayAdmin}, UserID: *userID}, nil
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
