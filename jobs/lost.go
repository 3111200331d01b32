package jobs

import (
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/models/queue"
)

// longestLook is how long a job waits at most until events that it did not find are looked for again.
const longestLook = 10 * time.Minute

// lostEventsError is why a job stays: events that it carries cannot be found, although their days are kept.
type lostEventsError struct {
	deliveries int
	wait       time.Duration
}

func (e *lostEventsError) Error() string {
	return fmt.Sprintf("the events of %d deliveries cannot be found although their days are kept", e.deliveries)
}

// notFound is nil when all events of a job were found. Else it tells the log and the metrics, and returns what keeps the job: the
// events are looked for again after 1 s, then twice as long each time, up to ten minutes.
func (w *Worker) notFound(job *river.Job[queue.Batch], missing []queue.Item) error {
	if len(missing) == 0 {
		return nil
	}
	wait := min(time.Second<<min(job.Attempt-1, 20), longestLook)
	w.store.Metrics.NotFound(len(missing))
	w.log.Error("an event cannot be found although its day is kept; its job stays, and looks for it again",
		"event_key", missing[0].EventKey, "events", len(missing), "job", job.ID, "attempt", job.Attempt, "again_in", wait,
		"see", "waybill doctor")
	return &lostEventsError{len(missing), wait}
}
