// Package azureservicebus sends events to queues and topics of Azure Service Bus.
//
// It posts each event to the HTTPS interface of Service Bus (https://learn.microsoft.com/rest/api/servicebus/send-message-to-queue)
// through the guarded client, and does not use Microsoft's library, which speaks AMQP. What decided it: HTTPS is port 443,
// which firewalls let out where they stop 5671; the library has no place for a dialer of ours, brings recovery and retries
// of its own, and makes the binary 1.6 MB larger (49 packages more). A status of 201 is the acknowledgement.
//
// The interface takes batches too. They are not used: a batch is taken or refused as a whole, so that one bad message
// would fail others; its messages cannot have a content type, by which consumers know CloudEvents; and they must share a
// session or partition. Little is lost. With 20 deliveries under way and answers that take 10 ms, requests side by side
// made 1,070 messages a second, and batches with one, two and four requests at a time 730, 990 and 1,270; without that
// delay it was 9,700 side by side (BenchmarkSend; two busy processors, TLS, the other side in the same process).
package azureservicebus

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const (
	// sessionField is the field whose expression gives a message's session id.
	sessionField = "session_id_template"
	// maxBody is the most that Service Bus takes over HTTP, with the Premium tier; Standard takes a quarter of it
	// (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas, "Message size").
	maxBody = 1 << 20
	// maxID is how many characters message and session ids may have (same page, "Message property size").
	maxID = 128
)

//go:embed instructions.md
var instructions string

//go:embed icon.svg
var icon string

func init() { adapters.Register(Type{}) }

// Type is the destination type. The zero value trusts the system's authorities; the fields are for tests.
type Type struct {
	roots func(e *outbound.Endpoint) *x509.CertPool
	now   func() time.Time
}

// Spec implements adapters.Type.
func (Type) Spec() adapters.Spec {
	return adapters.Spec{
		Name:         "azure_servicebus",
		Label:        "Azure Service Bus",
		Description:  "Sends each event to a queue or topic of Azure Service Bus.",
		Needs:        "a queue or topic, and the connection string of a policy that may send to it",
		Icon:         icon,
		Instructions: instructions,
		FieldOrder:   80,
		Config: []adapters.Field{
			{Key: "name", Label: "Queue or topic", Type: adapters.FieldText, Required: true, MaxLength: 260,
				Help: "The name of the queue or topic, without the namespace.", Placeholder: "orders",
				Pattern:     `[A-Za-z0-9]([A-Za-z0-9._/~-]*[A-Za-z0-9])?`,
				PatternHelp: "must be letters, digits and . - _ ~ / with a letter or digit at both ends"},
			{Key: sessionField, Label: "Session ID", Type: adapters.FieldText, Expression: true, MaxLength: 1024,
				Help: "An expression over the event that gives the message's session id. Needed where the queue, or a " +
					"subscription of the topic, requires sessions.",
				Placeholder: "data.customer_id"},
		},
		Credentials: []adapters.Field{
			{Key: "connection_string", Label: "Connection string", Type: adapters.FieldText, Required: true, Sensitive: true,
				Help:        "Of a shared access policy with the claim Send, best one of the queue or topic itself.",
				Placeholder: "Endpoint=sb://my-namespace.servicebus.windows.net/;SharedAccessKeyName=waybill;SharedAccessKey=…"},
		},
	}
}

// Validate implements adapters.Type. It takes off the spaces and line breaks that copying leaves.
func (Type) Validate(s *adapters.Settings) (errs []adapters.FieldError) {
	text := strings.TrimSpace(s.Credentials["connection_string"])
	c, err := parseConnection(text)
	if err != nil {
		return []adapters.FieldError{{Key: "credentials.connection_string", Message: err.Error()}}
	}
	if strings.Contains(s.Config["name"], "//") || strings.Contains("/"+s.Config["name"]+"/", "/../") ||
		strings.Contains("/"+s.Config["name"]+"/", "/./") {
		errs = append(errs, adapters.FieldError{Key: "config.name", Message: "must not have empty parts or parts of dots alone"})
	}
	if c.entity != "" && !strings.EqualFold(c.entity, s.Config["name"]) {
		errs = append(errs, adapters.FieldError{Key: "config.name",
			Message: "must be " + clip(c.entity) + ", which the connection string is for"})
	}
	if len(errs) == 0 {
		s.Credentials["connection_string"] = text
	}
	return errs
}

func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

// Target implements adapters.Type. The namespace's address is not secret.
func (Type) Target(s adapters.Settings) (label, page string) {
	c, err := parseConnection(s.Credentials["connection_string"])
	if err != nil || s.Config["name"] == "" {
		return "Azure Service Bus", ""
	}
	return s.Config["name"] + " on " + c.host, ""
}

