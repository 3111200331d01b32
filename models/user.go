package models

import (
	"context"
	"encoding/hex"
	"errors"
	"net/mail"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const userPrefix = "usr_"

// User is a person who works with the dashboard.
type User struct {
	Key          uuid.UUID
	Email        string
	Name         string
	Role         Role // for the whole server; empty for none
	SecondFactor bool // a code of an app is asked for at logins
	Passkeys     int  // how many
	HasPassword  bool // false for who logs in by a provider only; filled in by Users and User
	CreatedAt    time.Time
	LastLoginAt  *time.Time
	Members      []Member // of tenants that there are, by their ids; filled in by Users and User
}

// ID is the user's public id.
func (u *User) ID() string { return userPrefix + hex.EncodeToString(u.Key[:]) }

// ParseUserID reads a public id. What is none is a key that nobody has.
func ParseUserID(id string) uuid.UUID {
	key, _ := parsePrefixed(userPrefix, id)
	return key
}

// UserInput is what somebody says of a new user.
type UserInput struct {
	Name     string `json:"name" form:"name"`
	Email    string `json:"email" form:"email"`
	Password string `json:"password" form:"password"`
}

// MinPassword is the least length of a password, in bytes (NIST SP 800-63B asks for 8 at least, and no rules on
// characters).
const MinPassword = 10

func checkName(name string, bad problems) {
	if name == "" {
		bad.add("name", "is required")
	}
	checkText("name", name, maxNameLength, bad)
}

func checkEmail(email string, bad problems) {
	if a, err := mail.ParseAddress(email); err != nil || a.Address != email || len(email) > 254 {
		bad.add("email", "must be an e-mail address like ann@example.com")
	}
}

func checkPassword(field, password string, bad problems) {
	if len(password) < MinPassword {
		bad.add(field, "must be at least 10 characters long")
	} else if len(password) > 1000 {
		bad.add(field, "must be at most 1,000 characters long")
	}
}

// check trims what was typed and says what is wrong with it.
func (in *UserInput) check() error {
	in.Email, in.Name = strings.TrimSpace(in.Email), strings.TrimSpace(in.Name)
	bad := problems{}
	checkName(in.Name, bad)
	checkEmail(in.Email, bad)
	checkPassword("password", in.Password, bad)
	return bad.err()
}

// entry is the line of the audit log about what happens to a user.
func (u *User) entry(action string) AuditEntry {
	return AuditEntry{Scope: AllTenants(), Action: action, Object: u.ID(), Detail: map[string]any{"name": u.Name, "email": u.Email}}
}

func (u *User) snapshot() *snapshot {
	s := newSnapshot()
	s.set("name", u.Name)
	s.set("email", u.Email)
	s.set("role", string(u.Role))
	return s
}

const userSelect = `select u.id, u.email, u.name, coalesce(u.role, ''), u.totp_enabled_at is not null,
	(select count(*) from passkeys p where p.user_id = u.id), u.password_hash <> '` + noPassword + `', u.created_at, u.last_login_at,
	coalesce((select json_agg(json_build_object('Key', t.key, 'ID', t.id, 'Name', t.settings->>'name', 'Role', m.role) order by t.id)
		from memberships m join tenants t on t.key = m.tenant_key where m.user_id = u.id and t.deleted_at is null), '[]')
	from users u`

func scanUser(r pgx.CollectableRow) (*User, error) {
	u := &User{}
	var members []struct {
		Key      int64
		ID, Name string
		Role     Role
	}
	err := r.Scan(&u.Key, &u.Email, &u.Name, &u.Role, &u.SecondFactor, &u.Passkeys, &u.HasPassword, &u.CreatedAt, &u.LastLoginAt, &members)
	for _, m := range members {
		t := Tenant{ID: m.ID, Settings: TenantSettings{Name: &m.Name}}
		u.Members = append(u.Members, Member{TenantKey: m.Key, TenantID: m.ID, Name: t.Name(), Role: m.Role})
	}
	return u, err
}

// maxUsers bounds lists of users.
const maxUsers = 10_000

// Users lists all users, by name.
func (s *Store) Users(ctx context.Context) ([]*User, error) {
	s = s.root()
	rows, err := s.pool.Query(ctx, userSelect+" order by lower(u.name), u.id limit $1", maxUsers)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanUser)
}

// User returns a user by their public id.
func (s *Store) User(ctx context.Context, id string) (*User, error) {
	s = s.root()
	return oneUser(ctx, s.pool, "u.id = $1", ParseUserID(id), id)
}

// UserOf returns the user that an actor is.
func (s *Store) UserOf(ctx context.Context, a *Actor) (*User, error) {
	s = s.root()
	return oneUser(ctx, s.pool, "u.id = $1", a.UserID, "")
}

// UserByEmail returns a user by their e-mail address, whatever its case.
func (s *Store) UserByEmail(ctx context.Context, email string) (*User, error) {
	s = s.root()
	return oneUser(ctx, s.pool, "lower(u.email) = lower($1)", strings.TrimSpace(email), email)
}

