package models

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Publish accepts events, as Accepter.PublishAll does.
type Publish func(context.Context, []*PublishInput) ([]PublishResult, []error)

// publishPortion is how many changes are published before it is written down that they are.
const publishPortion = 200

// topic is the topic of the events that tell of such a change.
func (e *FeedEntry) topic() string { return ownPrefix + e.Type + "." + e.Action }

// ownSubscriber is a tenant with destinations that take the server's own events.
type ownSubscriber struct {
	key    int64 // 0 for the operators in a cell
	id     string
	topics []string // subscriptions to the server's own, of all its destinations
	since  int64    // it is told of everybody's changes of topics after this position
}

// subscribers are all who take the server's own events.
type subscribers struct {
	tenants   map[int64]*ownSubscriber
	operators *ownSubscriber // nil while they have no destination
}

// ownSubscribers reads who takes the server's own events.
func ownSubscribers(ctx context.Context, tx pgx.Tx) (*subscribers, error) {
	rows, err := tx.Query(ctx,
		`select t.key, t.id, array_agg(distinct x), coalesce(t.feed_since, 0) from destinations d join tenants t on t.key = d.tenant_key,
			jsonb_array_elements_text(d.topics) x
			where d.deleted_at is null and d.topics::text like '%"waybill.%' and t.deleted_at is null and x like 'waybill.%' and t.id <> $1
				group by t.key
		union all select t.key, t.id, array_agg(distinct x), 0 from tenants t join destinations d on d.tenant_key = t.key,
			jsonb_array_elements_text(d.topics) x
			where t.id = $1 and d.deleted_at is null group by t.key
		union all select 0, $1, array_agg(x), 0 from settings, jsonb_array_elements_text(value->'topics') x where key = $2
			having count(*) > 0`, OperatorTenant, operatorsCopied)
	if err != nil {
		return nil, err
	}
	out := &subscribers{tenants: map[int64]*ownSubscriber{}}
	var s ownSubscriber
	_, err = pgx.ForEachRow(rows, []any{&s.key, &s.id, &s.topics, &s.since}, func() error {
		one := &ownSubscriber{s.key, s.id, slices.Clone(s.topics), s.since}
		if out.tenants[s.key] = one; s.id == OperatorTenant {
			out.operators = one
		}
		return nil
	})
	return out, err
}

// any reports whether somebody takes events that tell of changes. Alerts are told by channels.
func (all *subscribers) any() bool {
	if all.operators != nil {
		return true
	}
	for _, s := range all.tenants {
		if s.takes(FeedTypes...) {
			return true
		}
	}
	return false
}

// takes reports whether the subscriber takes events about one of these types.
func (o *ownSubscriber) takes(types ...string) bool {
	return slices.ContainsFunc(types, func(t string) bool {
		return slices.ContainsFunc(FeedActions[t], func(action string) bool { return namesOwn(o.topics, ownPrefix+t+"."+action) })
	})
}

// resubscribe takes note that a destination of a tenant begins or ends to take the server's own events. Changes are
// published from the first one on that follows, and outcomes of deliveries as soon as the workers know.
func resubscribe(ctx context.Context, tx pgx.Tx, tenantKey int64) error {
	var idle bool
	if err := tx.QueryRow(ctx, "select published is null from feed for update").Scan(&idle); err != nil {
		return err
	}
	for more := idle; more; { // those of before are of before
		var err error
		if more, err = placeChanges(ctx, tx); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, "update feed set published = coalesce(published, last)"); err != nil {
		return err
	}
	all, err := ownSubscribers(ctx, tx)
	if err != nil {
		return err
	}
	var outcomes, attempts bool
	reader := tenantKey // 0 for all
	if s := all.operators; s != nil && s.key == tenantKey {
		outcomes, attempts, reader = s.takes(FeedDelivery) || Subscribes(s.topics, topicExhausted), Subscribes(s.topics, topicSucceeded) ||
			Subscribes(s.topics, topicFailed), 0
	} else if s := all.tenants[tenantKey]; s != nil {
		outcomes = s.takes(FeedDelivery)
	}
	sql := "delete from outcome_readers where tenant_key = $1 and source = $2 and $3::boolean is not null"
	if outcomes || attempts {
		sql = `insert into outcome_readers (tenant_key, source, attempts, version) select $1, $2, $3, version + 1 from feed
			on conflict (tenant_key, source) do update set attempts = excluded.attempts where outcome_readers.attempts <> excluded.attempts`
	}
	tag, err := tx.Exec(ctx, sql, reader, sourceDestinations, attempts)
	if err == nil && tag.RowsAffected() > 0 {
		_, err = tx.Exec(ctx, "update feed set version = version + 1")
	}
	return err
}

// takesOwn reports whether the destination subscribes to the server's own events by name, or is the operators'.
func (d *Destination) takesOwn() bool {
	return d.TenantID == OperatorTenant || slices.ContainsFunc(d.Topics, OwnTopic)
}

