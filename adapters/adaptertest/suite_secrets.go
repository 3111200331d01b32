package adaptertest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// planted returns what must not be seen, with all the ways in which it might be written, by what it is.
func planted(t *testing.T, h Harness, side Side, set adapters.Settings) map[string]string {
	t.Helper()
	out := map[string]string{}
	add := func(what, value string) {
		if len(value) < 6 {
			t.Fatalf("%s is too short to be looked for", what)
		}
		quoted, _ := json.Marshal(value)
		for form, text := range map[string]string{"": value, " in base64": base64.StdEncoding.EncodeToString([]byte(value)),
			" in base64 for URLs": base64.RawURLEncoding.EncodeToString([]byte(value)), " in hex": hex.EncodeToString([]byte(value)),
			" escaped": url.QueryEscape(value), " in JSON": strings.Trim(string(quoted), `"`)} {
			out[what+form] = text
		}
	}
	for _, f := range h.Type.Spec().Credentials {
		if !f.Sensitive {
			continue
		}
		value := set.Credentials[f.Key]
		if value == "" {
			t.Fatalf("the harness has no value for the sensitive field %s", f.Key)
		}
		add(f.Key, value)
		if _, tail, ok := strings.Cut(value, "_"); ok && len(tail) > 12 {
			add(f.Key+" without its prefix", tail)
		}
	}
	for i, s := range side.Secrets {
		add(fmt.Sprintf("secret %d", i), s)
	}
	return out
}

// testSecrets looks for every secret in everything that leaves a sender or a type.
func testSecrets(t *testing.T, h Harness) {
	side := h.Start(t)
	for name, set := range side.settings() {
		secrets := planted(t, h, side, set)
		look := func(where, text string) {
			t.Helper()
			for what, secret := range secrets {
				if strings.Contains(text, secret) {
					t.Errorf("%s: %s shows %s: %.600s", name, where, what, text)
				}
			}
		}
		lookErr := func(where string, err error) {
			t.Helper()
			for ; err != nil; err = errors.Unwrap(err) {
				look(where, fmt.Sprintf("%v %+v %#v %q", err, err, err, err.Error()))
				var e *adapters.Error
				if errors.As(err, &e) {
					look(where, fmt.Sprintf("%+v %#v", *e, *e))
				}
			}
		}
		snd := open(t, h, side, set)
		m := message("evt-secrets")
		m.Metadata = map[string]string{"a": "b"}
		for range 2 { // On a fresh connection and on one that is kept.
			limit := 20 * time.Second
			if name == "hanging" {
				limit = soon
			}
			r, err := snd.Send(within(t, limit), m)
			checkOutcome(t, r, err)
			look("the receipt", fmt.Sprintf("%+v %#v\n%s", r, r, r.Body))
			lookErr("the error", err)
		}
		if c, ok := snd.(adapters.Checker); ok {
			look("the check", fmt.Sprintf("%+v", c.Check(within(t, 2*time.Second))))
		}
		label, page := h.Type.Target(set)
		look("the target", label+" "+page)

		// Broken settings: each sensitive field in turn is spoilt at its end, cut short, or moved elsewhere.
		for _, f := range h.Type.Spec().Credentials {
			if !f.Sensitive {
				continue
			}
			value := set.Credentials[f.Key]
			for _, broken := range []string{value + "\x01", value + "!", value + " " + value, "%" + value, value[:len(value)-1]} {
				spoilt := copySettings(set)
				spoilt.Credentials[f.Key] = broken
				look("the validation", fmt.Sprintf("%+v", h.Type.Validate(&spoilt)))
				bad, err := h.Type.Open(side.Env, spoilt)
				lookErr("Open's error", err)
				if err == nil {
					r, err := bad.Send(within(t, soon), m)
					look("the receipt with broken settings", fmt.Sprintf("%+v %s", r, r.Body))
					lookErr("the error with broken settings", err)
					bad.Close()
				}
			}
		}
	}
}
