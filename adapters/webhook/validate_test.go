package webhook

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/waybill-dev/waybill/adapters"
)

func check(typ Type, s *adapters.Settings) map[string]string {
	out := map[string]string{}
	for _, e := range typ.Validate(s) {
		out[e.Key] = e.Message
	}
	return out
}

func valid() *adapters.Settings {
	return &adapters.Settings{Config: map[string]string{"url": "https://h.example/x"},
		Credentials: map[string]string{"secret": vectorSecret}}
}

func TestNewSecret(t *testing.T) {
	t.Parallel()
	a, b := NewSecret(), NewSecret()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(a, "whsec_"))
	if a == b || !strings.HasPrefix(a, "whsec_") || err != nil || len(key) != 32 {
		t.Errorf("%s %s %v", a, b, err)
	}
	if _, err := standardwebhooks.NewWebhook(a); err != nil {
		t.Error(err)
	}
}

func TestValidateMakesSecret(t *testing.T) {
	t.Parallel()
	s := valid()
	s.Credentials = nil
	if errs := check(Type{}, s); len(errs) > 0 || !strings.HasPrefix(s.Credentials["secret"], "whsec_") {
		t.Errorf("%v %v", errs, s.Credentials)
	}
	made := s.Credentials["secret"]
	if check(Type{}, s); s.Credentials["secret"] != made {
		t.Error("the secret was made anew")
	}
	s = valid()
	s.Config["url"], s.Credentials["secret"] = "x", ""
	if check(Type{}, s); s.Credentials["secret"] != "" {
		t.Error("a secret was made for refused settings")
	}
}

func TestValidateURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://u:p@h.example/": "must not hold a user name or password; put credentials into the custom headers instead",
		"https://h.example/#x":   "must not have a fragment (#…), which is never sent to a server",
		"http://0x7f.1/":         "has a host that is neither a name nor an address; write IPv4 as four decimal numbers",
		"https://10.0.0.1/x":     "", // Caught when dialling: the operator may have opened the range.
	} {
		s := valid()
		s.Config["url"] = url
		if got := check(Type{}, s)["config.url"]; got != want {
			t.Errorf("%s: %q", url, got)
		}
	}
}

