package webhook

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // receivers that exist already ask for it, and collisions do not weaken HMAC
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/httpevent"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// The fields of signatures made to measure, and of the second one.
const (
	prefixField     = "header_prefix"
	secondField     = "second_signature"
	headerField     = "signature_header"
	algorithmField  = "signature_algorithm"
	encodingField   = "signature_encoding"
	contentField    = "signature_content"
	valueField      = "signature_value"
	secretFormField = "secret_encoding"
	eventIDField    = "event_id_header"
	timestampField  = "timestamp_header"
	topicField      = "topic_header"
	secondSecret    = "second_secret"
)

// customFields are those that only a signature made to measure uses.
var customFields = []string{headerField, algorithmField, encodingField, contentField, valueField, secretFormField, eventIDField,
	timestampField, topicField}

const (
	noHeader       = "none" // in place of a header's name
	ownPrefix      = "waybill-"
	defaultContent = "{{.Body}}"
	defaultValue   = `v0={{.Signatures | join ","}}`
)

var algorithms = map[string]func() hash.Hash{"": sha256.New, "hmac-sha256": sha256.New, "hmac-sha512": sha512.New, "hmac-sha1": sha1.New}

var encodings = map[string]func(dst, src []byte) []byte{"": hex.AppendEncode, "hex": hex.AppendEncode,
	"base64":    base64.StdEncoding.AppendEncode,
	"base64url": base64.RawURLEncoding.AppendEncode}

// schemeFields describes the fields to people and programs.
func schemeFields() []adapters.Field {
	text := func(key, label, help, placeholder string) adapters.Field {
		return adapters.Field{Key: key, Label: label, Type: adapters.FieldText, Help: help, Placeholder: placeholder, MaxLength: 500,
			Advanced: true}
	}
	// none is what a choice says when nothing is chosen.
	choice := func(key, label, none, help string, options ...adapters.Option) adapters.Field {
		return adapters.Field{Key: key, Label: label, Type: adapters.FieldSelect, Help: help, Placeholder: none, Options: options,
			Advanced: true}
	}
	header := func(key, label, what string) adapters.Field {
		return text(key, label, "For the signature Custom. The whole name of the header that holds "+what+". Empty leaves it out.", "")
	}
	second := choice(secondField, "Second signature", "None",
		"In another scheme, on the same request: for receivers that change over one by one.",
		adapters.Option{Value: schemeStandard, Label: "Standard Webhooks"},
		adapters.Option{Value: schemeEd25519, Label: "Standard Webhooks, asymmetric (v1a)"},
		adapters.Option{Value: schemeOutpost, Label: "Outpost"}, adapters.Option{Value: schemeCustom, Label: "Custom"})
	return []adapters.Field{
		text(prefixField, "Header prefix",
			"What names of headers begin with. Empty for waybill-, and x-outpost- with the signature Outpost.", "x-acme-"),
		text(headerField, "Signature header",
			"For the signature Custom. The whole name of its header. Empty for the prefix followed by signature.", "X-Acme-Signature"),
		choice(algorithmField, "Algorithm", "HMAC-SHA256 (default)", "For the signature Custom.",
			adapters.Option{Value: "hmac-sha256", Label: "HMAC-SHA256"},
			adapters.Option{Value: "hmac-sha512", Label: "HMAC-SHA512"}, adapters.Option{Value: "hmac-sha1", Label: "HMAC-SHA1"}),
		choice(encodingField, "Encoding", "Hex (default)", "For the signature Custom. How the bytes of the signature are written.",
			adapters.Option{Value: "hex", Label: "Hex"},
			adapters.Option{Value: "base64", Label: "Base64"}, adapters.Option{Value: "base64url",
				Label: "Base64 for URLs, without padding"}),
		text(contentField, "Signed content",
			"For the signature Custom. A template with {{.Body}}, {{.EventID}}, {{.Topic}}, {{.Timestamp.Unix}}.", defaultContent),
		text(valueField, "Value of the header",
			"For the signature Custom. A template with {{.Signatures}} and the same fields, except the body.", defaultValue),
		choice(secretFormField, "Form of the secret", "Text as it is (default)",
			"For the signature Custom. How the key is read from the secret.",
			adapters.Option{Value: "text", Label: "Text as it is"}, adapters.Option{Value: "hex", Label: "Hex"},
			adapters.Option{Value: "base64", Label: "Base64"},
			adapters.Option{Value: "whsec", Label: "whsec_ and base64"}),
		header(eventIDField, "Event ID header", "the event's id"),
		header(timestampField, "Timestamp header", "the time of the attempt, in Unix seconds"),
		header(topicField, "Topic header", "the topic"),
		second,
	}
}

