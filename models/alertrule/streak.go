package alertrule

import (
	"time"

	"github.com/waybill-dev/waybill/models/units"
)

// Streak is that deliveries to a destination fail, one after the other. Pages, alerts and messages say it in the same words.
type Streak struct {
	Failures int
	Since    *time.Time    // the first failure; nil when that is not known
	Limit    int           // of Failures, at which the destination is disabled; 0 for never
	Least    time.Duration // and only once they have lasted so long
}

// Sentence says it as of now, in the zone of now: "87 deliveries in a row have failed since 17:20 UTC. At 100 it is disabled and new events are held."
func (s Streak) Sentence(now time.Time) string {
	text := units.Count(s.Failures, "delivery has failed", "deliveries in a row have failed")
	if s.Since != nil {
		text += " since " + clock(*s.Since, now)
	}
	switch {
	case s.Limit > 0 && s.Failures < s.Limit:
		text += ". At " + units.Thousands(s.Limit) + " it is disabled and new events are held"
	case s.Limit > 0 && s.Least > 0:
		text += ". Once they have failed for " + units.Span(s.Least) + ", it is disabled and new events are held"
	}
	return text + "."
}

// clock is a time in a sentence, with the date where that is not the one of now: "17:20 UTC", "2 March 17:20 UTC".
func clock(t, now time.Time) string {
	t = t.In(now.Location())
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04 MST")
	}
	return t.Format("2 January 15:04 MST")
}

// recent is the streak of a destination that still fails, or that a peak of n failures is all that is left of.
func recent(d *Subject, n int) string {
	text := units.Count(n, "delivery", "deliveries in a row") + " failed."
	if d.Health.Failures >= n {
		text = Streak{Failures: n, Since: d.Health.Since, Limit: d.Limit, Least: d.Least}.Sentence(d.Now.UTC())
	}
	return text + lastError(d.Health)
}

func lastError(h Health) string {
	if h.Error == "" {
		return ""
	}
	return " Last error: " + h.Error + Ended(h.Error)
}
