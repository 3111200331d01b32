package all

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
)

// FuzzSettings gives a destination of each type a value that nobody expects, in one field after the other. What is refused is
// refused by the name of a field and without repeating a secret; what is taken is taken the second time as it came out of
// the first, names no secret as its target, and opens.
func FuzzSettings(f *testing.F) {
	for _, v := range []string{"", " ", "x", "\x00", "true", "https://h.example/a?b=c", "http://[::1%25eth0]/",
		"broker.example.com:9092, [::1]:1", `{"X-A":"b"}`, `{"a`,
		"arn:aws:sqs:eu-west-1:123456789012:q", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "2026-05-03T12:00:00Z",
		`{{.Body}}{{range .Signatures}}{{.}}{{end}}`, "{{", "Endpoint=sb://h/;SharedAccessKeyName=a;SharedAccessKey=b=", "c3JjX2E6Yg==",
		`{"type":"service_account","private_key":"-----BEGIN"}`,
		"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----", strings.Repeat("9", 5000), "\xff", "a\r\nb: c", "*", "custom",
		"outpost", "hex", "/", "a/b"} {
		for field := range uint8(30) {
			f.Add(field, v)
		}
	}
	f.Fuzz(func(t *testing.T, field uint8, value string) {
		for _, reg := range adapters.All() {
			fields := reg.Fields()
			if len(fields) == 0 {
				continue
			}
			at := fields[int(field)%len(fields)]
			set := plausible(reg)
			part := set.Config
			if int(field)%len(fields) >= len(reg.Spec.Config) {
				part = set.Credentials
			}
			part[at.Key] = value
			secrets := maps.Clone(set.Credentials)
			errs := reg.Check(&set)
			for _, e := range errs {
				if e.Key == "" || e.Message == "" || at.Sensitive && len(value) > 8 && strings.Contains(e.Message, value) {
					t.Errorf("%s: %s=%q is refused with %+v", reg.Spec.Name, at.Key, value, e)
				}
			}
			if len(errs) > 0 {
				continue
			}
			again := adapters.Settings{ID: set.ID, TenantID: set.TenantID, Config: maps.Clone(set.Config),
				Credentials: maps.Clone(set.Credentials), Beside: set.Beside}
			if errs := reg.Check(&again); len(errs) > 0 || !maps.Equal(again.Config, set.Config) || !maps.Equal(again.Credentials, set.Credentials) {
				t.Errorf("%s: %s=%q is taken, and what came of it is not: %v\n%q %q\n%q %q", reg.Spec.Name, at.Key, value, errs, set.Config,
					set.Credentials,
					again.Config, again.Credentials)
			}
			label, page := reg.Target(set)
			open := set
			open.Credentials = nil
			without, place := reg.Target(open)
			for key, s := range secrets {
				if len(s) > 8 && isSensitive(fields, key) && strings.Contains(label+page, s) && !strings.Contains(without+place, s) {
					t.Errorf("%s: the target %q %q shows %s", reg.Spec.Name, label, page, key)
				}
			}
			if b, borrows := reg.Type.(adapters.Borrower); borrows && b.Borrows(set) != "" {
				continue // the credentials of the machine, which this one does not lend
			}
			snd, err := reg.Open(adapters.Env{}, set)
			var fault *adapters.Error
			switch {
			case err == nil:
			case !errors.As(err, &fault) || fault.Class != adapters.ClassConfig || fault.Kind != adapters.KindTransient || fault.Message == "":
				t.Errorf("%s: %s=%q does not open: %#v", reg.Spec.Name, at.Key, value, err)
				continue
			case at.Key != "service_account_json": // which may be saved although it is good for nothing
				t.Errorf("%s: %s=%q is taken, and does not open: %v", reg.Spec.Name, at.Key, value, err)
				continue
			default:
				continue
			}
			_ = snd.Close()
		}
	})
}

