package models

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/queue"
)

// How a bulk retry is worked off. Its job walks through what the filter chose by the deliveries' keys, in portions of one
// short transaction each: that queues the deliveries, and notes in the row of the bulk retry how far the walk has come
// and when the next portion is due. So a job that dies between two portions, or runs twice, neither loses nor repeats
// any, and the rate is kept whoever goes on. What has become of the queued ones is counted from the attempts, which name
// the bulk retry, now and then and not by whoever records an outcome.

// BulkStep is how a pass over a bulk retry went.
type BulkStep struct {
	Over bool          // nothing is left to do for this job
	Wait time.Duration // until the next portion is due
}

const (
	bulkPortion = 500                    // deliveries that one transaction queues at most
	bulkSpan    = 200 * time.Millisecond // of the rate that one transaction queues
	// hourlyWait is after what time a bulk retry looks again that the limit of an hour has stopped.
	hourlyWait = 10 * time.Second
)

// noteHourly is the note of a bulk retry that the limit of an hour has stopped.
const noteHourly = "hourly_limit"

// AdvanceBulkRetry does one portion of a bulk retry, if one is due. run is the job's; one of an earlier run is over.
func (s *Store) AdvanceBulkRetry(ctx context.Context, key uuid.UUID, run int) (BulkStep, error) {
	b, err := bulkRow(ctx, s.pool, " where b.id = $1", key)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && (b.run != run || b.Final()) {
		return BulkStep{Over: true}, nil
	}
	if err != nil {
		return BulkStep{}, err
	}
	switch {
	case b.Status == BulkCancelled:
		n, err := s.takeBack(ctx, b)
		if n == bulkPortion {
			return BulkStep{}, err
		}
		return BulkStep{Wait: time.Hour}, err
	case b.Status != BulkRunning || b.walked:
		return BulkStep{Wait: time.Hour}, nil // only outcomes are waited for
	}
	var wait float64
	if err := s.pool.QueryRow(ctx, "select extract(epoch from $1 - clock_timestamp())", b.nextAt).Scan(&wait); err != nil {
		return BulkStep{}, err
	}
	if wait > 0 {
		return BulkStep{Wait: time.Duration(wait * float64(time.Second))}, nil
	}
	if err := s.queuePortion(ctx, b); err != nil {
		return BulkStep{}, fmt.Errorf("bulk retry %s: %w", b.ID(), err)
	}
	return BulkStep{}, nil
}

// candidate is a delivery that the filter chose.
type candidate struct {
	DeliveryKey
	manual int
}

// candidates reads the next deliveries of a walk. It locks nothing, however long the search for them takes.
func (s *Store) candidates(ctx context.Context, b *BulkRetry, n int) ([]candidate, error) {
	c, err := s.chosenBy(ctx, b)
	if err != nil {
		return nil, err
	}
	q := newQuery()
	rows, err := s.pool.Query(ctx, "select event_id, destination_key, manual_retries from ("+c.sql(q, b.after, n)+") c", q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (x candidate, err error) {
		err = row.Scan(&x.EventKey, &x.Destination, &x.manual)
		return x, err
	})
}

// queuePortion queues the next deliveries, and moves the walk on behind them.
func (s *Store) queuePortion(ctx context.Context, b *BulkRetry) error {
	n := min(max(int(float64(b.Rate)*bulkSpan.Seconds()), 1), bulkPortion)
	list, err := s.candidates(ctx, b, n)
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(x, y candidate) int { return x.compare(y.DeliveryKey) })
	return s.InTx(ctx, func(tx *Tx) error {
		now, err := bulkRow(ctx, tx, " where b.id = $1 for update of b", b.Key)
		if err != nil {
			return err
		}
		if now.run != b.run || now.Status != BulkRunning || now.after != b.after || now.walked {
			return nil // paused or cancelled meanwhile, or somebody else was quicker
		}
		limits, err := s.limits(ctx, tx, b.TenantKey)
		if err != nil {
			return err
		}
		left, err := s.sortOut(ctx, tx, b, list, limits.PerDelivery)
		if err != nil {
			return err
		}
		allowed, _, err := s.takeHourly(ctx, tx, b.TenantKey, limits.PerHour, left.eligible)
		if err != nil {
			return err
		}
		stopped := allowed < len(left.eligible)
		if stopped {
			left.stopAt(left.eligible[allowed], list)
		}
		var jobs []queue.Batch
		if jobs, err = s.queueBulk(ctx, tx, b, left); err != nil {
			return err
		}
		if len(jobs) > 0 {
			if err := s.Queue.Enqueue(ctx, tx, jobs); err != nil {
				return err
			}
		}
		return left.note(ctx, tx, now, len(list) < n && !stopped, stopped)
	})
}

