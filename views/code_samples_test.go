package views

import (
	"bytes"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"github.com/waybill-dev/waybill/adapters"
)

// TestCodeSamples holds the tabs together that work without a script: each input has a label and, right after it, its pane.
func TestCodeSamples(t *testing.T) {
	t.Parallel()
	d := hostileDestination(false)
	list := adapters.Lookup("webhook").Type.(adapters.Signer).Signatures(d.Settings())
	var b bytes.Buffer
	if err := CodeSamples("verify", list).Render(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	doc, err := goquery.NewDocumentFromReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	inputs := doc.Find("fieldset.lang > input[type=radio]")
	if inputs.Length() != 8 || inputs.Filter("[checked]").Length() != 1 {
		t.Fatalf("%d inputs, %d checked", inputs.Length(), inputs.Filter("[checked]").Length())
	}
	inputs.Each(func(n int, in *goquery.Selection) {
		id, label := in.AttrOr("id", ""), in.Next()
		if label.AttrOr("for", "") != id || label.Next().Find("pre").Text() != list[0].Samples[n].Code {
			t.Errorf("%s: its label is for %q", id, label.AttrOr("for", ""))
		}
	})
	if doc.Find("[style], script").Length() > 0 {
		t.Error("inline styles and scripts are refused by the Content-Security-Policy")
	}
}
