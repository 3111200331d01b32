package models

import (
	"math"
	"slices"
	"strings"
)

// latencies reports whether a measure is asked for that cannot be summed up, so that rows are not grouped before they have names.
func (mq MeasureQuery) latencies() bool {
	return slices.ContainsFunc(mq.Measures, func(m string) bool { return strings.HasSuffix(m, "_latency") })
}

// counted are the numbers of one group of rows.
type counted struct {
	n, ok, first, manual, numbers int64
	avg                           *float64  // latency in microseconds; nil for none
	percentiles                   []float64 // the same: p50, p95, p99
}

// latency is a measure of latency in milliseconds; nil for none.
func (c counted) latency(percentile int) any {
	switch {
	case c.avg == nil:
		return nil
	case percentile < 0:
		return math.Round(*c.avg) / 1000
	}
	return math.Round(c.percentiles[percentile]) / 1000
}
