package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Desc describes a metric whose values are read when somebody asks for them.
type Desc struct {
	Name, Help string
	Labels     []string
	Counter    bool // it only rises; otherwise it is a gauge
}

// Sample is one value of such a metric.
type Sample struct {
	Name   string
	Value  float64
	Labels []string // values, in the order of Desc.Labels
}

// Watch adds metrics that read gives at every scrape. It must be quick; what takes longer belongs into WatchSlow.
func (m *Metrics) Watch(descs []Desc, read func() []Sample) {
	if m != nil {
		m.register.MustRegister(newReader(descs, func() []Sample { return read() }))
	}
}

// How long what WatchSlow read is good for: at least freshFor, and so long that reading takes up at most a hundredth of
// the time. A read that takes longer than readTimeout counts as failed.
const (
	freshFor    = 10 * time.Second
	freshFactor = 100
	readTimeout = 5 * time.Second
)

// WatchSlow adds metrics that are read from the database. What was read is used again for a while, however often
// somebody asks. While it cannot be read there are no values, and waybill_read_success{source} is 0.
func (m *Metrics) WatchSlow(source string, descs []Desc, read func(context.Context) ([]Sample, error)) {
	if m == nil {
		return
	}
	c := &cached{read: read}
	ok := Desc{Name: "waybill_read_success", Help: "1 when the values that are read from the database could be read, by what they tell of."}
	r := newReader(descs, c.get)
	success := prometheus.NewDesc(ok.Name, ok.Help, nil, prometheus.Labels{"source": source})
	r.also = func(ch chan<- prometheus.Metric) {
		v := 0.0
		if c.ok() {
			v = 1
		}
		ch <- prometheus.MustNewConstMetric(success, prometheus.GaugeValue, v)
	}
	r.alsoDesc = success
	m.register.MustRegister(r)
}

// cached keeps what was read last.
type cached struct {
	read func(context.Context) ([]Sample, error)

	mu      sync.Mutex
	until   time.Time
	samples []Sample
	err     error
}

func (c *cached) get() []Sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	began := time.Now()
	if began.Before(c.until) {
		return c.samples
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	c.samples, c.err = c.read(ctx)
	if c.err != nil {
		c.samples, c.until = nil, time.Now().Add(freshFor) // what was read before would look like now
		return nil
	}
	c.until = time.Now().Add(max(freshFor, freshFactor*time.Since(began)))
	return c.samples
}

func (c *cached) ok() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil
}

// reader is a collector of values that are read.
type reader struct {
	descs    map[string]*prometheus.Desc
	kinds    map[string]prometheus.ValueType
	read     func() []Sample
	also     func(chan<- prometheus.Metric)
	alsoDesc *prometheus.Desc
}

func newReader(descs []Desc, read func() []Sample) *reader {
	r := &reader{descs: map[string]*prometheus.Desc{}, kinds: map[string]prometheus.ValueType{}, read: read}
	for _, d := range descs {
		r.descs[d.Name] = prometheus.NewDesc(d.Name, d.Help, d.Labels, nil)
		r.kinds[d.Name] = prometheus.GaugeValue
		if d.Counter {
			r.kinds[d.Name] = prometheus.CounterValue
		}
	}
	return r
}

// Describe implements prometheus.Collector.
func (r *reader) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range r.descs {
		ch <- d
	}
	if r.alsoDesc != nil {
		ch <- r.alsoDesc
	}
}

// Collect implements prometheus.Collector.
func (r *reader) Collect(ch chan<- prometheus.Metric) {
	for _, s := range r.read() {
		ch <- prometheus.MustNewConstMetric(r.descs[s.Name], r.kinds[s.Name], s.Value, s.Labels...)
	}
	if r.also != nil {
		r.also(ch)
	}
}
