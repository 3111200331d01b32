package views

import (
	"context"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/a-h/templ"
	"github.com/sergi/go-diff/diffmatchpatch"
)

// diffSide says of a piece of two texts whether both have it.
type diffSide int

const (
	inBoth  diffSide = iota
	inFirst          // only
	inSecond
)

// diffTimeout is after how long the search for the shortest difference of two texts ends. What it has then is right, but longer.
const diffTimeout = 200 * time.Millisecond

// maxTokens is how many different tokens can be told apart.
const maxTokens = unicode.MaxRune - firstToken

// firstToken is the first of the characters that stand for tokens: behind the surrogates, which no text can hold.
const firstToken = 0x10000

// diffTokens tells for each token of a and b, in their order, whether both have it. Of what changed at one place, the tokens of a
// come first. ok is false for texts of too many tokens.
func diffTokens(a, b []string) (out []diffPiece, ok bool) {
	numbers := map[string]rune{}
	var tokens []string
	packed := func(list []string) []rune {
		out := make([]rune, len(list))
		for i, t := range list {
			n, known := numbers[t]
			if !known {
				n = firstToken + rune(len(tokens))
				numbers[t], tokens = n, append(tokens, t)
			}
			out[i] = n
		}
		return out
	}
	x, y := packed(a), packed(b)
	if len(tokens) > maxTokens {
		return nil, false
	}
	d := diffmatchpatch.New()
	d.DiffTimeout = diffTimeout
	kinds := map[diffmatchpatch.Operation]diffSide{diffmatchpatch.DiffEqual: inBoth, diffmatchpatch.DiffDelete: inFirst,
		diffmatchpatch.DiffInsert: inSecond}
	for _, part := range d.DiffCleanupMerge(d.DiffMainRunes(x, y, false)) {
		for _, r := range part.Text {
			out = append(out, diffPiece{tokens[r-firstToken], kinds[part.Type]})
		}
	}
	return out, true
}

// diffPiece is a part of a text that is compared with another one.
type diffPiece struct {
	text string
	in   diffSide
}

// changed reports whether only one of the two texts has it.
func (p diffPiece) changed() bool { return p.in != inBoth }

// markWords splits two texts at what differs between them, word by word. Texts that have little in common differ as a whole.
func markWords(a, b string) (first, second []diffPiece) {
	all, ok := diffTokens(words(a), words(b))
	if !ok {
		return []diffPiece{{a, inFirst}}, []diffPiece{{b, inSecond}}
	}
	common := 0
	for _, p := range all {
		if p.in != inSecond {
			first = appended(first, p)
		}
		if p.in != inFirst {
			second = appended(second, p)
		}
		if p.in == inBoth {
			common += len(p.text)
		}
	}
	if 3*common < min(len(a), len(b)) {
		return []diffPiece{{a, inFirst}}, []diffPiece{{b, inSecond}}
	}
	return first, second
}

// appended appends a piece, to the last one when that is as much changed.
func appended(list []diffPiece, p diffPiece) []diffPiece {
	if n := len(list); n > 0 && list[n-1].in == p.in {
		list[n-1].text += p.text
		return list
	}
	return append(list, p)
}

// words splits a text into words, runs of blanks, and single other characters.
func words(s string) []string {
	kind := func(r rune) int {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
			return 1
		case unicode.IsSpace(r):
			return 2
		}
		return 0
	}
	var out []string
	begin, last := 0, 0
	for i, r := range s {
		k := kind(r)
		if i > 0 && (k != last || k == 0) {
			out = append(out, s[begin:i])
			begin = i
		}
		last = k
	}
	if begin < len(s) {
		out = append(out, s[begin:])
	}
	return out
}

// markedText shows a text with what is changed in it marked. It is no template, since no blank may come between two pieces.
func markedText(list []diffPiece) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		var out strings.Builder
		for _, p := range list {
			text := templ.EscapeString(p.text)
			if p.changed() {
				text = "<mark>" + text + "</mark>"
			}
			out.WriteString(text)
		}
		_, err := io.WriteString(w, out.String())
		return err
	})
}
