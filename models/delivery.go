package models

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/queue"
)

// The states of a delivery.
const (
	StatusPending     = "pending"      // queued for its first attempt, or queued anew
	StatusDelivering  = "delivering"   // an attempt after the first is under way
	StatusDelivered   = "delivered"    // the destination acknowledged it
	StatusRetrying    = "retrying"     // failed, and will be tried again
	StatusFailed      = "failed"       // failed for good; can be retried by hand
	StatusHeld        = "held"         // the destination is disabled; kept until somebody decides
	StatusFilteredOut = "filtered_out" // the destination's filter did not let it through
	StatusCancelled   = "cancelled"    // somebody, or the destination's deletion, called it off
)

// Statuses lists all states, in the order in which pages show them.
var Statuses = []string{StatusPending, StatusDelivering, StatusDelivered, StatusRetrying, StatusFailed, StatusHeld, StatusFilteredOut,
	StatusCancelled}

// IsStatus reports whether s is a state of a delivery.
func IsStatus(s string) bool { return slices.Contains(Statuses, s) }

// onUsualPath are the states that the index of the unusual ones leaves out.
var onUsualPath = []string{StatusPending, StatusDelivering, StatusDelivered}

// Delivery is one event on its way to one destination.
type Delivery struct {
	DeliveryKey
	TenantKey     int64
	TenantID      string
	PublicEventID string
	Topic         string
	DestinationID string
	Destination   *Destination // for pages; nil in lists of the API
	Status        string
	Reason        string // a sentence for filtered_out, held, failed and cancelled, and for what waits for its destination
	Waits         bool   // it is due, and Reason says why it is not made yet; NextAttemptAt is an estimate
	WaitsFor      string // with Waits: one of the reasons of Wait, or WaitOrder
	Attempts      int    // made so far
	MaxAttempts   int    // by the destination's policy
	ManualRetries int
	NextAttemptAt *time.Time
	LastAttemptAt *time.Time
	LastCode      int // 0 when there was none
	ErrorClass    string
	Error         string // of the last attempt
	Advice        string
	EventTime     time.Time  // when the event happened
	ErasedAt      *time.Time // when the data of the event was erased, so that it cannot be sent again; nil while it is there
	CreatedAt     time.Time  // when it was received
	UpdatedAt     time.Time
	Turn          int32
}

// Final reports whether the delivery is finished: it changes only when a person or the API asks for it.
func (d *Delivery) Final() bool {
	return !slices.Contains([]string{StatusPending, StatusDelivering, StatusRetrying}, d.Status)
}

const deliverySelect = `select d.event_id, d.destination_key, d.tenant_key, t.id, e.caller_id, e.time, e.topic, n.id, d.status,
	coalesce(d.reason, ''),
	d.attempts, d.manual_retries, d.next_attempt_at, d.last_attempt_at, coalesce(d.last_code, 0), coalesce(d.error_class, ''),
	coalesce(d.error, ''), coalesce(d.advice, ''), d.turn, n.retry, e.erased_at,
	case when t.settings ?| '{retry_max_attempts,retry_schedule,retry_initial,retry_multiplier}' then t.settings end
	from deliveries d join events e on e.id = d.event_id join tenants t on t.key = d.tenant_key join destinations n
		on n.key = d.destination_key`

func (s *Store) scanDelivery(row pgx.CollectableRow) (*Delivery, error) {
	d := &Delivery{}
	var callerID *string
	var at *time.Time
	var own *RetryPolicy
	var shared *SharedSettings
	err := row.Scan(&d.EventKey, &d.DeliveryKey.Destination, &d.TenantKey, &d.TenantID, &callerID, &at, &d.Topic, &d.DestinationID,
		&d.Status, &d.Reason,
		&d.Attempts, &d.ManualRetries, &d.NextAttemptAt, &d.LastAttemptAt, &d.LastCode, &d.ErrorClass, &d.Error, &d.Advice, &d.Turn, &own,
		&d.ErasedAt, &shared)
	if err != nil {
		return nil, err
	}
	e := Event{Key: d.EventKey}
	e.finish(callerID, at)
	d.PublicEventID, d.EventTime, d.CreatedAt = e.ID, e.Time, e.Received
	d.UpdatedAt = d.CreatedAt
	if d.LastAttemptAt != nil {
		d.UpdatedAt = *d.LastAttemptAt
	}
	rules := s.Rules()
	if shared != nil {
		rules = shared.over(rules)
	}
	policy := rules.Retry
	if own != nil {
		policy = own.Or(rules.Retry)
	}
	d.MaxAttempts = policy.Attempts()
	return d, nil
}

