package api

import (
	"context"

	"github.com/waybill-dev/waybill/adapters"
)

// verificationJSON is how a destination's requests are signed.
type verificationJSON struct {
	Signatures []verifiedSignatureJSON `json:"signatures" doc:"Those of each request; none for a type that signs nothing."`
}

type verifiedSignatureJSON struct {
	Scheme  string           `json:"scheme" doc:"How it is made, as in 'signature' and 'config.second_signature'."`
	Header  string           `json:"header" doc:"The header that holds it, in lower case."`
	Notes   []string         `json:"notes" doc:"What the scheme does not protect from, and what else to know."`
	Missing *string          `json:"missing" doc:"Why there are no samples, and what to do; null when there are."`
	Samples []codeSampleJSON `json:"samples" doc:"Code that verifies it, a language each."`
}

type codeSampleJSON struct {
	Language string `json:"language" api:"enum=node|python|go|ruby|php|java|csharp|rust"`
	Label    string `json:"label" doc:"The language's name."`
	File     string `json:"file" doc:"A name for its file."`
	Needs    string `json:"needs" doc:"A command that brings what it needs besides the language; empty for nothing."`
	Code     string `json:"code" doc:"A function that says whether a request was signed with the destination's secret."`
}

// Signatures shows how a destination's requests are signed, with code that verifies it. It holds no secret.
func (a *API) Signatures(ctx context.Context, c *Call, req *DestinationRequest) ([]adapters.Signature, error) {
	d, err := a.Store.Destination(ctx, c.Scope(), req.Tenant, req.Destination)
	if err != nil {
		return nil, err
	}
	if r := d.Registration(); r != nil {
		if signer, ok := r.Type.(adapters.Signer); ok {
			set := d.Settings()
			set.Credentials = nil
			return signer.Signatures(set), nil
		}
	}
	return nil, nil
}

func (a *API) getSamples(ctx context.Context, c *Call, req *DestinationRequest) (*Reply, error) {
	list, err := a.Signatures(ctx, c, req)
	if err != nil {
		return nil, err
	}
	out := verificationJSON{Signatures: []verifiedSignatureJSON{}}
	for _, s := range list {
		j := verifiedSignatureJSON{Scheme: s.Scheme, Header: s.Header, Notes: append([]string{}, s.Notes...), Samples: []codeSampleJSON{}}
		if s.Missing != "" {
			j.Missing = &s.Missing
		}
		for _, x := range s.Samples {
			j.Samples = append(j.Samples, codeSampleJSON{x.Language, x.Label, x.File, x.Needs, x.Code})
		}
		out.Signatures = append(out.Signatures, j)
	}
	return &Reply{Body: out}, nil
}
