package jobs

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/metrics"
	"github.com/waybill-dev/waybill/models"
)

// WatchQueue adds the metrics that tell of the job queue: what waits, and for how long.
func WatchQueue(store *models.Store) {
	queue := []string{"queue"}
	store.Metrics.WatchSlow("queue", []metrics.Desc{
		{Name: "waybill_queue_jobs", Help: "Jobs by queue and state; due are those that a worker could take now, scheduled those of the future. A job carries up to 50 deliveries.", Labels: []string{"queue", "state"}},
		{Name: "waybill_queue_oldest_due_seconds", Help: "How long the oldest job that is due has been waiting; 0 when none is.", Labels: queue},
	}, func(ctx context.Context) ([]metrics.Sample, error) {
		rows, err := store.Pool.Query(ctx, `select queue, case when state::text <> 'available' then state::text when scheduled_at <= now() then 'due' else 'scheduled' end s,
				count(*), coalesce(extract(epoch from now() - min(greatest(scheduled_at, created_at))), 0)::float8
			from `+schema+`.river_job group by 1, 2`)
		if err != nil {
			return nil, err
		}
		// Every queue has its values, also when nothing is in it: one that went away cannot be told from one that is empty.
		var out []metrics.Sample
		jobs, oldest := map[[2]string]float64{}, map[string]float64{}
		for _, q := range []string{queueDeliver, queueRetry, queueUpkeep} {
			oldest[q] = 0
			for _, s := range []string{"due", "scheduled", "running"} {
				jobs[[2]string{q, s}] = 0
			}
		}
		var q, state string
		var n, age float64
		if _, err := pgx.ForEachRow(rows, []any{&q, &state, &n, &age}, func() error {
			jobs[[2]string{q, state}] += n
			if state == "due" {
				oldest[q] = max(0, age)
			}
			return nil
		}); err != nil {
			return nil, err
		}
		for k, n := range jobs {
			out = append(out, metrics.Sample{Name: "waybill_queue_jobs", Value: n, Labels: []string{k[0], k[1]}})
		}
		for q, age := range oldest {
			out = append(out, metrics.Sample{Name: "waybill_queue_oldest_due_seconds", Value: age, Labels: []string{q}})
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
