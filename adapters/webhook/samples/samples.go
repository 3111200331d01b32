// Package samples writes code that verifies the signature of a webhook, in the languages that receivers are written in.
package samples

import (
	"embed"
	"fmt"
	"go/format"
	"strings"
	"text/template"

	"github.com/waybill-dev/waybill/adapters"
)

// The kinds of parts. A part of the signed content is never Signatures, one of the header's value never Body.
const (
	Text       = iota // as it stands in Part.Text
	EventID           // the event's id
	Topic             // its topic, which may be empty
	Unix              // the time of the attempt, in seconds
	UnixMilli         // the same in milliseconds
	Formatted         // the same in another form, which no sample can read
	Body              // the raw body
	Signatures        // of all secrets in force, with Part.Text between them
)

// Part is a piece of the signed content, or of the signature header's value.
type Part struct {
	Kind int
	Text string
}

// Scheme is how requests are signed, as far as a receiver has to know it. Names of headers are in lower case; an empty one
// is a header that is not sent.
type Scheme struct {
	Header           string // of the signature
	ID, Time, Topic  string
	Algorithm        string // hmac-sha256, hmac-sha512, hmac-sha1 or ed25519
	Encoding         string // of signatures: hex, base64, or base64url without padding
	Secret           string // how the secret stands for the key: text, hex, base64, whsec, or whpk for a public key of ed25519
	Content, Value   []Part
	VersionedEntries string // "v1," for entries between spaces that begin with it, as Standard Webhooks has them, in place of Value
}

//go:embed code
var files embed.FS

// language is a language that there are samples in.
type language struct {
	name, label, file string
	join              string              // what concatenates strings
	variable          string              // what names of variables begin with
	quote             func(string) string // a string's literal
	ed25519           bool                // has it, in its library or a package that everybody uses
	needs             func(*Scheme) string
	template          *template.Template
}

func nothing(*Scheme) string { return "" }

// double is a literal between double quotes, with these characters escaped by a backslash. There are no control characters
// in what is quoted, but tabs, which all of these languages take as they are.
func double(escaped string) func(string) string {
	var pairs []string
	for _, c := range escaped {
		pairs = append(pairs, string(c), `\`+string(c))
	}
	r := strings.NewReplacer(pairs...)
	return func(s string) string { return `"` + r.Replace(s) + `"` }
}

var languages = []*language{
	{name: "node", label: "Node.js", file: "verify.mjs", join: " + ", quote: double(`\"`), ed25519: true, needs: nothing},
	{name: "python", label: "Python", file: "verify.py", join: " + ", quote: double(`\"`), ed25519: true,
		needs: func(s *Scheme) string {
			if s.Algorithm == "ed25519" {
				return "pip install cryptography"
			}
			return ""
		}},
	{name: "go", label: "Go", file: "verify.go", join: " + ", quote: double(`\"`), ed25519: true, needs: nothing},
	{name: "ruby", label: "Ruby", file: "verify.rb", join: " + ", quote: double(`\"#`), ed25519: true, needs: nothing},
	{name: "php", label: "PHP", file: "verify.php", join: " . ", variable: "$", ed25519: true, needs: nothing,
		quote: func(s string) string {
			return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
		}},
	{name: "java", label: "Java", file: "Webhooks.java", join: " + ", quote: double(`\"`), ed25519: true, needs: nothing},
	{name: "csharp", label: "C#", file: "Webhooks.cs", join: " + ", quote: double(`\"`), needs: nothing},
	{name: "rust", label: "Rust", file: "verify.rs", join: " + ", quote: double(`\"`), ed25519: true,
		needs: func(s *Scheme) string { return "cargo add " + strings.Join(crates(s), " ") }},
}

func init() {
	for _, l := range languages {
		name := "code/" + l.file + ".tmpl"
		l.template = template.Must(template.New(l.file+".tmpl").Funcs(l.functions()).ParseFS(files, name))
	}
}

// Of writes the samples that verify a scheme. missing says why there are none: what is signed cannot be known to a receiver.
func Of(s Scheme) (list []adapters.Sample, notes []string, missing string) {
	v, missing := newView(&s)
	if missing != "" {
		return nil, nil, missing
	}
	notes = v.notes()
	for _, l := range languages {
		if v.Ed25519() && !l.ed25519 {
			notes = append(notes, l.label+" has no ed25519 of its own, so there is no sample in it.")
			continue
		}
		v.language = l
		var b strings.Builder
		if err := l.template.Execute(&b, v); err != nil {
			panic(fmt.Sprintf("samples: %s: %v", l.file, err)) // The templates are constants, and tests run each.
		}
		if l.name == "go" {
			formatted, err := format.Source([]byte(b.String()))
			if err != nil {
				panic("samples: " + err.Error())
			}
			b.Reset()
			b.Write(formatted)
		}
		list = append(list, adapters.Sample{Language: l.name, Label: l.label, File: l.file, Needs: l.needs(&s), Code: b.String()})
	}
	return list, notes, ""
}

// crates are the packages that the sample in Rust uses.
func crates(s *Scheme) []string {
	v := view{Scheme: s}
	var list []string
	if v.Uses("base64") || v.Uses("base64url") {
		list = append(list, "base64")
	}
	if v.Uses("hex") {
		list = append(list, "hex")
	}
	switch s.Algorithm {
	case "ed25519":
		return append(list, "ed25519-dalek")
	case "hmac-sha1":
		return append(list, "hmac", "sha1")
	}
	return append(list, "hmac", "sha2")
}

// functions are what templates call.
func (l *language) functions() template.FuncMap {
	return template.FuncMap{
		"q":   l.quote,
		"add": func(a, b int) int { return a + b },
		// tilde escapes what ends a pattern of PHP's.
		"tilde": func(s string) string { return strings.ReplaceAll(s, "~", `\~`) },
		"last":  func(i int, list []Cut) bool { return i == len(list)-1 },
		// The others are Rust's.
		"var": func(c Cut) string {
			if c.Name == "" {
				return "_"
			}
			return c.Name
		},
		"piece": func(p Part) string {
			switch p.Kind {
			case Body:
				return "body"
			case Text:
				return l.quote(p.Text) + ".as_bytes()"
			}
			return variables[p.Kind] + ".as_bytes()"
		},
		"crate": func(hash string) string {
			if hash == "sha1" {
				return "sha1::Sha1"
			}
			return "sha2::S" + hash[1:]
		},
		"engines": func(v *view) string {
			standard, urls := v.Uses("base64"), v.Uses("base64url")
			switch {
			case standard && urls:
				return "{STANDARD, URL_SAFE_NO_PAD}"
			case urls:
				return "URL_SAFE_NO_PAD"
			}
			return "STANDARD"
		},
	}
}
