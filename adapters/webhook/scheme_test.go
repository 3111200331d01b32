package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

func customSettings(s *adaptertest.Sink, secret string, config map[string]string) adapters.Settings {
	set := settings(s)
	set.Beside, set.Credentials = signed("custom"), map[string]string{"secret": secret}
	for k, v := range config {
		set.Config[k] = v
	}
	return set
}

// TestKnownSignatures makes the signatures of services whose documentation shows one, and what it is made of.
func TestKnownSignatures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		secret, body string
		at           int64
		config       map[string]string
		header, want string
	}{
		"github": {"It's a Secret to Everybody", "Hello, World!", 1, map[string]string{"signature_header": "X-Hub-Signature-256",
			"signature_value": "sha256={{.Signatures}}"},
			"X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
		"slack": {"8f742231b10e8888abcd99yyyzzz85a5",
			"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar" +
				"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN" +
				"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c", 1531420618,
			map[string]string{"signature_header": "X-Slack-Signature", "timestamp_header": "X-Slack-Request-Timestamp",
				"signature_content": "v0:{{.Timestamp.Unix}}:{{.Body}}"},
			"X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"},
		"standard": {vectorSecret, vectorBody, vectorTime, map[string]string{"signature_header": "webhook-signature",
			"event_id_header": "webhook-id", "timestamp_header": "webhook-timestamp",
			"topic_header": "none", "signature_content": "{{.EventID}}.{{.Timestamp.Unix}}.{{.Body}}",
			"signature_value": `v1,{{.Signatures | join " v1,"}}`, "signature_encoding": "base64",
			"secret_encoding": "whsec"}, "webhook-signature", vectorSignature},
	} {
		s := adaptertest.NewSink(t)
		mustSend(t, open(t, at(c.at), customSettings(s, c.secret, c.config)),
			adapters.Message{EventID: vectorID, Topic: "t", Attempt: 1, Data: []byte(c.body)})
		if got := s.Requests()[0].Header.Values(c.header); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %q, want %s in %v", name, got, c.want, s.Requests()[0].Lines)
		}
	}
}

// TestCustomSignature goes through algorithms, encodings, forms of the secret, and what templates can say.
func TestCustomSignature(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdef0123456789abcdef")
	hashes := map[string]func() hash.Hash{"": sha256.New, "hmac-sha256": sha256.New, "hmac-sha512": sha512.New, "hmac-sha1": sha1.New}
	writes := map[string]func([]byte) string{"": hex.EncodeToString, "hex": hex.EncodeToString, "base64": base64.StdEncoding.EncodeToString,
		"base64url": base64.RawURLEncoding.EncodeToString}
	secrets := map[string]string{"": string(key), "text": string(key), "hex": hex.EncodeToString(key),
		"base64": base64.StdEncoding.EncodeToString(key), "whsec": "whsec_" + base64.StdEncoding.EncodeToString(key)}
	now := time.Unix(1700000000, 123e6)
	for algorithm, h := range hashes {
		for encoding, write := range writes {
			for form, secret := range secrets {
				s := adaptertest.NewSink(t)
				set := customSettings(s, secret, map[string]string{"header_prefix": "x-acme-", "signature_algorithm": algorithm,
					"signature_encoding": encoding, "secret_encoding": form,
					"signature_content": `{{.EventID}}|{{.Topic}}|{{.Timestamp.Unix}}|{{.Timestamp.UnixMilli}}|{{ .Timestamp }}|{{.Timestamp.Format "2006/01"}}|{{.Body}}|`, "signature_value": "t={{.Timestamp.Unix}},v1={{.Signatures}}"})
				if errs := check(Type{}, &set); len(errs) > 0 {
					t.Fatal(errs)
				}
				mustSend(t, open(t, Type{now: func() time.Time { return now }}, set),
					adapters.Message{EventID: "e1", Topic: "t", Metadata: map[string]string{"a_b": "c", "signature": "x"}, Attempt: 1,
						Data: []byte(`{"ü":1}`)})
				mac := hmac.New(h, key)
				fmt.Fprint(mac, `e1|t|1700000000|1700000000123|2023-11-14T22:13:20Z|2023/11|{"ü":1}|`)
				want := []string{"x-acme-event-id: e1", "x-acme-timestamp: 1700000000", "x-acme-topic: t",
					"x-acme-signature: t=1700000000,v1=" + write(mac.Sum(nil)), "x-acme-a_b: c"}
				if d := cmp.Diff(want, s.Requests()[0].Lines[4:]); d != "" {
					t.Errorf("%s %s %s (-want +got):\n%s", algorithm, encoding, form, d)
				}
			}
		}
	}
}

