// Package kafka produces events to a topic of an Apache Kafka cluster, or of another system that speaks its protocol.
//
// A message counts as delivered when all in-sync replicas have it (acks=all); the producer is idempotent where the
// cluster lets it be (KIP-98, KIP-679).
package kafka

import (
	"crypto/tls"
	_ "embed"
	"strings"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

//go:embed instructions.md
var instructions string

//go:embed icon.svg
var icon string

func init() { adapters.Register(Type{}) }

// Values of the field sasl_mechanism.
const (
	saslNone     = "none"
	saslPlain    = "plain"
	saslScram256 = "scram-sha-256"
	saslScram512 = "scram-sha-512"
)

// Type is the destination type.
type Type struct{}

// Spec implements adapters.Type.
func (Type) Spec() adapters.Spec {
	return adapters.Spec{
		Name:         "kafka",
		Label:        "Kafka",
		Description:  "Produces each event to a topic of your Kafka cluster, and waits until all in-sync replicas have it.",
		Needs:        "the addresses of the brokers and a topic",
		Icon:         icon,
		Instructions: instructions,
		FieldOrder:   100,
		Config: []adapters.Field{
			{Key: "brokers", Label: "Brokers", Type: adapters.FieldText, Required: true, MaxLength: 2048,
				Help:        "One or more bootstrap brokers as host:port, separated by commas. The others are learned from them.",
				Placeholder: "kafka-1.example.com:9092,kafka-2.example.com:9092"},
			{Key: "topic", Label: "Topic", Type: adapters.FieldText, Required: true, MaxLength: 249,
				Help: "The Kafka topic, which has to exist.", Placeholder: "events",
				Pattern: `[A-Za-z0-9._-]+`, PatternHelp: "must consist of letters, digits, dots, underscores and hyphens"},
			{Key: "partition_key_template", Label: "Partition key", Type: adapters.FieldText, Expression: true,
				Help: "An expression over the event that makes the record's key, for example data.customer_id. Events with the same key " +
					"go to the same partition, in order. Empty means no key: events are spread over all partitions.",
				Placeholder: "data.customer_id"},
			{Key: "sasl_mechanism", Label: "Authentication (SASL)", Type: adapters.FieldSelect, Default: saslNone,
				Help: "How the cluster asks for a user name and a password.",
				Options: []adapters.Option{{Value: saslNone, Label: "None"}, {Value: saslPlain, Label: "PLAIN"},
					{Value: saslScram256, Label: "SCRAM-SHA-256"}, {Value: saslScram512, Label: "SCRAM-SHA-512"}}},
			{Key: "tls", Label: "Use TLS", Type: adapters.FieldCheckbox, Default: "false",
				Help: "Encrypts the connections and checks the brokers' certificates. PLAIN without it sends the password in clear text."},
			{Key: "ca_certificate", Label: "CA certificate", Type: adapters.FieldText, MaxLength: 64 << 10,
				Help:        "With TLS, if your brokers' certificates are signed by an authority of your own: that authority's certificate in PEM.",
				Placeholder: "-----BEGIN CERTIFICATE-----"},
		},
		Credentials: []adapters.Field{
			{Key: "username", Label: "User name", Type: adapters.FieldText, MaxLength: 255,
				Help: "With SASL: a user that may write to the topic."},
			{Key: "password", Label: "Password", Type: adapters.FieldText, Sensitive: true, MaxLength: 1024,
				Help: "With SASL: that user's password."},
			{Key: "client_certificate", Label: "Client certificate", Type: adapters.FieldText, MaxLength: 64 << 10,
				Help:        "For clusters that know clients by certificate (mutual TLS): the certificate in PEM.",
				Placeholder: "-----BEGIN CERTIFICATE-----"},
			{Key: "client_key", Label: "Client key", Type: adapters.FieldText, Sensitive: true, MaxLength: 64 << 10,
				Help: "The private key of the client certificate in PEM, without a passphrase."},
		},
	}
}

// parseBrokers reads the list of brokers. The error is written to follow the field's name.
func parseBrokers(list string) (out []string, err error) {
	for text := range strings.SplitSeq(list, ",") {
		s, err := outbound.ParseService(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		out = append(out, s.String())
	}
	return out, nil
}

// problem is what is wrong with one field.
type problem struct{ key, message string }

// security reads what protects the connections: TLS, and who we are.
func security(s *adapters.Settings) (cfg *tls.Config, mechanism sasl.Mechanism, p *problem) {
	user, password := s.Credentials["username"], s.Credentials["password"]
	switch s.Config["sasl_mechanism"] {
	case "", saslNone:
	case saslPlain:
		mechanism = plain.Auth{User: user, Pass: password}.AsMechanism()
	case saslScram256:
		mechanism = scram.Auth{User: user, Pass: password}.AsSha256Mechanism()
	case saslScram512:
		mechanism = scram.Auth{User: user, Pass: password}.AsSha512Mechanism()
	default:
		return nil, nil, &problem{"config.sasl_mechanism", "is not one that exists"}
	}
	switch {
	case mechanism != nil && user == "":
		return nil, nil, &problem{"credentials.username", "is required with SASL"}
	case mechanism != nil && password == "":
		return nil, nil, &problem{"credentials.password", "is required with SASL"}
	case mechanism == nil && user+password != "":
		return nil, nil, &problem{"config.sasl_mechanism", "has to be chosen, because there is a user name or a password"}
	}
	cert, key := s.Credentials["client_certificate"], s.Credentials["client_key"]
	if s.Config["tls"] != "true" {
		for _, f := range [...]problem{{"config.ca_certificate", s.Config["ca_certificate"]}, {"credentials.client_certificate", cert},
			{"credentials.client_key", key}} {
			if f.message != "" {
				return nil, nil, &problem{f.key, "works only with TLS: switch TLS on, or leave it empty"}
			}
		}
		return nil, mechanism, nil
	}
	cfg, err := outbound.TLSConfig(s.Config["ca_certificate"])
	if err != nil {
		return nil, nil, &problem{"config.ca_certificate", err.Error()}
	}
	switch {
	case cert == "" && key == "":
		return cfg, mechanism, nil
	case cert == "":
		return nil, nil, &problem{"credentials.client_certificate", "is required with a client key"}
	case key == "":
		return nil, nil, &problem{"credentials.client_key", "is required with a client certificate"}
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		// The error's text may quote what it could not read.
		return nil, nil, &problem{"credentials.client_key", "and the client certificate are not a pair in PEM"}
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, mechanism, nil
}

// Validate implements adapters.Type.
func (Type) Validate(s *adapters.Settings) (errs []adapters.FieldError) {
	if brokers, err := parseBrokers(s.Config["brokers"]); err != nil {
		errs = append(errs, adapters.FieldError{Key: "config.brokers", Message: err.Error()})
	} else {
		s.Config["brokers"] = strings.Join(brokers, ",")
	}
	if t := s.Config["topic"]; t == "." || t == ".." {
		errs = append(errs, adapters.FieldError{Key: "config.topic", Message: "must not be . or .."})
	}
	if _, _, p := security(s); p != nil {
		errs = append(errs, adapters.FieldError{Key: p.key, Message: p.message})
	}
	return errs
}

// Target implements adapters.Type.
func (Type) Target(s adapters.Settings) (label, url string) {
	first, rest, _ := strings.Cut(s.Config["brokers"], ",")
	if rest != "" {
		first += ", …"
	}
	return s.Config["topic"] + " on " + first, ""
}

// Open implements adapters.Type.
func (Type) Open(env adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	seeds, err := parseBrokers(s.Config["brokers"])
	if err != nil {
		return nil, adapters.ConfigError("The destination's list of brokers " + err.Error() + ".")
	}
	if s.Config["topic"] == "" {
		return nil, adapters.ConfigError("The destination names no topic.")
	}
	cfg, mechanism, p := security(&s)
	if p != nil {
		_, name, _ := strings.Cut(p.key, ".")
		return nil, adapters.ConfigError("The destination's field " + name + " " + p.message + ".")
	}
	c := &cluster{seeds: seeds, topic: s.Config["topic"], tls: cfg, sasl: mechanism, user: s.Credentials["username"],
		dialer: outbound.NewDialer(env.Egress), limit: s.Limit(), name: env.UserAgent, faults: map[string]*adapters.Error{},
		redact: outbound.NewRedactor([]string{s.Credentials["password"], strings.TrimSpace(s.Credentials["client_key"])})}
	return newSender(c, s), nil
}
