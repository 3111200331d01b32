package models

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/filter"
)

// Event is something that happened, as a publisher gave it.
type Event struct {
	Key       uuid.UUID // UUIDv7; says when it was received and which partition it is in
	ID        string    // the publisher's, or made of Key
	TenantKey int64
	TenantID  string
	Topic     string
	Time      time.Time // when it happened, by the publisher's clock; the time of receipt when it did not say
	Received  time.Time
	Retry     bool // eligible_for_retry
	Metadata  map[string]string
	Data      []byte // payload, byte for byte; nil once it was erased

	PayloadKey int64 // with which its row is sealed; 0 for none

	ErasedAt  *time.Time // when its data was erased; nil while it is there
	ErasedWhy string     // by whom and why, in a sentence

	TraceParent, TraceState string // W3C trace context of its publish, for workers; empty for none

	FilteredBy []int64   // destination_filters that held it back
	Matched    []string  // ids of the destinations it goes to
	Counts     Counts    // its deliveries by status
	LastError  string    // of the delivery that failed last, for lists; empty when none did
	Worst      []Trouble // the deliveries that the event's state is about: those in its worst status, unless that is delivered
	Attempts   int       // over all deliveries
	LastTried  time.Time // when the last attempt of a delivery was started; zero before the first
}

// Trouble is a delivery that has not arrived, in a list of events.
type Trouble struct {
	Destination string // id
	Name        string // of the destination; empty for none
	Status      string
	Code        int    // of the last answer; 0 for none
	Class       string // of the last error; empty for none
	Wait        string // why it waits, in a sentence; empty unless ExplainEvents found a reason
	Next        *time.Time

	key      DeliveryKey
	attempts int
}

// worse orders the states of deliveries for what an event is said to be, the worst first.
var worse = []string{StatusFailed, StatusRetrying, StatusHeld, StatusDelivering, StatusPending}

// Counts are numbers of deliveries by status.
type Counts map[string]int

// Total counts the deliveries.
func (c Counts) Total() (n int) {
	for _, x := range c {
		n += x
	}
	return n
}

// Final reports whether all deliveries are finished: they change only when a person or the API asks for it.
func (c Counts) Final() bool {
	return c[StatusPending]+c[StatusDelivering]+c[StatusRetrying] == 0
}

// eventSelect reads one row of events as e with its tenant.
const eventSelect = `select e.id, e.caller_id, e.tenant_key, t.id, e.topic, e.time, e.retry, e.metadata, e.data, e.sealed, e.filtered_by,
	e.erased_at, coalesce(e.erased_why, '')
	from events e join tenants t on t.key = e.tenant_key`

// eventScanner scans rows of eventSelect.
func (s *Store) eventScanner(ctx context.Context) pgx.RowToFunc[*Event] {
	return func(row pgx.CollectableRow) (*Event, error) { return s.scanEvent(ctx, row) }
}

func (s *Store) scanEvent(ctx context.Context, row pgx.CollectableRow) (*Event, error) {
	e := &Event{}
	var sealed []byte
	var callerID *string
	var at *time.Time
	var data string
	if err := row.Scan(&e.Key, &callerID, &e.TenantKey, &e.TenantID, &e.Topic, &at, &e.Retry, &e.Metadata, &data, &sealed,
		&e.FilteredBy, &e.ErasedAt, &e.ErasedWhy); err != nil {
		return nil, err
	}
	if e.ErasedAt == nil {
		e.Data = []byte(data)
	}
	e.finish(callerID, at)
	ok, err := s.unseal(ctx, e, sealed)
	if err == nil && !ok && e.ErasedAt == nil {
		e.ErasedAt, e.ErasedWhy = &e.Received, PayloadGone
	}
	return e, err
}

