package models

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// What an erasure was asked for.
const (
	ErasureOfEvent  = "event"
	ErasureOfFilter = "filter"
	ErasureOfTenant = "tenant"
)

// ErasureScopes lists what an erasure can be asked for.
var ErasureScopes = []string{ErasureOfEvent, ErasureOfFilter, ErasureOfTenant}

// The states of an erasure.
const (
	ErasureRunning = "running"
	ErasureDone    = "done"
)

// ErasureStatuses lists the states of an erasure.
var ErasureStatuses = []string{ErasureRunning, ErasureDone}

// The phases of an erasure that is running.
const (
	phaseWalk  = "walk"  // it goes through the events
	phaseWait  = "wait"  // attempts that were under way when their event was erased are waited for
	phaseSweep = "sweep" // it goes through the events again, for what these have recorded
	phaseDone  = "done"
)

const (
	erasurePrefix = "era_"
	// maxOpenErasures is how many erasures of one tenant may be open at once.
	maxOpenErasures = 20
	maxWhyLength    = 500
)

// ErasureFilter says which events are erased. All conditions that are given must hold.
type ErasureFilter struct {
	Since  *time.Time `json:"since,omitempty" doc:"Received from then on."`
	Until  *time.Time `json:"until,omitempty" doc:"Received before; never later than the start of the erasure."`
	Topics []string   `json:"topic,omitempty" doc:"Of one of these topics."`
	Text   string     `json:"q,omitempty" doc:"A filter in JSON or search notation, or a text in the payload, as in the list of events."`
}

// UnmarshalJSON reads a filter. A condition that it does not know is an error: to leave it out would erase more than was meant.
func (f *ErasureFilter) UnmarshalJSON(b []byte) error {
	type plain ErasureFilter
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	err := d.Decode((*plain)(f))
	if err != nil && strings.Contains(err.Error(), "unknown field") {
		return fmt.Errorf("has a condition that is not known (%s): use since, until, topic and q",
			strings.TrimPrefix(err.Error(), "json: "))
	}
	return err
}

func (f *ErasureFilter) empty() bool {
	return f.Since == nil && f.Until == nil && len(f.Topics) == 0 && strings.TrimSpace(f.Text) == ""
}

// freeze checks the filter and fixes what is relative to now.
func (f *ErasureFilter) freeze(now time.Time) error {
	bad := problems{}
	if f.Since != nil && f.Until != nil && !f.Since.Before(*f.Until) {
		bad.add("filter.until", "must be after since")
	} else if f.Since != nil && !f.Since.Before(now) {
		bad.add("filter.since", "must be in the past")
	}
	if len(f.Topics) > MaxLimit {
		bad.add("filter.topic", fmt.Sprintf("must be at most %d topics", MaxLimit))
	}
	for i, topic := range f.Topics {
		checkText(fmt.Sprintf("filter.topic[%d]", i), topic, maxIDLength, bad)
	}
	if f.Text = strings.TrimSpace(f.Text); f.Text != "" {
		checkText("filter.q", f.Text, 1<<16, bad)
		if _, err := parseSearch(f.Text); err != nil {
			var e *Error
			if !errors.As(err, &e) {
				return err
			}
			bad.add("filter.q", e.problem("q"))
		}
	}
	if err := bad.err(); err != nil {
		return err
	}
	if f.Until == nil || f.Until.After(now) {
		// Event ids tell milliseconds; the one that is just over is included.
		until := now.UTC().Truncate(time.Millisecond).Add(time.Millisecond)
		f.Until = &until
	}
	return nil
}

// problem is what an error says of a field, or all that it says.
func (e *Error) problem(field string) string {
	if message := e.Fields[field]; message != "" {
		return message
	}
	return e.Message
}

// Erasure removes what events carried, and what attempts keep of it. The row stays as the record of what was erased.
type Erasure struct {
	Key        uuid.UUID
	TenantKey  int64
	TenantID   string
	Actor      string // who asked for it
	Why        string // what they said; may be empty
	Scope      string // one of ErasureScopes
	Filter     ErasureFilter
	EventKey   uuid.UUID // of ErasureOfEvent
	EventID    string    // its public id; empty for other scopes, and once its day is dropped
	Total      *int      // events to look at; nil until they are counted
	Looked     int       // of these, looked at
	Erased     int       // of these, erased
	Cancelled  int       // deliveries called off because of it
	Attempts   int       // attempts whose requests and answers were erased
	CreatedAt  time.Time
	FinishedAt *time.Time

	phase      string
	payloadKey int64 // that is deleted at the end; 0 for none
	after      uuid.UUID
	walkedAt   *time.Time
}

