package models

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/models/seal"
)

// What is sealed of an event and of an attempt, with the key of its tenant: see payload_keys.go.

// PayloadGone is said of an event whose payload cannot be read, because its key is deleted or elsewhere.
const PayloadGone = "Its data cannot be read any more: the key that it is sealed with is not there."

var errNotPayload = errors.New("what is sealed is not what was expected")

// appendPart appends a part with its length in front.
func appendPart[T string | []byte](b []byte, part T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(part))), part...)
}

// cutPart returns the part that b begins with, and the rest.
func cutPart(b []byte) (part, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, errNotPayload
	}
	b = b[size:]
	return b[:n:n], b[n:], nil
}

// eventContext and attemptContext bind what is sealed to its row.
func eventContext(id uuid.UUID) []byte { return id[:] }

func attemptContext(k DeliveryKey, number int) []byte {
	b := append(make([]byte, 0, 28), k.EventKey[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(k.Destination))
	return binary.BigEndian.AppendUint32(b, uint32(number))
}

// opened opens what is sealed. key is 0 and plain nil when its key is not there.
func (s *Store) opened(ctx context.Context, sealed, where []byte) (plain []byte, key int64, err error) {
	id, err := seal.DataKeyOf(sealed)
	if err != nil {
		return nil, 0, err
	}
	data, err := s.payloads.key(ctx, id)
	if err != nil || data == nil {
		return nil, 0, err
	}
	plain, err = data.Open(sealed, where)
	return plain, id, err
}

// unseal fills in payload and metadata from what is sealed of an event; nil for nothing. ok is false when the key is not there.
// Everything that reads events comes by here.
func (s *Store) unseal(ctx context.Context, e *Event, sealed []byte) (ok bool, err error) {
	if sealed == nil {
		return true, nil
	}
	plain, key, err := s.opened(ctx, sealed, eventContext(e.Key))
	if err == nil && key == 0 {
		e.Data, e.Metadata = nil, nil
		return false, nil
	}
	var metadata []byte
	if err == nil {
		metadata, e.Data, err = cutPart(plain)
	}
	if err == nil && len(metadata) > 0 {
		err = json.Unmarshal(metadata, &e.Metadata)
	}
	if err != nil {
		return false, fmt.Errorf("the payload of event %s: %w", eventID(e.Key), err)
	}
	e.PayloadKey = key
	return true, nil
}

// sealedAttempt is what is sealed of an attempt. The address goes without its query then.
func (a *Attempt) sealed(key *seal.Data) []byte {
	if key == nil {
		return nil // it was deleted, since all was erased that is sealed with it
	}
	var b []byte
	packHeaders(text(a.RequestHeader), text(a.ResponseHeader), func(packed []byte) { b = appendPart(b, packed) })
	b = appendPart(b, a.ResponseBody)
	_, query, _ := strings.Cut(text(a.URL), "?")
	b = appendPart(b, query)
	b = appendPart(b, text(a.RawError))
	b = appendPart(b, text(strings.Join(a.Log, "\n")))
	return key.Seal(nil, b, attemptContext(a.DeliveryKey, a.Number))
}

// unsealAttempt fills in what is sealed of an attempt; nil for nothing. Without the key it stays as it is, as after an erasure.
func (s *Store) unsealAttempt(ctx context.Context, a *Attempt, sealed []byte) error {
	if sealed == nil {
		return nil
	}
	plain, key, err := s.opened(ctx, sealed, attemptContext(a.DeliveryKey, a.Number))
	if err == nil && key == 0 {
		return nil
	}
	var parts [5][]byte
	for i := range parts {
		if err == nil {
			parts[i], plain, err = cutPart(plain)
		}
	}
	if err == nil {
		a.RequestHeader, a.ResponseHeader, err = unpackHeaders(parts[0])
	}
	if err != nil {
		return fmt.Errorf("what is kept of attempt %s: %w", a.ID(), err)
	}
	if a.ResponseBody = parts[1]; len(a.ResponseBody) == 0 {
		a.ResponseBody = nil
	}
	if len(parts[2]) > 0 {
		a.URL += "?" + string(parts[2])
	}
	a.RawError, a.PayloadKey = string(parts[3]), key
	if len(parts[4]) > 0 {
		a.Log = strings.Split(string(parts[4]), "\n")
	}
	return nil
}
