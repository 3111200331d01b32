package views

import (
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/models"
)

// Look is how a state is shown: its tone, icon and word.
type Look struct {
	Tone Tone
	Icon string
	Word string
}

// deliveryLooks are the words for the states of a delivery, the same everywhere.
var deliveryLooks = map[string]Look{
	models.StatusPending:     {ToneInfo, "clock", "Pending"},
	models.StatusDelivering:  {ToneInfo, "send", "Delivering"},
	models.StatusDelivered:   {ToneOK, "check", "Delivered"},
	models.StatusRetrying:    {ToneWarn, "rotate-ccw", "Retrying"},
	models.StatusFailed:      {ToneBad, "x", "Failed"},
	models.StatusHeld:        {ToneHold, "pause", "Held"},
	models.StatusFilteredOut: {ToneMute, "circle-slash", "Filtered out"},
	models.StatusCancelled:   {ToneMute, "ban", "Cancelled"},
}

// statusLook is how the state of a delivery is shown.
func statusLook(status string) Look {
	if l, ok := deliveryLooks[status]; ok {
		return l
	}
	return Look{ToneMute, "info", status}
}

// deliveryLook is how a delivery is shown, with where it stands between attempts: "Retrying 3 of 10".
func deliveryLook(d *models.Delivery) Look {
	l := statusLook(d.Status)
	if d.Waits && d.Status == models.StatusDelivering {
		l = statusLook(models.StatusPending) // a worker has it, and makes no attempt yet
	}
	if d.Status == models.StatusRetrying && d.MaxAttempts > 0 {
		l.Word = fmt.Sprintf("Retrying %d of %d", d.Attempts, d.MaxAttempts)
	}
	return l
}

// skippedLook is how a destination is shown that an event did not concern.
var skippedLook = Look{ToneMute, "skip-forward", "Not sent"}

// attemptLook is how an attempt is shown.
func attemptLook(a *models.Attempt) Look {
	if a.OK {
		return Look{ToneOK, "check", "Succeeded"}
	}
	return Look{ToneBad, "x", "Failed"}
}

// destinationLook is how a destination's state is shown.
func destinationLook(d *models.Destination) Look {
	if d.DisabledAt == nil && d.Health != nil && d.Health.Failures > 0 {
		return Look{ToneBad, "triangle-alert", "Failing"}
	}
	if d.DisabledAt == nil {
		return Look{ToneOK, "check", "Active"}
	}
	return Look{ToneHold, "pause", "Disabled"}
}

// disabledBy says who disabled a destination, for sentences: "Disabled by Ann", "Disabled by Waybill".
func disabledBy(d *models.Destination) string {
	if d.DisabledBy == "" || d.DisabledBy == "Waybill" {
		return "Disabled by Waybill"
	}
	return "Disabled by " + d.DisabledBy
}

// keyLook is how the state of an API key is shown.
func keyLook(state string) Look {
	switch state {
	case "active":
		return Look{ToneOK, "check", "Active"}
	case "expired":
		return Look{ToneWarn, "clock", "Expired"}
	}
	return Look{ToneMute, "ban", "Revoked"}
}

// rollup is the state of an event over all its deliveries, the worst first.
func rollup(c models.Counts) Look {
	going := c[models.StatusPending] + c[models.StatusDelivering]
	sent := c.Total() - c[models.StatusFilteredOut]
	of := func(n int, word string) string {
		if n == sent {
			if n == 1 {
				return strings.ToUpper(word[:1]) + word[1:]
			}
			return fmt.Sprintf("All %d %s", n, word)
		}
		return fmt.Sprintf("%d of %d %s", n, sent, word)
	}
	switch {
	case c.Total() == 0:
		return Look{ToneMute, "circle-slash", "No destination matched"}
	case sent == 0:
		return Look{ToneMute, "circle-slash", "Filtered out"}
	case c[models.StatusFailed] > 0:
		return Look{ToneBad, "x", of(c[models.StatusFailed], "failed")}
	case c[models.StatusRetrying] > 0:
		return Look{ToneWarn, "rotate-ccw", of(c[models.StatusRetrying], "retrying")}
	case c[models.StatusHeld] > 0:
		return Look{ToneHold, "pause", of(c[models.StatusHeld], "held")}
	case going > 0:
		return Look{ToneInfo, "clock", of(going, "pending")}
	case c[models.StatusDelivered] > 0:
		return Look{ToneOK, "check", of(c[models.StatusDelivered], "delivered")}
	}
	return Look{ToneMute, "ban", of(c[models.StatusCancelled], "cancelled")}
}

// triggerText says why an attempt was made, and for whom.
func triggerText(a *models.Attempt) string {
	by := func(word string) string {
		if a.Actor == "" {
			return word
		}
		return word + " by " + a.Actor
	}
	switch a.Trigger {
	case models.TriggerManual:
		return by("Manual")
	case models.TriggerBulk:
		return by("Bulk retry")
	case models.TriggerProbe:
		return by("Probe")
	case models.TriggerTest:
		return by("Test")
	}
	return "Automatic"
}

// ErrorClasses are the error classes as people read them in filters and lists.
var ErrorClasses = []Option{
	{Value: "dns", Label: "DNS"}, {Value: "connect", Label: "Connection"}, {Value: "tls", Label: "TLS"},
	{Value: "timeout", Label: "Timeout"},
	{Value: "redirect", Label: "Redirect"}, {Value: "auth", Label: "Credentials refused"}, {Value: "not_found", Label: "Not found"},
	{Value: "gone", Label: "Gone"}, {Value: "too_large", Label: "Too large"}, {Value: "rejected", Label: "Rejected"},
	{Value: "throttled", Label: "Throttled"}, {Value: "server", Label: "Server error"},
	{Value: "blocked", Label: "Blocked by network rules"},
	{Value: "config", Label: "Settings"}, {Value: "protocol", Label: "Answer not understood"},
	{Value: "aborted", Label: "Ended by receiver"},
	{Value: "internal", Label: "Internal"},
}

func className(class string) string {
	for _, o := range ErrorClasses {
		if o.Value == class {
			return o.Label
		}
	}
	return class
}

// statusOptions are the states of a delivery as choices of a filter.
func statusOptions() []Option {
	out := make([]Option, len(models.Statuses))
	for i, s := range models.Statuses {
		out[i] = Option{Value: s, Label: statusLook(s).Word}
	}
	return out
}
