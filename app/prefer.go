package app

import (
	"strconv"
	"strings"
	"time"
)

// prefer is what a caller prefers (RFC 7240).
type prefer struct {
	wait    time.Duration // hold the answer up to so long; 0 to answer at once
	async   bool          // respond-async
	minimal bool          // return=minimal
	strict  bool          // handling=strict: unknown fields are errors
}

// maxWait caps how long an answer is held.
const maxWait = 60 * time.Second

// parsePrefer reads the Prefer header. What it does not understand is ignored, as RFC 7240 says.
func parsePrefer(header string) (p prefer) {
	for _, part := range strings.FieldsFunc(header, func(r rune) bool { return r == ',' || r == ';' }) {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "respond-async":
			p.async = true
		case "wait":
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				p.wait = min(time.Duration(n)*time.Second, maxWait)
			}
		case "return":
			p.minimal = value == "minimal"
		case "handling":
			p.strict = value == "strict"
		}
	}
	if p.async {
		p.wait = 0
	}
	return p
}

// waitApplied names the preference for waiting that was honoured.
func (p prefer) waitApplied() []string {
	switch {
	case p.wait > 0:
		return []string{"wait=" + strconv.Itoa(int(p.wait.Seconds()))}
	case p.async:
		return []string{"respond-async"}
	}
	return nil
}
