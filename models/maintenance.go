package models

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/migrations"
)

// Upkeep makes the partitions of the coming days, drops those past retention and deletes what has expired. It returns
// the names of the dropped partitions.
func (s *Store) Upkeep(ctx context.Context, now time.Time) (dropped []string, err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	// A table that is busy is tried again an hour later rather than waited for: whoever waits for a lock holds up
	// everybody behind it.
	if _, err := conn.Exec(ctx, "set lock_timeout = '2s'"); err != nil {
		return nil, err
	}
	defer func() { _, _ = conn.Exec(context.WithoutCancel(ctx), "reset lock_timeout") }()
	if err := migrations.EnsurePartitions(ctx, conn, now, migrations.PartitionsAhead); err != nil {
		return nil, err
	}
	// What is past its retention is so by both clocks: one that is ahead must not delete anything.
	var there time.Time
	if err := conn.QueryRow(ctx, "select now()").Scan(&there); err != nil {
		return nil, err
	}
	if there.Before(now) {
		now = there
	}
	if err := leaveHours(ctx, conn, startOfDay(now.Add(-s.Rules().Retention))); err != nil { // before their minutes are dropped
		return dropped, err
	}
	if dropped, err = migrations.DropPartitions(ctx, conn, now.Add(-s.Rules().Retention)); err != nil {
		return dropped, err
	}
	if err := s.KnowPartitions(ctx); err != nil {
		return dropped, err
	}
	if s.home == nil {
		if err := forgetPeople(ctx, conn); err != nil {
			return dropped, err
		}
		if err := s.forgetTries(ctx); err != nil {
			return dropped, err
		}
	}
	for _, sql := range []string{
		"delete from rate_limits where free_at < now() - interval '1 day'",
		"delete from destination_waits where seen_at < now() - interval '1 day'",
		"delete from idempotency_keys where expires_at < now()",
		"delete from retry_minutes where minute < now() - interval '1 day'",
		"delete from destination_retry_minutes where minute < now() - interval '1 day'",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return dropped, err
		}
	}
	for _, sql := range []string{
		"delete from filter_counts where hour < $1",
		"delete from notifications where created_at < $1",
		"delete from bulk_retries where finished_at < $1",
		"delete from alerts where status = 'resolved' and resolved_at < $1",
	} {
		if _, err := conn.Exec(ctx, sql, now.Add(-s.Rules().Retention)); err != nil {
			return dropped, err
		}
	}
	if err := s.countUsage(ctx, now); err != nil { // before what it is counted from is dropped
		return dropped, err
	}
	if err := dropTraffic(ctx, conn, now); err != nil {
		return dropped, err
	}
	if err := s.forgetReaders(ctx); err != nil {
		return dropped, err
	}
	if err := s.dropChanges(ctx, now.Add(-min(FeedRetention, s.Rules().Retention))); err != nil {
		return dropped, err
	}
	if err := s.dropLines(ctx, now.Add(-s.Rules().Retention)); err != nil {
		return dropped, err
	}
	return dropped, s.cancelLeftBehind(ctx)
}

// forgetPeople deletes what has expired of those who log in.
func forgetPeople(ctx context.Context, db migrations.Querier) error {
	for _, sql := range []string{
		"delete from sessions where expires_at < now()",
		"delete from login_steps where expires_at < now()",
		"delete from passkey_challenges where expires_at < now()",
		"delete from logout_tokens where expires_at < now()",
		"delete from letters where invitation_id is null and created_at < now() - interval '3 days'",
		"delete from invitations where coalesce(used_at, expires_at) < now() - interval '1 day'",
		"delete from portal_links where expires_at < now() - interval '1 day'",
	} {
		if _, err := db.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}
