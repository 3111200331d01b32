// Package awssqs sends events to queues of Amazon SQS, standard and FIFO.
package awssqs

import (
	"context"
	"crypto/md5" //nolint:gosec // it is what SQS answers with
	_ "embed"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/internal/awsconf"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const (
	// maxBytes is the limit of a message, and of all messages of a call together
	// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html).
	maxBytes = 1 << 20
	maxItems = 10

	operation     = "SendMessageBatch"
	groupTemplate = "message_group_template"
	// otherRegion is what requests to servers that are not AWS's are signed for when nothing is said.
	otherRegion = "us-east-1"
)

//go:embed instructions.md
var instructions string

//go:embed icon.svg
var icon string

func init() { adapters.Register(Type{}) }

// Type is the destination type.
type Type struct{}

// Spec implements adapters.Type.
func (Type) Spec() adapters.Spec {
	return adapters.Spec{
		Name:         "aws_sqs",
		Label:        "Amazon SQS",
		Description:  "Sends each event as a message to a queue of Amazon SQS, standard or FIFO.",
		Needs:        "a queue's URL and credentials that may send to it",
		Icon:         icon,
		Instructions: instructions,
		FieldOrder:   30,
		Config: append([]adapters.Field{
			{Key: "queue_url", Label: "Queue URL", Type: adapters.FieldText, Required: true, MaxLength: outbound.MaxURL,
				Help:        "SQS console, the queue's page, Details, URL. That of a FIFO queue ends with .fifo.",
				Placeholder: "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
				Pattern:     `https?://[^/?#]+/.*[^/]`,
				PatternHelp: "must be the full queue URL, like https://sqs.eu-west-1.amazonaws.com/123456789012/orders"},
			awsconf.Region(false, "Read from the queue URL. For servers that are not AWS's it is us-east-1 unless you say otherwise."),
			{Key: groupTemplate, Label: "Message group", Type: adapters.FieldText, Expression: true,
				Help: "Expression that gives the message group id. Messages of a FIFO queue are ordered within their group; empty " +
					"gives the topic, or the event's id when it has none. Standard queues use groups for fairness, and have none unless you say so.",
				Placeholder: "data.customer_id"},
		}, awsconf.Access()...),
		Credentials: awsconf.Credentials(),
	}
}

var (
	// regionOf finds the region in a queue's host: sqs.<region>.…, also behind the name of a VPC endpoint, and the old
	// <region>.queue.….
	regionOf  = regexp.MustCompile(`(?:(?:^|\.)sqs(?:-fips)?\.([a-z]+(?:-[a-z]+)+-[0-9]+)\.|^([a-z]+(?:-[a-z]+)+-[0-9]+)\.queue\.)`)
	queueName = regexp.MustCompile(`^[A-Za-z0-9_-]+(?:\.fifo)?$`)
)

// target is a destination's settings, taken apart.
type target struct {
	awsconf.Settings
	url, name, at string // of the queue; at is the service's address
}

func (t target) fifo() bool { return strings.HasSuffix(t.name, ".fifo") }

