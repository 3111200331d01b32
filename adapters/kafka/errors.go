package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const (
	adviceRetried = "It will be retried; look into the brokers' logs if it stays."
	adviceAuth    = "Correct the destination's user name, password and SASL mechanism."
)

// clean masks what must not be seen and returns a copy of e, which others may have as well.
func (c *cluster) clean(e *adapters.Error) *adapters.Error {
	out := *e
	out.Raw = oneLine(out.Raw)
	if len(out.Raw) > 500 {
		out.Raw = strings.ToValidUTF8(out.Raw[:500], "") + "…"
	}
	c.redact.Clean(&out)
	return &out
}

// ended is the error of an attempt whose context has ended.
func (c *cluster) ended(err error, when string) *adapters.Error {
	if errors.Is(err, context.Canceled) {
		return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassInternal, Raw: err.Error(),
			Message: "This server stopped the attempt " + when + ".", Advice: "It will be retried; nothing needs to be done."}
	}
	if f := c.fault(); f != nil {
		return c.clean(f)
	}
	return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassTimeout, Raw: err.Error(),
		Message: "The time limit of this attempt was reached " + when + ".",
		Advice:  "Check the load of the brokers and whether all replicas are in sync, or raise the destination's timeout."}
}

// throttledError is the error of an attempt that a throttled broker kept waiting until its time was over.
func (c *cluster) throttledError() *adapters.Error {
	return &adapters.Error{Kind: adapters.KindThrottled, Class: adapters.ClassThrottled,
		After:   max(0, time.Until(time.Unix(0, c.throttled.Load()))),
		Message: "The cluster's quota for this user is used up, and it asked to wait for longer than this attempt may take.",
		Advice:  "Raise the quota (producer_byte_rate or request_percentage), or lower the destination's rate limit."}
}

// checkError is explain, for a check whose time may be over.
func (c *cluster) checkError(ctx context.Context, err error) *adapters.Error {
	if ctx.Err() != nil {
		return c.ended(ctx.Err(), "before the cluster answered")
	}
	return c.explain(err)
}

func tooLarge(c *cluster, size int) *adapters.Error {
	return &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassTooLarge, Raw: kerr.MessageTooLarge.Message,
		Message: fmt.Sprintf("The message of %d bytes is larger than the topic %s accepts.", size, c.topic),
		Advice:  "Raise max.message.bytes of the topic, send less data, or filter such events out."}
}

// meaning is what an error code of Kafka's means for the delivery.
type meaning struct {
	kind            adapters.Kind
	class           adapters.Class
	message, advice string // with %s for the topic
}

var meanings = map[*kerr.Error]meaning{
	kerr.UnknownTopicOrPartition: {0, adapters.ClassNotFound, "There is no topic %s, or the user may not know of it.",
		"Create the topic, correct its name, or let the user describe it."},
	kerr.UnknownTopicID: {0, adapters.ClassNotFound, "The topic %s was deleted, and perhaps created anew.",
		"It will be retried; create the topic if it is gone."},
	kerr.InvalidTopicException: {0, adapters.ClassNotFound, "The name of the topic %s is not valid.", "Correct the destination's topic."},
	kerr.TopicAuthorizationFailed: {0, adapters.ClassAuth, "The user may not write to the topic %s.",
		"Allow the operations Write and Describe on the topic to this user (kafka-acls --add --producer)."},
	kerr.ClusterAuthorizationFailed: {0, adapters.ClassAuth, "The cluster does not let the user produce to %s.",
		"Allow the operation Write on the topic to this user."},
	kerr.SaslAuthenticationFailed: {0, adapters.ClassAuth, "The cluster refused the user name or the password.", adviceAuth},
	kerr.IllegalSaslState: {0, adapters.ClassAuth,
		"The cluster asks for no user name on this port, or for another mechanism.", adviceAuth},
	kerr.UnsupportedSaslMechanism: {0, adapters.ClassAuth, "The cluster does not know the SASL mechanism.",
		"Choose a mechanism that the cluster has enabled."},
	kerr.SecurityDisabled: {0, adapters.ClassAuth, "The cluster has no access control, which this request needs.",
		adviceRetried},
	kerr.InvalidRecord: {0, adapters.ClassRejected, "The topic %s refused the record.",
		"A compacted topic takes only records with a key: set the destination's partition key."},
	kerr.PolicyViolation: {adapters.KindPermanent, adapters.ClassRejected,
		"A policy of the cluster refused the record for %s.", "The brokers' logs say which policy it was."},
	kerr.UnsupportedForMessageFormat: {0, adapters.ClassRejected, "The topic %s has a message format that is too old for headers.",
		"Raise log.message.format.version to 0.11 or newer."},
	kerr.ThrottlingQuotaExceeded: {adapters.KindThrottled, adapters.ClassThrottled,
		"The cluster's quota for this user is used up.", "Raise the quota, or lower the destination's rate limit."},
	kerr.NotEnoughReplicas: {0, adapters.ClassServer,
		"The topic %s has fewer replicas in sync than it asks for (min.insync.replicas).", "Bring the missing brokers back."},
	kerr.NotEnoughReplicasAfterAppend: {0, adapters.ClassServer,
		"The topic %s has fewer replicas in sync than it asks for (min.insync.replicas).", "Bring the missing brokers back."},
	kerr.LeaderNotAvailable: {0, adapters.ClassServer, "No partition of the topic %s has a leader at present.",
		"Check that the brokers are up."},
	kerr.RequestTimedOut: {0, adapters.ClassTimeout, "The brokers did not replicate the record in time.",
		"Check the load of the brokers and whether all replicas are in sync."},
	kerr.TransactionalIDAuthorizationFailed: {0, adapters.ClassAuth, "The cluster does not let the user produce to %s.",
		"Allow the operation Write on the topic to this user."},
}

