// Package emails draws mails: values in, HTML and text out. Mails load nothing from anywhere and run no scripts; styles
// stand where they are used, because mail programs drop the rest.
package emails

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/a-h/templ"

	"github.com/waybill-dev/waybill/adapters/notify"
)

// Render draws a notice in both forms.
func Render(ctx context.Context, m notify.Mail) (plain, page string, err error) {
	var text, html strings.Builder
	if err := Text(m).Render(ctx, &text); err != nil {
		return "", "", err
	}
	if err := HTML(m).Render(ctx, &html); err != nil {
		return "", "", err
	}
	return text.String(), html.String(), nil
}

// class is what the colours of dark mode are given to.
func class(t notify.Tone) string {
	switch t {
	case notify.Bad, notify.Warn, notify.Good:
		return string(t)
	}
	return string(notify.Calm)
}

func style(t notify.Tone) templ.SafeCSS {
	colours := map[string]string{"bad": "background:#ffe4e6;color:#9f1239;", "warn": "background:#fef3c7;color:#92400e;",
		"good": "background:#dcfce7;color:#166534;", "calm": "background:#e2e8f0;color:#334155;"}
	return templ.SafeCSS("display:inline-block;padding:2px 10px;border-radius:999px;font-size:13px;font-weight:600;" + colours[class(t)])
}

// Text is the mail as plain text, in lines that need no wrapping unless a value is long.
func Text(n notify.Mail) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		var b strings.Builder
		fmt.Fprintf(&b, "%s: %s\n", n.State, n.Summary)
		if n.Others != "" {
			fmt.Fprintf(&b, "\n%s\n", n.Others)
		}
		if len(n.Facts) > 0 {
			b.WriteString("\n")
		}
		for _, f := range n.Facts {
			fmt.Fprintf(&b, "%-18s %s\n", f.Label+":", f.Value)
		}
		section := func(title, text string) {
			if text != "" {
				fmt.Fprintf(&b, "\n%s\n  %s\n", title, strings.ReplaceAll(text, "\n", "\n  "))
			}
		}
		section("Last error", n.Error)
		section("Answer", n.Excerpt)
		for i, f := range n.Failed {
			if i == 0 {
				b.WriteString("\nEvents that failed last\n")
			}
			fmt.Fprintf(&b, "  %s: %s\n", f.Event, f.About)
			if f.URL != "" {
				fmt.Fprintf(&b, "    %s\n", f.URL)
			}
		}
		section("What to do", n.Advice)
		for i, l := range n.Links {
			if i == 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "%-18s %s\n", l.Label+":", l.URL)
		}
		fmt.Fprintf(&b, "\n-- \n%s\n", footer(n))
		if n.UnsubscribeURL != "" {
			fmt.Fprintf(&b, "Stop these mails: %s\n", n.UnsubscribeURL)
		}
		_, err := io.WriteString(w, b.String())
		return err
	})
}

func footer(n notify.Mail) string {
	why := cmp.Or(n.Why, "because a notification channel names this address")
	if n.BaseURL == "" {
		return "Sent by Waybill, " + why + "."
	}
	return "Sent by Waybill at " + n.BaseURL + ", " + why + "."
}
