package models

import (
	"regexp"
	"strings"
)

// The pieces of a search in which comparisons are written as in most other languages: data.customer.email = a@example.com.
var (
	comparison  = regexp.MustCompile(`^([A-Za-z_][\w.-]*)(\s*)(==|=|!=|>=|<=|>|<)\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s()"'=<>!][^\s()]*)`)
	otherTerm   = regexp.MustCompile(`^[^\s()"']+(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')?`)
	between     = regexp.MustCompile(`^(?:\s+|[()])`)
	needsQuotes = regexp.MustCompile(`[:("'\\*]|^[<>=!]`)
)

// comparedAsSearch writes a search with =, ==, !=, or a comparison between spaces, in search notation. ok is false for a text
// that has none, such as a part of a URL's query.
func comparedAsSearch(text string) (as string, ok bool) {
	var b strings.Builder
	for text != "" {
		if m := between.FindString(text); m != "" {
			b.WriteString(m)
			text = text[len(m):]
			continue
		}
		m := comparison.FindStringSubmatch(text)
		if m != nil && m[2] == "" && strings.ContainsAny(m[4], "&=") && m[4][0] != '"' && m[4][0] != '\'' {
			return "", false
		}
		if m == nil {
			term := otherTerm.FindString(text)
			if term == "" {
				return "", false
			}
			b.WriteString(term)
			text = text[len(term):]
			continue
		}
		ok, text = true, text[len(m[0]):]
		value, sign := m[4], m[3]
		if value[0] != '"' && value[0] != '\'' && needsQuotes.MatchString(value) {
			value = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
		}
		switch sign {
		case "=", "==":
			sign = ""
		case "!=":
			sign = ""
			b.WriteString("NOT ")
		}
		b.WriteString(m[1] + ":" + sign + value)
	}
	return b.String(), ok
}
