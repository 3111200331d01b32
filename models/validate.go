package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of what callers choose.
const (
	maxIDLength     = 256
	maxNameLength   = 200
	maxMetadataKeys = 64
	maxMetadataText = 4096
)

var (
	alphanumeric = charsetOf("")
	idChars      = charsetOf("_-.:@|~+=")
	topicChars   = charsetOf("_-.:/")
)

// charset says for each byte whether a name may hold it.
type charset [256]bool

// charsetOf is the set of letters, digits and others.
func charsetOf(others string) (n charset) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" + others) {
		n[c] = true
	}
	return n
}

// match reports whether s is a name of these characters that begins with a letter or digit.
func (n *charset) match(s string) bool {
	for i := range len(s) {
		if !n[s[i]] {
			return false
		}
	}
	return s != "" && alphanumeric[s[0]]
}

// checkID reports what is wrong with an id that a caller chose. The characters are those that need no escaping in a
// path and no quoting in a header.
func checkID(field, id string, bad problems) {
	switch {
	case id == "":
		bad.add(field, "is required")
	case len(id) > maxIDLength:
		bad.add(field, fmt.Sprintf("must be at most %d characters long", maxIDLength))
	case !idChars.match(id):
		bad.add(field, "may hold letters, digits and _ - . : @ | ~ + = and starts with a letter or digit")
	}
}

func checkTopic(field, topic string, bad problems) {
	switch {
	case len(topic) > maxIDLength:
		bad.add(field, fmt.Sprintf("must be at most %d characters long", maxIDLength))
	case !topicChars.match(topic):
		bad.add(field, "may hold letters, digits and _ - . : / and starts with a letter or digit")
	}
}

func checkText(field, s string, maxLen int, bad problems) {
	switch {
	case !utf8.ValidString(s):
		bad.add(field, "must be valid UTF-8")
	case strings.ContainsRune(s, 0):
		bad.add(field, "must not contain a NUL character")
	case len(s) > maxLen:
		bad.add(field, fmt.Sprintf("must be at most %d characters long", maxLen))
	}
}

func checkMetadata(field string, m map[string]string, bad problems) {
	if len(m) > maxMetadataKeys {
		bad.add(field, fmt.Sprintf("must have at most %d keys", maxMetadataKeys))
		return
	}
	for k, v := range m {
		if k == "" {
			bad.add(field, "must not have an empty key")
			continue
		}
		checkText(field+"."+cut(k, 40), k, maxIDLength, bad)
		checkText(field+"."+cut(k, 40), v, maxMetadataText, bad)
	}
}

// cut shortens s to at most n bytes at a rune's border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// Values are settings of a destination as a caller writes them: strings, and also real booleans, numbers, arrays of
// strings (joined by commas) and objects (kept as JSON). A null deletes the key in a merge patch (RFC 7396).
type Values map[string]*string

// UnmarshalJSON reads an object of settings.
func (v *Values) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return fmt.Errorf("must be an object of settings")
	}
	if raw == nil {
		return nil
	}
	*v = Values{}
	for k, r := range raw {
		s, err := settingValue(r)
		if err != nil {
			return fmt.Errorf("%s %w", cut(k, 40), err)
		}
		(*v)[k] = s
	}
	return nil
}

func settingValue(r json.RawMessage) (*string, error) {
	var s string
	switch r[0] {
	case 'n':
		return nil, nil
	case '"':
		if err := json.Unmarshal(r, &s); err != nil {
			return nil, err
		}
	case '[':
		var list []string
		if err := json.Unmarshal(r, &list); err != nil {
			return nil, fmt.Errorf("must be an array of strings")
		}
		s = strings.Join(list, ",")
	default: // true, false, numbers and objects keep their text
		s = string(r)
	}
	return &s, nil
}

// apply merges the patch into m as RFC 7396 says.
func (v Values) apply(m map[string]string) map[string]string {
	out := make(map[string]string, len(m)+len(v))
	for k, s := range m {
		out[k] = s
	}
	for k, s := range v {
		if s == nil {
			delete(out, k)
		} else {
			out[k] = *s
		}
	}
	return out
}

// StringPatch is a merge patch of string metadata: null deletes a key. Other values than strings are kept as their JSON text.
type StringPatch map[string]*string

// UnmarshalJSON reads an object of texts.
func (p *StringPatch) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return errors.New("must be an object of strings")
	}
	if raw == nil {
		return nil
	}
	*p = StringPatch{}
	for k, r := range raw {
		var s string
		switch {
		case string(r) == "null":
			(*p)[k] = nil
			continue
		case r[0] != '"':
			s = string(r)
		default:
			if err := json.Unmarshal(r, &s); err != nil {
				return err
			}
		}
		(*p)[k] = &s
	}
	return nil
}

// Texts is string metadata. Other values than strings are kept as their JSON text, null as an empty text.
type Texts map[string]string

// UnmarshalJSON reads an object of texts.
func (t *Texts) UnmarshalJSON(b []byte) error {
	var p StringPatch
	if err := p.UnmarshalJSON(b); err != nil || p == nil {
		return err
	}
	*t = Texts{}
	for k, s := range p {
		if s == nil {
			s = new(string)
		}
		(*t)[k] = *s
	}
	return nil
}

func (p StringPatch) apply(m map[string]string) map[string]string { return Values(p).apply(m) }