// explain says what an error of the client means.
func (c *cluster) explain(err error) *adapters.Error {
	var known *adapters.Error
	if errors.As(err, &known) {
		return c.clean(known)
	}
	var answer *kerr.Error
	if errors.As(err, &answer) {
		if answer == kerr.MessageTooLarge || answer == kerr.RecordListTooLarge {
			return tooLarge(c, 0)
		}
		m, ok := meanings[answer]
		if !ok {
			m = meaning{0, adapters.ClassServer, "The cluster failed: " + answer.Message + ".", adviceRetried}
		}
		if strings.Contains(m.message, "%s") {
			m.message = fmt.Sprintf(m.message, c.topic)
		}
		return c.clean(&adapters.Error{Kind: m.kind, Class: m.class, Message: m.message, Advice: m.advice, Raw: err.Error()})
	}
	e := &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassConnect, Raw: err.Error(),
		Message: "The connection to the cluster was lost before it answered.", Advice: adviceRetried}
	var first *kgo.ErrFirstReadEOF
	switch {
	case c.tls == nil && (errors.As(err, &first) && strings.Contains(first.Error(), "api versions") ||
		strings.Contains(err.Error(), "tls alert")):
		e.Class, e.Message = adapters.ClassTLS, "The broker closed the connection at once, as brokers do that speak TLS."
		e.Advice = "Switch TLS on, or use the port without TLS."
	case errors.As(err, &first) && strings.Contains(first.Error(), "SASL") && c.sasl == nil:
		e.Class, e.Message = adapters.ClassAuth, "The broker closed the connection at once, as brokers do that ask for a user name."
		e.Advice = "Choose the SASL mechanism of this port, and enter a user name and a password."
	case c.sasl != nil && (errors.Is(err, io.EOF) || strings.Contains(strings.ToLower(err.Error()), "sasl") ||
		strings.Contains(strings.ToLower(err.Error()), "scram")):
		e.Class, e.Message = adapters.ClassAuth,
			fmt.Sprintf("The cluster did not let %s in: it closed the connection, as brokers do that refuse a password.", c.user)
		e.Advice = adviceAuth
	case strings.Contains(err.Error(), "response size"):
		e.Class, e.Message = adapters.ClassProtocol, "The broker answered, but not with Kafka's protocol."
		e.Advice = "Check the port of the brokers: usually 9092, or 9093 with TLS."
	case errors.Is(err, kgo.ErrRecordTimeout), errors.Is(err, kgo.ErrRecordRetries):
		if f := c.fault(); f != nil {
			return c.clean(f)
		}
		e.Class, e.Message = adapters.ClassTimeout, "The cluster did not confirm the message in time."
		e.Advice = "Check the load of the brokers and whether all replicas are in sync."
	default:
		host, _, _ := strings.Cut(c.seeds[0], ":")
		if n := outbound.Explain(err, host); n != nil {
			return c.clean(n)
		}
	}
	return c.clean(e)
}
