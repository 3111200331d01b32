package views

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMarkdown holds what users see of a text against what it says.
func TestMarkdown(t *testing.T) {
	render := func(source string, page bool) string {
		t.Helper()
		var b strings.Builder
		if err := markdown(source, page).Render(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, c := range []struct{ source, want string }{
		{"# One\n\ntext", `<h3 class="text-fg">One</h3><p>text</p>`},
		{"a **b** `c <d>`", `<p>a <strong class="text-fg">b</strong> <code>c &lt;d&gt;</code></p>`},
		{"1. one\n   goes on\n2. two", "<ol>\n<li>one\ngoes on</li>\n<li>two</li>\n</ol>"},
		{"[there](https://example.com/?a=1&b=2)",
			`<p><a class="link" rel="noreferrer" href="https://example.com/?a=1&amp;b=2">there</a></p>`},
		{"[bad](javascript:alert(1)) [file](api.md)", `<p>bad file</p>`},
		{"a <script>alert(1)</script> b", `<p>a &lt;script&gt;alert(1)&lt;/script&gt; b</p>`},
		{"<div onclick=x>\n\nb", `&lt;div onclick=x&gt;`},
		{"| A | B |\n|:-:|---|\n| a \\| b | `c` |", `aria-label="Table of A, B" tabindex="0"><table class="tbl"><thead>`},
		{"| A | B |\n|:-:|---|\n| a \\| b | `c` |", "<td>a | b</td>\n<td><code>c</code></td>"},
		{"| A |\n|---|\n| a |\n\nand\n\n| A |\n|---|\n| a |", `aria-label="Table of A (2)"`},
		{"```json\n{\"a\": 1}\n```", `<code>{&#34;a&#34;: 1}</code></pre>`},
	} {
		got := render(c.source, false)
		if !strings.Contains(strings.ReplaceAll(got, ">\n<", "><"), strings.ReplaceAll(c.want, ">\n<", "><")) {
			t.Errorf("%q is\n%s\nwithout\n%s", c.source, got, c.want)
		}
		if strings.Contains(got, "style=") {
			t.Errorf("%q has a style, which the page does not permit: %s", c.source, got)
		}
	}
	if got := render("## Two\n### Three", true); got != "<h2 class=\"mt-6 text-fg\">Two</h2><h3 class=\"mt-4 text-fg\">Three</h3>" {
		t.Error(got)
	}
	var line strings.Builder
	if err := markdownLine("Answers `200`.").Render(t.Context(), &line); err != nil || line.String() != "Answers <code>200</code>." {
		t.Error(line.String(), err)
	}
	// What types say of themselves needs neither HTML nor anything that is shown as it was written.
	files, _ := filepath.Glob("../adapters/*/instructions.md")
	if len(files) < 10 {
		t.Fatal("where are the instructions?", files)
	}
	for _, f := range append(files, "../docs/filters.md") {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		got := render(string(raw), true)
		for _, left := range []string{"**", "&lt;br", "```", "](http", `<th scope="col"></th>`} {
			if strings.Contains(got, left) {
				t.Errorf("%s: %q is shown as it is written", f, left)
			}
		}
	}
}
