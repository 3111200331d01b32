package views

import (
	"net/url"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// histogramSeries are the states of events from below, with the states of their worst deliveries.
var histogramSeries = []struct {
	Series
	states []string
}{
	{Series{Name: "Delivered", Class: "b-ok"}, []string{models.StatusDelivered}},
	{Series{Name: "Pending", Class: "b-wait"}, []string{models.StatusPending, models.StatusDelivering}},
	{Series{Name: "Retrying", Class: "b-warn"}, []string{models.StatusRetrying}},
	{Series{Name: "Held", Class: "b-hold"}, []string{models.StatusHeld}},
	{Series{Name: "Failed", Class: "b-bad", Hatch: true}, []string{models.StatusFailed}},
	{Series{Name: "Not sent", Class: "b-off"}, []string{models.StatusFilteredOut, models.StatusCancelled, models.StatusNone}},
}

// chart is the histogram over the list. Its bars, or a part that is drawn over them, choose a time.
func (v Events) chart() Chart {
	h := v.Histogram
	c := Chart{ID: "when", Caption: "Events over time, by their worst delivery", Begin: h.Since, Height: 48, Bare: true,
		Bucket: h.Until.Sub(h.Since) / time.Duration(max(1, len(h.Buckets))),
		URL: func(from, until time.Time) string {
			q := replaced(v.Query, "event")
			q.Del("range")
			q.Set("since", from.UTC().Format(time.RFC3339))
			q.Set("until", until.UTC().Add(time.Second-1).Truncate(time.Second).Format(time.RFC3339))
			return with(EventsURL(v.Tenant), q)
		}}
	for _, s := range histogramSeries {
		total := 0
		for _, b := range h.Buckets {
			n := 0
			for _, state := range s.states {
				n += b.States[state]
			}
			s.Values = append(s.Values, n)
			total += n
		}
		if total > 0 {
			c.Series = append(c.Series, s.Series)
			c.Series[len(c.Series)-1].Values = s.Values
		}
	}
	return c
}

// histogramNote says where the numbers are no exact ones.
func (v Events) histogramNote() string {
	if v.Histogram.Complete {
		return ""
	}
	return "estimated from a sample"
}

// part is an address below the list's with its conditions: "live", "new", "counts", "export".
func (v Events) part(name string, more url.Values) string {
	q := replaced(v.Query, "event")
	q.Del("limit")
	for k, vs := range more {
		q[k] = vs
	}
	return with(EventURL(v.Tenant, name), q)
}

// savedViews are the views that somebody has saved, as links.
func (v Events) savedViews() []View {
	here := replaced(v.Query, "event").Encode()
	var out []View
	for _, s := range v.Views {
		q, err := url.ParseQuery(s.Query)
		if err != nil {
			continue // it was checked when it was saved
		}
		out = append(out, View{Label: s.Name, URL: with(EventsURL(v.Tenant), q), Current: q.Encode() == here, Count: s.ID()})
	}
	return out
}

// statusLinks are the views of all, by state, and the saved ones.
func (v Events) statusLinks() []View {
	list := statusViews(EventsURL(v.Tenant), replaced(v.Query, "event"), models.StatusFailed, models.StatusRetrying, models.StatusHeld,
		models.StatusFilteredOut)
	saved := v.savedViews()
	for i := range list {
		list[i].Count = countedStates[i]
	}
	for _, s := range saved {
		if s.Current {
			for i := range list {
				list[i].Current = false
			}
		}
	}
	return append(list, saved...)
}

// countedStates name the counts of the views by state, in their order.
var countedStates = []string{"all", models.StatusFailed, models.StatusRetrying, models.StatusHeld, models.StatusFilteredOut}

// current is the saved view that is shown; nil for none.
func (v Events) current() *models.SavedView {
	for i, w := range v.savedViews() {
		if w.Current {
			return v.Views[i]
		}
	}
	return nil
}

// savable reports whether there is anything to save: conditions that no view has.
func (v Events) savable() bool {
	q := replaced(v.Query, "event")
	q.Del("limit")
	return v.Viewer.Write && len(q) > 0 && v.current() == nil
}
