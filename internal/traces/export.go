package traces

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/credentials"
)

// The protocols that spans can be sent by, as OTEL_EXPORTER_OTLP_PROTOCOL names them.
const (
	ProtocolHTTP = "http/protobuf"
	ProtocolJSON = "http/json"
	ProtocolGRPC = "grpc"
)

// Protocols lists them, the default first.
var Protocols = []string{ProtocolHTTP, ProtocolGRPC, ProtocolJSON}

// Collector says where spans go, and how. Whatever it does not say, OpenTelemetry's exporters read from its variables.
type Collector struct {
	Protocol string // one of Protocols
	// Endpoint is the base address, to which HTTP adds /v1/traces; TracesEndpoint is the whole address and has precedence.
	// gRPC uses host and port only. Both have the scheme http or https.
	Endpoint, TracesEndpoint string
	Headers                  map[string]string // of each request; nil for none
	Timeout                  time.Duration     // of each request
	Uncompressed             bool              // without gzip
	TLS                      *tls.Config       // for https; nil for the system's authorities and no certificate of ours
}

// A batch that the collector cannot take now is sent again for a while. Meanwhile others wait, and past their limit are
// dropped.
const (
	waitFirst = time.Second
	waitMost  = 5 * time.Second
	waitInAll = 20 * time.Second
)

// Given reports whether there is a collector at all.
func (c *Collector) Given() bool { return c.Endpoint != "" || c.TracesEndpoint != "" }

// url is the address of the collector.
func (c *Collector) url() string {
	if c.TracesEndpoint != "" {
		return c.TracesEndpoint
	}
	return strings.TrimRight(c.Endpoint, "/") + "/v1/traces"
}

// exporter makes what sends spans. It does not connect yet.
func (c *Collector) exporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	secure := strings.HasPrefix(strings.ToLower(c.url()), "https:")
	switch c.Protocol {
	case ProtocolGRPC:
		o := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(c.url()), otlptracegrpc.WithHeaders(c.Headers),
			otlptracegrpc.WithTimeout(c.Timeout),
			otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: waitFirst, MaxInterval: waitMost,
				MaxElapsedTime: waitInAll})}
		if !c.Uncompressed {
			o = append(o, otlptracegrpc.WithCompressor("gzip"))
		}
		if secure && c.TLS != nil {
			o = append(o, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(c.TLS)))
		}
		return otlptracegrpc.New(ctx, o...)
	case ProtocolHTTP, ProtocolJSON:
		compression, encoding := otlptracehttp.GzipCompression, otlptracehttp.EncodingProtobuf
		if c.Uncompressed {
			compression = otlptracehttp.NoCompression
		}
		if c.Protocol == ProtocolJSON {
			encoding = otlptracehttp.EncodingJSON
		}
		o := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(c.url()), otlptracehttp.WithHeaders(c.Headers),
			otlptracehttp.WithTimeout(c.Timeout),
			otlptracehttp.WithCompression(compression), otlptracehttp.WithEncoding(encoding),
			otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: waitFirst, MaxInterval: waitMost,
				MaxElapsedTime: waitInAll})}
		if secure && c.TLS != nil {
			o = append(o, otlptracehttp.WithTLSClientConfig(c.TLS))
		}
		return otlptracehttp.New(ctx, o...)
	}
	return nil, fmt.Errorf("unknown protocol %q", c.Protocol)
}
