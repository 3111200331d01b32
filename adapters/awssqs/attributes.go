package awssqs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/httpevent"
)

const (
	// maxAttributes is how many a message may have.
	maxAttributes = 10
	// restName is the attribute for the metadata that has no place in an attribute of its own.
	restName = "metadata"

	cloudEventsPrefix = "ce-"
)

// nameOK holds the rules for names of attributes, but for the reserved beginnings
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html).
var nameOK = regexp.MustCompile(`^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$`)

// attributes makes those of a message, ours first. What does not fit, because of its name, its value or the number, goes
// into one more, as JSON: so nothing is lost, and nothing is renamed. size is what they count towards the limit.
func attributes(list []adapters.Attribute) (out map[string]types.MessageAttributeValue, size int) {
	fit := make([]adapters.Attribute, 0, len(list)+1)
	rest := map[string]string{}
	for _, a := range list {
		if fits(a) {
			fit = append(fit, a)
		} else {
			rest[a.Name] = a.Value
		}
	}
	if len(rest) > 0 || len(fit) > maxAttributes {
		kept := fit[:0]
		for _, a := range fit {
			if a.Name == restName || len(kept) == maxAttributes-1 {
				rest[a.Name] = a.Value
			} else {
				kept = append(kept, a)
			}
		}
		fit = append(kept, adapters.Attribute{Name: restName, Value: asciiJSON(rest)})
	}
	out = make(map[string]types.MessageAttributeValue, len(fit))
	for _, a := range fit {
		out[a.Name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(a.Value)}
		size += len(a.Name) + len("String") + len(a.Value)
	}
	return out, size
}

func fits(a adapters.Attribute) bool {
	lower := strings.ToLower(a.Name)
	return len(a.Name) <= 256 && nameOK.MatchString(a.Name) && !strings.HasPrefix(lower, "aws.") &&
		!strings.HasPrefix(lower, "amazon.") && a.Value != "" && allowed(a.Value)
}

// allowed reports whether SQS carries a text: it takes the characters of XML 1.0.
func allowed(s string) bool {
	for i, r := range s {
		switch {
		case r == utf8.RuneError:
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0xfffe, r == 0xffff:
			return false
		}
	}
	return true
}

// asciiJSON writes an object with nothing but printable ASCII, which every attribute can hold.
func asciiJSON(m map[string]string) string {
	text, _ := json.Marshal(m) // strings always can be
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case r < 0x7f:
			b.WriteByte(byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// maxToken is the length of group and deduplication ids.
const maxToken = 128

// token makes an id of letters, digits and punctuation: anything else is percent-encoded, and what is too long is
// replaced by its hash. Equal texts stay equal and different ones different, which is all that such an id is for.
func token(s string) string {
	s = httpevent.EncodeValue(s, " ")
	if len(s) <= maxToken {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
