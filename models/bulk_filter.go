package models

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// RetryFilter says which deliveries are retried. All conditions that are given must hold; of several values of one, any.
type RetryFilter struct {
	Statuses     []string   `json:"status,omitempty" api:"schema=DeliveryStatus" doc:"'failed' when missing; also 'retrying', 'held', 'cancelled', 'delivered'."`
	Destinations []string   `json:"destination_id,omitempty"` // ids
	Topics       []string   `json:"topic,omitempty"`
	ErrorClasses []string   `json:"error_class,omitempty" api:"schema=ErrorClass" doc:"Of the last attempt."`
	Codes        []Code     `json:"code,omitempty" doc:"Of the last attempt, as it is shown."`
	Events       []string   `json:"event_id,omitempty"`
	Deliveries   []string   `json:"delivery_ids,omitempty" doc:"Exactly these, and no other condition."`
	Since        *time.Time `json:"since,omitempty" doc:"Of the event's receipt, included."`
	Until        *time.Time `json:"until,omitempty" doc:"Not included; never later than the start of the bulk retry."`
}

// UnmarshalJSON reads a filter. A condition that it does not know is an error: to leave it out would choose others than
// were meant.
func (f *RetryFilter) UnmarshalJSON(b []byte) error {
	type plain RetryFilter
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode((*plain)(f))
	if err != nil && strings.Contains(err.Error(), "unknown field") {
		return fmt.Errorf("has a condition that is not known (%s): use status, destination_id, topic, error_class, code, event_id, since and until", strings.TrimPrefix(err.Error(), "json: "))
	}
	return err
}

// Retryable are the states in which a delivery can be retried.
var Retryable = []string{StatusFailed, StatusRetrying, StatusHeld, StatusCancelled, StatusDelivered}

// freeze checks the filter and fixes what is relative to now.
func (f *RetryFilter) freeze(now time.Time) error {
	bad := problems{}
	for i, st := range f.Statuses {
		switch {
		case slices.Contains(Retryable, st):
		case st == StatusFilteredOut:
			bad.add(fmt.Sprintf("filter.status[%d]", i),
				"filtered_out is delivered for one destination at a time: POST …/destinations/{id}/filtered")
		case IsStatus(st):
			bad.add(fmt.Sprintf("filter.status[%d]", i), st+" is on its way already: use "+listSome(Retryable))
		default:
			bad.add(fmt.Sprintf("filter.status[%d]", i), fmt.Sprintf("%q is not a status: use %s", cut(st, 40), listSome(Retryable)))
		}
	}
	for i, c := range f.ErrorClasses {
		if !slices.Contains(errorClasses, c) {
			bad.add(fmt.Sprintf("filter.error_class[%d]", i), fmt.Sprintf("%q is not an error class: use %s", cut(c, 40),
				strings.Join(errorClasses, ", ")))
		}
	}
	for i, c := range f.Codes {
		if p := c.problem(); p != "" {
			bad.add(fmt.Sprintf("filter.code[%d]", i), p)
		}
	}
	if len(f.Deliveries) > MaxLimit {
		bad.add("delivery_ids", fmt.Sprintf("must be at most %d ids; use a filter for more", MaxLimit))
	}
	for i, id := range f.Deliveries {
		if _, ok := parseDeliveryID(id); !ok {
			bad.add(fmt.Sprintf("delivery_ids[%d]", i), fmt.Sprintf("%q is not the id of a delivery", cut(id, 80)))
		}
	}
	if len(f.Events) > MaxLimit {
		bad.add("filter.event_id", fmt.Sprintf("must be at most %d ids", MaxLimit))
	}
	if f.Since != nil && f.Until != nil && !f.Since.Before(*f.Until) {
		bad.add("filter.until", "must be after since")
	} else if f.Since != nil && !f.Since.Before(now) {
		bad.add("filter.since", "must be in the past")
	}
	if len(f.Deliveries) > 0 && (len(f.Statuses)+len(f.Destinations)+len(f.Topics)+len(f.ErrorClasses)+len(f.Codes)+len(f.Events) > 0 ||
		f.Since != nil) {
		bad.add("delivery_ids", "cannot be combined with a filter")
	}
	if err := bad.err(); err != nil {
		return err
	}
	slices.Sort(f.Statuses)
	f.Statuses = slices.Compact(f.Statuses)
	if len(f.Statuses) == 0 && len(f.Deliveries) == 0 {
		f.Statuses = []string{StatusFailed}
	}
	if f.Until == nil || f.Until.After(now) {
		// Event ids tell milliseconds; the one that is just over is included.
		until := now.UTC().Truncate(time.Millisecond).Add(time.Millisecond)
		f.Until = &until
	}
	return nil
}