func isSensitive(fields []adapters.Field, key string) bool {
	return slices.ContainsFunc(fields, func(f adapters.Field) bool { return f.Key == key && f.Sensitive })
}

// plausible are settings that a type takes, as far as the examples in its fields go.
func plausible(reg *adapters.Registration) adapters.Settings {
	s := adapters.Settings{ID: "des_1", TenantID: "acme", Config: map[string]string{}, Credentials: map[string]string{},
		Beside: map[string]string{}}
	for i, f := range reg.Fields() {
		part := s.Config
		if i >= len(reg.Spec.Config) {
			part = s.Credentials
		}
		if f.Required && f.Default == "" {
			part[f.Key] = f.Placeholder
		}
	}
	switch reg.Spec.Name {
	case "webhook":
		s.Config["url"], s.Beside["signature"] = "https://hooks.example.com/", "custom"
	case "aws_sqs", "aws_kinesis", "aws_s3", "aws_eventbridge":
		s.Credentials["key"], s.Credentials["secret"] = "AKIAPLANTED0KEY00000", "planted/Secret+Access0Key"
	case "rabbitmq":
		s.Credentials["username"], s.Credentials["password"] = "user", "planted-password"
	}
	return s
}

// TestPlausibleSettings: FuzzSettings begins with settings that are taken, of nearly all types.
func TestPlausibleSettings(t *testing.T) {
	t.Parallel()
	var refused []string
	for _, reg := range adapters.All() {
		s := plausible(reg)
		if errs := reg.Check(&s); len(errs) > 0 {
			t.Logf("%s: %v", reg.Spec.Name, errs)
			refused = append(refused, reg.Spec.Name)
		}
	}
	if len(refused) > 3 { // those that need a key of their own
		t.Errorf("%v do not take their own examples", refused)
	}
}

// FuzzChannel does the same with the settings of channels of notices.
func FuzzChannel(f *testing.F) {
	for _, v := range []string{"", "ops@example.com", "a@b, c@d", "\"a\nb\"@c", "https://hooks.slack.com/services/T/B/x",
		"http://127.0.0.1/", "+15005550009", "AC0123456789abcdef0123456789abcdef",
		"\x00", "whsec_", strings.Repeat("a@b.example,", 400), "acme"} {
		for field := range uint8(6) {
			f.Add(field, v)
		}
	}
	f.Fuzz(func(t *testing.T, field uint8, value string) {
		for _, kind := range notify.Types() {
			config, secrets := map[string]string{}, map[string]string{}
			for i, x := range kind.Fields() {
				part := config
				if i >= len(kind.Config) {
					part = secrets
				}
				if x.Required {
					part[x.Key] = x.Placeholder
				}
				if i == int(field)%len(kind.Fields()) {
					part[x.Key] = value
				}
			}
			errs := notify.Check("acme", kind.Name, config, secrets)
			for _, e := range errs {
				if e.Key == "" || e.Message == "" {
					t.Errorf("%s: %q is refused with %+v", kind.Name, value, e)
				}
			}
			if len(errs) > 0 {
				continue
			}
			before, sealed := maps.Clone(config), maps.Clone(secrets)
			if errs := notify.Check("acme", kind.Name, config, secrets); len(errs) > 0 || !maps.Equal(before, config) || !maps.Equal(sealed,
				secrets) {
				t.Errorf("%s: %q is taken, and what came of it is not: %v\n%q\n%q", kind.Name, value, errs, before, config)
			}
			target := notify.Target(kind.Name, config)
			for key, s := range secrets {
				if len(s) > 8 && strings.Contains(target, s) && !slices.Contains(slices.Collect(maps.Values(config)), s) {
					t.Errorf("%s: the target %q shows %s", kind.Name, target, key)
				}
			}
			for _, to := range notify.Recipients(kind.Name, config) {
				if strings.ContainsAny(to, "\r\n\x00") {
					t.Errorf("%s: %q has the recipient %q", kind.Name, value, to)
				}
			}
		}
	})
}
