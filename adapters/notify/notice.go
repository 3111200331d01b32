package notify

import "time"

// What has happened to the alert that a notice tells of (Notice.Kind).
const (
	Opened       = "opened"
	Repeated     = "repeated"     // it is still open, or has become worse
	Acknowledged = "acknowledged" // somebody takes care of it
	Resolved     = "resolved"
	Test         = "test" // somebody pressed the button; there is no alert
)

// Kinds lists what notices can tell.
var Kinds = []string{Opened, Repeated, Acknowledged, Resolved, Test}

// How bad it is (Notice.Severity). The words are those of PagerDuty's Events API v2.
const (
	Critical = "critical"
	ErrorSev = "error"
	Warning  = "warning"
	Info     = "info"
)

// Topic is the reserved topic of notices: what webhook channels name, and what destination channels publish on. It needs no
// entry in a catalogue of topics.
const Topic = "waybill.alert"

// Notice is what a channel is to say. Empty texts, zero numbers and zero times are left out of the message. All of it may
// hold what strangers wrote (names, answers); channels escape it. Its JSON is what the API shows of it and the database
// keeps; what receivers get is in payload.go.
type Notice struct {
	ID       string `json:"id" doc:"The notification's: the same for every try."`
	Try      int    `json:"-"` // from 1, rising with every try of this notice; 0 means 1
	Kind     string `json:"kind" api:"schema=NotificationKind"`
	Severity string `json:"severity"`

	AlertID   string    `json:"alert_id" doc:"The same for all notices of one alert, and of one digest."`
	RuleName  string    `json:"rule_name"`
	Condition string    `json:"condition" doc:"The rule in words."`
	Summary   string    `json:"summary"`     // one sentence
	At        time.Time `json:"at,omitzero"` // when the notice was made, the same for every try; zero means now

	TenantID        string `json:"tenant_id"`
	DestinationID   string `json:"destination_id"`
	DestinationName string `json:"destination_name"`
	DestinationType string `json:"destination_type"`
	Target          string `json:"target"` // where the destination sends to, without credentials

	Failures int `json:"failures"` // deliveries that failed in a row, or within the rule's window
	Attempts int `json:"attempts"` // the attempts that these deliveries took

	FirstFailure time.Time `json:"first_failure,omitzero"`
	LastFailure  time.Time `json:"last_failure,omitzero"`
	OpenedAt     time.Time `json:"opened_at,omitzero"`
	ResolvedAt   time.Time `json:"resolved_at,omitzero"`

	// CertificateEnds is when the destination's TLS certificate ends, where that is what the notice is about.
	CertificateEnds time.Time `json:"certificate_expires_at,omitzero"`

	ErrorClass      string `json:"error_class"`      // one of adapters' classes
	Error           string `json:"error"`            // the last one, in one sentence
	Advice          string `json:"advice"`           // what to do about it
	ResponseExcerpt string `json:"response_excerpt"` // the beginning of the receiver's answer

	Failed []FailedEvent `json:"failed_events,omitempty" doc:"The events that failed last, newest first."`

	DestinationURL string `json:"destination_url"`
	DeliveriesURL  string `json:"deliveries_url"`
	AlertURL       string `json:"alert_url"`

	Others int `json:"others" doc:"Further alerts that this notice stands for."`

	// Skip names recipients that took this notice in an earlier try (Result.Reached), so that a try which failed for
	// one of several people does not send to the others again.
	Skip []string `json:"reached,omitempty" doc:"Recipients that an earlier try has reached."`
}

// FailedEvent is an event whose last attempt at a destination failed.
type FailedEvent struct {
	EventID    string    `json:"event_id"`
	Topic      string    `json:"topic"`
	AttemptID  string    `json:"attempt_id"`
	At         time.Time `json:"time" doc:"When the attempt was started."`
	Code       int       `json:"code"` // HTTP status of the answer, 0 when there was none
	ErrorClass string    `json:"error_class"`
	Error      string    `json:"error"`
	TraceID    string    `json:"trace_id,omitempty" doc:"Of the event's W3C trace context, when it has one."`
	URL        string    `json:"attempt_url,omitempty" doc:"The attempt's page."`
}
