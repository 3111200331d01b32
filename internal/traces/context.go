package traces

import (
	"strings"

	"go.opentelemetry.io/otel/trace"
)

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

// maxState is how long a tracestate may be that is kept; the specification asks for at least so much (section 3.3.1.5).
const maxState = 512

// longMember is the length past which members of a tracestate that is too long are left out first.
const longMember = 128

// State checks tracestate headers, of which a request may have several (W3C Trace Context, section 3.3), and returns them
// as one, or nothing when they are broken. They mean nothing without a traceparent. From one that is too long whole
// members are left out: first those longer than 128 characters, then the last ones.
func State(traceparent string, headers ...string) string {
	if traceparent == "" {
		return ""
	}
	parsed, err := trace.ParseTraceState(strings.Join(headers, ","))
	if err != nil {
		return ""
	}
	state := parsed.String()
	if len(state) <= maxState {
		return state
	}
	members := strings.Split(state, ",")
	length := len(state)
	leave := func(wanted func(member string) bool) {
		for i := len(members) - 1; i >= 0 && length > maxState; i-- {
			if wanted(members[i]) {
				length -= len(members[i]) + 1
				members = append(members[:i], members[i+1:]...)
			}
		}
	}
	leave(func(m string) bool { return len(m) > longMember })
	leave(func(string) bool { return true })
	return strings.Join(members, ",")
}

// ID is the id of the trace that a checked traceparent belongs to; empty for none.
func ID(traceparent string) string {
	if len(traceparent) < 35 {
		return ""
	}
	return traceparent[3:35]
}
