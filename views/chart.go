package views

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Chart shows numbers over time: a bar for each bucket, made of the series one upon the other.
type Chart struct {
	ID      string    // unique on the page
	Caption string    // "Deliveries of the last 24 hours"
	Begin   time.Time // ChartView says times in the zone of the page
	Bucket  time.Duration
	Height  int // of the drawing, in pixels
	Series  []Series
	Bare    bool                               // without the values at the left and the table below
	URL     func(from, until time.Time) string // the list behind a bucket; nil for none
}

// Series is a kind of number, from the first bucket to the last.
type Series struct {
	Name   string // "Delivered"
	Class  string // of its colour: "b-ok"
	Hatch  bool   // colour alone does not tell it apart
	Values []int
}

func (s Series) total() (n int) {
	for _, v := range s.Values {
		n += v
	}
	return n
}

// chartWidth is the width of a drawing in its own units. It is stretched to the width of the page.
const chartWidth = 1120

func (c Chart) count() int {
	if len(c.Series) == 0 {
		return 0
	}
	return len(c.Series[0].Values)
}

func (c Chart) sum(i int) (n int) {
	for _, s := range c.Series {
		n += s.Values[i]
	}
	return n
}

func (c Chart) empty() bool {
	return !slices.ContainsFunc(c.Series, func(s Series) bool { return s.total() > 0 })
}

// top is the number at the top of the chart: a round one. One bar that is many times as high as the others does not flatten them:
// it is cut off, and says so.
func (c Chart) top() int {
	sums := make([]int, c.count())
	for i := range sums {
		sums[i] = c.sum(i)
	}
	slices.Sort(sums)
	sums = slices.DeleteFunc(sums, func(n int) bool { return n == 0 })
	if len(sums) == 0 {
		return 1
	}
	most, usual := sums[len(sums)-1], sums[(len(sums)-1)*95/100]
	if len(sums) > 20 && most > 4*usual {
		most = 2 * usual
	}
	return roundUp(most)
}

// roundUp is the next number that people call round.
func roundUp(n int) int {
	if n <= 4 {
		return max(2, n+n%2)
	}
	power := math.Pow10(int(math.Log10(float64(n))))
	for _, f := range []float64{1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10} {
		if x := int(f * power); x >= n && x%2 == 0 {
			return x
		}
	}
	return int(10 * power)
}

// chartBar is a bucket as it is drawn.
type chartBar struct {
	x, width string // of the bar
	hit      string // left end of the whole bucket
	say      string
	url      string
	parts    []chartPart
	cut      bool // higher than the chart
}

type chartPart struct {
	class, y, height string
	hatch            bool
}

func decimal(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

func (c Chart) bars() []chartBar {
	n, top, height := c.count(), float64(c.top()), float64(c.Height)
	step := float64(chartWidth) / float64(max(n, 1))
	gap := 3.0
	if n > 60 {
		gap = 1
	}
	out := make([]chartBar, n)
	for i := range out {
		b := chartBar{x: decimal(float64(i)*step + gap/2), width: decimal(step - gap), hit: decimal(float64(i) * step), say: c.say(i),
			cut: float64(c.sum(i)) > top}
		if c.URL != nil {
			b.url = c.URL(c.start(i), c.start(i+1))
		}
		y := height
		for _, s := range c.Series {
			if s.Values[i] == 0 || y <= 0 {
				continue
			}
			h := min(y, max(1.5, float64(s.Values[i])*height/top))
			y -= h
			b.parts = append(b.parts, chartPart{s.Class, decimal(y), decimal(h), s.Hatch})
		}
		out[i] = b
	}
	return out
}

func (c Chart) start(i int) time.Time { return c.Begin.Add(time.Duration(i) * c.Bucket) }

// say is a bucket in words: "17:00 to 17:30: 561 delivered, 22 failed".
func (c Chart) say(i int) string {
	parts := make([]string, len(c.Series))
	for j, s := range c.Series {
		parts[j] = count(s.Values[i]) + " " + strings.ToLower(s.Name)
	}
	return c.label(i) + ": " + strings.Join(parts, ", ")
}

// label is the time of a bucket, in the zone of Begin.
func (c Chart) label(i int) string {
	from, until := c.start(i), c.start(i+1)
	switch {
	case c.Bucket < time.Minute:
		return from.Format("15:04:05") + " to " + until.Format("15:04:05")
	case c.span() <= 25*time.Hour:
		return from.Format("15:04") + " to " + until.Format("15:04")
	}
	return from.Format("2 Jan 15:04") + " to " + until.Format("2 Jan 15:04")
}

func (c Chart) span() time.Duration { return time.Duration(c.count()) * c.Bucket }

// ticks are the labels below the chart, at the same distance from each other.
func (c Chart) ticks() []string {
	const many = 6
	layout := "15:04"
	if c.span() > 25*time.Hour {
		layout = "2 Jan"
	}
	out := make([]string, 0, many+1)
	for i := range many {
		out = append(out, c.Begin.Add(c.span()*time.Duration(i)/many).Format(layout))
	}
	return append(out, c.Begin.Add(c.span()).Format(layout))
}

// each says how long a bucket is: "per 30 min".
func (c Chart) each() string { return "per " + span(c.Bucket) }

func (c Chart) viewBox() string { return fmt.Sprintf("0 0 %d %d", chartWidth, c.Height) }

// Spark is a line without axes beside a number that says the same.
type Spark struct {
	Tone   Tone
	Values []float64
}

const sparkWidth, sparkHeight = 72, 20

func (s Spark) points() string {
	most := slices.Max(append(slices.Clone(s.Values), 0))
	if most == 0 {
		most = 1
	}
	var b strings.Builder
	for i, v := range s.Values {
		x := float64(i) * sparkWidth / float64(max(1, len(s.Values)-1))
		fmt.Fprintf(&b, "%.1f %.1f ", x, sparkHeight-1-v/most*(sparkHeight-3))
	}
	return strings.TrimSpace(b.String())
}

func (s Spark) class() string {
	switch s.Tone {
	case ToneBad:
		return "spark bad"
	case ToneHold:
		return "spark hold"
	}
	return "spark"
}
