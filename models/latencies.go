package models

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"time"
)

// latencies counts durations by size, so that percentiles of any span can be told from sums of short ones. Each octave has
// latencySteps classes of the same ratio, from shortestLatency on: what is told is within 5 % of the truth.
type latencies map[uint16]uint64

const (
	latencySteps    = 8
	shortestLatency = 100 * time.Microsecond
)

func (l *latencies) add(d time.Duration) {
	if *l == nil {
		*l = latencies{}
	}
	(*l)[uint16(max(0, math.Floor(latencySteps*math.Log2(max(float64(d), 1)/float64(shortestLatency)))))]++
}

// merge adds what pack has written.
func (l *latencies) merge(packed []byte) {
	for len(packed) > 0 {
		class, n := binary.Uvarint(packed)
		if n <= 0 {
			return
		}
		count, m := binary.Uvarint(packed[n:])
		if m <= 0 {
			return
		}
		if *l == nil {
			*l = latencies{}
		}
		(*l)[uint16(class)] += count
		packed = packed[n+m:]
	}
}

func (l *latencies) mergeAll(o latencies) {
	for class, n := range o {
		if *l == nil {
			*l = latencies{}
		}
		(*l)[class] += n
	}
}

// pack writes the classes that have any, as pairs of class and count; nil for none.
func (l latencies) pack() (out []byte) {
	for _, class := range slices.Sorted(maps.Keys(l)) {
		out = binary.AppendUvarint(binary.AppendUvarint(out, uint64(class)), l[class])
	}
	return out
}

// percentile is the duration that a share p of all does not exceed, 0 < p <= 1; ok is false when there is none at all.
func (l latencies) percentile(p float64) (d time.Duration, ok bool) {
	var total uint64
	for _, n := range l {
		total += n
	}
	if total == 0 {
		return 0, false
	}
	rank := p * float64(total)
	for _, class := range slices.Sorted(maps.Keys(l)) {
		n := float64(l[class])
		if rank <= n {
			// Within the class they are taken to be spread evenly on the scale of ratios.
			return time.Duration(float64(shortestLatency) * math.Exp2((float64(class)+rank/n)/latencySteps)), true
		}
		rank -= n
	}
	return 0, false
}