// Open implements adapters.Type.
func (t Type) Open(env adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	c, err := parseConnection(strings.TrimSpace(s.Credentials["connection_string"]))
	if err != nil {
		return nil, adapters.ConfigError("The destination's connection string " + err.Error() + ".")
	}
	if s.Config["name"] == "" {
		return nil, adapters.ConfigError("The destination names no queue or topic.")
	}
	entity := "https://" + c.host + "/" + (&url.URL{Path: s.Config["name"]}).EscapedPath()
	endpoint, err := outbound.ParseURL(entity + "/messages")
	if err != nil {
		return nil, adapters.ConfigError("The address of the queue or topic " + err.Error() + ".")
	}
	now := t.now
	if now == nil {
		now = time.Now
	}
	opt := outbound.Options{Egress: env.Egress, Redact: c.secrets()}
	if t.roots != nil {
		opt.RootCAs = t.roots(endpoint)
	}
	snd := &sender{settings: s, client: outbound.New(endpoint, opt), tokens: newTokens(c, entity, now),
		name: s.Config["name"], policy: c.keyName, namespace: c.host}
	snd.base.AddPublic("Content-Type", adapters.ContentType(s.Format))
	// Service Bus would otherwise try again by itself, and a message might be there twice.
	snd.base.AddPublic("x-ms-retrypolicy", "NoRetry")
	if env.UserAgent != "" {
		snd.base.AddPublic("User-Agent", env.UserAgent)
	}
	return snd, nil
}

// sender implements adapters.Sender and adapters.Checker.
type sender struct {
	settings  adapters.Settings
	client    *outbound.Client
	tokens    *tokens
	base      outbound.Header
	name      string // of the queue or topic
	policy    string // name of the key; empty with a signature that was made elsewhere
	namespace string
}

// Send implements adapters.Sender.
func (s *sender) Send(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
	e := m.Encode(&s.settings, attributePrefix)
	if len(e.Body) > maxBody {
		return adapters.Receipt{}, &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassTooLarge,
			Message: fmt.Sprintf("The message has %d bytes, and Service Bus takes at most %d over HTTPS.", len(e.Body), maxBody),
			Advice:  "Send less data, or filter such events out."}
	}
	session := m.Computed[sessionField]
	if n := utf8.RuneCountInString(session); n > maxID {
		return adapters.Receipt{}, &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassRejected,
			Message: fmt.Sprintf("The session id of this event has %d characters, and Service Bus takes at most %d.", n, maxID),
			Advice:  "Correct the destination's session ID so that it gives a shorter value."}
	}
	token := s.tokens.get()
	h := outbound.AcquireHeader(&s.base)
	defer outbound.ReleaseHeader(h)
	h.AddSecret("Authorization", token.value)
	h.AddPublicBytes("BrokerProperties", brokerProperties(messageID(m.EventID), m.Topic, session))
	addProperties(h, e.Attributes)
	resp, err := s.client.Do(ctx, outbound.Request{Header: h, Body: e.Body, Timeout: s.settings.Limit(), Redact: token.redact})
	if resp.Method != "" {
		resp.Method = "SendMessage"
	}
	if err != nil && resp.Code < 300 {
		return resp.Receipt, err
	}
	if e := s.verdict(&resp); e != nil {
		return resp.Receipt, e
	}
	return resp.Receipt, nil
}

// messageID is the event's id, by which Service Bus finds duplicates. One that is too long is replaced by its hash, which
// is the same on every attempt too.
func messageID(event string) string {
	if len(event) <= maxID {
		return event
	}
	sum := sha256.Sum256([]byte(event))
	return hex.EncodeToString(sum[:])
}

// Check implements adapters.Checker.
func (s *sender) Check(ctx context.Context) []adapters.Stage {
	ctx, cancel := context.WithTimeout(ctx, s.settings.Limit())
	defer cancel()
	stages := s.client.Check(ctx)
	if !stages[len(stages)-1].OK {
		return stages
	}
	return append(stages, adapters.Stage{Name: "publish", OK: true, Message: "Nothing was sent; Service Bus does not tell " +
		"without a message whether a policy may send to " + s.name + ", but a test event would show it."})
}

// Close implements adapters.Sender.
func (s *sender) Close() error { return s.client.Close() }

// errConnection is the text for what is no connection string at all.
var errConnection = errors.New("must be copied whole from the policy's page: Endpoint=sb://…;SharedAccessKeyName=…;SharedAccessKey=…")
