// Package gcppubsub publishes events to topics of Google Cloud Pub/Sub.
//
// It speaks Pub/Sub's REST interface through the guarded HTTP client, and not gRPC through Google's library. Measured
// when that was decided: the library makes the binary 8.9 MB larger (24.7 to 33.6 MB, 275 packages more), and with 20
// messages of 1 KiB under way it published 1,500 messages a second by its own timer of 10 ms and 9,200 with one of 1 ms,
// where this package published 16,000 and, with an ordering key, 27,000 (two busy processors, other sides that only
// answer; BenchmarkSend). Nothing that the library knows is missed: publishing is one request with one answer, a batch of
// it has an id for each of its messages, and service accounts sign their own tokens (https://google.aip.dev/auth/4111).
// So there is no address to fetch tokens from, and the token_uri in a tenant's key file is never asked.
//
// https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish
package gcppubsub

import (
	"context"
	"crypto/x509"
	_ "embed"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const (
	defaultEndpoint = "https://pubsub.googleapis.com"
	// ownDomain is where Google's own endpoints are, global and regional. Tokens of the host go nowhere else.
	ownDomain = ".googleapis.com"
	// orderingField is the field whose expression gives a message's ordering key.
	orderingField = "ordering_key_template"
)

//go:embed instructions.md
var instructions string

//go:embed icon.svg
var icon string

func init() { adapters.Register(Type{}) }

// Type is the destination type. The zero value leads to Google; the fields are for tests.
type Type struct {
	roots    func(e *outbound.Endpoint) *x509.CertPool // authorities to trust at an endpoint; nil for the system's
	metadata string                                    // where the host's tokens come from; empty for metadataBase
	now      func() time.Time                          // the clock; nil for the system's
}

// Spec implements adapters.Type.
func (Type) Spec() adapters.Spec {
	return adapters.Spec{
		Name:         "gcp_pubsub",
		Label:        "Google Cloud Pub/Sub",
		Description:  "Publishes each event to a topic of Google Cloud Pub/Sub.",
		Needs:        "a topic, and a service account that may publish to it",
		Icon:         icon,
		Instructions: instructions,
		FieldOrder:   70,
		Config: []adapters.Field{
			{Key: "project_id", Label: "Project ID", Type: adapters.FieldText, Required: true, MaxLength: 128,
				Help:        "The id of the Google Cloud project that the topic is in, not its name or number.",
				Placeholder: "my-project-1234",
				Pattern:     `([a-z0-9.-]+:)?[a-z][a-z0-9-]*[a-z0-9]`,
				PatternHelp: "must be a project's id: lower-case letters, digits and dashes"},
			{Key: "topic", Label: "Topic", Type: adapters.FieldText, Required: true, MaxLength: 400,
				Help:        "The id of the topic, or its full name (projects/…/topics/…).",
				Placeholder: "orders",
				Pattern:     `(projects/[^/]+/topics/)?[A-Za-z][A-Za-z0-9._~+%-]{2,254}`,
				PatternHelp: "must be a topic's id: 3 to 255 letters, digits and - . _ ~ + %, beginning with a letter"},
			{Key: "endpoint", Label: "Endpoint", Type: adapters.FieldText, MaxLength: outbound.MaxURL,
				Help: "A regional endpoint of Pub/Sub, or the address of an emulator, which is sent no credentials. " +
					"Leave it empty for the global endpoint.",
				Placeholder: "https://europe-west1-pubsub.googleapis.com"},
			{Key: orderingField, Label: "Ordering key", Type: adapters.FieldText, Expression: true, MaxLength: 1024,
				Help:        "An expression over the event that gives the message's ordering key. Leave it empty for none.",
				Placeholder: "data.customer_id"},
		},
		Credentials: []adapters.Field{
			{Key: "service_account_json", Label: "Service account key", Type: adapters.FieldText, Sensitive: true, MaxLength: 16384,
				Help: "The whole JSON key file of a service account with the role Pub/Sub Publisher on the topic. " +
					"It may be empty only where this server's operator lends out the server's own service account, and for emulators.",
				Placeholder: `{"type": "service_account", …}`},
		},
	}
}

// Validate implements adapters.Type. It takes a topic's id out of its full name. The endpoint stays as it was written.
func (Type) Validate(s *adapters.Settings) (errs []adapters.FieldError) {
	fail := func(key, message string) { errs = append(errs, adapters.FieldError{Key: key, Message: message}) }
	project, topic := s.Config["project_id"], s.Config["topic"]
	if rest, ok := strings.CutPrefix(topic, "projects/"); ok {
		of, id, _ := strings.Cut(rest, "/topics/")
		if of != project {
			fail("config.topic", "is in another project than the project ID says")
		}
		topic = id
	}
	if strings.HasPrefix(topic, "goog") {
		fail("config.topic", "must not begin with goog, which Google keeps for itself")
	}
	endpoint := s.Config["endpoint"]
	if endpoint != "" {
		if e, err := outbound.ParseURL(address(endpoint)); err != nil {
			fail("config.endpoint", err.Error())
		} else if e.Target != "/" {
			fail("config.endpoint", "must end after the host and port; the path to the topic is added")
		}
	}
	// Whether the key file is good for anything the connection check and the first attempt tell. What other systems'
	// destinations hold may be saved here as it is, and what stands before an endpoint of one's own is none of our business.
	key := strings.TrimSpace(s.Credentials["service_account_json"])
	if key != "" && ownEndpoint(endpoint) {
		if _, err := readAccount(key); err != nil {
			fail("credentials.service_account_json", err.Error())
		}
	}
	if len(errs) > 0 {
		return errs
	}
	if topic != s.Config["topic"] {
		s.Config["topic"] = topic
	}
	if key != "" {
		s.Credentials["service_account_json"] = key
	} else {
		delete(s.Credentials, "service_account_json") // of spaces only
	}
	return nil
}

// address completes an endpoint, which may have been entered as host:port. That is how the emulator tells its address,
// which speaks plain HTTP.
func address(endpoint string) string {
	endpoint = strings.TrimSuffix(endpoint, "/")
	if strings.Contains(endpoint, "://") {
		return endpoint
	}
	host, _, _ := strings.Cut(endpoint, ":")
	if strings.HasSuffix(host, ownDomain) {
		return "https://" + endpoint
	}
	return "http://" + endpoint
}

// ownEndpoint says whether an endpoint is Google's, as none is.
func ownEndpoint(endpoint string) bool {
	if endpoint == "" {
		return true
	}
	e, err := outbound.ParseURL(address(endpoint))
	return err == nil && strings.HasSuffix(e.Host, ownDomain)
}

// topicName is the topic's full name.
func topicName(s adapters.Settings) string {
	return "projects/" + s.Config["project_id"] + "/topics/" + s.Config["topic"]
}

// Borrows implements adapters.Borrower. What is not encrypted, an emulator, is sent no credentials.
func (Type) Borrows(s adapters.Settings) string {
	if s.Credentials["service_account_json"] == "" && (s.Config["endpoint"] == "" ||
		!strings.HasPrefix(address(s.Config["endpoint"]), "http://")) {
		return "credentials.service_account_json"
	}
	return ""
}

// Target implements adapters.Type.
func (Type) Target(s adapters.Settings) (label, page string) {
	project, topic := s.Config["project_id"], s.Config["topic"]
	if project == "" || topic == "" {
		return "Google Cloud Pub/Sub", ""
	}
	if !ownEndpoint(s.Config["endpoint"]) {
		return topicName(s), ""
	}
	return topicName(s), fmt.Sprintf("https://console.cloud.google.com/cloudpubsub/topic/detail/%s?project=%s",
		url.PathEscape(topic), url.QueryEscape(project))
}

// Open implements adapters.Type.
func (t Type) Open(env adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	if s.Config["project_id"] == "" || s.Config["topic"] == "" {
		return nil, adapters.ConfigError("The destination has no project ID or no topic.")
	}
	base := s.Config["endpoint"]
	if base == "" {
		base = defaultEndpoint
	}
	endpoint, err := outbound.ParseURL(address(base) + "/v1/projects/" + url.PathEscape(s.Config["project_id"]) + "/topics/" +
		url.PathEscape(s.Config["topic"]) + ":publish")
	if err != nil {
		return nil, adapters.ConfigError("The destination's endpoint " + err.Error() + ".")
	}
	snd := &sender{settings: s, host: endpoint.Host, topic: topicName(s), path: strings.TrimSuffix(endpoint.Target, ":publish")}
	opt := outbound.Options{Egress: env.Egress}
	if t.roots != nil {
		opt.RootCAs = t.roots(endpoint)
	}
	if snd.tokens, opt.Redact, err = t.tokens(env, s, endpoint); err != nil {
		return nil, err
	}
	snd.client = outbound.New(endpoint, opt)
	snd.base.AddPublic("Content-Type", "application/json")
	if env.UserAgent != "" {
		snd.base.AddPublic("User-Agent", env.UserAgent)
	}
	snd.queues.call = snd.publish
	return snd, nil
}

// tokens decides whose rights the sender has, and lists what must not be shown of it.
func (t Type) tokens(env adapters.Env, s adapters.Settings, e *outbound.Endpoint) (tokens, []string, error) {
	now := t.now
	if now == nil {
		now = time.Now
	}
	key := strings.TrimSpace(s.Credentials["service_account_json"])
	if key != "" {
		a, err := parseAccount(key)
		if err != nil {
			return nil, nil, adapters.ConfigError("The destination's service account key " + err.Error() + ".")
		}
		if e.Scheme == "https" {
			return &signed{account: a, now: now}, []string{key, a.PrivateKey}, nil
		}
	}
	switch {
	case e.Scheme == "http":
		return none{}, nil, nil // never a credential in clear text
	case !env.HostCredentials:
		return nil, nil, adapters.ConfigError("The destination has no service account key, and this server does not lend out its own service account.")
	case !strings.HasSuffix(e.Host, ownDomain):
		// Whoever may create destinations could otherwise have the server's token sent to an address of their own.
		return nil, nil, adapters.ConfigError("The server's own service account is used with Google's own endpoints only; enter a service account key.")
	}
	if env.GoogleKeyFile != "" {
		text, err := os.ReadFile(env.GoogleKeyFile) // by every new sender, so that a key that was renewed is used
		if short := adapters.AsShortage(err); short != nil {
			return nil, nil, short
		}
		if err != nil {
			return nil, nil, adapters.ConfigError("The key file of this server's own service account cannot be read; ask the operator to check GOOGLE_APPLICATION_CREDENTIALS.")
		}
		a, err := parseAccount(string(text))
		if err != nil {
			return nil, nil, adapters.ConfigError("The key file of this server's own service account (GOOGLE_APPLICATION_CREDENTIALS) " +
				err.Error() + ".")
		}
		return &signed{account: a, now: now}, []string{string(text), a.PrivateKey}, nil
	}
	host, err := newHostTokens(t.metadata, now)
	if err != nil {
		return nil, nil, adapters.ConfigError("The address of this machine's metadata server " + err.Error() + ".")
	}
	return host, nil, nil
}

// Check implements adapters.Checker. Whether the account may publish is asked without publishing anything
// (projects.topics.testIamPermissions).
func (s *sender) Check(ctx context.Context) []adapters.Stage {
	ctx, cancel := context.WithTimeout(ctx, s.settings.Limit())
	defer cancel()
	stages := s.client.Check(ctx)
	if !stages[len(stages)-1].OK {
		return stages
	}
	return append(stages, s.checkRights(ctx)...)
}
