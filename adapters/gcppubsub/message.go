package gcppubsub

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/adapters"
)

// Limits of Pub/Sub (https://cloud.google.com/pubsub/quotas, "Resource limits").
const (
	maxData       = 10_000_000 // bytes of a message's data
	maxAttributes = 100
	maxName       = 256  // bytes of an attribute's name
	maxValue      = 1024 // bytes of an attribute's value
	maxKey        = 1024 // bytes of an ordering key
	maxMessages   = 1000 // of a request
	maxRequest    = 9_500_000
)

// attributePrefix is that of CloudEvents attributes: the same as with HTTP, as the Protocol Binding for Google Cloud
// Pub/Sub has it.
const attributePrefix = "ce-"

// encode is the message as it stands in a request: a PubsubMessage in JSON.
func encode(m *adapters.Message, s *adapters.Settings) (json []byte, key string, err error) {
	e := m.Encode(s, attributePrefix)
	if s.Format != adapters.FormatPayload {
		// By this attribute consumers tell an envelope from a payload, as by the header of the same name in HTTP.
		e.Attributes = append([]adapters.Attribute{{Name: "content-type", Value: e.ContentType}}, e.Attributes...)
	}
	if len(e.Body) > maxData {
		return nil, "", &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassTooLarge,
			Message: fmt.Sprintf("The message has %d bytes, and Pub/Sub takes at most %d.", len(e.Body), maxData),
			Advice:  "Send less data, or filter such events out."}
	}
	key = strings.ToValidUTF8(m.Computed[orderingField], "\uFFFD")
	if len(key) > maxKey {
		return nil, "", &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassRejected,
			Message: fmt.Sprintf("The ordering key of this event has %d bytes, and Pub/Sub takes at most %d.", len(key), maxKey),
			Advice:  "Correct the destination's ordering key so that it gives a shorter value."}
	}
	b := make([]byte, 0, base64.StdEncoding.EncodedLen(len(e.Body))+512)
	b = append(b, `{"data":"`...)
	b = base64.StdEncoding.AppendEncode(b, e.Body)
	b = append(b, `","attributes":{`...)
	n := 0
	for _, a := range e.Attributes {
		a.Value = strings.ToValidUTF8(a.Value, "\uFFFD") // strings of Pub/Sub are UTF-8
		if n == maxAttributes || !fits(a) {
			continue
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		b = appendString(b, a.Name)
		b = append(b, ':')
		b = appendString(b, a.Value)
	}
	b = append(b, '}')
	if key != "" {
		b = append(b, `,"orderingKey":`...)
		b = appendString(b, key)
	}
	return append(b, '}'), key, nil
}

// fits says whether Pub/Sub takes an attribute. One that it does not take would have the whole message refused. Names
// that begin with goog are Google's.
func fits(a adapters.Attribute) bool {
	return a.Name != "" && len(a.Name) <= maxName && len(a.Value) <= maxValue && utf8.ValidString(a.Name) &&
		!strings.HasPrefix(a.Name, "goog")
}

func appendString(b []byte, s string) []byte {
	q, _ := json.Marshal(s) // a string always can be
	return append(b, q...)
}
