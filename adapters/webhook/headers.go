package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/adapters/outbound"
)

const (
	maxCustomHeaders = 40
	metaPrefix       = "waybill-meta-"
	outpostPrefix    = "x-outpost-"

	cloudEventsPrefix = "ce-" // HTTP Protocol Binding for CloudEvents 1.0.2, section 3.1.3.1
)

// customHeader is one line that the destination's owner wants to be sent.
type customHeader struct{ name, value string }

// secret says whether the value is masked wherever it is shown.
func (h customHeader) secret() bool {
	scheme, _, _ := strings.Cut(h.value, " ")
	return outbound.Sensitive(h.name) || strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "basic")
}

// parseCustomHeaders reads the field custom_headers, sorted by name so that requests are the same every time. Error
// texts follow the field's name.
func parseCustomHeaders(text string) ([]customHeader, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var m map[string]string
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return nil, errors.New(`must be a JSON object of strings, like {"X-Team":"billing"}`)
	}
	if len(m) > maxCustomHeaders {
		return nil, fmt.Errorf("must have at most %d headers", maxCustomHeaders)
	}
	var out []customHeader
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		lower := strings.ToLower(name)
		shown := fmt.Sprintf("%.60q", name)
		switch {
		case !outbound.ValidName(name):
			return nil, fmt.Errorf("has %s, which is not a header name", shown)
		case reserved(lower):
			return nil, fmt.Errorf("must not set %s, which this server sets itself", shown)
		case seen[lower] != "":
			return nil, fmt.Errorf("has %s twice", shown)
		case !outbound.ValidValue(m[name]):
			return nil, fmt.Errorf("has a value for %s with a line break or another control character", shown)
		case m[name] != strings.Trim(m[name], " \t"):
			return nil, fmt.Errorf("has a value for %s with spaces around it", shown)
		}
		seen[lower] = name
		out = append(out, customHeader{name, m[name]})
	}
	return out, nil
}

// reserved says whether a header, by its lower-case name, is this server's own: what frames the message or routes it,
// and what receivers rely on to know where it comes from. User-Agent and Content-Type may be replaced.
func reserved(lower string) bool {
	switch lower {
	case "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "te", "trailer",
		"upgrade", "http2-settings", "expect", "accept-encoding", "content-encoding":
		return true
	}
	return strings.HasPrefix(lower, "webhook-") || strings.HasPrefix(lower, "waybill-") || strings.HasPrefix(lower, outpostPrefix) ||
		strings.HasPrefix(lower, cloudEventsPrefix)
}

// metaHeaders adds metadata to h. The publisher's wins over the destination's own where both have a key: it is about
// this event, and the other about all of them.
func metaHeaders(h *outbound.Header, event, destination map[string]string, outpost bool) {
	if len(event) == 0 && len(destination) == 0 {
		return
	}
	var taken []string
	for _, m := range [...]map[string]string{event, destination} {
		keys := make([]string, 0, len(m))
		for k := range m {
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
				h.Add(name, plainValue(m[k]))
			} else {
				h.Add(name, encodeValue(m[k]))
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
	prefix := metaPrefix
	if outpost {
		prefix = outpostPrefix
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

// encodeValue writes a metadata value so that every server reads it in the same way: percent-encoded UTF-8 for whatever
// is not printable ASCII, for the percent sign, and for spaces at either end, as CloudEvents does for its headers.
func encodeValue(v string) string {
	const hex = "0123456789ABCDEF"
	plain := true
	for i := 0; i < len(v) && plain; i++ {
		plain = !mustEncode(v, i)
	}
	if plain {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if c := v[i]; mustEncode(v, i) {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func mustEncode(v string, i int) bool {
	c := v[i]
	return c < ' ' || c >= 0x7f || c == '%' || c == ' ' && (i == 0 || i == len(v)-1)
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