// prefixed is how a request looks to receivers that find everything under one prefix: with the signatures outpost and custom.
type prefixed struct {
	names  httpevent.Names
	shown  httpevent.Names // the same without the headers that are sent anyway
	header string          // of the signature outpost; empty without
	signs  []signer        // of that
	custom *custom         // nil for none
}

// custom is a signature made to measure.
type custom struct {
	header         string
	hash           func() hash.Hash
	encode         func(dst, src []byte) []byte
	content, value []part
	keys           []customKey
}

type customKey struct {
	key   []byte
	until time.Time // zero for a secret without an end
}

// schemes are the schemes of a destination, the first one's first.
func schemes(s *adapters.Settings) []string {
	first := s.Beside[signatureField]
	if first == "" {
		first = schemeStandard
	}
	if second := s.Config[secondField]; second != "" {
		return []string{first, second}
	}
	return []string{first}
}

func headerPrefix(s *adapters.Settings, all []string) string {
	switch prefix := s.Config[prefixField]; {
	case prefix != "":
		return prefix
	case slices.Contains(all, schemeOutpost):
		return httpevent.OutpostPrefix
	}
	return ownPrefix
}

// newPrefixed reads the settings of the signatures outpost and custom; nil without both. Keys are added by the caller.
func newPrefixed(s *adapters.Settings) (*prefixed, []adapters.FieldError) {
	all := schemes(s)
	prefix := headerPrefix(s, all)
	var errs []adapters.FieldError
	bad := func(key, format string, args ...any) {
		errs = append(errs, adapters.FieldError{Key: "config." + key, Message: fmt.Sprintf(format, args...)})
	}
	if !outbound.ValidName(prefix) || len(prefix) < 2 || len(prefix) > 60 {
		bad(prefixField, "must be the beginning of a header's name, like x-acme-")
	}
	if len(all) == 2 && all[0] == all[1] {
		bad(secondField, "must be another scheme than signature, which is %s", all[0])
	}
	if !slices.Contains(all, schemeCustom) {
		for _, key := range customFields {
			if s.Config[key] != "" {
				bad(key, "is used with the signature custom, and neither signature nor second_signature is that")
			}
		}
	}
	if len(errs) > 0 || !slices.Contains(all, schemeCustom) && !slices.Contains(all, schemeOutpost) {
		return nil, errs
	}
	p := &prefixed{names: httpevent.NamesUnder(prefix)}
	if slices.Contains(all, schemeOutpost) {
		p.header = prefix + "signature"
	}
	if slices.Contains(all, schemeCustom) {
		p.custom = &custom{header: prefix + "signature", hash: algorithms[s.Config[algorithmField]],
			encode: encodings[s.Config[encodingField]]}
		for key, name := range map[string]*string{headerField: &p.custom.header, eventIDField: &p.names.EventID,
			timestampField: &p.names.Timestamp, topicField: &p.names.Topic} {
			switch given := s.Config[key]; {
			case given == noHeader && key != headerField:
				*name = ""
			case given == "":
			case !outbound.ValidName(given) || httpevent.Framing(strings.ToLower(given)):
				bad(key, "must be a header's name that is not the protocol's own, like X-Acme-Signature")
			default:
				*name = given
			}
		}
		var err error
		if p.custom.content, err = compileTemplate(or(s.Config[contentField], defaultContent), partEventID, partTopic, partUnix,
			partUnixMilli, partTime, partBody); err != nil {
			bad(contentField, "%s", err)
		}
		if p.custom.value, err = compileTemplate(or(s.Config[valueField], defaultValue), partEventID, partTopic, partUnix, partUnixMilli,
			partTime, partSignatures); err != nil {
			bad(valueField, "%s", err)
		}
	}
	// What is sent anyway, and what comes twice.
	p.shown = p.names
	for _, name := range []*string{&p.shown.EventID, &p.shown.Timestamp, &p.shown.Topic} {
		if *name != "" {
			p.names.Taken = append(p.names.Taken, strings.ToLower(*name))
		}
	}
	if p.custom != nil {
		p.names.Taken = append(p.names.Taken, strings.ToLower(p.custom.header))
	}
	if all[0] == schemeStandard || all[0] == schemeEd25519 || len(all) == 2 && (all[1] == schemeStandard || all[1] == schemeEd25519) {
		own := prefixOr(s, ownPrefix)
		p.names.Taken = append(p.names.Taken, strings.ToLower(own+"topic"), strings.ToLower(own+"attempt"))
		if strings.EqualFold(p.shown.Topic, own+"topic") {
			p.shown.Topic = ""
		}
	}
	if key := p.twice(all); key != "" && len(errs) == 0 {
		bad(key, "is the name of another header of the same request; choose another one")
	}
	return p, errs
}

