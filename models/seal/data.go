package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync/atomic"
)

// Data seals many values with one data key (AES-256-GCM). Each Data draws a salt and seals with a key that HKDF-SHA256 (RFC 5869)
// derives from the data key and that salt, so that no key comes near the 2^32 random nonces after which NIST SP 800-38D
// (section 8.3) wants another one. A sealed value names the data key and the salt. It may be used by many at once.
type Data struct {
	id     int64
	secret []byte
	mine   *derived
	last   atomic.Pointer[derived] // with which a value of another Data was opened
}

type derived struct {
	salt [saltLength]byte
	aead cipher.AEAD
}

const (
	dataVersion = 1
	saltLength  = 16
	nonceLength = 12
	dataHeader  = 1 + 8 + saltLength + nonceLength
	// DataKeyLength is the length of a data key in bytes.
	DataKeyLength = 32
)

// NewDataKey makes a data key and the id under which it is kept, which is never 0.
func NewDataKey() (id int64, secret []byte) {
	b := make([]byte, 8+DataKeyLength)
	rand.Read(b)
	return int64(binary.BigEndian.Uint64(b)>>1) | 1, b[8:]
}

// NewData seals with a data key of DataKeyLength bytes.
func NewData(id int64, secret []byte) (*Data, error) {
	if len(secret) != DataKeyLength {
		return nil, errors.New("a data key has 32 bytes")
	}
	d := &Data{id: id, secret: secret}
	var salt [saltLength]byte
	rand.Read(salt[:])
	var err error
	d.mine, err = d.derive(salt)
	return d, err
}

func (d *Data) derive(salt [saltLength]byte) (*derived, error) {
	key, err := hkdf.Key(sha256.New, d.secret, salt[:], "waybill data v1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &derived{salt, aead}, err
}

// ID is the data key's.
func (d *Data) ID() int64 { return d.id }

// Seal appends plain to dst, sealed. The context must be the same when it is opened.
func (d *Data) Seal(dst, plain, context []byte) []byte {
	dst = append(dst, dataVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.id))
	dst = append(dst, d.mine.salt[:]...)
	var nonce [nonceLength]byte
	rand.Read(nonce[:])
	dst = append(dst, nonce[:]...)
	return d.mine.aead.Seal(dst, nonce[:], plain, context)
}

// DataKeyOf tells with which data key a value was sealed. It fails for what Data has not sealed.
func DataKeyOf(sealed []byte) (id int64, err error) {
	if len(sealed) < dataHeader || sealed[0] != dataVersion {
		return 0, errors.New("not a sealed value")
	}
	return int64(binary.BigEndian.Uint64(sealed[1:])), nil
}

// Open returns what was sealed with this data key, by any Data.
func (d *Data) Open(sealed, context []byte) ([]byte, error) {
	id, err := DataKeyOf(sealed)
	if err != nil {
		return nil, err
	}
	if id != d.id {
		return nil, errors.New("sealed with another data key")
	}
	salt := [saltLength]byte(sealed[9:])
	k := d.mine
	if k.salt != salt {
		if k = d.last.Load(); k == nil || k.salt != salt {
			if k, err = d.derive(salt); err != nil {
				return nil, err
			}
			d.last.Store(k)
		}
	}
	plain, err := k.aead.Open(nil, sealed[dataHeader-nonceLength:dataHeader], sealed[dataHeader:], context)
	if err != nil {
		return nil, errors.New("the sealed value does not belong here or was changed")
	}
	return plain, nil
}
