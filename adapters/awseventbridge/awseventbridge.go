// Package awseventbridge puts events on event buses of Amazon EventBridge.
package awseventbridge

import (
	"bytes"
	"context"
	_ "embed"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/internal/awsconf"
)

const (
	maxItems = 10
	// maxBytes is the limit of an entry, and gatheredBytes of the entries that are put together: regions where the limit
	// has not been raised to 1 MiB count 256 KiB for a whole call
	// (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html).
	maxBytes      = 1 << 20
	gatheredBytes = 256 << 10
	maxDetailType = 128

	operation      = "PutEvents"
	detailTemplate = "detail_type_template"
	attributeText  = "ce-" // before the names of CloudEvents attributes
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
		Name:         "aws_eventbridge",
		Label:        "Amazon EventBridge",
		Description:  "Puts each event on an event bus of Amazon EventBridge, whose rules take it from there.",
		Needs:        "an event bus and credentials that may put events on it",
		Icon:         icon,
		Instructions: instructions,
		FieldOrder:   40,
		Config: append([]adapters.Field{
			{Key: "event_bus", Alias: "event_bus_name", Label: "Event bus", Type: adapters.FieldText, Default: "default", MaxLength: 1600,
				Help: "Name of the bus, or its ARN when it belongs to another account. EventBridge console, Event buses. Empty for the account's default bus.", Placeholder: "orders",
				Pattern:     `[A-Za-z0-9._/-]+|arn:aws[a-z-]*:events:[a-z0-9-]+:[0-9]{12}:event-bus/[A-Za-z0-9._/-]+`,
				PatternHelp: "must be a bus's name, or its ARN like arn:aws:events:eu-west-1:123456789012:event-bus/orders"},
			awsconf.Region(true, "The region of the bus, as in the console's address."),
			{Key: "source", Label: "Source", Type: adapters.FieldText, Default: "waybill", MaxLength: 256,
				Help:        "What rules match as \"source\": the name of your system. It must not begin with aws.",
				Placeholder: "com.example.shop",
				Pattern:     `[A-Za-z0-9._/:-]+`, PatternHelp: "may have letters, digits and . _ - / :"},
			{Key: detailTemplate, Label: "Detail type", Type: adapters.FieldText, Expression: true,
				Help:        "Expression that gives what rules match as \"detail-type\", at most 128 bytes. Empty gives the event's topic, or \"event\" when it has none.",
				Placeholder: `"order " + data.status`},
		}, awsconf.Access()...),
		Credentials: awsconf.Credentials(),
	}
}

func read(s *adapters.Settings) (awsconf.Settings, []adapters.FieldError) {
	set, errs := awsconf.ReadNamed(s, "event_bus")
	if source := s.Config["source"]; source == "" {
		errs = append(errs, adapters.FieldError{Key: "config.source", Message: "is required"})
	} else if strings.HasPrefix(strings.ToLower(source), "aws.") {
		errs = append(errs, adapters.FieldError{Key: "config.source", Message: "must not begin with aws., which is for AWS's own services"})
	}
	return set, errs
}

// Validate implements adapters.Type.
func (Type) Validate(s *adapters.Settings) []adapters.FieldError {
	_, errs := read(s)
	return errs
}

// name is that of a bus, also when its ARN was given.
func name(bus string) string {
	if _, after, ok := strings.Cut(bus, ":event-bus/"); ok {
		return after
	}
	return bus
}

// Borrows implements adapters.Borrower.
func (Type) Borrows(s adapters.Settings) string { return awsconf.Borrows(s) }

// Target implements adapters.Type.
func (Type) Target(s adapters.Settings) (label, page string) {
	set, errs := read(&s)
	if len(errs) > 0 {
		return "EventBridge event bus", ""
	}
	bus := name(s.Config["event_bus"])
	return bus + " (" + set.Region + ")", set.ConsoleURL("/events/home?region=" + set.Region + "#/eventbus/" + url.PathEscape(bus))
}

// Open implements adapters.Type.
func (Type) Open(env adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	set, errs := read(&s)
	if len(errs) > 0 {
		return nil, awsconf.Problem(errs)
	}
	at, err := address(set)
	if err != nil {
		return nil, err
	}
	bus := s.Config["event_bus"]
	c, err := awsconf.New(env, s, set, at, awsconf.Resource{Service: "EventBridge", Kind: "event bus",
		Name: name(bus), URL: at, Action: "events:PutEvents", Look: "events:DescribeEventBus",
		Limit: "Send less data, or filter such events out; an entry has at most 1 MiB, 256 KiB in some regions."})
	if err != nil {
		return nil, err
	}
	snd := &sender{Client: c, bus: bus, source: s.Config["source"], settings: s}
	api := eventbridge.NewFromConfig(c.Config)
	snd.put = func(ctx context.Context, in *eventbridge.PutEventsInput) (*eventbridge.PutEventsOutput, error) {
		return api.PutEvents(ctx, in)
	}
	snd.look = func(ctx context.Context, in *eventbridge.DescribeEventBusInput) (*eventbridge.DescribeEventBusOutput, error) {
		return api.DescribeEventBus(ctx, in)
	}
	snd.batch = awsconf.NewBatch(c, awsconf.Limits[entry]{Items: maxItems, Bytes: gatheredBytes,
		Size: func(e entry) int { return e.size }}, snd.call)
	return snd, nil
}