// sends reports whether a header is one of its own.
func (p *prefixed) sends(name string) bool {
	lower := strings.ToLower(name)
	return slices.Contains(p.names.Taken, lower) || strings.HasPrefix(lower, strings.ToLower(p.names.Prefix))
}

func or(value, dflt string) string {
	if value == "" {
		return dflt
	}
	return value
}

func prefixOr(s *adapters.Settings, dflt string) string { return or(s.Config[prefixField], dflt) }

// twice is the field whose header another one has already; empty for none.
func (p *prefixed) twice(all []string) string {
	seen := map[string]bool{}
	if slices.Contains(all, schemeStandard) || slices.Contains(all, schemeEd25519) {
		seen["webhook-id"], seen["webhook-timestamp"], seen["webhook-signature"] = true, true, true
	}
	type named struct{ field, name string }
	list := []named{{prefixField, p.header}, {eventIDField, p.shown.EventID}, {timestampField, p.shown.Timestamp},
		{topicField, p.shown.Topic}}
	if p.custom != nil {
		list = append(list, named{headerField, p.custom.header})
	}
	for _, x := range list {
		lower := strings.ToLower(x.name)
		if lower != "" && seen[lower] {
			return x.field
		}
		seen[lower] = true
	}
	return ""
}

// headers adds what receivers find under one prefix.
func (p *prefixed) headers(h *outbound.Header, m *adapters.Message, now time.Time) {
	p.shown.Add(h, m, now)
	if p.header != "" {
		var sigBuf [160]byte // Room for two signatures, and there are never more.
		var sumBuf [sha256.Size]byte
		sig := append(sigBuf[:0], "v0="...)
		for i, sg := range p.signs {
			if !sg.live(now) {
				continue
			}
			if i > 0 {
				sig = append(sig, ',')
			}
			sig = hex.AppendEncode(sig, sg.Sum(sumBuf[:0], nil, m.Data))
		}
		h.AddPublicBytes(p.header, sig)
	}
	if p.custom != nil {
		h.AddPublicBytes(p.custom.header, p.custom.sign(m, now))
	}
	p.names.AddMetadata(h, m)
}

// sign is the value of the signature's header.
func (c *custom) sign(m *adapters.Message, now time.Time) []byte {
	var sums [][]byte
	var text []byte
	for _, k := range c.keys {
		if !k.until.IsZero() && !now.Before(k.until) {
			continue
		}
		mac := hmac.New(c.hash, k.key)
		for _, p := range c.content {
			if p.kind == partBody {
				mac.Write(m.Data)
				continue
			}
			text = appendPart(text[:0], p, m, now)
			mac.Write(text)
		}
		sums = append(sums, c.encode(nil, mac.Sum(nil)))
	}
	var out []byte
	for _, p := range c.value {
		if p.kind != partSignatures {
			out = appendPart(out, p, m, now)
			continue
		}
		for i, sum := range sums {
			if i > 0 {
				out = append(out, p.text...)
			}
			out = append(out, sum...)
		}
	}
	return out
}
