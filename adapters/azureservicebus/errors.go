package azureservicebus

import (
	"encoding/xml"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// busyWait is how long clients are to wait when Service Bus is busy and does not say how long itself
// (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-throttling).
const busyWait = 10 * time.Second

// verdict says what an answer means; nil is success. What the statuses stand for is told on the page about the operation
// and in https://learn.microsoft.com/azure/service-bus-messaging/service-bus-resource-manager-exceptions.
func (s *sender) verdict(resp *outbound.Response) *adapters.Error {
	resp.Control = "" // of webhooks
	e := outbound.Verdict(resp)
	if e == nil && resp.Code != 201 {
		return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassProtocol,
			Message: fmt.Sprintf("The answer is %d, and Service Bus acknowledges messages with 201, so nothing counts as sent.", resp.Code),
			Advice:  "Check that the connection string's endpoint is that of a Service Bus namespace."}
	}
	if e == nil {
		return nil
	}
	words := said(resp.Body)
	lower := strings.ToLower(words)
	if words != "" {
		e.Raw += ": " + words
	}
	const tooLarge = "The message is larger than the namespace's tier accepts (%d)."
	switch code := resp.Code; {
	case code == 401:
		e.Message = fmt.Sprintf("Service Bus refused the key of the policy %q (401).", s.policy)
		e.Advice = "Check that the policy still has this key and the claim Send, and copy its connection string again."
		if s.policy == "" {
			e.Message = "Service Bus refused the shared access signature (401)."
			e.Advice = "It has probably expired; enter a connection string with a key, or a new signature."
		}
	case code == 413, code == 403 && strings.Contains(lower, "too large"), code == 403 && strings.Contains(lower, "message size"):
		e.Kind, e.Class = adapters.KindPermanent, adapters.ClassTooLarge
		e.Message = fmt.Sprintf(tooLarge, code)
		e.Advice = "Standard takes 256 KB and Premium 1 MB; send less data, or filter such events out."
	case code == 403 && strings.Contains(lower, "quota"):
		e.Kind, e.Class, e.After = adapters.KindThrottled, adapters.ClassThrottled, resp.Retry
		e.Message = s.name + " is full: its quota is used up (403)."
		e.Advice = "Let its consumers catch up, look after its dead letters, or raise its maximum size."
	case code == 403:
		e.Message = fmt.Sprintf("Service Bus forbids sending to %s (403).", s.name)
		e.Advice = "Check whether the queue or topic is disabled, its quota, and the namespace's firewall."
	case code == 404, code == 410:
		// A queue that was deleted may be created again, so it is not gone for good.
		e.Kind, e.Class = adapters.KindTransient, adapters.ClassNotFound
		e.Message = fmt.Sprintf("There is no queue or topic %s on %s (%d).", s.name, s.namespace, code)
		e.Advice = "Create it, or correct the destination's name or connection string."
	case code == 400 && strings.Contains(lower, "session"):
		e.Kind, e.Class = adapters.KindTransient, adapters.ClassConfig
		e.Message = fmt.Sprintf("The session id does not suit %s (400).", s.name)
		e.Advice = "Enter an expression as the destination's session ID; this queue or topic requires sessions."
	case code == 400:
		e.Message = "Service Bus refused the message (400)."
		e.Advice = "Its answer, below, says what is wrong with it; correct that, or filter such events out."
	case code == 429, code == 503:
		e.Kind, e.Class, e.After = adapters.KindThrottled, adapters.ClassThrottled, resp.Retry
		if e.After == 0 {
			e.After = busyWait
		}
		e.Message = fmt.Sprintf("Service Bus is busy and asks to slow down (%d); the next try is in %d s.", code, int(e.After/time.Second))
		e.Advice = "Lower the destination's rate limit, or give the namespace more throughput."
	case code >= 500:
		e.Advice = "It will be retried; see the status page of Azure if it stays."
	case code < 400, e.Class == adapters.ClassRejected:
		e.Advice = "Check that the connection string's endpoint is that of a Service Bus namespace."
	}
	return e
}

// said is what Service Bus says about an error, on one line.
func said(body []byte) string {
	var answer struct {
		Detail string `xml:"Detail"`
	}
	if xml.Unmarshal(body, &answer) != nil {
		return ""
	}
	return outbound.OneLine(answer.Detail)
}
