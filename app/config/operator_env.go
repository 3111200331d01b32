package config

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/waybill-dev/waybill/models"
)

// operatorEnv is a destination of the operators that the environment sets up, in the words of Outpost's settings.
type operatorEnv struct {
	Topics []string // none for no destination
	values map[string]string
}

// OperatorDestination is its id. It follows the environment with each start, so that changes by hand do not last.
const OperatorDestination = "environment"

// operatorVariables lists the variables of operators' events, which have the names that Outpost gives them.
func operatorVariables() []variable {
	value := func(name, help string) variable {
		return variable{"OPERATOR_EVENTS_" + name, "", help, func(r *reader, v string) error {
			if r.Operator.values == nil {
				r.Operator.values = map[string]string{}
			}
			if v != "" {
				r.Operator.values[name] = v
			}
			return nil
		}}
	}
	return []variable{
		{"OPERATOR_EVENTS_TOPICS", "",
			"topics of a destination of the operators, comma-separated, or * (docs/operator-events.md); further ones by API and page",
			func(r *reader, v string) error {
				r.Operator.Topics = List(v)
				return nil
			}},
		value("HTTP_URL", "where they are posted to, or else one of the following"),
		value("HTTP_SIGNING_SECRET", "signs them, as Outpost does"),
		value("AWS_SQS_QUEUE_URL", "a queue of Amazon SQS"), value("AWS_SQS_REGION", "its region, where its address does not tell"),
		value("AWS_SQS_ACCESS_KEY_ID", "access key"), value("AWS_SQS_SECRET_ACCESS_KEY", "its secret"),
		value("AWS_SQS_ENDPOINT", "for what speaks SQS elsewhere"),
		value("GCP_PUBSUB_PROJECT_ID", "project of a topic of Google Pub/Sub"), value("GCP_PUBSUB_TOPIC_ID", "the topic"),
		value("GCP_PUBSUB_CREDENTIALS", "service account key, JSON"),
		value("RABBITMQ_SERVER_URL", "amqp://user:password@host:5672"), value("RABBITMQ_EXCHANGE", "the exchange"),
	}
}

// Input is the destination that the environment asks for; nil for none.
func (o *operatorEnv) Input() (models.DestinationPatch, error) {
	sinks := []string{}
	for _, s := range []string{"HTTP_URL", "AWS_SQS_QUEUE_URL", "GCP_PUBSUB_PROJECT_ID", "RABBITMQ_SERVER_URL"} {
		if o.values[s] != "" {
			sinks = append(sinks, s)
		}
	}
	switch {
	case len(o.Topics) == 0:
		return nil, nil
	case len(sinks) != 1:
		return nil, fmt.Errorf("OPERATOR_EVENTS_TOPICS: give exactly one of OPERATOR_EVENTS_HTTP_URL, …_AWS_SQS_QUEUE_URL, …_GCP_PUBSUB_PROJECT_ID and …_RABBITMQ_SERVER_URL, not %d", len(sinks))
	}
	config, credentials := map[string]string{}, map[string]string{}
	patch := models.DestinationPatch{"id": OperatorDestination, "name": "From the environment", "topics": o.Topics, "config": config,
		"credentials": credentials}
	put := func(to map[string]string, key, variable string) {
		if v := o.values[variable]; v != "" {
			to[key] = v
		}
	}
	var typ string
	switch sinks[0] {
	case "HTTP_URL":
		typ = "webhook"
		put(config, "url", "HTTP_URL")
		put(credentials, "secret", "HTTP_SIGNING_SECRET")
		patch["signature"] = "outpost"
	case "AWS_SQS_QUEUE_URL":
		typ = "aws_sqs"
		put(config, "queue_url", "AWS_SQS_QUEUE_URL")
		put(config, "region", "AWS_SQS_REGION")
		put(config, "endpoint", "AWS_SQS_ENDPOINT")
		put(credentials, "key", "AWS_SQS_ACCESS_KEY_ID")
		put(credentials, "secret", "AWS_SQS_SECRET_ACCESS_KEY")
	case "GCP_PUBSUB_PROJECT_ID":
		typ = "gcp_pubsub"
		put(config, "project_id", "GCP_PUBSUB_PROJECT_ID")
		put(config, "topic", "GCP_PUBSUB_TOPIC_ID")
		put(credentials, "service_account_json", "GCP_PUBSUB_CREDENTIALS")
	case "RABBITMQ_SERVER_URL":
		typ = "rabbitmq"
		u, err := url.Parse(o.values["RABBITMQ_SERVER_URL"])
		if err != nil || u.Host == "" || u.User == nil {
			return nil, fmt.Errorf("OPERATOR_EVENTS_RABBITMQ_SERVER_URL: must be like amqp://user:password@host:5672")
		}
		password, _ := u.User.Password()
		config["server_url"], config["tls"] = u.Host, fmt.Sprint(u.Scheme == "amqps")
		if vhost := strings.TrimPrefix(u.Path, "/"); vhost != "" {
			config["vhost"] = vhost
		}
		credentials["username"], credentials["password"] = u.User.Username(), password
		put(config, "exchange", "RABBITMQ_EXCHANGE")
	}
	patch["type"] = typ
	return patch, nil
}
