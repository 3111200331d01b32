package outbound

import (
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, label, shown, target, host string
	}{
		{in: "https://hooks.example.com", label: "https://hooks.example.com/", target: "/"},
		{in: "HTTPS://Hooks.Example.COM:443/a/b", label: "https://hooks.example.com/a/b", target: "/a/b"},
		{in: "http://hooks.example.com:8080/a?x=1", label: "http://hooks.example.com:8080/a",
			shown: "http://hooks.example.com:8080/a?x=1", target: "/a?x=1"},
		{in: "https://h.example/?token=abc&x=1&X-Amz-Signature=2&empty&sig=3", label: "https://h.example/",
			shown:  "https://h.example/?token=***&x=1&X-Amz-Signature=***&empty&sig=***",
			target: "/?token=abc&x=1&X-Amz-Signature=2&empty&sig=3"},
		{in: "https://h.example/a b?q=a b\"é", label: "https://h.example/a%20b",
			shown: "https://h.example/a%20b?q=a%20b\"%C3%A9", target: "/a%20b?q=a%20b\"%C3%A9"},
		{in: "https://bücher.example/ü", label: "https://xn--bcher-kva.example/%C3%BC", target: "/%C3%BC", host: "xn--bcher-kva.example"},
		{in: "https://XN--BCHER-KVA.example", label: "https://xn--bcher-kva.example/", target: "/"},
		{in: "http://[2606:4700::1]:8080/x", label: "http://[2606:4700::1]:8080/x", target: "/x", host: "2606:4700::1"},
		{in: "https://[2606:4700:0:0::1]", label: "https://[2606:4700::1]/", target: "/"},
		{in: "http://192.0.2.7/", label: "http://192.0.2.7/", target: "/"},
		{in: "http://my_service:9000/", label: "http://my_service:9000/", target: "/"},
		{in: "https://h.example./x", label: "https://h.example./x", target: "/x"},
		{in: "https://h.example/?", label: "https://h.example/", target: "/?"},
	}
	for _, tt := range tests {
		e, err := ParseURL(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if tt.shown == "" {
			tt.shown = tt.label
		}
		if e.Label() != tt.label || e.Shown() != tt.shown || e.Target != tt.target || tt.host != "" && e.Host != tt.host {
			t.Errorf("%s: label %s, shown %s, target %s, host %s", tt.in, e.Label(), e.Shown(), e.Target, e.Host)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":                           "https://",
		"hooks.example.com/x":        "https://",
		"ftp://h.example/":           "https://",
		"file:///etc/passwd":         "https://",
		"https:h.example":            "https://",
		"https:///x":                 "host",
		"https://:8080/":             "host",
		"https://u:p@h.example/":     "custom headers",
		"https://u@h.example/":       "custom headers",
		"https://h.example/#top":     "fragment",
		"https://h.example:0/":       "port",
		"https://h.example:65536/":   "port",
		"https://h.example:abc/":     "valid URL",
		"https://h.example/\r\nX: y": "valid URL",
		"https://h\x00.example/":     "valid URL",
		"https://a b.example/":       "valid",
		"https://a..example/":        "valid",
		"https://-a.example/":        "valid",
		"https://a%2eexample/":       "valid",
		"https://[fe80::1%25eth0]/":  "interface",
		"https://[h.example]/":       "valid",
		"http://0x7f.1/":             "four decimal",
		"http://2130706433/":         "four decimal",
		"http://127.1/":              "four decimal",
		"http://0177.0.0.1/":         "four decimal",
		"http://0x7f000001/":         "four decimal",
		"http://127.0.0.1.:80/":      "four decimal",
		"http://1.2.3.4.5/":          "four decimal",
		"https://" + strings.Repeat("a.", 127) + "example/": "too long",
		"https://" + strings.Repeat("a", 64) + ".example/":  "valid",
		"https://h.example/" + strings.Repeat("x", MaxURL):  "2048",
	}
	for in, want := range tests {
		if e, err := ParseURL(in); err == nil {
			t.Errorf("%q was accepted as %s", in, e.Label())
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q does not mention %q", in, err, want)
		}
	}
}

// Whatever is accepted must be safe to put into a request line and a Host header.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"https://h.example/a?b=c", "http://[::1]:80/%zz", "https://bücher.example/ä?ö", "http://a/\x7f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		e, err := ParseURL(raw)
		if err != nil {
			return
		}
		for _, part := range []string{e.Target, e.hostPort()} {
			for i := 0; i < len(part); i++ {
				if part[i] <= ' ' || part[i] >= 0x7f {
					t.Fatalf("%q became %q", raw, part)
				}
			}
		}
		if e.Target[0] != '/' {
			t.Fatalf("%q has the target %q", raw, e.Target)
		}
	})
}
