package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// prefer is what a caller prefers (RFC 7240).
type prefer struct {
	wait    time.Duration // hold the answer up to so long; 0 to answer at once
	async   bool          // respond-async; together with wait, only once that time is up
	minimal bool          // return=minimal
	strict  bool          // handling=strict: unknown fields are errors
}

// maxWait caps how long an answer is held.
const maxWait = 60 * time.Second

// parsePrefer reads the Prefer headers. What it does not understand is ignored, and of a preference that is there several
// times the first counts, as RFC 7240, section 2, says.
func parsePrefer(headers ...string) (p prefer) {
	seen := map[string]bool{}
	for _, header := range headers {
		for header != "" {
			var name, value string
			name, value, header = nextPreference(header)
			if name == "" || seen[name] {
				continue
			}
			seen[name] = true
			switch name {
			case "respond-async":
				p.async = value == ""
			case "wait":
				if n, err := strconv.ParseUint(value, 10, 31); err == nil {
					p.wait = min(time.Duration(n)*time.Second, maxWait)
				}
			case "return":
				p.minimal = value == "minimal"
			case "handling":
				p.strict = value == "strict"
			}
		}
	}
	return p
}

// nextPreference reads the first preference of a header's text and returns the text behind it. The name is in small letters,
// and empty where there is none or its form is wrong; parameters are read over.
//
// It is not a structured field (RFC 9651), for which there are libraries: names may have capitals, "=" may have spaces on
// either side, and values may be any token. A parser of those refuses such a header as a whole.
func nextPreference(s string) (name, value, rest string) {
	name, value, s, ok := cutPair(s)
	for ok {
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] == ',' {
			break
		}
		if ok = s[0] == ';'; ok {
			if s = strings.TrimLeft(s[1:], " \t"); s != "" && s[0] != ';' && s[0] != ',' { // a parameter may be empty
				_, _, s, ok = cutPair(s)
			}
		}
	}
	if !ok {
		name, value = "", ""
	}
	return strings.ToLower(name), value, behindComma(s)
}

// cutPair reads `name` or `name = value` from the start of a text; ok is false where there is no name, or no value behind
// a "=".
func cutPair(s string) (name, value, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t")
	if name, s = cutToken(s); name == "" {
		return "", "", s, false
	}
	after, assigned := strings.CutPrefix(strings.TrimLeft(s, " \t"), "=")
	if !assigned {
		return name, "", s, true
	}
	after = strings.TrimLeft(after, " \t")
	if strings.HasPrefix(after, `"`) {
		value, s, ok = cutQuoted(after)
		return name, value, s, ok
	}
	value, s = cutToken(after)
	return name, value, s, value != ""
}

func cutToken(s string) (token, rest string) {
	i := 0
	for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] >= 'A' && s[i] <= 'Z' || s[i] >= 'a' && s[i] <= 'z' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) >= 0) {
		i++
	}
	return s[:i], s[i:]
}

// cutQuoted reads a quoted string (RFC 9110, section 5.6.4) from the start of a text that begins with its quotation mark.
func cutQuoted(s string) (value, rest string, closed bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// behindComma is the text behind the next comma that is not in quotation marks.
func behindComma(s string) string {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ',':
			return s[i+1:]
		case '"':
			_, rest, closed := cutQuoted(s[i:])
			if !closed {
				return ""
			}
			i = len(s) - len(rest) - 1
		}
	}
	return ""
}

// waitApplied names the preferences for waiting that are honoured. Both are where the answer comes after the wait and tells
// where to look; Reply.write leaves respond-async out where the outcome is known.
func (p prefer) waitApplied() []string {
	var out []string
	if p.async {
		out = append(out, respondAsync)
	}
	if p.wait > 0 {
		out = append(out, "wait="+strconv.Itoa(int(p.wait.Seconds())))
	}
	return out
}

// honoured are those of the preferences that an answer names as applied which this caller has too.
func (p prefer) honoured(applied string) (out []string) {
	for name := range strings.SplitSeq(applied, ", ") {
		if name == respondAsync && p.async || strings.HasPrefix(name, "wait=") && p.wait > 0 {
			out = append(out, name)
		}
	}
	return out
}

// withoutBody is the status of an answer whose caller prefers no body (return=minimal).
func withoutBody(status int) int {
	if status == http.StatusOK {
		return http.StatusNoContent
	}
	return status
}

const (
	headerApplied = "Preference-Applied"
	respondAsync  = "respond-async"
	returnMinimal = "return=minimal"
)
