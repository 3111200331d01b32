package cloudflarequeues

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/gather"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// attributePrefix is that of CloudEvents attributes among the metadata, as in HTTP.
const attributePrefix = "ce-"

// sender implements adapters.Sender and adapters.Checker.
type sender struct {
	settings adapters.Settings
	client   *outbound.Client
	base     outbound.Header
	host     string
	queue    string
	path     string // of the queue
	gatherer *gather.Gatherer[[]byte, adapters.Receipt]
}

// Send implements adapters.Sender.
func (s *sender) Send(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
	item, err := encode(m, &s.settings)
	if err != nil {
		return adapters.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.settings.Limit())
	defer cancel()
	r, err := s.gatherer.Do(ctx, item)
	return outbound.Gathered(r, err, s.host)
}

// encode is the message as it stands in a request.
func encode(m *adapters.Message, s *adapters.Settings) ([]byte, error) {
	e := m.Encode(s, attributePrefix)
	body := e.Body
	if !json.Valid(body) {
		body, _ = json.Marshal(strings.ToValidUTF8(string(body), "\uFFFD")) // a string always can be
	}
	var b bytes.Buffer
	b.Grow(len(body) + 512)
	b.WriteString(`{"content_type":"json","body":`)
	start := b.Len()
	if s.Format == adapters.FormatStructured {
		b.Write(body) // a whole CloudEvent
	} else {
		b.WriteString(`{"data":`)
		b.Write(body)
		b.WriteString(`,"metadata":{`)
		for i, a := range e.Attributes {
			if i > 0 {
				b.WriteByte(',')
			}
			name, _ := json.Marshal(a.Name)
			value, _ := json.Marshal(a.Value)
			b.Write(name)
			b.WriteByte(':')
			b.Write(value)
		}
		b.WriteString(`}}`)
	}
	if size := b.Len() - start; size > maxMessage {
		return nil, &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassTooLarge,
			Message: fmt.Sprintf("The message has %d bytes, and Cloudflare takes at most %d.", size, maxMessage),
			Advice:  "Send less data, or filter such events out."}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// push makes one request. What it returns besides receipts is always an *outbound.BatchError.
func (s *sender) push(ctx context.Context, items [][]byte) ([]adapters.Receipt, error) {
	method, body := "/messages", items[0]
	if len(items) > 1 {
		method = "/messages/batch"
		body = append([]byte(`{"messages":[`), bytes.Join(items, []byte{','})...)
		body = append(body, "]}"...)
	}
	receipt, _, err := s.request(ctx, "POST", method, body)
	if err != nil {
		return nil, &outbound.BatchError{Receipt: receipt, Err: err}
	}
	out := make([]adapters.Receipt, len(items))
	for i := range out {
		out[i] = receipt
	}
	return out, nil
}

// answer is what Cloudflare's API says to everything.
type answer struct {
	Success *bool `json:"success"`
	Errors  []struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"errors"`
	Result struct {
		Name string `json:"queue_name"`
	} `json:"result"`
}

// said is Cloudflare's own words about an error, on one line.
func (a *answer) said() string {
	var words []string
	for _, e := range a.Errors {
		words = append(words, outbound.OneLine(fmt.Sprintf("%d %s", e.Code, e.Message)))
	}
	return strings.Join(words, "; ")
}

func (a *answer) has(codes ...int) bool {
	for _, e := range a.Errors {
		for _, code := range codes {
			if e.Code == code {
				return true
			}
		}
	}
	return false
}

// request asks something of the queue's part of the API.
func (s *sender) request(ctx context.Context, method, path string, body []byte) (adapters.Receipt, *answer, *adapters.Error) {
	resp, err := s.client.Do(ctx, outbound.Request{Method: method, Target: s.path + path, Header: &s.base, Body: body})
	a := &answer{}
	if err != nil && resp.Code < 300 {
		return resp.Receipt, a, adapters.AsError(err)
	}
	if json.Unmarshal(resp.Body, a) != nil {
		*a = answer{} // a proxy's answer, or one that was cut
	}
	return resp.Receipt, a, s.verdict(&resp, a)
}

// Codes of Cloudflare (https://developers.cloudflare.com/queues/reference/error-codes/), as far as they say more than the
// status.
const (
	noRoute          = 7003 // an id in the address that Cloudflare cannot make sense of
	badToken         = 6111 // a token that cannot be one
	notAuthenticated = 10000
	queueNotFound    = 10104
	notAuthorized    = 10106
	queueMalformed   = 10107
)

// verdict says what an answer means; nil is success.
func (s *sender) verdict(resp *outbound.Response, a *answer) *adapters.Error {
	resp.Control = "" // of webhooks
	e := outbound.Verdict(resp)
	if e == nil {
		if a.Success == nil {
			return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassProtocol, Raw: fmt.Sprint(resp.Code),
				Message: fmt.Sprintf("The answer (%d) is not one of Cloudflare's API, so nothing counts as sent.", resp.Code),
				Advice:  "It will be retried; check what stands between this server and Cloudflare if it stays."}
		}
		if *a.Success {
			return nil
		}
		e = &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassRejected, Raw: fmt.Sprint(resp.Code),
			Message: fmt.Sprintf("Cloudflare did not take the message (%d).", resp.Code),
			Advice:  "Cloudflare's answer says why. It will be retried."}
	}
	if words := a.said(); words != "" {
		e.Raw += ": " + words
	}
	switch code := resp.Code; {
	case code == 401, code == 403, a.has(notAuthenticated, notAuthorized, badToken):
		e.Kind, e.Class = adapters.KindTransient, adapters.ClassAuth
		e.Message = fmt.Sprintf("Cloudflare refused the API token (%d).", code)
		e.Advice = "Check that the token has not expired, and that it has the permission Queues Edit for this account."
	case code == 404, code == 410, a.has(noRoute, queueNotFound, queueMalformed):
		e.Kind, e.Class = adapters.KindTransient, adapters.ClassNotFound
		e.Message = fmt.Sprintf("Cloudflare knows no queue %s in this account (%d).", s.queue, code)
		e.Advice = "Create the queue, or correct the destination's account ID and queue ID; the id is not the queue's name."
	case code == 413:
		e.Message = "The message is larger than Cloudflare accepts (413)."
		e.Advice = "Send less data, or filter such events out."
	case code == 429:
		e.Advice = "Lower the destination's rate limit; a queue takes 5,000 messages a second, and an account a limited number of requests."
	case code >= 500:
		e.Message = fmt.Sprintf("Cloudflare failed (%d).", code)
		e.Advice = "It will be retried; see Cloudflare's status page if it stays."
	case e.Kind == adapters.KindPermanent:
		e.Message = fmt.Sprintf("Cloudflare refused the message (%d).", code)
		e.Advice = "Cloudflare's answer says what is wrong with it; correct that, or filter such events out."
	}
	return e
}

// Close implements adapters.Sender.
func (s *sender) Close() error {
	s.gatherer.Close()
	return s.client.Close()
}
