package jobs

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/internal/metrics"
	"github.com/waybill-dev/waybill/internal/traces"
	"github.com/waybill-dev/waybill/models"
)

// errShort ends a run because this server lacked ports, files or memory. What it has not come to is put off.
var errShort = errors.New("this server is short of something")

// shortage is why a run ended early and what it has left behind.
type shortage struct {
	left   []int // of the deliveries that were taken up; those from run.next on were not
	reason string
	until  time.Time
}

// Waits after a shortage: the first, and the longest when it stays. Another process may have what this one lacks.
const (
	shortPause    = time.Second
	maxShortPause = 10 * time.Second
)

// lack takes note that an attempt could not be made for want of something of ours. It is no attempt: nothing is recorded of
// it, the destination's health does not change, and none of the delivery's attempts is used up. The first one ends the run.
func (r *run) lack(i int, v *version, e *adapters.Error, span traces.Span) {
	span.Failed(string(e.Class), e.Message)
	span.End(0, models.StatusPending)
	r.w.shortages.note(r.w.store.Metrics, r.w.log, e, "destination", v.target.ID, "tenant", v.target.TenantID)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.short.left = append(r.short.left, i)
	if r.err == nil {
		r.err = errShort
		r.short.until = r.lane.lack(time.Now())
		r.short.reason = e.Message + " It is made soon, and the try does not count."
	}
}

// postponed are the outcomes of the deliveries that a run has left because of a shortage. The lock is held.
func (r *run) postponed() []models.Outcome {
	left := make([]models.Ready, 0, len(r.ready)-r.next+len(r.short.left))
	for _, i := range r.short.left {
		left = append(left, r.ready[i])
	}
	left = append(left, r.ready[r.next:]...)
	r.current.mu.Lock()
	e := r.current.used[len(r.current.used)-1].target
	r.current.mu.Unlock()
	out := unsent(e, left, r.job.Args, models.StatusPending, r.short.reason)
	for i := range out {
		out[i].Next = r.short.until
		if left[i].Attempts > 0 && r.job.Args.Trigger == "" {
			out[i].Status = models.StatusRetrying
		}
	}
	return out
}

// lack puts everything to the destination off for a while, longer each time while nothing can be sent, and returns until
// when.
func (l *lane) lack(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	until := now.Add(min(shortPause<<min(l.lacks, 10), maxShortPause))
	l.lacks++
	l.late = true
	if until.After(l.paused) {
		l.paused = until
	}
	return until
}

// shortages counts for the metrics what this process lacked, and writes it into the log, though not each time.
type shortages struct {
	mu    sync.Mutex
	told  map[string]time.Time // by resource
	since map[string]int       // how many were not told
}

// tellAgain is how often the log says that something is lacking.
const tellAgain = 10 * time.Second

func (s *shortages) note(m *metrics.Metrics, log *slog.Logger, e *adapters.Error, where ...any) {
	m.Short(e.Lack)
	now := time.Now()
	s.mu.Lock()
	if s.told == nil {
		s.told, s.since = map[string]time.Time{}, map[string]int{}
	}
	s.since[e.Lack]++
	n := s.since[e.Lack]
	quiet := now.Sub(s.told[e.Lack]) < tellAgain
	if !quiet {
		s.told[e.Lack], s.since[e.Lack] = now, 0
	}
	s.mu.Unlock()
	if !quiet {
		log.Error("this server lacks "+e.Lack+", so that attempts cannot be made; they are made later and no destination is charged with it",
			append([]any{"resource", e.Lack, "error", e.Raw, "times", n}, where...)...)
	}
}
