package models

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Public ids are a prefix and a body. Those of deliveries and attempts spell out what they point at (event,
// destination, number), so that they need neither a column nor an index.
const (
	eventPrefix       = "evt_"
	destinationPrefix = "des_"
	deliveryPrefix    = "dlv_"
	attemptPrefix     = "att_"
)

var lowerBase32 = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// randomID returns prefix and 26 random letters and digits (128 bits).
func randomID(prefix string) string {
	var b [16]byte
	rand.Read(b[:])
	return prefix + lowerBase32.EncodeToString(b[:])
}

// newEventID makes a UUIDv7: it sorts by time and says which partition it is in.
func newEventID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func eventID(id uuid.UUID) string { return eventPrefix + hex.EncodeToString(id[:]) }

// parseEventID reads an id made by eventID.
func parseEventID(s string) (id uuid.UUID, ok bool) {
	body, ok := strings.CutPrefix(s, eventPrefix)
	if !ok || len(body) != 32 {
		return id, false
	}
	b, err := hex.DecodeString(body)
	if err != nil {
		return id, false
	}
	copy(id[:], b)
	return id, true
}

// MadeEventID reports whether an event's id is one that the server makes, and so unique among all tenants.
func MadeEventID(s string) bool {
	body, ok := strings.CutPrefix(s, eventPrefix)
	return ok && len(body) == 32 && strings.Trim(body, "0123456789abcdefABCDEF") == ""
}

// DeliveryKey names a delivery: one event on its way to one destination.
type DeliveryKey struct {
	EventKey    uuid.UUID
	Destination int64 // the destination's key
}

// compare orders deliveries as lists do: by event, then by destination.
func (k DeliveryKey) compare(other DeliveryKey) int {
	return cmp.Or(bytes.Compare(k.EventKey[:], other.EventKey[:]), cmp.Compare(k.Destination, other.Destination))
}

// ID is the delivery's public id.
func (k DeliveryKey) ID() string {
	return deliveryPrefix + hex.EncodeToString(k.EventKey[:]) + strconv.FormatInt(k.Destination, 36)
}

// AttemptID is the public id of the delivery's attempt number n.
func (k DeliveryKey) AttemptID(n int) string {
	return attemptPrefix + hex.EncodeToString(k.EventKey[:]) + strconv.FormatInt(k.Destination, 36) + "_" + strconv.Itoa(n)
}

func parseDeliveryID(s string) (k DeliveryKey, ok bool) {
	body, ok := strings.CutPrefix(s, deliveryPrefix)
	if !ok {
		return k, false
	}
	return parseDeliveryKey(body)
}

func parseDeliveryKey(body string) (k DeliveryKey, ok bool) {
	if len(body) < 33 || len(body) > 45 {
		return k, false
	}
	b, err := hex.DecodeString(body[:32])
	if err != nil {
		return k, false
	}
	copy(k.EventKey[:], b)
	k.Destination, err = strconv.ParseInt(body[32:], 36, 64)
	return k, err == nil && k.Destination > 0 && body == k.ID()[len(deliveryPrefix):]
}

func parseAttemptID(s string) (k DeliveryKey, n int, ok bool) {
	body, ok := strings.CutPrefix(s, attemptPrefix)
	if !ok {
		return k, 0, false
	}
	body, num, found := strings.Cut(body, "_")
	if !found {
		return k, 0, false
	}
	n, err := strconv.Atoi(num)
	if err != nil || n < 1 || n > 1<<30 || strconv.Itoa(n) != num { // one name only: not +3 or 03
		return k, 0, false
	}
	k, ok = parseDeliveryKey(body)
	return k, n, ok
}
