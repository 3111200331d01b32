package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcome is what became of a delivery when its turn came.
type Outcome struct {
	Type      string        // of the destination
	Status    string        // the delivery's new one
	Final     bool          // the delivery is finished, or held
	Attempted bool          // something was sent; what follows says what
	OK        bool          // it was acknowledged
	Class     string        // of the error
	Number    int           // of the attempt, from 1
	Trigger   string        // why it was made
	Took      time.Duration // of the attempt
	Wait      time.Duration // from when it was due until it began
	Latency   time.Duration // with OK: since the event was received; 0 for those that somebody asked for
}

// attemptKey is what tells the series of attempts apart.
type attemptKey struct {
	destination, class string
	ok                 bool
}

// attemptSeries are the series that an attempt counts in. Looking them up by their labels each time would cost more than
// counting.
type attemptSeries struct {
	count         prometheus.Counter
	firsts        prometheus.Counter // first attempts
	took, latency prometheus.Observer
	first, later  prometheus.Observer // queue wait
}

// Recorded counts outcomes that are committed.
func (m *Metrics) Recorded(outcomes []Outcome) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range outcomes {
		o := &outcomes[i]
		if o.Final {
			m.end(o.Type, o.Status).Inc()
		}
		if !o.Attempted {
			continue
		}
		s := m.series(attemptKey{o.Type, o.Class, o.OK})
		s.count.Inc()
		s.took.Observe(o.Took.Seconds())
		if o.Number > 1 {
			m.retries.WithLabelValues(o.Type, o.Trigger).Inc()
			s.later.Observe(o.Wait.Seconds())
		} else {
			s.firsts.Inc()
			s.first.Observe(o.Wait.Seconds())
		}
		if o.OK && o.Latency > 0 {
			s.latency.Observe(o.Latency.Seconds())
		}
	}
}

// end finds the counter of deliveries that ended so. The lock is held.
func (m *Metrics) end(destination, status string) prometheus.Counter {
	k := [2]string{destination, status}
	if m.ends[k] == nil {
		m.ends[k] = m.finished.WithLabelValues(destination, status)
	}
	return m.ends[k]
}

// series finds the series of a kind of attempts. The lock is held.
func (m *Metrics) series(k attemptKey) *attemptSeries {
	s := m.known[k]
	if s == nil {
		outcome := "failed"
		if k.ok {
			outcome = "success"
		}
		s = &attemptSeries{count: m.attempts.WithLabelValues(k.destination, outcome, k.class),
			firsts:  m.firsts.WithLabelValues(k.destination, outcome),
			took:    m.took.WithLabelValues(k.destination, outcome),
			latency: m.latency.WithLabelValues(k.destination), first: m.wait.WithLabelValues("deliver"),
			later: m.wait.WithLabelValues("retry")}
		m.known[k] = s
	}
	return s
}
