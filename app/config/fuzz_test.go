package config

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// FuzzConfig gives one variable after the other a value that nobody expects. What is refused is refused by a name, in one line
// that repeats no secret; what is taken shows none in the table of settings.
func FuzzConfig(f *testing.F) {
	all := variables()
	for i := range all {
		for _, v := range []string{"x", "-1", "1e99", "99999999999999999999", "NaN", "true", "https://u:planted-password@h/p?x=1#f", "10s,1h",
			"a=b,c=", "\x00", ",", "*",
			"postgres://u:planted-password@h:port/db", "[::1]:9", "{}", "smtp://u:planted-password@h"} {
			f.Add(uint8(i), v)
		}
	}
	f.Fuzz(func(t *testing.T, at uint8, value string) {
		v := all[int(at)%len(all)]
		env := map[string]string{"DATABASE_URL": "postgres://h/db", "SECRET_KEY": "a secret for tests that is long enough",
			"API_KEY": "wb_test_key_0123456789", v.name: value}
		cfg, err := ReadConfig("web", func(name string) string { return env[name] })
		secret := secretName.MatchString(v.name) && !slices.Contains(notSecret, v.name)
		hidden := value
		if !secret {
			hidden = "planted-password"
		}
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				name, _, named := strings.Cut(line, ":")
				if !named || !slices.ContainsFunc(strings.Split(name, ", "), func(n string) bool { return known(all, n) }) {
					t.Errorf("%s=%q: %q begins with no variable", v.name, value, line)
				}
			}
			if len(hidden) > 12 && strings.Contains(err.Error(), hidden) && (secret || addressName.MatchString(v.name)) {
				t.Errorf("%s=%q is repeated: %v", v.name, value, err)
			}
			return
		}
		for _, s := range cfg.Settings() {
			if s.Name == v.name && len(hidden) > 12 && strings.Contains(s.Value+s.Shown(), hidden) && (secret || addressName.MatchString(v.name)) {
				t.Errorf("%s=%q is shown as %q", v.name, value, s.Shown())
			}
		}
	})
}

func known(all []variable, name string) bool {
	name = strings.TrimSuffix(name, fileSuffix)
	return slices.ContainsFunc(all, func(v variable) bool { return v.name == name || slices.Contains(strings.Split(v.name, ", "), name) })
}

// FuzzHost: a request is for this server only when the name it asks for is one of its own, to the letter.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"waybill.example.com", "waybill.example.com:443", "WAYBILL.example.com.", "a.internal", "internal",
		"xinternal", "evil.example", "user@waybill.example.com",
		"waybill.example.com/x", "[::1]:80", "127.0.0.1", "waybill.example.com:80:80", "", "evil.example\\@waybill.example.com",
		"[waybill.example.com]", "%77aybill.example.com"} {
		f.Add(s)
	}
	c := &Config{BaseURL: "https://waybill.example.com/x", Hosts: []string{"*.internal"}, Host: "0.0.0.0"}
	f.Fuzz(func(t *testing.T, host string) {
		if !c.AllowsHost(host) {
			return
		}
		u, err := url.Parse("https://" + host + "/")
		if err != nil || u.User != nil || u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q is allowed, and is no host", host)
		}
		name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
		if name != "waybill.example.com" && name != "localhost" && !strings.HasSuffix(name, ".internal") && strings.Trim(name,
			"0123456789abcdef.:%") != "" &&
			!strings.Contains(name, ":") {
			t.Errorf("%q is allowed", host)
		}
	})
}

// FuzzLinkTemplate: a link leads to the host that the operator has written, whatever the values in it are.
func FuzzLinkTemplate(f *testing.F) {
	for _, s := range [][2]string{{"https://logs.example.com/?q={attempt_id}&from={from}", "a&b=c#d"}, {"https://{tenant_id}.example.com/",
		"x"}, {"https://h/{trace_id}/../{tenant_id}", "../@evil"},
		{"javascript:{trace_id}", ""}, {"https://h?{event_id}", "\r\n"}, {"https://h{", "x"}, {"https://h/{unknown}", ""},
		{"https://u@h/{trace_id}", ":"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		tmpl, err := parseLinkTemplate(text)
		if err != nil || text == "" {
			return
		}
		plain, _ := url.Parse(placeholder.ReplaceAllString(text, "x"))
		link := tmpl.Of(&models.Attempt{TenantID: value, DestinationID: value, PublicEventID: value, StartedAt: time.Unix(1, 0)}, value)
		if link == "" {
			return
		}
		u, err := url.Parse(link)
		if err != nil || u.Host != plain.Host || u.Scheme != plain.Scheme {
			t.Errorf("%q with %q leads to %q: %v", text, value, link, err)
		}
	})
}
