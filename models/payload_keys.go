package models

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/internal/dbconn"
	"github.com/waybill-dev/waybill/models/seal"
)

// With PAYLOAD_ENCRYPTION, payloads are sealed with a key of the tenant's own, which itself is sealed with SECRET_KEY. Deleting the
// key makes copies unreadable that were made before, as long as the key is not in them: so the keys are in a database of their own
// (PAYLOAD_KEYS_DATABASE_URL), or at least in a schema of their own, which a dump can leave out.
//
// The row of a tenant names its key in force. Whoever accepts events reads it under the tenant's lock, so that nothing is sealed
// any more with a key once the transaction has committed that takes it out of force. A key is committed before a tenant names it.

// PayloadKeysSchema is the schema of the keys.
const PayloadKeysSchema = "waybill_keys"

const (
	payloadKeysTable = PayloadKeysSchema + ".payload_keys"
	// payloadKeyAge is for how long a key is remembered without looking whether it is still there.
	payloadKeyAge = time.Minute
	// payloadKeyGone is for how long it is remembered that a key is not there.
	payloadKeyGone = 5 * time.Second
	// maxPayloadKeys is how many keys are remembered at most.
	maxPayloadKeys  = 50_000
	payloadKeyConns = 3
	payloadKeyWait  = 10 * time.Second
)

// payloadKeys are the keys that this process knows.
type payloadKeys struct {
	on       bool // new events are sealed
	separate bool // they are in a database of their own
	keys     *seal.Keyring
	open     func() (*pgxpool.Pool, error)

	closed chan struct{}
	begun  sync.Once // renewing

	mu    sync.Mutex
	pool  *pgxpool.Pool // opened when it is first needed, so that it costs nothing otherwise
	known map[int64]knownPayloadKey
}

type knownPayloadKey struct {
	data *seal.Data // nil: it is not there
	at   time.Time
}

func newPayloadKeys(o Options) *payloadKeys {
	return &payloadKeys{on: o.PayloadEncryption, separate: o.PayloadKeys != "", keys: o.Keys, closed: make(chan struct{}), known: map[int64]knownPayloadKey{},
		open: func() (*pgxpool.Pool, error) {
			ctx := context.Background() // it only opens the pool, and no connection
			if o.PayloadKeys == "" {
				// Keys are looked up while rows are read, so that these are connections of their own.
				return newPool(ctx, o, &dbconn.Login{}, payloadKeyConns, payloadKeyConns, nil)
			}
			pool, err := newPool(ctx, Options{URL: o.PayloadKeys}, &dbconn.Login{}, payloadKeyConns, payloadKeyConns, nil)
			if err != nil {
				return nil, fmt.Errorf("PAYLOAD_KEYS_DATABASE_URL: %w", err)
			}
			return pool, nil
		}}
}

// db is where the keys are.
func (p *payloadKeys) db() (*pgxpool.Pool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pool == nil {
		var err error
		if p.pool, err = p.open(); err != nil {
			return nil, err
		}
	}
	return p.pool, nil
}

func (p *payloadKeys) close() {
	close(p.closed)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pool != nil {
		p.pool.Close()
	}
}

// absent reports whether an error says that there are no keys, because there never was one.
func absent(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (pe.Code == "42P01" || pe.Code == "3F000")
}

func payloadKeyContext(id, tenant int64) string { return fmt.Sprintf("payload key %d %d", id, tenant) }

// remembered returns the keys that are known, and the ids of the others.
func (p *payloadKeys) remembered(ids []int64) (found map[int64]*seal.Data, unknown []int64) {
	found = make(map[int64]*seal.Data, len(ids))
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		k, has := p.known[id]
		age := payloadKeyAge
		if k.data == nil {
			age = payloadKeyGone
		}
		switch {
		case !has || now.Sub(k.at) > age:
			unknown = append(unknown, id)
		case k.data != nil:
			found[id] = k.data
		}
	}
	return found, unknown
}

