package adapters

import (
	"slices"
	"strings"
	"testing"
)

// TestEncodeTrace passes the trace context on in every format, once, and metadata of that name where there is none.
func TestEncodeTrace(t *testing.T) {
	t.Parallel()
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, format := range Formats {
		m := &Message{EventID: "evt_1", Metadata: map[string]string{"traceparent": "theirs", "tracestate": "theirs=1"}, Data: []byte(`{}`)}
		for _, c := range [][2]string{{"theirs", "theirs=1"}, {trace, "a=1,b=2"}, {trace, ""}} {
			want, state := c[0], c[1]
			if want == trace {
				m.TraceParent, m.TraceState = trace, state
			}
			e := m.Encode(&Settings{TenantID: "acme", Format: format}, "ce-")
			var got, states []string
			for _, a := range e.Attributes {
				switch strings.TrimPrefix(a.Name, "ce-") {
				case AttributeTrace:
					got = append(got, a.Value)
				case AttributeTraceState:
					states = append(states, a.Value)
				}
			}
			if format != FormatStructured && strings.Join(states, "+") != state {
				t.Errorf("%q: states %q, want %q", format, states, state)
			}
			if format == FormatStructured {
				if n := strings.Count(string(e.Body), `"traceparent":"`+want+`"`); n != 1 ||
					strings.Count(string(e.Body), "traceparent") != 1 {
					t.Errorf("%s: %s", format, e.Body)
				}
				if has := strings.Contains(string(e.Body), `"tracestate":"`+state+`"`); has != (state != "") ||
					strings.Count(string(e.Body), "tracestate") > 1 {
					t.Errorf("%s: %s", format, e.Body)
				}
			} else if !slices.Equal(got, []string{want}) {
				t.Errorf("%q: %q, want %q", format, got, want)
			}
		}
	}
}
