package models

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// BulkPlan says what a bulk retry would do.
type BulkPlan struct {
	Filter        RetryFilter // with its times frozen
	Count         int         // deliveries that would be retried
	More          bool        // the filter chooses more than the limit for one bulk retry, and Count is that limit
	ByDestination []Share     // by id, the most first
	ByErrorClass  []Share     // of the last attempt; "" for none
	ByTopic       []Share     // "" for none
	Skipped       []Skip
	Sample        []*Delivery // some of those that would be retried, newest first
	Limits        AppliedLimits
	HourlyLeft    int // of what the tenant may retry in an hour, left for now
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
	SkipLimit:    "retried by hand as often as is allowed (manual_retry_limit)",
	SkipChanged:  "in another state when their turn came: already delivered or on their way, say",
	SkipUnsent:   "held or cancelled before they were sent",
}

// refusal says why the plan cannot be carried out; nil when it can.
func (p *BulkPlan) refusal() error {
	switch {
	case p.More:
		return Invalid("filter",
			fmt.Sprintf("chooses more than %d deliveries, the limit for one bulk retry (%s): narrow it by time, destination or topic",
				p.Limits.PerBulk.Most, p.Limits.PerBulk.Rule()))
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
	if p.Sample, err = s.planSample(ctx, c, p.Limits); err != nil {
		return nil, err
	}
	if most := p.Limits.PerHour.Most; most > 0 {
		used, err := hourOfTenant.used(ctx, s.pool, c.tenant)
		if err != nil {
			return nil, err
		}
		p.HourlyLeft = max(most-used, 0)
	}
	return p, nil
}

// skipCase is why a delivery c of a destination n is skipped; empty when it is not. The argument is the tenant's limit of manual
// retries of a delivery.
const skipCase = `case when n.deleted_at is not null then '` + SkipDeleted + `' when n.disabled_at is not null then '` + SkipDisabled + `'
	when c.manual_retries >= least(?, n.manual_retry_limit) then '` + SkipLimit + `' else '' end`

// planOf counts what is chosen.
func (s *Store) planOf(ctx context.Context, c *chosen) (*BulkPlan, error) {
	limits, err := s.Limits(ctx, c.tenant)
	if err != nil {
		return nil, err
	}
	p := &BulkPlan{Filter: c.filter, Limits: limits}
	most := limits.PerBulk.atMost()
	q := newQuery()
	from := c.sql(q, DeliveryKey{}, most+1)
	rows, err := s.pool.Query(ctx, "select n.id, c.error_class, c.topic, "+q.bind(skipCase,
		limits.PerDelivery.atMost())+" skip, count(*) from ("+from+`) c
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
	if p.More = all > most; p.More {
		p.Count = min(p.Count, most)
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

func (s *Store) planSample(ctx context.Context, c *chosen, limits AppliedLimits) ([]*Delivery, error) {
	q := newQuery()
	from := c.sql(q, DeliveryKey{}, limits.PerBulk.atMost()+1)
	rows, err := s.pool.Query(ctx, "select c.event_id, c.destination_key from ("+from+`) c join destinations n on n.key = c.destination_key
		where `+q.bind(skipCase, limits.PerDelivery.atMost())+" = '' order by c.event_id desc, c.destination_key desc"+q.limit(planSampleOf),
		q.args...)
	if err != nil {
		return nil, err
	}
	keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k DeliveryKey, err error) {
		err = row.Scan(&k.EventKey, &k.Destination)
		return k, err
	})
	if err != nil {
		return nil, err
	}
	return s.deliveriesOf(ctx, Scope{key: c.tenant}, keys)
}
