package samples

import (
	"regexp"
	"slices"
	"strings"
)

// view is what templates see.
type view struct {
	*Scheme
	language *language
	Vars     []Var  // what is read from headers, besides the signature's
	Groups   []Cut  // what is read from the value of the signature's header, with Pattern
	Lead     string // what the value begins with
	Join     string // what is between signatures
	Tail     string // what the value ends with
	List     bool   // the value is Lead and signatures with Join between them
}

// Var is a variable that holds a header's value.
type Var struct {
	Name, Header string
	Optional     bool
}

// Cut is a field within the value, and the text that comes after it.
type Cut struct {
	Name  string // of its variable; empty for what need not be read
	Kind  int
	After string
}

var variables = map[int]string{EventID: "id", Topic: "topic", Unix: "sent", UnixMilli: "millis", Signatures: "list"}

func newView(s *Scheme) (v *view, missing string) {
	v = &view{Scheme: s}
	have := map[int]bool{}
	headers := map[int]string{EventID: s.ID, Topic: s.Topic, Unix: s.Time}
	for _, kind := range []int{EventID, Topic, Unix} {
		if v.signs(kind) && headers[kind] != "" {
			v.Vars = append(v.Vars, Var{variables[kind], headers[kind], kind == Topic})
			have[kind] = true
		}
	}
	if s.VersionedEntries == "" {
		if missing := v.readValue(have); missing != "" {
			return nil, missing
		}
	}
	names := map[int]string{EventID: "the event's id", Topic: "the topic", Unix: "the time in seconds",
		UnixMilli: "the time in milliseconds", Formatted: "the time in a form of its own"}
	for _, p := range s.Content {
		if p.Kind != Text && p.Kind != Body && !have[p.Kind] {
			return nil, "The signed content has " + names[p.Kind] +
				", which no header shows to the receiver in that form, so a receiver cannot verify the signature. " +
				"Send it in a header, or leave it out of signature_content."
		}
	}
	return v, ""
}

// readValue works out how the header's value is taken apart. It marks what it shows in have.
func (v *view) readValue(have map[int]bool) (missing string) {
	const unclear = "The value of the signature's header cannot be taken apart again: " +
		"write {{.Signatures}} once, and text between the fields of signature_value."
	signatures := 0
	for i, p := range v.Value {
		switch {
		case p.Kind == Text && len(v.Groups) == 0:
			v.Lead += p.Text
		case p.Kind == Text:
			v.Groups[len(v.Groups)-1].After += p.Text
		case i > 0 && v.Value[i-1].Kind != Text:
			return unclear
		default:
			name := ""
			if p.Kind == Signatures {
				v.Join = p.Text
				signatures++
			}
			if p.Kind == Signatures || v.signs(p.Kind) && !have[p.Kind] && p.Kind != Formatted {
				name, have[p.Kind] = variables[p.Kind], true
			}
			v.Groups = append(v.Groups, Cut{Name: name, Kind: p.Kind})
		}
	}
	if signatures != 1 || v.Join == "" {
		return unclear
	}
	if last := len(v.Groups) - 1; last >= 0 {
		v.Tail = v.Groups[last].After
	}
	v.List = len(v.Groups) == 1 && v.Tail == ""
	return ""
}

// signs reports whether the signed content has a part.
func (v *view) signs(kind int) bool {
	return slices.ContainsFunc(v.Content, func(p Part) bool { return p.Kind == kind })
}

// TimeSigned reports whether the age of a request can be known for sure.
func (v *view) TimeSigned() bool { return v.signs(Unix) || v.signs(UnixMilli) }

// Millis reports whether only the time in milliseconds is signed.
func (v *view) Millis() bool { return !v.signs(Unix) && v.signs(UnixMilli) }

// Ed25519 reports whether secrets are public keys.
func (v *view) Ed25519() bool { return v.Algorithm == "ed25519" }

// Hash is the name of the HMAC's hash in lower case.
func (v *view) Hash() string { return strings.TrimPrefix(v.Algorithm, "hmac-") }

