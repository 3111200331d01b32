// Package traces tells an OpenTelemetry collector how an event passes through the server: a span for its publish, and one
// for each attempt to deliver it. It imports nothing of ours. Every method works on a nil *Tracer too: then there are no
// spans, and a publisher's traceparent is passed on as it came.
package traces

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes spans and sends them to the collector.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// Options says where spans go.
type Options struct {
	Collector
	Version string      // of this build
	Role    string      // serve, web or work
	OnError func(error) // called when spans could not be sent
}

// What waits to be sent. Past it spans are dropped: deliveries never wait for the collector.
const (
	maxWaiting = 16_384
	maxBatch   = 2048
	batchedFor = 2 * time.Second
)

// Start gets a tracer ready. It does not connect yet. Which traces are recorded, and what else the resource says, is up to
// OpenTelemetry's own variables (OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME).
func Start(ctx context.Context, o Options) (*Tracer, error) {
	to, err := o.exporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("set up traces: %w", err)
	}
	res, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "waybill"),
		attribute.String("service.version", o.Version),
		attribute.String("waybill.role", o.Role)), resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("set up traces: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(o.OnError))
	p := sdktrace.NewTracerProvider(sdktrace.WithResource(res),
		sdktrace.WithBatcher(to, sdktrace.WithMaxQueueSize(maxWaiting), sdktrace.WithMaxExportBatchSize(maxBatch),
			sdktrace.WithBatchTimeout(batchedFor)))
	return &Tracer{provider: p, tracer: p.Tracer("github.com/waybill-dev/waybill")}, nil
}

// Stop sends what waits, as long as ctx lasts.
func (t *Tracer) Stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Span is a step on the way of an event. The zero Span is not recorded.
type Span struct {
	span trace.Span
	// Parent is the traceparent for whatever follows from the step: the span's own, or the one it was given when
	// nothing is recorded. State is the tracestate beside it.
	Parent, State string
}

// Publish begins the span of a request that publishes events. parent and state are the caller's checked traceparent and
// tracestate, empty for none.
func (t *Tracer) Publish(parent, state, tenant string, events int) Span {
	if t == nil {
		return Span{Parent: parent, State: state}
	}
	return t.begin(parent, state, "publish", trace.SpanKindServer, time.Now(), attribute.String("waybill.tenant", tenant),
		attribute.Int("messaging.batch.message_count", events))
}

// Attempt is what the span of an attempt says of it.
type Attempt struct {
	Tenant, Destination, Type, Event, Topic string
	Number                                  int // from 1
	Started                                 time.Time
}

// Attempt begins the span of an attempt. parent and state are the trace context that the event came with.
func (t *Tracer) Attempt(parent, state string, a Attempt) Span {
	if t == nil {
		return Span{Parent: parent, State: state}
	}
	return t.begin(parent, state, "deliver "+a.Type, trace.SpanKindProducer, a.Started,
		attribute.String("waybill.tenant", a.Tenant), attribute.String("waybill.destination", a.Destination),
		attribute.String("waybill.destination_type", a.Type),
		attribute.String("messaging.message.id", a.Event), attribute.String("waybill.topic", a.Topic),
		attribute.Int("waybill.attempt", a.Number))
}

func (t *Tracer) begin(parent, state, name string, kind trace.SpanKind, at time.Time, attributes ...attribute.KeyValue) Span {
	ctx := context.Background()
	if sc := remote(parent, state); sc.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	_, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(at), trace.WithAttributes(attributes...))
	sc := span.SpanContext()
	return Span{span, fmt.Sprintf("00-%s-%s-%s", sc.TraceID(), sc.SpanID(), sc.TraceFlags()), sc.TraceState().String()}
}

// remote reads a checked traceparent and tracestate.
func remote(parent, state string) trace.SpanContext {
	var cfg trace.SpanContextConfig
	if len(parent) != 55 {
		return trace.SpanContext{}
	}
	_, err := hex.Decode(cfg.TraceID[:], []byte(parent[3:35]))
	if err == nil {
		_, err = hex.Decode(cfg.SpanID[:], []byte(parent[36:52]))
	}
	flags, ferr := hex.DecodeString(parent[53:55])
	if err != nil || ferr != nil {
		return trace.SpanContext{}
	}
	cfg.TraceState, _ = trace.ParseTraceState(state) // it was checked; a broken one is as good as none
	cfg.TraceFlags, cfg.Remote = trace.TraceFlags(flags[0])&trace.FlagsSampled, true
	return trace.NewSpanContext(cfg)
}

// Event notes the id of an event that the step was about.
func (s Span) Event(id string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String("messaging.message.id", id))
	}
}

// Failed notes what went wrong: a word for the kind of error, and a sentence without secrets.
func (s Span) Failed(class, message string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String("error.type", class))
		s.span.SetStatus(codes.Error, message)
	}
}

// End ends the step. code is the status that the other side answered with, 0 for none; status is what became of it.
func (s Span) End(code int, status string) {
	if s.span == nil {
		return
	}
	if code != 0 {
		s.span.SetAttributes(attribute.Int("http.response.status_code", code))
	}
	if status != "" {
		s.span.SetAttributes(attribute.String("waybill.status", status))
	}
	s.span.End()
}
