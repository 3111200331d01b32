package models

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// BulkPlan says what a bulk retry would do.
type BulkPlan struct {
	Filter        RetryFilter // with its times frozen
	Count         int         // deliveries that would be retried
	More          bool        // the filter chooses more than the limit for one bulk retry, and Count is that limit
	Limit         int         // for one bulk retry
	ByDestination []Share     // by id, the most first
	ByErrorClass  []Share     // of the last attempt; "" for none
	ByTopic       []Share     // "" for none
	Skipped       []Skip
	Sample        []*Delivery // some of those that would be retried, newest first
	HourlyLimit   int         // manual retries of the tenant in an hour; 0 for no limit
	HourlyLeft    int         // of these, left for now
}

// Share is a part of the deliveries of a plan.
type Share struct {
	Key   string
	Count int
}

// Total counts what the filter chooses, also what would be skipped.
func (p *BulkPlan) Total() int {
	n := p.Count
	for _, s := range p.Skipped {
		n += s.Count
	}
	return n
}

// SkipWords say why deliveries are skipped.
var SkipWords = map[string]string{
	SkipDisabled: "the destination is disabled; enable it first",
	SkipDeleted:  "the destination was deleted",
	SkipLimit:    "retried by hand as often as is allowed (MANUAL_RETRY_LIMIT)",
	SkipChanged:  "in another state when their turn came: already delivered or on their way, say",
	SkipUnsent:   "held or called off before they were sent",
}

// refusal says why the plan cannot be carried out; nil when it can.
func (p *BulkPlan) refusal() error {
	switch {
	case p.More:
		return Invalid("filter", fmt.Sprintf("chooses more than %d deliveries, the limit for one bulk retry (BULK_RETRY_LIMIT): narrow it by time, destination or topic", p.Limit))
	case p.Count > 0:
		return nil
	case len(p.Skipped) == 0:
		return Invalid("filter", "chooses no delivery that can be retried")
	}
	why := make([]string, len(p.Skipped))
	for i, s := range p.Skipped {
		why[i] = fmt.Sprintf("%d: %s", s.Count, SkipWords[s.Reason])
	}
	return Invalid("filter", "chooses no delivery that can be retried ("+strings.Join(why, "; ")+")")
}

// planSampleOf is how many deliveries a plan shows.
const planSampleOf = 10

// PlanBulkRetry says what a bulk retry would do if it were started now.
func (s *Store) PlanBulkRetry(ctx context.Context, scope Scope, f RetryFilter) (*BulkPlan, error) {
	c, err := s.choose(ctx, scope, f, time.Now())
	if err != nil {
		return nil, err
	}
	p, err := s.planOf(ctx, c)
	if err != nil {
		return nil, err
	}
	if p.Sample, err = s.planSample(ctx, c); err != nil {
		return nil, err
	}
	if p.HourlyLimit = s.HourlyRetryLimit; p.HourlyLimit > 0 {
		used, err := hourlyUsed(ctx, s.Pool, c.tenant)
		if err != nil {
			return nil, err
		}
		p.HourlyLeft = max(p.HourlyLimit-used, 0)
	}
	return p, nil
}

// skipCase is why a delivery c of a destination n is skipped; empty when it is not. The first argument is the limit of
// manual retries.
const skipCase = `case when n.deleted_at is not null then '` + SkipDeleted + `' when n.disabled_at is not null then '` + SkipDisabled + `'
	when c.manual_retries >= ? then '` + SkipLimit + `' else '' end`

// planOf counts what is chosen.
func (s *Store) planOf(ctx context.Context, c *chosen) (*BulkPlan, error) {
	p := &BulkPlan{Filter: c.filter, Limit: s.BulkRetryLimit}
	q := newQuery()
	from := c.sql(q, DeliveryKey{}, p.Limit+1)
	rows, err := s.Pool.Query(ctx, "select n.id, c.error_class, c.topic, "+q.bind(skipCase, s.manualLimit())+" skip, count(*) from ("+from+`) c
		join destinations n on n.key = c.destination_key group by 1, 2, 3, 4`, q.args...)
	if err != nil {
		return nil, err
	}
	destinations, classes, topics, skipped := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	var destination, class, topic, skip string
	var n, all int
	if _, err := pgx.ForEachRow(rows, []any{&destination, &class, &topic, &skip, &n}, func() error {
		all += n
		if skip != "" {
			skipped[skip] += n
			return nil
		}
		p.Count += n
		destinations[destination] += n
		classes[class] += n
		topics[topic] += n
		return nil
	}); err != nil {
		return nil, err
	}
	if p.More = all > p.Limit; p.More {
		p.Count = min(p.Count, p.Limit)
	}
	p.ByDestination, p.ByErrorClass, p.ByTopic, p.Skipped = shares(destinations), shares(classes), shares(topics), skips(skipped)
	return p, nil
}

func shares(by map[string]int) []Share {
	out := []Share{}
	for _, s := range skips(by) {
		out = append(out, Share{s.Reason, s.Count})
	}
	return out
}

func (s *Store) planSample(ctx context.Context, c *chosen) ([]*Delivery, error) {
	q := newQuery()
	from := c.sql(q, DeliveryKey{}, s.BulkRetryLimit+1)
	rows, err := s.Pool.Query(ctx, "select c.event_id, c.destination_key from ("+from+`) c join destinations n on n.key = c.destination_key
		where `+q.bind(skipCase, s.manualLimit())+" = '' order by c.event_id desc, c.destination_key desc"+q.limit(planSampleOf), q.args...)
	if err != nil {
		return nil, err
	}
	events, destinations := []uuid.UUID{}, []int64{}
	var k DeliveryKey
	if _, err := pgx.ForEachRow(rows, []any{&k.EventID, &k.Destination}, func() error {
		events, destinations = append(events, k.EventID), append(destinations, k.Destination)
		return nil
	}); err != nil {
		return nil, err
	}
	if rows, err = s.Pool.Query(ctx, deliverySelect+" join unnest($1::uuid[], $2::bigint[]) u (e, k) on d.event_id = u.e and d.destination_key = u.k", events, destinations); err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, s.scanDelivery)
	slices.SortFunc(list, func(a, b *Delivery) int { return b.DeliveryKey.compare(a.DeliveryKey) })
	return list, err
}

// manualLimit is how often a delivery may be retried by hand.
func (s *Store) manualLimit() int {
	if s.ManualRetryLimit == 0 {
		return 1<<15 - 1 // what the column holds
	}
	return s.ManualRetryLimit
}
