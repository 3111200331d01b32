package notify

import (
	"fmt"
	"strings"
	"testing"
)

// FuzzSMTP: the mail server's address is taken or refused without showing the password.
func FuzzSMTP(f *testing.F) {
	for _, s := range [][2]string{{"smtp://user:p%40ss-planted@mail.example.com:587", "Waybill <a@b.example>"}, {"smtps://h", "a@b"},
		{"smtp://u@h", ""}, {"smtp://[::1]:x", "a\r\nBcc: x@y"},
		{"smtp://u:p@h/?x", "\"a\x00\"@b"}, {"smtp://h#f", "=?utf-8?q?x?= <a@b>"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, address, sender string) {
		s, err := ParseSMTP(address)
		if err == nil && s.host != "" && s.port == "" {
			t.Errorf("%q has no port", address)
		}
		if len(s.password) > 8 && !strings.Contains(s.host+s.port, s.password) {
			if shown := fmt.Sprintf("%v %+v %#v %s", s, s, s, err); strings.Contains(shown, s.password) {
				t.Errorf("%q shows the password: %s", address, shown)
			}
		}
		if from, err := s.From(sender); err == nil && strings.ContainsAny(from.from.Address+from.from.Name, "\r\n\x00") {
			t.Errorf("%q is the sender %q", sender, from.from.String())
		}
	})
}
