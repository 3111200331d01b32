package views

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// destinationTitle is what people see as the name of a delivery's destination.
func destinationTitle(d *models.Delivery) string {
	if d.Destination != nil {
		return d.Destination.Title()
	}
	return d.DestinationID
}

// failedURL is the list of a destination's failed deliveries.
func failedURL(tenant, destination string) string {
	return with(DestinationURL(tenant, destination, "deliveries"), url.Values{"status": {models.StatusFailed}})
}

// FailingURL lists what an alert about a destination is about: deliveries that failed for good, that are tried again, and
// that are held since it was disabled. waiting adds those that no attempt was made for, of alerts about events that wait.
func FailingURL(tenant, destination string, waiting bool) string {
	status := []string{models.StatusFailed, models.StatusRetrying, models.StatusHeld}
	if waiting {
		status = append(status, models.StatusPending)
	}
	return with(DestinationURL(tenant, destination, "deliveries"), url.Values{"status": status})
}

func heldText(n int, more bool) string {
	if n == 1 && !more {
		return "1 delivery is held."
	}
	return figure(n, more) + " deliveries are held."
}

// deliveryNote says why a delivery is in its state, or what comes next, in one sentence; empty when the state says all.
func deliveryNote(z Zone, d *models.Delivery) string {
	switch {
	case !d.Final() && d.Reason != "":
		note := d.Reason
		if d.NextAttemptAt != nil {
			about := ""
			if d.Waits {
				about = "about "
			}
			note += fmt.Sprintf(" Next attempt at %s%s.", about, z.hourMinute(*d.NextAttemptAt, time.Now()))
		}
		if d.Error != "" {
			note += " Last error: " + d.Error
		}
		return note
	case d.Status == models.StatusRetrying && d.NextAttemptAt != nil:
		note := fmt.Sprintf("Next attempt at %s.", z.hourMinute(*d.NextAttemptAt, d.UpdatedAt))
		if d.Error != "" {
			note += " Last error: " + d.Error
		}
		return note
	case d.Status == models.StatusFailed && d.Error != "" && !strings.Contains(d.Reason, d.Error):
		return strings.TrimSpace(ended(d.Reason) + " Last error: " + d.Error)
	case d.Reason != "":
		return d.Reason
	case d.Status != models.StatusDelivered:
		return d.Error
	}
	return ""
}

// canRetry reports whether a delivery can be queued for an attempt by hand; it is not when it is on its way, or when nothing is
// left to send.
func canRetry(d *models.Delivery) bool {
	return d.ErasedAt == nil && d.Status != models.StatusPending && d.Status != models.StatusDelivering
}

// maxRetriedAtOnce is how many failed deliveries of an event its page retries with one click. More go by way of a plan.
const maxRetriedAtOnce = 100

// FailedOf are the deliveries that have failed and can be retried by hand now: not those of destinations that are disabled
// or deleted, and not those of events whose data was erased.
func FailedOf(list []*models.Delivery) []*models.Delivery {
	var out []*models.Delivery
	for _, d := range list {
		if d.Status == models.StatusFailed && d.ErasedAt == nil && (d.Destination == nil ||
			d.Destination.DisabledAt == nil && d.Destination.DeletedAt == nil) {
			out = append(out, d)
		}
	}
	return out
}

// Deliveries is a number of deliveries in words.
func Deliveries(n int) string { return plurals(n, "delivery", "deliveries") }

// canCancel reports whether a delivery can be called off.
func canCancel(d *models.Delivery) bool {
	return d.Status == models.StatusPending || d.Status == models.StatusRetrying || d.Status == models.StatusHeld
}

// waitsForDestination reports whether a delivery to a disabled destination would go on if that were enabled.
func waitsForDestination(d *models.Delivery) bool {
	return d.Status == models.StatusHeld || d.Status == models.StatusRetrying || d.Status == models.StatusFailed
}

// retryLabel is the word of the button that queues a delivery for an attempt.
func retryLabel(d *models.Delivery) string {
	switch d.Status {
	case models.StatusDelivered:
		return "Send again"
	case models.StatusFilteredOut:
		return "Send anyway"
	case models.StatusRetrying:
		return "Retry now"
	}
	return "Retry"
}

// settled reports whether the deliveries' short-lived states are over. What waits for a retry may wait for hours; a page
// does not refresh itself for that long.
func settled(list []*models.Delivery) bool {
	for _, d := range list {
		if d.Status == models.StatusPending || d.Status == models.StatusDelivering {
			return false
		}
	}
	return true
}

// underWay says what goes on with deliveries that are not settled: an attempt is only said to be made where one is.
// A first one leaves no mark before it is over, so that nobody knows whether it has begun.
func underWay(list []*models.Delivery) string {
	waits := false
	for _, d := range list {
		switch {
		case d.Waits || !d.Final() && d.Reason != "":
			waits = true
		case d.Status == models.StatusDelivering:
			return "An attempt is under way."
		}
	}
	if waits {
		return "Deliveries wait; the table says what for."
	}
	return "No attempt has ended yet."
}

// statusViews are the quick views of a list by status.
func statusViews(base string, q url.Values, statuses ...string) []View {
	status := strings.Join(q["status"], ",")
	out := []View{{Label: "All", URL: with(base, replaced(q, "status")), Current: status == ""}}
	for _, s := range statuses {
		out = append(out, View{Label: statusLook(s).Word, URL: with(base, replaced(q, "status", s)), Current: status == s})
	}
	return out
}

// codeText is a status code, which is no quantity: it has no thousands.
func codeText(code int) string { return strconv.Itoa(code) }

// saidAbove reports whether what holds a delivery is that its destination is disabled, which the head of the destination's
// pages says once, with the way to enable it.
func saidAbove(d *models.Delivery) bool {
	return d.Status == models.StatusHeld && d.Destination != nil && d.Destination.DisabledAt != nil
}
