// Package metrics counts what a process does and tells Prometheus. Names and units follow its conventions: seconds,
// bytes, counters that end in _total. No label ever holds what callers choose (tenants, destinations, topics): there would
// be no end to the series.
//
// It imports nothing of ours. Every method works on a nil *Metrics too, and then does nothing.
package metrics

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the metrics of one process.
type Metrics struct {
	registry *prometheus.Registry
	cell     string                // of which database beside the first; empty for the process
	register prometheus.Registerer // with the label of the cell

	accepted, duplicate prometheus.Counter
	refused             *prometheus.CounterVec // reason
	routed              *prometheus.CounterVec // status
	filtered            prometheus.Counter
	batch               *prometheus.HistogramVec // of
	commit              *prometheus.HistogramVec // of, result
	finished            *prometheus.CounterVec   // type, status
	attempts            *prometheus.CounterVec   // type, outcome, error_class
	retries             *prometheus.CounterVec   // type, trigger
	firsts              *prometheus.CounterVec   // type, outcome
	took                *prometheus.HistogramVec // type, outcome
	wait                *prometheus.HistogramVec // queue
	latency             *prometheus.HistogramVec // type
	putOff              prometheus.Counter
	notFound            prometheus.Counter
	takenOver           prometheus.Counter
	shortages           *prometheus.CounterVec   // resource
	requests            *prometheus.HistogramVec // part, code

	mu    sync.Mutex
	known map[attemptKey]*attemptSeries
	ends  map[[2]string]prometheus.Counter // of finished, by type and status

	cells  map[string]*Metrics // of further databases, by name
	answer atomic.Pointer[http.Handler]
}

// Buckets, in seconds. The shortest are those of a receiver on the same machine, the longest those of a delivery that was
// retried for a day.
var (
	shortTimes = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}
	longTimes  = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 21600, 86400}
	batchSizes = []float64{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000}
)

// New makes the metrics of a process of this version.
func New(version string) *Metrics {
	m := newMetrics("")
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "waybill_build_info", Help: "The version that runs; the value is always 1.",
		ConstLabels: prometheus.Labels{"version": version}})
	info.Set(1)
	m.register.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.answerAll()
	return m
}

// Cell makes the metrics of a further database. They have its name in the label cell, and are told with those of the process until
// they are dropped.
func (m *Metrics) Cell(name string) *Metrics {
	if m == nil {
		return nil
	}
	c := newMetrics(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cells == nil {
		m.cells = map[string]*Metrics{}
	}
	m.cells[name] = c
	m.answerAll()
	return c
}

// Drop forgets the metrics of a further database.
func (m *Metrics) Drop(cell *Metrics) {
	if m == nil || cell == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cells[cell.cell] == cell {
		delete(m.cells, cell.cell)
		m.answerAll()
	}
}

// newMetrics makes the metrics that there are of each database. Those of a further one are in a registry of their own: one registry
// takes a name with one set of labels only.
func newMetrics(cell string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), cell: cell, known: map[attemptKey]*attemptSeries{},
		ends: map[[2]string]prometheus.Counter{}}
	m.register = m.registry
	if cell != "" {
		m.register = prometheus.WrapRegistererWith(prometheus.Labels{"cell": cell}, m.registry)
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.register.MustRegister(c)
		return c
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.register.MustRegister(c)
		return c
	}
	histograms := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		m.register.MustRegister(h)
		return h
	}
	m.accepted = counter("waybill_events_accepted_total", "Events accepted: committed together with the jobs that deliver them.")
	m.duplicate = counter("waybill_events_duplicate_total", "Events published again with an id that was accepted before.")
	m.refused = counters("waybill_events_refused_total",
		"Events not accepted, by the kind of error; unavailable is back-pressure or the database.", "reason")
	m.routed = counters("waybill_deliveries_routed_total",
		"Deliveries that accepted events were given, by the status with which they began.", "status")
	m.filtered = counter("waybill_deliveries_filtered_total", "Events that a destination's filter held back, once per destination.")
	m.finished = counters("waybill_deliveries_finished_total",
		"Deliveries that workers finished (delivered, failed, cancelled) or hold (held).", "type", "status")
	m.attempts = counters("waybill_attempts_total", "Attempts recorded, by destination type, outcome (success, failed) and kind of error.",
		"type", "outcome", "error_class")
	m.retries = counters("waybill_attempt_retries_total",
		"Attempts recorded that were not a delivery's first, by who asked for them (automatic, manual, bulk).", "type", "trigger")
	m.firsts = counters("waybill_first_attempts_total", "First attempts of deliveries, by destination type and outcome (success, failed).",
		"type", "outcome")
	m.notFound = counter("waybill_events_not_found_total",
		"Deliveries whose event a job did not find although its day is kept, each time that it was looked for.")
	m.putOff = counter("waybill_deliveries_put_off_total",
		"Deliveries given back to the queue because their destination was slow or asked to wait.")
	m.takenOver = counter("waybill_jobs_taken_over_total", "Jobs of dead processes that this process made available again.")
	m.shortages = counters("waybill_shortages_total",
		"Attempts and notices that could not be made because this process or machine lacked something (ports, files, memory). They do not count, and are made later.", "resource")
	for _, resource := range []string{"ports", "files", "memory"} {
		m.shortages.WithLabelValues(resource) // zeros, for an alert cannot see the first of what was not there
	}
	m.took = histograms("waybill_attempt_duration_seconds", "How long attempts took, from the first byte out to the answer.", shortTimes,
		"type", "outcome")
	m.wait = histograms("waybill_queue_wait_seconds", "How long deliveries that were due waited until their attempt began.", longTimes,
		"queue")
	m.latency = histograms("waybill_delivery_latency_seconds",
		"From the receipt of an event until a destination acknowledged it, retries included; without those by hand.", longTimes, "type")
	m.batch = histograms("waybill_commit_batch_size", "Events in one accepting transaction, and outcomes in one recording transaction.",
		batchSizes, "of")
	m.commit = histograms("waybill_commit_duration_seconds", "How long accepting (events) and recording (outcomes) transactions took.",
		shortTimes, "of", "result")
	m.requests = histograms("waybill_http_request_duration_seconds",
		"How long HTTP requests took to be answered, by part of the server and class of status.", shortTimes, "part", "code")
	return m
}

