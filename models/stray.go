package models

import (
	"context"
	"log/slog"
	"time"
)

// A process may take jobs after its work was taken over, until it notices: PostgreSQL was away, everybody had been silent,
// and somebody was quicker. When it dies before it has noticed, those jobs are with nobody.
const (
	strayAfter    = 2 * time.Second // that a job was taken
	lookForStrays = time.Second
)

// KeepTakingStrays makes jobs available again that belong to nobody among the processes, until ctx ends. Any process may
// do it.
func (s *Store) KeepTakingStrays(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(lookForStrays)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		jobs, err := s.queue.TakeStrays(ctx, s.Hot, strayAfter)
		switch {
		case err != nil && ctx.Err() == nil:
			log.Warn("cannot look for jobs of processes that are gone", "error", err)
		case jobs > 0:
			s.Metrics.TookOver(jobs)
			log.Warn("took over jobs of processes that are gone", "jobs", jobs)
		}
	}
}
