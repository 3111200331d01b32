package models

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// KeyPrefix starts every API key, so that a leaked one is recognised.
const KeyPrefix = "wb_"

// Permission is what a caller may do. API keys carry a list of them.
type Permission string

// The permissions. Admin includes all others, and what concerns the whole server.
const (
	MayPublish Permission = "publish"
	MayRead    Permission = "read"
	MayWrite   Permission = "write"
	MayRetry   Permission = "retry"
	MayAdmin   Permission = "admin"
)

// Permissions lists all permissions.
var Permissions = []Permission{MayPublish, MayRead, MayWrite, MayRetry, MayAdmin}

// Actor is who calls: an API key, a tenant's token, a user, a portal session.
type Actor struct {
	Name     string // as the audit log and attempts show it
	Kind     string // one of ActorKinds
	Scope    Scope
	TenantID string // of a caller that sees one tenant only; empty for operators
	May      []Permission
	UserID   uuid.UUID // of a user; zero otherwise
	Key      *KeyRules // of an API key that may not be used from everywhere, or not for any amount; nil otherwise

	Role    Role           // of a user, for the whole server; owner for whoever has the environment's API_KEY
	members map[int64]Role // of a user, by the tenants' keys
	Session Session        // of a user

	SecondFactor bool // of a user: a code of an app is asked for at logins
	Passkey      bool // of a user: has one for this server's address
}

// Can reports whether the actor has a permission.
func (a *Actor) Can(p Permission) bool {
	return slices.Contains(a.May, p) || slices.Contains(a.May, MayAdmin)
}

// SeesSecrets reports whether signing secrets are shown to the actor in full.
func (a *Actor) SeesSecrets() bool { return a.Can(MayAdmin) }

// APIKey is a key for the API. The key itself is not stored.
type APIKey struct {
	ID         uuid.UUID
	Name       string
	Hint       string // prefix and last four characters
	Scopes     []Permission
	TenantKey  *int64
	TenantID   string // empty for all tenants
	CreatedBy  string
	CreatedAt  time.Time
	ExpiresAt  *time.Time
	LastUsedAt *time.Time
	RevokedAt  *time.Time
	Addresses  []netip.Prefix // from which it may be used; empty for anywhere
	Limits     IntakeLimits

	expired bool // by the database's clock, when it was read
}

// TenantScope is the scope of the key's tenant, or of the operators for a key for all tenants.
func (k *APIKey) TenantScope() Scope {
	if k.TenantKey == nil {
		return AllTenants()
	}
	return Scope{key: *k.TenantKey}
}

// State is "active", "expired" or "revoked".
func (k *APIKey) State(now time.Time) string {
	switch {
	case k.RevokedAt != nil:
		return "revoked"
	case k.ExpiresAt != nil && k.ExpiresAt.Before(now):
		return "expired"
	}
	return "active"
}

// APIKeyInput is what a caller says of a new key.
type APIKeyInput struct {
	Name      string       `json:"name" api:"required" doc:"For people."`
	Scopes    []Permission `json:"scopes" api:"required" doc:"What it may do; 'admin' includes everything."`
	TenantID  string       `json:"tenant_id" doc:"The only tenant that it sees; absent for all."`
	ExpiresIn *Duration    `json:"expires_in" doc:"How long it is valid; absent or '0s' for ever."`
	ExpiresAt *time.Time   `json:"expires_at" doc:"Until when it is valid, in place of 'expires_in'."`
	Addresses []string     `json:"addresses" doc:"Addresses and CIDRs from which it may be used; absent or empty for anywhere."`

	RequestsPerSecond *int      `json:"requests_per_second" doc:"Requests with it in a second; absent, null or 0 for no limit."`
	EventsPerSecond   *int      `json:"events_per_second" doc:"Events that are published with it in a second; absent, null or 0 for no limit."`
	BytesPerSecond    *int      `json:"bytes_per_second" doc:"Bytes of such events in a second; absent, null or 0 for no limit."`
	LimitBurst        *Duration `json:"limit_burst" doc:"How many seconds' worth of these three may come at once; '10s' when absent."`
}