// portion is what becomes of the deliveries of a portion.
type portion struct {
	eligible []DeliveryKey
	most     map[int64]int // manual retries of a delivery, by destination
	skipped  map[string]int
	last     DeliveryKey // the last one that was seen to
	queued   int
	skipOf   map[DeliveryKey]string
}

// sortOut tells the deliveries that can be retried from those that cannot. The destinations stay as they are until the
// transaction ends.
func (s *Store) sortOut(ctx context.Context, tx pgx.Tx, b *BulkRetry, list []candidate, most Limit) (*portion, error) {
	p := &portion{most: map[int64]int{}, skipped: map[string]int{}, last: b.after, skipOf: map[DeliveryKey]string{}}
	keys := []int64{}
	for _, x := range list {
		keys = append(keys, x.Destination)
		p.last = x.DeliveryKey
	}
	slices.Sort(keys)
	rows, err := tx.Query(ctx,
		"select key, disabled_at is not null, deleted_at is not null, least($2::int, manual_retry_limit) from destinations where key = any($1) order by key for share", slices.Compact(keys), most.atMost())
	if err != nil {
		return nil, err
	}
	why := map[int64]string{}
	var key int64
	var disabled, deleted bool
	var limit int
	if _, err := pgx.ForEachRow(rows, []any{&key, &disabled, &deleted, &limit}, func() error {
		p.most[key] = limit
		switch {
		case deleted:
			why[key] = SkipDeleted
		case disabled:
			why[key] = SkipDisabled
		}
		return nil
	}); err != nil {
		return nil, err
	}
	for _, x := range list {
		reason := why[x.Destination]
		if reason == "" && x.manual >= p.most[x.Destination] {
			reason = SkipLimit
		}
		if reason == "" {
			p.eligible = append(p.eligible, x.DeliveryKey)
			continue
		}
		p.skipOf[x.DeliveryKey] = reason
		p.skipped[reason]++
	}
	return p, nil
}

// stopAt leaves a delivery and those behind it for later.
func (p *portion) stopAt(first DeliveryKey, list []candidate) {
	p.eligible = slices.DeleteFunc(p.eligible, func(k DeliveryKey) bool { return k.compare(first) >= 0 })
	for k, reason := range p.skipOf {
		if k.compare(first) > 0 {
			p.skipped[reason]--
		}
	}
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].compare(first) < 0 {
			p.last = list[i].DeliveryKey
			return
		}
	}
	p.last = DeliveryKey{} // nothing was seen to
}

