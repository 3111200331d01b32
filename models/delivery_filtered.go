package models

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/filter"
	"github.com/waybill-dev/waybill/models/queue"
)

// What a filter holds back has no row: with hundreds of filtered destinations, rows would cost more than deliveries. The
// event keeps the keys of the filters that refused it, and why is told by evaluating such a filter again.

// filteredDelivery makes the delivery that a filter held back.
func (s *Store) filteredDelivery(ctx context.Context, scope Scope, k DeliveryKey) (*Delivery, error) {
	e, err := s.eventByKey(ctx, scope, k.EventKey)
	if err != nil {
		return nil, err
	}
	list, err := s.filteredOut(ctx, e)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if d.DeliveryKey == k {
			return d, nil
		}
	}
	return nil, notFound("There is no delivery %q.", k.ID())
}

// filteredOut lists the deliveries of an event that filters held back, each with the rule that decided.
func (s *Store) filteredOut(ctx context.Context, e *Event) ([]*Delivery, error) {
	if len(e.FilteredBy) == 0 {
		return nil, nil
	}
	rows, err := s.pool.Query(ctx,
		`select f.destination_key, f.filter, d.id from destination_filters f join destinations d on d.key = f.destination_key
		where f.key = any($1) and not exists (select 1 from deliveries x where x.event_id = $2 and x.destination_key = f.destination_key)
		order by f.destination_key`, e.FilteredBy, e.Key)
	if err != nil {
		return nil, err
	}
	doc := e.doc()
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Delivery, error) {
		d := &Delivery{TenantKey: e.TenantKey, TenantID: e.TenantID, PublicEventID: e.ID, Topic: e.Topic, Status: StatusFilteredOut,
			EventTime: e.Time, CreatedAt: e.Received, UpdatedAt: e.Received, ErasedAt: e.ErasedAt}
		d.EventKey = e.Key
		var raw string
		if err := row.Scan(&d.DeliveryKey.Destination, &raw, &d.DestinationID); err != nil {
			return nil, err
		}
		if d.Reason = FilterErased; e.ErasedAt == nil {
			d.Reason = explain(raw, doc)
		}
		return d, nil
	})
}

// explain says in a sentence why a filter does not let a document through.
func explain(raw string, doc *filter.Doc) string {
	f, err := filter.Parse([]byte(raw))
	if err != nil || f == nil {
		return "A filter that was in force then held it back."
	}
	v := f.Explain(doc)
	if v.Rule > 0 {
		return fmt.Sprintf("Rule %d: %s", v.Rule, v.Reason)
	}
	return v.Reason
}

// filteredFrom is where what filters held back is: events e, and the filters f that refused them.
const filteredFrom = ` from events e join tenants t on t.key = e.tenant_key cross join lateral unnest(e.filtered_by) as held(key)
	join destination_filters f on f.key = held.key join destinations n on n.key = f.destination_key`

// filtered adds the conditions on what filters held back, from a place on.
func (m *deliveryMatch) filtered(q *query, op string, from *DeliveryKey) {
	lo, hi := idRange(m.dq.Since, m.dq.Until)
	if len(m.dq.EventIDs) > 0 {
		q.and("e.id = any(?)", m.events)
	}
	if from != nil {
		q.and("(e.id, f.destination_key) "+op+" (?, ?)", from.EventKey, from.Destination)
		q.and("e.id "+op[:1]+"= ?", from.EventKey) // the same for the index, which knows nothing of destinations
	}
	q.and("e.id >= ?", lo)
	q.and("e.id < ?", hi)
	q.and("e.filtered_by is not null")
	m.scope.where(q, "e.tenant_key")
	if len(m.keys) > 0 {
		q.and("f.destination_key = any(?)", m.keys)
	}
	if len(m.dq.Topics) > 0 {
		q.and("e.topic = any(?)", m.dq.Topics)
	}
	m.dq.happened(q)
	q.and("not exists (select 1 from deliveries x where x.event_id = e.id and x.destination_key = f.destination_key)")
}

// readFiltered reads deliveries that filters held back.
func (s *Store) readFiltered(ctx context.Context, q *query, tail string) ([]*Delivery, error) {
	return readByKeys(ctx, s, func(row pgx.CollectableRow) (*Delivery, error) { return s.scanFiltered(ctx, row) },
		`select e.id, e.caller_id, e.tenant_key, t.id, e.topic, e.time, e.metadata, e.data, e.sealed, f.destination_key, f.filter, n.id, e.erased_at`+filteredFrom+
			q.sql()+tail, q.args...)
}

