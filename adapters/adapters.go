// Package adapters is the contract between Waybill and the systems it delivers to. Each destination type lives in one
// folder below this one, registers itself from init, and is described once: its fields draw the form, the API schema,
// the validation, the masking and the documentation.
//
// The package imports nothing but the standard library, and no destination type is imported by it.
package adapters

import (
	"context"
	"net/netip"
	"time"
)

// Type is a kind of destination: what it needs to be told, and how to open a connection to one.
// Implementations are stateless values; they are registered once by init and shared by all goroutines.
type Type interface {
	// Spec describes the type. It is called once, when the type registers.
	Spec() Spec

	// Validate checks what the fields alone cannot say (values that depend on each other, URLs, ARNs). It is called
	// after every field has passed its own rules, and may write normalised values back into s (trimmed, canonical).
	// It returns one problem per field, or none.
	Validate(s *Settings) []FieldError

	// Target says in one line where events go ("POST https://…", a queue's name), and the address of a page about
	// it where there is one. Neither holds a credential.
	Target(s Settings) (label, url string)

	// Open makes a sender for one version of one destination. It must not block on the network: the first Send
	// connects. Errors are *Error of KindTransient and ClassConfig.
	Open(env Env, s Settings) (Sender, error)
}

// Sender delivers messages to one destination. The worker opens one per destination and version and closes it when the
// destination changed or has been idle.
type Sender interface {
	// Send delivers m and returns when the other side has acknowledged it, refused it, or ctx has ended.
	//
	// It is safe for concurrent use, sends m at most once per call, honours ctx's deadline for the whole exchange,
	// and returns a receipt together with an error whenever the other side answered. Every error is an *Error.
	// No secret ever appears in an error or in a receipt.
	Send(ctx context.Context, m *Message) (Receipt, error)

	// Close releases connections. It is called once, when no Send is running any more.
	Close() error
}

// Checker is implemented by senders that can test a destination stage by stage (DNS, connect, TLS, auth, publish).
// It stops at the first stage that fails. It says in a stage's message if it had to send a test message.
type Checker interface {
	Check(ctx context.Context) []Stage
}

// Borrower is implemented by types whose destinations may use the credentials of the machine that this server runs on, where
// Env.HostCredentials lets them. Elsewhere settings that need them are refused when they are entered.
type Borrower interface {
	// Borrows names the field that is empty because the machine's credentials are to be used ("credentials.key"). It is
	// empty for settings that do not need them.
	Borrows(Settings) string
}

// Signer is implemented by types that sign what they send, so that receivers can verify where it comes from.
type Signer interface {
	// Signatures says how requests of a destination are signed, and shows code that verifies it. It is given no secret,
	// and makes nothing of those that it finds.
	Signatures(Settings) []Signature
}

// Signature is one of the signatures of a request.
type Signature struct {
	Scheme  string   // the type's own name of how it is made
	Header  string   // the header that holds it
	Samples []Sample // code that verifies it, a language each
	Notes   []string // what the scheme does not protect from, and what else to know, in sentences
	Missing string   // why there are no samples, and what to do; empty when there are
}

// Sample is a function that verifies a signature.
type Sample struct {
	Language string // in lower case: node, python, go, ruby, php, java, csharp, rust
	Label    string // the language's name
	File     string // a name for its file
	Needs    string // a command that brings what it needs besides the language; empty for nothing
	Code     string
}

// Stage is one step of a connection check.
type Stage struct {
	Name    string        // dns, connect, tls, auth or publish
	OK      bool          // whether the step succeeded
	Took    time.Duration // how long it took
	Message string        // what was found, in one sentence
	Advice  string        // what to do about it; empty when OK

	CertificateEnds time.Time // with tls, what Receipt.CertificateEnds would tell; zero for nothing
}

// Message is one event on its way to one destination.
type Message struct {
	EventID          string            // public id, the same on every attempt
	Topic            string            // may be empty
	Time             time.Time         // when the event happened, by the publisher's clock
	Metadata         map[string]string // the publisher's; nil when there is none
	DeliveryMetadata map[string]string // the destination's own, static; nil when there is none
	Data             []byte            // payload, byte for byte as published; must not be modified
	Attempt          int               // from 1, counting every attempt of this delivery
	TraceParent      string            // W3C trace context to pass on (header or attribute "traceparent"); empty for none
	TraceState       string            // what tracing systems added to it ("tracestate"); empty for none, and without TraceParent
	Computed         map[string]string // what the fields with Field.Expression gave for this event, by field key; nil for none
}

// Settings is one version of a destination, with its credentials in clear text. It never leaves the process.
type Settings struct {
	ID          string            // destination id
	TenantID    string            // whose it is
	Version     int64             // rises with every change of the destination
	Config      map[string]string // by field key; booleans are "true" or "false"
	Credentials map[string]string // by field key
	Beside      map[string]string // by key of the fields in Spec.Beside
	Timeout     time.Duration     // for one whole attempt; see Limit
	Format      string            // how messages look: "" for the payload as it is, or a CloudEvents format; see Message.Encode
}

// Limit is how long one whole attempt may take: Timeout, or 15 s when that is not positive.
func (s *Settings) Limit() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return 15 * time.Second
}

// Env is what the process lets its senders do.
type Env struct {
	// Egress lists address ranges that may be reached although they are private, loopback or link-local.
	Egress []netip.Prefix
	// UserAgent names this server to receivers, for example "Waybill/1.2".
	UserAgent string
	// HostCredentials lets destinations without credentials use those of the machine that this server runs on (an
	// instance's role, a service account). False unless the operator says so: whoever may create destinations
	// would otherwise act with the rights of the server.
	HostCredentials bool
	// GoogleKeyFile is the path of the service account key that is lent for Google Cloud; empty for the account of the
	// machine, which its metadata server knows.
	GoogleKeyFile string
}

// Receipt says what was sent and what came back. The zero value means that nothing was sent, and so does NotSent.
type Receipt struct {
	Code       int           // HTTP status, or 0 for systems without one
	Method     string        // HTTP method, or the operation's name ("SendMessage")
	URL        string        // where it went, without credentials
	ReqHeader  string        // lines "Name: value\n" as sent, secrets masked
	RespHeader string        // lines "Name: value\n" as received, sensitive ones masked
	Body       []byte        // the answer, at most MaxBodyKept bytes; for brokers what they said (message id, offset …) as JSON
	Truncated  bool          // the answer was longer than Body
	NotSent    bool          // Method, URL and ReqHeader are what would have been sent, had there been a connection
	Log        []string      // how an exchange that did not succeed went, a step in each line; never a secret
	Timing     Timing        // zero where the connection was reused
	Retry      time.Duration // the other side asked to wait this long before the next attempt; 0 when it did not
	// CertificateEnds is until when the other side's TLS certificate is valid (RFC 5280, section 4.1.2.5: notAfter). It is
	// told by the attempt that saw the certificate, in the handshake of a new connection, also when the handshake failed
	// because the certificate has expired; the zero time means that none was seen. Types whose certificates are no
	// business of the destination's owner (a cloud provider's own endpoints) never tell it.
	CertificateEnds time.Time
}

// Timing is how long the stages of one exchange took. DNS, Connect and TLS are zero on a reused connection.
type Timing struct {
	DNS, Connect, TLS, FirstByte time.Duration
}

// MaxBodyKept is how many bytes of an answer a receipt keeps.
const MaxBodyKept = 64 << 10
