package api

import (
	"strings"
	"testing"
	"time"
)

func TestPrefer(t *testing.T) {
	t.Parallel()
	ten := prefer{wait: 10 * time.Second}
	for header, want := range map[string]prefer{
		"":                                  {},
		"wait=10":                           ten,
		"Wait = 10":                         ten,
		`wait="10"`:                         ten,
		"respond-async":                     {async: true},
		"respond-async, wait=10":            {async: true, wait: 10 * time.Second}, // RFC 7240, section 4.3
		"wait=10,,\trespond-async;":         {async: true, wait: 10 * time.Second},
		"wait=9999":                         {wait: maxWait},
		"wait=99999999999999999999":         {},
		"wait=-1, return=minimal":           {minimal: true},
		"wait=1.5":                          {},
		"wait=":                             {},
		"wait=0":                            {},
		"wait=5, wait=10":                   {wait: 5 * time.Second}, // the first counts
		"return=minimal, return=other":      {minimal: true},
		"return=representation":             {},
		"handling=strict; x=1; y":           {strict: true},
		"handling=lenient":                  {},
		`foo; bar="x, wait=3"`:              {},
		`foo="a\", wait=3, b"; x, wait=10`:  ten,
		`foo; wait=3`:                       {}, // a parameter of foo
		`foo="open, wait=3`:                 {},
		`"wait=3", wait=10`:                 ten,
		`wait=3 4, return=minimal`:          {minimal: true},
		"respond-async=1, handling=strict":  {strict: true},
		`@x="a,b,wait=3" , respond-async`:   {async: true},
		"wait=10; foo=bar; bar=\"wait=20\"": ten,
	} {
		if got := parsePrefer(header); got != want {
			t.Errorf("%q: %+v, want %+v", header, got, want)
		}
	}
	if got := parsePrefer("foo", "wait=10, return=minimal", "wait=3"); got != (prefer{wait: 10 * time.Second, minimal: true}) {
		t.Errorf("several headers: %+v", got)
	}
}

// FuzzPrefer quotes whatever comes to mind: nothing in a quoted string is a preference, and what follows it is read.
func FuzzPrefer(f *testing.F) {
	for _, seed := range []string{"", `x, wait=3`, `\`, `"`, `a="b`, "\x00;,=", "return=minimal;", "é, respond-async"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsePrefer(text) // ends
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
		name, value, rest := nextPreference("foo=" + quoted + "; bar=" + quoted + ", wait=10")
		if name != "foo" || value != text {
			t.Fatalf("%q is read as %q=%q", quoted, name, value)
		}
		if got := parsePrefer(rest); got != (prefer{wait: 10 * time.Second}) {
			t.Fatalf("behind %q: %+v", quoted, got)
		}
		if got := parsePrefer("@" + quoted + ",wait=10"); got != (prefer{wait: 10 * time.Second}) {
			t.Fatalf("behind the broken %q: %+v", quoted, got)
		}
	})
}