func (e *Event) finish(callerID *string, at *time.Time) {
	e.ID = eventID(e.Key)
	if callerID != nil {
		e.ID = *callerID
	}
	sec, nsec := e.Key.Time().UnixTime()
	e.Received = time.Unix(sec, nsec).UTC()
	e.Time = e.Received
	if at != nil {
		e.Time = at.UTC()
	}
}

// readEvents reads payloads for workers into events. Those that were erased are left out: their deliveries were called off.
func (s *Store) readEvents(ctx context.Context, ids []uuid.UUID, events map[uuid.UUID]*Event) (erased map[uuid.UUID]bool, err error) {
	rows, err := s.Hot.Query(ctx,
		"select id, caller_id, tenant_key, topic, time, retry, metadata, data, sealed, coalesce(traceparent, ''), coalesce(tracestate, ''), erased_at is not null from "+s.partitions.of("events", ids...)+" where id = any($1)", uuids(ids))
	if err != nil {
		s.forgetPartitions(err)
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		e := &Event{}
		var callerID *string
		var at *time.Time
		var gone bool
		var sealed []byte
		if err := rows.Scan(&e.Key, &callerID, &e.TenantKey, &e.Topic, &at, &e.Retry, &e.Metadata, &e.Data, &sealed, &e.TraceParent,
			&e.TraceState, &gone); err != nil {
			return nil, err
		}
		if gone {
			if erased == nil {
				erased = map[uuid.UUID]bool{}
			}
			erased[e.Key] = true
			continue
		}
		e.finish(callerID, at)
		if ok, err := s.unseal(ctx, e, sealed); err != nil {
			return nil, err
		} else if !ok {
			s.log.Error("an event cannot be read: the key that it is sealed with is not there", "event_key", e.Key, "see", "waybill doctor")
			continue // as one that cannot be found
		}
		events[e.Key] = e
	}
	return erased, rows.Err()
}

func parseEventIDs(ids []string) []uuid.UUID {
	out := []uuid.UUID{}
	for _, id := range ids {
		if u, ok := parseEventID(id); ok {
			out = append(out, u)
		}
	}
	return out
}

// destinationKeys finds the keys of destinations by their ids, also of deleted ones. Unknown ids match nothing.
func (s *Store) destinationKeys(ctx context.Context, scope Scope, ids []string) ([]int64, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	q := newQuery()
	q.and("id = any(?)", ids)
	scope.where(q, "tenant_key")
	rows, err := s.pool.Query(ctx, "select key from destinations"+q.sql(), q.args...)
	if err != nil {
		return nil, err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if len(keys) == 0 {
		keys = []int64{0}
	}
	return keys, err
}

// addDeliveries fills in what lists show of the events' deliveries.
func (s *Store) addDeliveries(ctx context.Context, list []*Event) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]uuid.UUID, len(list))
	byKey := map[uuid.UUID]*Event{}
	for i, e := range list {
		ids[i] = e.Key
		e.Counts = Counts{}
		e.Matched = []string{}
		byKey[e.Key] = e
	}
	lo, hi := ids[0], ids[0]
	for _, id := range ids {
		lo, hi = minUUID(lo, id), maxUUID(hi, id)
	}
	rows, err := s.pool.Query(ctx,
		`select x.event_id, d.id, d.name, x.status, x.attempts, coalesce(x.error, ''), x.last_attempt_at, coalesce(x.last_code, 0), coalesce(x.error_class, ''),
			x.destination_key, x.next_attempt_at
		from deliveries x
		join destinations d on d.key = x.destination_key
		where x.event_id = any($1) and x.event_id >= $2 and x.event_id <= $3 order by x.last_attempt_at nulls first, d.key`, ids, lo, hi)
	if err != nil {
		return err
	}
	var id uuid.UUID
	var destination, name, status, lastError string
	var attempts int
	var tried *time.Time
	var code int
	var class string
	var key int64
	var next *time.Time
	fields := []any{&id, &destination, &name, &status, &attempts, &lastError, &tried, &code, &class, &key, &next}
	_, err = pgx.ForEachRow(rows, fields, func() error {
		e := byKey[id]
		if tried != nil {
			e.LastTried = later(e.LastTried, *tried)
		}
		e.Counts[status]++
		e.Attempts += attempts
		if status != StatusFilteredOut {
			e.Matched = append(e.Matched, destination)
		}
		if lastError != "" && status != StatusDelivered {
			e.LastError = lastError
		}
		if rank := slices.Index(worse, status); rank >= 0 {
			if len(e.Worst) > 0 && rank < slices.Index(worse, e.Worst[0].Status) {
				e.Worst = nil
			}
			if len(e.Worst) == 0 || e.Worst[0].Status == status {
				t := Trouble{Destination: destination, Name: name, Status: status, Code: code, Class: class, key: DeliveryKey{id, key},
					attempts: attempts}
				if next != nil {
					at := *next
					t.Next = &at
				}
				e.Worst = append(e.Worst, t)
			}
		}
		return nil
	})
	for _, e := range list {
		if n := len(e.FilteredBy); n > 0 {
			e.Counts[StatusFilteredOut] += n
		}
	}
	return err
}

