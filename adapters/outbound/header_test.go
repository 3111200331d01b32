package outbound

import (
	"strings"
	"testing"
)

func TestHeaderLines(t *testing.T) {
	t.Parallel()
	base := new(Header)
	base.Add("User-Agent", "Waybill/1")
	h := AcquireHeader(base)
	defer ReleaseHeader(h)
	h.Add("Authorization", "Bearer abc")
	h.AddPublic("webhook-signature", "v1,xyz")
	h.AddPublicInt("n", -12)
	h.AddPublicBytes("b", []byte("x\ty"))
	if got, want := string(h.wire), "User-Agent: Waybill/1\r\nAuthorization: Bearer abc\r\nwebhook-signature: v1,xyz\r\nn: -12\r\nb: x\ty\r\n"; got != want {
		t.Errorf("on the wire %q", got)
	}
	if got, want := string(h.shown), "User-Agent: Waybill/1\nAuthorization: ***\nwebhook-signature: v1,xyz\nn: -12\nb: x\ty\n"; got != want {
		t.Errorf("shown %q", got)
	}
	if string(base.wire) != "User-Agent: Waybill/1\r\n" {
		t.Errorf("the base was changed: %q", base.wire)
	}
}

func TestHeaderRefusesInjection(t *testing.T) {
	t.Parallel()
	for _, line := range [][2]string{
		{"x", "a\r\nb: c"}, {"x", "a\nb"}, {"x", "a\rb"}, {"x", "a\x00b"}, {"x", "\x7f"}, {"x", "hush-hush\n"},
		{"x\r\ny", "a"}, {"x:", "a"}, {"x y", "a"}, {"", "a"}, {"ü", "a"},
	} {
		h := new(Header)
		h.Add(line[0], line[1])
		if h.Err() == nil || len(h.wire) > 0 || len(h.shown) > 0 {
			t.Errorf("%q was accepted: %q", line, h.wire)
		}
		if h.Err() != nil && strings.Contains(h.Err().Error(), "hush") {
			t.Errorf("the error tells the value: %v", h.Err())
		}
	}
}

func TestSensitive(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Authorization", "proxy-authorization", "X-Api-Key", "x-auth", "Auth", "X-Auth-User",
		"api_token", "X_SECRET", "client-password", "Cookie", "Set-Cookie", "X-Session-Id", "My-Credentials", "JWT"} {
		if !Sensitive(name) {
			t.Errorf("%s is not masked", name)
		}
	}
	for _, name := range []string{"Author", "Content-Type", "X-Request-Id", "Date", "WWW-Authenticate", "webhook-id", "Location",
		"X-Passenger"} {
		if Sensitive(name) {
			t.Errorf("%s is masked", name)
		}
	}
}