// ErasureID is the public id of an erasure; empty for the zero key.
func ErasureID(key uuid.UUID) string {
	if key == uuid.Nil {
		return ""
	}
	return erasurePrefix + hex.EncodeToString(key[:])
}

// ID is the public id.
func (e *Erasure) ID() string { return ErasureID(e.Key) }

// Status is one of ErasureStatuses.
func (e *Erasure) Status() string {
	if e.FinishedAt != nil {
		return ErasureDone
	}
	return ErasureRunning
}

// Waits reports whether it has seen to all events, and waits for attempts that were under way.
func (e *Erasure) Waits() bool { return e.phase == phaseWait }

// TenantScope is the scope of the tenant whose events it erases.
func (e *Erasure) TenantScope() Scope { return Scope{key: e.TenantKey} }

// sentence is what is said of an event that it erased.
func (e *Erasure) sentence() string {
	said := "Erased by " + actorName(e.Actor)
	if e.Why == "" {
		return said + "."
	}
	return said + ": " + e.Why
}

const erasureSelect = `select x.id, x.tenant_key, t.id, x.actor, x.why, x.scope, x.filter, x.event_key,
	(select coalesce(v.caller_id, 'evt_' || replace(v.id::text, '-', '')) from events v where v.id = x.event_key), x.phase, x.total,
	x.looked, x.erased, x.cancelled, x.attempts, x.after_event, x.walked_at, x.created_at, x.finished_at, coalesce(x.payload_key, 0)
	from erasures x join tenants t on t.key = x.tenant_key`

func scanErasure(row pgx.CollectableRow) (*Erasure, error) {
	e := &Erasure{}
	var event, after *uuid.UUID
	var id *string
	err := row.Scan(&e.Key, &e.TenantKey, &e.TenantID, &e.Actor, &e.Why, &e.Scope, &e.Filter, &event, &id, &e.phase, &e.Total, &e.Looked,
		&e.Erased, &e.Cancelled, &e.Attempts, &after, &e.walkedAt, &e.CreatedAt, &e.FinishedAt, &e.payloadKey)
	if event != nil {
		e.EventKey = *event
	}
	if id != nil {
		e.EventID = *id
	}
	if after != nil {
		e.after = *after
	}
	return e, err
}

func erasureRow(ctx context.Context, db querier, where string, args ...any) (*Erasure, error) {
	rows, err := db.Query(ctx, erasureSelect+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectExactlyOneRow(rows, scanErasure)
}

// ErasureQuery selects erasures.
type ErasureQuery struct {
	Statuses []string `query:"status" label:"Status" api:"schema=ErasureStatus" doc:"Only in one of these states."`
	Page     PageQuery
}

// Erasures lists erasures by the time they were started.
func (s *Store) Erasures(ctx context.Context, scope Scope, eq ErasureQuery) (*Page[*Erasure], error) {
	if err := oneOf("status", eq.Statuses, ErasureStatuses); err != nil {
		return nil, err
	}
	k, err := eq.Page.keyset(scope.keys(), eq)
	if err != nil {
		return nil, err
	}
	q := newQuery()
	scope.where(q, "x.tenant_key")
	if len(eq.Statuses) > 0 {
		q.and("case when x.finished_at is null then 'running' else 'done' end = any(?)", eq.Statuses)
	}
	var after uuid.UUID
	if k.decode(&after) {
		q.and("x.id "+k.op()+" ?", after)
	}
	rows, err := s.pool.Query(ctx, erasureSelect+q.sql()+" order by x.id "+k.order()+q.limit(k.limit+1), q.args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanErasure)
	if err != nil {
		return nil, err
	}
	return newPage(k, "created_at", list, func(e *Erasure) any { return e.Key }), nil
}

// Erasure returns one erasure by its public id.
func (s *Store) Erasure(ctx context.Context, scope Scope, id string) (*Erasure, error) {
	key, _ := parsePrefixed(erasurePrefix, id)
	q := newQuery()
	q.and("x.id = ?", key)
	scope.where(q, "x.tenant_key")
	e, err := erasureRow(ctx, s.pool, q.sql(), q.args...)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound("There is no erasure %q.", cut(id, 80))
	}
	return e, err
}