// chosen is a frozen filter as the database reads it.
type chosen struct {
	tenant       int64
	filter       RetryFilter
	destinations []int64     // nil for any
	events       []uuid.UUID // nil for any
	lo, hi       uuid.UUID
	asOf         time.Time // deliveries that were attempted later are not meant: they came to their state since
}

// choose checks a filter of a tenant, and freezes it.
func (s *Store) choose(ctx context.Context, scope Scope, f RetryFilter, now time.Time) (*chosen, error) {
	if scope.key == 0 {
		return nil, Invalid("tenant_id", "is required")
	}
	if err := f.freeze(now); err != nil {
		return nil, err
	}
	c := &chosen{tenant: scope.key, filter: f, asOf: now}
	if len(f.Events) > 0 {
		var err error
		if c.events, err = s.eventKeys(ctx, scope, f.Events); err != nil {
			return nil, err
		}
	}
	return c, s.resolve(ctx, c)
}

// chosenBy is what a bulk retry chose when it was started.
func (s *Store) chosenBy(ctx context.Context, b *BulkRetry) (*chosen, error) {
	c := &chosen{tenant: b.TenantKey, filter: b.Filter, events: b.events, asOf: b.CreatedAt}
	return c, s.resolve(ctx, c)
}

func (s *Store) resolve(ctx context.Context, c *chosen) (err error) {
	var since time.Time
	if c.filter.Since != nil {
		since = *c.filter.Since
	}
	c.lo, c.hi = idRange(since, *c.filter.Until)
	c.destinations, err = s.destinationKeys(ctx, Scope{key: c.tenant}, c.filter.Destinations)
	return err
}

// sql selects up to limit of the chosen deliveries that come after another, in the order of their keys. Each status is
// looked for by itself, so that an index gives them in that order and a portion does not read what comes after it.
func (c *chosen) sql(q *query, after DeliveryKey, limit int) string {
	statuses := c.filter.Statuses
	if len(c.filter.Deliveries) > 0 {
		statuses = []string{""}
	}
	limbs := make([]string, len(statuses))
	for i, st := range statuses {
		limbs[i] = "(" + c.limb(q, st, after, limit) + ")"
	}
	return "select event_id, destination_key, manual_retries, error_class, topic from (" + strings.Join(limbs,
		" union all ") + ") x order by event_id, destination_key" + q.limit(limit)
}

func (c *chosen) limb(q *query, status string, after DeliveryKey, limit int) string {
	sub := &query{args: q.args}
	from := "deliveries d"
	sub.and("d.tenant_key = ?", c.tenant)
	sub.and("e.tenant_key = ?", c.tenant)
	sub.and("e.erased_at is null")
	sub.and("d.event_id >= ?", maxUUID(c.lo, after.EventKey))
	sub.and("d.event_id < ?", c.hi)
	sub.and("(d.event_id, d.destination_key) > (?, ?)", after.EventKey, after.Destination)
	sub.and("(d.last_attempt_at is null or d.last_attempt_at < ?)", c.asOf)
	if len(c.filter.Deliveries) > 0 {
		events, destinations := make([]uuid.UUID, len(c.filter.Deliveries)), make([]int64, len(c.filter.Deliveries))
		for i, id := range c.filter.Deliveries {
			k, _ := parseDeliveryID(id)
			events[i], destinations[i] = k.EventKey, k.Destination
		}
		from = sub.bind("(select distinct e, k from unnest(?::uuid[], ?::bigint[]) x (e, k)) u (event_id, destination_key) join deliveries d using (event_id, destination_key)", events, destinations)
		sub.and("d.status = any(?::delivery_status[])", Retryable)
	}
	switch {
	case status == "":
	case slices.Contains(onUsualPath, status):
		sub.and("d.status = ?::delivery_status", status)
	default:
		sub.and("d.attention = ?::delivery_status", status)
	}
	if c.destinations != nil {
		sub.and("d.destination_key = any(?)", c.destinations)
	}
	if c.events != nil {
		sub.and("d.event_id = any(?)", c.events)
	}
	if len(c.filter.Topics) > 0 {
		sub.and("e.topic = any(?)", c.filter.Topics)
	}
	if len(c.filter.ErrorClasses) > 0 {
		sub.and("d.error_class = any(?)", c.filter.ErrorClasses)
	}
	codesAre(sub, c.filter.Codes, "d.last_code", "d.error_class")
	sql := "select d.event_id, d.destination_key, d.manual_retries, coalesce(d.error_class, '') error_class, coalesce(e.topic, '') topic from " +
		from + " join events e on e.id = d.event_id" + sub.sql() + " order by d.event_id, d.destination_key" + sub.limit(limit)
	q.args = sub.args
	return sql
}
