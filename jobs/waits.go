package jobs

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// tellWaitAgain is how often it is written down that deliveries of a destination wait, and why, while that stays the same.
const tellWaitAgain = 10 * time.Second

// tellWait writes down, beside the job, why deliveries of a destination are put off, for those who look at them. It is one
// row for each destination and not one for each delivery: of a destination that fails there may be a hundred thousand, which
// are put off once a minute.
func (w *Worker) tellWait(l *lane, destination int64) {
	wait, news := l.news(time.Now())
	if !news {
		return
	}
	w.inBackground(func(ctx context.Context) {
		if err := w.store.TellWait(ctx, destination, wait); err != nil {
			w.log.Warn("why deliveries wait could not be written down", "destination", destination, "error", err)
		}
	})
}

// tellWell takes back that deliveries of a destination wait: one was taken.
func (w *Worker) tellWell(destination int64) {
	w.inBackground(func(ctx context.Context) {
		if err := w.store.TellWell(ctx, destination); err != nil {
			w.log.Warn("that deliveries wait no more could not be written down", "destination", destination, "error", err)
		}
	})
}

// news is why deliveries are put off now, if that was not told just before.
func (l *lane) news(now time.Time) (w models.Wait, news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch rate := l.pacingLocked(); {
	case now.Before(l.paused) && l.lacks > 0:
		w = models.Wait{Why: models.WaitShort, Until: l.paused}
	case now.Before(l.paused):
		w = models.Wait{Why: models.WaitAsked, Until: l.paused}
	case now.Before(l.eased):
		w = models.Wait{Why: models.WaitEased, Until: l.eased}
	case rate > 0 && rate != l.rate:
		w = models.Wait{Why: models.WaitFailing, Rate: rate}
	case rate > 0:
		w = models.Wait{Why: models.WaitLimited, Rate: rate}
	case l.isSlow(now):
		w = models.Wait{Why: models.WaitSlow, Rate: float64(l.allowed) / max(l.took, now.Sub(l.moved), time.Millisecond).Seconds()}
	default:
		return w, false // many jobs wait in this process: that is over in a second
	}
	again := time.Second // the end of a pause moves
	if w.Why == l.told && w.Until.IsZero() {
		again = tellWaitAgain
	}
	if now.Sub(l.toldAt) < again {
		return w, false
	}
	l.told, l.toldAt = w.Why, now
	return w, true
}
