package jobs

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/metrics"
	"github.com/waybill-dev/waybill/models"
)

// WatchQueue adds the metrics that tell of the job queue: what waits, and for how long.
func WatchQueue(store *models.Store) {
	watchAge(store)
	store.Metrics.WatchSlow("queue", []metrics.Desc{
		{Name: "waybill_queue_jobs", Help: "Jobs by queue and state; due are those that a worker could take now, scheduled those of the future. A job carries up to 50 deliveries.", Labels: []string{"queue", "state"}},
	}, func(ctx context.Context) ([]metrics.Sample, error) {
		rows, err := store.Pool.Query(ctx, `select queue, case when state::text <> 'available' then state::text when scheduled_at <= now() then 'due' else 'scheduled' end, count(*)
			from `+schema+`.river_job group by 1, 2`)
		if err != nil {
			return nil, err
		}
		// Every queue has its values, also when nothing is in it: one that went away cannot be told from one that is empty.
		var out []metrics.Sample
		jobs := map[[2]string]float64{}
		for _, q := range queues {
			for _, s := range []string{"due", "scheduled", "running"} {
				jobs[[2]string{q, s}] = 0
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
	})
}

var queues = []string{queueDeliver, queueRetry, queueUpkeep}

// watchAge tells how long the oldest job that is due has waited. That is apart from the rest because it takes one step in
// an index, however many jobs there are: it must be fresh when there are a million.
func watchAge(store *models.Store) {
	store.Metrics.WatchSlow("queue_age", []metrics.Desc{
		{Name: "waybill_queue_oldest_due_seconds", Help: "How long the oldest job that is due has been waiting; 0 when none is.", Labels: []string{"queue"}},
	}, func(ctx context.Context) (out []metrics.Sample, err error) {
		for _, q := range queues {
			var age float64
			// A job for now is written with a time that lies a little in the past.
			err := store.Pool.QueryRow(ctx, `select extract(epoch from now() - greatest(scheduled_at, created_at))::float8 from `+schema+`.river_job
				where state = 'available' and queue = $1 and priority = 1 and scheduled_at <= now() order by scheduled_at limit 1`, q).Scan(&age)
			if err != nil && err != pgx.ErrNoRows {
				return nil, err
			}
			out = append(out, metrics.Sample{Name: "waybill_queue_oldest_due_seconds", Value: max(0, age), Labels: []string{q}})
		}
		return out, nil
	})
}

// watchWorker adds the metrics that tell what the process's worker is doing. A worker that starts anew takes the place
// of the one before.
func watchWorker(m *metrics.Metrics, now *atomic.Pointer[Worker]) {
	m.Watch([]metrics.Desc{
		{Name: "waybill_attempts_in_flight", Help: "Attempts under way in this process."},
		{Name: "waybill_attempts_in_flight_limit", Help: "The most attempts that this process makes at once (MAX_IN_FLIGHT)."},
		{Name: "waybill_attempts_in_flight_slow", Help: "Attempts under way to destinations that are slow; they have a share of the places only."},
		{Name: "waybill_jobs_held", Help: "Jobs that this process has taken: under way, or waiting for their destination's turn."},
	}, func() []metrics.Sample {
		w := now.Load()
		if w == nil {
			return nil
		}
		return []metrics.Sample{
			{Name: "waybill_attempts_in_flight", Value: float64(len(w.slots))},
			{Name: "waybill_attempts_in_flight_limit", Value: float64(cap(w.slots))},
			{Name: "waybill_attempts_in_flight_slow", Value: float64(len(w.slowOnes))},
			{Name: "waybill_jobs_held", Value: float64(w.jobs.Load())},
		}
	})
}
