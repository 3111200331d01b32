package views

import (
	"slices"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// Disable asks why a destination is disabled. Its form has reason_kind and reason.
type Disable struct {
	Page
	Destination *models.Destination
	Form        Form
}

// reasons are the usual reasons for disabling a destination.
var reasons = []Option{
	{Value: "Maintenance", Label: "Maintenance"}, {Value: "Wrong settings", Label: "Its settings are wrong"},
	{Value: "The receiver asked for it", Label: "The receiver asked for it"}, {Value: "other", Label: "Another reason:"},
}

// Enable asks what to do with the deliveries that a disabled destination holds. Its form has action: deliver, drop, keep.
type Enable struct {
	Page
	Destination *models.Destination
	Held        int
	More        bool // Held was not counted to the end
	Form        Form
}

func (v Enable) labels() []Label {
	if v.Held == 0 {
		return nil
	}
	return []Label{{"action", "Held deliveries"}}
}

func (v Enable) options() []Option {
	n := figure(v.Held, v.More)
	return []Option{
		{Value: models.BacklogDeliver, Label: "Deliver " + n + " held", Hint: "They are sent now, oldest first, beside new events."},
		{Value: models.BacklogKeep, Label: "Keep them held",
			Hint: "Only new events are delivered. Each held one can still be sent from its event's page."},
		{Value: models.BacklogDrop, Label: "Drop " + n + " held",
			Hint: "They become Cancelled. Each can still be retried while its event is kept."},
	}
}

// Confirm asks before something that cannot be undone.
type Confirm struct {
	Page
	Question string   // "Delete the destination Billing?"
	Effects  []string // what will happen, one sentence each
	Action   string   // where the form goes
	Submit   string   // "Delete destination"
	Back     string   // the way back
	Hidden   []Label  // further values that the form carries
	Err      *models.Error
}

// Secrets is the page about a destination's secret. Its form has overlap.
type Secrets struct {
	Page
	Destination *models.Destination
	Revealed    bool                 // the secrets are shown in full
	Now         time.Time            // to tell which are still valid
	Signatures  []adapters.Signature // how receivers verify; none where nothing is signed
	Form        Form
}

// secretLine is one secret of a destination.
type secretLine struct {
	label, value, note string
	shared             bool
}

func (v Secrets) lines() []secretLine {
	r := v.Destination.Registration()
	if r == nil {
		return nil
	}
	values := v.Destination.Masked(v.Revealed)
	var out []secretLine
	for _, f := range r.Spec.Credentials {
		if (f.Sensitive || f.Shared) && values[f.Key] != "" {
			out = append(out, secretLine{f.Label, values[f.Key], f.Help, f.Shared})
		}
	}
	return out
}

// overlapEnd is until when a secret from before a rotation is valid; zero when there is none.
func (v Secrets) overlapEnd() time.Time {
	t, err := time.Parse(time.RFC3339, v.Destination.Credentials["previous_secret_invalid_at"])
	if err != nil || !t.After(v.Now) || v.Destination.Credentials["previous_secret"] == "" {
		return time.Time{}
	}
	return t
}

// rotates reports whether the server can make a new secret for the destination.
func (v Secrets) rotates() bool {
	r := v.Destination.Registration()
	return r != nil && r.Rotates()
}

var overlaps = []Option{
	{Value: "0s", Label: "At once", Hint: "Requests are signed with the new secret only."},
	{Value: "1h", Label: "After 1 hour"},
	{Value: "24h", Label: "After 24 hours", Hint: "Until then, requests carry a signature for each."},
	{Value: "168h", Label: "After 7 days"},
}

// Test is the form for a test event. It has topic and data.
type Test struct {
	Page
	Destination *models.Destination
	Topics      []string // to choose from: those it takes, or those of the catalogue
	Form        Form
}

func (v Test) topicOptions() []Option {
	out := make([]Option, len(v.Topics))
	for i, t := range v.Topics {
		out[i] = Option{Value: t, Label: t}
	}
	return out
}

// Check is the result of a connection check.
type Check struct {
	Page
	Destination *models.Destination
	OK          bool
	Stages      []adapters.Stage
}

// stageNames are the stages of a connection check as people read them.
var stageNames = map[string]string{"dns": "Name", "connect": "Connection", "tls": "Encryption", "auth": "Credentials",
	"publish": "Delivery", "config": "Settings"}

func stageName(s adapters.Stage) string {
	if n := stageNames[s.Name]; n != "" {
		return n
	}
	return s.Name
}

// failure says what a failed check comes down to: nobody could be reached, or somebody was, who does not take the events.
func (v Check) failure() string {
	if n := len(v.Stages); n > 0 && slices.Contains([]string{"auth", "publish", "config"}, v.Stages[n-1].Name) {
		return "Not ready"
	}
	return "Not reachable"
}

func stageLook(s adapters.Stage) Look {
	if s.OK {
		return Look{ToneOK, "check", "OK"}
	}
	return Look{ToneBad, "x", "Failed"}
}
