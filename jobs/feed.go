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
	for failing := false; ; {
		var err error
		if w.process.Publishing() {
			pass, cancel := context.WithTimeout(ctx, time.Minute)
			_, err = w.store.PublishChanges(pass, w.opts.Publish, w.log)
			cancel()
		}
		if err != nil && !failing && ctx.Err() == nil {
			w.log.Warn("changes are not published yet; that is tried again", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
