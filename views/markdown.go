package views

import (
	"context"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/a-h/templ"
)

// block is a piece of a Markdown text.
type block struct {
	kind  string // p, h (a heading), h3 (one below another), ul, ol, table or pre
	lines []string
	label string // of a table, unlike that of any other
}

var (
	orderedItem = regexp.MustCompile(`^\d+[.)] `)
	tableRule   = regexp.MustCompile(`^\|[-|: ]+$`)
)

// markdownBlocks reads the small part of Markdown that the instructions of destination types use: paragraphs, headings,
// lists, tables and fenced code.
func markdownBlocks(text string) []block {
	var out []block
	add := func(kind, line string) {
		if n := len(out); n > 0 && out[n-1].kind == kind && kind[0] != 'h' {
			out[n-1].lines = append(out[n-1].lines, line)
			return
		}
		out = append(out, block{kind: kind, lines: []string{line}})
	}
	fenced, fresh := false, true
	for _, raw := range strings.Split(strings.TrimSpace(text), "\n") {
		line := strings.TrimSpace(raw)
		if strings.HasPrefix(line, "```") {
			if fenced = !fenced; fenced {
				out = append(out, block{kind: "pre"})
			}
			fresh = true
			continue
		}
		switch {
		case fenced:
			add("pre", raw)
		case line == "":
			fresh = true
			continue
		case strings.HasPrefix(line, "###"):
			add("h3", strings.TrimLeft(line, "# "))
		case strings.HasPrefix(line, "#"):
			add("h", strings.TrimLeft(line, "# "))
		case strings.HasPrefix(line, "|"):
			if !tableRule.MatchString(line) {
				add("table", line)
			}
		case strings.HasPrefix(line, "- "), strings.HasPrefix(line, "* "):
			add("ul", line[2:])
		case orderedItem.MatchString(line):
			add("ol", orderedItem.ReplaceAllString(line, ""))
		default:
			n := len(out)
			switch {
			case n > 0 && !fresh && (out[n-1].kind == "ul" || out[n-1].kind == "ol" || out[n-1].kind == "p"):
				last := &out[n-1].lines[len(out[n-1].lines)-1]
				*last += " " + line
			default:
				out = append(out, block{kind: "p", lines: []string{line}})
			}
		}
		fresh = false
	}
	labels := map[string]int{}
	for i := range out {
		if b := &out[i]; b.kind == "table" {
			b.label = "Table of " + strings.Join(tableCells(b.lines[0]), ", ")
			if labels[b.label]++; labels[b.label] > 1 {
				b.label += " (" + strconv.Itoa(labels[b.label]) + ")"
			}
		}
	}
	return out
}

// tableCells cuts a row of a table into its cells.
func tableCells(row string) []string {
	const escaped = "\x00" // a bar within a cell
	cells := strings.Split(strings.Trim(strings.ReplaceAll(row, `\|`, escaped), "| "), "|")
	for i := range cells {
		cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), escaped, "|")
	}
	return cells
}

var inlineMark = regexp.MustCompile("`([^`]+)`|\\*\\*([^*]+)\\*\\*|\\[([^\\]]+)\\]\\((https?://[^)\\s]+)\\)")

// markdownLine shows a line of Markdown with its code, strong words and links. It is written by hand, and not as a
// template, because a template would put spaces between the pieces.
func markdownLine(line string) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		var b strings.Builder
		rest := 0
		for _, m := range inlineMark.FindAllStringSubmatchIndex(line, -1) {
			b.WriteString(templ.EscapeString(line[rest:m[0]]))
			switch {
			case m[2] >= 0:
				b.WriteString("<code>" + templ.EscapeString(line[m[2]:m[3]]) + "</code>")
			case m[4] >= 0:
				b.WriteString(`<strong class="text-fg">` + templ.EscapeString(line[m[4]:m[5]]) + "</strong>")
			default:
				b.WriteString(`<a class="link" rel="noreferrer" href="` + templ.EscapeString(line[m[8]:m[9]]) + `">` + templ.EscapeString(line[m[6]:m[7]]) + "</a>")
			}
			rest = m[1]
		}
		b.WriteString(templ.EscapeString(line[rest:]))
		_, err := io.WriteString(w, b.String())
		return err
	})
}

var codeMark = regexp.MustCompile("`([^`]+)`")

// codeLine shows a sentence with what stands between backquotes as code. Everything else stays text, for the sentence may
// quote strangers.
func codeLine(line string) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, codeMark.ReplaceAllString(templ.EscapeString(line), `<code class="font-mono text-xs">$1</code>`))
		return err
	})
}
