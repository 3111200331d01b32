package adapters

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// The formats of messages, as destinations name them. Both CloudEvents formats are those of the specification's version
// 1.0.2 (https://github.com/cloudevents/spec).
const (
	FormatPayload    = ""                       // the payload byte for byte, with attributes beside it
	FormatBinary     = "cloudevents-binary"     // the payload byte for byte, with CloudEvents attributes beside it
	FormatStructured = "cloudevents-structured" // an envelope that holds the attributes and the payload
)

// Formats lists the formats that a destination may ask for.
var Formats = []string{FormatPayload, FormatBinary, FormatStructured}

// ContentType is the media type of a message's body in a format.
func ContentType(format string) string {
	if format == FormatStructured {
		return "application/cloudevents+json; charset=utf-8"
	}
	return "application/json"
}

// Attribute is a header, a property or an attribute of a message, whatever the system calls it.
type Attribute struct{ Name, Value string }

// Names of the attributes that are ours in the plain format. Metadata under one of these names, in any case, is left
// out.
const (
	AttributeEventID   = "event-id"
	AttributeTopic     = "topic"
	AttributeTimestamp = "timestamp" // when the event happened, RFC 3339 in UTC
	// AttributeTrace is the trace context (W3C Trace Context), also as the CloudEvents extension for distributed tracing.
	AttributeTrace      = "traceparent"
	AttributeTraceState = "tracestate"
)

// Encoded is a message as a system with message attributes carries it.
type Encoded struct {
	Body        []byte
	ContentType string
	// Attributes are ours first, then the metadata sorted by name. No name is there twice, whatever its case.
	Attributes []Attribute
}

// Encode lays the message out in the format that the destination asks for. prefix stands before the names of
// CloudEvents attributes in the binary format, as the binding of the protocol says: "ce-" for HTTP and Pub/Sub, "ce_" for
// Kafka, "cloudEvents:" for AMQP.
func (m *Message) Encode(s *Settings, prefix string) Encoded {
	e := Encoded{Body: m.Data, ContentType: ContentType(s.Format)}
	if s.Format == FormatBinary {
		e.Attributes = m.cloudEvent(s)
		for i := range e.Attributes {
			e.Attributes[i].Name = prefix + e.Attributes[i].Name
		}
		return e
	}
	e.Attributes = []Attribute{{AttributeEventID, m.EventID}, {AttributeTimestamp, m.Time.UTC().Format(time.RFC3339Nano)}}
	if m.Topic != "" {
		e.Attributes = append(e.Attributes, Attribute{AttributeTopic, m.Topic})
	}
	e.Attributes = m.trace(e.Attributes)
	if s.Format == FormatStructured {
		e.Body = m.envelope(s)
		return e // the metadata is in the envelope
	}
	taken := map[string]bool{AttributeEventID: true, AttributeTopic: true, AttributeTimestamp: true, AttributeTrace: m.TraceParent != "",
		AttributeTraceState: m.TraceParent != ""}
	e.Attributes = m.metadata(e.Attributes, taken, strings.ToLower)
	return e
}

// trace appends the trace context to attrs, if there is one.
func (m *Message) trace(attrs []Attribute) []Attribute {
	if m.TraceParent == "" {
		return attrs
	}
	attrs = append(attrs, Attribute{AttributeTrace, m.TraceParent})
	if m.TraceState != "" {
		attrs = append(attrs, Attribute{AttributeTraceState, m.TraceState})
	}
	return attrs
}

// metadata appends the metadata to attrs: the publisher's wins over the destination's own, and neither over what is
// taken. key makes the name by which two are the same; empty leaves it out.
func (m *Message) metadata(attrs []Attribute, taken map[string]bool, key func(string) string) []Attribute {
	for _, from := range [...]map[string]string{m.Metadata, m.DeliveryMetadata} {
		for _, name := range slices.Sorted(maps.Keys(from)) {
			if k := key(name); k != "" && !taken[k] {
				taken[k] = true
				attrs = append(attrs, Attribute{name, from[name]})
			}
		}
	}
	return attrs
}

// cloudEvent lists the context attributes of the event, the required ones first. Metadata becomes extension
// attributes: their names are lower-case letters and digits, so whatever else a name holds is left out of it.
func (m *Message) cloudEvent(s *Settings) []Attribute {
	kind := m.Topic
	if kind == "" {
		kind = "event" // an event's type must not be empty
	}
	out := []Attribute{{"specversion", "1.0"}, {"id", m.EventID}, {"source", "/tenants/" + s.TenantID}, {"type", kind},
		{"time", m.Time.UTC().Format(time.RFC3339Nano)}}
	out = m.trace(out)
	taken := map[string]bool{AttributeTraceState: m.TraceParent != "", "data": true, "database64": true, "datacontenttype": true,
		"dataschema": true, "subject": true}
	for _, a := range out {
		taken[a.Name] = true
	}
	n := len(out)
	out = m.metadata(out, taken, extensionName)
	for i := n; i < len(out); i++ {
		out[i].Name = extensionName(out[i].Name)
	}
	return out
}

// extensionName is the name of a CloudEvents extension attribute; empty when nothing is left of it.
func extensionName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return -1
	}, name)
}

// envelope is the structured format: the attributes, and the payload byte for byte as their last member.
func (m *Message) envelope(s *Settings) []byte {
	b := make([]byte, 0, len(m.Data)+512)
	for _, a := range append(m.cloudEvent(s), Attribute{"datacontenttype", "application/json"}) {
		b = append(b, separator(len(b))...)
		b = appendJSON(b, a.Name)
		b = append(b, ':')
		b = appendJSON(b, a.Value)
	}
	b = append(b, `,"data":`...)
	b = append(b, m.Data...)
	return append(b, '}')
}

func separator(n int) string {
	if n == 0 {
		return "{"
	}
	return ","
}

func appendJSON(b []byte, s string) []byte {
	q, _ := json.Marshal(s) // a string always can be
	return append(b, q...)
}
