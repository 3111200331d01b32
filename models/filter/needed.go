package filter

import (
	"strings"
	"time"
	"unicode"
)

// Needed is a field that an event must have for a rule of a filter to hold.
type Needed struct {
	path []string // full
	has  *Filter  // holds for events that have it
}

// Needed lists the fields without which the filter, or one of its alternatives, never matches, each once. Those whose absence
// is asked for are not among them, nor those that every event has. An expression tells none.
func (f *Filter) Needed() (list []Needed) {
	if f == nil || f.tree == nil {
		return nil
	}
	seen := map[string]bool{}
	needed(f.tree, nil, func(path []string) {
		name := formatPath(path)
		if n, ok := neededAt(path); ok && !seen[name] {
			seen[name] = true
			list = append(list, n)
		}
	})
	return list
}

// neededAt is a field by its full path; not for a root, which every event has.
func neededAt(path []string) (n Needed, ok bool) {
	if len(path) < 2 {
		return n, false
	}
	has, err := New(Field{Path: path, Node: Test{Op: OpExist}})
	return Needed{path, has}, err == nil
}

func needed(n Node, within []string, add func(path []string)) {
	switch n := n.(type) {
	case And:
		for _, child := range n {
			needed(child, within, add)
		}
	case Or:
		for _, child := range n {
			needed(child, within, add)
		}
	case Field:
		if within == nil {
			// A rule that holds without the field does not need it.
			if rule, err := New(n); err != nil || rule.Match(NewDoc("", "", time.Time{}, nil, []byte("{}"))).Match {
				return
			}
		}
		path := append(append([]string{}, within...), n.Path...)
		deeper := false
		needed(n.Node, path, func(p []string) { deeper = true; add(p) })
		if !deeper {
			add(path)
		}
	}
}

// In reports whether an event has the field.
func (n Needed) In(d *Doc) bool { return n.has.Match(d).Match }

// Path is the field as notations write it.
func (n Needed) Path() string { return formatPath(shortened(n.path)) }

// Nested is the field that is meant when a key was written with dots, as {"customer.vip": …} instead of {"customer": {"vip": …}}.
func (n Needed) Nested() (m Needed, ok bool) {
	var path []string
	for _, key := range n.path {
		parts := strings.Split(key, ".")
		for _, p := range parts {
			if p == "" {
				return m, false
			}
		}
		path = append(path, parts...)
	}
	if len(path) == len(n.path) {
		return m, false
	}
	// {"data.total": …} means the root, which may have gone without saying.
	if len(path) > 2 && path[0] == rootData && isRoot(path[1]) {
		path = path[1:]
	}
	return neededAt(path)
}

// JSON is the field as the JSON notation writes it, with three dots for what it is to satisfy.
func (n Needed) JSON() string {
	path := shortened(n.path)
	var b strings.Builder
	for _, key := range path {
		b.WriteString("{")
		b.Write(appendQuoted(nil, key))
		b.WriteString(": ")
	}
	return b.String() + "…" + strings.Repeat("}", len(path))
}

// Resembles reports whether somebody who wrote the field may have meant another one, by its path as SeenField has it: the same
// but for case and what separates words, the same name in another object, or a name with one letter more, less or other.
func (n Needed) Resembles(path string) bool {
	mine, other := plainLetters(n.Path()), plainLetters(path)
	_, last, nested := cutLast(path)
	return mine == other || nested && plainLetters(last) == mine || len(mine) >= 4 && near(mine, other)
}

func cutLast(path string) (before, last string, found bool) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

func plainLetters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// near reports whether one letter more, less or other, or two that changed places, make one text of the other.
func near(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 || a == b {
		return a == b
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	return a[i+1:] == b[i+1:] || i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}
