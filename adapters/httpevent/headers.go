// Package httpevent is how an event looks when it is posted: the headers of its metadata, those of CloudEvents, and
// signatures. The destination types that post events share it.
package httpevent

import (
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// Prefixes of headers.
const (
	MetaPrefix        = "waybill-meta-"
	OutpostPrefix     = "x-outpost-"
	CloudEventsPrefix = "ce-" // HTTP Protocol Binding for CloudEvents 1.0.2, section 3.1.3.1
)

// AddCloudEvent adds the headers of the CloudEvents format that s asks for and returns the message with the body that
// goes out, which is the one to be signed. In the plain format it adds nothing and returns m.
func AddCloudEvent(h *outbound.Header, m *adapters.Message, s *adapters.Settings) *adapters.Message {
	if s.Format == adapters.FormatPayload {
		return m
	}
	e := m.Encode(s, CloudEventsPrefix)
	if s.Format == adapters.FormatBinary {
		for _, a := range e.Attributes {
			h.Add(a.Name, EncodeValue(a.Value, ""))
		}
	}
	out := *m
	out.Data = e.Body
	return &out
}

// Names are the headers by which receivers know an event that look for them, and for its metadata, under one prefix.
type Names struct {
	Prefix                    string   // of metadata
	EventID, Timestamp, Topic string   // whole names; empty for no such header
	Taken                     []string // in lower case: what metadata never sets
}

// NamesUnder are the names of Hookdeck Outpost's default, with another prefix. "signature" is left to the caller.
func NamesUnder(prefix string) Names {
	n := Names{Prefix: prefix, EventID: prefix + "event-id", Timestamp: prefix + "timestamp", Topic: prefix + "topic"}
	for _, name := range []string{n.EventID, n.Timestamp, n.Topic, prefix + "signature"} {
		n.Taken = append(n.Taken, strings.ToLower(name))
	}
	return n
}

var outpostNames = NamesUnder(OutpostPrefix)

// Add adds the headers but for metadata and the signature. now is when the attempt is made.
func (n *Names) Add(h *outbound.Header, m *adapters.Message, now time.Time) {
	if n.EventID != "" {
		h.AddPublic(n.EventID, m.EventID)
	}
	if n.Timestamp != "" {
		h.AddPublicInt(n.Timestamp, now.Unix())
	}
	if n.Topic != "" && m.Topic != "" {
		h.AddPublic(n.Topic, m.Topic)
	}
}

// AddMetadata adds the metadata. Names must be the ones that receivers already look for, so underscores stay, and values are
// not encoded.
func (n *Names) AddMetadata(h *outbound.Header, m *adapters.Message) { addMetadata(h, m, n.Prefix, n) }

// AddOutpost adds the headers by which receivers of Hookdeck Outpost know an event, but for the signature. now is when
// the attempt is made.
func AddOutpost(h *outbound.Header, m *adapters.Message, now time.Time) { outpostNames.Add(h, m, now) }

// AddTrace passes the trace context on that the event belongs to, if there is one (W3C Trace Context, sections 3.2 and
// 3.3).
func AddTrace(h *outbound.Header, m *adapters.Message) {
	if m.TraceParent == "" {
		return
	}
	h.AddPublic(adapters.AttributeTrace, m.TraceParent)
	if m.TraceState != "" {
		h.AddPublic(adapters.AttributeTraceState, m.TraceState)
	}
}

// AddMetadata adds the metadata, under names that begin with MetaPrefix or, with outpost, OutpostPrefix.
func AddMetadata(h *outbound.Header, m *adapters.Message, outpost bool) {
	if outpost {
		outpostNames.AddMetadata(h, m)
	} else {
		AddMetadataUnder(h, m, MetaPrefix)
	}
}

// AddMetadataUnder adds the metadata under names that begin with prefix, in our own way of writing it.
func AddMetadataUnder(h *outbound.Header, m *adapters.Message, prefix string) {
	addMetadata(h, m, prefix, nil)
}

// addMetadata adds the metadata, as it is with plain. The publisher's wins over the destination's own where both have a key:
// it is about this event, and the other about all of them.
func addMetadata(h *outbound.Header, m *adapters.Message, prefix string, plain *Names) {
	if len(m.Metadata) == 0 && len(m.DeliveryMetadata) == 0 {
		return
	}
	var taken []string
	for _, from := range [...]map[string]string{m.Metadata, m.DeliveryMetadata} {
		keys := make([]string, 0, len(from))
		for k := range from {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			name := metaName(k, prefix, plain != nil)
			if name == "" || slices.Contains(taken, name) {
				continue
			}
			if plain == nil {
				taken = append(taken, name)
				h.Add(name, EncodeValue(from[k], ""))
				continue
			}
			if lower := strings.ToLower(name); slices.Contains(plain.Taken, lower) || Framing(lower) {
				continue
			}
			taken = append(taken, name)
			h.Add(name, plainValue(from[k]))
		}
	}
}

// metaName is the header of a metadata key, or empty when there is none. Underscores become dashes unless they are to be
// kept, because common servers drop headers with underscores without a word.
func metaName(key, prefix string, underscores bool) string {
	b := make([]byte, 0, len(prefix)+len(key))
	b = append(b, prefix...)
	for i := 0; i < len(key); i++ {
		c := key[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.', underscores && c == '_':
		default:
			c = '-'
		}
		b = append(b, c)
	}
	if len(b) == len(prefix) {
		return ""
	}
	return string(b)
}

// Framing reports whether a header, by its lower-case name, frames or routes the message, so that nobody but the client
// itself sets it.
func Framing(lower string) bool {
	switch lower {
	case "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "te", "trailer",
		"upgrade", "http2-settings", "expect", "accept-encoding", "content-encoding":
		return true
	}
	return false
}

// EncodeValue writes a metadata value so that every server reads it in the same way: percent-encoded UTF-8 for whatever
// is not printable ASCII, for the percent sign, and for spaces at either end, as CloudEvents does for its headers. also
// lists further ASCII characters to be encoded.
func EncodeValue(v, also string) string {
	const hex = "0123456789ABCDEF"
	plain := true
	for i := 0; i < len(v) && plain; i++ {
		plain = !mustEncode(v, i, also)
	}
	if plain {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if c := v[i]; mustEncode(v, i, also) {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func mustEncode(v string, i int, also string) bool {
	c := v[i]
	return c < ' ' || c >= 0x7f || c == '%' || c == ' ' && (i == 0 || i == len(v)-1) || strings.IndexByte(also, c) >= 0
}

// plainValue is a metadata value in the outpost scheme: as it is, but on one line.
func plainValue(v string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, v)
}
