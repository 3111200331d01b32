package metrics

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// scraped is what a scrape answers.
func scraped(t *testing.T, m *Metrics) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("%d: %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}

// TestNothing works on no metrics at all, as in a store that nobody watches.
func TestNothing(t *testing.T) {
	t.Parallel()
	var m *Metrics
	m.Accepted(1, 1, 1, map[string]int{"pending": 1})
	m.Refused("invalid")
	m.Committed("events", 1, time.Second, nil)
	m.PutOff(1)
	m.TookOver(1)
	m.Request("api", 200, time.Second)
	m.Recorded([]Outcome{{Attempted: true}})
	m.Watch(nil, func() []Sample { return nil })
	m.WatchSlow("x", nil, func(context.Context) ([]Sample, error) { return nil, nil })
}

// TestWatchSlow reads once for many scrapes, and has no values while it cannot read.
func TestWatchSlow(t *testing.T) {
	t.Parallel()
	m := New("test")
	reads := 0
	descs := []Desc{{Name: "waybill_test_jobs", Help: "Jobs.", Labels: []string{"queue"}}}
	m.WatchSlow("test", descs, func(context.Context) ([]Sample, error) {
		reads++
		return []Sample{{"waybill_test_jobs", 7, []string{"deliver"}}}, nil
	})
	for range 3 {
		if text := scraped(t, m); !strings.Contains(text, `waybill_test_jobs{queue="deliver"} 7`) ||
			!strings.Contains(text, `waybill_read_success{source="test"} 1`) {
			t.Errorf("%s", text)
		}
	}
	if reads != 1 {
		t.Errorf("read %d times for 3 scrapes", reads)
	}

	c := &cached{read: func(context.Context) ([]Sample, error) { return nil, errors.New("away") }, samples: []Sample{{Name: "old"}}}
	if got := c.get(); len(got) != 0 || c.ok() || time.Until(c.until) > freshFor {
		t.Errorf("after a failure: %v until %v", got, c.until)
	}
	slow := &cached{read: func(context.Context) ([]Sample, error) {
		<-time.After(150 * time.Millisecond)
		return nil, nil
	}}
	slow.get()
	if left := time.Until(slow.until); left < 14*time.Second || left > time.Minute {
		t.Errorf("what took 150 ms to read is good for %v, want a hundred times that", left)
	}
}

// TestCountedAtOnce counts from many goroutines while somebody scrapes, and loses nothing.
func TestCountedAtOnce(t *testing.T) {
	t.Parallel()
	m := New("test")
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 100 {
				m.Recorded([]Outcome{{Type: "webhook", Status: "delivered", Final: true, Attempted: true, OK: true, Number: 1,
					Latency: time.Second},
					{Type: "webhook", Status: "retrying", Attempted: true, Class: "timeout", Number: 2, Trigger: "automatic"}})
			}
		}()
	}
	scraped(t, m)
	wg.Wait()
	text := scraped(t, m)
	for _, want := range []string{`waybill_attempts_total{error_class="",outcome="success",type="webhook"} 800`,
		`waybill_attempts_total{error_class="timeout",outcome="failed",type="webhook"} 800`,
		`waybill_deliveries_finished_total{status="delivered",type="webhook"} 800`,
		`waybill_attempt_retries_total{trigger="automatic",type="webhook"} 800`,
		`waybill_delivery_latency_seconds_sum{type="webhook"} 800`, `waybill_queue_wait_seconds_count{queue="retry"} 800`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}

// BenchmarkRecorded is what counting a delivery costs.
func BenchmarkRecorded(b *testing.B) {
	m := New("bench")
	out := make([]Outcome, 50)
	for i := range out {
		out[i] = Outcome{Type: "webhook", Status: "delivered", Final: true, Attempted: true, OK: true, Number: 1, Took: time.Millisecond,
			Wait: time.Millisecond, Latency: time.Millisecond}
	}
	for b.Loop() {
		m.Recorded(out)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/50, "ns/delivery")
}
