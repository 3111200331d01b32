package models

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/seal"
)

// The keys of tenants: how one gets its key, and how it is taken out of force.

// lacking says that tenants have no key in force that this process knows.
type lacking struct{ keys map[int64]int64 } // by tenant, the id of the one in force; 0 for none

func (e *lacking) Error() string {
	return fmt.Sprintf("%d tenants have no key that is known", len(e.keys))
}

// provide loads the keys that are lacking, and makes those that there are none of. A key is committed before its tenant names it.
func (s *Store) provide(ctx context.Context, need *lacking) error {
	p := s.payloads
	ctx, cancel := context.WithTimeout(ctx, providePatience) // others wait for it
	defer cancel()
	ids := slices.DeleteFunc(slices.Collect(maps.Values(need.keys)), func(id int64) bool { return id == 0 })
	found, err := p.load(ctx, ids...)
	if err != nil {
		return err
	}
	for tenant, named := range need.keys {
		if found[named] == nil {
			if err := s.makePayloadKey(ctx, tenant, named); err != nil {
				return fmt.Errorf("make a key for payloads: %w", err)
			}
		}
	}
	return nil
}

// withPayloadKeys runs fn in a transaction of the hot path, again when it ended because tenants lacked their keys.
func (s *Store) withPayloadKeys(ctx context.Context, fn func(*hotTx) error) error {
	for try := 1; ; try++ {
		err := s.inHotTx(ctx, fn)
		var need *lacking
		if !errors.As(err, &need) || try == maxProvide {
			return err
		}
		if err := s.provide(ctx, need); err != nil {
			return err
		}
	}
}

// maxProvide is how often keys are provided for one transaction: once, unless they are taken out of force meanwhile.
const maxProvide = 5

// providePatience is how long it may take.
const providePatience = 2 * time.Second

// makePayloadKey makes a key for a tenant in place of the one that its row names, which is not there; 0 for none.
func (s *Store) makePayloadKey(ctx context.Context, tenant, named int64) error {
	db, err := s.payloads.db()
	if err != nil {
		return err
	}
	id, secret := seal.NewDataKey()
	data, err := seal.NewData(id, secret)
	if err != nil {
		return err
	}
	if _, err := db.Exec(ctx, "insert into "+payloadKeysTable+" (id, tenant_key, sealed) values ($1, $2, $3)", id, tenant,
		s.Keys.Seal(secret, payloadKeyContext(id, tenant))); err != nil {
		return err
	}
	tag, err := s.pool.Exec(ctx, "update tenants set payload_key = $2 where key = $1 and coalesce(payload_key, 0) = $3", tenant, id, named)
	if err != nil {
		return err // nobody knows whether the tenant names it: it stays
	}
	if tag.RowsAffected() == 0 {
		return s.payloads.delete(ctx, id) // another process was quicker
	}
	s.payloads.remember(map[int64]*seal.Data{id: data}, time.Now())
	return nil
}

// retirePayloadKey takes the tenant's key out of force when all that it has is erased, and has the erasure delete it. The erasure then
// reaches until the last event that is there: under the tenant's lock, those are all that the key sealed.
func retirePayloadKey(ctx context.Context, tx *Tx, e *Erasure) error {
	if e.Scope != ErasureOfTenant {
		return nil
	}
	var tenant string
	err := tx.Pgx.QueryRow(ctx, "select id from tenants where key = $1 and payload_key is not null", e.TenantKey).Scan(&tenant)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := tx.Pgx.Exec(ctx, "select pg_advisory_xact_lock($1, $2)", int32(lockTenant), lockHash(tenant)); err != nil {
		return err
	}
	if err := tx.Pgx.QueryRow(ctx, `with old as (select payload_key from tenants where key = $1 for update)
		update tenants t set payload_key = null from old where t.key = $1 returning coalesce(old.payload_key, 0)`,
		e.TenantKey).Scan(&e.payloadKey); err != nil {
		return err
	}
	var last *uuid.UUID
	err = tx.Pgx.QueryRow(ctx, "select id from events where tenant_key = $1 order by id desc limit 1", e.TenantKey).Scan(&last)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err == nil && last != nil {
		sec, nsec := last.Time().UnixTime()
		if until := time.Unix(sec, nsec).UTC().Truncate(time.Millisecond).Add(time.Millisecond); until.After(*e.Filter.Until) {
			e.Filter.Until = &until
		}
	}
	return err
}

