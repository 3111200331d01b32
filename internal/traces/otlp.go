package traces

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// exporter sends spans to a collector: OTLP over HTTP in its JSON encoding (OpenTelemetry Protocol 1.x, section
// OTLP/HTTP). OpenTelemetry's own exporter does the same and brings gRPC and Protocol Buffers along, which would make the
// binary a third larger.
type exporter struct {
	url    string
	header map[string]string
	client *http.Client
}

// tries is how often a batch is sent at most, and waitBetween how long it waits in between unless the collector says so.
const (
	tries       = 3
	waitBetween = time.Second
	maxWait     = 5 * time.Second
)

// ExportSpans implements sdktrace.SpanExporter.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	err := json.NewEncoder(zip).Encode(encode(spans))
	if err == nil {
		err = zip.Close()
	}
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		again, wait, err := e.post(ctx, body.Bytes())
		if err == nil || !again || n == tries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// Shutdown implements sdktrace.SpanExporter.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

// post sends a batch once, and reports whether it may be sent again, and after which wait.
func (e *exporter) post(ctx context.Context, body []byte) (again bool, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return false, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Encoding", "gzip")
	for k, v := range e.header {
		req.Header.Set(k, v)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return true, waitBetween, fmt.Errorf("the collector does not answer: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	if resp.StatusCode < 300 {
		return false, 0, nil
	}
	wait = waitBetween
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
		wait = min(time.Duration(s)*time.Second, maxWait)
	}
	switch resp.StatusCode { // those that the protocol calls retryable
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	return again, wait, fmt.Errorf("the collector answered %s", resp.Status)
}

// The message ExportTraceServiceRequest, as far as we use it. In JSON ids are hexadecimal and 64-bit numbers are strings.
type (
	otlpRequest struct {
		ResourceSpans []otlpResourceSpans `json:"resourceSpans"`
	}
	otlpResourceSpans struct {
		Resource   otlpResource     `json:"resource"`
		ScopeSpans []otlpScopeSpans `json:"scopeSpans"`
	}
	otlpResource struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpScopeSpans struct {
		Scope otlpScope  `json:"scope"`
		Spans []otlpSpan `json:"spans"`
	}
	otlpScope struct {
		Name string `json:"name"`
	}
	otlpSpan struct {
		TraceID      string          `json:"traceId"`
		SpanID       string          `json:"spanId"`
		TraceState   string          `json:"traceState,omitempty"`
		ParentSpanID string          `json:"parentSpanId,omitempty"`
		Flags        uint32          `json:"flags"`
		Name         string          `json:"name"`
		Kind         int             `json:"kind"`
		Start        string          `json:"startTimeUnixNano"`
		End          string          `json:"endTimeUnixNano"`
		Attributes   []otlpAttribute `json:"attributes"`
		Status       otlpStatus      `json:"status"`
	}
	otlpStatus struct {
		Message string `json:"message,omitempty"`
		Code    int    `json:"code,omitempty"`
	}
	otlpAttribute struct {
		Key   string         `json:"key"`
		Value map[string]any `json:"value"`
	}
)

// encode makes a request of spans, which are all of one resource and scope.
func encode(spans []sdktrace.ReadOnlySpan) otlpRequest {
	out := make([]otlpSpan, len(spans))
	for i, s := range spans {
		sc := s.SpanContext()
		out[i] = otlpSpan{TraceID: sc.TraceID().String(), SpanID: sc.SpanID().String(), TraceState: sc.TraceState().String(), Flags: uint32(sc.TraceFlags()), Name: s.Name(), Kind: int(s.SpanKind()),
			Start: strconv.FormatInt(s.StartTime().UnixNano(), 10), End: strconv.FormatInt(s.EndTime().UnixNano(), 10), Attributes: attributes(s.Attributes()),
			// OTLP counts OK as 1 and an error as 2, OpenTelemetry's API the other way round.
			Status: otlpStatus{s.Status().Description, [...]int{0, 2, 1}[s.Status().Code]}}
		if p := s.Parent(); p.SpanID().IsValid() {
			out[i].ParentSpanID = p.SpanID().String()
		}
		if s.SpanKind() == trace.SpanKindUnspecified {
			out[i].Kind = int(trace.SpanKindInternal)
		}
	}
	return otlpRequest{[]otlpResourceSpans{{otlpResource{attributes(spans[0].Resource().Attributes())},
		[]otlpScopeSpans{{otlpScope{spans[0].InstrumentationScope().Name}, out}}}}}
}

func attributes(list []attribute.KeyValue) []otlpAttribute {
	out := make([]otlpAttribute, 0, len(list))
	for _, a := range list {
		v := map[string]any{"stringValue": a.Value.String()}
		switch a.Value.Type() {
		case attribute.INT64:
			v = map[string]any{"intValue": strconv.FormatInt(a.Value.AsInt64(), 10)}
		case attribute.BOOL:
			v = map[string]any{"boolValue": a.Value.AsBool()}
		case attribute.FLOAT64:
			v = map[string]any{"doubleValue": a.Value.AsFloat64()}
		}
		out = append(out, otlpAttribute{string(a.Key), v})
	}
	return out
}