// CreateAPIKey makes a key and returns it with its secret, which is shown this once.
func (s *Store) CreateAPIKey(ctx context.Context, actor *Actor, in APIKeyInput) (*APIKey, string, error) {
	s = s.root()
	bad := problems{}
	checkKeyName(in.Name, bad)
	checkScopes(actor, in.Scopes, nil, bad)
	k := &APIKey{ID: uuid.Must(uuid.NewV7()), Name: in.Name, Scopes: in.Scopes, CreatedBy: actor.Name, CreatedAt: time.Now().UTC(),
		Addresses: keyAddresses(in.Addresses, bad), Limits: in.limits()}
	k.Limits.check(bad)
	k.ExpiresAt = in.ExpiresAt
	checkExpiry(k, bad)
	if in.ExpiresIn != nil && *in.ExpiresIn != 0 {
		at := k.CreatedAt.Add(time.Duration(*in.ExpiresIn))
		k.ExpiresAt = &at
		if *in.ExpiresIn < 0 {
			bad.add("expires_in", "must not be negative")
		}
		if in.ExpiresAt != nil {
			bad.add("expires_in", "cannot be given together with expires_at")
		}
	}
	if err := bad.err(); err != nil {
		return nil, "", err
	}
	if in.TenantID == "" {
		in.TenantID = actor.TenantID
	}
	if in.TenantID != "" {
		t, err := s.Tenant(ctx, actor.Scope, in.TenantID)
		if err != nil {
			return nil, "", err
		}
		k.TenantKey, k.TenantID = &t.Key, t.ID
	}
	var raw [30]byte
	rand.Read(raw[:])
	secret := KeyPrefix + base64.RawURLEncoding.EncodeToString(raw[:])
	k.Hint = secret[:6] + "…" + secret[len(secret)-4:]
	hash := sha256.Sum256([]byte(secret))
	err := s.InTx(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, `insert into api_keys (id, name, hash, hint, scopes, tenant_key, created_by, created_at, expires_at,
				addresses, limits) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, k.ID, k.Name, hash[:], k.Hint, k.Scopes, k.TenantKey,
			k.CreatedBy, k.CreatedAt, k.ExpiresAt, k.Addresses, k.Limits)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, k.entry("api_key.create"))
	})
	return k, secret, err
}

// entry is the line of the audit log about what happens to the key, of its tenant if it is for one.
func (k *APIKey) entry(action string) AuditEntry {
	detail := map[string]any{"name": k.Name, "hint": k.Hint, "scopes": k.Scopes}
	if k.ExpiresAt != nil {
		detail["expires_at"] = k.ExpiresAt
	}
	if len(k.Addresses) > 0 {
		detail["addresses"] = k.AddressTexts()
	}
	return AuditEntry{Scope: k.TenantScope(), Action: action, Object: k.ID.String(), Detail: detail}
}

const apiKeySelect = `select k.id, k.name, k.hint, k.scopes, k.tenant_key, coalesce(t.id, ''), k.created_by, k.created_at, k.expires_at,
	k.last_used_at, k.revoked_at, k.addresses, k.limits, coalesce(k.expires_at <= now(), false)
	from api_keys k left join tenants t on t.key = k.tenant_key`

func scanAPIKey(r pgx.CollectableRow) (*APIKey, error) {
	k := &APIKey{}
	err := r.Scan(&k.ID, &k.Name, &k.Hint, &k.Scopes, &k.TenantKey, &k.TenantID, &k.CreatedBy, &k.CreatedAt, &k.ExpiresAt, &k.LastUsedAt,
		&k.RevokedAt, &k.Addresses, &k.Limits, &k.expired)
	return k, err
}

// APIKeys lists keys, newest first, also those that are over.
func (s *Store) APIKeys(ctx context.Context, scope Scope) ([]*APIKey, error) {
	s = s.root()
	q := newQuery()
	scope.where(q, "k.tenant_key")
	rows, err := s.pool.Query(ctx, apiKeySelect+q.sql()+" order by k.id desc limit 1000", q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanAPIKey)
}

// RevokeAPIKey ends a key and returns it. Other processes notice within keyMemory.
func (s *Store) RevokeAPIKey(ctx context.Context, scope Scope, id string) (*APIKey, error) {
	s = s.root()
	u, err := uuid.Parse(id)
	if err != nil {
		return nil, notFound("There is no API key %q.", cut(id, 80))
	}
	q := newQuery()
	q.and("id = ?", u)
	scope.where(q, "tenant_key")
	var k *APIKey
	err = s.InTx(ctx, func(tx *Tx) error {
		tx.AfterCommit(s.known.forget)
		tag, err := tx.Exec(ctx, "update api_keys set revoked_at = coalesce(revoked_at, now())"+q.sql(), q.args...)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return notFound("There is no API key %q.", cut(id, 80))
		}
		rows, err := tx.Query(ctx, apiKeySelect+" where k.id = $1", u)
		if err != nil {
			return err
		}
		if k, err = pgx.CollectExactlyOneRow(rows, scanAPIKey); err != nil {
			return err
		}
		return tx.Audit(ctx, k.entry("api_key.revoke"))
	})
	return k, err
}

// keyMemory is for how long a key that was looked up counts as valid without being looked up again.
const keyMemory = 2 * time.Second

// knownKeys remembers API keys for a moment, because publishers call thousands of times a second.
type knownKeys struct {
	mu   sync.RWMutex
	m    map[[32]byte]knownKey
	uses sync.WaitGroup // writes of when they were used last
}

type knownKey struct {
	actor *Actor
	until time.Time
}

func (k *knownKeys) get(hash [32]byte, now time.Time) *Actor {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if e, ok := k.m[hash]; ok && now.Before(e.until) {
		return e.actor
	}
	return nil
}

func (k *knownKeys) put(hash [32]byte, a *Actor, until time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m == nil || len(k.m) > 10_000 {
		k.m = map[[32]byte]knownKey{}
	}
	k.m[hash] = knownKey{a, until}
}

// forget makes every key be looked up again. That they were known stays known.
func (k *knownKeys) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for hash := range k.m {
		k.m[hash] = knownKey{}
	}
}

// KnowsKey reports whether a key was valid in this process, and so is worth being looked up.
func (s *Store) KnowsKey(key string) bool {
	s.known.mu.RLock()
	defer s.known.mu.RUnlock()
	_, ok := s.known.m[sha256.Sum256([]byte(key))]
	return ok
}

// errBadKey is the same for every key that is not valid, but for those that have expired.
var errBadKey = &Error{Kind: KindUnauthorized, Message: "This API key is not valid: it is unknown or revoked."}

// AuthTimeout bounds how long the database may take to say who calls. While it does not answer, callers shall know soon.
const AuthTimeout = 5 * time.Second

// Authenticate returns who an API key belongs to, within AuthTimeout. The time of last use is kept to the minute.
func (s *Store) Authenticate(ctx context.Context, key string) (*Actor, error) {
	s = s.root()
	hash := sha256.Sum256([]byte(key))
	now := time.Now()
	if a := s.known.get(hash, now); a != nil {
		return a, nil
	}
	ctx, cancel := context.WithTimeout(ctx, AuthTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx,
		apiKeySelect+" where k.hash = $1 and k.revoked_at is null and (k.tenant_key is null or t.deleted_at is null)", hash[:])
	if err != nil {
		return nil, err
	}
	k, err := pgx.CollectExactlyOneRow(rows, scanAPIKey)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errBadKey
	}
	if err != nil {
		return nil, err
	}
	if k.expired {
		return nil, k.tooOld()
	}
	a := &Actor{Name: "API key " + k.Name, Kind: ActorKey, Scope: AllTenants(), TenantID: k.TenantID, May: k.Scopes, Key: k.rules()}
	if k.TenantKey != nil {
		a.Scope = Scope{key: *k.TenantKey}
	}
	if k.LastUsedAt == nil || now.Sub(*k.LastUsedAt) > useEvery {
		s.noteUse(k.ID)
	}
	until := now.Add(keyMemory)
	if k.ExpiresAt != nil && k.ExpiresAt.Before(until) {
		until = *k.ExpiresAt
	}
	s.known.put(hash, a, until)
	return a, nil
}
