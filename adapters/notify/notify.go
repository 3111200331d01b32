// Package notify sends one notice over one channel: a mail, a chat message, a post. When a notice is due, how often it is
// tried and what becomes of it is decided elsewhere; a channel makes one try and says truly how it went.
//
// A kind of channel is one file, which registers a Type from init. Forms, the API, the checks of settings and the masking
// of secrets are drawn from it.
package notify

import (
	"context"
	"crypto/x509"
	"net/netip"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

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

	// RenderMail writes a notice as a mail. It is needed by channels of kind "email" only.
	RenderMail func(ctx context.Context, m Mail) (text, html string, err error)

	// For tests: the clock, the authorities that sign certificates, and addresses in place of PagerDuty's and Twilio's.
	Now          func() time.Time // nil for the system's
	RootCAs      *x509.CertPool   // nil for the system's
	PagerDutyURL string           // "" means https://events.pagerduty.com
	TwilioURL    string           // "" means https://api.twilio.com
}

// Open makes the channel for one version of its settings, which Check has accepted. It does not touch the network. Errors
// are *adapters.Error.
func Open(env Env, name string, config, secrets map[string]string) (Channel, error) {
	t := Lookup(name)
	if t == nil {
		return nil, configError("This server has no channels of that kind.", "Choose one of the kinds that it offers.")
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	return t.Open(env, config, secrets)
}

// configError says that a channel's settings cannot work, so that trying again is of no use.
func configError(message, advice string) *adapters.Error {
	return &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassConfig, Message: message, Advice: advice}
}
