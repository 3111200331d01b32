package bench

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/waybill-dev/waybill/models/units"
)

// mix is what a server is to be sized for.
type mix struct {
	rate      float64       // events a second, on average
	peak      float64       // events a second at the busiest hour; what processors and commits are sized for
	fanOut    float64       // destinations that an event goes to, on average
	size      float64       // bytes of an event's data
	retention time.Duration // that events are kept
	failing   float64       // percent of the deliveries that do not succeed with the first attempt
	attempts  float64       // that those take in all, on average
}

// need is what a mix takes.
type need struct {
	cores           float64 // of server and PostgreSQL together, at the peak
	disk, logAtPeak float64 // bytes; bytes a second of write-ahead log
	commits         float64 // a second at the peak: each waits for the disk
	memory          float64 // bytes
}

// What an event takes, as bench measured it on two cores that carried load and receiver too (29 November 2026, README.md and
// docs/scaling.md): the processor time of an event with one delivery by how many come in a second. Events that come together share
// their transactions, so that the time falls as the rate rises.
var eventTime = []struct{ rate, milliseconds float64 }{{1, 2.5}, {200, 1.8}, {7_000, 0.20}, {14_000, 0.10}, {20_000, 0.078}}

const (
	deliveryTime = 0.045 // ms of each delivery of an event after the first, and of each attempt after the first
	kibTime      = 0.008 // ms of each KiB of data after the first, accepted and sent once

	eventStored    = 0.25 // KiB of an event with its indexes, beside its data
	deliveryStored = 0.78 // KiB of a delivery with its first attempt: headers, times and indexes
	attemptStored  = 0.45 // KiB of each attempt after that
	eventLogged    = 0.15 // the same of the write-ahead log
	deliveryLogged = 1.02
	attemptLogged  = 0.65

	largestGroups = 250 // groups of events a second at the most, each with a commit for accepting and one for recording
	atRest        = 110 << 20
	perCore       = 100 << 20 // that server and PostgreSQL grow by under load
)

// timeOf is the processor time of an event with one delivery, in milliseconds, at a rate.
func timeOf(rate float64) float64 {
	last := eventTime[0]
	for _, p := range eventTime[1:] {
		if rate <= p.rate {
			share := math.Log(max(rate, last.rate)/last.rate) / math.Log(p.rate/last.rate)
			return math.Exp(math.Log(last.milliseconds) + share*(math.Log(p.milliseconds)-math.Log(last.milliseconds)))
		}
		last = p
	}
	return last.milliseconds
}

func (m mix) need() (n need) {
	kib := m.size / 1024
	again := m.fanOut * m.failing / 100 * (m.attempts - 1) // further attempts of an event's deliveries
	ms := timeOf(m.peak) + deliveryTime*max(0, m.fanOut-1+again) + kibTime*max(0, kib-1)*max(1, m.fanOut+again)
	n.cores = m.peak * ms / 1000
	stored := eventStored + kib + m.fanOut*deliveryStored + again*attemptStored
	n.disk = stored * 1024 * m.rate * m.retention.Seconds()
	n.logAtPeak = (eventLogged + kib + m.fanOut*deliveryLogged + again*attemptLogged) * 1024 * m.peak
	n.commits = 2 * min(m.peak, largestGroups)
	n.memory = atRest + perCore*math.Ceil(n.cores)
	return n
}

// problem is what is wrong with a mix; nil for nothing.
func (m mix) problem() error {
	switch {
	case !(m.rate > 0):
		return errors.New("-rate is required: events a second, on average")
	case m.peak < m.rate:
		return errors.New("-peak must be at least -rate")
	case m.fanOut < 0 || m.size < 0 || m.retention <= 0:
		return errors.New("-fan-out and -size must be 0 or more, and -retention more than 0")
	case m.failing < 0 || m.failing > 100:
		return errors.New("-failing is a percentage, from 0 to 100")
	case m.attempts < 1:
		return errors.New("-attempts must be 1 or more")
	}
	return nil
}

// Capacity says what a mix of events takes: processors, disk, write-ahead log, commits and memory, by figures that Run measured.
// Its errors are about args.
func Capacity(args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("capacity", flag.ContinueOnError)
	fs.SetOutput(stdout)
	m := mix{retention: 30 * 24 * time.Hour}
	fs.Float64Var(&m.rate, "rate", 0, "events a second, on average")
	fs.Float64Var(&m.peak, "peak", 0, "events a second at the busiest time; three times -rate when missing")
	fs.Float64Var(&m.fanOut, "fan-out", 1, "destinations that an event goes to, on average")
	fs.Float64Var(&m.size, "size", 1024, "bytes of an event's data, on average")
	fs.Func("retention", "how long events are kept, such as 14d; 30d when missing", func(text string) error {
		d, err := units.ParseDuration(text)
		m.retention = time.Duration(d)
		return err
	})
	fs.Float64Var(&m.failing, "failing", 2, "percent of the deliveries that do not succeed with the first attempt")
	fs.Float64Var(&m.attempts, "attempts", 4, "attempts that those take in all, on average")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("capacity takes flags only, and %q is none", fs.Arg(0))
	}
	if m.peak == 0 {
		m.peak = 3 * m.rate
	}
	if err := m.problem(); err != nil {
		return err
	}
	n := m.need()
	fmt.Fprintf(stdout, `For %s events a second (%s at the peak) to %s destinations each, %s of data, kept for %s:

  processors   %-10s for server and PostgreSQL at the peak; have twice as many, for what comes at once
  disk         %-10s for events, deliveries and attempts; have half as much again, for log, vacuum and a day more
  disk writes  %-10s of write-ahead log at the peak, and as much again by checkpoints
  commits      %-10s at the peak, each of which waits for the disk
  memory       %-10s for server and PostgreSQL, without PostgreSQL's cache: give that a fifth of a day's disk

These are figures of 'waybill bench' on two cores, in proportion: docs/scaling.md says which, and where they end. Measure your machine
with 'waybill bench -case one,few,fanout,steady -size %.0f'; should CPU/event of one be other than 0.10 ms, processors change in proportion.
`, number(m.rate), number(m.peak), number(m.fanOut), bytesOf(m.size), units.Span(m.retention), number(n.cores), bytesOf(n.disk),
		bytesOf(n.logAtPeak)+"/s", number(n.commits)+"/s", bytesOf(n.memory), max(m.size, minSize))
	return nil
}

// number is a number as people read it, with two digits where it is small.
func number(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.2g", v)
	}
	return units.Thousands(int(math.Round(v)))
}

// bytesOf is a size in the unit that fits.
func bytesOf(v float64) string {
	unit := 0
	names := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for ; v >= 1000 && unit < len(names)-1; unit++ {
		v /= 1024
	}
	if v < 10 {
		return fmt.Sprintf("%.2g %s", v, names[unit])
	}
	return fmt.Sprintf("%.0f %s", v, names[unit])
}
