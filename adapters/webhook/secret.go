package webhook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/httpevent"
)

const (
	secretPrefix  = "whsec_"
	privatePrefix = "whsk_" // of an ed25519 key, as Standard Webhooks writes it
	publicPrefix  = "whpk_"
	// publicKeyField shows the public key that belongs to the secret in force.
	publicKeyField = "public_key"
	secretBytes    = 32
	// defaultOverlap is how long the previous secret signs as well after a rotation, unless the caller says otherwise.
	defaultOverlap = 24 * time.Hour
)

// NewSecret returns a fresh signing secret in the form of the Standard Webhooks specification.
func NewSecret() string {
	var b [secretBytes]byte
	rand.Read(b[:]) // Never fails: crypto/rand ends the process rather than return weak bytes.
	return secretPrefix + base64.StdEncoding.EncodeToString(b[:])
}

// newPrivateKey returns a fresh ed25519 key in the form of the Standard Webhooks specification: the seed and the public key.
func newPrivateKey() string {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // only for a source that fails, which crypto/rand does not
	}
	return privatePrefix + base64.StdEncoding.EncodeToString(private)
}

// privateKey reads an ed25519 key: its seed of 32 bytes, with or without the public key behind it.
func privateKey(secret string) (ed25519.PrivateKey, error) {
	text, ours := strings.CutPrefix(secret, privatePrefix)
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || !ours || len(b) != ed25519.SeedSize && len(b) != ed25519.PrivateKeySize {
		return nil, errors.New("must be whsk_ followed by base64 of an ed25519 key of 32 or 64 bytes for the signature v1a; give null to have one made")
	}
	key := ed25519.NewKeyFromSeed(b[:ed25519.SeedSize])
	if len(b) == ed25519.PrivateKeySize && !bytes.Equal(b, key) {
		return nil, errors.New("is an ed25519 key whose two halves do not belong together")
	}
	return key, nil
}

// The forms of secrets, besides v1a.
const (
	formText   = "text"
	formHex    = "hex"
	formBase64 = "base64"
	formWhsec  = "whsec"
)

// secretForm is how the secret of a scheme stands for its key.
func secretForm(scheme string, config map[string]string) string {
	switch scheme {
	case schemeEd25519:
		return schemeEd25519
	case schemeOutpost:
		return formText
	case schemeCustom:
		return or(config[secretFormField], formText)
	}
	return formWhsec
}

// newSecret returns a fresh secret in a form.
func newSecret(form string) string {
	switch form {
	case schemeEd25519:
		return newPrivateKey()
	case formHex:
		var b [secretBytes]byte
		rand.Read(b[:])
		return hex.EncodeToString(b[:])
	case formBase64:
		return strings.TrimPrefix(NewSecret(), secretPrefix)
	}
	return NewSecret()
}

// signingKey turns a stored secret into the key of its signatures. Error texts follow the field's name.
//
// Standard Webhooks secrets are base64 behind the prefix "whsec_", which the published libraries treat as optional. They
// must decode with those libraries too, so no other alphabet is taken.
func signingKey(secret, form string) ([]byte, error) {
	switch form {
	case schemeEd25519:
		return privateKey(secret)
	case formText:
		if len(secret) < 8 || len(secret) > 256 {
			return nil, errors.New("must be between 8 and 256 characters long")
		}
		return []byte(secret), nil
	case formHex, formBase64:
		key, err := hex.DecodeString(secret)
		if form == formBase64 {
			key, err = base64.StdEncoding.Strict().DecodeString(secret)
		}
		if err != nil || len(key) < 8 || len(key) > 128 {
			return nil, fmt.Errorf("must be %s of 8 to 128 bytes, as secret_encoding says", form)
		}
		return key, nil
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
func settleSecrets(s *adapters.Settings, now time.Time) (errs []adapters.FieldError) {
	c, all := s.Credentials, schemes(s)
	form := secretForm(all[0], s.Config)
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
		c["secret"] = newSecret(form)
	}
	if len(all) == 1 {
		delete(c, secondSecret)
	} else if second := secretForm(all[1], s.Config); c[secondSecret] != "" {
		if _, err := signingKey(c[secondSecret], second); err != nil {
			errs = append(errs, adapters.FieldError{Key: "credentials." + secondSecret, Message: err.Error()})
		}
	} else if _, err := signingKey(c["secret"], second); err != nil {
		c[secondSecret] = newSecret(second) // the first one's is none for this scheme
	}
	delete(c, publicKeyField)
	for i, scheme := range all {
		if scheme != schemeEd25519 {
			continue
		}
		if key, err := privateKey(c[[]string{"secret", secondSecret}[i]]); err == nil {
			c[publicKeyField] = publicPrefix + base64.StdEncoding.EncodeToString(key[ed25519.SeedSize:])
		}
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
		if _, err := signingKey(c[key], form); err != nil {
			errs = append(errs, adapters.FieldError{Key: "credentials." + key, Message: err.Error()})
		}
	}
	return errs
}

// signer computes signatures with one secret.
type signer struct {
	*httpevent.Signer                    // of an HMAC; nil with private
	private           ed25519.PrivateKey // of the signature v1a; nil for an HMAC
	until             time.Time          // zero for a secret without an end
}

func newSigner(key []byte, scheme string, until time.Time) signer {
	if scheme == schemeEd25519 {
		return signer{private: key, until: until}
	}
	return signer{Signer: httpevent.NewSigner(key), until: until}
}

// live says whether the secret is still in force.
func (s signer) live(now time.Time) bool { return s.until.IsZero() || now.Before(s.until) }
