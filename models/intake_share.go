package models

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// How often a process that answers the API says that it is there, and for how long it counts after that.
const (
	shareEvery = 2 * time.Second
	shareFor   = 10 * time.Second
)

// intakeShare is which part of the limits of what comes in is this process's: one of as many as answer the API.
type intakeShare struct {
	id    uuid.UUID // this process among them
	among atomic.Int32
}

// IntakeShare is among how many processes that answer the API the limits of what comes in are shared, this one included.
func (s *Store) IntakeShare() int { return max(1, int(s.root().intakes.share.among.Load())) }

// KnowIntakeShare says that this process answers the API, and counts those that do.
func (s *Store) KnowIntakeShare(ctx context.Context) error {
	if s.intakes.share.id == uuid.Nil {
		s.intakes.share.id = uuid.Must(uuid.NewV7())
	}
	// Both ways, so that a clock that was set back does not make the dead count for long.
	const apart = "greatest(now() - seen_at, seen_at - now())"
	var others int
	err := s.pool.QueryRow(ctx, `with me as (insert into api_processes (id) values ($1) on conflict (id) do update set seen_at = now()),
		gone as (delete from api_processes where id <> $1 and `+apart+` > 6 * $2::interval)
		select count(*) from api_processes where id <> $1 and `+apart+" <= $2", s.intakes.share.id, shareFor).Scan(&others)
	if err == nil {
		s.intakes.share.among.Store(int32(others) + 1)
	}
	return err
}

// FollowIntakeShare does so again and again until ctx ends, and then takes this process off. While the database does not
// answer, the share stays.
func (s *Store) FollowIntakeShare(ctx context.Context, log *slog.Logger) {
	follow(ctx, shareEvery, log, "cannot tell how many processes share the limits of keys and tenants; the share stays", s.KnowIntakeShare)
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, err := s.pool.Exec(bye, "delete from api_processes where id = $1", s.intakes.share.id); err != nil {
		log.Warn("this process still counts among those that share limits, for some seconds", "error", err)
	}
}
