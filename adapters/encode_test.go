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
		m := &Message{EventID: "evt_1", Metadata: map[string]string{"traceparent": "theirs"}, Data: []byte(`{}`)}
		for _, want := range []string{"theirs", trace} {
			if want == trace {
				m.TraceParent = trace
			}
			e := m.Encode(&Settings{TenantID: "acme", Format: format}, "ce-")
			var got []string
			for _, a := range e.Attributes {
				if strings.TrimPrefix(a.Name, "ce-") == AttributeTrace {
					got = append(got, a.Value)
				}
			}
			if format == FormatStructured {
				if n := strings.Count(string(e.Body), `"traceparent":"`+want+`"`); n != 1 || strings.Count(string(e.Body), "traceparent") != 1 {
					t.Errorf("%s: %s", format, e.Body)
				}
			} else if !slices.Equal(got, []string{want}) {
				t.Errorf("%q: %q, want %q", format, got, want)
			}
		}
	}
}