// load returns keys by their ids. Those that are not there are missing.
func (p *payloadKeys) load(ctx context.Context, ids ...int64) (map[int64]*seal.Data, error) {
	found, unknown := p.remembered(ids)
	if len(unknown) == 0 {
		return found, nil
	}
	db, err := p.db()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, payloadKeyWait)
	defer cancel()
	read := map[int64]*seal.Data{}
	for _, id := range unknown {
		read[id] = nil
	}
	now := time.Now()
	rows, err := db.Query(ctx, "select id, tenant_key, sealed from "+payloadKeysTable+" where id = any($1)", unknown)
	if err == nil {
		var id, tenant int64
		var sealed []byte
		_, err = pgx.ForEachRow(rows, []any{&id, &tenant, &sealed}, func() error {
			secret, err := p.keys.Open(sealed, payloadKeyContext(id, tenant))
			if err != nil {
				return fmt.Errorf("the key %d of payloads: %w", id, err)
			}
			read[id], err = seal.NewData(id, secret)
			return err
		})
	}
	if err != nil && !absent(err) {
		return nil, fmt.Errorf("read keys of payloads: %w", err)
	}
	p.remember(read, now)
	maps.DeleteFunc(read, func(_ int64, d *seal.Data) bool { return d == nil })
	maps.Copy(found, read)
	return found, nil
}

func (p *payloadKeys) remember(read map[int64]*seal.Data, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on { // nobody renews them
		maps.DeleteFunc(p.known, func(_ int64, k knownPayloadKey) bool { return at.Sub(k.at) > payloadKeyAge })
	}
	if len(p.known)+len(read) > maxPayloadKeys {
		clear(p.known)
	}
	for id, d := range read {
		p.known[id] = knownPayloadKey{d, at}
	}
}

// key returns one key; nil when it is not there.
func (p *payloadKeys) key(ctx context.Context, id int64) (*seal.Data, error) {
	p.mu.Lock()
	k, has := p.known[id]
	p.mu.Unlock()
	if has && k.data != nil && time.Since(k.at) < payloadKeyAge {
		return k.data, nil
	}
	found, err := p.load(ctx, id)
	return found[id], err
}

// inForce is the key that an accepting transaction has read in the row of a tenant; nil when it has to be loaded or made first.
// Such a key is there as long as it is named, so that this asks nobody.
func (p *payloadKeys) inForce(id int64) *seal.Data {
	if id == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[id].data
}

// renew looks which of the keys that are known are still there, and forgets the others.
func (p *payloadKeys) renew(ctx context.Context) error {
	p.mu.Lock()
	ids := slices.Collect(maps.Keys(p.known))
	p.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	db, err := p.db()
	if err != nil {
		return err
	}
	now := time.Now()
	rows, err := db.Query(ctx, "select id from "+payloadKeysTable+" where id = any($1)", ids)
	if err != nil {
		return err
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	still := map[int64]bool{}
	for _, id := range there {
		still[id] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		k, has := p.known[id]
		switch {
		case !has || k.at.After(now):
		case still[id] && k.data != nil:
			p.known[id] = knownPayloadKey{k.data, now}
		default:
			delete(p.known, id)
		}
	}
	return nil
}

// keepRenewing renews what is known, more often than it would have to be looked at again. So accepting transactions need not stop
// for a key. While the database of keys is away it keeps what it has.
func (p *payloadKeys) keepRenewing(log *slog.Logger) {
	tick := time.NewTicker(payloadKeyAge / 2)
	defer tick.Stop()
	for {
		select {
		case <-p.closed:
			return
		case <-tick.C:
			ctx, cancel := context.WithTimeout(context.Background(), payloadKeyWait)
			if err := p.renew(ctx); err != nil {
				log.Warn("the database of keys of payloads is away; keys that are known are used on", "error", err)
			}
			cancel()
		}
	}
}

// forget forgets keys.
func (p *payloadKeys) forget(ids ...int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		delete(p.known, id)
	}
}

// delete deletes a key for good.
func (p *payloadKeys) delete(ctx context.Context, id int64) error {
	defer p.forget(id)
	db, err := p.db()
	if err != nil {
		return err
	}
	if _, err = db.Exec(ctx, "delete from "+payloadKeysTable+" where id = $1", id); absent(err) {
		return nil
	}
	return err
}

// lacking says that tenants have no key in force that this process knows.
type lacking struct{ keys map[int64]int64 } // by tenant, the id of the one in force; 0 for none

func (e *lacking) Error() string {
	return fmt.Sprintf("%d tenants have no key that is known", len(e.keys))
}

// provide loads the keys that are lacking, and makes those that there are none of. A key is committed before its tenant names it.
func (s *Store) provide(ctx context.Context, need *lacking) error {
	p := s.payloads
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
