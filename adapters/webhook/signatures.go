package webhook

import (
	"strings"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/webhook/samples"
)

// sampleKinds are the kinds of parts, as samples have them.
var sampleKinds = map[int]int{partText: samples.Text, partEventID: samples.EventID, partTopic: samples.Topic, partUnix: samples.Unix,
	partUnixMilli: samples.UnixMilli, partTime: samples.Formatted, partBody: samples.Body, partSignatures: samples.Signatures}

func sampleParts(list []part) []samples.Part {
	var out []samples.Part
	for _, p := range list {
		out = append(out, samples.Part{Kind: sampleKinds[p.kind], Text: p.text})
	}
	return out
}

// Signatures implements adapters.Signer.
func (t Type) Signatures(s adapters.Settings) []adapters.Signature {
	named, wrong := newPrefixed(&s)
	if len(wrong) > 0 {
		return nil // stored by a version that took it; no request is sent with it either
	}
	var out []adapters.Signature
	for _, scheme := range schemes(&s) {
		sc := sampleScheme(scheme, &s, named)
		x := adapters.Signature{Scheme: scheme, Header: sc.Header}
		x.Samples, x.Notes, x.Missing = samples.Of(sc)
		out = append(out, x)
	}
	return out
}

// sampleScheme is how requests are signed in one of the schemes of a destination.
func sampleScheme(scheme string, s *adapters.Settings, named *prefixed) samples.Scheme {
	dot := samples.Part{Kind: samples.Text, Text: "."}
	out := samples.Scheme{Header: "webhook-signature", ID: "webhook-id", Time: "webhook-timestamp", Algorithm: "hmac-sha256",
		Encoding: "base64", Secret: formWhsec,
		Content: []samples.Part{{Kind: samples.EventID}, dot, {Kind: samples.Unix}, dot, {Kind: samples.Body}}, VersionedEntries: "v1,"}
	switch scheme {
	case schemeEd25519:
		out.Algorithm, out.Secret, out.VersionedEntries = "ed25519", "whpk", "v1a,"
	case schemeOutpost:
		out = samples.Scheme{Header: named.header, Algorithm: "hmac-sha256", Encoding: "hex", Secret: formText,
			Content: []samples.Part{{Kind: samples.Body}},
			Value:   []samples.Part{{Kind: samples.Text, Text: "v0="}, {Kind: samples.Signatures, Text: ","}}}
	case schemeCustom:
		out = samples.Scheme{Header: named.custom.header, Algorithm: or(s.Config[algorithmField], "hmac-sha256"),
			Encoding: or(s.Config[encodingField], formHex),
			Secret:   secretForm(scheme, s.Config), Content: sampleParts(named.custom.content), Value: sampleParts(named.custom.value)}
	}
	if scheme == schemeOutpost || scheme == schemeCustom {
		lower, names := strings.ToLower, named.names
		out.ID, out.Time, out.Topic = lower(names.EventID), lower(names.Timestamp), lower(names.Topic)
	}
	out.Header = strings.ToLower(out.Header)
	return out
}
