package views

import "github.com/waybill-dev/waybill/adapters"

var gallerySignatures = []adapters.Signature{
	{Scheme: "standard", Header: "webhook-signature", Notes: []string{galleryHostile}, Samples: []adapters.Sample{
		{Language: "node", Label: "Node.js", File: "verify.mjs", Code: "export function verify(headers, body, secrets) {\n  return true; // " + galleryHostile + "\n}\n"},
		{Language: "rust", Label: "Rust", File: "verify.rs", Needs: "cargo add hmac sha2", Code: "pub fn verify() -> bool {\n    true\n}\n"},
	}},
	{Scheme: "custom", Header: "x-acme-signature", Missing: "The signed content has the event's id, which no header shows to the receiver."},
}
