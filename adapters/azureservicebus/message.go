package azureservicebus

import (
	"strings"
	"unicode/utf16"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/httpevent"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const (
	// attributePrefix is that of CloudEvents attributes in application properties, in the form without a colon, which is
	// not allowed in the name of a header (AMQP Protocol Binding for CloudEvents 1.0.2, section 3.1.3.1).
	attributePrefix = "cloudEvents_"
	// renamed stands before the names of metadata that are headers of HTTP or Service Bus.
	renamed = "meta-"
	// maxProperties is how many bytes the application properties may take in the header of a request. Many servers take
	// 16 KiB for all of it.
	maxProperties = 12 << 10
)

// brokerProperties is the header of that name: the properties of the message that are not the application's, in JSON of
// ASCII alone, for it is a header.
func brokerProperties(id, label, session string) []byte {
	b := appendASCII([]byte(`{"MessageId":`), id)
	if label != "" {
		b = appendASCII(append(b, `,"Label":`...), label)
	}
	if session != "" {
		b = appendASCII(append(b, `,"SessionId":`...), session)
	}
	return append(b, '}')
}

// appendASCII appends s as a JSON string that has no other characters than printable ASCII.
func appendASCII(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case ' ' <= r && r < 0x7f:
			b = append(b, byte(r))
		default:
			units := []rune{r}
			if r > 0xffff {
				high, low := utf16.EncodeRune(r)
				units = []rune{high, low}
			}
			for _, u := range units {
				b = append(b, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
			}
		}
	}
	return append(b, '"')
}

// addProperties adds the application properties: a header each, whose value is a string in quotes. Characters that may
// not stand there are percent-encoded. Ours come first, so that they always have a place.
func addProperties(h *outbound.Header, attributes []adapters.Attribute) {
	var taken map[string]bool
	left := maxProperties
	for _, a := range attributes {
		name := propertyName(a.Name)
		value := `"` + httpevent.EncodeValue(a.Value, `"\`) + `"`
		lower := strings.ToLower(name)
		if size := len(name) + len(value) + 4; name == "" || taken[lower] || size > left {
			continue
		} else {
			left -= size
		}
		if taken == nil {
			taken = make(map[string]bool, len(attributes))
		}
		taken[lower] = true
		h.Add(name, value)
	}
}

// propertyName is an attribute's name as that of a header: characters that are not allowed in one become dashes.
func propertyName(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r < 0x80 && outbound.ValidName(string(r)) {
			return r
		}
		return '-'
	}, name)
	if reserved(strings.ToLower(clean)) {
		return renamed + clean
	}
	return clean
}

// reserved says whether a header, by its lower-case name, would not become a property: those of HTTP requests, by which
// servers and proxies act, and those of Service Bus.
func reserved(lower string) bool {
	switch lower {
	case "accept", "accept-charset", "accept-encoding", "accept-language", "allow", "authorization", "brokerproperties",
		"cache-control", "connection", "content-disposition", "content-encoding", "content-language", "content-length",
		"content-location", "content-md5", "content-range", "content-type", "cookie", "date", "expect", "expires", "forwarded",
		"from", "host", "http2-settings", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since",
		"keep-alive", "last-modified", "max-forwards", "origin", "pragma", "proxy-authorization", "proxy-connection", "range",
		"referer", "servicebusauthorization", "servicebussupplementaryauthorization", "te", "trailer", "transfer-encoding",
		"translate", "upgrade", "user-agent", "via", "warning":
		return true
	}
	return strings.HasPrefix(lower, "x-ms-") || strings.HasPrefix(lower, "x-forwarded-")
}
