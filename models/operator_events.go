package models

import (
	"context"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// OperatorTenant is the id of the tenant that owns the operators' own destinations. They get events about all tenants: those
// of changes, as tenants get them about themselves, and those that Hookdeck Outpost calls operator events, as it writes them.
const OperatorTenant = "_operators"

// The topics of operator events.
const (
	topicFailures     = "alert.destination.consecutive_failure"
	topicDisabled     = "alert.destination.disabled"
	topicExhausted    = "alert.attempt.exhausted_retries"
	topicSucceeded    = "attempt.success"
	topicFailed       = "attempt.failed"
	topicSubscription = "tenant.subscription.updated"
)

// OperatorTopics lists the topics of operator events.
var OperatorTopics = []string{topicFailures, topicDisabled, topicExhausted, topicSucceeded, topicFailed, topicSubscription}

// The sources of operator events beside the feed.
const (
	feedAttempt      = "attempt"
	feedFailures     = "failures"
	feedSubscription = "subscription"
)

// Why the server disables a destination by itself, in the words of operator events.
const (
	causeFailures = "consecutive_failure"
	causeGone     = "gone"
)

// operatorTopics reads what the operators' destinations subscribe to; of a cell, what was copied of home's. Every change of a destination
// asks for it, so the tenant comes first and the index of its destinations serves, whatever the planner believes of tables that have
// just filled. $1 is OperatorTenant, and $2 operatorsCopied.
const operatorTopics = `select coalesce(array_agg(distinct x), '{}') from (
	select jsonb_array_elements_text(d.topics) x from destinations d
		where d.tenant_key = any(array(select key from tenants where id = $1)) and d.deleted_at is null
	union all select jsonb_array_elements_text(value->'topics') from settings where key = $2) o`

func operatorSubscriptions(ctx context.Context, tx querier) (topics []string, err error) {
	err = tx.QueryRow(ctx, operatorTopics, OperatorTenant, operatorsCopied).Scan(&topics)
	return topics, err
}

// operatorSubscription is the state of a tenant's subscriptions before and after a change.
type operatorSubscription struct {
	TenantID        string   `json:"tenant_id"`
	Topics          []string `json:"topics"`
	PreviousTopics  []string `json:"previous_topics"`
	Destinations    int      `json:"destinations_count"`
	PreviouslyCount int      `json:"previous_destinations_count"`
}

// noteSubscription notes that the topics of a tenant, or the number of its destinations, are others now, if operators want
// to know.
func noteSubscription(ctx context.Context, tx pgx.Tx, before, d *Destination) error {
	if d.TenantID == OperatorTenant || before != nil && d.DeletedAt == nil && slices.Equal(before.Topics, d.Topics) {
		return nil
	}
	topics, err := operatorSubscriptions(ctx, tx)
	if err != nil || !Subscribes(topics, topicSubscription) {
		return err
	}
	var others []string
	var n int
	err = tx.QueryRow(ctx,
		`select coalesce((select array_agg(distinct x) from destinations d, jsonb_array_elements_text(d.topics) x where d.tenant_key = $1
			and d.deleted_at is null and d.key <> $2), '{}'),
		(select count(*) from destinations d where d.tenant_key = $1 and d.deleted_at is null and d.key <> $2)`, d.TenantKey,
		d.Key).Scan(&others, &n)
	if err != nil {
		return err
	}
	sub := operatorSubscription{TenantID: d.TenantID, Topics: others, PreviousTopics: others, Destinations: n, PreviouslyCount: n}
	if before != nil {
		sub.PreviousTopics, sub.PreviouslyCount = slices.Concat(others, before.Topics), n+1
	}
	if d.DeletedAt == nil {
		sub.Topics, sub.Destinations = slices.Concat(others, d.Topics), n+1
	}
	for _, list := range []*[]string{&sub.Topics, &sub.PreviousTopics} {
		*list = slices.Compact(slices.Sorted(slices.Values(*list)))
		if slices.Contains(*list, AllTopics) {
			*list = []string{AllTopics}
		}
		if *list == nil {
			*list = []string{}
		}
	}
	if sub.Destinations == sub.PreviouslyCount && slices.Equal(sub.Topics, sub.PreviousTopics) {
		return nil
	}
	return noted{tenant: d.TenantKey, what: feedSubscription, action: FeedUpdated, object: d.TenantID, state: sub}.write(ctx, tx)
}

// failureSteps are the percentages of the limit at which operators are told that a destination keeps failing.
var failureSteps = []int{50, 70, 90, 100}

// operatorFailures is how far a destination is from being disabled.
type operatorFailures struct {
	Current   int `json:"current"`
	Max       int `json:"max"`
	Threshold int `json:"threshold"` // percent
}

// noteFailures notes which destinations have come a step closer to being disabled, if operators want to know.
func (s *Store) noteFailures(ctx context.Context, tx pgx.Tx, touched map[int64]*Health) error {
	var keys []int64
	for k, h := range touched {
		if max(h.Failures, h.Peak) > h.before || h.Failures > 0 && h.Failures < h.before {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	topics, err := operatorSubscriptions(ctx, tx)
	if err != nil || !Subscribes(topics, topicFailures) {
		return err
	}
	rows, err := tx.Query(ctx,
		"select d.key, d.tenant_key, t.id, d.id, "+disableLimit+` from destinations d join tenants t on t.key = d.tenant_key
		where d.key = any($2) and d.deleted_at is null and t.id <> $3 order by d.key`, s.Rules().DisableAfter, keys, OperatorTenant)
	if err != nil {
		return err
	}
	var list []*Destination
	list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Destination, error) {
		d := &Destination{}
		return d, row.Scan(&d.Key, &d.TenantKey, &d.TenantID, &d.ID, &d.DisableAfter)
	})
	if err != nil {
		return err
	}
	for _, d := range list {
		limit, h := d.DisableLimit(0), touched[d.Key]
		for _, percent := range failureSteps {
			at := max(1, (limit*percent+99)/100)
			again := h.Failures < h.before || h.Failures < h.Peak // it has worked in between
			if limit == 0 || !(h.before < at && at <= max(h.Failures, h.Peak) || again && at <= h.Failures) {
				continue
			}
			// The id of the delivery key alone: which attempt it was is looked up when it is told.
			err := noted{tenant: d.TenantKey, what: feedFailures, action: strconv.Itoa(percent), object: strconv.FormatInt(d.Key, 10),
				state: operatorFailures{at, limit, percent}}.write(ctx, tx)
			if err != nil {
				return err
			}
		}
	}
	return nil
}
