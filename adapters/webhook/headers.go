package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/adapters/httpevent"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const maxCustomHeaders = 40

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
	return httpevent.Framing(lower) || strings.HasPrefix(lower, "webhook-") || strings.HasPrefix(lower, "waybill-") ||
		strings.HasPrefix(lower, httpevent.OutpostPrefix) ||
		strings.HasPrefix(lower, httpevent.CloudEventsPrefix)
}
