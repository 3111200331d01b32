package models

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/tidwall/gjson"
)

// Redaction is what a tenant does not want to be kept of requests and answers. What is sent is not changed by it.
type Redaction struct {
	fields  [][]string // paths into JSON bodies of answers, in their steps
	headers map[string]bool
	query   map[string]bool
}

const (
	// anyStep is a step of a path that stands for every field, or every element of a list.
	anyStep = "*"
	// BodyNotKept stands for a body that rules for its fields cannot be applied to.
	BodyNotKept = "Not kept: the tenant has rules for fields of answers, and this one is no whole JSON document."

	maxRedactions = 100
)

var (
	redactPath   = regexp.MustCompile(`^(\$\.)?([^\s.*\[\]]+|\*)(\.([^\s.*\[\]]+|\*)|\[\*\])*$`)
	redactHeader = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$") // RFC 9110, section 5.6.2: token
)

// checkRedactions reports what is wrong with a tenant's rules.
func (x *TenantSettings) checkRedactions(bad problems) {
	for name, rule := range map[string]struct {
		list  *[]string
		valid func(string) bool
		must  string
	}{
		"redact_fields":  {x.RedactFields, redactPath.MatchString, `must be a path like "customer.email", "items[*].name" or "*.email"`},
		"redact_headers": {x.RedactHeaders, redactHeader.MatchString, `must be the name of a header, like "X-User"`},
		"redact_query":   {x.RedactQuery, func(s string) bool { return s != "" && len(s) <= 100 }, "must be the name of a query parameter"},
	} {
		if rule.list == nil {
			continue
		}
		if len(*rule.list) > maxRedactions {
			bad.add(name, fmt.Sprintf("must be at most %d", maxRedactions))
		}
		for i, s := range *rule.list {
			field := fmt.Sprintf("%s[%d]", name, i)
			if checkText(field, s, 200, bad); bad[field] == "" && !rule.valid(s) {
				bad.add(field, fmt.Sprintf("%q %s", cut(s, 40), rule.must))
			}
		}
	}
}

// redaction is what the settings say; nil for nothing.
func (x *TenantSettings) redaction() *Redaction {
	r := &Redaction{headers: map[string]bool{}, query: map[string]bool{}}
	list := func(l *[]string) []string {
		if l == nil {
			return nil
		}
		return *l
	}
	for _, path := range list(x.RedactFields) {
		path = strings.ReplaceAll(strings.TrimPrefix(path, "$."), "[*]", "."+anyStep)
		r.fields = append(r.fields, strings.Split(path, "."))
	}
	for _, name := range list(x.RedactHeaders) {
		r.headers[strings.ToLower(name)] = true
	}
	for _, name := range list(x.RedactQuery) {
		r.query[strings.ToLower(name)] = true
	}
	if len(r.fields)+len(r.headers)+len(r.query) == 0 {
		return nil
	}
	return r
}

// Apply takes out of an attempt what is not to be kept. Values that were taken out of its URL and headers are not in its error
// and log either.
func (r *Redaction) Apply(a *Attempt) {
	if r == nil {
		return
	}
	var gone []string
	if len(r.headers) > 0 {
		a.RequestHeader, gone = r.header(a.RequestHeader, gone)
		a.ResponseHeader, gone = r.header(a.ResponseHeader, gone)
	}
	if len(r.query) > 0 {
		a.URL, gone = r.url(a.URL, gone)
	}
	if len(r.fields) > 0 {
		a.ResponseBody = r.body(a.ResponseBody)
	}
	texts := []*string{&a.Error, &a.Advice, &a.RawError}
	for i := range a.Log {
		texts = append(texts, &a.Log[i])
	}
	for _, t := range texts {
		for _, s := range gone {
			*t = strings.ReplaceAll(*t, s, hidden)
		}
	}
}

// header hides the values of lines "Name: value".
func (r *Redaction) header(lines string, gone []string) (string, []string) {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		name, value, ok := strings.Cut(line, ":")
		if ok && r.headers[strings.ToLower(strings.TrimSpace(name))] {
			gone = addGone(gone, strings.TrimSpace(value))
			line = name + ": " + hidden + "\n"
		}
		b.WriteString(line)
	}
	return b.String(), gone
}

// url hides the values of query parameters. Their order stays.
func (r *Redaction) url(raw string, gone []string) (string, []string) {
	base, query, ok := strings.Cut(raw, "?")
	if !ok {
		return raw, gone
	}
	query, fragment, has := strings.Cut(query, "#")
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil {
			plain = name
		}
		if !r.query[strings.ToLower(plain)] {
			continue
		}
		gone = addGone(gone, value)
		if v, err := url.QueryUnescape(value); err == nil {
			gone = addGone(gone, v)
		}
		pairs[i] = name + "=" + hidden
	}
	if raw = base + "?" + strings.Join(pairs, "&"); has {
		raw += "#" + fragment
	}
	return raw, gone
}

// addGone notes a value that is looked for in other texts, unless it is so short that it would be found by chance.
func addGone(gone []string, value string) []string {
	if len(value) < 4 || value == hidden {
		return gone
	}
	return append(gone, value)
}

// body hides fields of a JSON document; what is none, and does not look like one, stays as it is.
func (r *Redaction) body(body []byte) []byte {
	text := strings.TrimSpace(string(body))
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		return body
	}
	if !gjson.Valid(string(body)) {
		return []byte(BodyNotKept)
	}
	out, changed := redactJSON(gjson.Parse(text), r.fields)
	if !changed {
		return body
	}
	return []byte(out)
}

// redactJSON hides what paths lead to within a value. Names are compared without regard to case.
func redactJSON(v gjson.Result, paths [][]string) (out string, changed bool) {
	if !v.IsObject() && !v.IsArray() {
		return v.Raw, false
	}
	open, end := "{", "}"
	if v.IsArray() {
		open, end = "[", "]"
	}
	var b strings.Builder
	b.WriteString(open)
	first := true
	v.ForEach(func(key, value gjson.Result) bool {
		if !first {
			b.WriteString(",")
		}
		first = false
		if v.IsObject() {
			b.WriteString(key.Raw + ":")
		}
		var inner [][]string
		for _, p := range paths {
			if p[0] != anyStep && (v.IsArray() || !strings.EqualFold(p[0], key.String())) {
				continue
			}
			if len(p) == 1 {
				b.WriteString(`"` + hidden + `"`)
				changed = true
				return true
			}
			inner = append(inner, p[1:])
		}
		if len(inner) == 0 {
			b.WriteString(value.Raw)
			return true
		}
		part, did := redactJSON(value, inner)
		changed = changed || did
		b.WriteString(part)
		return true
	})
	b.WriteString(end)
	return b.String(), changed
}