func read(s *adapters.Settings) (t target, errs []adapters.FieldError) {
	t.Settings, errs = awsconf.Read(s)
	t.url = s.Config["queue_url"]
	e, err := outbound.ParseURL(t.url)
	if err == nil && strings.Contains(e.Target, "?") {
		err = fmt.Errorf("must not have a query (?…)")
	}
	if err != nil {
		return t, append(errs, adapters.FieldError{Key: "config.queue_url", Message: err.Error()})
	}
	t.name = e.Target[strings.LastIndexByte(e.Target, '/')+1:]
	if !queueName.MatchString(t.name) {
		errs = append(errs, adapters.FieldError{Key: "config.queue_url", Message: "must end with the queue's name"})
	}
	t.at = strings.TrimSuffix(e.Label(), e.Target)
	named := regionOf.FindStringSubmatch(e.Host)
	region := ""
	if named != nil {
		region = named[1] + named[2]
	}
	if named != nil && named[2] != "" && awsconf.AWSHost(e.Host) {
		t.at = "https://sqs." + region + ".amazonaws.com" // the old address does not speak today's protocol
	}
	switch {
	case t.Region == "" && region != "":
		t.Region = region
	case t.Region == "" && awsconf.AWSHost(e.Host):
		errs = append(errs, adapters.FieldError{Key: "config.region", Message: "is required, because the queue URL does not name it"})
	case t.Region == "":
		t.Region = otherRegion
	case region != "" && t.Region != region && awsconf.AWSHost(e.Host):
		errs = append(errs, adapters.FieldError{Key: "config.region", Message: "must be empty or " + region +
			", which the queue URL names"})
	}
	if t.Endpoint != nil {
		t.at = t.Endpoint.Label()
	}
	return t, errs
}

// Validate implements adapters.Type.
func (Type) Validate(s *adapters.Settings) []adapters.FieldError {
	_, errs := read(s)
	return errs
}

// Borrows implements adapters.Borrower.
func (Type) Borrows(s adapters.Settings) string { return awsconf.Borrows(s) }

// Target implements adapters.Type.
func (Type) Target(s adapters.Settings) (label, page string) {
	t, errs := read(&s)
	if len(errs) > 0 {
		return "SQS queue", ""
	}
	if e, err := outbound.ParseURL(t.url); err != nil || !awsconf.AWSHost(e.Host) {
		return t.url, ""
	}
	return t.name + " (" + t.Region + ")", t.ConsoleURL("/sqs/v3/home?region=" + t.Region + "#/queues/" + url.QueryEscape(t.url))
}

// Open implements adapters.Type.
func (Type) Open(env adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	t, errs := read(&s)
	if len(errs) > 0 {
		return nil, awsconf.Problem(errs)
	}
	c, err := awsconf.New(env, s, t.Settings, t.at, awsconf.Resource{Service: "SQS", Kind: "queue", Name: t.name, URL: t.url,
		Action: "sqs:SendMessage", Look: "sqs:GetQueueAttributes",
		Limit: "Send less data, or filter such events out; 1 MiB with the attributes is the most, unless the queue's own maximum is lower."})
	if err != nil {
		return nil, err
	}
	snd := &sender{Client: c, target: t, settings: s}
	api := sqs.NewFromConfig(c.Config, func(o *sqs.Options) {
		o.DisableMessageChecksumValidation = true // it fails a whole call; each message is checked for itself below
	})
	snd.send = func(ctx context.Context, in *sqs.SendMessageBatchInput) (*sqs.SendMessageBatchOutput, error) {
		return api.SendMessageBatch(ctx, in)
	}
	snd.look = func(ctx context.Context, in *sqs.GetQueueAttributesInput) (*sqs.GetQueueAttributesOutput, error) {
		return api.GetQueueAttributes(ctx, in)
	}
	snd.batch = awsconf.NewBatch(c, awsconf.Limits[entry]{Items: maxItems, Bytes: maxBytes, Ordered: t.fifo(),
		Size: func(e entry) int { return e.size }}, snd.call)
	return snd, nil
}

// sender implements adapters.Sender and adapters.Checker.
type sender struct {
	*awsconf.Client
	target   target
	settings adapters.Settings
	batch    *awsconf.Batch[entry]
	// Of the SDK's client only what is used: a field with the client itself would keep all its operations in the binary.
	send func(context.Context, *sqs.SendMessageBatchInput) (*sqs.SendMessageBatchOutput, error)
	look func(context.Context, *sqs.GetQueueAttributesInput) (*sqs.GetQueueAttributesOutput, error)
}

// entry is one message, ready to be part of a call.
type entry struct {
	types.SendMessageBatchRequestEntry
	size int
}

