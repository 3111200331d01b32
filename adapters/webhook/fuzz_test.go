package webhook

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// FuzzCustomHeaders: what is sent beside our own headers cannot end one, begin another, or be one of ours.
func FuzzCustomHeaders(f *testing.F) {
	for _, s := range []string{`{"X-Team":"billing"}`, `{"a":"b\r\nHost: x"}`, `{"webhook-id":"1"}`, `{"Content-Length":"1"}`,
		`{"X-A":"1","x-a":"2"}`, `{"":""}`, `{"X":null}`, `[]`, `{"X":" y"}`,
		"{\"X\":\"\x7f\"}", `{"Authorization":"Bearer t"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		headers, err := parseCustomHeaders(text)
		if err != nil && err.Error() == "" {
			t.Errorf("%q is refused without a word", text)
		}
		for i, h := range headers {
			if h.name == "" || strings.ContainsAny(h.name, ": \t\r\n\x00") || strings.ContainsAny(h.value, "\r\n\x00") ||
				reserved(strings.ToLower(h.name)) ||
				i > 0 && strings.EqualFold(headers[i-1].name, h.name) {
				t.Errorf("%q has %q: %q", text, h.name, h.value)
			}
		}
	})
}

// FuzzSecrets: secrets that are taken have keys, settle at once, and a rotation keeps the one before.
func FuzzSecrets(f *testing.F) {
	for _, s := range [][3]string{{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "", ""}, {"short", "custom", "hex"}, {"00112233445566778899",
		"custom", "hex"}, {"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "", ""},
		{"whsk_AAAA", "v1a", ""}, {"a text of its own", "outpost", ""}, {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw=\n", "custom", "whsec"},
		{"\x00\x00\x00\x00\x00\x00\x00\x00", "custom", "text"}} {
		f.Add(s[0], s[1], s[2])
	}
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, secret, scheme, form string) {
		set := func() *adapters.Settings {
			return &adapters.Settings{Config: map[string]string{secretFormField: form}, Beside: map[string]string{signatureField: scheme},
				Credentials: map[string]string{"secret": secret}}
		}
		s := set()
		if errs := settleSecrets(s, now); len(errs) > 0 {
			for _, e := range errs {
				if len(secret) > 20 && strings.Contains(e.Message, secret) {
					t.Errorf("%q is shown in %q", secret, e.Message)
				}
			}
			return
		}
		key, err := signingKey(s.Credentials["secret"], secretForm(schemes(s)[0], s.Config))
		if err != nil || len(key) < 8 {
			t.Fatalf("%q is taken and has the key %x: %v", secret, key, err)
		}
		before := maps.Clone(s.Credentials)
		if errs := settleSecrets(s, now); len(errs) > 0 || !maps.Equal(before, s.Credentials) {
			t.Errorf("%q is %q, and then %q: %v", secret, before, s.Credentials, errs)
		}
		s.Credentials[adapters.RotateField] = "true"
		if errs := settleSecrets(s, now); len(errs) > 0 || s.Credentials["previous_secret"] != before["secret"] ||
			s.Credentials["secret"] == before["secret"] {
			t.Errorf("%q is rotated to %q: %v", before, s.Credentials, errs)
		}
	})
}
