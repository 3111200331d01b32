package views

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/a-h/templ"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	tables "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// Markdown shows a text in Markdown (CommonMark with tables). Its headings begin at the third level. HTML in it stays text,
// and links that do not lead to another server are left out.
func Markdown(source string) templ.Component { return markdown(source, false) }

// markdown is Markdown; with page it is the text of a whole page, whose headings begin at the second level.
func markdown(source string, page bool) templ.Component {
	return templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
		src := []byte(strings.TrimSpace(source))
		doc := markdownParser.Parse(text.NewReader(src))
		nameTables(doc, src)
		cells := extension.WithTableCellAlignMethod(extension.TableCellAlignNone) // alignment would be a style attribute
		return renderer.NewRenderer(renderer.WithNodeRenderers(util.Prioritized(html.NewRenderer(), 1000),
			util.Prioritized(extension.NewTableHTMLRenderer(cells), 500), util.Prioritized(pieces{ctx, page}, 100))).Render(w, src, doc)
	})
}

// markdownLine shows one line of Markdown, without a paragraph around it.
func markdownLine(line string) templ.Component {
	return templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
		var b bytes.Buffer
		if err := markdown(line, false).Render(ctx, &b); err != nil {
			return err
		}
		out := strings.TrimSpace(b.String())
		if p, ok := strings.CutPrefix(out, "<p>"); ok && strings.Count(out, "<p>") == 1 {
			out = strings.TrimSuffix(p, "</p>")
		}
		_, err := io.WriteString(w, out)
		return err
	})
}

// markdownParser reads CommonMark with tables.
var markdownParser = goldmark.New(goldmark.WithExtensions(extension.Table)).Parser()

// tableName is the attribute of a table with its name for screen readers.
const tableName = "aria-label"

// nameTables gives each table a name unlike that of any other: "Table of Header, Meaning".
func nameTables(doc ast.Node, src []byte) {
	named := map[string]int{}
	for n := doc.FirstChild(); n != nil; n = n.NextSibling() {
		if n.Kind() != tables.KindTable {
			continue
		}
		var heads []string
		for cell := n.FirstChild().FirstChild(); cell != nil; cell = cell.NextSibling() {
			cell.SetAttributeString("scope", []byte("col"))
			heads = append(heads, plainText(cell, src))
		}
		name := "Table of " + strings.Join(heads, ", ")
		if named[name]++; named[name] > 1 {
			name += " (" + strconv.Itoa(named[name]) + ")"
		}
		n.SetAttributeString(tableName, name)
	}
}

// plainText is the text of a node without its marks.
func plainText(n ast.Node, src []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Value(src))
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// pieces are the nodes that look as the rest of the pages do.
type pieces struct {
	ctx  context.Context
	page bool
}

func (p pieces) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(ast.KindHeading, p.heading)
	r.Register(ast.KindFencedCodeBlock, p.code)
	r.Register(ast.KindCodeBlock, p.code)
	r.Register(ast.KindEmphasis, p.emphasis)
	r.Register(ast.KindLink, p.link)
	r.Register(ast.KindHTMLBlock, p.markup)
	r.Register(ast.KindRawHTML, p.markup)
	r.Register(tables.KindTable, p.table)
}

func (p pieces) heading(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	open, end := `<h3 class="text-fg">`, "</h3>"
	if level := n.(*ast.Heading).Level; p.page && level < 3 {
		open, end = `<h2 class="mt-6 text-fg">`, "</h2>"
	} else if p.page {
		open = `<h3 class="mt-4 text-fg">`
	}
	return tag(w, open, end, entering)
}

func (p pieces) emphasis(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if n.(*ast.Emphasis).Level == 1 {
		return tag(w, "<em>", "</em>", entering)
	}
	return tag(w, `<strong class="text-fg">`, "</strong>", entering)
}

func (p pieces) link(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	to := string(n.(*ast.Link).Destination)
	if !strings.HasPrefix(to, "https://") && !strings.HasPrefix(to, "http://") {
		return ast.WalkContinue, nil
	}
	return tag(w, `<a class="link" rel="noreferrer" href="`+templ.EscapeString(to)+`">`, "</a>", entering)
}

func (p pieces) table(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	name, _ := n.AttributeString(tableName)
	label, _ := name.(string)
	return tag(w, `<div class="relative overflow-x-auto" role="region" aria-label="`+templ.EscapeString(label)+`" tabindex="0"><table class="tbl">`,
		"</table></div>", entering)
}

func (p pieces) code(w util.BufWriter, src []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	return ast.WalkSkipChildren, markdownCode(strings.TrimSuffix(string(n.Lines().Value(src)), "\n")).Render(p.ctx, w)
}

// markup shows HTML as the text that it is.
func (p pieces) markup(w util.BufWriter, src []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	lines := n.Lines
	if raw, ok := n.(*ast.RawHTML); ok {
		lines = func() *text.Segments { return raw.Segments }
	}
	return tag(w, templ.EscapeString(string(lines().Value(src))), "", true)
}

func tag(w util.BufWriter, open, end string, entering bool) (ast.WalkStatus, error) {
	if !entering {
		open = end
	}
	_, err := w.WriteString(open)
	return ast.WalkContinue, err
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
