package models

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// DeliveryQuery selects deliveries.
type DeliveryQuery struct {
	EventIDs     []string
	Destinations []string // ids
	Topics       []string
	Statuses     []string
	Code         int
	ErrorClass   string
	Since, Until time.Time // of the event's receipt; zero for open
	Sort         string    // one of DeliverySorts; empty for SortCreated
	Page         PageQuery
}

// What lists of deliveries can be sorted by.
const (
	SortCreated     = "created_at"      // when the event was received
	SortLastAttempt = "last_attempt_at" // only those that were attempted
)

// DeliverySorts lists what lists of deliveries can be sorted by.
var DeliverySorts = []string{SortCreated, SortLastAttempt}

// attemptedPosition is the place of a delivery in a list by its last attempt.
type attemptedPosition struct {
	At time.Time
	DeliveryKey
}

// Deliveries lists deliveries by the time their event was received, or by their last attempt. What a filter held back is among
// them only when its status is asked for.
//
// No index is on last_attempt_at, because the usual path changes it: every delivery would be written a second time into
// each index. Sorted by it, the list walks attempts, which are found by tenant or destination and time, and takes the
// deliveries of which they are the last.
func (s *Store) Deliveries(ctx context.Context, scope Scope, dq DeliveryQuery) (*Page[*Delivery], error) {
	if dq.Sort == "" {
		dq.Sort = SortCreated
	}
	if err := oneOf("sort", []string{dq.Sort}, DeliverySorts); err != nil {
		return nil, err
	}
	k, err := dq.Page.keyset("deliveries", scope.keys(), dq.EventIDs, dq.Destinations, dq.Topics, dq.Statuses, dq.Code, dq.ErrorClass, dq.Since, dq.Until, dq.Sort)
	if err != nil {
		return nil, err
	}
	attempted := dq.Sort == SortLastAttempt
	for _, st := range dq.Statuses {
		if !IsStatus(st) {
			return nil, Invalid("status", fmt.Sprintf("%q is not a status: use %s", cut(st, 40), listSome(Statuses)))
		}
	}
	q := newQuery()
	lo, hi := idRange(dq.Since, dq.Until)
	if len(dq.EventIDs) > 0 {
		keys, err := s.eventKeys(ctx, scope, dq.EventIDs)
		if err != nil {
			return nil, err
		}
		q.and("d.event_id = any(?)", keys)
	}
	from, order := "", " order by d.event_id "+k.order()+", d.destination_key "+k.order()
	if attempted {
		from = " join attempts a on a.event_id = d.event_id and a.destination_key = d.destination_key and a.started_at = d.last_attempt_at"
		order = " order by a.started_at " + k.order() + ", a.event_id " + k.order() + ", a.destination_key " + k.order()
		var after attemptedPosition
		if k.decode(&after) {
			q.and("(a.started_at, a.event_id, a.destination_key) "+k.op()+" (?, ?, ?)", after.At, after.EventID, after.Destination)
		}
		q.and("a.event_id >= ?", lo)
		q.and("a.event_id < ?", hi)
		scope.where(q, "a.tenant_key")
		if len(dq.Statuses) > 0 && !slices.ContainsFunc(dq.Statuses, func(st string) bool { return st != StatusFailed && st != StatusRetrying }) {
			q.and("not a.ok") // for the index of failures
		}
	} else {
		var after DeliveryKey
		if k.decode(&after) {
			q.and("(d.event_id, d.destination_key) "+k.op()+" (?, ?)", after.EventID, after.Destination)
		}
	}
	q.and("d.event_id >= ?", lo)
	q.and("d.event_id < ?", hi)
	scope.where(q, "d.tenant_key")
	scope.where(q, "e.tenant_key")
	statusConditions(q, scope, dq.Statuses)
	keys, err := s.destinationKeys(ctx, scope, dq.Destinations)
	if err != nil {
		return nil, err
	}
	if len(keys) > 0 {
		q.and("d.destination_key = any(?)", keys)
		if attempted {
			q.and("a.destination_key = any(?)", keys)
		}
	}
	if len(dq.Topics) > 0 {
		q.and("e.topic = any(?)", dq.Topics)
	}
	if dq.Code != 0 {
		q.and("d.last_code = ?", dq.Code)
	}
	if dq.ErrorClass != "" {
		q.and("d.error_class = ?", dq.ErrorClass)
	}
	rows, err := s.Pool.Query(ctx, deliverySelect+from+q.sql()+order+q.limit(k.limit+1), q.args...)
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
	if attempted {
		return newPage(k, SortLastAttempt, list, func(d *Delivery) any { return attemptedPosition{*d.LastAttemptAt, d.DeliveryKey} }), nil
	}
	if slices.Contains(dq.Statuses, StatusFilteredOut) && dq.Code == 0 && dq.ErrorClass == "" {
		if list, err = s.withFiltered(ctx, scope, dq, keys, k, list); err != nil {
			return nil, err
		}
	}
	return newPage(k, SortCreated, list, func(d *Delivery) any { return d.DeliveryKey }), nil
}