// address is where the service is reached.
func address(set awsconf.Settings) (string, error) {
	if set.Endpoint != nil {
		return set.Endpoint.Label(), nil
	}
	e, err := eventbridge.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(),
		eventbridge.EndpointParameters{Region: aws.String(set.Region)})
	return e.URI.String(), awsconf.NoAddress(err)
}

// sender implements adapters.Sender and adapters.Checker.
type sender struct {
	*awsconf.Client
	bus, source string
	settings    adapters.Settings
	batch       *awsconf.Batch[entry]
	// Of the SDK's client only what is used: a field with the client itself would keep all its operations in the binary.
	put  func(context.Context, *eventbridge.PutEventsInput) (*eventbridge.PutEventsOutput, error)
	look func(context.Context, *eventbridge.DescribeEventBusInput) (*eventbridge.DescribeEventBusOutput, error)
}

// entry is one event, ready to be part of a call.
type entry struct {
	types.PutEventsRequestEntry
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
	enc := m.Encode(&s.settings, attributeText)
	if !bytes.HasPrefix(bytes.TrimLeft(enc.Body, " \t\r\n"), []byte("{")) || !utf8.Valid(enc.Body) {
		return entry{}, awsconf.Unfit("The payload is not a JSON object in UTF-8, which EventBridge insists on, so it was not sent.",
			"Publish an object, or use the structured CloudEvents format, whose envelope is one.")
	}
	kind := m.Computed[detailTemplate]
	if kind == "" {
		kind = m.Topic
	}
	if kind == "" {
		kind = "event" // it must not be empty
	}
	if len(kind) > maxDetailType {
		return entry{}, awsconf.Unfit("The detail type is longer than the 128 bytes that EventBridge takes, so the event was not sent.",
			"Shorten what the destination's expression for it gives, or the topic.")
	}
	e := entry{PutEventsRequestEntry: types.PutEventsRequestEntry{Detail: aws.String(string(enc.Body)), DetailType: aws.String(kind),
		EventBusName: aws.String(s.bus), Source: aws.String(s.source), Time: aws.Time(m.Time)}}
	// What counts is told at https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html.
	e.size = 14 + len(enc.Body) + len(kind) + len(s.source)
	for _, a := range enc.Attributes {
		text := strings.ToValidUTF8(a.Name+"="+a.Value, "\uFFFD")
		e.Resources = append(e.Resources, text)
		e.size += len(text)
	}
	if e.size > maxBytes {
		return entry{}, s.TooLarge(e.size, maxBytes)
	}
	return e, nil
}

// accepted is what a receipt holds of an event that EventBridge took.
type accepted struct {
	EventID   string `json:"event_id"`
	RequestID string `json:"request_id,omitempty"`
}

func (s *sender) call(ctx context.Context, batch []entry) ([]awsconf.Outcome, error) {
	in := &eventbridge.PutEventsInput{Entries: make([]types.PutEventsRequestEntry, len(batch))}
	for i, e := range batch {
		in.Entries[i] = e.PutEventsRequestEntry
	}
	var x awsconf.Exchange
	out, err := s.put(awsconf.Watch(ctx, &x), in)
	if err != nil {
		return nil, s.Explain(operation, &x, err)
	}
	// The status is 200 also when every entry was refused: each has to be looked at.
	return s.InOrder(operation, &x, len(batch), len(out.Entries), func(i int) (code, text *string, said any) {
		r := out.Entries[i]
		if r.EventId != nil {
			said = accepted{*r.EventId, x.RequestID}
		}
		return r.ErrorCode, r.ErrorMessage, said
	}), nil
}

// Check implements adapters.Checker.
func (s *sender) Check(ctx context.Context) []adapters.Stage {
	return s.Client.Check(ctx, func(ctx context.Context) error {
		_, err := s.look(ctx, &eventbridge.DescribeEventBusInput{Name: aws.String(s.bus)})
		return err
	})
}

// Close implements adapters.Sender.
func (s *sender) Close() error {
	s.batch.Close()
	return nil
}
