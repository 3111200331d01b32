package views

import (
	"strings"
	"testing"
)

// marked writes what is changed in brackets.
func marked(list []diffPiece) string {
	var out strings.Builder
	for _, p := range list {
		if p.changed() {
			out.WriteString("[" + p.text + "]")
		} else {
			out.WriteString(p.text)
		}
	}
	return out.String()
}

func TestChangedWords(t *testing.T) {
	t.Parallel()
	for _, c := range [][4]string{
		{"no answer within 15 s", "no answer within 30 s", "no answer within [15] s", "no answer within [30] s"},
		{`"total": 18.50,`, `"total": 19.50,`, `"total": [18].50,`, `"total": [19].50,`},
		{"the quick fox", "the quick brown fox", "the quick fox", "the quick [brown ]fox"},
		{"text/plain", "text/plain; charset=utf-8", "text/plain", "text/plain[; charset=utf-8]"},
		{"grün 🟢 an", "grün 🔴 an", "grün [🟢] an", "grün [🔴] an"},
		{"Failed", "Succeeded", "[Failed]", "[Succeeded]"},
		{"500", "200", "[500]", "[200]"},
		{"connection refused", "a b c d e f g", "[connection refused]", "[a b c d e f g]"},
	} {
		a, b := markWords(c[0], c[1])
		if marked(a) != c[2] || marked(b) != c[3] {
			t.Errorf("%q and %q: %s and %s", c[0], c[1], marked(a), marked(b))
		}
	}
}

// TestChangedLines compares bodies: JSON as it is laid out, other text as it is, and long ones too.
func TestChangedLines(t *testing.T) {
	t.Parallel()
	p := bodyPart("Body", []byte(`{"a":1,"list":[1,2],"b":"x"}`), []byte(`{"a": 1, "list": [1, 2, 3], "b": "y"}`), false)
	var got []string
	for _, r := range p.differing {
		got = append(got, r.what()+" "+strings.TrimSpace(r.a)+" > "+strings.TrimSpace(r.b))
	}
	if want := `Changed 2 > 2,|Added  > 3|Changed "b": "x" > "b": "y"`; strings.Join(got, "|") != want {
		t.Errorf("got %s, want %s", strings.Join(got, "|"), want)
	}
	if p := bodyPart("Body", []byte(`{"a":1}`), []byte(`{ "a": 1 }`), false); !strings.Contains(p.note, "blanks") {
		t.Errorf("%+v", p)
	}
	long := strings.Repeat("line\n", 20_000)
	if p := bodyPart("Body", []byte(long+"a b c"), []byte(long+"a b d"), false); len(p.differing) != 1 || p.differing[0].name != "20001 / 20001" {
		t.Errorf("%d lines differ: %s", len(p.differing), p.note)
	}
}

// TestAlwaysChanging leaves out what differs between any two attempts, unless all is asked for.
func TestAlwaysChanging(t *testing.T) {
	t.Parallel()
	a := "Date: Mon\nX-Acme-Signature: v1,a\nWebhook-Timestamp: 1\nX-Request-Id: r1\nContent-Length: 10\nX-Node: one"
	b := "Date: Tue\nX-Acme-Signature: v1,b\nWebhook-Timestamp: 2\nX-Request-Id: r2\nContent-Length: 12\nX-Node: two"
	names := func(p comparedPart) string {
		var out []string
		for _, r := range p.differing {
			out = append(out, r.name)
		}
		return strings.Join(out, " ")
	}
	if p := newPart("Headers", headerRows(a, b, true), false); names(p) != "X-Node" || p.ignored != 5 {
		t.Errorf("%s and %d more", names(p), p.ignored)
	}
	if p := newPart("Headers", headerRows(a, b, false), false); names(p) != "Content-Length X-Node" {
		t.Errorf("bodies of different lengths: %s", names(p))
	}
	if p := newPart("Headers", headerRows(a, b, true), true); strings.Count(names(p), " ") != 5 || p.ignored != 0 {
		t.Errorf("all: %s", names(p))
	}
	x, y := []byte(`{"ok":true,"request_id":"r1"}`), []byte(`{"ok":true,"request_id":"r2"}`)
	if p := bodyPart("Body", x, y, false); len(p.differing) != 0 || p.ignored != 1 {
		t.Errorf("%+v", p)
	}
	if p := bodyPart("Body", x, y, true); len(p.differing) != 1 {
		t.Errorf("%+v", p)
	}
}
