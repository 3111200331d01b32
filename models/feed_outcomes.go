package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/pgcopy"
)

// Outcomes of deliveries are far more than other changes, so that they are noted for those only who ask. Whoever asks is
// told from which position on none is missing. That takes all workers to know; each one learns it with its next heartbeat,
// and says so with the one after. Their transactions need not look for it.

// followed is whose outcomes this process notes. A transaction that records outcomes holds it for reading.
type followed struct {
	version  atomic.Int64 // of the feed, as of which the rest is
	mu       sync.RWMutex
	all      bool           // all tenants'
	tenants  map[int64]bool // or those of some; nil for none
	attempts bool           // each attempt, for operators' destinations
	loading  atomic.Bool
}

// known does not wait for what is being recorded: heartbeats ask for it.
func (f *followed) known() int64 { return f.version.Load() }

// follow loads whose outcomes are noted unless this version is known, beside the heartbeat that calls it: what is being
// recorded is waited for.
func (s *Store) follow(ctx context.Context, version int64, log *slog.Logger) {
	if s.followed.known() == version || !s.followed.loading.CompareAndSwap(false, true) {
		return
	}
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer s.followed.loading.Store(false)
		if err := s.loadFollowed(ctx); err != nil {
			log.Warn("cannot read whose deliveries are followed; the next heartbeat tries again", "error", err)
		}
	}()
}

func (s *Store) loadFollowed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	next := struct {
		version       int64
		all, attempts bool
		tenants       map[int64]bool
	}{}
	// The version first: what is read after it is at least as new.
	if err := s.pool.QueryRow(ctx, "select version from feed").Scan(&next.version); err != nil {
		return err
	}
	rows, err := s.pool.Query(ctx, "select tenant_key, attempts from outcome_readers")
	if err != nil {
		return err
	}
	var tenant int64
	var attempts bool
	_, err = pgx.ForEachRow(rows, []any{&tenant, &attempts}, func() error {
		next.attempts = next.attempts || attempts
		if tenant == 0 {
			next.all = true
			return nil
		}
		if next.tenants == nil {
			next.tenants = map[int64]bool{}
		}
		next.tenants[tenant] = true
		return nil
	})
	if err != nil {
		return err
	}
	f := &s.followed
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all, f.attempts, f.tenants = next.all, next.attempts, next.tenants
	f.version.Store(next.version)
	return nil
}

const intoOutcomes = "changes (tenant_key, type, action, object, state)"

// note appends an outcome to a COPY of intoOutcomes, if somebody follows it. Those of the server's own events are never
// told: telling them would make others.
func (f *followed) note(rows *pgcopy.Rows, o *Outcome) {
	if o.Own || !f.all && !f.tenants[o.TenantKey] {
		return
	}
	if f.attempts && o.Attempt != nil {
		rows.Row(5)
		rows.Int8(o.TenantKey)
		rows.Text(feedAttempt)
		rows.Text(o.Attempt.Status())
		rows.Text(o.Attempt.ID())
		rows.Null()
	}
	if o.Status != StatusDelivered && o.Status != StatusFailed && o.Status != StatusCancelled {
		return
	}
	state := &deliveryState{Status: o.Status, Reason: o.Reason}
	if a := o.Attempt; a != nil {
		at := a.StartedAt.UTC()
		state.Attempts, state.Code, state.ErrorClass, state.Error, state.Advice, state.LastAttemptAt = &a.Number, a.Code, a.ErrorClass,
			text(a.Error), text(a.Advice), &at
	}
	b, err := feedJSON(state)
	if err != nil {
		return // made of texts and numbers, so that it is nil
	}
	rows.Row(5)
	rows.Int8(o.TenantKey)
	rows.Text(FeedDelivery)
	rows.Text(o.Status)
	rows.Text(o.DeliveryKey.ID())
	rows.Bytes([]byte(b))
}

