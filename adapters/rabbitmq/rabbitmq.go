// Package rabbitmq publishes events to an exchange of a RabbitMQ broker, or of another one that speaks AMQP 0-9-1 with
// RabbitMQ's extensions (publisher confirms, basic.nack, connection.blocked; see https://www.rabbitmq.com/docs/confirms).
//
// A message counts as delivered when the broker has confirmed it and has not returned it as unroutable.
package rabbitmq

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

//go:embed instructions.md
var instructions string

//go:embed icon.svg
var icon string

func init() { adapters.Register(Type{}) }

// maxShort is the length of AMQP's short strings: names, keys, ids (AMQP 0-9-1, section 4.2.5.3).
const maxShort = 255

// Type is the destination type.
type Type struct{}

// Spec implements adapters.Type.
func (Type) Spec() adapters.Spec {
	return adapters.Spec{
		Name:         "rabbitmq",
		Label:        "RabbitMQ",
		Description:  "Publishes each event to an exchange of your RabbitMQ broker, and waits until the broker has confirmed it.",
		Needs:        "a broker's address, a user name and a password",
		Icon:         icon,
		Instructions: instructions,
		FieldOrder:   90,
		// A confirmation of a persistent message waits for the disk, where many are written together: 100 at once had
		// 4,000 to 4,300 delivered a second where 20 had 2,800 to 3,100.
		Window: 5,
		Config: []adapters.Field{
			{Key: "server_url", Label: "Server", Type: adapters.FieldText, Required: true, MaxLength: 300,
				Help:        "Host and port of the broker: usually port 5672, or 5671 with TLS.",
				Placeholder: "rabbitmq.example.com:5671"},
			{Key: "exchange", Label: "Exchange", Type: adapters.FieldText, MaxLength: maxShort,
				Help:        "Where events are published. Empty is the default exchange, which routes to the queue that the routing key names.",
				Placeholder: "events"},
			{Key: "routing_key_template", Label: "Routing key", Type: adapters.FieldText, Expression: true,
				Help:        "An expression over the event that makes the routing key, for example \"orders.\" + data.country. Empty means the event's topic.",
				Placeholder: `topic`},
			{Key: "vhost", Label: "Virtual host", Type: adapters.FieldText, Default: "/", MaxLength: maxShort,
				Help: "The broker's virtual host that holds the exchange."},
			{Key: "tls", Label: "Use TLS", Type: adapters.FieldCheckbox, Default: "false",
				Help: "Encrypts the connection and checks the broker's certificate. Without it the password crosses the network in clear text."},
			{Key: "ca_certificate", Label: "CA certificate", Type: adapters.FieldText, MaxLength: 64 << 10,
				Help:        "With TLS, if your broker's certificate is signed by an authority of your own: that authority's certificate in PEM.",
				Placeholder: "-----BEGIN CERTIFICATE-----"},
		},
		Credentials: []adapters.Field{
			{Key: "username", Label: "User name", Type: adapters.FieldText, Required: true, MaxLength: maxShort,
				Help: "A user of the broker that may write to the exchange."},
			{Key: "password", Label: "Password", Type: adapters.FieldText, Required: true, Sensitive: true, MaxLength: 1024,
				Help: "That user's password."},
		},
	}
}

// Validate implements adapters.Type.
func (Type) Validate(s *adapters.Settings) (errs []adapters.FieldError) {
	if service, err := outbound.ParseService(s.Config["server_url"]); err != nil {
		errs = append(errs, adapters.FieldError{Key: "config.server_url", Message: err.Error()})
	} else {
		s.Config["server_url"] = service.String()
	}
	if s.Config["ca_certificate"] == "" {
		return errs
	}
	if s.Config["tls"] != "true" {
		errs = append(errs, adapters.FieldError{Key: "config.ca_certificate",
			Message: "works only with TLS: switch TLS on, or leave it empty"})
	} else if _, err := outbound.TLSConfig(s.Config["ca_certificate"]); err != nil {
		errs = append(errs, adapters.FieldError{Key: "config.ca_certificate", Message: err.Error()})
	}
	return errs
}

// Target implements adapters.Type.
func (Type) Target(s adapters.Settings) (label, url string) {
	exchange := s.Config["exchange"]
	if exchange == "" {
		exchange = "Default exchange"
	}
	return exchange + " on " + s.Config["server_url"], ""
}

// exchangeName is how an exchange is called within a sentence.
func exchangeName(name string) string {
	if name == "" {
		return "the default exchange"
	}
	return fmt.Sprintf("the exchange %q", name)
}

// Open implements adapters.Type.
func (Type) Open(env adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	service, err := outbound.ParseService(s.Config["server_url"])
	if err != nil {
		return nil, adapters.ConfigError("The destination's server " + err.Error() + ".")
	}
	if s.Config["tls"] == "true" {
		if service.TLS, err = outbound.TLSConfig(s.Config["ca_certificate"]); err != nil {
			return nil, adapters.ConfigError("The destination's CA certificate " + err.Error() + ".")
		}
	}
	b := &broker{service: service, dialer: outbound.NewDialer(env.Egress), vhost: s.Config["vhost"], exchange: s.Config["exchange"],
		user: s.Credentials["username"], password: s.Credentials["password"], client: env.UserAgent, name: "destination " + s.ID,
		redact: outbound.NewRedactor([]string{s.Credentials["password"]})}
	if b.vhost == "" {
		b.vhost = "/"
	}
	snd := &sender{broker: b, settings: s, template: s.Config["routing_key_template"] != ""}
	snd.links = outbound.NewShared(dialLimit, func(ctx context.Context) (*link, error) {
		l, _, err := b.dial(ctx)
		return l, err
	}, (*link).alive)
	return snd, nil
}
