package azureservicebus

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/adapters/outbound"
)

const (
	// lifetime of a token, and how long before its end it is replaced. A clock that is wrong by a few minutes does no harm.
	lifetime = time.Hour
	early    = 10 * time.Minute
)

// connection is what a connection string says.
type connection struct {
	host      string // of the namespace, with a port where there is one
	keyName   string
	key       string
	signature string // a token that somebody else made, instead of a key
	entity    string // the queue or topic that it is for; empty for the whole namespace
	text      string
}

// parseConnection reads a connection string. Error texts follow the field's name and repeat no value of it.
func parseConnection(text string) (c connection, err error) {
	c.text = text
	endpoint := ""
	for part := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=") // only the first: keys end with one
		if !ok {
			return c, errConnection
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "endpoint":
			endpoint = value
		case "sharedaccesskeyname":
			c.keyName = value
		case "sharedaccesskey":
			c.key = value
		case "sharedaccesssignature":
			c.signature = value
		case "entitypath":
			c.entity = strings.Trim(value, "/")
		case "usedevelopmentemulator":
			if strings.EqualFold(value, "true") {
				return c, errors.New("is that of the emulator, which has no HTTPS interface to send to")
			}
		}
	}
	switch {
	case endpoint == "":
		return c, errConnection
	case c.signature != "" && c.key != "":
		return c, errors.New("must have a SharedAccessKey or a SharedAccessSignature, not both")
	case c.signature != "":
		if !strings.HasPrefix(c.signature, "SharedAccessSignature sr=") || !outbound.ValidValue(c.signature) {
			return c, errors.New("has a SharedAccessSignature that does not begin with SharedAccessSignature sr=")
		}
	case c.keyName == "" || c.key == "":
		return c, errors.New("must have SharedAccessKeyName and SharedAccessKey; copy it whole from the policy's page")
	case !outbound.ValidValue(c.keyName):
		return c, errors.New("has a SharedAccessKeyName with control characters")
	}
	_, rest, ok := strings.Cut(endpoint, "://")
	e, err := outbound.ParseURL("https://" + rest)
	if !ok || err != nil || e.Target != "/" {
		return c, errors.New("has an Endpoint that is not like sb://my-namespace.servicebus.windows.net/")
	}
	c.host = strings.TrimSuffix(strings.TrimPrefix(e.Label(), "https://"), "/")
	return c, nil
}

// secrets lists what nobody must get to see of it.
func (c connection) secrets() []string {
	out := []string{c.text}
	if c.key != "" {
		out = append(out, c.key)
	}
	if c.signature != "" {
		out = append(out, newToken(c.signature, time.Time{}).secrets...)
	}
	return out
}

// token is a value of the header Authorization.
type token struct {
	value   string
	until   time.Time
	secrets []string
	redact  outbound.Redactor
}

// newToken looks for the signature within the value, which gives the same rights wherever it is seen.
func newToken(value string, until time.Time) token {
	secrets := []string{value}
	for part := range strings.SplitSeq(strings.TrimPrefix(value, "SharedAccessSignature "), "&") {
		if sig, ok := strings.CutPrefix(part, "sig="); ok {
			secrets = append(secrets, sig)
			if plain, err := url.QueryUnescape(sig); err == nil {
				secrets = append(secrets, plain)
			}
		}
	}
	return token{value, until, secrets, outbound.NewRedactor(secrets)}
}

// tokens makes shared access signatures and keeps them while they are good.
// (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-sas, "Generate a Shared Access Signature token")
type tokens struct {
	keyName, key string
	resource     string // the queue's or topic's address, escaped
	now          func() time.Time

	mu   sync.Mutex
	last token
}

func newTokens(c connection, entity string, now func() time.Time) *tokens {
	t := &tokens{keyName: c.keyName, key: c.key, resource: url.QueryEscape(strings.ToLower(entity)), now: now}
	if c.signature != "" {
		t.last = newToken(c.signature, time.Time{})
	}
	return t
}

func (t *tokens) get() token {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if t.key == "" || now.Before(t.last.until.Add(-early)) {
		return t.last
	}
	until := now.Add(lifetime)
	expiry := strconv.FormatInt(until.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(t.key)) // the key's text as it is, although it looks like base64
	mac.Write([]byte(t.resource + "\n" + expiry))
	t.last = newToken("SharedAccessSignature sr="+t.resource+"&sig="+url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))+
		"&se="+expiry+"&skn="+url.QueryEscape(t.keyName), until)
	return t.last
}
