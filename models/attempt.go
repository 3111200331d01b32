package models

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/pgcopy"
	"github.com/waybill-dev/waybill/models/seal"
)

// Attempt is one try to deliver an event, as it was recorded.
type Attempt struct {
	DeliveryKey
	TenantKey       int64
	TenantID        string
	PublicEventID   string
	DestinationID   string
	DestinationType string
	Number          int // from 1
	StartedAt       time.Time
	Duration        time.Duration
	Timing          AttemptTiming
	Code            int // 0 for systems without status codes
	OK              bool
	Trigger         string
	Actor           string
	BulkKey         uuid.UUID // of the bulk retry that asked for it; zero for none
	ErrorClass      string
	Error           string   // what happened
	Advice          string   // what to do
	RawError        string   // the driver's words
	PrivateError    string   // what only the worker's own log tells; never kept
	NotSent         bool     // there was no connection: Method, URL and RequestHeader are what would have been sent
	Log             []string // of one that failed: what the worker logged of it
	Method, URL     string
	RequestHeader   string // lines "Name: value", secrets masked
	ResponseHeader  string
	ResponseBody    []byte
	Truncated       bool   // the answer was longer than ResponseBody
	PayloadKey      int64  // with which its event is sealed, and what is kept of request and answer; 0 for none
	TransformKey    *int64 // the row of destination_transforms that made the body; nil for the payload as it is

	ErasedAt *time.Time // when the data of its event was erased, and with it what was kept of request and answer; nil while it is there

	CertificateEnds time.Time // of the receiver, where it was seen; kept with the destination's health and not with the attempt
}

// AttemptTiming is how long the stages of an attempt took; zero where a connection was reused.
type AttemptTiming struct {
	DNS, Connect, TLS, FirstByte time.Duration
}

// ID is the attempt's public id.
func (a *Attempt) ID() string { return a.AttemptID(a.Number) }

// DeliveryID is the public id of the delivery it belongs to.
func (a *Attempt) DeliveryID() string { return a.DeliveryKey.ID() }

// ShownCode is what the attempt's code is shown as; empty for none.
func (a *Attempt) ShownCode() Code { return codeOf(a.Code, a.ErrorClass) }

// What became of an attempt.
const (
	AttemptSucceeded = "success"
	AttemptFailed    = "failed"
)

// Status is AttemptSucceeded or AttemptFailed.
func (a *Attempt) Status() string {
	if a.OK {
		return AttemptSucceeded
	}
	return AttemptFailed
}

const attemptColumns = `event_id, destination_key, tenant_key, started_at, number, duration_us, dns_us, connect_us, tls_us, first_byte_us,
	code, ok, truncated, trigger, actor, error_class, error, advice, raw_error, method, url, headers, response_body,
		transform_key, retry_id, log, not_sent, sealed`

const attemptColumnCount = 28

// write appends the attempt to a COPY of attemptColumns. key is the one of PayloadKey; nil where that is 0 or not there.
func (a *Attempt) write(c *pgcopy.Rows, key *seal.Data) {
	var sealed []byte
	if a.PayloadKey != 0 {
		sealed = a.sealed(key)
		kept := *a
		kept.RequestHeader, kept.ResponseHeader, kept.ResponseBody, kept.RawError, kept.Log = "", "", nil, "", nil
		kept.URL, _, _ = strings.Cut(a.URL, "?")
		a = &kept
	}
	us := func(d time.Duration) { c.Int4(int32(min(d.Microseconds(), 1<<31-1))) }
	c.Row(attemptColumnCount)
	c.UUID(a.EventKey)
	c.Int8(a.DeliveryKey.Destination)
	c.Int8(a.TenantKey)
	c.Time(a.StartedAt)
	c.Int4(int32(a.Number))
	us(a.Duration)
	us(a.Timing.DNS)
	us(a.Timing.Connect)
	us(a.Timing.TLS)
	us(a.Timing.FirstByte)
	c.Int4(int32(a.Code))
	c.Bool(a.OK)
	c.Bool(a.Truncated)
	c.Text(a.Trigger)
	c.Text(text(a.Actor))
	c.TextOrNull(a.ErrorClass)
	c.TextOrNull(text(a.Error))
	c.TextOrNull(text(a.Advice))
	c.TextOrNull(text(a.RawError))
	c.Text(a.Method)
	c.Text(text(a.URL))
	packHeaders(text(a.RequestHeader), text(a.ResponseHeader), c.BytesOrNull)
	c.BytesOrNull(a.ResponseBody)
	if a.TransformKey != nil {
		c.Int8(*a.TransformKey)
	} else {
		c.Null()
	}
	if a.BulkKey != uuid.Nil {
		c.UUID(a.BulkKey)
	} else {
		c.Null()
	}
	if len(a.Log) > 0 {
		c.Text(text(strings.Join(a.Log, "\n")))
	} else {
		c.Null()
	}
	if a.NotSent {
		c.Bool(true)
	} else {
		c.Null()
	}
	c.BytesOrNull(sealed)
}

