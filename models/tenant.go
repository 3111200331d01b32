package models

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Tenant is a customer of the platform: who owns destinations and receives events.
type Tenant struct {
	Key       int64             `gorm:"primaryKey"` // never leaves the server
	ID        string            // chosen by the platform
	Metadata  map[string]string `gorm:"serializer:json"`
	Settings  TenantSettings    `gorm:"serializer:json"`
	Version   int64             `gorm:"default:1"` // rises with every change of the tenant's destinations
	CreatedAt time.Time
	UpdatedAt time.Time
	DeletedAt *time.Time
	Cell      *string    // where its rows are; nil for this database
	HeldUntil *time.Time // until when nothing of it is written

	Changes []Change `gorm:"-"` // what the change that returned it has altered; nil otherwise
}

// Scope is whose rows a query may see. It is made by AllTenants, Store.ScopeOf or Tenant.Scope only, so that a query
// cannot forget it. The zero Scope sees nothing.
type Scope struct {
	key  int64
	more []int64 // further tenants, in lists of several
	all  bool
}

// AllTenants is the scope of the server's operators.
func AllTenants() Scope { return Scope{all: true} }

// Name is what people see of the tenant: its name in the settings, or its id.
func (t *Tenant) Name() string {
	if n := t.Settings.Name; n != nil && *n != "" {
		return *n
	}
	return t.ID
}

// Scope is the scope of one tenant.
func (t *Tenant) Scope() Scope { return Scope{key: t.Key} }

// Of narrows the scope to some tenants; without any id it stays as it is. One outside the scope is not
// found; among several, it simply has nothing.
func (s *Store) Of(ctx context.Context, scope Scope, tenantIDs ...string) (Scope, error) {
	var out Scope
	unknown := false
	for _, id := range tenantIDs {
		if id == "" {
			continue
		}
		t, err := s.Tenant(ctx, scope, id)
		if IsKind(err, KindNotFound) && len(tenantIDs) > 1 {
			unknown = true
			continue
		}
		if err != nil {
			return Scope{}, err
		}
		if out.key == 0 {
			out.key = t.Key
		} else if !out.sees(t.Key) {
			out.more = append(out.more, t.Key)
		}
	}
	if out.key == 0 && !unknown {
		return scope, nil
	}
	return out, nil
}

func (s Scope) sees(tenantKey int64) bool {
	return s.all || s.key != 0 && s.key == tenantKey || slices.Contains(s.more, tenantKey)
}

// keys are the tenants that the scope sees; nil when it sees all.
func (s Scope) keys() []int64 {
	if s.all {
		return nil
	}
	return append([]int64{s.key}, s.more...)
}

// All reports whether the scope sees all tenants, and what concerns the whole server.
func (s Scope) All() bool { return s.all }

// where adds the scope's condition on column to q.
func (s Scope) where(q *query, column string) {
	switch {
	case s.all:
	case len(s.more) > 0:
		q.and(column+" = any(?)", s.keys())
	default:
		q.and(column+" = ?", s.key)
	}
}

// Tenant returns the tenant with this id, if the scope sees it.
func (s *Store) Tenant(ctx context.Context, scope Scope, id string) (*Tenant, error) {
	var t Tenant
	err := s.DB.WithContext(ctx).Where("id = ? and deleted_at is null", id).Take(&t).Error
	if errors.Is(err, gorm.ErrRecordNotFound) || err == nil && !scope.sees(t.Key) {
		return nil, notFound("There is no tenant %q.", cut(id, 80))
	}
	if err == nil && s.home != nil && t.Cell != nil {
		return nil, s.notHere(t.ID, *t.Cell, false)
	}
	return &t, err
}

func (s *Store) tenantByKey(ctx context.Context, key int64) (*Tenant, error) {
	var t Tenant
	err := s.DB.WithContext(ctx).Where("key = ? and deleted_at is null", key).Take(&t).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, notFound("This tenant was deleted.")
	}
	return &t, err
}

// TenantOf returns the tenant that a tenant's scope is of.
func (s *Store) TenantOf(ctx context.Context, scope Scope) (*Tenant, error) {
	return s.tenantByKey(ctx, scope.key)
}

// PutTenant creates the tenant or replaces its metadata; nil metadata leaves them as they are.
func (s *Store) PutTenant(ctx context.Context, id string, metadata map[string]string) (t *Tenant, created bool, err error) {
	return s.PutTenantSince(ctx, id, metadata, Since{})
}

// PutTenantSince is PutTenant for a tenant that, if it is created, has been there since then.
func (s *Store) PutTenantSince(ctx context.Context, id string, metadata map[string]string,
	since Since) (t *Tenant, created bool, err error) {
	return s.putTenant(ctx, id, metadata, since, 0)
}

// PutTenantAs is PutTenantSince in a cell, of a tenant that has this key. Home has its row already.
func (s *Store) PutTenantAs(ctx context.Context, key int64, id string, metadata map[string]string,
	since Since) (t *Tenant, created bool, err error) {
	if t, created, err = s.putTenant(ctx, id, metadata, since, key); err == nil {
		s.mirror(ctx, t.Key)
	}
	return t, created, err
}