// statusConditions asks for deliveries d in one of the statuses, through the index of the unusual ones where it can.
func statusConditions(q *query, scope Scope, statuses []string) {
	if len(statuses) == 0 {
		return
	}
	if slices.ContainsFunc(statuses, func(st string) bool { return slices.Contains(onUsualPath, st) }) {
		q.and("d.status = any(?::delivery_status[])", statuses)
		return
	}
	scope.where(q, "d.tenant_key")
	q.and("d.attention = any(?::delivery_status[])", statuses)
}

// Delivery returns one delivery by its public id.
func (s *Store) Delivery(ctx context.Context, scope Scope, id string) (*Delivery, error) {
	k, ok := parseDeliveryID(id)
	if !ok {
		return nil, notFound("There is no delivery %q.", cut(id, 80))
	}
	return s.deliveryByKey(ctx, scope, k)
}

func (s *Store) deliveryByKey(ctx context.Context, scope Scope, k DeliveryKey) (*Delivery, error) {
	q := newQuery()
	q.and("d.event_id = ?", k.EventKey)
	q.and("d.destination_key = ?", k.Destination)
	scope.where(q, "d.tenant_key")
	rows, err := s.pool.Query(ctx, deliverySelect+q.sql(), q.args...)
	if err != nil {
		return nil, err
	}
	d, err := pgx.CollectExactlyOneRow(rows, s.scanDelivery)
	if err == pgx.ErrNoRows {
		return s.filteredDelivery(ctx, scope, k)
	}
	if err == nil {
		err = s.explain(ctx, []*Delivery{d})
	}
	return d, err
}

// Considered is the whole answer to "where did this event go, and why not there".
type Considered struct {
	Event      *Event
	Deliveries []*Delivery // by destination, in the order in which those were created; Destination is set
	Skipped    []Skipped   // destinations that the event did not concern
}

// Skipped is a destination that an event did not concern.
type Skipped struct {
	Destination *Destination
	Reason      string
}

// EventDeliveries tells for every destination of the event's tenant what became of the event there.
func (s *Store) EventDeliveries(ctx context.Context, scope Scope, eventID string) (*Considered, error) {
	e, err := s.Event(ctx, scope, eventID)
	if err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, deliverySelect+" where d.event_id = $1 order by d.destination_key", e.Key)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, s.scanDelivery)
	if err != nil {
		return nil, err
	}
	if err := s.explain(ctx, list); err != nil {
		return nil, err
	}
	filtered, err := s.filteredOut(ctx, e)
	if err != nil {
		return nil, err
	}
	list = append(list, filtered...)
	slices.SortFunc(list, func(a, b *Delivery) int { return int(a.DeliveryKey.Destination - b.DeliveryKey.Destination) })
	c := &Considered{Event: e, Deliveries: list}
	var all []*Destination
	if err := s.DB.WithContext(ctx).Where("tenant_key = ?", e.TenantKey).Order("key").Find(&all).Error; err != nil {
		return nil, err
	}
	byKey := map[int64]*Destination{}
	for _, d := range all {
		if err := s.open(d, e.TenantID); err != nil {
			return nil, err
		}
		byKey[d.Key] = d
	}
	for _, d := range list {
		d.Destination = byKey[d.DeliveryKey.Destination]
		delete(byKey, d.DeliveryKey.Destination)
	}
	for _, d := range all {
		if reason := skippedBecause(e, d); byKey[d.Key] != nil && reason != "" {
			c.Skipped = append(c.Skipped, Skipped{d, reason})
		}
	}
	return c, nil
}

// skippedBecause says why an event did not concern a destination; empty when the destination need not be mentioned.
func skippedBecause(e *Event, d *Destination) string {
	switch {
	case d.DeletedAt != nil:
		return ""
	case d.CreatedAt.Truncate(grain).After(e.Received):
		return "The destination was created after the event."
	case e.Topic == "" && !d.TakesAll():
		return "The event has no topic; the destination takes " + listSome(d.Topics) + "."
	case !Subscribes(d.Topics, e.Topic):
		return fmt.Sprintf("It does not subscribe to %s; it takes %s.", e.Topic, listSome(d.Topics))
	case d.UpdatedAt.Truncate(grain).After(e.Received):
		return "Its settings were changed after the event."
	}
	return "The event was published for another destination only."
}

// RetryDelivery queues a delivery for one attempt now. It returns false when the delivery is on its way already, which
// is no error: the attempt that was asked for will be made.
func (s *Store) RetryDelivery(ctx context.Context, scope Scope, k DeliveryKey, trigger, actor string) (queued bool, err error) {
	d, err := s.deliveryByKey(ctx, scope, k)
	if err != nil {
		return false, err
	}
	return s.retryDelivery(ctx, d, trigger, actor)
}

