package views

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// Inspector shows an event beside the list that it is in: every destination with what became of the event there, and the
// attempts of one of them with request and response.
type Inspector struct {
	Event
	Delivery *models.Delivery // the one that is chosen; nil when there is none
	Attempt  *Attempt         // the one that is chosen; nil when none was made
	List     string           // the address of the list
}

// part is the address of the inspector with another delivery or attempt.
func (v Inspector) part(name, id string) string {
	return with(v.self(), url.Values{"panel": {"1"}, name: {id}, "list": {v.List}})
}

// PanelURL is the address of an event's inspector.
func PanelURL(tenant, event, list string) string {
	return with(EventURL(tenant, event), url.Values{"panel": {"1"}, "list": {list}})
}

// Worst is the delivery that should be looked at first: the worst one, of these the one that failed last.
func Worst(list []*models.Delivery) *models.Delivery {
	if len(list) == 0 {
		return nil
	}
	rank := func(d *models.Delivery) int {
		i := slices.Index([]string{models.StatusFailed, models.StatusRetrying, models.StatusHeld, models.StatusDelivering,
			models.StatusPending, models.StatusDelivered}, d.Status)
		if i < 0 {
			return 99
		}
		return i
	}
	return slices.MinFunc(list, func(a, b *models.Delivery) int { return cmp.Compare(rank(a), rank(b)) })
}

// tries are the attempts of the chosen delivery, the first one first.
func (v Inspector) tries() []*models.Attempt {
	var out []*models.Attempt
	for _, a := range v.Attempts {
		if v.Delivery != nil && a.DeliveryKey == v.Delivery.DeliveryKey {
			out = append(out, a)
		}
	}
	slices.Reverse(out)
	return out
}

// counts says what became of the event in a line: "3 delivered, 1 failed".
func (v Inspector) counts() string {
	var parts []string
	for _, s := range []string{models.StatusFailed, models.StatusRetrying, models.StatusHeld, models.StatusPending,
		models.StatusDelivering, models.StatusDelivered, models.StatusFilteredOut, models.StatusCancelled} {
		if n := v.Considered.Event.Counts[s]; n > 0 {
			parts = append(parts, count(n)+" "+strings.ToLower(statusLook(s).Word))
		}
	}
	if len(parts) == 0 {
		return "no destination matched"
	}
	return strings.Join(parts, ", ")
}

// brief is why a delivery is where it is, in a few words.
func brief(z Zone, d *models.Delivery) string {
	if d.Waits {
		return deliveryNote(z, d)
	}
	switch d.Status {
	case models.StatusDelivered:
		if d.LastCode != 0 {
			return codeText(d.LastCode)
		}
		return ""
	case models.StatusFailed, models.StatusRetrying:
		return outcome(d.LastCode, d.ErrorClass)
	case models.StatusHeld:
		if d.Destination != nil && d.Destination.DisabledAt != nil {
			return "disabled since " + z.in(*d.Destination.DisabledAt).Format("2 January 15:04")
		}
	}
	return shorten(d.Reason, 120)
}

// outcome is an answer in short: the status, or else the kind of error.
func outcome(code int, class string) string {
	if code != 0 {
		return codeText(code)
	}
	return strings.ToLower(className(class))
}

// where names the destinations that an event's state is about, with why: "Legacy CRM: 500".
func (v Events) where(z Zone, e *models.Event) string {
	if len(e.Worst) == 0 || e.Counts.Total() == 0 {
		return ""
	}
	var names []string
	for _, w := range e.Worst {
		names = append(names, cmp.Or(w.Name, optionLabel(v.Destinations, w.Destination)))
	}
	text := names[0]
	switch {
	case len(names) == 2:
		text = strings.Join(names, ", ")
	case len(names) > 2:
		text += " and " + count(len(names)-1) + " more"
	}
	w := e.Worst[0]
	if w.Status == models.StatusHeld {
		return text + ": disabled"
	}
	if why := waitsWhy(e.Worst); why != "" {
		return text + ": " + why
	}
	if o := outcome(w.Code, w.Class); o != "" && len(names) == 1 && (w.Status == models.StatusFailed || w.Status == models.StatusRetrying) {
		text += ": " + o
		if w.Status == models.StatusRetrying && w.Next != nil {
			text += ", again at " + z.hourMinute(*w.Next, time.Now())
		}
	}
	return text
}

// waitsWhy is why deliveries wait, where the same holds for all of them; empty for no reason.
func waitsWhy(list []models.Trouble) string {
	for _, t := range list[1:] {
		if t.Wait != list[0].Wait {
			return ""
		}
	}
	return strings.TrimPrefix(list[0].Wait, "Waits: ")
}

// returning is the page that forms of the inspector lead back to.
func (v Inspector) returning() Page {
	p := v.Page
	p.Here = v.List
	return p
}

// answered says how much came back, and how long that took.
func (v Attempt) answered() string {
	if v.Code == 0 && len(v.ResponseBody) == 0 {
		return took(v.Duration)
	}
	return size(len(v.ResponseBody)) + ", " + took(v.Duration)
}

// ListURL is the address of the list without the event that is shown beside it.
func (v Events) ListURL() string { return with(EventsURL(v.Tenant), replaced(v.Query, "event")) }
