// Package seal encrypts what must not be readable in a copy of the database: destination credentials and signing
// secrets. It uses AES-256-GCM with a key derived from the operator's secret, and names the key in each sealed value,
// so that keys can be rotated while old values stay readable.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
)

// Keyring holds the key that seals and the older ones that still open. They can be replaced while it is used.
type Keyring struct{ now atomic.Pointer[keys] }

// keys are those of one time.
type keys struct {
	current keyID
	keys    map[keyID]cipher.AEAD
	derive  []string // the secrets, the one in force first
}

// keyID is the first bytes of a hash of the key, so that it needs no administration.
type keyID [4]byte

// ErrUnknownKey says that a value was sealed with a key that is not in the keyring.
var ErrUnknownKey = errors.New("sealed with a key that is neither SECRET_KEY nor SECRET_KEY_PREVIOUS")

// MinSecret is the least length of a secret in bytes.
const MinSecret = 16

// New makes a keyring that seals with secret and also opens what older secrets sealed. Each is any text of at least
// MinSecret bytes with enough randomness.
func New(secret string, older ...string) (*Keyring, error) {
	k, err := newKeys(secret, older...)
	if err != nil {
		return nil, err
	}
	r := &Keyring{}
	r.now.Store(k)
	return r, nil
}

// ErrLeftOut says that what is sealed could not be opened any more.
var ErrLeftOut = errors.New("the key in force would be gone: give it in SECRET_KEY_PREVIOUS")

// Replace has the keyring seal with another secret from now on. The secret that sealed until now must be among the older ones,
// since there are values that it sealed a moment ago; otherwise the error is ErrLeftOut and nothing changes.
func (k *Keyring) Replace(secret string, older ...string) error {
	fresh, err := newKeys(secret, older...)
	if err != nil {
		return err
	}
	if _, has := fresh.keys[k.now.Load().current]; !has {
		return ErrLeftOut
	}
	k.now.Store(fresh)
	return nil
}

func newKeys(secret string, older ...string) (*keys, error) {
	k := &keys{keys: map[keyID]cipher.AEAD{}}
	for i, s := range append([]string{secret}, older...) {
		if len(s) < MinSecret {
			return nil, fmt.Errorf("must be at least %d characters long", MinSecret)
		}
		id, aead, err := newKey(s)
		if err != nil {
			return nil, err
		}
		k.keys[id] = aead
		if i == 0 {
			k.current = id
		}
		k.derive = append(k.derive, s)
	}
	return k, nil
}

func newKey(secret string) (id keyID, aead cipher.AEAD, err error) {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "waybill seal v1", 32)
	if err != nil {
		return id, nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return id, nil, err
	}
	aead, err = cipher.NewGCM(block)
	sum := sha256.Sum256(key)
	copy(id[:], sum[:])
	return id, aead, err
}

// Derive returns 32 bytes for another purpose (signing tokens), different for each purpose.
func (k *Keyring) Derive(purpose string) []byte { return k.DeriveAll(purpose)[0] }

// DeriveAll returns what Derive does, and behind it the same of each older secret, for what has to outlive a rotation.
func (k *Keyring) DeriveAll(purpose string) [][]byte {
	derive := k.now.Load().derive
	out := make([][]byte, len(derive))
	for i, secret := range derive {
		b, err := hkdf.Key(sha256.New, []byte(secret), nil, "waybill "+purpose, 32)
		if err != nil {
			panic(err) // only for impossible lengths
		}
		out[i] = b
	}
	return out
}

const version = 1

// Seal encrypts plain. The context (for example the destination's id) must be the same when opening: a value moved to
// another row does not open.
func (k *Keyring) Seal(plain []byte, context string) []byte {
	now := k.now.Load()
	aead := now.keys[now.current]
	out := make([]byte, 1+len(now.current)+aead.NonceSize(), 1+len(now.current)+aead.NonceSize()+len(plain)+aead.Overhead())
	out[0] = version
	copy(out[1:], now.current[:])
	nonce := out[1+len(now.current):]
	rand.Read(nonce)
	return aead.Seal(out, nonce, plain, []byte(context))
}

// Open decrypts what Seal returned. It fails with ErrUnknownKey when the key is missing.
func (k *Keyring) Open(sealed []byte, context string) ([]byte, error) {
	var id keyID
	if len(sealed) < 1+len(id) || sealed[0] != version {
		return nil, errors.New("not a sealed value")
	}
	copy(id[:], sealed[1:])
	aead, ok := k.now.Load().keys[id]
	if !ok {
		return nil, ErrUnknownKey
	}
	rest := sealed[1+len(id):]
	if len(rest) < aead.NonceSize() {
		return nil, errors.New("not a sealed value")
	}
	plain, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], []byte(context))
	if err != nil {
		return nil, errors.New("the sealed value does not belong here or was changed")
	}
	return plain, nil
}

// PrefixLength is how many bytes of a sealed value tell which key it was sealed with.
const PrefixLength = 1 + len(keyID{})

// Has reports whether the keyring has the key that a value with this beginning was sealed with.
func (k *Keyring) Has(prefix []byte) bool {
	if len(prefix) < PrefixLength || prefix[0] != version {
		return false
	}
	_, has := k.now.Load().keys[keyID(prefix[1:PrefixLength])]
	return has
}

// CurrentPrefix is what values begin with that are sealed with the key in force.
func (k *Keyring) CurrentPrefix() []byte {
	now := k.now.Load()
	return append([]byte{version}, now.current[:]...)
}

// Current reports whether sealed was made with the key in force; if not, it should be sealed again.
func (k *Keyring) Current(sealed []byte) bool {
	now := k.now.Load()
	return len(sealed) > 1+len(now.current) && keyID(sealed[1:1+len(now.current)]) == now.current
}