func oneUser(ctx context.Context, db querier, where string, value any, called string) (*User, error) {
	rows, err := db.Query(ctx, userSelect+" where "+where, value)
	if err != nil {
		return nil, err
	}
	u, err := pgx.CollectExactlyOneRow(rows, scanUser)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound("There is no user %q.", cut(called, 80))
	}
	return u, err
}

// HasUsers reports whether the set-up is over.
func (s *Store) HasUsers(ctx context.Context) (has bool, err error) {
	s = s.root()
	err = s.pool.QueryRow(ctx, "select exists (select 1 from users)").Scan(&has)
	return has, err
}

// SetUp makes the first user, an owner, and starts a session of theirs. When there is a user already the error is KindNotFound:
// the set-up is over.
func (s *Store) SetUp(ctx context.Context, in UserInput) (u *User, session string, err error) {
	s = s.root()
	u, err = s.createFirstUser(ctx, in, func(tx *Tx, u *User) error {
		if session, err = startSession(ctx, tx, u, ProviderSession{}); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Actor: u.Name, ActorKind: ActorUser, Action: "setup", Object: u.Email})
	})
	return u, session, err
}

// CreateFirstUser makes the first user without the set-up page and its code. Its errors are those of SetUp.
func (s *Store) CreateFirstUser(ctx context.Context, in UserInput) (*User, error) {
	s = s.root()
	return s.createFirstUser(ctx, in, func(tx *Tx, u *User) error {
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Action: "setup", Object: u.Email})
	})
}

func (s *Store) createFirstUser(ctx context.Context, in UserInput, then func(*Tx, *User) error) (*User, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	hash, err := hashPassword(in.Password)
	if err != nil {
		return nil, err
	}
	u := newUser(in, RoleOwner)
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
		if err := u.insert(ctx, tx, hash); err != nil {
			return err
		}
		return then(tx, u)
	})
	return u, err
}

func newUser(in UserInput, role Role) *User {
	return &User{Key: uuid.Must(uuid.NewV7()), Email: in.Email, Name: in.Name, Role: role, CreatedAt: time.Now().UTC()}
}

// errEmailTaken says that another user has an address.
var errEmailTaken = Invalid("email", "cannot be used: another user has it")

func (u *User) insert(ctx context.Context, tx *Tx, hash string) error {
	_, err := tx.Exec(ctx, "insert into users (id, email, name, role, password_hash, created_at) values ($1, $2, $3, nullif($4, ''), $5, $6)",
		u.Key, u.Email, u.Name, u.Role, hash, u.CreatedAt)
	return orTaken(err)
}

// orTaken says in words that an address is in use.
func orTaken(err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.ConstraintName == "users_email" {
		return errEmailTaken
	}
	return err
}

// AddUser makes a user with a role for the whole server. It is for the command line; everybody else invites.
func (s *Store) AddUser(ctx context.Context, in UserInput, role Role) (*User, error) {
	s = s.root()
	if err := in.check(); err != nil {
		return nil, err
	}
	bad := problems{}
	checkRole(role, false, bad)
	if err := bad.err(); err != nil {
		return nil, err
	}
	hash, err := hashPassword(in.Password)
	if err != nil {
		return nil, err
	}
	u := newUser(in, role)
	return u, s.InTx(ctx, func(tx *Tx) error {
		if err := u.insert(ctx, tx, hash); err != nil {
			return err
		}
		return tx.Audit(ctx, u.created())
	})
}

func (u *User) created() AuditEntry {
	e := u.entry("user.create")
	e.Changes = (*snapshot)(nil).changes(u.snapshot())
	return e
}

// ChangeProfile changes a user's name and e-mail address.
func (s *Store) ChangeProfile(ctx context.Context, u *User, name, email string) error {
	s = s.root()
	name, email = strings.TrimSpace(name), strings.TrimSpace(email)
	bad := problems{}
	checkName(name, bad)
	checkEmail(email, bad)
	if err := bad.err(); err != nil {
		return err
	}
	before := u.snapshot()
	after := *u
	after.Name, after.Email = name, email
	changes := before.changes(after.snapshot())
	if len(changes) == 0 {
		return nil
	}
	err := s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, `update users set name = $2, email = $3,
			email_changed_at = case when lower(email) = lower($3) then email_changed_at else now() end where id = $1`, u.Key, name, email); err != nil {
			return orTaken(err)
		}
		if !strings.EqualFold(u.Email, email) { // who has the old address hears of it
			if err := s.tell(ctx, tx, u, u.Email, "user.update", LetterData{Email: email}); err != nil {
				return err
			}
		}
		e := u.entry("user.update")
		e.Changes = changes
		return tx.Audit(ctx, e)
	})
	if err == nil {
		u.Name, u.Email = name, email
	}
	return err
}