// Send implements adapters.Sender.
func (s *sender) Send(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
	e, err := s.entry(m)
	if err != nil {
		return adapters.Receipt{}, err
	}
	return s.batch.Send(ctx, e)
}

func (s *sender) entry(m *adapters.Message) (entry, error) {
	enc := m.Encode(&s.settings, cloudEventsPrefix)
	if !allowed(string(enc.Body)) {
		return entry{}, awsconf.Unfit("The payload has characters that SQS does not carry, so it was not sent.",
			"SQS takes valid UTF-8 without U+FFFE and U+FFFF; have the publisher escape them in the JSON text.")
	}
	var e entry
	e.MessageBody = aws.String(string(enc.Body))
	e.MessageAttributes, e.size = attributes(enc.Attributes)
	e.size += len(enc.Body)
	if e.size > maxBytes {
		return entry{}, s.TooLarge(e.size, maxBytes)
	}
	group := m.Computed[groupTemplate]
	if s.target.fifo() {
		if group == "" {
			group = m.Topic
		}
		if group == "" {
			group = m.EventID
		}
		e.MessageDeduplicationId = aws.String(token(m.EventID))
	}
	if group != "" {
		e.MessageGroupId = aws.String(token(group))
	}
	return e, nil
}

// accepted is what a receipt holds of a message that SQS took.
type accepted struct {
	MessageID      string `json:"message_id"`
	SequenceNumber string `json:"sequence_number,omitempty"`
	MD5            string `json:"md5_of_body"`
	RequestID      string `json:"request_id,omitempty"`
}

func (s *sender) call(ctx context.Context, batch []entry) ([]awsconf.Outcome, error) {
	in := &sqs.SendMessageBatchInput{QueueUrl: &s.target.url, Entries: make([]types.SendMessageBatchRequestEntry, len(batch))}
	for i, e := range batch {
		in.Entries[i] = e.SendMessageBatchRequestEntry
		in.Entries[i].Id = aws.String(strconv.Itoa(i))
	}
	var x awsconf.Exchange
	out, err := s.send(awsconf.Watch(ctx, &x), in)
	if err != nil {
		return nil, s.Explain(operation, &x, err)
	}
	outcomes := make([]awsconf.Outcome, len(batch))
	for i := range outcomes {
		outcomes[i] = s.Silent(operation, &x)
	}
	for _, f := range out.Failed {
		if i, ok := index(f.Id, len(batch)); ok {
			outcomes[i] = s.Entry(operation, &x, aws.ToString(f.Code), aws.ToString(f.Message))
		}
	}
	for _, t := range out.Successful {
		i, ok := index(t.Id, len(batch))
		if !ok {
			continue
		}
		outcomes[i] = s.Taken(operation, &x, accepted{aws.ToString(t.MessageId), aws.ToString(t.SequenceNumber),
			aws.ToString(t.MD5OfMessageBody), x.RequestID})
		sum := md5.Sum([]byte(*batch[i].MessageBody)) //nolint:gosec // as above
		if got := aws.ToString(t.MD5OfMessageBody); got != "" && got != hex.EncodeToString(sum[:]) {
			outcomes[i].Err = &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassProtocol,
				Message: "SQS took a message with another body than the one that was sent: its MD5 differs.",
				Advice:  "It will be retried; check what lies between this server and SQS if it happens again."}
		}
	}
	return outcomes, nil
}

// index reads the id of an entry in an answer, which is its place in the call.
func index(id *string, n int) (int, bool) {
	i, err := strconv.Atoi(aws.ToString(id))
	return i, err == nil && i >= 0 && i < n
}

// Check implements adapters.Checker.
func (s *sender) Check(ctx context.Context) []adapters.Stage {
	return s.Client.Check(ctx, func(ctx context.Context) error {
		_, err := s.look(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &s.target.url,
			AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn}})
		return err
	})
}

// Close implements adapters.Sender.
func (s *sender) Close() error {
	s.batch.Close()
	return nil
}
