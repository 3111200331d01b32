package views

import (
	"time"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/models"
)

// Gallery shows every component in all its states. It is for those who develop Waybill, and what the accessibility checks
// run on; it is mounted in development builds only.
type Gallery struct {
	Page
}

// The gallery's data are made up and the same every time.
var galleryTime = time.Date(2026, 3, 14, 9, 26, 53, 589_000_000, time.UTC)

// galleryHostile is a text that is too long for its place, with characters that HTML must escape.
const galleryHostile = `<script>alert("x")</script> & "quotes" 'and' a_very_long_word_without_any_place_to_break_it_that_goes_on_and_on_and_on`

func galleryForm(refused bool) Form {
	f := Form{Values: map[string][]string{
		"name": {"Billing"}, "config.url": {"https://hooks.example.com/billing"}, "choice": {"webhook"}, "topics": {"order.created"},
		"mode": {"some"}, "enabled": {"true"}, KeyName("headers"): {"X-Team"}, ValueName("headers"): {"payments"},
		"notes": {"First line\nSecond line"},
	}}
	if refused {
		f.Values["config.url"] = []string{"hooks.example.com"}
		f.Err = &models.Error{Kind: models.KindInvalid, Message: "validation error", Fields: map[string]string{
			"name": "is required", "config.url": "must be an https:// URL", "choice": "is required",
			"topics[0]": `"x" is not in the catalogue: order.created`,
			"headers":   "must have at most 64 keys", "credentials.key": "is required", "mode": "is required",
			"enabled": "must be true or false",
		}}
	}
	return f
}

var galleryLabels = []Label{{"name", "Name"}, {"config.url", "URL"}, {"choice", "Type"}, {"topics", "Topics"}, {"mode", "Topics"},
	{"headers", "Headers"},
	{"credentials.key", "Access key"}, {"enabled", "Verify the certificate"}}

var galleryTopics = []Option{{Value: "order.created", Label: "order.created"}, {Value: "order.paid", Label: "order.paid"},
	{Value: "invoice.finalized", Label: "invoice.finalized"}}

func galleryDestination(disabled bool) *models.Destination {
	d := &models.Destination{Key: 1, ID: "des_0k3v9m2x7q1p8t5r4w6y0z2abc", Type: "webhook", CreatedAt: galleryTime, UpdatedAt: galleryTime,
		DestinationFields: models.DestinationFields{Name: "Billing", Topics: []string{"order.created", "order.paid"},
			Config: map[string]string{"url": "https://hooks.example.com/billing"}}}
	if disabled {
		d.DisabledAt, d.DisabledBy, d.DisabledReason = &d.CreatedAt, "Ann", "Maintenance"
	}
	return d
}

// galleryDeliveries has one delivery in each state.
func galleryDeliveries() []*models.Delivery {
	next := galleryTime.Add(80 * time.Second)
	out := make([]*models.Delivery, len(models.Statuses))
	for i, status := range models.Statuses {
		d := &models.Delivery{DeliveryKey: models.DeliveryKey{EventKey: uuid.MustParse("0195939e-1a2b-7c3d-8e4f-5a6b7c8d9e0f"),
			Destination: int64(i + 1)},
			PublicEventID: "evt_0195939e1a2b7c3d8e4f5a6b7c8d9e0f", Topic: "order.created", DestinationID: "des_0k3v9m2x7q1p8t5r4w6y0z2abc",
			Destination: galleryDestination(status == models.StatusHeld), Status: status, MaxAttempts: 12, CreatedAt: galleryTime,
			UpdatedAt: galleryTime}
		switch status {
		case models.StatusRetrying:
			d.Attempts, d.NextAttemptAt, d.LastAttemptAt, d.LastCode, d.Error = 3, &next, &d.CreatedAt, 503, "The receiver answered 503."
		case models.StatusFailed:
			d.Attempts, d.LastAttemptAt, d.Error, d.Reason = 12, &d.CreatedAt, "Nothing answered on 203.0.113.9:443.",
				"All 12 attempts failed: nothing answered on 203.0.113.9:443."
		case models.StatusDelivered:
			d.Attempts, d.LastAttemptAt, d.LastCode = 1, &d.CreatedAt, 200
		case models.StatusHeld:
			d.Reason = "The destination is disabled."
		case models.StatusFilteredOut:
			d.Reason = "Rule 2: data.total is 4, needs at least 10"
		case models.StatusCancelled:
			d.Reason = "Cancelled by Ann"
		}
		out[i] = d
	}
	return out
}

var galleryRollups = []models.Counts{
	{}, {models.StatusFilteredOut: 2}, {models.StatusDelivered: 3}, {models.StatusDelivered: 2, models.StatusFailed: 1},
	{models.StatusDelivered: 1, models.StatusRetrying: 1}, {models.StatusHeld: 1}, {models.StatusPending: 2}, {models.StatusCancelled: 1},
	{models.StatusDelivered: 2, models.StatusCancelled: 1},
}

const galleryJSON = `{"id": 4711, "total": 129.50, "paid": true, "note": null, "customer": {"email": "ann@example.com", "tags": ["a", "b"], "address": {"city": "Ulm", "geo": {"lat": 48.4}}}, "items": [], "meta": {}}`