const attemptSelect = `select a.event_id, a.destination_key, a.tenant_key, a.started_at, a.number, a.duration_us, a.dns_us, a.connect_us,
	a.tls_us,
	a.first_byte_us, a.code, a.ok, a.truncated, a.trigger, a.actor, coalesce(a.error_class, ''), coalesce(a.error, ''), coalesce(a.advice,
		''),
	coalesce(a.raw_error, ''), a.method, a.url, a.request_header, a.response_header, a.headers,
		a.response_body, a.transform_key, a.retry_id,
		coalesce(a.log, ''), coalesce(a.not_sent, false), a.sealed, t.id, e.caller_id, n.id, n.type, e.erased_at
	from attempts a join events e on e.id = a.event_id join tenants t on t.key = a.tenant_key join destinations n
		on n.key = a.destination_key`

// attemptScanner scans rows of attemptSelect.
func (s *Store) attemptScanner(ctx context.Context) pgx.RowToFunc[*Attempt] {
	return func(row pgx.CollectableRow) (*Attempt, error) { return s.scanAttempt(ctx, row) }
}

func (s *Store) scanAttempt(ctx context.Context, row pgx.CollectableRow) (*Attempt, error) {
	a := &Attempt{}
	var callerID *string
	var retry *uuid.UUID
	var log string
	var headers, sealed []byte
	var duration, dns, connect, tls, first int64
	err := row.Scan(&a.EventKey, &a.DeliveryKey.Destination, &a.TenantKey, &a.StartedAt, &a.Number, &duration, &dns, &connect, &tls, &first,
		&a.Code, &a.OK, &a.Truncated, &a.Trigger, &a.Actor, &a.ErrorClass, &a.Error, &a.Advice, &a.RawError, &a.Method, &a.URL,
		&a.RequestHeader, &a.ResponseHeader, &headers, &a.ResponseBody, &a.TransformKey, &retry, &log, &a.NotSent, &sealed, &a.TenantID,
		&callerID, &a.DestinationID, &a.DestinationType, &a.ErasedAt)
	if err == nil && headers != nil {
		a.RequestHeader, a.ResponseHeader, err = unpackHeaders(headers)
	}
	if err == nil {
		err = s.unsealAttempt(ctx, a, sealed)
	}
	a.Duration = time.Duration(duration) * time.Microsecond
	a.Timing = AttemptTiming{time.Duration(dns) * time.Microsecond, time.Duration(connect) * time.Microsecond,
		time.Duration(tls) * time.Microsecond, time.Duration(first) * time.Microsecond}
	if retry != nil {
		a.BulkKey = *retry
	}
	if log != "" && sealed == nil {
		a.Log = strings.Split(log, "\n")
	}
	e := Event{Key: a.EventKey}
	e.finish(callerID, nil)
	a.PublicEventID = e.ID
	return a, err
}

