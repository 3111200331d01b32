package app

import (
	"strings"
	"testing"
)

// TestVerificationSamples shows code with the destination's own header names and never its secret, to whoever may read it.
func TestVerificationSamples(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	secret := "a-secret-of-our-own-0123456789"
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"hook","type":"webhook","topics":"*","signature":"custom","config":{"url":"https://example.com/hook",
		"signature_header":"X-Acme-Sum","signature_algorithm":"hmac-sha512","signature_content":"{{.Timestamp.Unix}}.{{.Body}}"},"credentials":{"secret":"`+secret+`"}}`)
	out := a.want(200, "GET", "/tenants/acme/destinations/hook/samples", nil)
	list := out.body["signatures"].([]any)
	if len(list) != 1 {
		t.Fatal(out.raw)
	}
	sig := list[0].(map[string]any)
	if sig["scheme"] != "custom" || sig["header"] != "x-acme-sum" || sig["missing"] != nil || len(sig["samples"].([]any)) != 8 {
		t.Error(out.raw)
	}
	for _, s := range sig["samples"].([]any) {
		code := s.(map[string]any)["code"].(string)
		if !strings.Contains(code, "x-acme-sum") || !strings.Contains(code, "waybill-timestamp") ||
			!strings.Contains(strings.ToLower(code), "sha512") {
			t.Errorf("%v is about another destination:\n%s", s.(map[string]any)["language"], code)
		}
	}
	if strings.Contains(out.raw, secret) {
		t.Error("the samples show the secret")
	}
	// What cannot be verified is said.
	a.want(200, "PATCH", "/tenants/acme/destinations/hook", `{"config":{"timestamp_header":"none"}}`)
	sig = a.want(200, "GET", "/tenants/acme/destinations/hook/samples", nil).body["signatures"].([]any)[0].(map[string]any)
	if len(sig["samples"].([]any)) != 0 || !strings.Contains(sig["missing"].(string), "no header shows") {
		t.Error(sig)
	}
	// A type that signs nothing has none, and another tenant's destination is not found.
	if got := a.want(200, "GET", "/tenants/acme/destinations/inbox/samples", nil).body["signatures"].([]any); len(got) != 0 {
		t.Error(got)
	}
	a.tenant("other")
	a.want(404, "GET", "/tenants/other/destinations/hook/samples", nil)
}
