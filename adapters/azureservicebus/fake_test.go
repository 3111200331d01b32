package azureservicebus

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const (
	policy = "waybill"
	secret = "cafe0123456789/key+0123456789cafe0123456789=" // no real one is like it, and it needs escaping
)

var typ = Type{roots: func(e *outbound.Endpoint) *x509.CertPool { return adaptertest.RootsAt(e.Port) }}

// message is one that the fake took, as a consumer sees it.
type message struct {
	queue, contentType string
	broker             map[string]string
	properties         map[string]string
	body               []byte
}

// fake is the HTTPS interface of Service Bus: it verifies the signature of the request and refuses what does not have the
// shape that Microsoft's pages describe.
type fake struct {
	*adaptertest.Sink
	release chan struct{}
	first   chan bool

	mu       sync.Mutex
	queues   map[string]bool
	key      string
	messages []message
	answers  map[string]adaptertest.Answer
}

func newFake(t testing.TB) *fake {
	f := &fake{Sink: adaptertest.NewTLSSink(t, adaptertest.Certificate{}), release: make(chan struct{}), first: make(chan bool, 1),
		key: secret, answers: map[string]adaptertest.Answer{"refuse": problem(400, "The message is malformed."), "hang": {Hang: true},
			"repeat": {Repeat: true, Status: 500}}}
	f.queues = map[string]bool{"orders": true, "area/orders": true, "late": true, "refuse": true, "hang": true}
	f.first <- true
	f.AnswerWith(func(*adaptertest.SinkRequest) adaptertest.Answer { return adaptertest.Answer{Read: f.answer} })
	return f
}

func problem(code int, detail string) adaptertest.Answer {
	return adaptertest.Answer{Status: code, Header: []string{"Content-Type: application/xml; charset=utf-8"},
		Body: fmt.Sprintf("<Error><Code>%d</Code><Detail>%s TrackingId:abc_G1, Timestamp:2026-01-01T00:00:00</Detail></Error>", code,
			detail)}
}

func (f *fake) answer(r *adaptertest.SinkRequest) adaptertest.Answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	path, ok := strings.CutSuffix(r.Target, "/messages")
	queue := strings.TrimPrefix(path, "/")
	if queue == "repeat" {
		return f.answers[queue]
	}
	if !ok || r.Method != "POST" {
		return problem(405, "The verb is not allowed here.")
	}
	if why := f.unauthorized(r, queue); why != "" {
		return problem(401, why)
	}
	m, why := read(r)
	if why != "" {
		return problem(400, why)
	}
	m.queue = queue
	scripted, ok := f.answers[queue]
	if ok || f.queues[queue] {
		f.messages = append(f.messages, m)
	}
	switch {
	case ok:
		return scripted
	case !f.queues[queue]:
		return problem(404, "40400: Endpoint not found., Resource:sb://"+r.Host+r.Target+".")
	}
	answer := adaptertest.Answer{Status: 201, Header: []string{"Content-Type: application/xml; charset=utf-8"}, Chunked: true}
	if queue == "late" {
		select {
		case <-f.first:
			answer.Wait = f.release
		default:
		}
	}
	return answer
}