// withFiltered puts what filters held back into a list of deliveries that was read for the same query. Both are in the
// keyset's order, and so is what comes of it; it may be longer than a page.
func (m *deliveryMatch) withFiltered(ctx context.Context, k *keyset, list []*Delivery) ([]*Delivery, error) {
	q := newQuery()
	var after DeliveryKey
	var from *DeliveryKey
	if k.decode(&after) {
		from = &after
	}
	m.filtered(q, k.op(), from)
	filtered, err := m.s.readFiltered(ctx, q, " order by e.id "+k.order()+", f.destination_key "+k.order()+q.limit(k.limit+1))
	if err != nil {
		return nil, err
	}
	list = append(list, filtered...)
	slices.SortFunc(list, func(a, b *Delivery) int {
		if k.descending() {
			a, b = b, a
		}
		return a.DeliveryKey.compare(b.DeliveryKey)
	})
	return list[:min(len(list), k.limit+1)], nil
}

func (s *Store) scanFiltered(ctx context.Context, row pgx.CollectableRow) (*Delivery, error) {
	e := &Event{}
	d := &Delivery{Status: StatusFilteredOut}
	var callerID *string
	var at *time.Time
	var data, raw string
	var sealed []byte
	err := row.Scan(&e.Key, &callerID, &d.TenantKey, &d.TenantID, &e.Topic, &at, &e.Metadata, &data, &sealed,
		&d.DeliveryKey.Destination, &raw, &d.DestinationID, &d.ErasedAt)
	if err != nil {
		return nil, err
	}
	e.Data = []byte(data)
	e.finish(callerID, at)
	if ok, err := s.unseal(ctx, e, sealed); err != nil {
		return nil, err
	} else if !ok && d.ErasedAt == nil {
		d.ErasedAt = &e.Received
	}
	d.EventKey, d.PublicEventID, d.Topic, d.EventTime, d.CreatedAt, d.UpdatedAt = e.Key, e.ID, e.Topic, e.Time, e.Received, e.Received
	if d.Reason = FilterErased; d.ErasedAt == nil {
		d.Reason = explain(raw, e.doc())
	}
	return d, nil
}

// FilteredQuery selects the events that a destination's filters held back and that were not sent to it since.
type FilteredQuery struct {
	Since, Until time.Time // received within; zero for open
	All          bool      // also those that the filter, as it is now, would hold back again
}

func (fq FilteredQuery) check() error {
	bad := problems{}
	if !fq.Since.IsZero() && !fq.Until.IsZero() && !fq.Since.Before(fq.Until) {
		bad.add("until", "must be after since")
	}
	return bad.err()
}

// FilteredPlan says what sending filtered events after all would do.
type FilteredPlan struct {
	Events   int      // that were held back
	Matching int      // of these, that the filter lets through as it is now
	More     bool     // there are more events than were counted
	Sample   []*Event // some of those that would be sent, newest first
}

// Count is how many events would be sent.
func (p *FilteredPlan) Count(all bool) int {
	if all {
		return p.Events
	}
	return p.Matching
}

// Limits of looking through filtered events for a plan.
const (
	maxPlanned   = 10_000
	planTime     = 3 * time.Second
	planSample   = 10
	filteredRead = 500 // events read at once
)

// PlanFiltered counts the events that SendFiltered would send, newest first and up to a limit.
func (s *Store) PlanFiltered(ctx context.Context, d *Destination, fq FilteredQuery) (*FilteredPlan, error) {
	if err := fq.check(); err != nil {
		return nil, err
	}
	f, err := filter.Parse(d.Filter)
	if err != nil {
		return nil, err
	}
	p := &FilteredPlan{}
	lo, hi := idRange(fq.Since, fq.Until)
	for deadline := time.Now().Add(planTime); ; {
		list, err := s.filteredEvents(ctx, d.Key, d.TenantKey, lo, hi, "desc")
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			matches := f.Match(e.doc()).Match
			p.Events++
			if matches {
				p.Matching++
			}
			if (matches || fq.All) && len(p.Sample) < planSample {
				p.Sample = append(p.Sample, e)
			}
		}
		if len(list) < filteredRead {
			return p, nil
		}
		if hi = list[len(list)-1].Key; p.Events >= maxPlanned || time.Now().After(deadline) {
			p.More = true
			return p, nil
		}
	}
}

