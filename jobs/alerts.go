package jobs

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/models"
)

const (
	watchEvery = time.Second
	// watchShare is which part of its time a process watches at most.
	watchShare = 10
)

// watch turns what workers record into health, alerts and notices until ctx ends.
func (w *Worker) watch(ctx context.Context) {
	watcher := models.NewWatcher(w.store, w.log)
	for {
		began := time.Now()
		pass, cancel := context.WithTimeout(ctx, time.Minute)
		_, err := watcher.Pass(pass, began)
		cancel()
		if err != nil && ctx.Err() == nil {
			w.log.Error("cannot watch the destinations; the next pass does it", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(watchEvery, watchShare*time.Since(began))):
		}
	}
}
