package views

import (
	"net/url"

	"github.com/waybill-dev/waybill/models"
)

// Chosen are destinations that were selected in the list: what is the case with them, and as the plan of enabling or disabling them,
// what would become of each. A plan's form has destination_id, and action to enable, or reason_kind and reason to disable.
type Chosen struct {
	Page
	Do      string // "enable", "disable", or empty for neither
	List    []*models.Destination
	Missing int                      // of those that were selected are not there any more
	Waiting map[int64]models.Waiting // by the destination's key
	Many    bool                     // what waits could not be counted in time
	Form    Form
}

// What can be done with chosen destinations.
const (
	DoEnable  = "enable"
	DoDisable = "disable"
)

// ChosenURL shows destinations that were selected; with do it is the plan of that.
func ChosenURL(tenant, do string, ids []string) string {
	u := path("t", tenant, "selected-destinations")
	if do != "" {
		u += "/" + do
	}
	if len(ids) > 0 {
		u = with(u, url.Values{"destination_id": ids})
	}
	return u
}

// ids are those of the chosen destinations.
func (v Chosen) ids() []string {
	out := make([]string, len(v.List))
	for i, d := range v.List {
		out[i] = d.ID
	}
	return out
}

// applies are those that an action applies to.
func (v Chosen) applies(do string) (out []*models.Destination) {
	for _, d := range v.List {
		if (d.DisabledAt != nil) == (do == DoEnable) {
			out = append(out, d)
		}
	}
	return out
}

// waiting sums up what waits for those that the action applies to, or for all.
func (v Chosen) waiting() (w models.Waiting) {
	list := v.List
	if v.Do != "" {
		list = v.applies(v.Do)
	}
	for _, d := range list {
		w.Held += v.Waiting[d.Key].Held
		w.Retrying += v.Waiting[d.Key].Retrying
	}
	return w
}

// sum is what would be done, in a sentence.
func (v Chosen) sum() string {
	n, w := len(v.applies(v.Do)), v.waiting()
	many := v.Many
	switch {
	case v.Do == DoEnable && n == 0:
		return "None of them is disabled."
	case v.Do == DoDisable && n == 0:
		return "All of them are disabled already."
	case v.Do == DoEnable && many:
		return plural(n, "destination") + " will be enabled. They hold more deliveries than could be counted."
	case v.Do == DoEnable:
		return plural(n, "destination") + " will be enabled. Held deliveries: " + count(w.Held) + "."
	case many:
		return plural(n, "destination") + " will be disabled. More deliveries are waiting for a retry than could be counted; they are held when they are due."
	}
	return plural(n, "destination") + " will be disabled. Deliveries waiting for a retry, which are held when they are due: " + count(w.Retrying) + "."
}

// becomes says what an action does to a destination.
func (v Chosen) becomes(d *models.Destination) string {
	off := d.DisabledAt != nil
	switch {
	case v.Do == DoEnable && off:
		return "Enabled"
	case v.Do == DoDisable && !off:
		return "Disabled"
	}
	return "No change"
}

// options are what to do with what the destinations hold.
func (v Chosen) options() []Option {
	return Enable{Held: v.waiting().Held, More: v.Many}.options()
}

func (v Chosen) submit() string {
	n := plural(len(v.applies(v.Do)), "destination")
	if v.Do == DoEnable {
		return "Enable " + n
	}
	return "Disable " + n
}

// waitingText is a number of deliveries that wait.
func (v Chosen) waitingText(n int) string {
	if v.Many {
		return "Many"
	}
	return count(n)
}