// TestRotationOfCustomSignature: both secrets sign, and the old one stops at its end.
func TestRotationOfCustomSignature(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t)
	set := customSettings(s, "current-secret",
		map[string]string{"signature_value": `t={{.Timestamp.Unix}},v1={{.Signatures | join ",v1="}}`})
	set.Credentials["previous_secret"], set.Credentials["previous_secret_invalid_at"] = "previous-secret",
		time.Unix(2000, 0).UTC().Format(time.RFC3339)
	now := int64(1999)
	snd := open(t, Type{now: func() time.Time { return time.Unix(now, 0) }}, set)
	for range 2 {
		mustSend(t, snd, adapters.Message{EventID: "e", Data: []byte("{}")})
		now++
	}
	sum := func(secret string) string {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte("{}"))
		return ",v1=" + hex.EncodeToString(mac.Sum(nil))
	}
	for i, want := range []string{"t=1999" + sum("current-secret") + sum("previous-secret"), "t=2000" + sum("current-secret")} {
		if got := s.Requests()[i].Header.Get("waybill-signature"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestSecondSignature signs a request twice, with one secret or with two; each verifies on its own, and no header comes twice.
func TestSecondSignature(t *testing.T) {
	t.Parallel()
	private := newPrivateKey()
	key, err := privateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"a":1}`)
	standard := func(secret string) func(*testing.T, adaptertest.SinkRequest) {
		return func(t *testing.T, r adaptertest.SinkRequest) {
			wh, err := standardwebhooks.NewWebhook(secret)
			if err != nil || wh.Verify(r.Body, r.Header) != nil {
				t.Errorf("Standard Webhooks does not verify: %v", r.Lines)
			}
		}
	}
	plain := func(header, prefix, secret string) func(*testing.T, adaptertest.SinkRequest) {
		return func(t *testing.T, r adaptertest.SinkRequest) {
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write(r.Body)
			if got, want := r.Header.Get(header), prefix+hex.EncodeToString(mac.Sum(nil)); got != want {
				t.Errorf("%s: %q, want %q", header, got, want)
			}
		}
	}
	asymmetric := func(t *testing.T, r adaptertest.SinkRequest) {
		_, text, _ := strings.Cut(" "+r.Header.Get("webhook-signature"), " v1a,")
		sig, err := base64.StdEncoding.DecodeString(text)
		if err != nil || !ed25519.Verify(key.Public().(ed25519.PublicKey),
			[]byte("e."+r.Header.Get("webhook-timestamp")+"."+string(r.Body)), sig) {
			t.Errorf("v1a does not verify: %v", r.Lines)
		}
	}
	for name, c := range map[string]struct {
		first         string
		config, creds map[string]string
		verify        []func(*testing.T, adaptertest.SinkRequest)
	}{
		"standard and outpost, one secret": {"", map[string]string{"second_signature": "outpost"}, nil,
			[]func(*testing.T, adaptertest.SinkRequest){standard(vectorSecret), plain("x-outpost-signature", "v0=", vectorSecret)}},
		"outpost and standard, two secrets": {"outpost", map[string]string{"second_signature": "standard"},
			map[string]string{"secret": "the old one", "second_secret": vectorSecret},
			[]func(*testing.T, adaptertest.SinkRequest){standard(vectorSecret), plain("x-outpost-signature", "v0=", "the old one")}},
		"custom and standard": {"custom", map[string]string{"second_signature": "standard", "signature_header": "X-Sig",
			"signature_value": "{{.Signatures}}"}, map[string]string{"secret": "the old one", "second_secret": vectorSecret},
			[]func(*testing.T, adaptertest.SinkRequest){standard(vectorSecret), plain("X-Sig", "", "the old one")}},
		"outpost and custom": {"outpost", map[string]string{"second_signature": "custom", "signature_header": "X-Sig"}, nil,
			[]func(*testing.T, adaptertest.SinkRequest){plain("x-outpost-signature", "v0=", vectorSecret),
				plain("X-Sig", "v0=", vectorSecret)}},
		"standard and v1a": {"standard", map[string]string{"second_signature": "v1a"}, map[string]string{"second_secret": private},
			[]func(*testing.T, adaptertest.SinkRequest){standard(vectorSecret), asymmetric}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := adaptertest.NewSink(t)
			set := settings(s)
			set.Beside = signed(c.first)
			for k, v := range c.config {
				set.Config[k] = v
			}
			for k, v := range c.creds {
				set.Credentials[k] = v
			}
			if errs := check(Type{}, &set); len(errs) > 0 {
				t.Fatal(errs)
			}
			mustSend(t, open(t, Type{}, set), adapters.Message{EventID: "e", Topic: "t",
				Metadata: map[string]string{"topic": "x", "attempt": "y", "k": "v"}, Attempt: 1, Data: body})
			r := s.Requests()[0]
			for _, verify := range c.verify {
				verify(t, r)
			}
			for header, values := range r.Header {
				if len(values) != 1 {
					t.Errorf("%s: %q", header, values)
				}
			}
		})
	}
}

// TestValidateSchemes says what is wrong with settings, at the field.
func TestValidateSchemes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		signature string
		config    map[string]string
		field     string
		says      string
	}{
		{"", map[string]string{"signature_header": "X"}, "config.signature_header", "neither signature nor second_signature"},
		{"", map[string]string{"second_signature": "standard"}, "config.second_signature",
			"another scheme than signature, which is standard"},
		{"custom", map[string]string{"second_signature": "custom"}, "config.second_signature", "another scheme"},
		{"", map[string]string{"header_prefix": "x acme"}, "config.header_prefix", "like x-acme-"},
		{"custom", map[string]string{"signature_header": "Content-Length"}, "config.signature_header", "not the protocol's own"},
		{"custom", map[string]string{"event_id_header": "X: y"}, "config.event_id_header", "a header's name"},
		{"custom", map[string]string{"event_id_header": "X-Same", "topic_header": "x-same"}, "config.topic_header",
			"another header of the same request"},
		{"outpost", map[string]string{"second_signature": "custom"}, "config.signature_header", "another header of the same request"},
		{"custom", map[string]string{"second_signature": "standard", "signature_header": "webhook-signature"}, "config.signature_header",
			"another header of the same request"},
		{"custom", map[string]string{"signature_content": "{{.Topic}}"}, "config.signature_content", "must have {{.Body}}"},
		{"custom", map[string]string{"signature_value": "v1"}, "config.signature_value", "must have {{.Signatures}}"},
		{"custom", map[string]string{"signature_value": "{{.Signatures}}{{.Body}}"}, "config.signature_value",
			"cannot have {{.Body}} here"},
		{"custom", map[string]string{"signature_content": "{{range 1000000000}}x{{end}}{{.Body}}"}, "config.signature_content",
			"which is none of"},
		{"custom", map[string]string{"signature_content": "{{.Body | printf \"%s\"}}"}, "config.signature_content", "is not a template"},
		{"custom", map[string]string{"signature_content": "{{.Body}}{{.Secret}}"}, "config.signature_content", "which is none of"},
		{"custom", map[string]string{"signature_content": `{{define "x"}}y{{end}}{{.Body}}`}, "config.signature_content",
			"must be one template"},
		{"custom", map[string]string{"signature_value": "{{.Signatures}}\n"}, "config.signature_value", "one line"},
		{"custom", map[string]string{"signature_value": `{{.Signatures | join "\n"}}`}, "config.signature_value", "which is none of"},
		{"custom", map[string]string{"secret_encoding": "hex"}, "credentials.secret", "must be hex of 8 to 128 bytes"},
		{"custom", map[string]string{"signature_header": "X-Team", "custom_headers": `{"x-team":"a"}`}, "config.custom_headers",
			"sets itself"},
		{"outpost", map[string]string{"header_prefix": "x-acme-", "custom_headers": `{"X-Acme-Id":"a"}`}, "config.custom_headers",
			"sets itself"},
	} {
		s := valid()
		s.Beside = signed(c.signature)
		for k, v := range c.config {
			s.Config[k] = v
		}
		if got := check(Type{}, s); !strings.Contains(got[c.field], c.says) {
			t.Errorf("%s %v: %v", c.signature, c.config, got)
		}
	}
}

// TestSecretsOfSchemes makes secrets in the form that a scheme takes.
func TestSecretsOfSchemes(t *testing.T) {
	t.Parallel()
	for form, ok := range map[string]func(string) bool{
		"hex":    func(s string) bool { b, err := hex.DecodeString(s); return err == nil && len(b) == 32 },
		"base64": func(s string) bool { b, err := base64.StdEncoding.DecodeString(s); return err == nil && len(b) == 32 },
		"whsec":  func(s string) bool { return strings.HasPrefix(s, "whsec_") }, "text": func(s string) bool { return len(s) > 30 },
	} {
		s := valid()
		s.Beside, s.Config["secret_encoding"], s.Credentials = signed("custom"), form, nil
		if errs := check(Type{}, s); len(errs) > 0 || !ok(s.Credentials["secret"]) || s.Credentials["second_secret"] != "" {
			t.Errorf("%s: %v %v", form, errs, s.Credentials)
		}
	}
	// The second one gets a secret of its own where the first's will not do, and its public key is shown.
	s := valid()
	s.Config["second_signature"] = "v1a"
	if errs := check(Type{}, s); len(errs) > 0 || !strings.HasPrefix(s.Credentials["second_secret"], "whsk_") ||
		!strings.HasPrefix(s.Credentials["public_key"], "whpk_") {
		t.Errorf("%v %v", errs, s.Credentials)
	}
	delete(s.Config, "second_signature")
	if errs := check(Type{}, s); len(errs) > 0 || s.Credentials["second_secret"] != "" || s.Credentials["public_key"] != "" {
		t.Errorf("%v %v", errs, s.Credentials)
	}
}