// retryDelivery queues a delivery that was read. It notes how many attempts were made before the one that was asked for.
func (s *Store) retryDelivery(ctx context.Context, d *Delivery, trigger, actor string) (queued bool, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		if queued, err = s.retryInTx(ctx, tx, d, trigger, actor); err != nil {
			return err
		}
		detail := map[string]any{"event": d.PublicEventID, "destination": d.DestinationID, "queued": queued}
		if queued {
			detail["attempt"] = d.NextAttemptID()
		}
		return tx.Audit(ctx, AuditEntry{Scope: d.TenantScope(), Action: "delivery.retry", Object: d.ID(), Detail: detail})
	})
	return queued && err == nil, err
}

// NextAttemptID is the id that the delivery's next attempt will have.
func (d *Delivery) NextAttemptID() string { return d.AttemptID(d.Attempts + 1) }

// retryInTx queues the delivery; queued is false when it is on its way already.
func (s *Store) retryInTx(ctx context.Context, tx *Tx, d *Delivery, trigger, actor string) (queued bool, err error) {
	if err := unerased(ctx, tx.Pgx, d.EventKey); err != nil {
		return false, err
	}
	var disabled, deleted *time.Time
	var own *int
	var ordered bool
	if err := tx.QueryRow(ctx, "select disabled_at, deleted_at, manual_retry_limit, ordered from destinations where key = $1 for share",
		d.DeliveryKey.Destination).Scan(&disabled, &deleted, &own, &ordered); err != nil {
		return false, err
	}
	limits, err := s.limits(ctx, tx, d.TenantKey)
	if err != nil {
		return false, err
	}
	most := limits.PerDelivery.Below(own, d.DestinationID)
	if deleted != nil {
		return false, malformed("The destination %q was deleted. There is nowhere to send the event.", d.DestinationID)
	}
	if disabled != nil {
		return false, malformed("The destination %q is disabled. Enable it, then retry.", d.DestinationID)
	}
	if d.Status == StatusFilteredOut {
		// The filter held it back, so that there is no row yet.
		if _, err := tx.Exec(ctx,
			`insert into deliveries (event_id, destination_key, tenant_key, status) values ($1, $2, $3, 'filtered_out')
			on conflict do nothing`, d.EventKey, d.DeliveryKey.Destination, d.TenantKey); err != nil {
			return false, err
		}
		if err := joinLines(ctx, tx, &Destination{Key: d.DeliveryKey.Destination, DestinationFields: DestinationFields{Ordered: ordered}},
			[]uuid.UUID{d.EventKey}); err != nil {
			return false, err
		}
	}
	var turn int32
	err = tx.QueryRow(ctx,
		`update deliveries set status = 'pending', turn = turn + 1, manual_retries = manual_retries + 1, next_attempt_at = null,
			reason = null, retry_id = null, retry_from = null
		where event_id = $1 and destination_key = $2 and status not in ('pending', 'delivering') and manual_retries < $3::int
		returning turn, attempts`, d.EventKey, d.DeliveryKey.Destination, most.atMost()).Scan(&turn, &d.Attempts)
	if err == pgx.ErrNoRows {
		return false, s.whyNotRetried(ctx, tx, d, most)
	}
	if err != nil {
		return false, err
	}
	allowed, by, err := s.takeHourly(ctx, tx, d.TenantKey, limits.PerHour, []DeliveryKey{d.DeliveryKey})
	if err != nil {
		return false, err
	}
	if allowed == 0 {
		return false, &Error{Kind: KindLimited, RetryAfter: time.Minute,
			Message: fmt.Sprintf("%s retried by hand within the last hour, which is the limit (%s). Try again in a while.",
				countOf(by.Most, "delivery was", "deliveries were"), by.Rule())}
	}
	return true, s.Queue.Enqueue(ctx, tx, []queue.Batch{{Key: queue.Key{Destination: d.DeliveryKey.Destination, Tenant: d.TenantKey,
		Later:   true,
		Trigger: trigger, Actor: actor},
		Items: []queue.Item{{EventKey: d.EventKey, Turn: turn}}}})
}

func (s *Store) whyNotRetried(ctx context.Context, tx pgx.Tx, d *Delivery, most Limit) error {
	var status string
	var manual int
	err := tx.QueryRow(ctx, "select status, manual_retries from deliveries where event_id = $1 and destination_key = $2",
		d.EventKey, d.DeliveryKey.Destination).Scan(&status, &manual)
	if err != nil {
		return err
	}
	if manual >= most.atMost() {
		return &Error{Kind: KindLimited, Message: fmt.Sprintf("This delivery was retried by hand %s, which is the limit (%s).",
			countOf(manual, "time", "times"), most.Rule())}
	}
	return nil // on its way already
}

