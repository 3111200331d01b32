package config

import (
	"strings"
	"testing"
)

// TestLinkTemplates reads templates for links, good and bad.
func TestLinkTemplates(t *testing.T) {
	t.Parallel()
	for text, problem := range map[string]string{
		"": "", "https://logs.example.com/?q={attempt_id}": "",
		"http://10.0.0.1:3000/explore?from={from_ms}&to={to_ms}&d={destination_id}": "",
		"logs.example.com": "must be an address", "https://{tenant_id}.example.com/": "none in the host",
		"https://x.example.com/{attempt}": "unknown placeholder {attempt}",
		"javascript:alert(1)":             "must be an address", "https://x.example.com/{attempt_id": "must be an address",
		"https://x.example.com/<{attempt_id}>": "must be an address",
	} {
		_, err := parseLinkTemplate(text)
		if (err == nil) != (problem == "") || err != nil && !strings.Contains(err.Error(), problem) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
