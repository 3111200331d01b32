// Package notify sends one notice over one channel: e-mail, Slack, PagerDuty, SMS, a signed webhook, or the
// destinations of a tenant. When a notice is due, how often it is tried and what becomes of it is decided elsewhere; a
// channel makes one try and says truly how it went.
package notify

import (
	"context"
	"crypto/x509"
	"net/netip"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// What has happened to the alert that a notice tells of (Notice.Kind).
const (
	Opened       = "opened"
	Repeated     = "repeated" // it is still open, and Rule.every has passed
	Acknowledged = "acknowledged"
	Resolved     = "resolved"
	Test         = "test" // somebody pressed the button; there is no alert
)

// How bad it is (Notice.Severity). The words are those of PagerDuty's Events API v2.
const (
	Critical = "critical"
	ErrorSev = "error"
	Warning  = "warning"
	Info     = "info"
)

// Notice is what a channel is to say. Empty texts, zero numbers and zero times are left out of the message. All of it may
// hold what strangers wrote (names, answers); channels escape it.
type Notice struct {
	ID       string // stable: the same for every try
	Try      int    // from 1, rising with every try of this notice; 0 means 1
	Kind     string // Opened, Repeated, Acknowledged, Resolved or Test
	Severity string // Critical, ErrorSev, Warning or Info

	AlertID   string // the same for all notices of one alert
	RuleName  string
	Condition string    // the rule in words
	Summary   string    // one sentence
	At        time.Time // when the notice was made, the same for every try; zero means now

	TenantID        string
	DestinationID   string
	DestinationName string
	DestinationType string
	Target          string // where the destination sends to, without credentials

	Failures int // deliveries that failed in a row, or within the rule's window
	Attempts int // the attempts that these deliveries took

	FirstFailure, LastFailure, OpenedAt, ResolvedAt time.Time

	CertificateEnds time.Time // of the destination's TLS certificate, where that is what the notice is about

	ErrorClass      string // one of adapters' classes
	Error           string // the last one, in one sentence
	Advice          string // what to do about it
	ResponseExcerpt string // the beginning of the receiver's answer

	Failed []FailedEvent // the events that failed last, newest first

	DestinationURL, DeliveriesURL, AlertURL string

	Others int // further alerts that this notice stands for

	// Skip names recipients that took this notice in an earlier try (Result.Reached), so that a try which failed for
	// one of several people does not send to the others again.
	Skip []string
}

// FailedEvent is an event whose last attempt failed. It has no name of its own, so that notices with the same fields can be
// converted.
type FailedEvent = struct {
	EventID    string
	Topic      string
	AttemptID  string
	At         time.Time // when the attempt was started
	Code       int       // HTTP status of the answer, 0 when there was none
	ErrorClass string
	Error      string
	TraceID    string // of the event's trace context, when it has one
	URL        string // the attempt's page
}

// Result is what the other side said, with secrets cut out. It is also there when Send failed after an answer.
type Result struct {
	Code   int    // HTTP status or SMTP reply code; 0 when there was no answer
	Answer string // in one line of at most 500 bytes

	// Reached names the recipients that took the notice, of channels that have several (e-mail). Those of Notice.Skip
	// are not among them.
	Reached []string
}

// Channel sends notices to one place. It is safe for concurrent use and holds no connections between calls.
type Channel interface {
	// Send makes one try and returns when the other side has taken the notice, refused it, or ctx has ended. Every
	// error is an *adapters.Error: KindPermanent and KindGone say that another try will not help, After with
	// KindThrottled how long to wait. Neither errors nor results hold a secret.
	Send(ctx context.Context, n *Notice) (Result, error)
}

// Env is what the process lets its channels do.
type Env struct {
	Egress    []netip.Prefix // ranges that may be reached although they are private (adapters.Env.Egress)
	UserAgent string         // names this server to services, for example "Waybill/1.2"
	SMTP      SMTP           // where mail goes; the zero value is none, and then e-mail channels fail permanently
	BaseURL   string         // address of the dashboard, without a slash at its end
	TenantID  string         // whose channel it is; empty for the operator's

	// Unsubscribe makes the link with which whoever has an address ends the notices of this channel to it, without
	// logging in; nil for none. It is used by channels that go to people's addresses (e-mail).
	Unsubscribe func(address string) string

	// Publish accepts an event of a tenant for its destinations. The id is the caller's: accepting it again changes
	// nothing. It is needed by channels of kind "destination" only. An *adapters.Error is passed on; any other error
	// is worth another try.
	Publish func(ctx context.Context, tenantID, id, topic string, metadata map[string]string, data []byte) error

	// For tests: the clock, the authorities that sign certificates, and addresses in place of PagerDuty's and Twilio's.
	Now          func() time.Time // nil for the system's
	RootCAs      *x509.CertPool   // nil for the system's
	PagerDutyURL string           // "" means https://events.pagerduty.com
	TwilioURL    string           // "" means https://api.twilio.com
}

// Type describes a kind of channel to people and programs.
type Type struct {
	Name         string // stable identifier: email, slack …
	Label        string
	Description  string           // one sentence
	Instructions string           // Markdown: how to set it up, where to find each value
	Config       []adapters.Field // shown and stored in clear text
	Secrets      []adapters.Field // sealed at rest and masked in every answer
}

// kind is a Type together with what it does.
type kind struct {
	Type
	// check finds what fields alone cannot say. It may write normalised values back.
	check func(owner string, config, secrets map[string]string) []adapters.FieldError
	// target says in one line where notices go, without a secret.
	target func(config map[string]string) string
	// recipients lists the addresses that notices go to each, of kinds where each may unsubscribe; nil for the others.
	recipients func(config map[string]string) []string
	open       func(env Env, config, secrets map[string]string) (Channel, error)
}

// kinds lists all kinds of channels, in the order in which pickers show them.
func kinds() []kind {
	all := []kind{emailKind(), slackKind(), pagerDutyKind(), smsKind()}
	if k, ok := webhookKind(); ok {
		all = append(all, k)
	}
	return append(all, destinationKind())
}

func find(name string) (kind, bool) {
	for _, k := range kinds() {
		if k.Name == name {
			return k, true
		}
	}
	return kind{}, false
}

// Types describes all kinds of channels, in the order in which pickers show them.
func Types() []Type {
	var out []Type
	for _, k := range kinds() {
		out = append(out, k.Type)
	}
	return out
}

// Check reports every problem with the settings of a channel before it is stored. It fills in defaults and normalises
// values, in the maps that it is given, and makes a signing secret for webhooks that have none. Keys of problems are
// "config.url" for config and secrets alike, for callers write both into one object. owner is the tenant whose channel it
// is, empty for the operator's.
func Check(owner, name string, config, secrets map[string]string) []adapters.FieldError {
	k, ok := find(name)
	if !ok {
		var names []string
		for _, t := range Types() {
			names = append(names, t.Name)
		}
		return []adapters.FieldError{{Key: "type", Message: "must be one of " + strings.Join(names, ", ")}}
	}
	of := name + " channels"
	errs := adapters.NewFieldSet("config", of, k.Config).Check(&config)
	errs = append(errs, adapters.NewFieldSet("config", of, k.Secrets).Check(&secrets)...)
	if len(errs) == 0 && k.check != nil {
		errs = k.check(owner, config, secrets)
	}
	return errs
}

// Target says in one line where a channel's notices go. It holds no secret, and is empty for an unknown kind.
func Target(name string, config map[string]string) string {
	if k, ok := find(name); ok {
		return k.target(config)
	}
	return ""
}

// Recipients lists the addresses to which a channel's notices go and which may unsubscribe; nil for kinds without.
func Recipients(name string, config map[string]string) []string {
	if k, ok := find(name); ok && k.recipients != nil {
		return k.recipients(config)
	}
	return nil
}

// Tenant is the tenant for which a channel publishes its notices, where its settings name one; empty for other kinds.
func Tenant(name string, config map[string]string) string {
	if name == ownDestinations {
		return config[tenantKey]
	}
	return ""
}

// Open makes the channel for one version of its settings, which Check has accepted. It does not touch the network. Errors
// are *adapters.Error.
func Open(env Env, name string, config, secrets map[string]string) (Channel, error) {
	k, ok := find(name)
	if !ok {
		return nil, configError("This server has no channels of that kind.", "Choose one of the kinds that it offers.")
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	return k.open(env, config, secrets)
}

// configError says that a channel's settings cannot work, so that trying again is of no use.
func configError(message, advice string) *adapters.Error {
	return &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassConfig, Message: message, Advice: advice}
}