// deliveryState is an outcome as the feed tells it. What its id says already is filled in when it is read.
type deliveryState struct {
	ID            string     `json:"id,omitempty"`
	EventID       *string    `json:"event_id"` // null when the event is no longer kept
	Topic         *string    `json:"topic"`
	DestinationID string     `json:"destination_id"`
	Status        string     `json:"status"`
	Reason        string     `json:"reason,omitempty"`
	Attempts      *int       `json:"attempts"` // null when none was made this time
	Code          int        `json:"code,omitempty"`
	ErrorClass    string     `json:"error_class,omitempty"`
	Error         string     `json:"error,omitempty"`
	Advice        string     `json:"advice,omitempty"`
	LastAttemptAt *time.Time `json:"last_attempt_at"`
}

// noteOutcomes notes outcomes that no worker has made, for those who read them. Those of the server's own events are left
// out, as note does.
func noteOutcomes(ctx context.Context, tx execer, status, reason string, keys ...DeliveryKey) error {
	ids, events, destinations := make([]string, len(keys)), make([]uuid.UUID, len(keys)), make([]int64, len(keys))
	for i, k := range keys {
		ids[i], events[i], destinations[i] = k.ID(), k.EventKey, k.Destination
	}
	state, err := feedJSON(deliveryState{Status: status, Reason: text(reason)})
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into changes (tenant_key, type, action, object, state)
		select d.tenant_key, $1, $2, x.id, $3::json from unnest($4::text[], $5::uuid[], $6::bigint[]) x(id, event, destination)
			join destinations d on d.key = x.destination
		where exists (select 1 from outcome_readers r where r.tenant_key in (0, d.tenant_key))
			and not exists (select 1 from events e where e.id = x.event and e.topic like 'waybill.%')
			and not exists (select 1 from tenants t where t.key = d.tenant_key and t.id = '`+OperatorTenant+`')`, FeedDelivery, status, state, ids, events, destinations)
	if err != nil {
		return fmt.Errorf("note outcomes: %w", err)
	}
	return nil
}

// nameDeliveries completes the outcomes among changes with what their events and destinations are called.
func (s *Store) nameDeliveries(ctx context.Context, list []*FeedEntry) error {
	keys := map[string]DeliveryKey{}
	var events []uuid.UUID
	var destinations []int64
	lo, hi := highestUUID, uuid.UUID{}
	for _, e := range list {
		if k, ok := parseDeliveryID(e.ObjectID); ok && e.Type == FeedDelivery {
			keys[e.ObjectID] = k
			events, destinations = append(events, k.EventKey), append(destinations, k.Destination)
			lo, hi = minUUID(lo, k.EventKey), maxUUID(hi, k.EventKey)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	type named struct{ id, topic string }
	eventNames, destinationNames := map[uuid.UUID]named{}, map[int64]string{}
	b := &pgx.Batch{}
	b.Queue("select id, caller_id, topic from events where id = any($1) and id >= $2 and id <= $3", events, lo,
		hi).Query(func(rows pgx.Rows) error {
		var id uuid.UUID
		var callerID *string
		var topic string
		_, err := pgx.ForEachRow(rows, []any{&id, &callerID, &topic}, func() error {
			n := named{eventID(id), topic}
			if callerID != nil {
				n.id = *callerID
			}
			eventNames[id] = n
			return nil
		})
		return err
	})
	b.Queue("select key, id from destinations where key = any($1)", destinations).Query(func(rows pgx.Rows) error {
		var key int64
		var id string
		_, err := pgx.ForEachRow(rows, []any{&key, &id}, func() error {
			destinationNames[key] = id
			return nil
		})
		return err
	})
	if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	for _, e := range list {
		k, ok := keys[e.ObjectID]
		if !ok || e.Type != FeedDelivery {
			continue
		}
		var st deliveryState
		if err := unmarshalState(e, &st); err != nil {
			return err
		}
		st.ID, st.DestinationID = e.ObjectID, destinationNames[k.Destination]
		if n, kept := eventNames[k.EventKey]; kept {
			st.EventID, st.Topic = &n.id, &n.topic
		}
		b, err := feedJSON(st)
		if err != nil {
			return err
		}
		e.Object = []byte(b)
	}
	return nil
}

// Who has outcomes noted.
const (
	sourceFeed         = "feed"
	sourceDestinations = "destinations"
)

const (
	// workersKnow is for how long a first reader of outcomes waits until all workers know of it.
	workersKnow = 10 * time.Second
	// askedGrain is how exactly it is known when outcomes were last asked for.
	askedGrain = time.Hour
)

// readOutcomes sees to it that the outcomes of a tenant's deliveries, or of all for 0, are noted, and returns the position
// from which on they are. The first time, that takes as long as it takes until all workers know.
func (s *Store) readOutcomes(ctx context.Context, tenantKey int64) (since int64, err error) {
	var known *int64
	var version int64
	err = s.pool.QueryRow(ctx, "select since, version from outcome_readers where tenant_key = $1 and source = $2", tenantKey,
		sourceFeed).Scan(&known, &version)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		if version, err = s.addOutcomeReader(ctx, tenantKey); err != nil {
			return 0, err
		}
	case err != nil:
		return 0, err
	case known != nil:
		_, err = s.pool.Exec(ctx,
			"update outcome_readers set asked_at = now() where tenant_key = $1 and source = $2 and asked_at < now() - $3::interval",
			tenantKey, sourceFeed, askedGrain)
		return *known, err
	}
	if err := s.awaitWorkers(ctx, version); err != nil {
		return 0, err
	}
	if err := s.PlaceChanges(ctx); err != nil {
		return 0, err
	}
	err = s.pool.QueryRow(ctx,
		"update outcome_readers set since = coalesce(since, (select last from feed)) where tenant_key = $1 and source = $2 returning since",
		tenantKey, sourceFeed).Scan(&since)
	return since, err
}

func (s *Store) addOutcomeReader(ctx context.Context, tenantKey int64) (version int64, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		if err := tx.QueryRow(ctx, "update feed set version = version + 1 returning version").Scan(&version); err != nil {
			return err
		}
		// Somebody else may have been faster; then this version is one more that the workers learn.
		_, err := tx.Exec(ctx, "insert into outcome_readers (tenant_key, source, version) values ($1, $2, $3) on conflict do nothing",
			tenantKey, sourceFeed, version)
		return err
	})
	return version, err
}

// awaitWorkers waits until all living workers know a version of the feed.
func (s *Store) awaitWorkers(ctx context.Context, version int64) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(workersKnow); ; {
		var unaware int
		// One that has lost its lock and is silent is dead; another one is about to find that out.
		err := s.pool.QueryRow(ctx, `select count(*) from processes where feed_version < $1
			and case when `+apart+` > $2 then not pg_try_advisory_xact_lock($3, lock_key) else true end`, version, deadAfter, int32(lockProcess)).Scan(&unaware)
		if err != nil || unaware == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return &Error{Kind: KindUnavailable,
				Message:    fmt.Sprintf("%d of the worker processes do not note outcomes of deliveries yet. Try again; should this last, look for one that is stuck, or of an earlier release.", unaware),
				RetryAfter: time.Second}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// forgetReaders ends the noting of outcomes that nobody has read for as long as changes are kept.
func (s *Store) forgetReaders(ctx context.Context) error {
	return s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, "select 1 from feed for update"); err != nil { // first, as whoever adds a reader does
			return err
		}
		tag, err := tx.Exec(ctx, "delete from outcome_readers where source = $1 and asked_at < now() - $2::interval", sourceFeed,
			FeedRetention)
		if err == nil && tag.RowsAffected() > 0 {
			_, err = tx.Exec(ctx, "update feed set version = version + 1")
		}
		return err
	})
}

// unmarshalState reads the state of an entry as it was noted.
func unmarshalState(e *FeedEntry, v any) error {
	if err := json.Unmarshal(e.Object, v); err != nil {
		return fmt.Errorf("read change %s: %w", e.ID, err)
	}
	return nil
}
