package webhook

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/httpevent"
)

const (
	secretPrefix = "whsec_"
	secretBytes  = 32
	// defaultOverlap is how long the previous secret signs as well after a rotation, unless the caller says otherwise.
	defaultOverlap = 24 * time.Hour
)

// NewSecret returns a fresh signing secret in the form of the Standard Webhooks specification.
func NewSecret() string {
	var b [secretBytes]byte
	rand.Read(b[:]) // Never fails: crypto/rand ends the process rather than return weak bytes.
	return secretPrefix + base64.StdEncoding.EncodeToString(b[:])
}

// signingKey turns a stored secret into the key of its signatures. Error texts follow the field's name.
//
// Standard Webhooks secrets are base64 behind the prefix "whsec_", which the published libraries treat as optional. They
// must decode with those libraries too, so no other alphabet is taken. In the outpost scheme the secret's text is the key
// as it is.
func signingKey(secret, scheme string) ([]byte, error) {
	if scheme == schemeOutpost {
		if len(secret) < 8 || len(secret) > 256 {
			return nil, errors.New("must be between 8 and 256 characters long")
		}
		return []byte(secret), nil
	}
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil {
		return nil, errors.New("must be whsec_ followed by base64")
	}
	if len(key) < 24 || len(key) > 64 {
		return nil, fmt.Errorf("must stand for 24 to 64 bytes, and stands for %d", len(key))
	}
	return key, nil
}

// settleSecrets fills in, rotates and tidies the secrets in c, and reports what cannot be.
//
// The rotation is here, behind adapters.RotateField, so that whoever stores destinations can rotate a secret
// without knowing what one is: it sets the field to "true" and, if it likes, previous_secret_invalid_at.
func settleSecrets(c map[string]string, scheme string, now time.Time) (errs []adapters.FieldError) {
	rotate := c[adapters.RotateField] == "true"
	delete(c, adapters.RotateField)
	until := now.Add(defaultOverlap)
	if text := c["previous_secret_invalid_at"]; text != "" {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return []adapters.FieldError{{Key: "credentials.previous_secret_invalid_at",
				Message: "must be a time like 2026-05-03T12:00:00Z"}}
		}
		// A time well in the past belongs to an earlier rotation. One that is just past means an overlap of nothing.
		if !rotate || t.After(now.Add(-time.Minute)) {
			until = t
		}
	}
	if rotate && c["secret"] != "" {
		c["previous_secret"], c["secret"] = c["secret"], ""
	}
	if c["secret"] == "" {
		c["secret"] = NewSecret()
	}
	if c["previous_secret"] == "" || !until.After(now) || c["previous_secret"] == c["secret"] {
		delete(c, "previous_secret")
		delete(c, "previous_secret_invalid_at")
	} else {
		c["previous_secret_invalid_at"] = until.UTC().Format(time.RFC3339)
	}
	for _, key := range []string{"secret", "previous_secret"} {
		if c[key] == "" {
			continue
		}
		if _, err := signingKey(c[key], scheme); err != nil {
			errs = append(errs, adapters.FieldError{Key: "credentials." + key, Message: err.Error()})
		}
	}
	return errs
}

// signer computes signatures with one secret.
type signer struct {
	*httpevent.Signer
	until time.Time // zero for a secret without an end
}

// live says whether the secret is still in force.
func (s signer) live(now time.Time) bool { return s.until.IsZero() || now.Before(s.until) }
