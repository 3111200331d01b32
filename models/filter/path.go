package filter

import (
	"slices"
	"strconv"
	"strings"
)

// The five roots of a document. Every path of a normalized tree starts with one of them.
const (
	rootID       = "id"
	rootTopic    = "topic"
	rootTime     = "time"
	rootMetadata = "metadata"
	rootData     = "data"
)

func isRoot(name string) bool {
	switch name {
	case rootID, rootTopic, rootTime, rootMetadata, rootData:
		return true
	}
	return false
}

// rooted returns the full path: one whose first part is not a root is looked up in data.
func rooted(path []string) []string {
	if isRoot(path[0]) {
		return path
	}
	return append([]string{rootData}, path...)
}

// shortened leaves out a leading data where the rest cannot be mistaken for a root.
func shortened(path []string) []string {
	if len(path) > 1 && path[0] == rootData && !isRoot(path[1]) {
		return path[1:]
	}
	return path
}

// plain reports whether no list can stand above the last part of the path, save a payload that is itself a
// list. There, "no element does" and "it does not" are the same thing, so that a negation may stand outside
// or inside. A key of the payload is plain, a key below it is not.
func plain(path []string) bool { return len(path) <= 2 }

// formatPath joins the keys of a path with dots. Dots, brackets and backslashes inside a key are escaped
// with a backslash.
func formatPath(path []string) string {
	var b strings.Builder
	for i, key := range path {
		if i > 0 {
			b.WriteByte('.')
		}
		writeEscaped(&b, key, `\.[]`)
	}
	return b.String()
}

// writeEscaped writes s with a backslash before each of the special characters.
func writeEscaped(b *strings.Builder, s, special string) {
	for _, r := range s {
		if strings.ContainsRune(special, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
}

// step is one part of a reference: a key, or the place of an element in a list.
type step struct {
	key string
	// index is the element's place from 0; here is used only when list is set.
	index int
	list  bool
	// here asks for the place of the list element being matched: [$index].
	here bool
}

// parseReference reads the path of a $ref, such as created_at, data.lines[0].sku or lines[$index].min, and
// puts data in front where it goes without saying. The message says what is wrong, and is empty when nothing is.
func parseReference(text string) (steps []step, message string) {
	steps, message = parseSteps(text)
	if message == "" && !isRoot(steps[0].key) {
		steps = append([]step{{key: rootData}}, steps...)
	}
	return steps, message
}

// parsePath reads a path without brackets, such as customer.email. It puts nothing in front.
func parsePath(text string) (path []string, message string) {
	steps, message := parseSteps(text)
	for _, s := range steps {
		if s.list {
			return nil, "the name of a field has no brackets: a rule looks at every element of a list"
		}
		path = append(path, s.key)
	}
	return path, message
}

// parseSteps reads the parts of a path.
func parseSteps(text string) (steps []step, message string) {
	var key strings.Builder
	started := false // whether a key may end here, with what was read so far
	endKey := func() bool {
		if !started {
			return false
		}
		steps = append(steps, step{key: key.String()})
		key.Reset()
		started = false
		return true
	}
	afterBracket := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\':
			if i++; i == len(text) {
				return nil, "a path cannot end with a backslash"
			}
			if afterBracket {
				return nil, "`.` or `[` must follow `]`"
			}
			key.WriteByte(text[i])
			started = true
		case c == '.':
			if !afterBracket && !endKey() {
				return nil, "a path has a name on each side of a dot, such as `customer.email`"
			}
			afterBracket = false
			if i == len(text)-1 {
				return nil, "a path cannot end with a dot"
			}
		case c == '[':
			if !afterBracket && !endKey() {
				return nil, "a path starts with the name of a field"
			}
			inside, _, closed := strings.Cut(text[i+1:], "]")
			if !closed {
				return nil, "`[` has no `]`"
			}
			place := step{list: true, here: inside == "$index"}
			if !place.here {
				n, err := strconv.Atoi(inside)
				if err != nil || n < 0 || strconv.Itoa(n) != inside {
					return nil, "between brackets stands `$index` or the place of an element from 0, such as `lines[0]`"
				}
				place.index = n
			}
			steps = append(steps, place)
			i += len(inside) + 1
			afterBracket = true
		case c == ']':
			return nil, "`]` has no `[`"
		case afterBracket:
			return nil, "`.` or `[` must follow `]`"
		default:
			key.WriteByte(c)
			started = true
		}
	}
	if !endKey() && !afterBracket {
		return nil, "a path names a field, such as `created_at`"
	}
	most := maxNesting
	if isRoot(steps[0].key) {
		most++ // a path means the same with data in front of it, and must not become too long by it
	}
	if len(steps) > most {
		return nil, "a path has at most " + strconv.Itoa(maxNesting) + " parts"
	}
	return steps, ""
}

// formatReference writes a reference; short leaves out a data that goes without saying.
func formatReference(steps []step, short bool) string {
	if short && len(steps) > 1 && steps[0].key == rootData && !steps[1].list && !isRoot(steps[1].key) {
		steps = steps[1:]
	}
	var b strings.Builder
	for i, s := range steps {
		switch {
		case s.here:
			b.WriteString("[$index]")
		case s.list:
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		default:
			if i > 0 {
				b.WriteByte('.')
			}
			writeEscaped(&b, s.key, `\.[]`)
		}
	}
	return b.String()
}

// shortReference is the reference as a person writes it, for the Ref of a Test that has been checked.
func shortReference(ref string) string {
	steps, message := parseReference(ref)
	if message != "" {
		return ref
	}
	return formatReference(steps, true)
}

// joinPath puts two paths together without touching either.
func joinPath(a, b []string) []string { return slices.Concat(a, b) }