// ErasureInput asks for an erasure: of an event, of what a filter chooses, or of all that the tenant has.
type ErasureInput struct {
	EventID string
	Filter  ErasureFilter
	All     bool
	Why     string
	Actor   string
}

// newErasure checks what is asked for, and freezes what is relative to now.
func (s *Store) newErasure(ctx context.Context, scope Scope, in ErasureInput) (*Erasure, error) {
	bad := problems{}
	checkText("why", in.Why, maxWhyLength, bad)
	given := 0
	for _, is := range []bool{in.EventID != "", !in.Filter.empty(), in.All} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		bad.add("filter", "says nothing: give event_id, a filter with a condition, or all for everything that the tenant has")
	case given > 1:
		bad.add("filter", "stands alone: give one of event_id, filter and all")
	case scope.key == 0 && in.EventID == "":
		bad.add("tenant_id", "is required")
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	now := time.Now()
	e := &Erasure{Key: uuid.Must(uuid.NewV7()), TenantKey: scope.key, Actor: in.Actor, Why: strings.TrimSpace(in.Why), Filter: in.Filter,
		CreatedAt: now}
	switch {
	case in.EventID != "":
		of, err := s.event(ctx, scope, in.EventID)
		if err != nil {
			return nil, err
		}
		if of.ErasedAt != nil {
			return nil, conflict("The data of this event is erased already. %s", of.ErasedWhy)
		}
		e.Scope, e.TenantKey, e.EventKey = ErasureOfEvent, of.TenantKey, of.Key
	case in.All:
		e.Scope = ErasureOfTenant
	default:
		e.Scope = ErasureOfFilter
	}
	if err := e.Filter.freeze(now); err != nil {
		return nil, err
	}
	return e, nil
}

// StartErasure freezes what is to be erased and starts it. The work is done by a job, in portions; it cannot be taken back.
func (s *Store) StartErasure(ctx context.Context, scope Scope, in ErasureInput) (*Erasure, error) {
	e, err := s.newErasure(ctx, scope, in)
	if err != nil {
		return nil, err
	}
	var event *uuid.UUID
	if e.Scope == ErasureOfEvent {
		event = &e.EventKey
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		var open int
		if err := tx.Pgx.QueryRow(ctx, "select count(*) from erasures where tenant_key = $1 and finished_at is null",
			e.TenantKey).Scan(&open); err != nil {
			return err
		}
		if open >= maxOpenErasures {
			return conflict("%d erasures of this tenant are not finished. Wait for one of them.", open)
		}
		if err := retirePayloadKey(ctx, tx, e); err != nil {
			return err
		}
		if _, err := tx.Pgx.Exec(ctx, `insert into erasures (id, tenant_key, actor, why, scope, filter, event_key, created_at, payload_key)
			values ($1, $2, $3, $4, $5, $6, $7, $8, nullif($9::bigint, 0))`, e.Key, e.TenantKey, text(e.Actor), e.Why, e.Scope, e.Filter, event, e.CreatedAt,
			e.payloadKey); err != nil {
			return err
		}
		if err := s.Queue.EnqueueErasure(ctx, tx.Pgx, e.Key); err != nil {
			return err
		}
		var err error
		if e, err = erasureRow(ctx, tx, " where x.id = $1", e.Key); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: e.TenantScope(), Action: "erasure.start", Object: e.ID(), Detail: e.detail()})
	})
	return e, err
}

// detail is what the audit log says of an erasure. It does not tell what was searched for: that may be what is erased.
func (e *Erasure) detail() map[string]any {
	d := map[string]any{"scope": e.Scope}
	if e.Why != "" {
		d["why"] = e.Why
	}
	if e.payloadKey != 0 {
		d["deletes_key"] = true
	}
	switch e.Scope {
	case ErasureOfEvent:
		d["event"] = e.EventID
	default:
		d["until"] = e.Filter.Until
		if e.Filter.Since != nil {
			d["since"] = e.Filter.Since
		}
		if len(e.Filter.Topics) > 0 {
			d["topic"] = e.Filter.Topics
		}
		d["searched"] = e.Filter.Text != ""
	}
	return d
}