func (s *Store) putTenant(ctx context.Context, id string, metadata map[string]string, since Since,
	key int64) (t *Tenant, created bool, err error) {
	bad := problems{}
	createdAt, updatedAt := since.times(time.Now(), bad)
	checkID("tenant_id", id, bad)
	checkMetadata("metadata", metadata, bad)
	if err := bad.err(); err != nil {
		return nil, false, err
	}
	t = &Tenant{}
	err = s.InTx(ctx, func(tx *Tx) error {
		var before Tenant
		err := tx.DB.Clauses(clause.Locking{Strength: "UPDATE"}).Where("id = ? and deleted_at is null", id).Take(&before).Error
		if err != nil && !errors.Is(err, gorm.ErrRecordNotFound) {
			return err
		}
		if before.Cell != nil {
			return s.notHere(id, *before.Cell, false)
		}
		// An upsert that says whether it inserted: xmax is 0 in a new row.
		const upsert = `on conflict (id) where deleted_at is null do update
			set metadata = coalesce(excluded.metadata, tenants.metadata), updated_at = now()
			returning key, xmax = 0`
		var row pgx.Row
		if key == 0 {
			row = tx.Pgx.QueryRow(ctx, `insert into tenants (id, metadata, created_at, updated_at) values ($1, $2, $3, $4) `+upsert, id,
				metadata, createdAt, updatedAt)
		} else {
			row = tx.Pgx.QueryRow(ctx, `insert into tenants (key, id, metadata, created_at, updated_at) overriding system value
				values ($5, $1, $2, $3, $4) `+upsert, id, metadata, createdAt, updatedAt, key)
		}
		if err := row.Scan(&t.Key, &created); err != nil {
			return err
		}
		if err := tx.DB.Take(t, "key = ?", t.Key).Error; err != nil {
			return err
		}
		t.Changes = before.snapshot().changes(t.snapshot())
		if !created && len(t.Changes) == 0 {
			return nil
		}
		action := "tenant.update"
		if created {
			action = "tenant.create"
		}
		// Only here: platforms put their tenants again and again.
		if err := tx.Audit(ctx, AuditEntry{Scope: t.Scope(), Action: action, Object: t.ID, Changes: t.Changes}); err != nil {
			return err
		}
		if err := noteTenant(ctx, tx, t, created); err != nil || !created {
			return err
		}
		return addDefaultRules(ctx, tx, s.Rules(), t.Key)
	})
	return t, created, err
}

// DeleteTenant deletes the tenant and its destinations. Jobs cancel the deliveries that wait; the history stays until its
// retention ends.
func (s *Store) DeleteTenant(ctx context.Context, scope Scope, id string) error {
	t, err := s.Tenant(ctx, scope, id)
	if err != nil {
		return err
	}
	if t.ID == OperatorTenant {
		return conflict("This tenant holds the operators' destinations. Delete those one by one.")
	}
	return s.changeDestinations(ctx, t, func(ctx context.Context, tx *Tx) error {
		now := time.Now()
		rows, err := tx.Pgx.Query(ctx,
			"update destinations set deleted_at = $2, version = version + 1 where tenant_key = $1 and deleted_at is null returning key",
			t.Key, now)
		if err != nil {
			return err
		}
		keys, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return err
		}
		if err := s.releaseDeleted(ctx, tx, ReleaseTenantDeleted, keys...); err != nil {
			return err
		}
		if s.home == nil { // else home's part is deleted after it; see DeleteTenantAway
			if _, err := tx.Pgx.Exec(ctx, "delete from memberships where tenant_key = $1", t.Key); err != nil {
				return err
			}
		}
		if err := noteTenantDeleted(ctx, tx, t, now); err != nil {
			return err
		}
		if t.Settings.IntakeLimits() != (IntakeLimits{}) {
			if err := noteIntake(ctx, tx); err != nil {
				return err
			}
		}
		if err := tx.DB.Model(t).Where("key = ?", t.Key).Update("deleted_at", now).Error; err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: t.Scope(), Action: "tenant.delete", Object: t.ID})
	})
}

// changeDestinations runs fn in a transaction that changes destinations of a tenant. It waits for the accepting
// transactions of that tenant that are under way and raises the tenant's version, so that whatever is accepted after
// the change has committed is routed with it.
func (s *Store) changeDestinations(ctx context.Context, t *Tenant, fn func(context.Context, *Tx) error) error {
	return s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.Pgx.Exec(ctx, "select pg_advisory_xact_lock($1, $2)", int32(lockTenant), lockHash(t.ID)); err != nil {
			return err
		}
		var cell string
		var held bool
		err := tx.Pgx.QueryRow(ctx, `update tenants set version = version + 1, updated_at = now() where key = $1 and deleted_at is null
			returning coalesce(cell, ''), coalesce(held_until > clock_timestamp(), false)`, t.Key).Scan(&cell, &held)
		if errors.Is(err, pgx.ErrNoRows) { // deleted since it was looked up
			return notFound("There is no tenant %q.", cut(t.ID, 80))
		}
		if err != nil {
			return err
		}
		if gone := s.notHere(t.ID, cell, held); gone != nil {
			return gone
		}
		return fn(ctx, tx)
	})
}

// Classes of advisory locks (the first of the two numbers).
const (
	lockProcess = 1 // a living process; see process.go
	lockTenant  = 2 // shared while accepting events of a tenant, exclusive while changing its destinations
	lockWatch   = 3 // held by the one Watcher that makes a pass
	lockPublish = 4 // held by the one process that publishes changes as events

	lockIdentity = 5 // held while somebody logs in by a provider
	lockCell     = 6 // shared while something of a tenant's is changed, exclusive while it is held to go to another cell

	lockOperators = 7 // held while a cell takes over what the operators have
)

// lockHash is the second number of a tenant's lock. Two tenants with the same hash merely wait for each other.
func lockHash(tenantID string) int32 {
	h := fnv.New32a()
	h.Write([]byte(tenantID))
	return int32(h.Sum32())
}
