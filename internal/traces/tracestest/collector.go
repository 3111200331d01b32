// Package tracestest is an OpenTelemetry collector for tests: it keeps the spans that it is sent.
package tracestest

import (
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // takes what is compressed
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/waybill-dev/waybill/internal/traces"
)

// Span is one that came.
type Span struct {
	TraceID, ID, Parent string // hexadecimal; Parent is empty for none
	State               string
	Name                string
	Failed              bool
	Start, End          uint64
	Attributes          map[string]string
	Service             string // service.name of its resource
}

// Collector takes spans by one protocol. The first request finds it busy.
type Collector struct {
	URL string // for OTEL_EXPORTER_OTLP_ENDPOINT

	collector.UnimplementedTraceServiceServer
	wrong         func(error)
	authorization string
	compressed    bool

	mu      sync.Mutex
	refused bool
	got     []Span
	raw     strings.Builder
}

// Start starts one that takes nothing but requests as described: by this protocol, with this value of the header
// Authorization, and by HTTP compressed or not.
func Start(t *testing.T, protocol, authorization string, compressed bool) *Collector {
	t.Helper()
	c := &Collector{authorization: authorization, compressed: compressed, wrong: func(err error) { t.Error(err) }}
	if protocol == traces.ProtocolGRPC {
		var lc net.ListenConfig
		l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer()
		collector.RegisterTraceServiceServer(s, c)
		go func() { _ = s.Serve(l) }()
		t.Cleanup(s.Stop)
		c.URL = "http://" + l.Addr().String()
		return c
	}
	decode, kind := proto.Unmarshal, "application/x-protobuf"
	if protocol == traces.ProtocolJSON {
		decode, kind = decodeJSON, "application/json"
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.post(w, r, decode, kind) }))
	t.Cleanup(s.Close)
	c.URL = s.URL
	return c
}

func (c *Collector) post(w http.ResponseWriter, r *http.Request, decode func([]byte, proto.Message) error, kind string) {
	if c.busy() {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	req := &collector.ExportTraceServiceRequest{}
	err := func() error {
		if r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != kind || r.Header.Get("Authorization") != c.authorization ||
			(r.Header.Get("Content-Encoding") == "gzip") != c.compressed {
			return fmt.Errorf("%s %v", r.URL, r.Header)
		}
		body := io.Reader(r.Body)
		if c.compressed {
			zip, err := gzip.NewReader(r.Body)
			if err != nil {
				return err
			}
			body = zip
		}
		b, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		return decode(b, req)
	}()
	if err != nil {
		c.wrong(err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.keep(req)
	w.Header().Set("Content-Type", kind)
}

// Export takes spans by gRPC.
func (c *Collector) Export(ctx context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	if c.busy() {
		return nil, status.Error(codes.Unavailable, "busy")
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if got := strings.Join(md.Get("authorization"), ""); got != c.authorization {
		err := fmt.Errorf("authorization is %q", got)
		c.wrong(err)
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	c.keep(req)
	return &collector.ExportTraceServiceResponse{}, nil
}

// decodeJSON reads OTLP's JSON, which writes ids in hexadecimal, where Protocol Buffers' own has base64.
func decodeJSON(b []byte, m proto.Message) error {
	b = ids.ReplaceAllFunc(b, func(field []byte) []byte {
		part := ids.FindSubmatch(field)
		id, _ := hex.DecodeString(string(part[2]))
		return fmt.Appendf(nil, `"%s":"%s"`, part[1], base64.StdEncoding.EncodeToString(id))
	})
	return protojson.Unmarshal(b, m)
}

var ids = regexp.MustCompile(`"(traceId|spanId|parentSpanId)":\s*"([0-9a-fA-F]*)"`)

// busy reports whether the request is the first one.
func (c *Collector) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.refused
	c.refused = true
	return first
}

func (c *Collector) keep(req *collector.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.WriteString(req.String())
	for _, of := range req.GetResourceSpans() {
		service := attributes(of.GetResource().GetAttributes())["service.name"]
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.got = append(c.got, Span{TraceID: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()),
					Parent: hex.EncodeToString(s.GetParentSpanId()),
					State:  s.GetTraceState(), Name: s.GetName(), Failed: s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR,
					Start: s.GetStartTimeUnixNano(), End: s.GetEndTimeUnixNano(), Attributes: attributes(s.GetAttributes()),
					Service: service})
			}
		}
	}
}

// attributes are those that are texts or numbers.
func attributes(list []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range list {
		switch v := a.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			out[a.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			out[a.GetKey()] = strconv.FormatInt(v.IntValue, 10)
		}
	}
	return out
}

// Await returns the spans when there are n, by their start, and all that came as text.
func (c *Collector) Await(t *testing.T, n int) ([]Span, string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		c.mu.Lock()
		got, raw := slices.Clone(c.got), c.raw.String()
		c.mu.Unlock()
		if len(got) >= n {
			slices.SortStableFunc(got, func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
			return got, raw
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d spans came, want %d", len(got), n)
		}
	}
}