func TestValidateCustomHeaders(t *testing.T) {
	t.Parallel()
	many := `{"a0":""`
	for i := range 60 {
		many += `,"b` + strings.Repeat("b", i) + `":""`
	}
	for text, want := range map[string]string{
		``: "", `{}`: "", ` {"X-A":"b","Authorization":"Bearer x"} `: "", `{"User-Agent":"x","content-type":"y"}`: "",
		`[]`: "JSON object of strings", `{"a":1}`: "JSON object of strings", `{"a"`: "JSON object of strings",
		`{"a b":"x"}`: `"a b", which is not a header name`, `{"":"x"}`: "not a header name", `{"ü":"x"}`: "not a header name",
		`{"a\r\nb":"x"}`: "not a header name", `{"a":"x\r\ny: z"}`: "line break", `{"a":"x\u0000"}`: "control character",
		`{"a":" x"}`: "spaces around", `{"A":"x","a":"y"}`: "twice", many + "}": "at most 40",
		`{"Host":"x"}`: "must not set", `{"content-length":"1"}`: "must not set", `{"Transfer-Encoding":"x"}`: "must not set",
		`{"Connection":"close"}`: "must not set", `{"Webhook-Id":"x"}`: "must not set", `{"webhook-anything":"x"}`: "must not set",
		`{"Waybill-Topic":"x"}`: "must not set", `{"X-Outpost-Signature":"x"}`: "must not set", `{"Upgrade":"h2c"}`: "must not set",
		`{"Expect":"100-continue"}`: "must not set", `{"Accept-Encoding":"gzip"}`: "must not set",
	} {
		s := valid()
		s.Config["custom_headers"] = text
		got := check(Type{}, s)["config.custom_headers"]
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestValidateSecrets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ secret, scheme, want string }{
		{vectorSecret, "", ""}, {vectorSecret, "standard", ""}, {strings.TrimPrefix(vectorSecret, "whsec_"), "", ""},
		{"whsec_short", "", "base64"}, {"whsec_aGVsbG8=", "", "24 to 64 bytes"},
		{"whsec_" + strings.Repeat("AAAA", 22), "", "24 to 64 bytes"},
		{"whsec_-_-_" + strings.Repeat("A", 40), "", "base64"}, {"anything goes", "outpost", ""}, {"short", "outpost", "8 and 256"},
	} {
		s := valid()
		s.Credentials["secret"], s.Beside = tt.secret, signed(tt.scheme)
		got := check(Type{}, s)["credentials.secret"]
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) || strings.Contains(got, tt.secret) {
			t.Errorf("%+v: %q", tt, got)
		}
	}
	s := valid()
	s.Beside = signed("md5")
	if got := check(Type{}, s)["signature"]; got == "" {
		t.Error("an unknown scheme was accepted")
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	other := "whsec_" + strings.Repeat("QUJD", 8)
	now := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	typ := Type{now: func() time.Time { return now }}
	const fresh = "(new)"
	tests := []struct {
		name     string
		in, want map[string]string
		refused  string
	}{
		{name: "plain", in: map[string]string{"secret": other}, want: map[string]string{"secret": other}},
		{name: "rotate", in: map[string]string{"secret": other, "rotate_secret": "true"},
			want: map[string]string{"secret": fresh, "previous_secret": other, "previous_secret_invalid_at": "2026-05-04T12:00:00Z"}},
		{name: "rotate with an end", in: map[string]string{"secret": other, "rotate_secret": "true",
			"previous_secret_invalid_at": "2026-05-03T15:00:00+02:00"},
			want: map[string]string{"secret": fresh, "previous_secret": other, "previous_secret_invalid_at": "2026-05-03T13:00:00Z"}},
		{name: "rotate again", in: map[string]string{"secret": other, "rotate_secret": "true", "previous_secret": vectorSecret,
			"previous_secret_invalid_at": "2026-04-01T00:00:00Z"},
			want: map[string]string{"secret": fresh, "previous_secret": other, "previous_secret_invalid_at": "2026-05-04T12:00:00Z"}},
		{name: "rotate without overlap", in: map[string]string{"secret": other, "rotate_secret": "true",
			"previous_secret_invalid_at": "2026-05-03T12:00:00Z"},
			want: map[string]string{"secret": fresh}},
		{name: "do not rotate", in: map[string]string{"secret": other, "rotate_secret": "false"}, want: map[string]string{"secret": other}},
		{name: "nothing to rotate", in: map[string]string{"rotate_secret": "true"}, want: map[string]string{"secret": fresh}},
		{name: "own pair", in: map[string]string{"secret": other, "previous_secret": vectorSecret},
			want: map[string]string{"secret": other, "previous_secret": vectorSecret,
				"previous_secret_invalid_at": "2026-05-04T12:00:00Z"}},
		{name: "overlap is over", in: map[string]string{"secret": other, "previous_secret": vectorSecret,
			"previous_secret_invalid_at": "2026-05-03T11:59:59Z"},
			want: map[string]string{"secret": other}},
		{name: "end of nothing", in: map[string]string{"secret": other, "previous_secret_invalid_at": "2026-06-03T11:59:59Z"},
			want: map[string]string{"secret": other}},
		{name: "no time", in: map[string]string{"secret": other, "previous_secret_invalid_at": "tomorrow"},
			refused: "credentials.previous_secret_invalid_at"},
		{name: "bad previous", in: map[string]string{"secret": other, "previous_secret": "whsec_x"},
			refused: "credentials.previous_secret"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := valid()
			s.Credentials = tt.in
			errs := check(typ, s)
			if tt.refused != "" {
				if errs[tt.refused] == "" {
					t.Errorf("%v", errs)
				}
				return
			}
			if s.Credentials["secret"] != other && strings.HasPrefix(s.Credentials["secret"], "whsec_") {
				s.Credentials["secret"] = fresh
			}
			if d := cmp.Diff(tt.want, s.Credentials); d != "" || len(errs) > 0 {
				t.Errorf("%v (-want +got):\n%s", errs, d)
			}
		})
	}
}
