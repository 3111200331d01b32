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
	ended  sync.Once

	mu    sync.Mutex
	pool  *pgxpool.Pool // opened when it is first needed, so that it costs nothing otherwise
	known map[int64]knownPayloadKey
}

type knownPayloadKey struct {
	data *seal.Data // nil: it is not there
	at   time.Time
}

func newPayloadKeys(o Options, login *dbconn.Login) *payloadKeys {
	return &payloadKeys{on: o.PayloadEncryption, separate: o.PayloadKeys != "", keys: o.Keys, closed: make(chan struct{}), known: map[int64]knownPayloadKey{},
		open: func() (*pgxpool.Pool, error) {
			ctx := context.Background() // it only opens the pool, and no connection
			if o.PayloadKeys == "" {
				// Keys are looked up while rows are read, so that these are connections of their own.
				return newPool(ctx, o, login, payloadKeyConns, payloadKeyConns, nil)
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
	p.ended.Do(func() { close(p.closed) }) // a store may be closed twice
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
