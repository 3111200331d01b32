// Package awskinesis puts events into data streams of Amazon Kinesis.
package awskinesis

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/internal/awsconf"
)

const (
	// Limits of a call, and of a record with its key (API reference of PutRecords). A stream takes records of up to
	// 1 MiB until its owner raises that, to 10 MiB at most.
	maxItems = 500
	maxBytes = 10 << 20
	// gatheredBytes is how much is put together: more gains nothing, and would have to be sent again when it is lost.
	gatheredBytes = 4 << 20
	maxKey        = 256 // characters

	operation   = "PutRecords"
	keyTemplate = "partition_key_template"
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
		Name:         "aws_kinesis",
		Label:        "Amazon Kinesis",
		Description:  "Puts each event as a record into a data stream of Amazon Kinesis.",
		Needs:        "a data stream and credentials that may put records into it",
		Icon:         icon,
		Instructions: instructions,
		FieldOrder:   50,
		Config: append([]adapters.Field{
			{Key: "stream_name", Label: "Stream", Type: adapters.FieldText, Required: true, MaxLength: 256,
				Help:        "Name of the data stream, or its ARN when it belongs to another account. Kinesis console, Data streams.",
				Placeholder: "orders",
				Pattern:     `[A-Za-z0-9_.-]+|arn:aws[a-z-]*:kinesis:[a-z0-9-]+:[0-9]{12}:stream/[A-Za-z0-9_.-]+`,
				PatternHelp: "must be a stream's name, or its ARN like arn:aws:kinesis:eu-west-1:123456789012:stream/orders"},
			awsconf.Region(true, "The region of the stream, as in the console's address."),
			{Key: keyTemplate, Label: "Partition key", Type: adapters.FieldText, Expression: true,
				Help:        "Expression that gives the partition key: records with the same key go to the same shard. Empty gives the event's id, which spreads evenly.",
				Placeholder: "data.customer_id"},
		}, awsconf.Access()...),
		Credentials: awsconf.Credentials(),
	}
}

// Validate implements adapters.Type.
func (Type) Validate(s *adapters.Settings) []adapters.FieldError {
	_, errs := awsconf.ReadNamed(s, "stream_name")
	if s.Format == adapters.FormatBinary {
		errs = append(errs, adapters.FieldError{Key: "format", Message: "must be " + adapters.FormatStructured +
			" or empty: records of Kinesis have no attributes beside the payload"})
	}
	return errs
}

// name is that of a stream, also when its ARN was given.
func name(stream string) string { return stream[strings.LastIndexByte(stream, '/')+1:] }

// Borrows implements adapters.Borrower.
func (Type) Borrows(s adapters.Settings) string { return awsconf.Borrows(s) }

// Target implements adapters.Type.
func (Type) Target(s adapters.Settings) (label, page string) {
	set, errs := awsconf.ReadNamed(&s, "stream_name")
	if len(errs) > 0 {
		return "Kinesis data stream", ""
	}
	stream := name(s.Config["stream_name"])
	return stream + " (" + set.Region + ")", set.ConsoleURL("/kinesis/home?region=" + set.Region + "#/streams/details/" +
		url.PathEscape(stream) + "/monitoring")
}

