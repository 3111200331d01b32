package models

import (
	"math"
	"slices"
	"testing"
	"time"
)

// TestLatencies holds percentiles of sums against those of the durations themselves: they may differ by 5 %.
func TestLatencies(t *testing.T) {
	t.Parallel()
	if _, ok := (latencies{}).percentile(0.5); ok {
		t.Error("a percentile of nothing")
	}
	var sum latencies
	var all []time.Duration
	for part := range 4 {
		var l latencies
		for i := range 500 {
			d := time.Duration(math.Exp(float64(i*7+part)/180) * float64(time.Millisecond))
			l.add(d)
			all = append(all, d)
		}
		sum.merge(l.pack())
	}
	slices.Sort(all)
	for _, p := range []float64{0.01, 0.5, 0.95, 0.99, 1} {
		want := all[int(math.Ceil(p*float64(len(all))))-1]
		got, ok := sum.percentile(p)
		if ratio := float64(got) / float64(want); !ok || ratio < 0.95 || ratio > 1.09 {
			t.Errorf("p%v: %v, want about %v", 100*p, got, want)
		}
	}
	var short latencies
	short.add(0)
	short.add(-time.Second) // by two clocks
	if got, _ := short.percentile(1); got > 200*time.Microsecond {
		t.Errorf("no time at all: %v", got)
	}
	short.merge([]byte{0xff}) // cut off
	if len(short) != 1 {
		t.Errorf("%v", short)
	}
}