// AttemptQuery selects attempts.
type AttemptQuery struct {
	StartedSpan
	Status           string   `query:"status" label:"Status" words:"attempt status" api:"enum=success|failed" doc:"Only with this outcome."`
	Destinations     []string `query:"destination_id" label:"Destination" words:"destination" doc:"Only of these destinations."`
	DestinationTypes []string `query:"destination_type" label:"Destination type" words:"destination type" api:"schema=DestinationType" doc:"Only of these types."`
	Topics           []string `query:"topic" label:"Topic" doc:"Only of these topics."`
	Codes            []Code   `query:"code" label:"Response code" doc:"Only where the last attempt is shown with one of these codes."`
	ErrorClass       string   `query:"error_class" label:"Error" words:"error class" api:"schema=ErrorClass" doc:"Only where the last attempt failed so."`
	Triggers         []string `query:"trigger" label:"Trigger" words:"trigger" api:"schema=Trigger" doc:"Only those that were made for one of these reasons."`
	Manual           *bool    `query:"manual" label:"Asked for" words:"by hand" doc:"'true': only those that somebody asked for, alone or in a bulk retry; 'false': only the others."`
	EventIDs         []string `query:"event_id" label:"Event" doc:"Only of these events."`
	Actor            string   `query:"actor" label:"Actor" doc:"Only those that this one asked for, named as in 'actor'."`
	Page             PageQuery
}

// attemptPosition is the place of an attempt in lists.
type attemptPosition struct {
	At          time.Time
	EventID     uuid.UUID
	Destination int64
	Number      int
}

// Attempts lists attempts by the time they were started.
func (s *Store) Attempts(ctx context.Context, scope Scope, aq AttemptQuery) (*Page[*Attempt], error) {
	aq.StartedSpan = aq.within()
	k, err := aq.Page.keyset(scope.keys(), aq)
	if err != nil {
		return nil, err
	}
	if aq.Status != "" && aq.Status != AttemptSucceeded && aq.Status != AttemptFailed {
		return nil, Invalid("status", "must be "+AttemptSucceeded+" or "+AttemptFailed)
	}
	if err := checkCodes(aq.Codes); err != nil {
		return nil, err
	}
	if err := oneOf("trigger", aq.Triggers, Triggers); err != nil {
		return nil, err
	}
	q := newQuery()
	if len(aq.EventIDs) > 0 {
		keys, err := s.eventKeys(ctx, scope, aq.EventIDs)
		if err != nil {
			return nil, err
		}
		q.and("a.event_id = any(?)", keys)
	}
	keys, err := s.destinationKeys(ctx, scope, aq.Destinations)
	if err != nil {
		return nil, err
	}
	if len(keys) > 0 {
		q.and("a.destination_key = any(?)", keys)
	}
	if len(aq.DestinationTypes) > 0 {
		q.and("n.type = any(?)", aq.DestinationTypes)
	}
	if len(aq.Topics) > 0 {
		q.and("e.topic = any(?)", aq.Topics)
	}
	switch aq.Status {
	case AttemptSucceeded:
		q.and("a.ok")
	case AttemptFailed:
		q.and("not a.ok")
	}
	if len(aq.Triggers) > 0 {
		q.and("a.trigger = any(?)", aq.Triggers)
	}
	if aq.Manual != nil {
		q.and(attemptByHand+" = ?", *aq.Manual)
	}
	if aq.Actor != "" {
		q.and("a.actor = ?", aq.Actor)
	}
	codesAre(q, aq.Codes, "a.code", "a.error_class")
	if aq.ErrorClass != "" {
		q.and("a.error_class = ?", aq.ErrorClass)
	}
	for op, at := range map[string]time.Time{">=": aq.GTE, ">": aq.GT, "<=": aq.LTE, "<": aq.LT} {
		if !at.IsZero() {
			q.and("a.started_at "+op+" ?", at)
		}
	}
	scope.where(q, "a.tenant_key")
	return s.attemptPage(ctx, scope, aq, k, keys, q)
}

