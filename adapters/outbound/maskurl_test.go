package outbound

import "testing"

func TestMaskURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://h.example/a?token=abc&x=1&sig=%2Fq": "https://h.example/a?token=***&x=1&sig=***",
		"https://u:p%40w@h.example:8443/a":           "https://u:***@h.example:8443/a",
		"https://ghp_token@h.example/":               "https://***@h.example/", "amqps://user:pass@h/vhost": "amqps://user:***@h/vhost",
		"https://h.example/?api_key=a#frag": "https://h.example/?api_key=***#frag",
		"https://h.example/a?x=1":           "https://h.example/a?x=1", "https://h.example/@a:b?x=c@d": "https://h.example/@a:b?x=c@d",
		"https://h.example/?token=":   "https://h.example/?token=",
		"https://h/?access%5Ftoken=a": "https://h/?access%5Ftoken=***", "not a url?token=abc": "not a url?token=abc",
		"h.example:9092": "h.example:9092", "": "", "https://u:@h/": "https://u:@h/",
	} {
		if got := MaskURL(in); got != want {
			t.Errorf("%s is shown as %s, not as %s", in, got, want)
		}
		if again := MaskURL(want); again != want {
			t.Errorf("%s is masked again, as %s", want, again)
		}
		if plain, left := UnmaskURL(in, want); plain != in || left {
			t.Errorf("%s comes back as %s %v", want, plain, left)
		}
	}
	const old = "https://u:pw@h.example/a?token=one&token=two&x=1"
	for in, want := range map[string]string{
		"https://u:***@h.example/other?token=***&token=***&x=2&y=3": "https://u:pw@h.example/other?token=one&token=two&x=2&y=3",
		"https://u:pw2@h.example/a?token=new":                       "https://u:pw2@h.example/a?token=new",
		"https://u:***@h.example/a?x=1":                             "https://u:pw@h.example/a?x=1", "https://other.example/a": "https://other.example/a",
	} {
		if got, left := UnmaskURL(old, in); got != want || left {
			t.Errorf("%s means %s (%v), not %s", in, got, left, want)
		}
	}
	// A secret is not sent to another place, nor made up.
	for _, in := range []string{"https://evil.example/a?token=***", "http://h.example/a?token=***", "https://h.example:444/a?token=***",
		"https://v:***@h.example/", "https://h.example/?key=***"} {
		if got, left := UnmaskURL(old, in); got != in || !left {
			t.Errorf("%s means %s (%v)", in, got, left)
		}
	}
}
