package traces

import "strings"

// Context checks a traceparent header (W3C Trace Context, section 3.2) and returns it, or nothing when it is none: a
// broken one is ignored, as section 3.2.2.6 says. What a later version of the format adds is left out.
func Context(header string) string {
	if len(header) < 55 || header[2] != '-' || header[35] != '-' || header[52] != '-' {
		return ""
	}
	version, trace, span, flags := header[:2], header[3:35], header[36:52], header[53:55]
	if !isHex(version) || !isHex(trace) || !isHex(span) || !isHex(flags) || version == "ff" ||
		strings.Trim(trace, "0") == "" || strings.Trim(span, "0") == "" {
		return ""
	}
	if len(header) > 55 && (version == "00" || header[55] != '-') {
		return ""
	}
	return "00" + header[2:55]
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// ID is the id of the trace that a checked traceparent belongs to; empty for none.
func ID(traceparent string) string {
	if len(traceparent) < 35 {
		return ""
	}
	return traceparent[3:35]
}