// Open implements adapters.Type.
func (Type) Open(env adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	set, errs := awsconf.ReadNamed(&s, "stream_name")
	if len(errs) > 0 {
		return nil, awsconf.Problem(errs)
	}
	at, err := address(set)
	if err != nil {
		return nil, err
	}
	stream := s.Config["stream_name"]
	c, err := awsconf.New(env, s, set, at, awsconf.Resource{Service: "Kinesis", Kind: "stream", Name: name(stream), URL: at,
		Action: "kinesis:PutRecords", Look: "kinesis:DescribeStreamSummary",
		Limit: "Send less data, filter such events out, or raise the stream's maximum record size, which is 1 MiB unless changed and 10 MiB at most."})
	if err != nil {
		return nil, err
	}
	snd := &sender{Client: c, settings: s}
	if strings.HasPrefix(stream, "arn:") {
		snd.arn = aws.String(stream)
	} else {
		snd.stream = aws.String(stream)
	}
	api := kinesis.NewFromConfig(c.Config)
	snd.put = func(ctx context.Context, in *kinesis.PutRecordsInput) (*kinesis.PutRecordsOutput, error) {
		return api.PutRecords(ctx, in)
	}
	snd.look = func(ctx context.Context, in *kinesis.DescribeStreamSummaryInput) (*kinesis.DescribeStreamSummaryOutput, error) {
		return api.DescribeStreamSummary(ctx, in)
	}
	snd.batch = awsconf.NewBatch(c, awsconf.Limits[types.PutRecordsRequestEntry]{Items: maxItems, Bytes: gatheredBytes, Size: size},
		snd.call)
	return snd, nil
}

// address is where the service is reached.
func address(set awsconf.Settings) (string, error) {
	if set.Endpoint != nil {
		return set.Endpoint.Label(), nil
	}
	e, err := kinesis.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(),
		kinesis.EndpointParameters{Region: aws.String(set.Region)})
	return e.URI.String(), awsconf.NoAddress(err)
}

// sender implements adapters.Sender and adapters.Checker.
type sender struct {
	*awsconf.Client
	settings    adapters.Settings
	stream, arn *string // one of them
	batch       *awsconf.Batch[types.PutRecordsRequestEntry]
	// Of the SDK's client only what is used: a field with the client itself would keep all its operations in the binary.
	put  func(context.Context, *kinesis.PutRecordsInput) (*kinesis.PutRecordsOutput, error)
	look func(context.Context, *kinesis.DescribeStreamSummaryInput) (*kinesis.DescribeStreamSummaryOutput, error)
}

func size(e types.PutRecordsRequestEntry) int { return len(e.Data) + len(*e.PartitionKey) }

// Send implements adapters.Sender.
func (s *sender) Send(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
	key := m.Computed[keyTemplate]
	if key == "" {
		key = m.EventID
	}
	e := types.PutRecordsRequestEntry{Data: m.Encode(&s.settings, "").Body, PartitionKey: aws.String(partitionKey(key))}
	if n := size(e); n > maxBytes {
		return adapters.Receipt{}, s.TooLarge(n, maxBytes)
	}
	return s.batch.Send(ctx, e)
}

// partitionKey is a key that Kinesis takes: one that is too long is replaced by its hash, so that equal ones stay equal.
func partitionKey(key string) string {
	key = strings.ToValidUTF8(key, "\uFFFD")
	if utf8.RuneCountInString(key) <= maxKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// accepted is what a receipt holds of a record that Kinesis took.
type accepted struct {
	SequenceNumber string `json:"sequence_number"`
	ShardID        string `json:"shard_id"`
	RequestID      string `json:"request_id,omitempty"`
}

func (s *sender) call(ctx context.Context, batch []types.PutRecordsRequestEntry) ([]awsconf.Outcome, error) {
	var x awsconf.Exchange
	out, err := s.put(awsconf.Watch(ctx, &x), &kinesis.PutRecordsInput{Records: batch, StreamName: s.stream, StreamARN: s.arn})
	if err != nil {
		return nil, s.Explain(operation, &x, err)
	}
	return s.InOrder(operation, &x, len(batch), len(out.Records), func(i int) (code, text *string, said any) {
		r := out.Records[i]
		if r.SequenceNumber != nil {
			said = accepted{*r.SequenceNumber, aws.ToString(r.ShardId), x.RequestID}
		}
		return r.ErrorCode, r.ErrorMessage, said
	}), nil
}

// Check implements adapters.Checker.
func (s *sender) Check(ctx context.Context) []adapters.Stage {
	return s.Client.Check(ctx, func(ctx context.Context) error {
		_, err := s.look(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: s.stream, StreamARN: s.arn})
		return err
	})
}

// Close implements adapters.Sender.
func (s *sender) Close() error {
	s.batch.Close()
	return nil
}