// PublishChanges publishes the changes that are due as events for the destinations that take them, and returns how many
// events those were. Any process may call it at any time; while nobody subscribes it looks at one row. An event has the id
// of its change, so that what was published by a process that died before it could write that down is not published again.
func (s *Store) PublishChanges(ctx context.Context, publish Publish, log *slog.Logger) (n int, err error) {
	var after *int64
	if err := s.pool.QueryRow(ctx, "select published from feed").Scan(&after); err != nil || after == nil {
		return 0, err
	}
	if err := s.PlaceChanges(ctx); err != nil {
		return 0, err
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		var mine bool
		if err := tx.QueryRow(ctx, "select pg_try_advisory_xact_lock($1, 0)", int32(lockPublish)).Scan(&mine); err != nil || !mine {
			return err
		}
		all, err := ownSubscribers(ctx, tx)
		if err != nil {
			return err
		}
		if all.any() {
			n, err = s.publishDue(ctx, tx, publish, log)
			return err
		}
		return endPublishing(ctx, tx)
	})
	return n, err
}

// endPublishing ends the publishing of changes, unless somebody has begun to subscribe.
func endPublishing(ctx context.Context, tx pgx.Tx) error {
	// A statement of its own: whoever begins to subscribe holds this lock until that has committed.
	if _, err := tx.Exec(ctx, "select 1 from feed for update"); err != nil {
		return err
	}
	all, err := ownSubscribers(ctx, tx)
	if err != nil {
		return err
	}
	if all.any() {
		return nil
	}
	_, err = tx.Exec(ctx, "update feed set published = null")
	return err
}

// publishDue publishes portion after portion. tx holds the lock that keeps others from it; what is done is written down
// beside it.
func (s *Store) publishDue(ctx context.Context, tx pgx.Tx, publish Publish, log *slog.Logger) (n int, err error) {
	for {
		var after, last int64
		if err := s.pool.QueryRow(ctx, "select greatest(published, dropped), last from feed").Scan(&after, &last); err != nil ||
			after >= last {
			return n, err
		}
		all, err := ownSubscribers(ctx, tx)
		if err != nil {
			return n, err
		}
		q := newQuery()
		q.and("c.position > ?", after)
		q.and("c.position <= ?", last)
		// Others were published where their tenant comes from.
		q.and("(c.was is null or c.tenant_key is null or c.position > t.feed_since)")
		list, err := s.feedEntries(ctx, q, publishPortion)
		if err != nil {
			return n, err
		}
		events, err := s.ownEvents(ctx, list, all)
		if err != nil {
			return n, err
		}
		if len(events) > 0 {
			_, errs := publish(ctx, events)
			for i, err := range errs {
				switch {
				case err == nil:
					n++
				case IsKind(err, KindNotFound): // the tenant was deleted meanwhile
				case slices.Contains([]Kind{KindInvalid, KindMalformed, KindTooLarge}, AsError(err).Kind):
					log.Error("a change cannot be told as an event", "change", events[i].ID, "tenant", events[i].TenantID, "error", err)
				default:
					// all of this portion is tried again; what was accepted is known by its id
					return n, fmt.Errorf("publish a change: %w", err)
				}
			}
		}
		if after = last; len(list) == publishPortion {
			after = list[len(list)-1].position
		}
		if _, err := s.pool.Exec(ctx, "update feed set published = $1 where published is not null", after); err != nil {
			return n, err
		}
	}
}

// ownEvents are the events that tell subscribers of changes. Changes of one thing have one ordering key.
func (s *Store) ownEvents(ctx context.Context, list []*FeedEntry, all *subscribers) (out []*PublishInput, err error) {
	for _, e := range list {
		if !slices.Contains(FeedTypes, e.Type) {
			continue
		}
		for _, o := range all.tenants {
			if !all.told(o, e) {
				continue
			}
			in, err := e.event(o.id, s.Rules().MaxPayload)
			if err != nil {
				return nil, err
			}
			out = append(out, in)
		}
	}
	if all.operators == nil {
		return out, nil
	}
	operators, err := s.operatorEvents(ctx, list, all.operators.topics)
	return append(out, operators...), err
}

// told reports whether one of them takes an event that tells of a change. Operators are told of changes of topics in home.
func (all *subscribers) told(o *ownSubscriber, e *FeedEntry) bool {
	switch {
	case !namesOwn(o.topics, e.topic()):
		return false
	case o == all.operators:
		return e.Type != FeedTopic || !e.copied
	case e.tenantKey == 0:
		return e.Type == FeedTopic && e.position > o.since
	}
	return e.tenantKey == o.key
}

// event tells a tenant of the change.
func (e *FeedEntry) event(tenantID string, maxPayload int) (*PublishInput, error) {
	told := *e
	told.Cursor = "" // of the feed
	data, err := feedJSON(told)
	if err != nil {
		return nil, err
	}
	if len(data) > maxPayload {
		told.Changes, told.Object, told.Omitted = nil, []byte("null"), true
		if data, err = feedJSON(told); err != nil {
			return nil, err
		}
	}
	at := e.Time
	return &PublishInput{ID: e.ID, TenantID: tenantID, Topic: e.topic(), Time: &at, OrderingKey: e.Type + ":" + e.ObjectID,
		Data: []byte(data), Ours: true, Named: true}, nil
}
