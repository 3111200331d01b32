package models

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/metrics"
	"github.com/waybill-dev/waybill/models/queue"
)

// watchQueue adds the metrics that tell of the job queue: what waits, and for how long.
func (s *Store) watchQueue() {
	s.watchAge()
	s.Metrics.WatchSlow("queue", []metrics.Desc{
		{Name: "waybill_queue_jobs",
			Help: "Jobs by queue and state; due are those that a worker could take now, scheduled those of the future. A job carries up to 50 deliveries.", Labels: []string{"queue", "state"}},
	}, func(ctx context.Context) (out []metrics.Sample, err error) {
		err = s.Read(ctx, time.Time{}, func(ctx context.Context) error {
			out, err = s.jobsByState(ctx)
			return err
		})
		return out, err
	})
}

// jobsByState counts the jobs, for metrics.
func (s *Store) jobsByState(ctx context.Context) ([]metrics.Sample, error) {
	rows, err := s.pool.Query(ctx,
		`select queue, `+jobState+`, count(*) from `+queue.Schema+`.river_job group by 1, 2`)
	if err != nil {
		return nil, err
	}
	// Every queue has its values, also when nothing is in it: one that went away cannot be told from one that is empty.
	var out []metrics.Sample
	jobs := map[[2]string]float64{}
	for _, q := range watchedQueues {
		for _, state := range []string{"due", "scheduled", "running"} {
			jobs[[2]string{q, state}] = 0
		}
	}
	var q, state string
	var n float64
	if _, err := pgx.ForEachRow(rows, []any{&q, &state, &n}, func() error {
		jobs[[2]string{q, state}] += n
		return nil
	}); err != nil {
		return nil, err
	}
	for k, n := range jobs {
		out = append(out, metrics.Sample{Name: "waybill_queue_jobs", Value: n, Labels: []string{k[0], k[1]}})
	}
	return out, nil
}

var watchedQueues = []string{queue.Deliver, queue.Retry, queue.Maintenance}

// watchAge tells how long the oldest job that is due has waited. That is apart from the rest because it takes one step in
// an index, however many jobs there are: it must be fresh when there are a million.
func (s *Store) watchAge() {
	s.Metrics.WatchSlow("queue_age", []metrics.Desc{
		{Name: "waybill_queue_oldest_due_seconds", Help: "How long the oldest job that is due has been waiting; 0 when none is.",
			Labels: []string{"queue"}},
	}, func(ctx context.Context) (out []metrics.Sample, err error) {
		for _, q := range watchedQueues {
			age, err := s.oldestDue(ctx, q)
			if err != nil {
				return nil, err
			}
			out = append(out, metrics.Sample{Name: "waybill_queue_oldest_due_seconds", Value: age.Seconds(), Labels: []string{q}})
		}
		return out, nil
	})
}

// oldestDue is how long the oldest job of a queue that is due has been waiting; 0 when none is.
func (s *Store) oldestDue(ctx context.Context, name string) (time.Duration, error) {
	var age float64
	// A job for now is written with a time that lies a little in the past.
	err := s.pool.QueryRow(ctx,
		`select coalesce(max(extract(epoch from now() - greatest(j.scheduled_at, j.created_at))), 0)::float8
		from (values (1::smallint), (2)) p (priority) cross join lateral (
			select scheduled_at, created_at from `+queue.Schema+`.river_job
			where state = 'available' and queue = $1 and priority = p.priority and scheduled_at <= now()
			order by scheduled_at limit 1) j`, name).Scan(&age)
	return time.Duration(max(0, age) * float64(time.Second)), err
}
