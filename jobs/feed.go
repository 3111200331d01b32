package jobs

import (
	"context"
	"time"
)

// publishEvery is how often it is looked for changes that somebody takes as events.
const publishEvery = 500 * time.Millisecond

// publishChanges turns changes into events for the destinations that take them, until ctx ends.
func (w *Worker) publishChanges(ctx context.Context) {
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	for {
		pass, cancel := context.WithTimeout(ctx, time.Minute)
		_, err := w.store.PublishChanges(pass, w.opts.Publish, w.log)
		cancel()
		if err != nil && ctx.Err() == nil {
			w.log.Warn("changes are not published yet; the next look does it", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
