package models

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Rules for topics are worked off like a tenant's retention (kept.go): in windows of events by their ids, with a mark of how far
// they were gone through for the rules of so many days. The server's rules go through the events of all tenants at once. Each rule
// erases by itself, so that of several that hold for an event the shortest is the one that counts.

// keptTopicWindow is how many events are looked at at once for rules of topics.
const keptTopicWindow = 2000

// eraseTopics erases what rules for topics do not want to be kept any longer.
func (s *Store) eraseTopics(ctx context.Context, now time.Time, still func() bool) (erased []uuid.UUID, err error) {
	walks, err := s.topicWalks(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range walks {
		for more := true; more && still(); {
			var part []uuid.UUID
			part, more, err = s.erasePastTopics(ctx, k, now)
			if erased = append(erased, part...); err != nil {
				return erased, fmt.Errorf("erase what rules for topics keep no longer (tenant %d, %d days): %w", k.owner, k.days, err)
			}
		}
	}
	return erased, nil
}

// topicWalks lists the walks that rules ask for, and forgets the marks of others.
func (s *Store) topicWalks(ctx context.Context) ([]*topicKeeping, error) {
	rules, err := s.TopicRetention(ctx)
	if err != nil {
		return nil, err
	}
	walks := byDays(AllTenants(), 0, rules)
	rows, err := s.pool.Query(ctx, "select key, settings from tenants where deleted_at is null and cell is null and settings ? 'topic_retention' order by key")
	if err != nil {
		return nil, err
	}
	var key int64
	var settings TenantSettings
	if _, err := pgx.ForEachRow(rows, []any{&key, &settings}, func() error {
		if settings.TopicRetention != nil {
			walks = append(walks, byDays(Scope{key: key}, key, *settings.TopicRetention)...)
		}
		settings = TenantSettings{}
		return nil
	}); err != nil {
		return nil, err
	}
	owners, days := make([]int64, len(walks)), make([]int32, len(walks))
	for i, k := range walks {
		owners[i], days[i] = k.owner, int32(k.days)
	}
	_, err = s.pool.Exec(ctx, `delete from kept_topic_marks m where not exists (select 1 from unnest($1::bigint[], $2::int[]) w (owner, days)
		where w.owner = m.tenant_key and w.days = m.days)`, owners, days)
	return walks, err
}

// topicEvent is an event that a rule is about.
type topicEvent struct {
	id     uuid.UUID
	tenant int64
	topic  string
}

// erasePastTopics looks at the next window of a walk and erases what of it the rules are about. What still waits is called off.
func (s *Store) erasePastTopics(ctx context.Context, k *topicKeeping, now time.Time) (erased []uuid.UUID, more bool, err error) {
	var past uuid.UUID
	// With other patterns than those that the mark was made with, the walk begins anew.
	err = s.pool.QueryRow(ctx, `insert into kept_topic_marks as m (tenant_key, days, patterns) values ($1, $2, $3)
		on conflict (tenant_key, days) do update set patterns = excluded.patterns,
			past = case when m.patterns = excluded.patterns then m.past else excluded.past end returning past`, k.owner, k.days, k.patterns).Scan(&past)
	if err != nil {
		return nil, false, err
	}
	n, last, err := s.eventWindow(ctx, k.scope, past, lowestUUID(k.until(now)), "asc", keptTopicWindow)
	if err != nil || n == 0 {
		return nil, false, err
	}
	list, err := s.topicEvents(ctx, k, past, last)
	if err != nil {
		return nil, false, err
	}
	for len(list) > 0 {
		part := list[:min(len(list), erasePortion)]
		list = list[len(part):]
		done, err := s.eraseOfTopics(ctx, k, part)
		if erased = append(erased, done...); err != nil {
			return erased, errors.Is(err, errQueuedAgain), ignoring(err, errQueuedAgain)
		}
	}
	tag, err := s.pool.Exec(ctx, "update kept_topic_marks set past = $4 where tenant_key = $1 and days = $2 and past = $3", k.owner, k.days, past,
		next(last))
	return erased, tag.RowsAffected() == 1, err
}

// ignoring is nil for an error that is another one.
func ignoring(err, other error) error {
	if errors.Is(err, other) {
		return nil
	}
	return err
}

// topicEvents finds the events of a window, up to last, that the rules are about and that are not erased.
func (s *Store) topicEvents(ctx context.Context, k *topicKeeping, lo, last uuid.UUID) (list []topicEvent, err error) {
	q := newQuery()
	k.scope.where(q, "e.tenant_key")
	q.and("e.id >= ?", lo)
	q.and("e.id <= ?", last)
	q.and("e.erased_at is null")
	rows, err := s.pool.Query(ctx, "select e.id, e.tenant_key, e.topic from events e"+q.sql()+" order by e.id", q.args...)
	if err != nil {
		return nil, err
	}
	var e topicEvent
	_, err = pgx.ForEachRow(rows, []any{&e.id, &e.tenant, &e.topic}, func() error {
		if Subscribes(k.patterns, e.topic) {
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

// eraseOfTopics erases some events, those of one reason at a time. An event that is erased already stays as it is.
func (s *Store) eraseOfTopics(ctx context.Context, k *topicKeeping, list []topicEvent) (erased []uuid.UUID, err error) {
	why := map[string][]topicEvent{}
	for _, e := range list {
		why[k.why(e.topic)] = append(why[k.why(e.topic)], e)
	}
	for said, part := range why {
		ids := make([]uuid.UUID, len(part))
		for i, e := range part {
			ids[i] = e.id
		}
		if err := s.cancelErased(ctx, ids, said, func(ctx context.Context, tx *Tx, _ int) error {
			return noteTopicsLater(ctx, tx, part)
		}); err != nil {
			return erased, err
		}
		var done []uuid.UUID
		if err := s.InTx(ctx, func(tx *Tx) error {
			done, _, err = eraseEvents(ctx, tx, ids, said, nil)
			return err
		}); err != nil {
			return erased, err
		}
		erased = append(erased, done...)
	}
	return erased, nil
}

// noteTopicsLater has events looked at again whose attempts may be under way; see eraseLater.
func noteTopicsLater(ctx context.Context, tx pgx.Tx, list []topicEvent) error {
	ids, tenants := make([]uuid.UUID, len(list)), make([]int64, len(list))
	for i, e := range list {
		ids[i], tenants[i] = e.id, e.tenant
	}
	if _, err := tx.Exec(ctx, "insert into kept_marks (tenant_key) select distinct t from unnest($1::bigint[]) t on conflict do nothing",
		tenants); err != nil {
		return err
	}
	return noteLater(ctx, tx, tenants, ids)
}