// RetryEvent queues the delivery of an event to a destination for one attempt now; see RetryDelivery.
func (s *Store) RetryEvent(ctx context.Context, scope Scope, eventID, destinationID, actor string) (*Delivery, bool, error) {
	bad := problems{}
	if eventID == "" {
		bad.add("event_id", "is required")
	}
	if destinationID == "" {
		bad.add("destination_id", "is required")
	}
	if err := bad.err(); err != nil {
		return nil, false, err
	}
	e, err := s.event(ctx, scope, eventID)
	if err != nil {
		return nil, false, err
	}
	var d Destination
	found := s.DB.WithContext(ctx).Where("tenant_key = ? and id = ?", e.TenantKey,
		destinationID).Order("deleted_at desc nulls first").Limit(1).Find(&d)
	if found.Error != nil {
		return nil, false, found.Error
	}
	if found.RowsAffected == 0 {
		return nil, false, notFound("There is no destination %q.", cut(destinationID, 80))
	}
	k := DeliveryKey{e.Key, d.Key}
	delivery, err := s.deliveryByKey(ctx, scope, k)
	if IsKind(err, KindNotFound) {
		return nil, false, malformed("The event %q does not go to destination %q: %s", cut(eventID, 80), cut(destinationID, 80),
			lowerFirst(skippedBecause(e, &d)))
	}
	if err != nil {
		return nil, false, err
	}
	queued, err := s.retryDelivery(ctx, delivery, TriggerManual, actor)
	return delivery, queued, err
}

func lowerFirst(s string) string {
	if s == "" {
		return "it was not considered"
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// takeCare has workers that may be about to make first attempts look at the deliveries' rows before. The tenants come first, as
// wherever destinations are changed.
func takeCare(ctx context.Context, tx pgx.Tx, destinations []int64) error {
	_, err := tx.Exec(ctx, `update tenants set version = version + 1 where key in (
		select tenant_key from destinations where key = any($1) and not careful)`, destinations)
	if err == nil {
		_, err = tx.Exec(ctx, "update destinations set careful = true, version = version + 1 where key = any($1) and not careful",
			destinations)
	}
	return err
}

// CancelDelivery calls a delivery off that has not been made. An attempt that is under way is not interrupted; if it
// succeeds, the delivery counts as delivered.
func (s *Store) CancelDelivery(ctx context.Context, scope Scope, id, actor string) (*Delivery, error) {
	d, err := s.Delivery(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		if err := takeCare(ctx, tx.Pgx, []int64{d.DeliveryKey.Destination}); err != nil {
			return err
		}
		tag, err := tx.Pgx.Exec(ctx, `update deliveries set status = 'cancelled', turn = turn + 1, next_attempt_at = null, reason = $3
			where event_id = $1 and destination_key = $2 and (status in ('pending', 'retrying', 'held')
				or status = 'failed' and exists (select 1 from ordered_deliveries o where o.event_id = $1 and o.destination_key = $2))`,
			d.EventKey, d.DeliveryKey.Destination, "Cancelled by "+actorName(actor))
		if err == nil && tag.RowsAffected() > 0 {
			if err := noteOutcomes(ctx, tx.Pgx, StatusCancelled, "Cancelled by "+actorName(actor), d.DeliveryKey); err != nil {
				return err
			}
			jobs, err := passOn(ctx, tx.Pgx, []DeliveryKey{d.DeliveryKey})
			if err != nil {
				return err
			}
			if len(jobs) > 0 {
				if err := s.Queue.Enqueue(ctx, tx, jobs); err != nil {
					return err
				}
			}
			return tx.Audit(ctx, AuditEntry{Scope: d.TenantScope(), Action: "delivery.cancel", Object: d.ID(),
				Detail: map[string]any{"event": d.PublicEventID, "destination": d.DestinationID}})
		}
		if err == nil {
			return conflict("The delivery is %s; only one that is pending, retrying or held can be cancelled.",
				strings.ReplaceAll(d.Status, "_", " "))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.Delivery(ctx, scope, id)
}

// TenantScope is the scope of the delivery's tenant.
func (d *Delivery) TenantScope() Scope { return Scope{key: d.TenantKey} }

// HasOutcomes reports whether every delivery of an event has had its first outcome.
func (s *Store) HasOutcomes(ctx context.Context, event uuid.UUID) (bool, error) {
	var open bool
	err := s.pool.QueryRow(ctx, "select exists (select 1 from deliveries where event_id = $1 and status = 'pending' and attempts = 0)",
		event).Scan(&open)
	return !open, err
}
