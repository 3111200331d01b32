package notify

import (
	"encoding/json"
	"time"
)

// payload is a notice for programs, in the form that Standard Webhooks recommends: what happened, when, and the rest
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, "Payload structure").
// docs/channels.md shows it.
type payload struct {
	Type      string      `json:"type"` // "alert." and the notice's kind
	Timestamp time.Time   `json:"timestamp"`
	Data      payloadData `json:"data"`
}

type payloadData struct {
	NoticeID      string              `json:"notice_id"`
	AlertID       string              `json:"alert_id,omitempty"`
	Severity      string              `json:"severity,omitempty"`
	Summary       string              `json:"summary"`
	Rule          payloadRule         `json:"rule"`
	TenantID      string              `json:"tenant_id,omitempty"`
	Destination   *payloadDestination `json:"destination,omitempty"`
	Failures      int                 `json:"failures"`
	Attempts      int                 `json:"attempts"`
	FirstFailure  *time.Time          `json:"first_failure,omitempty"`
	LastFailure   *time.Time          `json:"last_failure,omitempty"`
	OpenedAt      *time.Time          `json:"opened_at,omitempty"`
	ResolvedAt    *time.Time          `json:"resolved_at,omitempty"`
	Error         *payloadError       `json:"error,omitempty"`
	Failed        []payloadFailed     `json:"failed_events,omitempty"`
	Certificate   *time.Time          `json:"certificate_expires_at,omitempty"`
	AlertURL      string              `json:"alert_url,omitempty"`
	DeliveriesURL string              `json:"deliveries_url,omitempty"`
	Others        int                 `json:"others"`
}

type payloadRule struct {
	Name      string `json:"name,omitempty"`
	Condition string `json:"condition,omitempty"`
}

type payloadDestination struct {
	ID     string `json:"id,omitempty"`
	Name   string `json:"name,omitempty"`
	Type   string `json:"type,omitempty"`
	Target string `json:"target,omitempty"`
	URL    string `json:"url,omitempty"`
}

type payloadError struct {
	Class    string `json:"class,omitempty"`
	Message  string `json:"message,omitempty"`
	Advice   string `json:"advice,omitempty"`
	Response string `json:"response,omitempty"`
}

// payloadFailed is one of the events that failed last.
type payloadFailed struct {
	EventID    string     `json:"event_id"`
	Topic      string     `json:"topic,omitempty"`
	AttemptID  string     `json:"attempt_id,omitempty"`
	At         *time.Time `json:"time,omitempty"`
	Code       int        `json:"code,omitempty"`
	ErrorClass string     `json:"error_class,omitempty"`
	Error      string     `json:"error,omitempty"`
	TraceID    string     `json:"trace_id,omitempty"`
	URL        string     `json:"attempt_url,omitempty"`
}

// made is when the notice was made.
func (n *Notice) made(now time.Time) time.Time {
	if n.At.IsZero() {
		return now.UTC()
	}
	return n.At.UTC()
}

// encode writes the notice as JSON.
func encode(n *Notice, now time.Time) ([]byte, error) {
	d := payloadData{
		NoticeID: n.ID, AlertID: n.AlertID, Severity: n.Severity, Summary: n.Summary,
		Rule: payloadRule{n.RuleName, n.Condition}, TenantID: n.TenantID,
		Failures: n.Failures, Attempts: n.Attempts,
		FirstFailure: when(n.FirstFailure), LastFailure: when(n.LastFailure), OpenedAt: when(n.OpenedAt), ResolvedAt: when(n.ResolvedAt),
		Certificate: when(n.CertificateEnds), AlertURL: n.AlertURL, DeliveriesURL: n.DeliveriesURL, Others: n.Others,
	}
	if dest := (payloadDestination{n.DestinationID, n.DestinationName, n.DestinationType, n.Target,
		n.DestinationURL}); dest != (payloadDestination{}) {
		d.Destination = &dest
	}
	for _, f := range n.Failed {
		d.Failed = append(d.Failed, payloadFailed{f.EventID, f.Topic, f.AttemptID, when(f.At), f.Code, f.ErrorClass, f.Error, f.TraceID,
			f.URL})
	}
	if e := (payloadError{n.ErrorClass, n.Error, n.Advice, n.ResponseExcerpt}); e != (payloadError{}) {
		d.Error = &e
	}
	return json.Marshal(payload{Type: "alert." + n.Kind, Timestamp: n.made(now), Data: d})
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