// unauthorized says what is wrong with the signature, by the rules of "Service Bus access control with Shared Access
// Signatures".
func (f *fake) unauthorized(r *adaptertest.SinkRequest, queue string) string {
	header := r.Header.Values("Authorization")
	if len(header) != 1 {
		return "MissingToken: The authorization header was not found."
	}
	text, ok := strings.CutPrefix(header[0], "SharedAccessSignature ")
	raw := map[string]string{}
	for part := range strings.SplitSeq(text, "&") {
		k, v, _ := strings.Cut(part, "=")
		raw[k] = v
	}
	if !ok || len(raw) != 4 {
		return "MalformedToken: The credentials contained in the authorization header are not in the right format."
	}
	mac := hmac.New(sha256.New, []byte(f.key))
	mac.Write([]byte(raw["sr"] + "\n" + raw["se"]))
	sig, err := url.QueryUnescape(raw["sig"])
	resource, err2 := url.QueryUnescape(raw["sr"])
	expiry, err3 := strconv.ParseInt(raw["se"], 10, 64)
	ends := time.Until(time.Unix(expiry, 0))
	switch {
	case err != nil || err2 != nil || err3 != nil:
		return "MalformedToken: The token is malformed."
	case raw["skn"] != policy || sig != base64.StdEncoding.EncodeToString(mac.Sum(nil)):
		return "InvalidSignature: The token has an invalid signature."
	case ends <= 0 || ends > lifetime:
		return "ExpiredToken: The token is expired."
	case !strings.EqualFold(resource, "https://"+r.Host+"/"+queue):
		return "InvalidAudience: The authorization header contains a token for another resource."
	}
	return ""
}

// read takes a message from a request, or says what is wrong with it.
func read(r *adaptertest.SinkRequest) (m message, why string) {
	m = message{contentType: r.Header.Get("Content-Type"), properties: map[string]string{}, body: r.Body}
	size := 0
	for _, line := range r.Lines {
		size += len(line) + 2
		name, value, _ := strings.Cut(line, ": ")
		for i := range len(line) {
			if line[i] < ' ' || line[i] > '~' {
				return m, "The header has a character that is not printable ASCII."
			}
		}
		switch textproto.CanonicalMIMEHeaderKey(name) {
		case "Host", "Content-Length", "Content-Type", "Authorization", "User-Agent", "X-Ms-Retrypolicy", "Brokerproperties":
			continue
		}
		plain, err := url.PathUnescape(strings.Trim(value, `"`))
		if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' || strings.ContainsAny(value[1:len(value)-1], `"\`) ||
			err != nil {
			return m, "The property " + name + " is not a string in quotes."
		}
		for have := range m.properties {
			if strings.EqualFold(have, name) {
				return m, "The property " + name + " is there twice."
			}
		}
		m.properties[name] = plain
	}
	broker := r.Header.Values("Brokerproperties")
	switch {
	case size > 16<<10:
		return m, "The header is too long."
	case len(r.Body) > maxBody:
		return m, "The message is too large."
	case m.contentType == "" || !slices.Equal(r.Header.Values("X-Ms-Retrypolicy"), []string{"NoRetry"}):
		return m, "There is no content type, or retries are on."
	case len(broker) != 1 || json.Unmarshal([]byte(broker[0]), &m.broker) != nil:
		return m, "The 'BrokerProperties' is invalid."
	}
	for name, value := range m.broker {
		if !slices.Contains([]string{"MessageId", "Label", "SessionId"}, name) || value == "" || name != "Label" &&
			len([]rune(value)) > 128 {
			return m, "The 'BrokerProperties' is invalid: " + name + "."
		}
	}
	return m, ""
}

func (f *fake) received() (out []adaptertest.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.messages {
		d := adaptertest.Delivery{EventID: m.broker["MessageId"], Topic: m.broker["Label"], Data: m.body, Attributes: map[string]string{}}
		for k, v := range m.properties {
			d.Attributes[strings.ToLower(k)] = v
		}
		if id, ok := d.Attributes["event-id"]; ok && id != d.EventID {
			d.EventID += "," + id
		}
		out = append(out, d)
	}
	return out
}

func (f *fake) at(queue string) *adapters.Settings { return at(f.Addr().String(), queue) }

func at(namespace, queue string) *adapters.Settings {
	return &adapters.Settings{ID: "des_1", TenantID: "ten_1", Version: 1, Timeout: 20 * time.Second,
		Config: map[string]string{"name": queue}, Credentials: map[string]string{"connection_string": "Endpoint=sb://" + namespace +
			"/;SharedAccessKeyName=" + policy + ";SharedAccessKey=" + secret}}
}

func open(t testing.TB, s *adapters.Settings) adapters.Sender { return adaptertest.Open(t, typ, *s) }