// Event returns one event by its public id.
func (s *Store) Event(ctx context.Context, scope Scope, id string) (*Event, error) {
	e, err := s.event(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	return e, s.addDeliveries(ctx, []*Event{e})
}

// EventKey returns the key of an event by its public id.
func (s *Store) EventKey(ctx context.Context, scope Scope, id string) (uuid.UUID, error) {
	e, err := s.event(ctx, scope, id)
	if err != nil {
		return uuid.Nil, err
	}
	return e.Key, nil
}

func (s *Store) event(ctx context.Context, scope Scope, id string) (*Event, error) {
	q := newQuery()
	if key, ok := parseEventID(id); ok {
		q.and("e.id = ?", key)
		q.and("e.caller_id is null")
	} else {
		q.and("e.caller_id = ?", id)
		q.and("e.caller_id is not null")
	}
	scope.where(q, "e.tenant_key")
	rows, err := s.pool.Query(ctx, eventSelect+q.sql()+" and t.deleted_at is null order by e.id desc limit 1", q.args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, s.eventScanner(ctx))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, notFound("There is no event %q. Events are kept for %d days.", cut(id, 80), int(s.Rules().Retention.Hours()/24))
	}
	return list[0], nil
}

// eventKeys returns the internal ids of events.
func (s *Store) eventKeys(ctx context.Context, scope Scope, ids []string) ([]uuid.UUID, error) {
	if len(ids) > MaxLimit {
		return nil, Invalid("event_id", fmt.Sprintf("must be at most %d ids", MaxLimit))
	}
	keys := make([]uuid.UUID, 0, len(ids))
	for _, id := range ids {
		e, err := s.event(ctx, scope, id)
		if err != nil {
			return nil, err
		}
		keys = append(keys, e.Key)
	}
	return keys, nil
}

// eventByKey returns an event by its internal id.
func (s *Store) eventByKey(ctx context.Context, scope Scope, key uuid.UUID) (*Event, error) {
	q := newQuery()
	q.and("e.id = ?", key)
	scope.where(q, "e.tenant_key")
	rows, err := s.pool.Query(ctx, eventSelect+q.sql(), q.args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, s.eventScanner(ctx))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, notFound("There is no such event. Events are kept for %d days.", int(s.Rules().Retention.Hours()/24))
	}
	return list[0], nil
}

// doc is the event as filters see it.
func (e *Event) doc() *filter.Doc {
	return filter.NewDoc(e.ID, e.Topic, e.Time, e.Metadata, e.Data)
}

// TraceParent is the W3C trace context of an event's publish; empty for none.
func (s *Store) TraceParent(ctx context.Context, key uuid.UUID) (parent string, err error) {
	err = s.pool.QueryRow(ctx, "select coalesce(traceparent, '') from events where id = $1", key).Scan(&parent)
	return parent, err
}
