package views

import (
	"context"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/a-h/templ"
)

// The sizes up to which a body is shown on a page, in bytes: open, folded, and not at all.
const (
	maxOpen   = 16 << 10
	maxFolded = 64 << 10
)

// Body is what was sent or came back.
type Body struct {
	Erased string // why it is no longer there; empty while it is
	ID     string // unique on the page
	Label  string // "Response body"
	Data   []byte
	URL    string // where a body is that is too long for the page; may be empty
}

func (b Body) text() bool { return utf8.Valid(b.Data) }

// piece is a part of a text with its colour: k for keys, s for strings, n for numbers, w for words.
type piece struct{ class, text string }

// pieces are the body as JSON that people read, or as it is when it is no JSON.
func (b Body) pieces() []piece {
	root := parseJSON(b.Data)
	if root == nil || root.kind != '{' && root.kind != '[' {
		return []piece{{"", string(b.Data)}}
	}
	var out []piece
	var write func(n *jsonNode, indent string)
	write = func(n *jsonNode, indent string) {
		if n.kind != '{' && n.kind != '[' {
			out = append(out, piece{string(n.kind), n.text})
			return
		}
		if len(n.members)+n.omitted == 0 {
			out = append(out, piece{"", string(n.kind) + n.closing()})
			return
		}
		out = append(out, piece{"", string(n.kind)})
		for i, m := range n.members {
			out = append(out, piece{"", "\n" + indent + "  "})
			if m.key != "" {
				out = append(out, piece{"k", m.key}, piece{"", ": "})
			}
			write(m.value, indent+"  ")
			if i < len(n.members)-1 || n.omitted > 0 {
				out = append(out, piece{"", ","})
			}
		}
		if n.omitted > 0 {
			out = append(out, piece{"", "\n" + indent + "  … " + plural(n.omitted, "more value")})
		}
		out = append(out, piece{"", "\n" + indent + n.closing()})
	}
	write(root, "")
	return joined(out)
}

// joined makes one piece of neighbours that have the same colour.
func joined(list []piece) []piece {
	var out []piece
	for _, p := range list {
		if n := len(out); n > 0 && out[n-1].class == p.class {
			out[n-1].text += p.text
			continue
		}
		out = append(out, p)
	}
	return out
}

// pretty reports whether the body is shown otherwise than byte for byte.
func (b Body) pretty() bool {
	var shown strings.Builder
	for _, p := range b.pieces() {
		shown.WriteString(p.text)
	}
	return shown.String() != string(b.Data)
}

// coloured writes the pieces one after the other, without a space of its own.
func (b Body) coloured() templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		var out strings.Builder
		for _, p := range b.pieces() {
			if p.class == "" {
				out.WriteString(templ.EscapeString(p.text))
				continue
			}
			out.WriteString(`<span class="` + p.class + `">` + templ.EscapeString(p.text) + "</span>")
		}
		_, err := io.WriteString(w, out.String())
		return err
	})
}