// queueBulk queues the eligible deliveries. One that is on its way by now, or whose row somebody else is changing, is left
// out.
func (s *Store) queueBulk(ctx context.Context, tx pgx.Tx, b *BulkRetry, p *portion) ([]queue.Batch, error) {
	if len(p.eligible) == 0 {
		return nil, nil
	}
	events, destinations := make([]uuid.UUID, len(p.eligible)), make([]int64, len(p.eligible))
	most := make([]int, len(p.eligible))
	for i, k := range p.eligible {
		events[i], destinations[i], most[i] = k.EventKey, k.Destination, p.most[k.Destination]
	}
	lo, hi := p.eligible[0].EventKey, p.eligible[len(p.eligible)-1].EventKey
	rows, err := tx.Query(ctx, `
		with portion as (
			select d.event_id, d.destination_key from unnest($1::uuid[], $2::bigint[], $6::int[]) u (e, k, most)
			join deliveries d on d.event_id = u.e and d.destination_key = u.k
			join events e on e.id = u.e and e.id >= $3 and e.id <= $4 and e.erased_at is null
			where d.event_id >= $3 and d.event_id <= $4 and d.status = any($5::delivery_status[]) and d.manual_retries < u.most
				and (d.last_attempt_at is null or d.last_attempt_at < $8)
			for update of d skip locked for share of e skip locked)
		update deliveries d set status = 'pending', turn = d.turn + 1, manual_retries = d.manual_retries + 1, next_attempt_at = null,
			reason = null,
			retry_id = $7, retry_from = d.status
		from portion p where d.event_id = p.event_id and d.destination_key = p.destination_key and d.event_id >= $3 and d.event_id <= $4
		returning d.event_id, d.destination_key, d.turn, d.tenant_key`,
		events, destinations, lo, hi, b.Filter.statuses(), most, b.Key, b.CreatedAt)
	if err != nil {
		return nil, err
	}
	items := map[int64][]queue.Item{}
	tenants := map[int64]int64{} // by destination
	var k DeliveryKey
	var turn int32
	var tenant int64
	if _, err := pgx.ForEachRow(rows, []any{&k.EventKey, &k.Destination, &turn, &tenant}, func() error {
		tenants[k.Destination] = tenant
		items[k.Destination] = append(items[k.Destination], queue.Item{EventKey: k.EventKey, Turn: turn})
		p.queued++
		return nil
	}); err != nil {
		return nil, err
	}
	if n := len(p.eligible) - p.queued; n > 0 {
		p.skipped[SkipChanged] += n
	}
	var jobs []queue.Batch
	for _, destination := range slices.Sorted(maps.Keys(items)) {
		jobs = append(jobs, queue.Split(queue.Key{Destination: destination, Tenant: tenants[destination], Later: true,
			Trigger: TriggerBulk, Actor: b.Actor, BulkKey: b.Key}, items[destination])...)
	}
	return jobs, nil
}

// statuses are the states that the filter takes.
func (f RetryFilter) statuses() []string {
	if len(f.Statuses) == 0 {
		return Retryable
	}
	return f.Statuses
}

// note writes down how far the walk has come. b is its row, which is locked.
func (p *portion) note(ctx context.Context, tx pgx.Tx, b *BulkRetry, through, stopped bool) error {
	for reason, n := range b.Left {
		p.skipped[reason] += n
	}
	b.Left = p.skipped
	maps.DeleteFunc(b.Left, func(_ string, n int) bool { return n == 0 })
	b.Queued += p.queued
	if through {
		// Those that the filter chose at the start and does not find any more.
		if gone := b.Total - b.Queued - b.leftOut(); gone > 0 {
			b.Left[SkipChanged] += gone
		}
	}
	if p.last != (DeliveryKey{}) {
		b.after = p.last
	}
	note, wait := "", float64(p.queued)/float64(b.Rate)
	if stopped {
		note, wait = noteHourly, hourlyWait.Seconds()
	}
	var event *uuid.UUID
	if b.after.EventKey != uuid.Nil {
		event = &b.after.EventKey
	}
	// Time that was lost, while the database was away, say, is not caught up on: that would be a burst.
	_, err := tx.Exec(ctx,
		`update bulk_retries set queued = $2, skipped = $3, total = greatest(total, $4), after_event = $5, after_destination = $6,
			walked = $7, note = $8,
		next_at = greatest(next_at + $9 * interval '1 second', case when $10 then clock_timestamp() + $9 * interval '1 second' else clock_timestamp() end) where id = $1`,
		b.Key, b.Queued, b.Left, b.Queued+b.leftOut(), event, b.after.Destination, through, note, wait, stopped)
	return err
}
