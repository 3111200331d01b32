package jobs

import (
	"sync/atomic"

	"github.com/waybill-dev/waybill/internal/metrics"
)

// watchWorker adds the metrics that tell what the process's worker is doing. A worker that starts anew takes the place
// of the one before.
func watchWorker(m *metrics.Metrics, now *atomic.Pointer[Worker]) {
	m.Watch([]metrics.Desc{
		{Name: "waybill_attempts_in_flight", Help: "Attempts under way in this process."},
		{Name: "waybill_attempts_in_flight_limit", Help: "The most attempts that this process makes at once (MAX_IN_FLIGHT)."},
		{Name: "waybill_attempts_in_flight_slow",
			Help: "Attempts under way to destinations that are slow; they have a share of the places only."},
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