// attemptPage lists the attempts that meet the conditions q. Where no index gives them in order it looks through portions.
func (s *Store) attemptPage(ctx context.Context, scope Scope, aq AttemptQuery, k *keyset, keys []int64, q *query) (*Page[*Attempt], error) {
	w := &attemptPortions{s: s, scope: scope, destinations: keys, k: k}
	w.lo, w.hi = s.attemptBounds(aq, time.Now())
	var after attemptPosition
	if k.decode(&after) {
		q.and("(a.started_at, a.event_id, a.destination_key, a.number) "+k.op()+" (?, ?, ?, ?)", after.At, after.EventID, after.Destination,
			after.Number)
		if k.descending() {
			w.hi = earlier(w.hi, after.At.Add(time.Microsecond))
		} else {
			w.lo = later(w.lo, after.At)
		}
	}
	var list []*Attempt
	read := func(ctx context.Context, span func(*query)) (int, error) {
		part, o := &query{slices.Clone(q.conds), slices.Clone(q.args)}, k.order()
		span(part)
		more, err := readByKeys(ctx, s, s.attemptScanner(ctx), attemptSelect+part.sql()+" order by a.started_at "+o+", a.event_id "+o+
			", a.destination_key "+o+", a.number "+o+part.limit(k.limit+1-len(list)), part.args...)
		list = append(list, more...)
		return len(list), err
	}
	var err error
	if aq.indexed(scope, keys) {
		_, err = read(ctx, func(*query) {})
	} else {
		err = w.run(ctx, func(ctx context.Context, lo, hi time.Time) (int, error) {
			return read(ctx, func(q *query) {
				q.and("a.started_at >= ?", lo)
				q.and("a.started_at < ?", hi)
				q.and("a.event_id < ?", lowestUUID(hi.Add(time.Hour)))
			})
		})
	}
	if err != nil {
		return nil, err
	}
	return stopped(newPage(k, "time", list, func(a *Attempt) any {
		return attemptPosition{a.StartedAt, a.EventKey, a.DeliveryKey.Destination, a.Number}
	}), k, w.looked, w.position()), nil
}

// EventOf returns the event that an attempt was made for.
func (s *Store) EventOf(ctx context.Context, scope Scope, a *Attempt) (*Event, error) {
	e, err := s.eventByKey(ctx, scope, a.EventKey)
	if err != nil {
		return nil, err
	}
	return e, s.addDeliveries(ctx, []*Event{e})
}

// Attempt returns one attempt by its public id.
func (s *Store) Attempt(ctx context.Context, scope Scope, id string) (*Attempt, error) {
	k, n, ok := parseAttemptID(id)
	if !ok {
		return nil, notFound("There is no attempt %q.", cut(id, 80))
	}
	q := newQuery()
	q.and("a.event_id = ?", k.EventKey)
	q.and("a.destination_key = ?", k.Destination)
	q.and("a.number = ?", n)
	scope.where(q, "a.tenant_key")
	rows, err := s.pool.Query(ctx, attemptSelect+q.sql(), q.args...)
	if err != nil {
		return nil, err
	}
	a, err := pgx.CollectExactlyOneRow(rows, s.attemptScanner(ctx))
	if err == pgx.ErrNoRows {
		return nil, notFound("There is no attempt %q.", cut(id, 80))
	}
	return a, err
}

// DeliveryAttempts lists all attempts of a delivery, newest first.
func (s *Store) DeliveryAttempts(ctx context.Context, scope Scope, k DeliveryKey) ([]*Attempt, error) {
	q := newQuery()
	q.and("a.event_id = ?", k.EventKey)
	q.and("a.destination_key = ?", k.Destination)
	scope.where(q, "a.tenant_key")
	rows, err := s.pool.Query(ctx, attemptSelect+q.sql()+" order by a.number desc limit 1000", q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, s.attemptScanner(ctx))
}

// FailuresOf lists attempts of a bulk retry that failed, newest first, at most limit.
func (s *Store) FailuresOf(ctx context.Context, b *BulkRetry, limit int) ([]*Attempt, error) {
	rows, err := s.pool.Query(ctx, attemptSelect+" where a.retry_id = $1 and not a.ok order by a.started_at desc limit $2", b.Key, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, s.attemptScanner(ctx))
}

// EventAttempts lists all attempts of an event's deliveries, newest first, at most 1,000.
func (s *Store) EventAttempts(ctx context.Context, scope Scope, event uuid.UUID) ([]*Attempt, error) {
	q := newQuery()
	q.and("a.event_id = ?", event)
	scope.where(q, "a.tenant_key")
	rows, err := s.pool.Query(ctx, attemptSelect+q.sql()+" order by a.started_at desc, a.number desc limit 1000", q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, s.attemptScanner(ctx))
}