// PreparePayloadKeys makes the place for keys, and checks that those are there that tenants name. Without PAYLOAD_ENCRYPTION it does
// nothing.
func (s *Store) PreparePayloadKeys(ctx context.Context) error {
	if !s.payloads.on {
		return nil
	}
	db, err := s.payloads.db()
	if err != nil {
		return err
	}
	s.payloads.begun.Do(func() { go s.payloads.keepRenewing(s.log) })
	var there bool
	if err := db.QueryRow(ctx, "select to_regclass($1) is not null", payloadKeysTable).Scan(&there); err != nil {
		return fmt.Errorf("the database of keys of payloads (PAYLOAD_KEYS_DATABASE_URL): %w", err)
	}
	if !there {
		err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtext('`+payloadKeysTable+`'));
				create schema if not exists `+PayloadKeysSchema+`;
				create table if not exists `+payloadKeysTable+` (
					id         bigint primary key,
					tenant_key bigint not null,
					sealed     bytea not null,              -- with SECRET_KEY
					created_at timestamptz not null default now()
				)`)
			return err
		})
		if err != nil {
			return fmt.Errorf("make the schema %s for keys of payloads: %w", PayloadKeysSchema, err)
		}
	}
	missing, of, err := s.missingPayloadKeys(ctx)
	if err == nil && of > 0 && missing == of {
		err = fmt.Errorf("none of the %d keys of payloads that tenants have is in the database of keys: "+
			"give the one that has them in PAYLOAD_KEYS_DATABASE_URL, or copy the table %s there", of, payloadKeysTable)
	}
	return err
}

// missingPayloadKeys counts the keys in force, and those of them that are not there.
func (s *Store) missingPayloadKeys(ctx context.Context) (missing, of int, err error) {
	rows, err := s.pool.Query(ctx, "select payload_key from tenants where payload_key is not null and deleted_at is null")
	if err != nil {
		return 0, 0, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(ids) == 0 {
		return 0, 0, err
	}
	db, err := s.payloads.db()
	if err != nil {
		return 0, 0, err
	}
	var n int
	err = db.QueryRow(ctx, "select count(*) from "+payloadKeysTable+" where id = any($1)", ids).Scan(&n)
	if absent(err) {
		n, err = 0, nil
	}
	return len(ids) - n, len(ids), err
}

// checkPayloadKeys says when keys of payloads are not there.
func (s *Store) checkPayloadKeys(ctx context.Context, f *findings) error {
	missing, of, err := s.missingPayloadKeys(ctx)
	switch {
	case IsUnavailable(err) && s.payloads.separate:
		f.add("secrets", LevelFail, "The database of keys of payloads (PAYLOAD_KEYS_DATABASE_URL) does not answer: "+err.Error(),
			"Without it, encrypted payloads can neither be read nor delivered.")
		return nil
	case err != nil:
		return err
	case missing > 0:
		f.add("secrets", LevelFail, fmt.Sprintf("%d of %d keys of payloads are not in the database of keys: what they sealed cannot be read or "+
			"delivered.", missing, of), "Give the database that has them in PAYLOAD_KEYS_DATABASE_URL, or restore the table "+payloadKeysTable+
			". Keys that were deleted by an erasure since the backup that was restored are gone for good: erase those tenants again.")
	case of > 0:
		f.add("secrets", LevelOK, fmt.Sprintf("The keys of payloads of all %d tenants that have one are there.", of), "")
	}
	return nil
}
