package views

import (
	"fmt"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// Chart shows deliveries over time: a bar for each bucket, in which those whose first attempt failed are hatched.
type Chart struct {
	ID      string                             // unique on the page
	Period  string                             // "the last 24 hours"
	Begin   time.Time                          // of the first bucket
	Bucket  time.Duration                      // length of each
	Count   int                                // of buckets, the empty ones as well
	History []models.HealthBucket              // without the empty ones, in order
	URL     func(from, until time.Time) string // the list behind a bucket; nil for none
}

// chartBar is a bucket of a chart: heights of its two parts.
type chartBar struct {
	x, okY, okHeight, badY, badHeight string
}

// The measures of a chart, in units of its own.
const (
	barWidth    = 12
	barStep     = barWidth + 2
	chartHeight = 48
)

func (c Chart) bars() []chartBar {
	most := 1
	for _, b := range c.History {
		most = max(most, b.Deliveries)
	}
	var out []chartBar
	for _, b := range c.History {
		i := int(b.Start.Sub(c.Begin) / c.Bucket)
		if i < 0 || i >= c.Count || b.Deliveries == 0 {
			continue
		}
		bad := float64(b.Failed) / float64(most) * chartHeight
		ok := float64(b.Deliveries-b.Failed) / float64(most) * chartHeight
		f := func(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }
		out = append(out, chartBar{x: strconv.Itoa(i*barStep + 1), okY: f(chartHeight - ok), okHeight: f(ok),
			badY: f(chartHeight - ok - bad), badHeight: f(bad)})
	}
	return out
}

func (c Chart) title() string {
	r := models.Sum(c.History)
	return fmt.Sprintf("Deliveries of %s: %s, %s failed at first", c.Period, count(r.Deliveries), count(r.Failed))
}

func (c Chart) width() string { return strconv.Itoa(c.Count * barStep) }

func (c Chart) viewBox() string { return "0 0 " + c.width() + " " + strconv.Itoa(chartHeight) }

func (c Chart) base() string { return strconv.FormatFloat(chartHeight-0.5, 'f', 1, 64) }

// step says how long a bucket is: "Hour".
func (c Chart) step() string {
	if c.Bucket == time.Hour {
		return "Hour"
	}
	return span(c.Bucket) + " from"
}