// filteredEvents reads a portion of the events that the destination's filters held back and that were not sent since.
func (s *Store) filteredEvents(ctx context.Context, destination, tenant int64, lo, hi uuid.UUID, order string) ([]*Event, error) {
	rows, err := s.pool.Query(ctx, eventSelect+` where e.tenant_key = $1 and e.filtered_by is not null and e.erased_at is null and e.id >= $2 and e.id < $3
		and e.filtered_by && (select array_agg(key) from destination_filters where destination_key = $4)
		and not exists (select 1 from deliveries x where x.event_id = e.id and x.destination_key = $4)
		order by e.id `+order+" limit $5", tenant, lo, hi, destination, filteredRead)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, s.eventScanner(ctx))
}

// SendFiltered sends events that the destination's filters held back after all. The work is done by a job, in portions;
// events that are received from now on are not concerned. It returns the plan.
func (s *Store) SendFiltered(ctx context.Context, scope Scope, tenantID, id, actor string, fq FilteredQuery) (p *FilteredPlan, err error) {
	d, err := s.Destination(ctx, scope, tenantID, id)
	if err != nil {
		return nil, err
	}
	if d.DisabledAt != nil {
		return nil, conflict("The destination is disabled. Enable it first, then send what its filter held back.")
	}
	d.audit("destination.send_filtered", map[string]any{"since": timeOrNil(fq.Since), "until": timeOrNil(fq.Until), "all": fq.All})
	if fq.Until.IsZero() {
		fq.Until = time.Now()
	}
	if p, err = s.PlanFiltered(ctx, d, fq); err != nil {
		return nil, err
	}
	d.entry.Detail["count"] = p.Count(fq.All)
	r := queue.Release{Destination: d.Key, Action: ReleaseFiltered, Actor: actor, Since: fq.Since, Until: fq.Until}
	if fq.All {
		r.Action = ReleaseFilteredAll
	}
	return p, s.InTx(ctx, func(tx *Tx) error {
		if p.Count(fq.All) > 0 || p.More {
			if err := s.enqueueRelease(ctx, tx, r); err != nil {
				return err
			}
		}
		return tx.auditDestination(ctx, d)
	})
}

// ReleaseFilteredEvents does what a Release of filtered events says, oldest first, in portions of one transaction each, so
// that a stop in between neither loses nor repeats any. The filter that counts is the one in force when it runs.
func (s *Store) ReleaseFilteredEvents(ctx context.Context, r queue.Release) (sent int, err error) {
	var d Destination
	if err := s.DB.WithContext(ctx).Where("key = ? and deleted_at is null", r.Destination).Limit(1).Find(&d).Error; err != nil ||
		d.Key == 0 {
		return 0, err
	}
	f, err := filter.Parse(d.Filter)
	if err != nil {
		return 0, err
	}
	lo, hi := idRange(r.Since, r.Until)
	for {
		list, err := s.filteredEvents(ctx, d.Key, d.TenantKey, lo, hi, "asc")
		if err != nil || len(list) == 0 {
			return sent, err
		}
		lo = next(list[len(list)-1].Key)
		var ids []uuid.UUID
		for _, e := range list {
			if r.Action == ReleaseFilteredAll || f.Match(e.doc()).Match {
				ids = append(ids, e.Key)
			}
		}
		n, err := s.releaseFiltered(ctx, &d, r, ids)
		sent += n
		if err != nil {
			return sent, err
		}
	}
}

func (s *Store) releaseFiltered(ctx context.Context, d *Destination, r queue.Release, ids []uuid.UUID) (n int, err error) {
	if len(ids) == 0 {
		return 0, nil
	}
	first, last := ends(ids)
	err = s.InTx(ctx, func(tx *Tx) error {
		rows, err := tx.Query(ctx, `insert into deliveries (event_id, destination_key, tenant_key, status)
			select e.id, $2, $3, 'pending' from events e where e.id = any($1) and e.id >= $4 and e.id <= $5
				and e.erased_at is null for share
			on conflict do nothing returning event_id, turn`, ids, d.Key,
			d.TenantKey, first, last)
		if err != nil {
			return err
		}
		items, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (it queue.Item, err error) {
			err = row.Scan(&it.EventKey, &it.Turn)
			return it, err
		})
		if n = len(items); err != nil || n == 0 {
			return err
		}
		if err := joinLines(ctx, tx, d, ids); err != nil {
			return err
		}
		return s.Queue.Enqueue(ctx, tx, queue.Split(queue.Key{Destination: d.Key, Tenant: d.TenantKey, Later: true,
			Trigger: TriggerBulk, Actor: r.Actor},
			items))
	})
	if err != nil {
		return 0, fmt.Errorf("send filtered events: %w", err)
	}
	return n, nil
}

// next is the id after one.
func next(id uuid.UUID) uuid.UUID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}
