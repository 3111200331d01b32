package models

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"
)

// A tenant that is in a cell has two rows: that of the cell, which counts, and home's, which says where it is and has a copy of its
// metadata and settings, for names, lists of people and limits of what comes in. No transaction spans both. Whatever breaks off
// between the two is done by whoever asks for it again, and by MendCell.

// PlaceTenant makes home's row of a tenant that is to be in a cell, unless there is one already, and returns its key and where it is.
func (s *Store) PlaceTenant(ctx context.Context, id, cell string, since Since) (key int64, at string, err error) {
	bad := problems{}
	createdAt, updatedAt := since.times(time.Now(), bad)
	checkID("tenant_id", id, bad)
	if err := bad.err(); err != nil {
		return 0, "", err
	}
	for range 3 {
		// The lock is for RemoveCell, which counts the cell's tenants under it.
		err = s.pool.QueryRow(ctx, `insert into tenants (id, cell, created_at, updated_at)
			select $1, name, $3, $4 from (select name from cells where name = $2 for key share) c
			on conflict (id) where deleted_at is null do nothing returning key`, id, cell, createdAt, updatedAt).Scan(&key)
		if !errors.Is(err, pgx.ErrNoRows) {
			if err == nil {
				s.ForgetPlace(id)
			}
			return key, cell, err
		}
		at, key, exists, err := s.PlaceNow(ctx, id)
		if err != nil || exists { // else it was deleted meanwhile, or there is no such cell any more
			return key, at, err
		}
	}
	return 0, "", noCell(cell)
}

// DeleteTenantAway deletes home's part of a tenant that was deleted in its cell.
func (s *Store) DeleteTenantAway(ctx context.Context, key int64) error {
	err := s.InTx(WithoutAudit(withoutClaim(ctx)), func(tx *Tx) error {
		var settings TenantSettings
		err := tx.QueryRow(ctx, `update tenants set deleted_at = now() where key = $1 and deleted_at is null and cell is not null
			returning settings`, key).Scan(&settings)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from memberships where tenant_key = $1", key); err != nil {
			return err
		}
		if settings.IntakeLimits() != (IntakeLimits{}) {
			if err := noteIntake(ctx, tx); err != nil {
				return err
			}
		}
		return noteCells(ctx, tx)
	})
	s.forgetPlaces()
	return err
}

// mirror copies to home what it keeps of a tenant of this cell. What cannot be copied now is by MendCell: the change itself is
// committed.
func (s *Store) mirror(ctx context.Context, key int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.mirrorNow(ctx, key); err != nil {
		s.log.Warn("the database of DATABASE_URL does not know yet what was changed of a tenant; it is told again", "cell", s.cell,
			"tenant_key", key, "error", err)
	}
}

func (s *Store) mirrorNow(ctx context.Context, key int64) error {
	t, err := s.tenantByKey(ctx, key)
	if err != nil {
		return err
	}
	return s.home.InTx(WithoutAudit(withoutClaim(ctx)), func(tx *Tx) error {
		var before TenantSettings
		err := tx.QueryRow(ctx, "select settings from tenants where key = $1 and cell = $2 and deleted_at is null for update", key,
			s.cell).Scan(&before)
		if errors.Is(err, pgx.ErrNoRows) { // it is elsewhere by now
			return nil
		}
		if err != nil {
			return err
		}
		// Of two that copy at once, the one that read later must not be overwritten.
		tag, err := tx.Exec(ctx, "update tenants set metadata = $2, settings = $3, updated_at = $4 where key = $1 and updated_at <= $4", key,
			t.Metadata, t.Settings, t.UpdatedAt)
		if err != nil || tag.RowsAffected() == 0 || reflect.DeepEqual(before.IntakeLimits(), t.Settings.IntakeLimits()) {
			return err
		}
		return noteIntake(ctx, tx)
	})
}

// mendAfter is how old what broke off must be: until then somebody may still be at it.
const mendAfter = time.Minute

// mendPortion is how many tenants are compared at a time.
const mendPortion = 500

// MendCell brings home's rows and those of this cell together where something broke off between the two, and returns how many
// tenants that concerned.
func (s *Store) MendCell(ctx context.Context) (n int, err error) {
	type row struct {
		Key       int64
		ID        string
		Metadata  map[string]string
		CreatedAt time.Time
		UpdatedAt time.Time
	}
	ctx = WithoutAudit(ctx)
	for after := int64(0); ; {
		rows, err := s.home.pool.Query(OnPrimary(ctx), `select key, id, metadata, created_at, updated_at from tenants
			where cell = $1 and deleted_at is null and key > $2 and created_at < now() - $3::interval order by key limit $4`,
			s.cell, after, mendAfter, mendPortion)
		if err != nil {
			return n, err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
		if err != nil || len(list) == 0 {
			return n, err
		}
		after = list[len(list)-1].Key
		keys := make([]int64, len(list))
		for i, t := range list {
			keys[i] = t.Key
		}
		type there struct {
			updated time.Time
			deleted bool
		}
		here := map[int64]there{}
		if rows, err = s.pool.Query(ctx, "select key, updated_at, deleted_at is not null from tenants where key = any($1)", keys); err != nil {
			return n, err
		}
		var key int64
		var x there
		if _, err := pgx.ForEachRow(rows, []any{&key, &x.updated, &x.deleted}, func() error {
			here[key] = x
			return nil
		}); err != nil {
			return n, err
		}
		for _, t := range list {
			switch x, has := here[t.Key]; {
			case !has:
				_, _, err = s.PutTenantAs(ctx, t.Key, t.ID, t.Metadata, Since{CreatedAt: &t.CreatedAt, UpdatedAt: &t.UpdatedAt})
			case x.deleted:
				err = s.home.DeleteTenantAway(ctx, t.Key)
			case x.updated.After(t.UpdatedAt):
				err = s.mirrorNow(ctx, t.Key)
			default:
				continue
			}
			if err != nil {
				return n, err
			}
			n++
		}
	}
}

// guarded is the tenant that a request changes something of, in this store.
type guarded struct {
	store    *Store
	tenantID string
}

type guardedKey struct{}

// Guard makes transactions of this store under the returned context fail with an ElsewhereError or a HeldError while the tenant is
// not here, or is about to go.
func (s *Store) Guard(ctx context.Context, tenantID string) context.Context {
	return context.WithValue(ctx, guardedKey{}, guarded{s, tenantID})
}

// checkTenant looks whether the tenant of Guard is here, and keeps it here until the transaction ends.
func (s *Store) checkTenant(ctx context.Context, tx pgx.Tx) error {
	g, ok := ctx.Value(guardedKey{}).(guarded)
	if !ok || g.store != s {
		return nil
	}
	if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock_shared($1, $2)", int32(lockCell), lockHash(g.tenantID)); err != nil {
		return err
	}
	var cell string
	var held bool
	err := tx.QueryRow(ctx, "select coalesce(cell, ''), coalesce(held_until > clock_timestamp(), false) from tenants where id = $1 and deleted_at is null",
		g.tenantID).Scan(&cell, &held)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // what is done says so
	}
	if err != nil {
		return err
	}
	return s.notHere(g.tenantID, cell, held)
}
