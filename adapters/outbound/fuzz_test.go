package outbound

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// FuzzGuard: an address that is blocked is blocked in every form that carries it, and none that is allowed leads inside.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "198.18.0.1", "8.8.8.8",
		"255.255.255.255", "224.0.0.1", "192.0.0.8"} {
		a := netip.MustParseAddr(s).As4()
		f.Add(a[:])
	}
	for _, s := range []string{"::", "::1", "fe80::1", "fc00::1", "2001:4860:4860::8888", "64:ff9b::a00:1", "2002:a00:1::", "2001::1",
		"::a00:1", "64:ff9b:1::1", "ff02::1",
		"2001:db8::1", "5f00::1"} {
		a := netip.MustParseAddr(s).As16()
		f.Add(a[:])
	}
	g, opened := newGuard(nil), newGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")})
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		if g.allows(a) && (!a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.Is4In6()) {
			t.Errorf("%s is allowed", a)
		}
		if opened.allows(a) && !g.allows(a) && a != netip.MustParseAddr("127.0.0.2") {
			t.Errorf("%s is allowed with 127.0.0.2", a)
		}
		if a.Is6() && g.allows(a.WithZone("eth0")) {
			t.Errorf("%s is allowed with a zone", a)
		}
		if !a.Is4() {
			return
		}
		v4 := a.As4()
		for _, form := range [][]byte{{10: 0xff, 11: 0xff, 12: v4[0], 13: v4[1], 14: v4[2], 15: v4[3]}, // mapped
			{0: 0, 1: 0x64, 2: 0xff, 3: 0x9b, 12: v4[0], 13: v4[1], 14: v4[2], 15: v4[3]}, // NAT64
			{0: 0x20, 1: 2, 2: v4[0], 3: v4[1], 4: v4[2], 5: v4[3], 15: 1},                // 6to4
			{12: v4[0], 13: v4[1], 14: v4[2], 15: v4[3]}} {                                // compatible
			if inner, _ := netip.AddrFromSlice(form); g.allows(inner) && !g.allows(a) {
				t.Errorf("%s is allowed, and %s is not", inner, a)
			}
		}
	})
}

// FuzzMaskURL: a secret in a URL is not seen, what is masked stays so, and who sends it back gets back what there was.
func FuzzMaskURL(f *testing.F) {
	for _, s := range []string{"https://u:p%40w@h.example:8443/a?token=x&x=1#f", "amqps://u:p@h/v", "https://t@h/", "not a url",
		"a://b@c@d/?token", "https://h/?sig=%zz&sig=",
		"https://h?token=a?b", "HTTPS://H/?Token=***", "x://[::1]:1/?key=a&key=b", "https:///@?token=1", "https://u:@h/?%74oken=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		shown := MaskURL(raw)
		if again := MaskURL(shown); again != shown {
			t.Errorf("%q is shown as %q, and then as %q", raw, shown, again)
		}
		if plain, left := UnmaskURL(raw, shown); plain != raw || left {
			t.Errorf("%q is shown as %q and comes back as %q (%t)", raw, shown, plain, left)
		}
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || !hasScheme.MatchString(raw) {
			return
		}
		const secret = "4711planted"
		if strings.Contains(raw, secret) || strings.ContainsAny(raw, "#") {
			return
		}
		with, sep := raw, "?"
		if strings.Contains(raw, "?") {
			sep = "&"
		}
		if seen := MaskURL(with + sep + "access_token=" + secret); strings.Contains(seen, secret) {
			t.Errorf("%q is shown as %q", with, seen)
		}
		u.User = url.UserPassword("user", secret)
		if seen := MaskURL(u.String()); strings.Contains(seen, secret) {
			t.Errorf("%q is shown as %q", u, seen)
		}
	})
}

// FuzzRetryAfter: whatever a receiver asks for is no time in the past, and none beyond the limit.
func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"120", "-1", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", "1.5",
		"", " 7 ", "1e3", "\x00",
		"Thu, 01-Jan-70 00:00:00 GMT"} {
		f.Add(s, 429)
	}
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string, code int) {
		d := RetryAfter(value, now)
		if d < 0 || d > maxRetryAfter {
			t.Errorf("%q is %v", value, d)
		}
		if at := now.Add(d); d > 0 && d < maxRetryAfter && RetryAfter(at.UTC().Format(http.TimeFormat), now) > d {
			t.Errorf("%q is %v, and later as a date", value, d)
		}
		r := Response{Receipt: adapters.Receipt{Code: code, Retry: d}, Location: value}
		e := Verdict(&r)
		if ok := code >= 200 && code < 300; ok != (e == nil) {
			t.Fatalf("%d: %v", code, e)
		}
		if e != nil && (e.Message == "" || e.Class == "" || e.After < 0) {
			t.Errorf("%d: %+v", code, e)
		}
	})
}

// FuzzParseService: a broker's address is read in one form, and holds what may be looked up and no more.
func FuzzParseService(f *testing.F) {
	for _, s := range []string{"broker.example.com:5672", "[::1]:1", "1.2.3.4:99999", "bücher.example:1", ":1", "a:b:c", "user@h:1",
		"0x7f.1:80", "h.:1", "[fe80::1%eth0]:1", "[h]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseService(text)
		if err != nil {
			return
		}
		again, err := ParseService(s.String())
		if err != nil || again.String() != s.String() {
			t.Errorf("%q is %q, and then %q: %v", text, s, again, err)
		}
		if strings.ContainsAny(s.Host, "/@?#% \r\n\t\x00") || s.Port == 0 {
			t.Errorf("%q is %q", text, s)
		}
	})
}

// FuzzRedactor: a secret that a receiver repeats, as it is or escaped, is not kept.
func FuzzRedactor(f *testing.F) {
	f.Add("Bearer planted/\"secret", "you sent ", "X-Echo")
	f.Add("a b c d e f", "", "")
	f.Add("******", "***", "*")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		if len(secret) < minSecret || strings.Contains(before+masked+after, secret) || strings.Contains(masked, secret) ||
			strings.Contains(secret, masked) {
			return
		}
		r := NewRedactor([]string{secret})
		for _, form := range []string{secret, url.QueryEscape(secret), jsonEscaped(secret)} {
			said := before + form + after
			if kept := r.Text(said); len(form) >= minSecret && strings.Contains(kept, form) && !strings.Contains(before+masked+after, form) {
				t.Errorf("%q becomes %q", said, kept)
			}
		}
	})
}