// HASH is the same in upper case.
func (v *view) HASH() string { return strings.ToUpper(v.Hash()) }

// Prefix is what a secret begins with that is none of the key; empty for nothing.
func (v *view) Prefix() string {
	return map[string]string{"whsec": "whsec_", "whpk": "whpk_"}[v.Secret]
}

// KeyForm is how the rest of the secret stands for the key.
func (v *view) KeyForm() string {
	if v.Prefix() != "" {
		return "base64"
	}
	return v.Secret
}

// Uses reports whether the code reads or writes a notation of bytes.
func (v *view) Uses(encoding string) bool { return v.Encoding == encoding || v.KeyForm() == encoding }

// Required are the variables without which a request is refused.
func (v *view) Required() (names []string) {
	for _, x := range v.Vars {
		if !x.Optional {
			names = append(names, v.language.variable+x.Name)
		}
	}
	return names
}

// Pattern is the regular expression of the value.
func (v *view) Pattern() string {
	b := "^" + regexp.QuoteMeta(v.Lead)
	for _, g := range v.Groups {
		inner := ".*?"
		if g.Kind == Unix || g.Kind == UnixMilli {
			inner = "[0-9]+"
		}
		if g.Name == "" {
			b += "(?:" + inner + ")"
		} else {
			b += "(" + inner + ")"
		}
		b += regexp.QuoteMeta(g.After)
	}
	return b + "$"
}

// Captured are the names of the pattern's groups, in their order.
func (v *view) Captured() (names []string) {
	for _, g := range v.Groups {
		if g.Name != "" {
			names = append(names, v.language.variable+g.Name)
		}
	}
	return names
}

// Declared are those of them that are strings besides the list of signatures.
func (v *view) Declared() (names []string) {
	return slices.DeleteFunc(v.Captured(), func(name string) bool { return strings.HasSuffix(name, "list") })
}

// Chunk is a part of the signed content: the body, or an expression of a string.
type Chunk struct {
	Body bool
	Expr string
}

// Chunks is the signed content, with what is not the body in as few expressions as can be.
func (v *view) Chunks() (list []Chunk) {
	for _, p := range v.Content {
		if p.Kind == Body {
			list = append(list, Chunk{Body: true})
			continue
		}
		expr := v.language.variable + variables[p.Kind]
		if p.Kind == Text {
			expr = v.language.quote(p.Text)
		}
		if n := len(list); n > 0 && !list[n-1].Body {
			list[n-1].Expr += v.language.join + expr
			continue
		}
		list = append(list, Chunk{Expr: expr})
	}
	return list
}

// Says is the sentence about what the function answers.
func (v *view) Says() string {
	s := "body was signed with one of the secrets"
	if v.Ed25519() {
		s = "body was signed with the secret of one of the public keys"
	}
	if v.TimeSigned() {
		return s + ", less than five minutes ago"
	}
	return s
}

// Keys is what the secrets are called in a comment.
func (v *view) Keys() string {
	if v.Ed25519() {
		return "secrets: the public key (whpk_...), and the previous one while it is being changed."
	}
	return "secrets: the signing secret, and the previous one while it is being changed."
}

// Warning is a line of the comment about what the scheme does not protect from; empty for nothing.
func (v *view) Warning() string {
	if !v.TimeSigned() {
		return "The time is not signed, so an old request that is sent again passes: remember the ids of events."
	}
	return ""
}

func (v *view) notes() (list []string) {
	if w := v.Warning(); w != "" {
		list = append(list, w)
	}
	if !v.signs(EventID) {
		list = append(list, "The event's id is not signed, so whoever sends an old request again can give it another id. "+
			"Where that matters, choose Standard Webhooks.")
	}
	if v.Algorithm == "hmac-sha1" {
		list = append(list, "HMAC-SHA1 is for receivers that exist already. Choose HMAC-SHA256 for new ones.")
	}
	return list
}
