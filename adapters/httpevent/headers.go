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

// AddOutpost adds the headers by which receivers of Hookdeck Outpost know an event, but for the signature. now is when
// the attempt is made.
func AddOutpost(h *outbound.Header, m *adapters.Message, now time.Time) {
	h.AddPublic(OutpostPrefix+"event-id", m.EventID)
	h.AddPublicInt(OutpostPrefix+"timestamp", now.Unix())
	if m.Topic != "" {
		h.AddPublic(OutpostPrefix+"topic", m.Topic)
	}
}

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

// AddMetadata adds the metadata, under names that begin with MetaPrefix or, with outpost, OutpostPrefix. The publisher's
// wins over the destination's own where both have a key: it is about this event, and the other about all of them.
func AddMetadata(h *outbound.Header, m *adapters.Message, outpost bool) {
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
			name := metaName(k, outpost)
			if name == "" || slices.Contains(taken, name) {
				continue
			}
			taken = append(taken, name)
			if outpost {
				h.Add(name, plainValue(from[k]))
			} else {
				h.Add(name, EncodeValue(from[k], ""))
			}
		}
	}
}

// metaName is the header of a metadata key, or empty when there is none.
//
// Underscores become dashes, because common servers drop headers with underscores without a word. In the outpost
// scheme the names must be the ones that receivers already look for, so underscores stay there, and the four headers of
// the scheme itself are not for metadata to set.
func metaName(key string, outpost bool) string {
	prefix := MetaPrefix
	if outpost {
		prefix = OutpostPrefix
	}
	b := make([]byte, 0, len(prefix)+len(key))
	b = append(b, prefix...)
	for i := 0; i < len(key); i++ {
		c := key[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.', outpost && c == '_':
		default:
			c = '-'
		}
		b = append(b, c)
	}
	if len(b) == len(prefix) {
		return ""
	}
	if outpost {
		switch string(b[len(prefix):]) {
		case "event-id", "timestamp", "topic", "signature":
			return ""
		}
	}
	return string(b)
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