// Handler answers a scrape. It needs no deadline of its own: whatever may take long is read with one.
func (m *Metrics) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*m.answer.Load()).ServeHTTP(w, r) })
}

// answerAll makes what answers a scrape: with the metrics of the process, and those of its further databases.
func (m *Metrics) answerAll() {
	all := prometheus.Gatherers{m.registry}
	for _, c := range m.cells {
		all = append(all, c.registry)
	}
	h := promhttp.HandlerFor(all, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
	m.answer.Store(&h)
}

// Accepted counts a committed group of events.
func (m *Metrics) Accepted(accepted, duplicates, filtered int, routed map[string]int) {
	if m == nil {
		return
	}
	m.accepted.Add(float64(accepted))
	m.duplicate.Add(float64(duplicates))
	m.filtered.Add(float64(filtered))
	for status, n := range routed {
		m.routed.WithLabelValues(status).Add(float64(n))
	}
}

// Refused counts an event that was not accepted; reason is the code of an error's kind.
func (m *Metrics) Refused(reason string) {
	if m != nil {
		m.refused.WithLabelValues(reason).Inc()
	}
}

// Committed counts a transaction that wrote size events or outcomes.
func (m *Metrics) Committed(of string, size int, took time.Duration, err error) {
	if m == nil {
		return
	}
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.batch.WithLabelValues(of).Observe(float64(size))
	m.commit.WithLabelValues(of, result).Observe(took.Seconds())
}

// PutOff counts deliveries that were given back to the queue.
func (m *Metrics) PutOff(deliveries int) {
	if m != nil {
		m.putOff.Add(float64(deliveries))
	}
}

// NotFound counts deliveries whose event was looked for and not found.
func (m *Metrics) NotFound(deliveries int) {
	if m != nil {
		m.notFound.Add(float64(deliveries))
	}
}

// Short counts an attempt or a notice that could not be made for want of a resource: ports, files or memory.
func (m *Metrics) Short(resource string) {
	if m != nil {
		m.shortages.WithLabelValues(resource).Inc()
	}
}

// TookOver counts jobs of dead processes.
func (m *Metrics) TookOver(jobs int) {
	if m != nil {
		m.takenOver.Add(float64(jobs))
	}
}

// Request counts an HTTP request that was answered with this status.
func (m *Metrics) Request(part string, status int, took time.Duration) {
	if m != nil && status >= 100 && status < 600 {
		m.requests.WithLabelValues(part, statusClasses[status/100]).Observe(took.Seconds())
	}
}

var statusClasses = [...]string{1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}
