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
		{"OPERATOR_EVENTS_TOPICS", "", "topics of a destination of the operators, comma-separated, or * (docs/operator-events.md); further ones by API and page", func(r *reader, v string) error {
			r.Operator.Topics = List(v)
			return nil
		}},
		value("HTTP_URL", "where they are posted to, or else one of the following"),
		value("HTTP_SIGNING_SECRET", "signs them, as Outpost does"),
		value("AWS_SQS_QUEUE_URL", "a queue of Amazon SQS"), value("AWS_SQS_REGION", "its region, where its address does not tell"),
		value("AWS_SQS_ACCESS_KEY_ID", "access key"), value("AWS_SQS_SECRET_ACCESS_KEY", "its secret"), value("AWS_SQS_ENDPOINT", "for what speaks SQS elsewhere"),
		value("GCP_PUBSUB_PROJECT_ID", "project of a topic of Google Pub/Sub"), value("GCP_PUBSUB_TOPIC_ID", "the topic"), value("GCP_PUBSUB_CREDENTIALS", "service account key, JSON"),
		value("RABBITMQ_SERVER_URL", "amqp://user:password@host:5672"), value("RABBITMQ_EXCHANGE", "the exchange"),
	}
}

// Input is the destination that the environment asks for; nil for none.
func (o *operatorEnv) Input() (*models.DestinationInput, error) {
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
	id, name, topics := OperatorDestination, "From the environment", models.Topics(o.Topics)
	in := &models.DestinationInput{ID: &id, Name: &name, Topics: &topics, Config: models.Values{}, Credentials: models.Values{}, Actor: "environment"}
	put := func(to models.Values, key, variable string) {
		if v := o.values[variable]; v != "" {
			to[key] = &v
		}
	}
	var typ string
	switch sinks[0] {
	case "HTTP_URL":
		typ = "webhook"
		put(in.Config, "url", "HTTP_URL")
		put(in.Credentials, "secret", "HTTP_SIGNING_SECRET")
		signature := "outpost"
		in.Signature = &signature
	case "AWS_SQS_QUEUE_URL":
		typ = "aws_sqs"
		put(in.Config, "queue_url", "AWS_SQS_QUEUE_URL")
		put(in.Config, "region", "AWS_SQS_REGION")
		put(in.Config, "endpoint", "AWS_SQS_ENDPOINT")
		put(in.Credentials, "key", "AWS_SQS_ACCESS_KEY_ID")
		put(in.Credentials, "secret", "AWS_SQS_SECRET_ACCESS_KEY")
	case "GCP_PUBSUB_PROJECT_ID":
		typ = "gcp_pubsub"
		put(in.Config, "project_id", "GCP_PUBSUB_PROJECT_ID")
		put(in.Config, "topic", "GCP_PUBSUB_TOPIC_ID")
		put(in.Credentials, "service_account_json", "GCP_PUBSUB_CREDENTIALS")
	case "RABBITMQ_SERVER_URL":
		typ = "rabbitmq"
		u, err := url.Parse(o.values["RABBITMQ_SERVER_URL"])
		if err != nil || u.Host == "" || u.User == nil {
			return nil, fmt.Errorf("OPERATOR_EVENTS_RABBITMQ_SERVER_URL: must be like amqp://user:password@host:5672")
		}
		password, _ := u.User.Password()
		user, tls, vhost := u.User.Username(), fmt.Sprint(u.Scheme == "amqps"), strings.TrimPrefix(u.Path, "/")
		in.Config["server_url"], in.Config["tls"] = &u.Host, &tls
		if vhost != "" {
			in.Config["vhost"] = &vhost
		}
		in.Credentials["username"], in.Credentials["password"] = &user, &password
		put(in.Config, "exchange", "RABBITMQ_EXCHANGE")
	}
	in.Type = &typ
	return in, nil
}
