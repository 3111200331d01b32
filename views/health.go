package views

import (
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/alertrule"
)

// Health is how a destination does, for the first of its pages.
type Health struct {
	Health  *models.Health
	Off     bool          // the destination is disabled
	Limit   int           // deliveries in a row after which it is disabled; 0 for never
	Least   time.Duration // and for how long they must have failed
	Day     models.Rates
	History []models.HealthBucket // the last 24 hours by the hour, without the empty ones
	Changes []models.StateChange
	Alerts  []*models.Alert // open ones
	Now     time.Time
	Wait    *models.Wait // why deliveries that are due wait; nil when none does
}

// sentence says in a line how the destination does: "98.2% of 1,200 deliveries in the
// last 24 hours arrived with the first attempt. 3 deliveries in a row have failed since 17:20 UTC."
func (v Health) sentence(z Zone) string {
	s := "Nothing was sent in the last 24 hours"
	if v.Day.Deliveries > 0 {
		s = fmt.Sprintf("%s of %s in the last 24 hours arrived with the first attempt", percent(v.Day.DeliveredPercent()),
			plural(v.Day.Deliveries, "delivery"))
	}
	h := v.Health
	if h.Failures == 0 {
		if h.LastSuccess != nil {
			s += "; the last attempt succeeded"
		}
		return s + "."
	}
	streak := alertrule.Streak{Failures: h.Failures, Since: h.Since, Limit: v.Limit, Least: v.Least}
	if v.Off {
		streak.Limit = 0
	}
	return s + ". " + streak.Sentence(z.in(v.Now))
}

func (v Health) facts(z Zone) []Fact {
	var facts []Fact
	h := v.Health
	if h.LastSuccess != nil {
		facts = append(facts, Fact{Label: "Last success", Time: *h.LastSuccess})
	}
	if h.LastFailure != nil {
		facts = append(facts, Fact{Label: "Last failure", Time: *h.LastFailure})
	}
	if h.Failures > 0 && h.Error != "" {
		facts = append(facts, Fact{Label: "Last error", Text: h.Error})
		if h.Advice != "" {
			facts = append(facts, Fact{Label: "What to do", Text: h.Advice})
		}
	}
	if h.CertificateEnds != nil {
		facts = append(facts, Fact{Label: "Certificate", Text: certificateText(z, *h.CertificateEnds, v.Now)})
	}
	return facts
}

// certificateText says until when a certificate is valid.
func certificateText(z Zone, ends, now time.Time) string {
	at := z.format(ends, "2 January 2006, 15:04")
	switch left := ends.Sub(now); {
	case left <= 0:
		return "Ended on " + at
	case left < 24*time.Hour:
		return "Valid until " + at + ", for less than a day"
	default:
		return "Valid until " + at + ", for " + span(left.Truncate(24*time.Hour))
	}
}

// chart are the hours of the last day.
func (v Health) chart() Chart {
	const hours = 24
	c := Chart{ID: "health", Caption: "Deliveries of the last 24 hours", Begin: v.Now.UTC().Truncate(time.Hour).Add(-(hours - 1) * time.Hour),
		Bucket: time.Hour, Height: 120, Series: []Series{{Name: "First attempt succeeded", Class: "b-ok", Values: make([]int, hours)},
			{Name: "First attempt failed", Class: "b-bad", Hatch: true, Values: make([]int, hours)}}}
	for _, b := range v.History {
		if i := int(b.Start.Sub(c.Begin) / c.Bucket); i >= 0 && i < hours {
			c.Series[0].Values[i], c.Series[1].Values[i] = b.Deliveries-b.Failed, b.Failed
		}
	}
	return c
}

// changeText says what has happened to a destination.
func changeText(c models.StateChange) string {
	switch {
	case !c.Disabled:
		return "Enabled by " + c.Actor
	case c.Actor == "Waybill":
		return "Disabled by Waybill"
	}
	return "Disabled by " + c.Actor
}

func changeLook(c models.StateChange) Look {
	if c.Disabled {
		return Look{ToneHold, "pause", "Disabled"}
	}
	return Look{ToneOK, "power", "Enabled"}
}

// disableAfterText says when a destination is disabled by itself.
func disableAfterText(limit int) string {
	if limit == 0 {
		return "Never by itself"
	}
	return plural(limit, "failing delivery") + " in a row"
}

// waitText says why deliveries wait, and until when about.
func waitText(z Zone, w *models.Wait, now time.Time) string {
	at := w.Expected(now)
	switch {
	case w.Until.After(now):
		return w.Reason() + " It is tried again at " + z.hourMinute(at, now) + "."
	case at.IsZero() || w.Waiting == 0:
		return w.Reason()
	}
	return w.Reason() + " All will have been tried by about " + z.hourMinute(at, now) + "."
}
